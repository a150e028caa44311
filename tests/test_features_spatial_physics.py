"""Where the peaks of `gcc_phat` are for sounds from known directions; level and phase differences; an independent library."""

import numpy as np
import pytest
from made_arrays import SQUARE, UNEVEN, delayed, heard, spectra_of

from audiodata.errors import FeatureError
from audiodata.features import extract
from audiodata.features.differences import LevelDifferenceConfig, PhaseDifferenceConfig, level_difference, phase_difference
from audiodata.features.mel import filter_bank
from audiodata.features.spatial import GccPhatConfig, gcc_phat, lags
from audiodata.features.spectral import log_mel
from audiodata.geometry import pair_lags, pairs

SAMPLE_RATE = 16000
FINE = GccPhatConfig(window_length=1024, hop_length=512, max_lag=12, interpolation=8)
HALF_STEP = 1 / 16


def peak_lags(waveform, config=FINE):
    """Lag of each pair's highest value, in samples, of the mean over the frames inside."""
    return lags(config)[gcc_phat(waveform, config)[:, 2:-2].mean(1).argmax(1)]


def misses(positions_m, arranged=lambda waveform: waveform):
    """How far each pair's peak is from its geometric lag, in samples, [azimuth, pair], all around."""
    azimuths = np.arange(0, 360, 5)
    found = [peak_lags(arranged(heard(UNEVEN, azimuth, SAMPLE_RATE))) for azimuth in azimuths]
    return np.abs(np.array(found) - pair_lags(positions_m, azimuths, SAMPLE_RATE))


def test_peaks_are_at_the_geometric_lags_all_around():
    assert misses(UNEVEN).max() <= HALF_STEP + 0.01


def test_a_mirror_image_or_swapped_channels_would_be_noticed():
    mirrored = [[x, -y, z] for x, y, z in UNEVEN]
    assert misses(mirrored).max() > 10 * HALF_STEP
    assert misses(UNEVEN, lambda waveform: waveform[[1, 0, 2, 3]]).max() > 10 * HALF_STEP
    assert misses(UNEVEN, lambda waveform: waveform[::-1]).max() > 10 * HALF_STEP


def test_a_sound_from_the_left_reaches_the_left_ear_first():
    ears = [[0.0, 0.08, 0.0], [0.0, -0.08, 0.0]]
    assert peak_lags(heard(ears, 90.0, SAMPLE_RATE))[0] == pytest.approx(-0.16 / 343 * SAMPLE_RATE, abs=HALF_STEP)
    assert peak_lags(heard(ears, 270.0, SAMPLE_RATE))[0] == pytest.approx(0.16 / 343 * SAMPLE_RATE, abs=HALF_STEP)


@pytest.mark.parametrize("later", [-25, -3, 0, 7, 25])
def test_a_first_channel_that_hears_later_peaks_at_positive_lags(later):
    noise = 0.1 * np.random.default_rng(0).standard_normal(16384)
    waveform = np.stack([np.roll(noise, later), noise]).astype(np.float32)
    assert peak_lags(waveform, GccPhatConfig(window_length=1024))[0] == later


def test_an_independent_library_finds_the_same_delays():
    experimental = pytest.importorskip("pyroomacoustics.experimental", reason="pyroomacoustics is not installed")
    for azimuth in range(0, 360, 40):
        waveform = heard(SQUARE, azimuth, SAMPLE_RATE, samples=8192, seed=azimuth)
        theirs = [experimental.tdoa(waveform[a], waveform[b], interp=8, fs=1) for a, b in pairs(4)]
        np.testing.assert_allclose(peak_lags(waveform), theirs, atol=2 * HALF_STEP + 1e-9)


def cross_bands(waveform, config):
    """Weighted cross spectra, complex128 [pair, frame, mel], the slow way."""
    bank = filter_bank(SAMPLE_RATE, config.framing.n_fft, config.n_mels, config.f_min_hz, config.f_max_hz or SAMPLE_RATE / 2, config.mel_scale)
    filters = np.zeros((config.n_mels, config.framing.bins))
    for band in range(config.n_mels):
        weights = bank.weight[bank.offset[band] : bank.offset[band + 1]]
        filters[band, bank.first_bin[band] :][: weights.size] = weights
    spectra = spectra_of(waveform, config)
    return np.array([(spectra[a] * spectra[b].conj()) @ filters.T for a, b in pairs(len(waveform))])


