"""Sections of a report on converted networks: what a run's folder holds is told, what it lacks is left out."""

import json

import pytest
from matplotlib.figure import Figure

from audiodata import tandem_report

ERRORS = {name: {"in_thresholds": {"mean_absolute": value}} for name, value in (("quantisation", 0.25), ("timing", 0.5), ("total", 0.75))}
LAYER = {"layer": "conv1", "neurons": 12, "threshold": 0.125, "silent": 0.5, "saturated": 0.01, "firing_rate": 0.2, "errors": ERRORS}
STAGES = [
    {"layer": "conv1", "threshold": 0.125, "epochs": 3, "best_epoch": 2},
    {"layer": "fc<2>", "threshold": None, "epochs": 0, "best_epoch": None},
]
SIDES = {"figure": "accuracy", "split": "test", "ann": 0.9, "primitive": 0.5, "progressive": 0.8, "gap_closed": 0.75, "stages": STAGES}
ROWS = [{"method": "primitive", "seed": None, "time_steps": 4, "value": 0.5, "ratio": 0.3}]
WINDOWS = {"network": "cnn", "split": "test", "label": "accuracy", "ann": 0.9, "rows": ROWS}


@pytest.fixture
def run(tmp_path):
    for name, content in (
        ("tandem.json", SIDES), ("conversion.json", {"examples": 7, "time_steps": 8, "layers": [LAYER]}), ("windows.json", WINDOWS)
    ):
        (tmp_path / name).write_text(json.dumps(content), encoding="utf-8")
    Figure(figsize=(1, 1)).savefig(tmp_path / "progress.png")
    return tmp_path


def test_a_run_that_was_trained_while_it_was_converted(run):
    told = tandem_report.run_sections(run)
    for expected in ("0.75", "conv1", "0.125", "7 examples, 8 time steps", "data:image/png;base64,"):
        assert expected in told
    assert "fc&lt;2&gt;" in told
    assert told.count("<img") == 1


def test_a_run_of_another_kind_has_no_such_section(tmp_path):
    assert tandem_report.run_sections(tmp_path) == ""


def test_a_sweep_over_time_steps_shows_the_ann_first(run):
    told = tandem_report.windows(run)
    assert told.index("ANN") < told.index("primitive")
    assert "0.3" in told
    assert "<img" not in told


def test_what_was_not_measured_is_a_dash(run):
    (run / "tandem.json").write_text(json.dumps(SIDES | {"gap_closed": None}), encoding="utf-8")
    assert "<td>share of the gap closed</td><td>-</td>" in tandem_report.run_sections(run)
