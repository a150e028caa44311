"""Repetition: each network with each seed, mean and deviation by hand, a table and curves."""

import json
import statistics

import pandas as pd
import pytest
from event_caches import TinyVoterConfig, build_event_cache, tiny_model
from model_caches import build_cache, build_located_cache
from model_runs import door, refused
from torch import nn

from models import MODELS, train_multimodal
from models.repeat import dataset_name, figures_of, markdown, mean_curve, senses_of, shared_curve, spread, structure_of, table
from models.repeat_pictures import repeat_curves
from models.training_config import VotingTraining

JOINT = {"dataset": {"name": "joint_events", "visual": {"name": "mnist_dvs"}, "auditory": {"name": "ntidigits"}}}
NAMES = ("tiny", "tiny_visual")


@pytest.fixture(scope="module", autouse=True)
def tiny():
    with pytest.MonkeyPatch.context() as patch:
        for name, senses in zip(NAMES, (("visual", "auditory"), ("visual",)), strict=True):
            patch.setitem(MODELS, name, tiny_model(*senses))
            patch.setitem(train_multimodal.TRAINING, name, VotingTraining)
        yield


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return build_event_cache(tmp_path_factory.mktemp("caches") / "events", {"train": 24, "val": 12, "test": 12}, catalog=JOINT)


@pytest.fixture(scope="module")
def repeated(cache, tmp_path_factory):
    folder = tmp_path_factory.mktemp("repeated") / "out"
    assert door("repeat", *NAMES, "--cache", cache, "--out", folder, "--seeds", "3", "--seed", "5", "--epochs", "2") == 0
    return folder


def read(folder):
    return json.loads((folder / "repeats.json").read_text())


def test_every_seed_has_a_run_and_every_figure_is_that_of_its_runs(repeated):
    found = read(repeated)
    assert (found["split"], found["seeds"], found["curves"]) == ("test", [5, 6, 7], "val_accuracy")
    for row, name in zip(found["rows"], NAMES, strict=True):
        metrics = [json.loads((repeated / name / f"seed-{seed}" / "metrics.json").read_text()) for seed in (5, 6, 7)]
        assert [each["seed"] for each in metrics] == row["seeds"] == [5, 6, 7]
        accuracies = [each["accuracy"] for each in metrics]
        figure = row["figures"]["accuracy"]
        assert figure["values"] == accuracies
        assert figure["mean"] == pytest.approx(statistics.mean(accuracies))
        assert figure["std"] == pytest.approx(statistics.stdev(accuracies))
        assert figure["best"] == max(accuracies)
        curves = [pd.read_csv(repeated / name / f"seed-{seed}" / "curves.csv")["val_accuracy"] for seed in (5, 6, 7)]
        assert row["curves"]["val_accuracy"]["mean"] == pytest.approx(list(sum(curves) / 3))
    assert set(found["rows"][0]["figures"]) == {"accuracy", "visual_accuracy", "auditory_accuracy"}


def test_seeds_differ(repeated):
    weights = [(repeated / "tiny" / f"seed-{seed}" / "weights.safetensors").read_bytes() for seed in (5, 6, 7)]
    assert len(set(weights)) == 3


def test_the_table_has_a_line_for_each(repeated):
    text = (repeated / "repeats.md").read_text()
    assert "seeds 5 to 7; the standard deviation is that of a sample (n - 1)" in text
    head, _, *lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    assert head == ["method", "structure", "modality", "data set", "mean", "std", "best"]
    assert [line[:4] for line in lines] == [
        ["tiny", "10+10", "Multimodal", "mnist_dvs + ntidigits"],
        ["tiny_visual", "10+10", "Unimodal", "mnist_dvs"],
    ]
    for line, row in zip(lines, read(repeated)["rows"], strict=True):
        figure = row["figures"]["accuracy"]
        assert [float(cell) for cell in line[4:]] == pytest.approx([100 * figure[key] for key in ("mean", "std", "best")], abs=0.01)


