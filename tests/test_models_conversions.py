"""From the run of an ANN to the run of a spiking network, through the same functions as the commands."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from model_caches import build_cache

from audiodata.errors import AudioDataError
from models import conversions
from models.choices import choose, settings_for
from models.conversions import FIGURES, PROGRESS, TANDEM, convert_run, gap_closed, tandem_run
from models.evaluation import evaluate_run, load_network
from models.runs import read_record
from models.spiking_chain import SpikingNetwork
from models.train_network import train
from models.windows import PICTURE, TABLE, WINDOWS, markdown, means, window_sweep

SMALL = {"channels": [4, 6], "kernels": [5, 3], "epochs": 4, "batch_size": 8, "pooling": "average", "learning_rate": 1e-2, "schedule": "constant"}
QUICK = {"epochs": 2, "patience": 1, "time_steps": 3, "batch_size": 12}


def trained_run(cache, out, name="cnn", **changes):
    settings, training = settings_for(choose(name), SMALL | changes, cache)
    train(name, cache, out, settings, training)
    return out


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return build_cache(tmp_path_factory.mktemp("tandem") / "cache")


@pytest.fixture(scope="module")
def ann(cache):
    return trained_run(cache, cache.parent / "ann", **{"augment": {"on": False}})


@pytest.fixture(scope="module")
def tuned(cache, ann):
    out = cache.parent / "tuned"
    return out, tandem_run(ann, cache, out, QUICK)


def test_primitive_conversion_is_a_run(cache, ann, tmp_path):
    metrics = convert_run(ann, cache, tmp_path / "out", {"time_steps": 6, "weight_bits": 5})
    network, record = load_network(tmp_path / "out")
    assert isinstance(network, SpikingNetwork) and network.time_steps == 6
    assert metrics == evaluate_run(tmp_path / "out", cache) and metrics["time_steps"] == 6
    assert record.conversion["method"] == "primitive" and record.conversion["from"]["run"] == "ann"
    assert record.conversion["thresholds"] == network.thresholds and len(network.thresholds) == 2
    assert len(network.readout.weighted.weight.unique()) <= 31
    assert (tmp_path / "out" / "activity.npz").is_file()
    report = json.loads((tmp_path / "out" / "conversion.json").read_text(encoding="utf-8"))
    assert [layer["layer"] for layer in report["layers"]] == ["conv1", "conv2"] and report["examples"] == 12
    assert (tmp_path / "out" / "conversion.md").is_file() and (tmp_path / "out" / "conversion.png").is_file()


def test_many_steps_answer_as_the_ann(cache, ann, tmp_path):
    metrics = convert_run(ann, cache, tmp_path / "out", {"time_steps": 256, "percentile": 100, "coding": "constant"})
    known = json.loads((ann / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["loss"] == pytest.approx(known["loss"], abs=0.03)


def test_progressive_run_says_what_training_gained(cache, ann, tuned):
    out, metrics = tuned
    found = json.loads((out / TANDEM).read_text(encoding="utf-8"))
    assert found == metrics["tandem"]
    assert found["figure"] == "accuracy" and found["split"] == "test" and found["progressive"] == metrics["accuracy"]
    assert found["ann"] == json.loads((ann / "metrics.json").read_text(encoding="utf-8"))["accuracy"]
    assert found["gap_closed"] == gap_closed(found["ann"], found["primitive"], found["progressive"], higher=True)
    assert [stage["layer"] for stage in found["stages"]] == ["conv1", "conv2"]
    assert (out / PROGRESS).read_bytes().startswith(b"\x89PNG")
    report = json.loads((out / "conversion.json").read_text(encoding="utf-8"))
    assert [layer["threshold"] for layer in report["layers"]] == [stage["threshold"] for stage in found["stages"]]
    curves = pd.read_csv(out / "curves.csv")
    assert {"stage", "layer", "epoch", "train_loss", "val_loss", "val_accuracy", "best", "bad_epochs"} <= set(curves)
    assert len(curves) == 2 and json.loads((out / "timing.json").read_text(encoding="utf-8"))["epochs"] == 2


def test_progressive_run_is_measured_by_evaluate(cache, tuned):
    out, metrics = tuned
    assert evaluate_run(out, cache) == {name: value for name, value in metrics.items() if name != "tandem"}
    conversion = read_record(out).conversion
    assert conversion["method"] == "progressive" and conversion["patience"] == 1 and len(conversion["thresholds"]) == 2


def test_ann_is_left_as_it_was(cache, ann, tuned):
    before = load_network(ann)[0].state_dict()
    again = load_network(trained_run(cache, cache.parent / "again", **{"augment": {"on": False}}))[0].state_dict()
    assert all(torch.equal(value, again[name]) for name, value in before.items())


def test_ended_run_is_measured_again_and_more_epochs_go_on(cache, ann, tuned, tmp_path):
    out, metrics = tuned
    assert tandem_run(ann, cache, out, QUICK, resume=True) == metrics
    first = tmp_path / "out"
    tandem_run(ann, cache, first, QUICK | {"epochs": 1})
    more = tandem_run(ann, cache, first, QUICK, resume=True)
    assert pd.read_csv(first / "curves.csv")["epoch"].tolist() == [1, 2]
    assert len(more["tandem"]["stages"]) == 2


def test_interrupted_run_says_so_and_goes_on(cache, ann, tuned, tmp_path, monkeypatch):
    out, settings = tmp_path / "out", QUICK
    interrupted = conversions.fine_tune

    def cut(*args, **options):
        interrupted(*args, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(conversions, "fine_tune", cut)
    with pytest.raises(KeyboardInterrupt):
        tandem_run(ann, cache, out, settings)
    with pytest.raises(AudioDataError, match="--resume"):
        evaluate_run(out, cache)
    monkeypatch.undo()
    tandem_run(ann, cache, out, settings, resume=True)
    assert (out / "weights.safetensors").read_bytes() == (tuned[0] / "weights.safetensors").read_bytes()


def test_other_settings_are_refused_with_the_difference(cache, ann, tuned):
    out, _ = tuned
    with pytest.raises(AudioDataError, match=r"`time_steps`: the run has 3, asked for is 4"):
        tandem_run(ann, cache, out, QUICK | {"time_steps": 4}, resume=True)
    with pytest.raises(AudioDataError, match="already holds a run"):
        tandem_run(ann, cache, out, QUICK)
    with pytest.raises(AudioDataError, match="unknown key `patiense`; did you mean `patience`"):
        tandem_run(ann, cache, out, {"patiense": 3})
    with pytest.raises(AudioDataError, match="already holds a run"):
        convert_run(ann, cache, out, {})


def test_what_can_not_be_converted_is_refused_before_anything_is_read(cache, ann, tuned, tmp_path):
    with pytest.raises(AudioDataError, match="a spiking network already, made of the run ann"):
        convert_run(tuned[0], cache, tmp_path / "x", {})
    spiking = trained_run(cache, tmp_path / "csnn", "csnn", epochs=1, time_steps=2, pooling="max")
    with pytest.raises(AudioDataError, match="convert the ANN `cnn`, not `csnn`"):
        convert_run(spiking, tmp_path / "no cache", tmp_path / "x", {})
    pooled = trained_run(cache, tmp_path / "max", epochs=1, pooling="max")
    with pytest.raises(AudioDataError, match="pooling=average"):
        tandem_run(pooled, tmp_path / "no cache", tmp_path / "x", {})
    with pytest.raises(AudioDataError, match="not a training run"):
        convert_run(tmp_path, cache, tmp_path / "x", {})
    assert not (tmp_path / "x").exists()


def test_augmentation_is_that_of_the_ann(cache, tmp_path):
    loud = trained_run(cache, tmp_path / "ann", epochs=1)
    kept = {}
    for augment in (True, False):
        tandem_run(loud, cache, tmp_path / str(augment), QUICK | {"augment": augment, "epochs": 1})
        kept[augment] = pd.read_csv(tmp_path / str(augment) / "curves.csv")["train_loss"][0]
    assert kept[True] != kept[False]


def test_sweep_over_windows(cache, ann, tmp_path):
    found = window_sweep(ann, cache, tmp_path / "out", [4, 1], tune=True, seeds=[3], settings={"epochs": 1, "batch_size": 12, "percentile": 99.0})
    rows = [(row["method"], row["time_steps"], row["seed"]) for row in found["rows"]]
    assert rows == [(method, steps, seed) for steps in (1, 4) for method, seed in (("primitive", None), ("progressive", 3))]
    assert found["rows"][2]["ratio"] > found["rows"][0]["ratio"] > 0
    assert read_record(tmp_path / "out" / "primitive-4").conversion["percentile"] == 99.0
    assert read_record(tmp_path / "out" / "progressive-4-seed-3").conversion["seed"] == 3
    assert json.loads((tmp_path / "out" / WINDOWS).read_text(encoding="utf-8")) == found
    assert (tmp_path / "out" / PICTURE).read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "out" / TABLE).read_text(encoding="utf-8") == markdown(found)


def test_means_over_seeds():
    rows = [{"method": "progressive", "time_steps": 4, "value": value, "ratio": 0.5, "ratio_without_dense": None} for value in (0.7, 0.8, 0.6)]
    (mean,) = means([*rows, rows[0] | {"method": "primitive"}], "progressive")
    assert mean["value"] == pytest.approx(np.mean([0.7, 0.8, 0.6])) and mean["std"] == pytest.approx(np.std([0.7, 0.8, 0.6], ddof=1))
    assert (mean["runs"], mean["ratio"], mean["ratio_without_dense"]) == (3, 0.5, None)


@pytest.mark.parametrize(("settings", "words"), [
    ({"patience": 2}, "add --tune"), ({"time_steps": 2}, "--time-steps"), ({"seed": 2}, "--seeds"), ({"percentil": 2}, "did you mean `percentile`")
])  # fmt: skip
def test_sweep_refuses_settings_that_are_not_for_it(cache, ann, tmp_path, settings, words):
    with pytest.raises(AudioDataError, match=words):
        window_sweep(ann, cache, tmp_path / "out", [2], settings=settings)


def test_gap():
    assert gap_closed(0.9, 0.5, 0.9, higher=True) == 1
    assert gap_closed(0.01, 0.03, 0.02, higher=False) == pytest.approx(0.5)
    assert gap_closed(0.9, 0.9, 0.8, higher=True) is None
    assert gap_closed(0.9, None, 0.8, higher=True) is None
    assert set(FIGURES) == {"classification", "reconstruction", "separation"}
