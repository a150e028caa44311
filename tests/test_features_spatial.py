"""`gcc_phat` equals one inverse FFT per pair and frame: drawn settings and signals, real recordings; what doesn't fit is one clear line."""

import numpy as np
import pytest
import soundfile as sf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_arrays import gcc_by_irfft

from audiodata.errors import AudioDataError, FeatureError
from audiodata.features import extract, feature_shape, spatial, stft
from audiodata.features.spatial import GccPhatConfig, gcc_phat, lags
from audiodata.features.spectral import LogMelConfig

SAMPLE_RATE = 16000
TOLERANCE = 1e-5


def noise(channels=3, samples=4000, seed=0):
    return (0.1 * np.random.default_rng(seed).standard_normal((channels, samples))).astype(np.float32)


@st.composite
def configs(draw):
    window_length = draw(st.integers(4, 1100))
    n_fft = draw(st.none() | st.integers(window_length, window_length + 300))
    f_min_hz, f_max_hz = draw(st.sampled_from([(None, None), (None, None), (300.0, None), (None, 5000.0), (1000.0, 7000.0)]))
    if (n_fft or window_length) < 20:
        f_min_hz = f_max_hz = None
    return GccPhatConfig(
        sample_rate=SAMPLE_RATE,
        window_length=window_length,
        hop_length=draw(st.integers(max(1, window_length // 4), 2 * window_length)),
        n_fft=n_fft,
        max_lag=draw(st.integers(0, min(40, ((n_fft or window_length) - 1) // 2))),
        interpolation=draw(st.sampled_from([1, 1, 2, 3, 8])),
        f_min_hz=f_min_hz,
        f_max_hz=f_max_hz,
    )


@st.composite
def waveforms(draw):
    channels, samples = draw(st.integers(2, 5)), draw(st.integers(1, 5000))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    white = rng.standard_normal((channels, samples))
    time = np.arange(samples)
    made = {
        "noise": white,
        "delays": np.stack([np.roll(white[0], shift) for shift in range(channels)]) + 0.1 * white,
        "tones": np.sin(time * rng.uniform(0, np.pi)) + 1e-5 * white,
        "chirp": np.sin(time**2 * np.pi / 2 / samples) + 1e-4 * white,
        "brown": np.cumsum(white, axis=1),
        "offset": 1 + 1e-5 * white,
        "one silent": white * (np.arange(channels) > 0)[:, np.newaxis],
        "ends in silence": white * (time < samples // 2),
    }[draw(st.sampled_from(["noise", "delays", "tones", "chirp", "brown", "offset", "one silent", "ends in silence"]))]
    return (made * 10.0 ** draw(st.floats(-25, 8))).astype(np.float32)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(waveform=waveforms(), config=configs())
def test_equal_to_a_direct_inverse_fft(waveform, config):
    found = gcc_phat(waveform, config)
    assert found.dtype == np.float32
    assert found.shape == feature_shape("gcc_phat", config, *waveform.shape)
    np.testing.assert_allclose(found, gcc_by_irfft(waveform, config), atol=TOLERANCE)


PAPER = GccPhatConfig(sample_rate=SAMPLE_RATE, window_length=1024, hop_length=512)


def recordings(folder):
    """A few seconds of each kind of recording, float32 [channel, sample]: arrays, and pairs made of mono recordings."""
    for path in sorted((folder / "microphone_array").glob("**/*.*"))[::3]:
        if path.suffix in (".wav", ".flac"):
            yield sf.read(path, dtype="float32", always_2d=True)[0].T[:, 8000:40000]
    for pattern, every in (("environmental_sounds/*/*.ogg", 40), ("speech/**/*.flac", 30)):
        for path in sorted(folder.glob(pattern))[::every]:
            one = sf.read(path, dtype="float32", always_2d=True)[0].T[:1, :60000]
            yield np.concatenate([np.roll(one, 7, axis=1), one, one[:, ::-1]])


def test_equal_to_a_direct_inverse_fft_on_real_recordings(shared_data):
    waveforms = list(recordings(shared_data))
    assert len(waveforms) >= 12
    for waveform in waveforms:
        np.testing.assert_allclose(gcc_phat(waveform, PAPER), gcc_by_irfft(waveform, PAPER), atol=TOLERANCE)


def quiet_bands():
    """A loud tone over noise so quiet that float32 spectra drown its phases."""
    rng = np.random.default_rng(1)
    return (np.sin(np.arange(6000) * 0.3) + 1e-6 * rng.standard_normal((2, 6000))).astype(np.float32)


def test_without_float64_quiet_bands_would_be_wrong(monkeypatch):
    expected = gcc_by_irfft(quiet_bands(), PAPER)
    np.testing.assert_allclose(gcc_phat(quiet_bands(), PAPER), expected, atol=TOLERANCE)
    monkeypatch.setattr(spatial, "FLOAT32_ROUGHNESS", np.inf)
    assert np.abs(gcc_phat(quiet_bands(), PAPER) - expected).max() > TOLERANCE


def test_noise_needs_no_float64(monkeypatch):
    precise = []
    backend = stft.FFT_BACKENDS["scipy"].load()
    monkeypatch.setattr(stft.FftBackend, "load", lambda _: lambda frames: precise.append(frames.dtype == np.float64) or backend(frames))
    gcc_phat(noise(4, 32000), PAPER)
    assert precise
    assert not any(precise)


@pytest.mark.parametrize("n_fft", [256, 255, 250])
def test_values_at_whole_lags_do_not_depend_on_the_interpolation(n_fft):
    settings = {"window_length": n_fft, "hop_length": 100, "max_lag": 20}
    whole = gcc_phat(noise(), **settings)
    for finer in (2, 5, 8):
        np.testing.assert_allclose(gcc_phat(noise(), interpolation=finer, **settings)[..., ::finer], whole, atol=1e-6)
        assert (lags(GccPhatConfig(interpolation=finer, **settings))[::finer] == np.arange(-20, 21)).all()


@pytest.mark.parametrize("limits", [{}, {"f_min_hz": 500}, {"f_max_hz": 3000}, {"f_min_hz": 1000, "f_max_hz": 2000}])
@pytest.mark.parametrize("finer", [1, 4])
def test_equal_channels_peak_at_1_and_lag_0_whatever_the_band(limits, finer):
    waveform = np.repeat(noise(1), 2, axis=0)
    correlation = gcc_phat(waveform, sample_rate=SAMPLE_RATE, window_length=512, interpolation=finer, **limits)[0, 2:-2]
    np.testing.assert_allclose(correlation[:, 25 * finer], 1, atol=1e-6)
    assert (correlation.argmax(1) == 25 * finer).all()


def test_sounds_outside_the_band_do_not_count():
    low, high = np.random.default_rng(0).standard_normal((2, 8000))
    spectrum_low, spectrum_high = np.fft.rfft(low), np.fft.rfft(high)
    spectrum_low[2000:], spectrum_high[:2200] = 0, 0  # below 4000 Hz and above 4400 Hz
    low, high = np.fft.irfft(spectrum_low), np.fft.irfft(spectrum_high)
    waveform = np.stack([np.roll(low, 4) + np.roll(high, -6), low + high]).astype(np.float32)
    for limits, lag in (({"f_max_hz": 3900}, 4), ({"f_min_hz": 4500}, -6)):
        mean = gcc_phat(waveform, sample_rate=SAMPLE_RATE, window_length=512, **limits)[0].mean(0)
        assert np.arange(-25, 26)[mean.argmax()] == lag


def test_silence_is_zero_and_a_silent_channel_is_zero_in_its_pairs_alone():
    assert (gcc_phat(np.zeros((4, 5000), np.float32)) == 0).all()
    waveform = noise(3)
    waveform[1] = 0
    found = gcc_phat(waveform, window_length=512)
    assert (found[[0, 2]] == 0).all()
    assert np.abs(found[1]).max() > 0.01


def test_swapped_channels_mirror_the_lags():
    waveform = noise(2)
    np.testing.assert_allclose(gcc_phat(waveform[::-1], window_length=512), gcc_phat(waveform, window_length=512)[..., ::-1], atol=1e-6)


def test_pairs_come_in_the_order_of_combinations():
    waveform = noise(5)
    found = gcc_phat(waveform, window_length=512)
    for pair, channels in enumerate([(0, 1), (0, 2), (0, 3), (0, 4), (1, 2), (1, 3), (1, 4), (2, 3), (2, 4), (3, 4)]):
        np.testing.assert_allclose(found[pair], gcc_phat(waveform[list(channels)], window_length=512)[0], atol=1e-6)


def test_extract_gives_the_same_bytes_and_leaves_log_mel_as_it_is():
    waveform = np.concatenate([noise(4, 30000), np.repeat(quiet_bands()[:1], 4, axis=0) + 1e-3 * noise(4, 6000, seed=1)], axis=1)
    mel = LogMelConfig(sample_rate=SAMPLE_RATE, window_length=1024, hop_length=512, n_mels=51)
    both = extract(waveform, SAMPLE_RATE, {"gcc_phat": PAPER, "log_mel": mel})
    assert both["gcc_phat"].tobytes() == gcc_phat(waveform, PAPER).tobytes()
    assert both["log_mel"].tobytes() == extract(waveform, SAMPLE_RATE, {"log_mel": mel})["log_mel"].tobytes()


def test_without_band_limits_no_sample_rate_is_needed():
    np.testing.assert_array_equal(gcc_phat(noise()), gcc_phat(noise(), sample_rate=SAMPLE_RATE))


def test_mkl_gives_the_same_numbers():
    pytest.importorskip("mkl_fft", reason="the extra 'fast' is not installed")
    np.testing.assert_allclose(gcc_phat(noise(4), fft="mkl"), gcc_phat(noise(4)), atol=TOLERANCE)


@pytest.mark.parametrize(
    ("waveform", "settings", "words"),
    [
        (noise(1), {}, ["at least 2 channels", "got 1"]),
        (noise(1)[0], {}, ["at least 2 channels", "got 1"]),
        (noise(), {"max_lag": 32, "window_length": 64}, ["max_lag = 32", "64"]),
        (noise(), {"max_lag": -1}, ["max_lag"]),
        (noise(), {"interpolation": 0}, ["interpolation"]),
        (noise(), {"max_lagg": 3}, ["max_lagg", "`max_lag`"]),
        (noise(), {"f_min_hz": 300.0}, ["sample rate"]),
        (noise(), {"f_max_hz": 9000.0, "sample_rate": SAMPLE_RATE}, ["9000", "8000"]),
        (noise(), {"f_min_hz": 3001.0, "f_max_hz": 3002.0, "sample_rate": SAMPLE_RATE}, ["no bin"]),
        (noise() * np.float32(np.nan), {}, ["not finite"]),
        (np.full((2, 3000), np.inf, np.float32), {}, ["not finite"]),
    ],
)
def test_what_does_not_fit_is_one_line(waveform, settings, words):
    with pytest.raises(FeatureError) as error:
        gcc_phat(waveform, **settings)
    assert isinstance(error.value, AudioDataError)
    assert "\n" not in str(error.value)
    assert not [word for word in words if word not in str(error.value)]


def test_one_channel_is_one_line_in_extract_and_in_shape_too():
    for call in (lambda: extract(noise(1), SAMPLE_RATE, {"gcc_phat": PAPER}), lambda: feature_shape("gcc_phat", PAPER, 1, 4000)):
        with pytest.raises(FeatureError, match="at least 2 channels"):
            call()


def test_the_floor_is_below_what_float64_resolves():
    assert spatial.FLOAT64_FLOOR_SHARE < (2.0**-52) ** 2
