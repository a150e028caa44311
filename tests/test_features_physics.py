"""What log-mel and MFCC must do whatever their code: tones, energies, levels, shifts, silence; a second route."""

import math

import numpy as np
import pytest
import scipy.fft

from audiodata.features import kernels, stft
from audiodata.features.mel import FilterBank, filter_bank, hz_to_mel, mel_edges_hz, mel_to_hz
from audiodata.features.spectral import LogMelConfig, MfccConfig, dct_basis, log_mel, mfcc
from audiodata.features.stft import Framing, hann_window

SAMPLE_RATE = 16000
TOLERANCE_DB = 1e-3


def noise(samples=8000, channels=1, seed=0, level=0.1):
    return (level * np.random.default_rng(seed).standard_normal((channels, samples))).astype(np.float32)


def tone(frequency_hz, samples=8000, amplitude=0.5):
    return (amplitude * np.sin(2 * np.pi * frequency_hz * np.arange(samples) / SAMPLE_RATE)).astype(np.float32)


def by_hand(samples, config):
    """Log-mel levels of one channel from the definitions in float64, [frame, mel]: no FFT, no blocks, dense filters."""
    framing = config.framing
    n_fft, half = framing.n_fft, framing.n_fft // 2
    window = np.zeros(n_fft)
    left = (n_fft - framing.window_length) // 2
    phase = 2 * np.pi * np.arange(framing.window_length) / framing.window_length
    window[left : left + framing.window_length] = 0.5 - 0.5 * np.cos(phase)
    padded = np.concatenate([np.zeros(half), samples.astype(np.float64), np.zeros(half)])
    starts = range(0, padded.size - n_fft + 1, framing.hop_length)
    frames = np.stack([padded[start : start + n_fft] * window for start in starts])
    dft = np.exp(-2j * np.pi * (np.outer(np.arange(n_fft), np.arange(half + 1)) % n_fft) / n_fft)
    power = np.abs(frames @ dft) ** 2
    f_max_hz = config.f_max_hz or config.sample_rate / 2
    edges = mel_edges_hz(config.n_mels, config.f_min_hz, f_max_hz, config.mel_scale)
    bins_hz = np.arange(half + 1) * config.sample_rate / n_fft
    filters = np.array([np.interp(bins_hz, edges[m : m + 3], [0, 2 / (edges[m + 2] - edges[m]), 0]) for m in range(config.n_mels)])
    return 10 * np.log10(np.maximum(power @ filters.T, 1e-10))


@pytest.mark.parametrize("mel_scale", ["slaney", "htk"])
@pytest.mark.parametrize("frequency_hz", [200.0, 1000.0, 3333.0, 7000.0])
def test_a_tone_is_loudest_in_the_band_whose_centre_is_nearest(frequency_hz, mel_scale):
    levels = log_mel(tone(frequency_hz), sample_rate=SAMPLE_RATE, n_mels=40, mel_scale=mel_scale)[0, 5]
    edges = mel_edges_hz(40, 0.0, SAMPLE_RATE / 2, mel_scale)
    loudest = int(levels.argmax())
    assert edges[loudest] < frequency_hz < edges[loudest + 2]


