"""Training: it learns, repeats to the bit, goes on where it stopped, and says clearly what is wrong."""

import json
import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from model_caches import CLASSES, build_cache
from model_runs import door, refused
from safetensors.torch import load_file

from audiodata.errors import AudioDataError
from models import MODELS, PRESETS
from models.callbacks import Curves
from models.choices import parse_changes, split_settings
from models.training_config import SpikingTraining, TwinTraining

ROOT = Path(__file__).resolve().parents[1]
SMALL = {
    "csnn": ["time_steps=6", "channels=[4,8]", "kernels=[3,3]", "threshold=0.5"],
    "cnn": ["channels=[4,8]", "kernels=[3,3]"],
    "feedforward": ["time_steps=6", "hidden=40", "threshold=0.5"],
    "mlp": ["hidden=40"],
    "mnist_cnn": ["width=0.25"],
    "alexnet_like": ["width=0.05"],
}
# Those of an optional package are tested with it (test_models_reference.py), those that halve their maps five times on larger features
# (test_models_image_networks.py).
CLASSIFYING = [
    name for name, model in MODELS.items() if model.task == "classification" and not model.needs and name not in ("vgg11_like", "vgg16_like")
]


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return build_cache(tmp_path_factory.mktemp("caches") / "cache")


@pytest.fixture(scope="module")
def finished(cache, tmp_path_factory):
    """Return a run that has ended: a spiking network with everything random that there is."""
    run = tmp_path_factory.mktemp("runs") / "finished"
    train(cache, run, *RANDOM)
    return run


RANDOM = ("--epochs", "4", "--set", "dropout=0.2", "--set", "encoding=rate")


def train(cache, run, *words, name="csnn", code=0):
    changes = [word for change in ["batch_size=8", "learning_rate=0.01", *SMALL[name]] for word in ("--set", change)]
    assert door("train", name, "--cache", cache, "--out", run, *changes, *words) == code


def metrics(run):
    return json.loads((run / "metrics.json").read_text())


@pytest.mark.parametrize("name", CLASSIFYING)
def test_every_network_learns(cache, tmp_path, name):
    train(cache, tmp_path / "run", "--epochs", "12", name=name)
    found = metrics(tmp_path / "run")
    assert found["accuracy"] >= 0.75, found["confusion_matrix"]
    assert found["split"] == "test"
    assert found["examples"] == 12
    assert found["chance"] == pytest.approx(1 / 3)


def test_metrics_state_what_was_measured(finished, cache):
    found = metrics(finished)
    assert found["classes"] == CLASSES
    assert np.array(found["confusion_matrix"]).sum() == 12
    assert set(found["firing_rates"]) == {"input", "lif1", "lif2", "lif3"}
    assert all(0 <= rate <= 1 for rate in found["firing_rates"].values())
    assert found["parameters"] == found["twin"]["parameters"]
    operations = found["operations_per_example"]
    assert set(operations["synaptic_operations"]) == {"conv1", "conv2", "fc"}
    assert operations["synaptic_operations_total"] == pytest.approx(sum(operations["synaptic_operations"].values()))
    assert found["evaluated_on"] == {"catalog": "made", "catalog_fingerprint": "c" * 64}
    assert found["settings"]["network"]["encoding"] == found["encoding"] == "rate"


def test_a_run_holds_curves_activity_and_timing(finished):
    curves = pd.read_csv(finished / "curves.csv")
    assert list(curves["epoch"]) == [1, 2, 3, 4]
    assert {"train_loss", "train_accuracy", "val_loss", "val_accuracy", "learning_rate"} <= set(curves)
    with np.load(finished / "activity.npz") as layers:
        assert [layers[name].shape[0] for name in ("input", "lif1", "lif2", "lif3")] == [6] * 4
        assert layers["lif3"].shape == (6, 3)
    assert len(json.loads((finished / "timing.json").read_text())["seconds_per_epoch"]) == 4
    assert list((finished / "tensorboard").iterdir())