def test_what_has_ended_is_not_trained_again_and_seeds_can_be_added(repeated, cache):
    weights = (repeated / "tiny" / "seed-5" / "weights.safetensors").stat().st_mtime_ns
    before = (repeated / "repeats.json").read_bytes()
    words = ("--cache", cache, "--out", repeated, "--seed", "5", "--epochs", "2", "--resume")
    assert door("repeat", *NAMES, *words, "--seeds", "3") == 0
    assert (repeated / "repeats.json").read_bytes() == before
    assert door("repeat", "tiny", *words, "--seeds", "4") == 0
    assert read(repeated)["rows"][0]["seeds"] == [5, 6, 7, 8]
    assert (repeated / "tiny" / "seed-5" / "weights.safetensors").stat().st_mtime_ns == weights
    (repeated / "repeats.json").write_bytes(before)


def test_the_curves_are_drawn_with_their_band_and_say_of_which_split(repeated):
    found = read(repeated)
    assert (repeated / "repeats.png").stat().st_size > 1000
    (axes,) = repeat_curves(found).axes
    assert "validation split" in axes.get_title(loc="left")
    assert "one standard deviation" in axes.get_title(loc="left")
    assert [line.get_label() for line in axes.lines] == list(NAMES)
    assert len(axes.collections) == 2
    for line, band, row in zip(axes.lines, axes.collections, found["rows"], strict=True):
        curve = row["curves"]["val_accuracy"]
        assert list(line.get_ydata()) == pytest.approx([100 * value for value in curve["mean"]])
        upper = max(100 * (mean + std) for mean, std in zip(curve["mean"], curve["std"], strict=True))
        assert band.get_paths()[0].vertices[:, 1].max() == pytest.approx(upper)


def test_a_single_seed_has_no_deviation(cache, tmp_path):
    assert door("repeat", "tiny", "--cache", cache, "--out", tmp_path / "out", "--seeds", "1", "--epochs", "1") == 0
    found = read(tmp_path / "out")
    assert found["rows"][0]["figures"]["accuracy"]["std"] is None
    assert table(found["rows"])[1][0][-2] == "-"
    assert "seed 0;" in markdown(found)
    assert not repeat_curves(found).axes[0].collections


def test_directions_have_a_line_for_each_figure_and_estimators_one_run(tmp_path):
    path = build_located_cache(tmp_path / "cache", {"train": 12, "test": 6})
    words = [word for change in ("hidden=8", "channels=[4]") for word in ("--set", change)]
    assert door("repeat", "gcc_phat_cnn", "srp_phat", "--cache", path, "--out", tmp_path / "out", "--seeds", "2", "--epochs", "1", *words) == 0
    found = read(tmp_path / "out")
    assert [row["seeds"] for row in found["rows"]] == [[0, 1], [0]]
    assert found["curves"] == "train_accuracy", "without a val split"
    columns, cells = table(found["rows"])
    assert columns[4] == "figure"
    figures = ["DoA MAE (deg)", "DoA acc. < 2.5 deg (%)", "DoA acc. < 5 deg (%)", "accuracy (%)"]
    assert [line[4] for line in cells] == figures + figures[:3]
    row = found["rows"][0]["figures"]["doa_mae_deg"]
    assert row["best"] == min(row["values"])


def test_networks_for_sounds_are_repeated_too(tmp_path):
    path = build_cache(tmp_path / "cache", sizes={"train": 12, "test": 6})
    assert door("repeat", "mlp", "--cache", path, "--out", tmp_path / "out", "--seeds", "2", "--epochs", "1", "--set", "hidden=4") == 0
    (row,) = read(tmp_path / "out")["rows"]
    assert (row["structure"], row["modality"], row["dataset"]) == ("4-3", "Unimodal", "made")


