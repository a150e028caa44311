"""The task of separating: what is lost and scored, silence, PESQ where it is there, what an evaluation says."""

import json
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from mixture_caches import RATE, SAMPLES, build_mixtures, mixture, utterance
from model_runs import door, refused

from audiodata.errors import AudioDataError, EnvironmentFault
from models.separation import Separated, Separation
from models.separator import Separator, SeparatorConfig
from models.si_sdr import si_sdr
from models.speech_quality import measurable, pesq, require
from models.training_config import SeparationTraining

TINY = ("--set", "filters=8", "--set", "channels=6", "--set", "dilated_layers=2", "--set", "batch_size=4")


def batch(noise=0.03, silent=False):
    """Three mixtures of two, the network's answers in the wrong order and not quite right."""
    made = torch.from_numpy(np.stack([mixture(("anna", "carl"), seed) for seed in range(3)]))
    sources = made[:, 1:].clone()
    generator = torch.Generator().manual_seed(0)
    answers = (sources + noise * torch.randn(sources.shape, generator=generator)).flip(1)
    if silent:
        sources[1, 0] = 0
    return Separated(answers, made[:, 0]), {"sources": sources, "label": torch.full((3,), -1)}


def test_the_loss_is_minus_the_mean_of_the_right_pairs():
    output, targets = batch()
    by_hand = torch.stack([si_sdr(output.sources[:, 1 - place], targets["sources"][:, place]) for place in (0, 1)])
    assert Separation().loss(output, targets).item() == pytest.approx(-by_hand.mean().item(), abs=1e-4)
    scores = Separation().scores(output, targets)
    before = torch.stack([si_sdr(output.mixture, targets["sources"][:, place]) for place in (0, 1)]).mean().item()
    assert scores["si_sdr"].value.item() == pytest.approx(by_hand.mean().item(), abs=1e-4)
    assert scores["si_sdr_improvement"].value.item() == pytest.approx(by_hand.mean().item() - before, abs=1e-3)


def test_the_mixture_itself_improves_nothing():
    output, targets = batch()
    same = output._replace(sources=output.mixture.unsqueeze(1).expand(-1, 2, -1))
    assert Separation().scores(same, targets)["si_sdr_improvement"].value.abs() < 1e-4


def test_an_example_with_a_silent_source_counts_for_nothing():
    (output, targets), (plain, wanted) = batch(silent=True), batch()
    others = [0, 2]
    alone = Separated(plain.sources[others], plain.mixture[others]), {"sources": wanted["sources"][others]}
    task = Separation()
    assert task.loss(output, targets).item() == pytest.approx(task.loss(*alone).item(), abs=1e-5)
    assert task.scores(output, targets)["si_sdr"].examples == 2
    tally = task.tally()
    tally.add(output, targets)
    assert tally.summary()["silent"] == 1 and tally.summary()["si_sdr"] == pytest.approx(-task.loss(*alone).item(), abs=1e-4)
    assert tally.predictions()["si_sdr"][1] is None and tally.predictions()["si_sdr_1"][1] is None


def test_nothing_but_silence_has_no_loss_and_no_scores():
    output, targets = batch()
    sources = output.sources.clone().requires_grad_()
    silent = {"sources": torch.zeros_like(targets["sources"])}
    loss = Separation().loss(output._replace(sources=sources), silent)
    loss.backward()
    assert loss.item() == 0 and not sources.grad.any() and Separation().scores(output, silent) == {}


def test_the_tally_adds_batches_up_and_tells_groups_apart():
    output, targets = batch()
    whole, parts = Separation().tally(), Separation().tally()
    whole.add(output, targets)
    for place in range(3):
        part = slice(place, place + 1)
        parts.add(Separated(output.sources[part], output.mixture[part]), {"sources": targets["sources"][part]})
    assert parts.summary() == pytest.approx(whole.summary()) and parts.examples == 3
    shown = whole.predictions()
    rows = shown["si_sdr"]
    assert rows == pytest.approx(np.mean([shown["si_sdr_1"], shown["si_sdr_2"]], axis=0), abs=1e-3)
    found = whole.by_group(["same sex", "", "different sex"])
    assert list(found) == ["different sex", "same sex"] and found["same sex"]["si_sdr"] == pytest.approx(rows[0], abs=1e-3)
    assert whole.by_group(["", "", ""]) == {}


# Speech-like: PESQ finds utterances in it.
def speech(seed=0, seconds=2.0, rate=RATE):
    return utterance("anna", seed, int(seconds * rate)) + utterance("bert", seed, int(seconds * rate))


