"""Training on directions: it learns, goes on to the same bytes, measures what is there, and says clearly what a cache lacks."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from model_caches import build_cache, build_located_cache
from model_runs import door, refused

from models.callbacks import Curves
from models.data import Examples, load_data, measure_ranges
from models.evaluation import load_network, measure, task_of
from models.seeds import derived_generator
from models.training_config import LocalizationTraining
from models.views import open_located_source

NAN = float("nan")
TINY = ("blocks=1", "width=16", "heads=2", "batch_size=24", "learning_rate=0.01")
RESULTS = ("metrics.json", "weights.safetensors", "curves.csv", "activity.npz", "predictions.csv")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return build_located_cache(tmp_path_factory.mktemp("caches") / "cache")


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    """Return a cache of few examples, some without a class, some without a direction."""
    folder = tmp_path_factory.mktemp("caches") / "few"
    return build_located_cache(folder, {"train": 20, "val": 10, "test": 10}, [0.0, 357.5, NAN, 90.0], [0, 1, -1, 2, 1])


@pytest.fixture(scope="module")
def finished(few, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "finished"
    train(few, run, "--epochs", "3")
    return run


def train(cache, run, *words, name="spikslcnet", code=0, tiny=TINY):
    changes = [word for change in tiny for word in ("--set", change)]
    assert door("train", name, "--cache", cache, "--out", run, *changes, *words) == code


def metrics(run):
    return json.loads((run / "metrics.json").read_text())


def test_a_network_learns_direction_and_class(cache, tmp_path, capsys):
    train(cache, tmp_path / "run", "--epochs", "30", "--set", "doa_error=mean", "--set", "doa_weight=0.99", name="slcnet")
    found = metrics(tmp_path / "run")
    assert found["doa"]["mae_deg"] < 5, found["doa"]
    assert found["accuracy"] >= 0.9
    assert found["doa"]["examples"] == found["examples"] == 24
    closing = capsys.readouterr().out.strip().splitlines()[-1]
    assert "direction off by" in closing
    assert "within 2.5" in closing


def test_a_run_goes_on_to_the_same_bytes(finished, few, tmp_path, monkeypatch):
    began = Curves.on_train_epoch_start

    def interrupt(self, trainer, module):
        if trainer.current_epoch == 1:
            raise KeyboardInterrupt
        began(self, trainer, module)

    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(Curves, "on_train_epoch_start", interrupt)
        train(few, run, "--epochs", "3", code=130)
    train(few, run, "--epochs", "3", "--resume")
    for name in RESULTS:
        assert (run / name).read_bytes() == (finished / name).read_bytes(), name


def test_metrics_state_directions_classes_and_cost(finished):
    found = metrics(finished)
    # of the 10 test examples numbers 2 and 6 have no direction and 2 and 7 no class: number 2 is left out
    assert (found["examples"], found["doa"]["examples"], np.sum(found["confusion_matrix"])) == (9, 8, 8)
    assert set(found["doa"]["accuracy"]) == {"2.5", "5"}
    assert found["shape"] == {"gcc_phat": [6, 17, 4], "log_mel": [4, 12, 4]}
    assert all(0 <= rate <= 1 for rate in found["firing_rates"].values())
    operations = found["operations_per_example"]
    assert operations["synaptic_operations"]
    assert operations["macs"]
    products = [name for name in operations["synaptic_operations"] if name.endswith("product")]
    assert len(products) == 4, "self- and cross-attention of both streams"
    assert found["twin"]["macs_total"] > 0


def test_predictions_hold_every_example_measured(finished):
    table = pd.read_csv(finished / "predictions.csv", keep_default_na=False, na_values={"azimuth_deg": [""]})
    assert list(table) == ["example_id", "azimuth_deg", "predicted_azimuth_deg", "label", "predicted_label"]
    assert len(table) == 9
    assert table["azimuth_deg"].isna().sum() == 1
    assert (table["label"] == "").sum() == 1
    errors = (table["predicted_azimuth_deg"] - table["azimuth_deg"]).dropna() % 360
    assert np.minimum(errors, 360 - errors).mean() == pytest.approx(metrics(finished)["doa"]["mae_deg"])
    labelled = table[table["label"] != ""]
    assert (labelled["label"] == labelled["predicted_label"]).mean() == pytest.approx(metrics(finished)["accuracy"])


def test_curves_hold_direction_and_class(finished):
    curves = pd.read_csv(finished / "curves.csv")
    assert {"val_mae", "val_doa_accuracy", "val_accuracy", "val_loss", "train_mae"} <= set(curves)
    assert np.isfinite(curves.to_numpy()).all()


@pytest.mark.parametrize(("weight", "learned", "other"), [(0, "val_accuracy", "val_mae"), (1, "val_mae", "val_accuracy")])
def test_a_weight_of_0_or_1_leaves_one_task_out(few, tmp_path, weight, learned, other):
    train(few, tmp_path / "run", "--epochs", "1", "--set", f"doa_weight={weight}", "--set", f"monitor={learned}", name="slcnet")
    found = metrics(tmp_path / "run")
    assert (found["doa"] is None, found["accuracy"] is None) == (weight == 0, weight == 1)
    assert other not in set(pd.read_csv(tmp_path / "run" / "curves.csv"))


def test_the_best_epoch_can_be_that_of_the_lowest_error(few, tmp_path):
    train(few, tmp_path / "run", "--epochs", "4", "--set", "monitor=val_mae", name="slcnet")
    curves = pd.read_csv(tmp_path / "run" / "curves.csv")
    timing = json.loads((tmp_path / "run" / "timing.json").read_text())
    assert timing["best_epoch"] == curves["epoch"][curves["val_mae"].idxmin()]


def test_a_folded_network_answers_alike_and_says_so(finished, few, capsys):
    before, answers = metrics(finished), pd.read_csv(finished / "predictions.csv")
    assert door("evaluate", finished, "--cache", few, "--fold") == 0
    assert "folded" in capsys.readouterr().out
    found = metrics(finished)
    assert found["folded"]
    assert not before["folded"]
    assert (pd.read_csv(finished / "predictions.csv")["predicted_azimuth_deg"] == answers["predicted_azimuth_deg"]).mean() > 0.8
    assert found["operations_per_example"]["macs_total"] < before["operations_per_example"]["macs_total"]
    assert door("evaluate", finished, "--cache", few) == 0
    assert metrics(finished) == before


def test_estimators_are_measured_without_training(cache, tmp_path):
    for name in ("srp_phat", "gcc_argmax"):
        assert door("train", name, "--cache", cache, "--out", tmp_path / name) == 0
        found = metrics(tmp_path / name)
        assert found["doa"]["mae_deg"] < 5
        assert found["accuracy"] is None
        assert not (tmp_path / name / "weights.safetensors").exists()
    assert door("evaluate", tmp_path / "srp_phat", "--cache", cache, "--split", "val") == 0
    assert metrics(tmp_path / "srp_phat")["split"] == "val"


def test_a_loaded_network_measures_any_features(finished, few):
    network, record = load_network(finished)
    examples = Examples(open_located_source(few, ("gcc_phat", "log_mel")), "test")
    found = measure(network, [examples.read(range(len(examples)))], task_of(record, network), record.classes, derived_generator(0, "evaluate"))
    assert found.tally.summary()["doa"]["mae_deg"] == pytest.approx(metrics(finished)["doa"]["mae_deg"])


def test_features_come_by_name_with_lags_as_bands(few):
    source = open_located_source(few, ("gcc_phat", "log_mel"))
    batch = next(iter(load_data(source, LocalizationTraining(batch_size=4)).train))
    assert {name: tuple(values.shape) for name, values in batch.features.items()} == {"gcc_phat": (4, 6, 17, 4), "log_mel": (4, 4, 12, 4)}
    assert batch.examples == 4


def test_one_range_for_all_lags_keeps_peaks_as_high_as_they_are(cache):
    examples = Examples(open_located_source(cache, ("gcc_phat", "log_mel")), "train")
    ranges = measure_ranges(examples, 0.01)
    gcc = examples.read(range(len(examples))).features["gcc_phat"]
    assert len(ranges["gcc_phat"].low.unique()) == len(ranges["gcc_phat"].high.unique()) == 1
    assert ranges["gcc_phat"].high.shape == (6, 17, 1)
    peaks = gcc.amax(2)
    assert (peaks > ranges["gcc_phat"].high.max()).float().mean().item() == pytest.approx(0.01, abs=0.005), "1 % of the peaks, not of all values"
    assert len(ranges["log_mel"].low.unique()) == 4 * 12
    assert set(measure_ranges(examples, 0.0, ["gcc_phat"])) == {"gcc_phat"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"features": ["gcc_phat"]}, "add the table [features.log_mel] to its catalog"),
        ({"targets": ()}, "have no `azimuth_deg`"),
        ({"azimuths": [NAN]}, "split `train` has no example with a direction"),
    ],
)
def test_what_a_cache_lacks_is_said_in_one_line(tmp_path, capsys, settings, message):
    path = build_located_cache(tmp_path / "cache", {"train": 4, "test": 2}, **settings)
    assert message in refused(capsys, "train", "slcnet", "--cache", path, "--out", tmp_path / "run")


def test_a_cache_of_one_channel_is_refused_in_one_line(tmp_path, capsys):
    path = build_cache(tmp_path / "cache", sizes={"train": 6, "test": 3})
    assert "add the table [features.gcc_phat]" in refused(capsys, "train", "spikslcnet-1-64", "--cache", path, "--out", tmp_path / "run")
    assert "has no positions_m" in refused(capsys, "train", "srp_phat", "--cache", path, "--out", tmp_path / "run")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--set", "doa_weight=1.5"], "`doa_weight` = 1.5"),
        (["--set", "tolerance_deg=[]"], "`tolerance_deg`"),
        (["--set", "doa_wight=1"], "did you mean `doa_weight`"),
        (["--set", "feature=mfcc"], "unknown key `feature`"),
        (["--set", "heads=3"], "no multiple of `heads`"),
    ],
)
def test_wrong_settings_are_refused_in_one_line(few, tmp_path, capsys, words, message):
    assert message in refused(capsys, "train", "spikslcnet", "--cache", few, "--out", tmp_path / "run", *words)


def test_other_names_and_networks_are_refused_in_one_line(few, finished, tmp_path, capsys):
    assert "did you mean `spikslcnet-2-128`" in refused(capsys, "train", "spikslcnet-2-129", "--cache", few, "--out", tmp_path / "run")
    assert "unknown key `epochs`" in refused(capsys, "train", "srp_phat", "--cache", few, "--out", tmp_path / "run", "--epochs", "3")
    train(few, tmp_path / "slcnet", "--epochs", "1", name="slcnet")
    assert "no normalisation" in refused(capsys, "evaluate", tmp_path / "slcnet", "--cache", few, "--fold")
    with_mels = build_located_cache(tmp_path / "mels", {"train": 4, "test": 2}, features=("log_mel",))
    assert "[features.gcc_phat]" in refused(capsys, "evaluate", finished, "--cache", with_mels)


def test_a_preset_is_a_network_with_settings(few, tmp_path):
    train(few, tmp_path / "run", "--epochs", "1", "--set", "heads=2", name="slcnet-1-64", tiny=())
    record = json.loads((tmp_path / "run" / "config.json").read_text())
    assert record["network"] == "slcnet"
    assert (record["network_settings"]["blocks"], record["network_settings"]["width"], record["network_settings"]["heads"]) == (1, 64, 2)
    assert math.isfinite(metrics(tmp_path / "run")["loss"])
