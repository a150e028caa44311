"""Augmentation: each change of the features is what the same change of the sound does; seeds decide everything."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from audiodata.features.spectral import LogMelConfig, MfccConfig, log_mel, mfcc
from models.augment import (
    Augmentation,
    AugmentConfig,
    add_noise,
    change_gain_log_mel,
    change_gain_mfcc,
    mask_bands,
    mask_frames,
    shift_time,
)

RATE, HOP, N_MELS = 8000, 128, 40
SETTINGS = {"sample_rate": RATE, "window_length": 512, "hop_length": HOP, "n_mels": N_MELS}
OFF = dict.fromkeys(("shift_share", "gain_db", "noise_db", "time_mask_share", "band_mask_share"), 0.0)


@pytest.fixture(scope="module")
def waveform():
    rng = np.random.default_rng(0)
    return (0.1 * rng.normal(size=(1, 64 * HOP))).astype(np.float32)


def bands_first(features):
    return torch.from_numpy(features.swapaxes(1, 2).copy())


def extracted(waveform):
    return bands_first(log_mel(waveform, config=LogMelConfig(**SETTINGS))), bands_first(mfcc(waveform, config=MfccConfig(**SETTINGS)))


def test_gain_equals_gain_of_the_waveform(waveform):
    gain_db = 7.0
    quiet, loud = extracted(waveform), extracted(waveform * np.float32(10 ** (gain_db / 20)))
    assert torch.allclose(change_gain_log_mel(quiet[0], gain_db), loud[0], atol=2e-3)
    assert torch.allclose(change_gain_mfcc(quiet[1], gain_db, N_MELS), loud[1], atol=2e-3)
    assert not torch.allclose(quiet[1], loud[1], atol=1)


def test_shift_equals_delay_of_the_waveform(waveform):
    frames = 5
    here, later = extracted(waveform)[0], extracted(np.roll(waveform, frames * HOP, axis=1))[0]
    shifted = shift_time(here, frames)
    # frames whose window reaches neither end of the sound nor the seam
    inside = slice(frames + 3, -3)
    assert torch.allclose(shifted[..., inside], later[..., inside], atol=1e-2)
    assert torch.equal(shift_time(shifted, -frames), here)


def test_noise_has_the_deviation_asked_for_in_mel_and_in_cepstral_bands():
    generator = torch.Generator().manual_seed(0)
    noise = add_noise(torch.zeros(1, 64, 2000), 3.0, generator)
    cepstral = torch.from_numpy(__import__("scipy.fft", fromlist=["dct"]).dct(noise.numpy(), axis=1, norm="ortho"))
    for values in (noise, cepstral):
        assert values.mean().item() == pytest.approx(0, abs=0.05)
        assert values.std().item() == pytest.approx(3.0, rel=0.02)
        assert (values.std(dim=2) / 3.0 - 1).abs().max() < 0.15


def test_masks_replace_exactly_their_frames_and_bands():
    features = torch.arange(60.0).reshape(1, 6, 10)
    fill = torch.full((1, 6, 1), -1.0)
    by_time, by_band = mask_frames(features, 3, 2, fill), mask_bands(features, 4, 1, fill)
    assert (by_time[..., 3:5] == -1).all()
    assert (by_band[:, 4] == -1).all()
    assert (by_time != features).sum() == 12
    assert (by_band != features).sum() == 10
    assert features[0, 0, 3] == 3, "the input was changed"


def made(config, bands=20, frames=50):
    return Augmentation(AugmentConfig(**config), torch.zeros(1, bands, 1), change_gain_log_mel)


@pytest.mark.parametrize("key", list(OFF))
def test_each_change_alone_does_something_and_all_off_do_nothing(key):
    features = torch.randn(1, 20, 50, generator=torch.Generator().manual_seed(1))
    draw = lambda config: made(config)(features, torch.Generator().manual_seed(3))  # noqa: E731
    assert not torch.equal(draw(OFF | {key: 0.4}), features)
    assert torch.equal(draw(OFF), features)
    assert not AugmentConfig(**OFF).any
    assert not AugmentConfig(on=False).any


def test_same_seed_same_changes():
    features = torch.randn(1, 20, 50, generator=torch.Generator().manual_seed(1))
    first, second, other = (made({})(features, torch.Generator().manual_seed(seed)) for seed in (5, 5, 6))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_amounts_stay_within_their_limits():
    augmentation = made(OFF | {"time_mask_share": 0.2, "band_mask_share": 0.3, "gain_db": 6.0})
    for seed in range(200):
        changed = augmentation(torch.ones(1, 20, 50), torch.Generator().manual_seed(seed))
        assert (changed[0] == 0).all(dim=0).sum() <= 10
        assert (changed[0] == 0).all(dim=1).sum() <= 6
        assert ((changed - 1).abs()[changed != 0] <= 6).all()


def test_masks_reach_every_place():
    augmentation = made(OFF | {"time_mask_share": 0.2})
    masked = torch.stack([augmentation(torch.ones(1, 20, 50), torch.Generator().manual_seed(seed))[0, 0] for seed in range(400)]) == 0
    assert masked.any(dim=0).all()
    assert masked.sum(dim=1).max() == 10
    assert masked.sum(dim=1).min() == 0


def test_settings_out_of_range_are_refused():
    with pytest.raises(ValidationError):
        AugmentConfig(shift_share=0.9)
    with pytest.raises(ValidationError):
        AugmentConfig(gain=3)