def test_pesq_falls_with_noise_and_knows_two_bands():
    pytest.importorskip("pesq")
    clean = speech()
    noise = np.random.default_rng(0).normal(size=len(clean)).astype(np.float32)
    scores = [pesq(clean + level * noise, clean, RATE) for level in (0.0, 0.01, 0.1)]
    assert 4.4 < scores[0] < 4.7 and scores[0] > scores[1] > scores[2] > 0.9
    wide = speech(rate=16000)
    assert 4.4 < pesq(wide, wide, 16000) < 4.7
    assert pesq(0.1 * clean, clean, RATE) == pytest.approx(scores[0], abs=0.05)


def test_what_pesq_refuses_is_none():
    pytest.importorskip("pesq")
    clean = speech()
    assert pesq(clean[:1000], clean[:1000], RATE) is None
    assert pesq(np.zeros_like(clean), clean, RATE) is None and pesq(clean, np.zeros_like(clean), RATE) is None


def test_refused_sources_are_counted():
    pytest.importorskip("pesq")
    sounds = torch.from_numpy(np.stack([speech(0), speech(1)]))[None]
    task = Separation(RATE, pesq_examples=2)
    tally = task.tally()
    for _ in range(3):
        tally.add(Separated(sounds, sounds.sum(1)), {"sources": sounds * torch.tensor([1.0, 0.0]).view(1, 2, 1)})
    found = tally.summary()["pesq"]
    assert found["band"] == "nb" and found["examples"] == 2 and found["sources"] == 4
    assert found["refused"] == {"estimates": 2, "mixtures": 2} and found["estimates"] > found["mixtures"]
    assert tally.predictions()["pesq"][2] is None and tally.predictions()["pesq"][0] > 4


def test_without_the_package_it_is_left_out_unless_asked_for(monkeypatch):
    monkeypatch.setitem(sys.modules, "pesq", None)
    network = Separator(SeparatorConfig(filters=4, channels=4, dilated_layers=1, sample_rate=RATE))
    assert not measurable(RATE) and Separation.of(SeparationTraining(), network).pesq_examples == 0
    with pytest.raises(EnvironmentFault, match=r"pip install 'audiodata\[speech\]'"):
        Separation.of(SeparationTraining(pesq="on"), network)


def test_other_rates_have_no_pesq():
    network = Separator(SeparatorConfig(filters=4, channels=4, dilated_layers=1, sample_rate=11025))
    assert Separation.of(SeparationTraining(), network).pesq_examples == 0
    with pytest.raises(AudioDataError, match="defined at 8000 and 16000 Hz, not at 11025"):
        require(11025)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("separation")
    build_mixtures(folder / "cache", silent=(1,))
    words = ("train", "separator", "--cache", folder / "cache", "--out", folder / "run", "--epochs", 2, "--set", "pesq=off")
    assert door(*words, *TINY, "--set", "mixing=dynamic") == 0
    return folder


def test_a_training_writes_what_was_measured(trained):
    metrics = json.loads((trained / "run" / "metrics.json").read_text())
    assert metrics["examples"] == 4 and metrics["silent"] == 1 and metrics["pesq"] is None and metrics["by_label"] == {}
    assert metrics["loss"] == pytest.approx(-metrics["si_sdr"]) and metrics["shape"] == [1, SAMPLES]
    settings = metrics["settings"]
    assert settings["network"]["sample_rate"] == RATE and settings["network"]["speakers"] == 2
    rows = pd.read_csv(trained / "run" / "predictions.csv")
    assert rows["si_sdr"].isna().tolist() == [False, True, False, False] and rows["si_sdr"].mean() == pytest.approx(metrics["si_sdr"], abs=1e-3)
    assert {"val_si_sdr", "val_si_sdr_improvement", "train_si_sdr"} <= set(pd.read_csv(trained / "run" / "curves.csv"))


def test_it_can_go_on_and_be_measured_again(trained, capsys):
    before = (trained / "run" / "metrics.json").read_bytes()
    assert door("evaluate", trained / "run", "--cache", trained / "cache") == 0
    assert (trained / "run" / "metrics.json").read_bytes() == before
    words = ("train", "separator", "--cache", trained / "cache", "--out", trained / "run", "--resume", "--set", "pesq=off")
    assert "mixing" in refused(capsys, *words, *TINY, "--epochs", 3)
    assert door(*words, *TINY, "--epochs", 3, "--set", "mixing=dynamic") == 0


def test_a_cache_without_waveforms_is_refused(tmp_path, capsys):
    from model_caches import build_cache

    assert "waveform" in refused(capsys, "train", "separator", "--cache", build_cache(tmp_path / "cache"), "--out", tmp_path / "run")
