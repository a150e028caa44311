"""Numbers equal librosa's with the same settings, to 1e-3 dB: drawn settings and signals, and real recordings."""

import warnings

import numpy as np
import pytest
import soundfile as sf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audiodata.features import feature_shape
from audiodata.features.spectral import LogMelConfig, MfccConfig, log_mel, mfcc

librosa = pytest.importorskip("librosa")

TOLERANCE_DB = 1e-3


def librosas(waveform, config):
    """Levels [channel, mel, frame] and filters [mel, bin], by librosa's public functions."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # empty filters, FFT longer than the waveform
        mel = {
            "n_mels": config.n_mels,
            "fmin": config.f_min_hz,
            "fmax": config.f_max_hz,
            "htk": config.mel_scale == "htk",
        }
        power = librosa.feature.melspectrogram(
            y=waveform,
            sr=config.sample_rate,
            n_fft=config.framing.n_fft,
            win_length=config.window_length,
            hop_length=config.hop_length,
            **mel,
        )
        filters = librosa.filters.mel(sr=config.sample_rate, n_fft=config.framing.n_fft, **mel)
    return librosa.power_to_db(power, top_db=config.top_db), filters


def assert_equal(waveform, config):
    """Both features of a waveform against librosa's."""
    expected, filters = librosas(waveform, config)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        levels = log_mel(waveform, LogMelConfig(**config.model_dump(exclude={"n_mfcc"})))
        cepstra = mfcc(waveform, config)
    assert cepstra.shape == feature_shape("mfcc", config, *waveform.shape)
    hearing = filters.max(axis=1) > 1e-9  # a filter between two bins may get a weight of 1e-16 by rounding there, 0 here
    np.testing.assert_allclose(levels[..., hearing], np.swapaxes(expected, -1, -2)[..., hearing], atol=TOLERANCE_DB)
    if hearing.all():
        coefficients = librosa.feature.mfcc(S=expected, n_mfcc=config.n_mfcc)
        np.testing.assert_allclose(cepstra, np.swapaxes(coefficients, -1, -2), atol=TOLERANCE_DB)


@st.composite
def configs(draw):
    sample_rate = draw(st.sampled_from([8000, 16000, 22050, 44100]))
    window_length = draw(st.integers(2, 2100))
    nyquist_hz = sample_rate / 2
    f_min_hz = draw(st.floats(0, 0.4)) * nyquist_hz
    n_mels = draw(st.integers(1, 140))
    return MfccConfig(
        sample_rate=sample_rate,
        window_length=window_length,
        hop_length=draw(st.integers(max(1, window_length // 8), 3 * window_length)),
        n_fft=draw(st.none() | st.integers(window_length, window_length + 600)),
        n_mels=n_mels,
        f_min_hz=f_min_hz,
        f_max_hz=draw(st.none() | st.floats(0.5, 1.0).map(lambda share: share * nyquist_hz)),
        mel_scale=draw(st.sampled_from(["slaney", "htk"])),
        top_db=draw(st.none() | st.floats(0, 120)),
        n_mfcc=draw(st.integers(1, n_mels)),
    )


@st.composite
def waveforms(draw):
    channels, samples = draw(st.integers(1, 3)), draw(st.integers(1, 6000))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    kind = draw(st.sampled_from(["noise", "tones", "chirp", "steps", "brown", "clicks", "offset", "silence"]))
    time = np.arange(samples) * np.ones((channels, 1))
    white = rng.standard_normal((channels, samples))
    made = {
        "noise": white,
        "tones": np.sin(time * rng.uniform(0, np.pi)) + 1e-3 * np.sin(time * rng.uniform(0, np.pi)) + 1e-6 * white,
        "chirp": np.sin(time**2 * np.pi / 2 / samples),
        "steps": np.sign(np.sin(time * rng.uniform(0.001, 0.3))),
        "brown": np.cumsum(white, axis=1),
        "clicks": white * (rng.random((channels, samples)) < 0.001),
        "offset": 1 + 1e-5 * white,
        "silence": 0 * white,
    }[kind]
    return (made * 10.0 ** draw(st.floats(-7, 5))).astype(np.float32)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(waveform=waveforms(), config=configs())
def test_equal_to_librosa_over_settings_and_signals(waveform, config):
    assert_equal(waveform, config)


USUAL = [
    MfccConfig(window_length=2048, hop_length=512, n_mels=128, n_mfcc=20),
    MfccConfig(window_length=1024, hop_length=256, n_mels=51, f_min_hz=250, f_max_hz=4000, mel_scale="htk", n_mfcc=13),
    MfccConfig(window_length=400, hop_length=160, n_fft=512, n_mels=80, n_mfcc=40, top_db=80),
]


def recordings(folder):
    """A few recordings of each kind, at their own sample rates: Vorbis at 44.1 kHz, FLAC at 16 kHz, WAV at 8 kHz."""
    for pattern, every in (
        ("environmental_sounds/*/*.ogg", 40),
        ("speech/**/*.flac", 12),
        ("spoken_digits/**/*.wav", 700),
    ):
        yield from sorted(folder.glob(pattern))[::every]


@pytest.mark.parametrize("config", USUAL, ids=lambda config: f"{config.window_length}-{config.mel_scale}")
def test_equal_to_librosa_on_real_recordings(shared_data, config):
    paths = list(recordings(shared_data))
    assert len(paths) >= 8
    for path in paths:
        samples, sample_rate = sf.read(path, dtype="float32", always_2d=True)
        waveform = np.ascontiguousarray(samples.T)
        assert_equal(waveform, MfccConfig(**config.model_dump(exclude={"sample_rate"}), sample_rate=sample_rate))