def test_checkpoints_hold_nothing_but_data_and_the_best_epoch_is_kept(finished):
    best = torch.load(finished / "checkpoints" / "best.ckpt", weights_only=True)
    weights = load_file(finished / "weights.safetensors")
    assert all(torch.equal(best["state_dict"][f"network.{name}"], value) for name, value in weights.items())
    curves = pd.read_csv(finished / "curves.csv")
    assert best["epoch"] == curves["val_loss"].idxmin()


def files_of(run, *names):
    return {name: (run / name).read_bytes() for name in names}


RESULTS = ("metrics.json", "weights.safetensors", "curves.csv", "activity.npz")


def test_same_seed_same_bytes(finished, cache, tmp_path):
    train(cache, tmp_path / "run", *RANDOM)
    assert files_of(tmp_path / "run", *RESULTS) == files_of(finished, *RESULTS)


def test_another_seed_another_network(finished, cache, tmp_path):
    train(cache, tmp_path / "run", *RANDOM, "--seed", "1")
    assert files_of(tmp_path / "run", "weights.safetensors") != files_of(finished, "weights.safetensors")


@pytest.mark.parametrize("epoch", [0, 2])
def test_an_interrupted_run_goes_on_to_the_same_bytes(finished, cache, tmp_path, monkeypatch, capsys, epoch):
    began = Curves.on_train_epoch_start

    def interrupt(self, trainer, module):
        if trainer.current_epoch == epoch:
            raise KeyboardInterrupt
        began(self, trainer, module)

    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(Curves, "on_train_epoch_start", interrupt)
        train(cache, run, *RANDOM, code=130)
    assert f"--resume --out {run}" in capsys.readouterr().out.replace("\n", "")
    assert not (run / "weights.safetensors").exists()
    train(cache, run, *RANDOM, "--resume")
    assert files_of(run, *RESULTS) == files_of(finished, *RESULTS)


def test_a_run_can_be_made_longer(finished, cache, tmp_path):
    run = tmp_path / "run"
    shorter = [word if word != "4" else "2" for word in RANDOM]
    train(cache, run, *shorter)
    train(cache, run, *shorter, "--resume")
    assert len(pd.read_csv(run / "curves.csv")) == 2, "nothing was left to do"
    train(cache, run, *RANDOM, "--resume")
    assert len(pd.read_csv(run / "curves.csv")) == 4


def test_ctrl_c_leaves_a_run_that_goes_on(cache, tmp_path):
    run = tmp_path / "run"
    words = [sys.executable, "-m", "models", "train", "csnn", "--cache", cache, "--out", run, "--epochs", "100000", "--set", "time_steps=2"]
    words += [word for change in ("patience=0", "channels=[2,2]", "kernels=[3,3]") for word in ("--set", change)]
    # a background shell starts its children deaf to Ctrl-C; this one has to hear it whoever runs the tests
    heard = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
    process = subprocess.Popen(list(map(str, words)), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **heard)
    deadline = time.monotonic() + 180
    while not (run / "checkpoints" / "last.ckpt").exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert "--resume" in out
    assert torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["epoch"] >= 0
    assert not [path for path in run.rglob("*") if path.name.endswith(".tmp")]


def test_evaluate_writes_the_same_metrics_again(finished, cache):
    before = files_of(finished, "metrics.json", "activity.npz")
    assert door("evaluate", finished, "--cache", cache) == 0
    assert files_of(finished, "metrics.json", "activity.npz") == before


def test_evaluate_measures_another_split(finished, cache):
    before = (finished / "metrics.json").read_bytes()
    assert door("evaluate", finished, "--cache", cache, "--split", "val") == 0
    assert (metrics(finished)["split"], metrics(finished)["examples"]) == ("val", 9)
    (finished / "metrics.json").write_bytes(before)


def test_the_rate_is_halved_where_the_loss_stands_still(cache, tmp_path, capsys):
    words = ("--epochs", "9", "--set", "schedule=plateau", "--set", "learning_rate=1e-12")
    train(cache, tmp_path / "run", *words, name="mlp")
    curves = pd.read_csv(tmp_path / "run" / "curves.csv")
    lowest, bad, expected = float("inf"), 0, [1e-12]
    for loss in curves["val_loss"]:
        lowest, bad = (loss, 0) if loss < lowest else (lowest, bad + 1)
        expected.append(expected[-1] / 2 if bad == 3 else expected[-1])
        bad %= 3
    assert curves["learning_rate"].tolist() == pytest.approx(expected[:-1], rel=1e-9, abs=0)
    assert expected[-1] < 1e-12, "it did stand still"
    without = build_cache(tmp_path / "without", sizes={"train": 6, "test": 3})
    message = refused(capsys, "train", "mlp", "--cache", without, "--out", tmp_path / "other", "--set", "schedule=plateau")
    assert "follows the loss on the val split" in message