@pytest.mark.parametrize("n_fft", [256, 400, 255])
def test_parseval_holds_for_a_frame(n_fft):
    samples = noise(n_fft)[0]
    framing = Framing(n_fft, n_fft, n_fft)
    spectrum = stft.stft(np.pad(samples, (n_fft // 2, n_fft))[None], framing)[0, 1]
    power = np.abs(spectrum) ** 2
    twice = power[1:].sum() * 2 - (power[-1] if n_fft % 2 == 0 else 0)
    windowed = np.pad(samples, (n_fft // 2, n_fft))[n_fft - n_fft // 2 :][:n_fft] * hann_window(framing)
    assert (power[0] + twice) / n_fft == pytest.approx((windowed**2).sum(), rel=1e-12)


def test_twice_the_amplitude_is_six_decibels_more():
    louder = log_mel(2 * noise(), sample_rate=SAMPLE_RATE) - log_mel(noise(), sample_rate=SAMPLE_RATE)
    np.testing.assert_allclose(louder, 20 * math.log10(2), atol=TOLERANCE_DB)


def test_coefficient_zero_is_the_scaled_mean_level():
    settings = {"sample_rate": SAMPLE_RATE, "n_mels": 40}
    levels = log_mel(noise(), **settings)
    np.testing.assert_allclose(mfcc(noise(), **settings)[..., 0], levels.mean(-1) * math.sqrt(40), atol=TOLERANCE_DB)


def test_all_coefficients_keep_the_energy_of_the_levels():
    levels = log_mel(noise(), sample_rate=SAMPLE_RATE, n_mels=32).astype(np.float64)
    cepstra = mfcc(noise(), sample_rate=SAMPLE_RATE, n_mels=32, n_mfcc=32)
    np.testing.assert_allclose((cepstra**2).sum(-1), (levels**2).sum(-1), rtol=1e-5)


def test_the_dct_basis_is_orthonormal_and_is_scipys():
    basis = dct_basis(40, 40)
    np.testing.assert_allclose(basis.T @ basis, np.eye(40), atol=1e-13)
    np.testing.assert_allclose(basis, scipy.fft.dct(np.eye(40), type=2, norm="ortho"), atol=1e-13)


@pytest.mark.parametrize("samples", [1, 300, 16000])
def test_silence_is_exactly_the_floor_and_only_coefficient_zero(samples):
    silence = np.zeros((2, samples), np.float32)
    levels = log_mel(silence, sample_rate=SAMPLE_RATE, n_mels=128)
    assert (levels == -100.0).all()
    cepstra = mfcc(silence, sample_rate=SAMPLE_RATE, n_mels=128)
    np.testing.assert_allclose(cepstra[..., 0], -100 * math.sqrt(128), rtol=1e-7)
    np.testing.assert_allclose(cepstra[..., 1:], 0, atol=1e-4)


def test_a_shift_by_one_hop_shifts_the_frames():
    settings = {"sample_rate": SAMPLE_RATE, "window_length": 400, "hop_length": 160, "n_mels": 40}
    waveform = noise(8000)
    later = log_mel(np.pad(waveform, ((0, 0), (160, 0))), **settings)
    here = log_mel(waveform, **settings)
    np.testing.assert_allclose(later[:, 3:-3], here[:, 2:-3], atol=1e-4)


def test_channels_do_not_hear_each_other():
    waveform = noise(channels=3) * np.array([[1.0], [1e-3], [0.0]], np.float32)
    together = log_mel(waveform, sample_rate=SAMPLE_RATE, n_mels=40)
    for channel in range(3):
        alone = log_mel(waveform[channel], sample_rate=SAMPLE_RATE, n_mels=40)[0]
        np.testing.assert_allclose(together[channel], alone, atol=1e-4)


def test_top_db_is_measured_from_the_loudest_level_of_all_channels():
    waveform = noise(channels=2) * np.array([[1.0], [1e-4]], np.float32)
    free = log_mel(waveform, sample_rate=SAMPLE_RATE)
    limited = log_mel(waveform, sample_rate=SAMPLE_RATE, top_db=30.0)
    np.testing.assert_array_equal(limited, np.maximum(free, free.max() - np.float32(30)))
    assert (limited[1] == limited.min()).all()


@pytest.mark.parametrize("scale", ["slaney", "htk"])
def test_mel_scales_are_inverted_and_increase(scale):
    frequencies = np.linspace(0, 20000, 101)
    mels = [hz_to_mel(frequency, scale) for frequency in frequencies]
    np.testing.assert_allclose([mel_to_hz(mel, scale) for mel in mels], frequencies, atol=1e-8)
    assert (np.diff(mels) > 0).all()
    assert hz_to_mel(1000.0, scale) == pytest.approx({"slaney": 15.0, "htk": 1000.0}[scale], rel=1e-4)


def test_filters_have_unit_area():
    bank = filter_bank(SAMPLE_RATE, 16384, 20, 0.0, 8000.0, "slaney")
    area = [bank.weight[bank.offset[m] : bank.offset[m + 1]].sum() * SAMPLE_RATE / 16384 for m in range(20)]
    np.testing.assert_allclose(area, 1, rtol=1e-3)


def test_levels_agree_with_the_logarithm_over_the_whole_range():
    power = (10.0 ** np.random.default_rng(0).uniform(-14, 30, (1, 4000))).astype(np.float32)
    bank = FilterBank(np.array([0]), np.array([0, 1]), np.ones(1, np.float32), np.zeros(1, np.float32))
    levels, doubtful = np.empty((4000, 1), np.float32), np.zeros(4000, np.bool_)
    kernels.fill_levels(power, power[0], bank, levels, doubtful)
    np.testing.assert_allclose(levels[:, 0], 10 * np.log10(np.maximum(power[0].astype(float), 1e-10)), atol=2e-5)


CONFIGS = [
    LogMelConfig(sample_rate=SAMPLE_RATE, window_length=512, hop_length=200, n_mels=40),
    LogMelConfig(sample_rate=8000, window_length=201, hop_length=333, n_fft=256, n_mels=20, mel_scale="htk", f_min_hz=100),
    LogMelConfig(sample_rate=44100, window_length=331, hop_length=100, n_mels=24, f_max_hz=10000),
]


def hard_signals():
    """Signals whose quiet bands a transform in float32 would drown in its own rounding."""
    time_s = np.arange(4000) / SAMPLE_RATE
    rng = np.random.default_rng(1)
    return {
        "noise": 0.1 * rng.standard_normal(4000),
        "tone over quiet noise": np.sin(2 * np.pi * 1000 * time_s) + 1e-5 * rng.standard_normal(4000),
        "offset": 1 + 1e-6 * rng.standard_normal(4000),
        "brown": np.cumsum(np.cumsum(rng.standard_normal(4000))) / 1e4,
        "chirp": np.sin(2 * np.pi * (50 * time_s + 10000 * time_s**2)),
        "click": (np.arange(4000) == 2000) * 0.5,
        "loud": 1e6 * np.sin(2 * np.pi * 300 * time_s),
        "quiet": 1e-6 * rng.standard_normal(4000),
    }


@pytest.mark.parametrize("config", CONFIGS, ids=str)
@pytest.mark.parametrize("name", hard_signals())
def test_agrees_with_the_definitions_in_float64(name, config):
    samples = hard_signals()[name].astype(np.float32)
    expected = by_hand(samples, config)
    np.testing.assert_allclose(log_mel(samples, config)[0], expected, atol=TOLERANCE_DB)
    cepstra = mfcc(samples, MfccConfig(**config.model_dump(), n_mfcc=13))[0]
    np.testing.assert_allclose(cepstra, scipy.fft.dct(expected, norm="ortho")[:, :13], atol=TOLERANCE_DB)


def test_without_float64_the_quiet_bands_would_be_wrong(monkeypatch):
    config, samples = CONFIGS[0], hard_signals()["tone over quiet noise"].astype(np.float32)
    expected = by_hand(samples, config)
    monkeypatch.setattr("audiodata.features.mel.FLOAT32_SHARE", 0.0)
    filter_bank.cache_clear()
    off = np.abs(log_mel(samples, config)[0] - expected).max()
    filter_bank.cache_clear()
    assert off > TOLERANCE_DB


def test_stft_is_the_definition():
    samples, framing = noise(1000)[0], Framing(60, 37, 64)
    spectrum = stft.stft(samples[None], framing)
    assert spectrum.shape == (1, framing.frames(1000), 33)
    padded = np.pad(samples.astype(float), 32)
    for frame in (0, 7, 27):
        cut = padded[frame * 37 : frame * 37 + 64] * hann_window(framing)
        np.testing.assert_allclose(spectrum[0, frame], np.fft.rfft(cut), atol=1e-13)


def test_the_window_is_periodic_and_in_the_middle_of_the_fft():
    window = hann_window(Framing(8, 1, 12))
    np.testing.assert_allclose(window[2:10], np.sin(np.pi * np.arange(8) / 8) ** 2, atol=1e-15)
    assert (window[[0, 1, 10, 11]] == 0).all()
