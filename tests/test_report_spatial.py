"""Pictures of directions and the report that holds them."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from located_caches import build_located, write_recordings
from model_caches import build_cache

from audiodata import spatial_pictures
from audiodata.errors import CacheError
from audiodata.geometry import pair_lags
from audiodata.report import write_report
from audiodata.shards import open_cache
from audiodata.spatial_report import can_show_lags, has_directions


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    folder = tmp_path_factory.mktemp("located")
    write_recordings(folder, azimuths_deg=(40, 170, 290), sounds=2)
    return build_located(folder, folder / "cache")


def pictures_in(page):
    return re.findall(r'<img alt="([^"]*)"', page)


def report(cache, tmp_path, run=None):
    write_report(cache, tmp_path / "report.html", run)
    return (tmp_path / "report.html").read_text(encoding="utf-8")


def finished_run(folder, examples, split="test"):
    """What an evaluation of a localizing network leaves behind."""
    folder.mkdir()
    azimuths = np.linspace(0, 350, examples)
    table = {"example_id": [f"e{number}" for number in range(examples)], "azimuth_deg": azimuths, "predicted_azimuth_deg": (azimuths + 3) % 360}
    pd.DataFrame(table | {"label": "low", "predicted_label": "high"}).to_csv(folder / "predictions.csv", index=False)
    doa = {"examples": examples, "mae_deg": 3.0, "median_deg": 3.0, "accuracy": {"2.5": 0.0, "5": 1.0}}
    metrics = {"network": "slcnet", "split": split, "doa": doa, "accuracy": 0.5, "parameters": 10, "classes": ["low", "high"]}
    (folder / "metrics.json").write_text(json.dumps(metrics | {"confusion_matrix": [[1, 1], [1, 1]]}))
    curves = {"epoch": [1, 2], "train_loss": [2.0, 1.0], "train_mae": [40.0, 20.0], "val_mae": [50.0, np.nan]}
    pd.DataFrame(curves).to_csv(folder / "curves.csv", index=False)
    return folder


def test_report_of_directions_has_their_pictures(cache, tmp_path):
    page = report(cache, tmp_path)
    assert pictures_in(page) == [
        "examples per class", "examples by azimuth", "gcc_phat and true lags", "level_difference", "log_mel", "phase_difference",
    ]
    assert "Scheme: held_out; groups: source" in page


def test_report_of_a_run_has_its_predictions(cache, tmp_path):
    page = report(cache, tmp_path, finished_run(tmp_path / "run", 36))
    assert pictures_in(page)[-4:] == ["learning curve", "predicted against true azimuth", "errors of azimuths", "confusion matrix"]
    assert "within 5 degrees / %" in page


def test_report_of_a_comparison_has_its_table_and_of_noise_its_curves(cache, tmp_path):
    folder = tmp_path / "several"
    folder.mkdir()
    row = {"method": "slcnet<b>", "type": "ANN", "time_steps": 1, "doa_mae_deg": 1.25, "doa_accuracy": {"2.5": 0.9, "5": 1.0}, "accuracy": 0.75}
    row |= {"parameters": 12345, "synaptic_operations": 0.0, "macs": 1e6}
    classical = row | {"method": "srp", "time_steps": None, "accuracy": None}
    found = {"cache": {}, "split": "test", "rows": [row, classical, row | {"doa_accuracy": None, "doa_mae_deg": None}]}
    (folder / "comparison.json").write_text(json.dumps(found))
    page = report(cache, tmp_path, folder)
    assert "<td>slcnet&lt;b&gt;</td><td>ANN</td><td>1</td><td>1.25</td><td>90.0</td><td>100.0</td><td>75.0</td><td>12,345</td>" in page
    assert "<td>srp</td><td>ANN</td><td>-</td><td>1.25</td><td>90.0</td><td>100.0</td><td>-</td>" in page
    (folder / "robustness.json").write_text(json.dumps(robustness_result()))
    assert pictures_in(report(cache, tmp_path, folder))[-1] == "errors against the signal-to-noise ratio"


def test_a_folder_without_results_is_explained(cache, tmp_path):
    with pytest.raises(CacheError, match=r"no readable metrics\.json"):
        report(cache, tmp_path, tmp_path)


def test_caches_without_directions_have_no_such_section(tmp_path):
    plain = open_cache(build_cache(tmp_path / "plain"))
    assert not has_directions(plain)
    assert not can_show_lags(plain, "gcc_phat")


def test_true_lags_are_drawn_where_the_correlation_is(cache):
    """The line of each panel lies on the brightest lag of its picture, to a step of the lags."""
    found = open_cache(cache)
    row = found.examples[found.examples["azimuth_deg"] == 40].iloc[0]
    array = found.manifest["catalog"]["array"]
    lags = np.arange(-36, 37) / 4
    expected = pair_lags(array["positions_m"], 40.0, 16000)
    gcc = found.read(row["example_id"])["gcc_phat"]
    figure = spatial_pictures.located_correlations([gcc], ["low 40°"], lags, [expected], 0.25)
    panels = [axes for axes in figure.axes if axes.images and axes.lines]
    assert len(panels) == 6
    for axes, pair in zip(panels, gcc, strict=True):
        assert axes.lines[-1].get_ydata()[0] == pytest.approx(lags[np.argmax(pair.mean(axis=0))], abs=0.25)
        low, high = axes.get_ylim()
        assert low < axes.lines[-1].get_ydata()[0] < high
        left, right, bottom, top = axes.images[0].get_extent()
        assert (left, right) == (0, 0.25)
        assert (bottom, top) == (lags[0] - 0.125, lags[-1] + 0.125)


def test_right_answers_are_straight_spokes_and_wrong_ones_turn():
    figure = spatial_pictures.predicted_azimuths(np.array([350.0, 90.0, np.nan]), np.array([10.0, 90.0, 5.0]))
    polar = figure.axes[0]
    turns = sorted(np.degrees(line.get_xdata()[-1] - line.get_xdata()[0]) for line in polar.lines)
    assert turns == pytest.approx([0.0, 20.0])  # over the front, not round the back
    assert polar.get_theta_offset() == pytest.approx(np.pi / 2)  # the front is at the top
    assert polar.get_theta_direction() == 1  # and the left on the left


def test_directions_are_counted_per_split():
    examples = pd.DataFrame({"split": ["train"] * 3 + ["test"], "azimuth_deg": [0.0, 0.0, 270.0, np.nan]})
    (axes,) = spatial_pictures.azimuth_balance(examples).axes
    heights = {round(np.degrees(bar.get_x() + bar.get_width() / 2)): bar.get_height() for bar in axes.patches}
    assert {azimuth: height for azimuth, height in heights.items() if height} == {0: 2, 270: 1}


def test_error_histogram_counts_along_the_circle():
    figure = spatial_pictures.azimuth_errors(np.array([359.0, 0.0, 10.0, np.nan]), np.array([1.0, 180.0, 17.0, 3.0]))
    counts, below = figure.axes
    heights = [bar.get_height() for bar in counts.patches]
    assert (heights[0], heights[1], heights[-1], sum(heights)) == (1, 1, 1, 3)
    assert below.lines[0].get_ydata()[-1] == 100


def robustness_result():
    def row(level, error):
        return {"snr_db": level, "mae_deg": error, "doa_accuracy": {"2.5": 0.5}, "accuracy": 0.5}

    networks = [{"name": name, "results": [row(None, 1.0), row(10.0, 3.0), row(0.0, 9.0)]} for name in ("one", "two")]
    networks.append({"name": "classes", "results": [{"snr_db": None, "mae_deg": None, "doa_accuracy": {}, "accuracy": 0.9}]})
    return {"snr_db": [None, 10.0, 0.0], "noise": {"kind": "white"}, "examples": 4, "split": "test", "networks": networks}


def test_curves_over_noise_end_without_noise():
    figure = spatial_pictures.robustness_curves(robustness_result())
    errors, directions, classes = figure.axes
    assert [label.get_text() for label in errors.get_xticklabels()] == ["0", "10", "clean"]
    assert list(errors.lines[0].get_ydata()) == [9.0, 3.0, 1.0]
    assert list(directions.lines[1].get_ydata()) == [50.0] * 3
    assert classes.lines[2].get_ydata()[-1] == 90.0