def test_without_val_the_last_epoch_counts(tmp_path):
    cache = build_cache(tmp_path / "cache", sizes={"train": 12, "test": 6})
    train(cache, tmp_path / "run", "--epochs", "3", "--set", "patience=1")
    assert torch.load(tmp_path / "run" / "checkpoints" / "best.ckpt", weights_only=True)["epoch"] == 2
    assert set(pd.read_csv(tmp_path / "run" / "curves.csv")) == {"epoch", "learning_rate", "train_loss", "train_accuracy"}


def test_without_test_the_val_split_is_measured(tmp_path):
    cache = build_cache(tmp_path / "cache", sizes={"train": 12, "val": 6})
    train(cache, tmp_path / "run", "--epochs", "1")
    assert metrics(tmp_path / "run")["split"] == "val"


def test_training_stops_when_patience_ends(cache, tmp_path):
    train(cache, tmp_path / "run", "--epochs", "30", "--set", "patience=2", "--set", "learning_rate=1e-9")
    assert len(pd.read_csv(tmp_path / "run" / "curves.csv")) == 3


def test_the_user_sees_one_line_of_progress_and_one_of_result(cache, tmp_path, capfd, recwarn):
    train(cache, tmp_path / "run", "--epochs", "2")
    out, err = capfd.readouterr()
    assert len(out.strip().splitlines()) == 1
    assert len(err.strip().splitlines()) == 1, err
    assert "examples/s" in err
    assert not [str(warning.message) for warning in recwarn if "lightning" in str(warning.filename)]


def test_list_shows_every_network(capsys):
    assert door("list") == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in MODELS)


def test_a_finished_run_is_not_overwritten(finished, cache, capsys):
    assert "--resume" in refused(capsys, "train", "csnn", "--cache", cache, "--out", finished)


def test_other_settings_do_not_go_on(finished, cache, capsys):
    message = refused(capsys, "train", "csnn", "--cache", cache, "--out", finished, "--resume", "--set", "time_steps=9")
    assert "can't go on with another" in message
    other = build_cache(finished.parent / "other", fingerprint="d" * 64)
    assert "another cache" in refused(capsys, "train", "csnn", "--cache", other, "--out", finished, "--resume")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--set", "learning_rte=1"], "did you mean `learning_rate`"),
        (["--set", "augment.gain=1"], "did you mean `gain_db`"),
        (["--set", "time_steps=0"], "`time_steps` = 0"),
        (["--set", "pooling=median"], "`pooling` = 'median'"),
        (["--set", "epochs"], "expected key=value"),
        (["--set", "loss=cross"], "`loss` = 'cross'"),
        (["--set", "feature=log_mel"], "no feature `log_mel`"),
        (["--set", "kernels=[9,9]"], "too small for convolutions"),
        (["--set", "device=mps"], "there is none here"),
    ],
)
def test_wrong_settings_are_refused_in_one_line(cache, tmp_path, capsys, words, message):
    assert message in refused(capsys, "train", "csnn", "--cache", cache, "--out", tmp_path / "run", *words)


def test_wrong_names_and_folders_are_refused_in_one_line(cache, finished, tmp_path, capsys):
    run = tmp_path / "run"
    assert "did you mean `csnn`" in refused(capsys, "train", "cssn", "--cache", cache, "--out", run)
    assert "nowhere" in refused(capsys, "train", "csnn", "--cache", tmp_path / "nowhere", "--out", run)
    assert "not a training run" in refused(capsys, "evaluate", tmp_path, "--cache", cache)
    assert "other" in refused(capsys, "evaluate", finished, "--cache", cache, "--split", "other")