PHASES = PhaseDifferenceConfig(sample_rate=SAMPLE_RATE, window_length=512, hop_length=200, n_mels=24, f_min_hz=100)


@pytest.mark.parametrize("kind", ["noise", "far apart", "tone over quiet noise", "brown", "quiet", "faint", "loud"])
def test_phase_difference_is_the_angle_of_the_weighted_cross_spectrum(kind):
    rng = np.random.default_rng(3)
    white = rng.standard_normal((3, 5000))
    waveform = {
        "noise": white,
        "far apart": heard(UNEVEN, 40.0, SAMPLE_RATE, 5000)[:3],
        "tone over quiet noise": np.sin(np.arange(5000) * 0.4) + 1e-6 * white,
        "brown": np.cumsum(white, axis=1),
        "quiet": 1e-9 * white,
        "faint": 1e-22 * white,
        "loud": 1e7 * white,
    }[kind].astype(np.float32)
    expected = np.angle(cross_bands(waveform, PHASES))
    turn = np.abs(phase_difference(waveform, PHASES) - expected)
    assert np.minimum(turn, 2 * np.pi - turn).max() < 1e-4


def test_phase_difference_of_a_delay_is_minus_frequency_times_delay():
    noise = 0.1 * np.random.default_rng(0).standard_normal(16384)
    waveform = delayed(noise, [1.5, 0.0]).astype(np.float32)
    config = PhaseDifferenceConfig(sample_rate=SAMPLE_RATE, window_length=1024, n_mels=40, f_max_hz=4000)
    mean = phase_difference(waveform, config)[0, 3:-3].mean(0)
    bank = filter_bank(SAMPLE_RATE, 1024, 40, 0.0, 4000.0, "slaney")
    for band in range(8, 40):
        weights = bank.weight[bank.offset[band] : bank.offset[band + 1]]
        centre_hz = np.average(bank.first_bin[band] + np.arange(weights.size), weights=weights) * SAMPLE_RATE / 1024
        assert mean[band] == pytest.approx(-2 * np.pi * centre_hz * 1.5 / SAMPLE_RATE, abs=0.06)


def test_level_difference_is_log_mel_of_the_first_minus_the_second():
    waveform = heard(UNEVEN, 20.0, SAMPLE_RATE) * np.array([[1.0], [0.5], [0.1], [0.0]], np.float32)
    settings = {"sample_rate": SAMPLE_RATE, "window_length": 512, "n_mels": 20}
    levels, found = log_mel(waveform, **settings), level_difference(waveform, **settings)
    for pair, (a, b) in enumerate(pairs(4)):
        np.testing.assert_array_equal(found[pair], levels[a] - levels[b])
    np.testing.assert_allclose(found[0, 5:-5], 20 * np.log10(2), atol=0.5)
    assert np.isfinite(found).all()


def test_silence_and_a_silent_channel_stay_finite():
    silent = np.zeros((3, 4000), np.float32)
    assert (phase_difference(silent, PHASES) == 0).all()
    assert (level_difference(silent, sample_rate=SAMPLE_RATE) == 0).all()
    silent[0] = heard(UNEVEN, 0.0, SAMPLE_RATE, 4000)[0]
    found = phase_difference(silent, PHASES)
    assert (found == 0).all()


def test_differences_need_two_channels():
    for function in (level_difference, phase_difference):
        with pytest.raises(FeatureError, match="at least 2 channels, got 1"):
            function(np.ones(3000, np.float32), sample_rate=SAMPLE_RATE)


def test_differences_come_from_the_shared_transform():
    waveform = heard(UNEVEN, 100.0, SAMPLE_RATE)
    shared = {"sample_rate": SAMPLE_RATE, "window_length": 512, "n_mels": 20}
    both = {"level_difference": LevelDifferenceConfig(**shared), "phase_difference": PhaseDifferenceConfig(**shared)}
    found = extract(waveform, SAMPLE_RATE, both)
    assert found["phase_difference"].tobytes() == phase_difference(waveform, **shared).tobytes()
    assert found["level_difference"].tobytes() == level_difference(waveform, **shared).tobytes()
