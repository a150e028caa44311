"""Networks of which one sense gets worse: undegraded the figures are those of `evaluate`, and only those that use the sense suffer."""

import copy
import json

import numpy as np
import pytest
from event_caches import tiny_model
from located_caches import build_located, write_recordings
from made_digits import JOINT, write_digits
from typer.testing import CliRunner

from audiodata.catalog import parse_catalog
from audiodata.errors import AudioDataError, CacheError
from audiodata.originals import Originals
from models import MODELS
from models.__main__ import app
from models.degrade import measure_degradation, table_columns, table_rows, write_result
from models.robustness import measure_robustness
from models.train_multimodal import TRAINING
from models.training_config import VotingTraining
from pipelines import build

RUNS = {"tiny_both": (), "tiny_visual": ("visual",), "tiny_auditory": ("auditory",)}


def invoke(*words):
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, f"{done.output}\n{done.exception}"
    return done.output


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Data root, cache of pairs, and a run for both senses and for each alone."""
    folder = write_digits(tmp_path_factory.mktemp("digits"))
    build.build(parse_catalog(copy.deepcopy(JOINT), "digits", "digits.toml"), folder, folder / "cache")
    with pytest.MonkeyPatch.context() as patch:
        for name, senses in RUNS.items():
            patch.setitem(MODELS, name, tiny_model(*senses))
            patch.setitem(TRAINING, name, VotingTraining)
            invoke("train", name, "--cache", folder / "cache", "--out", folder / name, "--epochs", 12, "--set", "learning_rate=0.01")
        yield folder


def measured(made, sense, how, amounts=(), runs=tuple(RUNS), **further):
    return measure_degradation([made / run for run in runs], made / "cache", made, sense, how, amounts, **further)


def accuracies(found):
    return {network["name"]: [result["accuracy"] for result in network["results"]] for network in found["networks"]}


def test_undegraded_the_figures_are_those_of_evaluate(made):
    found = measured(made, "visual", "drop", (0.5,))
    assert found["amounts"] == [0.0, 0.5] and found["examples"] == 9 and found["chance"] == pytest.approx(1 / 3)
    for network in found["networks"]:
        metrics = json.loads((made / network["name"] / "metrics.json").read_text())
        clean = network["results"][0]
        assert {key: clean[key] for key in ("accuracy", "senses", "examples", "silent")} == {
            key: metrics[key] for key in ("accuracy", "senses", "examples", "silent")
        }
        assert clean["attention"] == pytest.approx(metrics["attention"])
    assert set(found["networks"][0]["results"][0]["senses"]) == {"visual", "auditory"}
    assert found["networks"][0]["results"][0]["accuracy"] > 0.6


@pytest.mark.parametrize("sense", ["visual", "auditory"])
def test_silence_leaves_one_class_to_a_network_of_that_sense_and_nothing_to_its_part(made, sense):
    found = measured(made, sense, "silence")
    alone, other = f"tiny_{sense}", "tiny_auditory" if sense == "visual" else "tiny_visual"
    by_name = {network["name"]: network for network in found["networks"]}
    assert by_name[alone]["uses_sense"] and by_name["tiny_both"]["uses_sense"] and not by_name[other]["uses_sense"]
    assert accuracies(found)[other][0] == accuracies(found)[other][1]
    assert by_name[alone]["results"][1]["accuracy"] == pytest.approx(found["chance"], abs=0.12)  # the same votes for every example
    plain, silent = by_name["tiny_both"]["results"]
    kept = "auditory" if sense == "visual" else "visual"
    assert plain["senses"][kept] == silent["senses"][kept]
    assert silent["senses"][sense] < plain["senses"][sense]


def test_all_events_dropped_is_silence(made):
    assert accuracies(measured(made, "visual", "drop", (1.0,))) == accuracies(measured(made, "visual", "silence"))


@pytest.mark.parametrize(("how", "amount"), [("drop", 0.5), ("noise", 20.0), ("jitter", 1e5), ("silence", 1.0)])
def test_features_of_the_degraded_sense_alone_are_made_again(made, monkeypatch, how, amount):
    real, made_again = Originals.features, []

    def features(self, material, names=None, start_sample=0):
        made_again.append(real(self, material, names, start_sample))
        return made_again[-1]

    monkeypatch.setattr(Originals, "features", features)
    measured(made, "auditory", how, (amount,), limit=3)
    for plain, worse in zip(made_again[::2], made_again[1::2], strict=True):
        assert sorted(plain) == ["auditory_frames", "visual_frames"] and list(worse) == ["auditory_frames"]
        before, after = plain["auditory_frames"].sum(), worse["auditory_frames"].sum()
        assert {"drop": 0 < after < before, "noise": after > before, "jitter": after > 0, "silence": after == 0}[how]
        assert not np.array_equal(plain["auditory_frames"], worse["auditory_frames"])


def test_much_noise_hides_what_is_heard_and_not_what_is_seen(made):
    found = measured(made, "auditory", "noise", (2000.0,))
    assert len(set(accuracies(found)["tiny_visual"])) == 1
    assert accuracies(found)["tiny_auditory"][1] < accuracies(found)["tiny_auditory"][0]


def test_the_same_call_gives_the_same_figures_and_amounts_are_put_in_order(made):
    first = measured(made, "visual", "noise", (20.0, 5.0), limit=5, seed=3)
    assert first == measured(made, "visual", "noise", (0.0, 5.0, 20.0, 5.0), limit=5, seed=3)
    assert first["examples"] == 5 and first["amounts"] == [0.0, 5.0, 20.0]
    assert len(measured(made, "visual", "jitter", limit=2)["amounts"]) > 3


def test_the_command_writes_figures_and_a_picture(made, tmp_path):
    shown = invoke(
        "degrade", *(made / run for run in RUNS), "--cache", made / "cache", "--data", made, "--sense", "visual", "--how", "drop",
        "--amount", 0.5, "--amount", 1, "--limit", 4, "--out", tmp_path / "out",
    )  # fmt: skip
    found = json.loads((tmp_path / "out" / "degradation.json").read_text())
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["degradation.json", "degradation.png"]
    assert (tmp_path / "out" / "degradation.png").read_bytes().startswith(b"\x89PNG")
    assert len(table_rows(found)) == 9 and {len(row) for row in table_rows(found)} == {len(table_columns(found))}
    assert "tiny_both" in shown and "attention" in shown
    write_result(tmp_path / "again", found)
    assert (tmp_path / "again" / "degradation.json").read_bytes() == (tmp_path / "out" / "degradation.json").read_bytes()


def test_another_cached_feature_than_what_is_computed_now_is_an_error(made, monkeypatch):
    real = Originals.features
    monkeypatch.setattr(Originals, "features", lambda self, *words: {name: np.roll(found, 1) for name, found in real(self, *words).items()})
    with pytest.raises(CacheError, match="is another one when computed from"):
        measured(made, "visual", "drop", (0.5,), limit=1)


@pytest.mark.parametrize(("sense", "how", "amounts", "split", "named"), [
    ("visual", "drop", (1.5,), "test", "--amount 1.5: of --how drop it is: share of the events dropped"),
    ("visual", "noise", (-1.0,), "test", "--amount -1"),
    ("visual", "silence", (0.5,), "test", "--amount 0.5"),
    ("visual", "blur", (1.0,), "test", "--how blur: expected drop, noise, jitter, silence"),
    ("visual", "drop", (0.5,), "val", "split `val` has no example"),
])
def test_wrong_calls_are_explained(made, sense, how, amounts, split, named):
    with pytest.raises(AudioDataError, match=named) as caught:
        measured(made, sense, how, amounts, split=split)
    assert "\n" not in str(caught.value)


def test_a_sense_that_was_not_recorded_is_explained(made, tmp_path):
    visual = {key: value for key, value in JOINT["dataset"]["visual"].items() if key != "split"}
    alone = {"dataset": visual, "split": JOINT["dataset"]["visual"]["split"], "segment": {"length_s": 0.3}, "features": {"visual_frames": {}}}
    build.build(parse_catalog(alone, "seen", "seen.toml"), made, tmp_path / "cache")
    with pytest.raises(CacheError, match="has no auditory events, only visual"):
        measure_degradation([made / "tiny_visual"], tmp_path / "cache", made, "auditory", "drop")


def test_events_and_sounds_are_sent_to_their_own_command(made, tmp_path):
    with pytest.raises(CacheError, match="made from events, into which no noise can be mixed; `degrade`"):
        measure_robustness([made / "tiny_both"], made / "cache", made, "white", (0.0,))
    write_recordings(tmp_path, (30, 120))
    with pytest.raises(CacheError, match="made from audio, which has no events to degrade; `robustness`"):
        measure_degradation([made / "tiny_both"], build_located(tmp_path, tmp_path / "cache"), tmp_path, "visual", "drop")