def test_wrong_calls_are_refused_in_one_line(cache, repeated, tmp_path, capsys):
    words = ("--cache", cache, "--out", tmp_path / "out", "--seeds", "2")
    assert "unknown network `tiny_visul`" in refused(capsys, "repeat", "tiny_visul", *words)
    assert "unknown key `channels`" in refused(capsys, "repeat", "tiny", *words, "--set", "channels=[3]")
    assert not (tmp_path / "out").exists()
    assert "--resume" in refused(capsys, "repeat", "tiny", "--cache", cache, "--out", repeated, "--seed", "5", "--epochs", "2")
    sounds = build_cache(tmp_path / "sounds", sizes={"train": 6, "test": 3})
    assert "`tiny` takes visual_frames and auditory_frames" in refused(capsys, "repeat", "tiny", "--cache", sounds, "--out", tmp_path / "out")


def test_spread_by_hand():
    assert spread([0.5, 0.7, 0.9]) == {"values": [0.5, 0.7, 0.9], "mean": pytest.approx(0.7), "std": pytest.approx(0.2), "best": 0.9}
    assert spread([3.0, 1.0], lowest=True)["best"] == 1.0


def test_curves_end_with_the_shortest():
    assert mean_curve([[0.0, 1.0, 1.0], [1.0, 1.0]]) == {"mean": [0.5, 1.0], "std": [pytest.approx(0.5**0.5), 0.0]}
    rows = [{"curves": {"val_accuracy": {}, "train_accuracy": {}}}, {"curves": {"train_accuracy": {}}}, {"curves": {}}]
    assert shared_curve(rows) == "train_accuracy"
    assert shared_curve([{"curves": {}}]) is None


def test_figures_are_those_that_there_are():
    doa = {"mae_deg": 2.0, "accuracy": {"5": 0.9}}
    assert figures_of({"accuracy": None, "doa": doa}) == {"doa_mae_deg": 2.0, "doa_accuracy_5": 0.9}
    assert figures_of({"accuracy": 0.5, "senses": {"visual": 0.4}}) == {"accuracy": 0.5, "visual_accuracy": 0.4}


MADE = {"name": "simulated_events", "source": {"name": "idx_images"}}


@pytest.mark.parametrize(
    ("dataset", "senses", "name"),
    [
        ({"name": "nmnist"}, ["visual"], "nmnist"),
        (JOINT["dataset"], ["auditory"], "ntidigits"),
        ({"name": "joint_events", "visual": [MADE], "auditory": [{"name": "ntidigits"}]}, ["visual"], "simulated_events (idx_images)"),
        ({"name": "joint_events", "visual": [MADE, MADE], "auditory": [MADE]}, ["visual"], "digits, visual part"),
        ({"name": "joint_events", "visual": [MADE, MADE], "auditory": [MADE]}, ["visual", "auditory"], "digits"),
        (MADE, [], "simulated_events (idx_images)"),
        ({}, [], "digits"),
    ],
)
def test_data_sets_are_named_by_what_is_seen_and_heard(dataset, senses, name):
    assert dataset_name({"name": "digits", "dataset": dataset}, senses) == name


def test_senses_are_those_of_the_features():
    assert senses_of(["auditory_frames", "visual_frames"]) == ["visual", "auditory"]
    assert senses_of("mfcc") == []


class Layered(nn.Module):
    """Layers with weights, none of which is used."""

    def __init__(self, *layers):
        super().__init__()
        self.layers = layers

    def weighted_layers(self):
        return {str(number): type("Weighted", (), {"module": layer})() for number, layer in enumerate(self.layers)}


def test_structures_are_read_off_the_layers():
    assert structure_of(Layered(nn.Conv2d(1, 8, 3), nn.Linear(72, 10))) == "8C3-10"
    assert structure_of(Layered(*[nn.Linear(2, 2)] * 9)) == "9 layers"
    assert structure_of(Layered()) == "-"
    shapes = {"visual_frames": (4, 1, 28, 28), "auditory_frames": (4, 1, 64)}
    multimodal = MODELS["multimodal"].build(MODELS["multimodal"].config(), shapes, 10)
    assert structure_of(multimodal) == "32C3-AP2-32C3-AP2-128-10 + 512R-512R-512R-10R", "as in the paper's Table 1"
    assert structure_of(MODELS["tiny"].build(TinyVoterConfig(), {"visual_frames": (8, 1, 8, 8)}, 3)) == "10+10"
