"""Training on events: it learns, goes on to the same bytes, measures each sense, and says clearly what a cache lacks."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from event_caches import SIZES, TIME_STEPS, build_event_cache, tiny_model
from model_caches import CLASSES
from model_runs import door, refused

from models import MODELS, train_multimodal
from models.callbacks import Curves
from models.training_config import VotingTraining

FAST = ("batch_size=8", "learning_rate=0.05")
RESULTS = ("metrics.json", "weights.safetensors", "curves.csv", "activity.npz", "attention.npz", "predictions.csv")


@pytest.fixture(scope="module", autouse=True)
def tiny():
    with pytest.MonkeyPatch.context() as patch:
        for name, senses in (("tiny", ("visual", "auditory")), ("tiny_visual", ("visual",)), ("tiny_auditory", ("auditory",))):
            patch.setitem(MODELS, name, tiny_model(*senses))
            patch.setitem(train_multimodal.TRAINING, name, VotingTraining)
        yield


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return build_event_cache(tmp_path_factory.mktemp("caches") / "events")


@pytest.fixture(scope="module")
def finished(cache, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "finished"
    train(cache, run, "--epochs", "4")
    return run


def train(cache, run, *words, name="tiny", code=0, changes=FAST):
    given = [word for change in changes for word in ("--set", change)]
    assert door("train", name, "--cache", cache, "--out", run, *given, *words) == code


def metrics(run):
    return json.loads((run / "metrics.json").read_text())


@pytest.mark.parametrize("name", ["tiny", "tiny_visual", "tiny_auditory"])
def test_a_network_learns(cache, tmp_path, name):
    train(cache, tmp_path / "run", "--epochs", "8", name=name)
    assert metrics(tmp_path / "run")["accuracy"] > 0.9


SMALL = {
    "v_network": ("channels=[8,8]", "hidden=16"),
    "a_network": ("hidden=[24,24]",),
    "multimodal": ("visual.channels=[8,8]", "visual.hidden=16", "auditory.hidden=[24,24]", "fusion=16"),
    "multimodal_fc": ("visual.channels=[8,8]", "visual.hidden=16", "auditory.hidden=[24,24]", "fusion=16"),
}


@pytest.mark.parametrize("name", SMALL)
def test_every_network_of_the_zoo_learns(cache, tmp_path, name):
    train(cache, tmp_path / "run", "--epochs", "12", name=name, changes=("batch_size=8", "learning_rate=0.01", *SMALL[name]))
    found = metrics(tmp_path / "run")
    assert found["accuracy"] > 0.9, found["confusion_matrix"]
    assert sum(found["operations_per_example"]["synaptic_operations"].values()) > 0
    both = name.startswith("multimodal")
    assert set(found["senses"]) == ({"visual", "auditory"} if both else set())
    assert (tmp_path / "run" / "attention.npz").exists() == (name == "multimodal")


def test_every_voting_network_is_tested():
    assert set(SMALL) == {name for name, model in MODELS.items() if model.task == "voting"} - {"tiny", "tiny_visual", "tiny_auditory"}


def test_a_sense_that_says_nothing_is_not_learned_from(tmp_path):
    path = build_event_cache(tmp_path / "cache", SIZES | {"test": 24}, clear=("auditory",))
    train(path, tmp_path / "run", "--epochs", "8")
    found = metrics(tmp_path / "run")["senses"]
    assert found["auditory"] > 0.9
    assert found["visual"] < 0.7


def test_metrics_state_votes_senses_and_cost(finished):
    found = metrics(finished)
    assert found["shape"] == {"visual_frames": [TIME_STEPS, 1, 8, 8], "auditory_frames": [TIME_STEPS, 1, 12]}
    assert found["time_steps"] == TIME_STEPS
    assert found["feature"] == ["visual_frames", "auditory_frames"]
    assert found["classes"] == CLASSES
    assert np.sum(found["confusion_matrix"]) == found["examples"] == 12
    assert set(found["senses"]) == {"visual", "auditory"}
    assert found["attention"] == {"visual": 1.0, "auditory": 1.0}
    assert 0 <= found["silent"] <= 1
    assert 0 <= found["tied"] <= 1 - found["silent"]
    assert set(found["firing_rates"]) == {"visual_frames", "auditory_frames", "answer"}


def test_operations_are_events_times_connections(finished, cache):
    from audiodata.torch_dataset import ShardDataset

    examples = ShardDataset(cache, "test")
    counted = metrics(finished)["operations_per_example"]["synaptic_operations"]
    for name in ("visual_frames", "auditory_frames"):
        events = sum(int(example[name].sum()) for example in examples)
        assert counted[name] == pytest.approx(events * len(CLASSES) / len(examples))


def test_predictions_agree_with_metrics(finished):
    table, found = pd.read_csv(finished / "predictions.csv"), metrics(finished)
    assert list(table) == ["example_id", "label", "predicted_label", "predicted_visual", "predicted_auditory"]
    for column, expected in (("label", found["accuracy"]), ("visual", found["senses"]["visual"]), ("auditory", found["senses"]["auditory"])):
        assert (table["label"] == table[f"predicted_{column}"]).mean() == pytest.approx(expected)


def test_attention_is_kept_for_the_first_examples_of_each_class(finished):
    predictions = pd.read_csv(finished / "predictions.csv")
    with np.load(finished / "attention.npz") as kept:
        assert kept["weights"].shape == (9, TIME_STEPS, 2)
        assert list(kept["senses"]) == ["visual", "auditory"]
        assert list(kept["example_id"]) == [f"test{row:04d}#0" for row in range(9)]
        assert list(kept["label"]) == list(predictions["label"][:9])
        assert list(kept["predicted"]) == list(predictions["predicted_label"][:9])


def test_networks_without_attention_or_with_one_sense_keep_none(cache, tmp_path):
    train(cache, tmp_path / "plain", "--epochs", "1", "--set", "attention=false")
    train(cache, tmp_path / "seen", "--epochs", "1", name="tiny_visual")
    for run in ("plain", "seen"):
        assert not (tmp_path / run / "attention.npz").exists()
        assert metrics(tmp_path / run)["attention"] is None
    assert metrics(tmp_path / "seen")["senses"] == {}
    assert list(pd.read_csv(tmp_path / "seen" / "predictions.csv")) == ["example_id", "label", "predicted_label"]


def test_curves_hold_every_sense(finished):
    curves = pd.read_csv(finished / "curves.csv")
    assert {"val_accuracy", "val_visual_accuracy", "val_auditory_accuracy", "val_loss", "train_loss"} <= set(curves)
    assert np.isfinite(curves.to_numpy()).all()
    assert set(curves["learning_rate"]) == {0.05}, "constant, as in the paper"


def test_a_run_goes_on_to_the_same_bytes(finished, cache, tmp_path, monkeypatch):
    began = Curves.on_train_epoch_start

    def interrupt(self, trainer, module):
        if trainer.current_epoch == 2:
            raise KeyboardInterrupt
        began(self, trainer, module)

    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(Curves, "on_train_epoch_start", interrupt)
        train(cache, run, "--epochs", "4", code=130)
    train(cache, run, "--epochs", "4", "--resume")
    for name in RESULTS:
        assert (run / name).read_bytes() == (finished / name).read_bytes(), name


def test_a_weight_of_0_leaves_a_sense_untrained(cache, tmp_path):
    for epochs in ("1", "2"):
        train(cache, tmp_path / epochs, "--epochs", epochs, "--set", "visual_weight=0", "--set", "answer_weight=0", "--set", "monitor=val_accuracy")
    last = [torch.load(tmp_path / epochs / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"] for epochs in ("1", "2")]
    same = {sense: torch.equal(*(state[f"network.dense.{sense}_frames.weight"] for state in last)) for sense in ("visual", "auditory")}
    assert same == {"visual": True, "auditory": False}


def test_the_best_epoch_can_be_that_of_the_highest_accuracy(cache, tmp_path):
    train(cache, tmp_path / "run", "--epochs", "3", "--set", "monitor=val_accuracy")
    best = json.loads((tmp_path / "run" / "timing.json").read_text())["best_epoch"]
    assert best == 1 + pd.read_csv(tmp_path / "run" / "curves.csv")["val_accuracy"].idxmax()


def test_evaluate_and_compare_take_voting_networks(finished, cache, tmp_path):
    before = (finished / "metrics.json").read_bytes()
    assert door("evaluate", finished, "--cache", cache) == 0
    assert (finished / "metrics.json").read_bytes() == before
    words = [word for change in (*FAST, "threshold=0.6") for word in ("--set", change)]
    assert door("compare", "tiny", "tiny_visual", "--cache", cache, "--out", tmp_path / "out", "--epochs", "1", *words) == 0
    rows = json.loads((tmp_path / "out" / "comparison.json").read_text())["rows"]
    assert [(row["method"], row["type"], row["time_steps"]) for row in rows] == [("tiny", "SNN", TIME_STEPS), ("tiny_visual", "SNN", TIME_STEPS)]
    assert all(row["accuracy"] is not None and row["synaptic_operations"] > 0 for row in rows)


def test_what_does_not_fit_is_refused_in_one_line(cache, finished, tmp_path, capsys):
    words = ("--cache", cache, "--out", tmp_path / "run")
    assert "networks that take what there is: " in refused(capsys, "train", "csnn", *words)
    assert "did you mean `visual_weight`" in refused(capsys, "train", "tiny", *words, "--set", "visual_wait=1")
    assert "`visual_weight` = -1" in refused(capsys, "train", "tiny", *words, "--set", "visual_weight=-1")
    unlabelled = build_event_cache(tmp_path / "unlabelled", {"train": 6, "test": 0}, unlabelled=3)
    assert "split `test` has no example with a class" in refused(capsys, "evaluate", finished, "--cache", unlabelled)