def test_a_cache_with_other_classes_is_refused(finished, tmp_path, capsys, monkeypatch):
    import model_caches

    monkeypatch.setattr(model_caches, "CLASSES", ["a", "b", "c"])
    other = build_cache(tmp_path / "cache")
    assert "was trained for" in refused(capsys, "evaluate", finished, "--cache", other)


def test_damaged_or_missing_weights_are_named(finished, cache, capsys):
    path = finished / "weights.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:50])
    assert "weights.safetensors: can't be loaded" in refused(capsys, "evaluate", finished, "--cache", cache)
    path.unlink()
    assert "training has not ended" in refused(capsys, "evaluate", finished, "--cache", cache)
    path.write_bytes(whole)
    config = (finished / "config.json").read_bytes()
    (finished / "config.json").write_text("{")
    assert "config.json: damaged" in refused(capsys, "evaluate", finished, "--cache", cache)
    (finished / "config.json").write_bytes(config)


def test_a_loss_that_is_not_finite_ends_the_run(cache, tmp_path, capsys):
    words = ("train", "cnn", "--cache", cache, "--out", tmp_path / "run", "--set", "learning_rate=1e30", "--set", "batch_size=2")
    capsys.readouterr()
    assert door(*words) == 2
    assert "the loss is" in capsys.readouterr().err.splitlines()[-1]


def test_settings_go_to_network_and_training():
    model = MODELS["csnn"]
    given = parse_changes(["time_steps=3", "augment.gain_db=1.5", "encoding=rate", "feature=mfcc", "channels=[2, 3]"])
    network, training = split_settings(given, model.config, SpikingTraining)
    assert (network.time_steps, network.encoding, network.channels) == (3, "rate", (2, 3))
    assert (training.augment.gain_db, training.feature) == (1.5, "mfcc")
    with pytest.raises(AudioDataError, match=r"unknown key `loss`|`loss` = "):
        split_settings({"loss": "ce_rate"}, MODELS["cnn"].config, TwinTraining)


@pytest.mark.parametrize("name", MODELS)
def test_no_setting_has_two_meanings(name):
    import importlib

    training = importlib.import_module(MODELS[name].page).TRAINING[name]
    assert not set(MODELS[name].config.model_fields) & set(training.model_fields)


def test_conformance_of_the_registry():
    from torch import nn

    from models.neurons import SpikingNeuron

    shapes = {"gcc_phat": (6, 51, 4), "log_mel": (4, 20, 4), "mfcc": (4, 20, 4), "mtpc": (6, 51 * 40, 4)}
    shapes |= {"visual_frames": (4, 1, 28, 28), "auditory_frames": (4, 1, 64)}
    only = {"classification": (1, 20, 40), "reconstruction": (1, 20, 40), "separation": (1, 400)}
    weights = nn.Linear | nn.Conv1d | nn.Conv2d | nn.ConvTranspose1d
    array = {"positions_m": [[0.1, 0, 0], [0, 0.1, 0], [-0.1, 0, 0], [0, -0.1, 0]], "sample_rate": 16000}
    for name, model in MODELS.items():
        if model.needs and not find_spec("pytorchcv"):
            continue
        wanted = {(one if isinstance(one, str) else one[0]): 0 for one in model.features}
        shape = only[model.task] if model.task in only else {one: shapes[one] for one in wanted}
        network = model.build(model.config(**({} if model.trained else array)), shape, 3)
        weighted = {layer.module for layer in network.weighted_layers().values()}
        assert weighted == {module for module in network.modules() if isinstance(module, weights)}
        spiking = {part for layer in network.spiking_layers().values() for part in layer.modules()}
        assert {module for module in network.modules() if isinstance(module, SpikingNeuron)} <= spiking
        assert bool(spiking) == (model.kind == "SNN"), name
        assert bool(weighted) == model.trained, name
        if model.twin:
            shared = MODELS[model.twin].config.model_fields.keys()
            assert shared <= model.config.model_fields.keys()
    assert os.environ.get("PL_GLOBAL_SEED") is None


@pytest.mark.parametrize(("name", "preset"), PRESETS.items())
def test_presets_fit_their_networks(name, preset):
    assert name not in MODELS
    MODELS[preset.network].config(**preset.settings)
