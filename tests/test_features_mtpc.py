"""Multi-tone phase coding: a delayed tone fires the detector of its delay and band, which the spikes' times alone confirm."""

import numpy as np
import pytest
from array_sounds import SAMPLE_RATE, UNEVEN, delayed, heard
from hypothesis import given, settings
from hypothesis import strategies as st

from audiodata.errors import FeatureError
from audiodata.features import extract
from audiodata.features.mtpc import MtpcConfig, Tones, as_bands_and_lags, mtpc
from audiodata.features.spectral import LogMelConfig
from audiodata.geometry import pair_lags

WINDOW = 1024
BANDS = 40
SETTINGS = {"sample_rate": SAMPLE_RATE, "window_length": WINDOW, "hop_length": 512}
LAGS = np.arange(-25, 26)


def tone(bins, phase=0.3, samples=4096):
    """A tone whose frequency is a number of bins of the transform."""
    return 0.3 * np.cos(2 * np.pi * bins * np.arange(samples) / WINDOW + phase)


def band_of(bins):
    return np.searchsorted(Tones.of(MtpcConfig(**SETTINGS)).edges, bins, side="right") - 1


def detectors(waveform, **changes):
    """Detectors [lag, band] of the first pair that fire in the middle of the sound."""
    spikes = mtpc(waveform.astype(np.float32), **{**SETTINGS, **changes})
    return as_bands_and_lags(spikes, BANDS)[0, spikes.shape[1] // 2].T


@settings(max_examples=40, deadline=None)
@given(st.integers(20, 500), st.integers(-25, 25), st.floats(0, 6.28))
def test_a_delayed_tone_fires_the_detector_of_its_delay_and_band(bins, lag, phase):
    waveform = delayed(tone(bins, phase), [max(lag, 0) / SAMPLE_RATE, max(-lag, 0) / SAMPLE_RATE])
    fired = detectors(waveform, range_db=20)
    assert fired[lag + 25, band_of(bins)] == 1
    # the window's side lobes reach the neighbouring bins, which may be the next band's
    assert set(np.flatnonzero(fired.any(0))) <= {band_of(bins - 1), band_of(bins), band_of(bins + 1)}


@settings(max_examples=40, deadline=None)
@given(st.integers(20, 500), st.floats(-20, 20))
def test_those_detectors_fire_whose_delay_brings_both_spikes_together(bins, lag):
    """The other route: the times of the peaks at both microphones, one a period."""
    fired = detectors(delayed(tone(bins), [(lag + 20) / SAMPLE_RATE, 20 / SAMPLE_RATE]), range_db=20)[:, band_of(bins)]
    period = WINDOW / bins
    apart = np.abs((lag - LAGS + period / 2) % period - period / 2)  # samples between the spikes behind each detector's delay
    assert fired[apart < 0.48].all()
    assert not fired[apart > 0.52].any()


def test_positive_delays_are_those_of_a_first_microphone_that_hears_later():
    later = delayed(tone(30), [4 / SAMPLE_RATE, 0])
    assert np.flatnonzero(detectors(later)[:, band_of(30)]).tolist() == [29]
    assert np.flatnonzero(detectors(later[::-1])[:, band_of(30)]).tolist() == [21]


def test_finer_detectors_tell_fractions_of_a_sample():
    fired = detectors(delayed(tone(100), [1.25 / SAMPLE_RATE, 0]), interpolation=4, max_lag=3)
    assert fired.shape == (25, BANDS)
    assert np.flatnonzero(fired[:, band_of(100)]).tolist() == [12 + 5]


def test_noise_from_a_direction_fires_most_at_the_lags_of_that_direction():
    noise = np.random.default_rng(0).standard_normal(8192) * 0.1
    for azimuth in (0.0, 35.0, 160.0, 285.0):
        spikes = mtpc(heard(noise, UNEVEN, azimuth).astype(np.float32), **SETTINGS)
        rates = as_bands_and_lags(spikes, BANDS).mean((1, 2))  # [pair, lag]
        assert np.abs(LAGS[rates.argmax(1)] - pair_lags(UNEVEN, azimuth, SAMPLE_RATE)).max() <= 0.75


def test_swapped_channels_mirror_the_delays():
    noise = np.random.default_rng(1).standard_normal((2, 4096)).astype(np.float32)
    spikes, swapped = (as_bands_and_lags(mtpc(waveform, **SETTINGS), BANDS) for waveform in (noise, noise[::-1]))
    np.testing.assert_array_equal(spikes, swapped[..., ::-1])


def test_spikes_are_0_or_1_and_do_not_depend_on_the_level():
    noise = np.random.default_rng(1).standard_normal((3, 4096)).astype(np.float32)
    spikes = mtpc(noise, **SETTINGS)
    assert set(np.unique(spikes)) == {0.0, 1.0}
    np.testing.assert_array_equal(mtpc(noise / 1024, **SETTINGS), spikes)


def test_silence_and_a_silent_microphone_make_no_spikes():
    assert not mtpc(np.zeros((4, 4096), np.float32), **SETTINGS).any()
    one = np.zeros((2, 4096), np.float32)
    one[0] = tone(100)
    assert not mtpc(one, **SETTINGS).any()


def test_tones_below_the_range_make_no_spikes():
    both = delayed(tone(100) + 0.01 * tone(300), [0, 0])  # 40 dB apart
    assert detectors(both, range_db=45)[25, band_of(300)] == 1
    assert detectors(both, range_db=35)[25, band_of(300)] == 0


def test_bands_cover_the_range_without_a_gap():
    edges = Tones.of(MtpcConfig(**SETTINGS)).edges
    assert (edges[0], edges[-1]) == (16, 512)  # 250 Hz, and up to the Nyquist frequency, which is left out
    assert (np.diff(edges) > 0).all()


def test_shares_the_transform_of_other_features():
    noise = np.random.default_rng(1).standard_normal((2, 9000)).astype(np.float32)
    framing = {"window_length": WINDOW, "hop_length": 512}
    made = extract(noise, SAMPLE_RATE, {"mtpc": MtpcConfig(**framing), "log_mel": LogMelConfig(**framing)})
    np.testing.assert_array_equal(made["mtpc"], mtpc(noise, **SETTINGS))


@pytest.mark.parametrize(
    ("channels", "changes", "words"),
    [
        (1, {}, ["at least 2 channels", "got 1"]),
        (2, {"window_length": 128, "hop_length": 64}, ["n_bands = 40", "128 points"]),
        (2, {"f_min_hz": 5000.0, "f_max_hz": 4000.0}, ["5000", "4000"]),
        (2, {"f_max_hz": 9000.0}, ["8000 Hz", "9000"]),
        (2, {"max_lag": 0}, ["max_lag"]),
    ],
)
def test_what_does_not_fit_is_one_line(channels, changes, words):
    with pytest.raises(FeatureError) as error:
        mtpc(np.zeros((channels, 4096), np.float32), **{**SETTINGS, **changes})
    assert "\n" not in str(error.value)
    assert all(word in str(error.value) for word in words)
