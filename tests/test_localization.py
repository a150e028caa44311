"""Directions by calculation: exact sounds all around, real recordings; swapped channels and mirrored arrays lead astray."""

import numpy as np
import pytest
import soundfile as sf
from made_arrays import SQUARE, UNEVEN, heard

from audiodata.errors import FeatureError
from audiodata.features import extract
from audiodata.features.spatial import GccPhatConfig, gcc_phat, lags
from audiodata.features.spectral import LogMelConfig
from audiodata.geometry import circular_error_deg
from audiodata.localization import (
    argmax_azimuth_deg,
    azimuth_counts,
    estimate_azimuth_deg,
    frame_weights,
    srp_phat,
    steering_weights,
    strongest_azimuths_deg,
)

SAMPLE_RATE = 16000
AROUND = np.arange(0.0, 360.0)
FINE = GccPhatConfig(window_length=1024, hop_length=512, max_lag=12, interpolation=8)
WHOLE = GccPhatConfig(window_length=1024, hop_length=512, max_lag=25)
HALF = 0.02285  # of the side of a square of 45.7 mm


def by_power(waveform, positions_m, config=FINE, **settings):
    power = srp_phat(gcc_phat(waveform, config), lags(config), positions_m, SAMPLE_RATE, AROUND, **settings)
    return estimate_azimuth_deg(power, AROUND)


def by_peaks(waveform, positions_m, config=FINE, **settings):
    return argmax_azimuth_deg(gcc_phat(waveform, config), lags(config), positions_m, SAMPLE_RATE, AROUND, **settings)


ROUTES = pytest.mark.parametrize("route", [by_power, by_peaks])


def errors_deg(route, positions_m=UNEVEN, arranged=lambda waveform: waveform):
    azimuths = np.arange(0, 360, 15)
    return circular_error_deg([route(arranged(heard(UNEVEN, azimuth, SAMPLE_RATE)), positions_m) for azimuth in azimuths], azimuths)


@ROUTES
def test_finds_sounds_all_around(route):
    assert errors_deg(route).max() <= 1.0


@ROUTES
def test_swapped_channels_lead_astray(route):
    assert np.median(errors_deg(route, arranged=lambda waveform: waveform[[1, 0, 2, 3]])) > 10
    assert np.median(errors_deg(route, arranged=lambda waveform: waveform[::-1])) > 10


@ROUTES
def test_a_mirrored_array_finds_the_mirror_image(route):
    mirrored = [[x, -y, z] for x, y, z in UNEVEN]
    assert errors_deg(route, mirrored).max() > 90
    assert circular_error_deg(route(heard(UNEVEN, 70.0, SAMPLE_RATE), mirrored), -70.0) <= 1


def test_left_is_90():
    left_and_front = [[0.0, 0.05, 0.0], [0.0, -0.05, 0.0], [0.05, 0.0, 0.0]]
    assert by_power(heard(left_and_front, 90.0, SAMPLE_RATE), left_and_front) == pytest.approx(90, abs=1)


def test_whole_lags_are_enough_where_what_is_between_is_known():
    for azimuth in range(0, 360, 40):
        waveform = heard(UNEVEN, azimuth, SAMPLE_RATE)
        assert circular_error_deg(by_power(waveform, UNEVEN, WHOLE, between="sinc"), azimuth) <= 1


def test_a_source_up_high_is_found_with_its_elevation_alone_or_among_others():
    waveform = heard(UNEVEN, 200.0, SAMPLE_RATE, elevation_deg=50.0)
    for elevation in (50.0, (0.0, 25.0, 50.0, 75.0)):
        assert by_power(waveform, UNEVEN, elevation_deg=elevation) == pytest.approx(200, abs=1)
    gcc = gcc_phat(waveform, FINE)
    low, high, either = (srp_phat(gcc, lags(FINE), UNEVEN, SAMPLE_RATE, AROUND, elevation).mean(0).max() for elevation in (0.0, 50.0, (0.0, 50.0)))
    assert low < high <= either


def test_power_reads_each_pair_at_its_lag():
    expected_lags = np.array([[0.25, -1.0], [1.0, 2.0]])  # [azimuth, pair]
    axis = np.arange(-2.0, 2.5, 0.5)
    values = np.random.default_rng(0).standard_normal((2, axis.size))
    weights = steering_weights(expected_lags, axis)
    found = np.einsum("pl,pla->a", values, weights)
    np.testing.assert_allclose(found, [np.interp(a, axis, values[0]) + np.interp(b, axis, values[1]) for a, b in expected_lags])


def test_the_sinc_between_lags_restores_a_signal_without_high_frequencies():
    axis = np.arange(-400.0, 401.0)
    weights = steering_weights(np.array([[0.3], [-7.8]]), axis, "sinc")
    values = np.sinc(0.8 * (axis - 1.3))
    np.testing.assert_allclose(values @ weights[0], np.sinc(0.8 * (np.array([0.3, -7.8]) - 1.3)), atol=1e-2)


def test_two_sounds_in_turn_are_both_found():
    waveform = np.concatenate([heard(UNEVEN, 80.0, SAMPLE_RATE), heard(UNEVEN, 250.0, SAMPLE_RATE, samples=24000, seed=1)], axis=1)
    power = srp_phat(gcc_phat(waveform, FINE), lags(FINE), UNEVEN, SAMPLE_RATE, AROUND)
    counts = azimuth_counts(power, AROUND)
    assert counts.max() > counts[80] > counts[150] == 0
    assert circular_error_deg(strongest_azimuths_deg(counts, AROUND, 2), [250, 80]).max() <= 10
    assert len(strongest_azimuths_deg(counts, AROUND, 100)) <= 12


def test_frame_weights_take_the_loud_frames():
    levels = np.full((2, 5, 8), -60.0)
    levels[:, 2:4] = -20.0
    np.testing.assert_array_equal(frame_weights(levels, 30.0), [0, 0, 1, 1, 0])
    np.testing.assert_array_equal(frame_weights(np.full((1, 3, 4), -100.0)), [1, 1, 1])


def test_refinement_finds_what_is_between_the_azimuths_and_goes_all_around():
    coarse = np.arange(0.0, 360.0, 10.0)
    for azimuth in (357.0, 3.0, 44.0):
        power = np.cos(np.radians(coarse - azimuth))[np.newaxis]
        assert circular_error_deg(estimate_azimuth_deg(power, coarse), azimuth) < 0.1
        assert estimate_azimuth_deg(power, coarse, refine=False) % 10 == 0
    front = np.arange(-90.0, 91.0, 10.0)
    assert estimate_azimuth_deg(np.cos(np.radians(front + 90))[np.newaxis], front) == 270.0


def test_weights_choose_frames():
    power = np.zeros((3, 360))
    power[0, 100] = power[1, 100] = power[2, 30] = 1.0
    assert estimate_azimuth_deg(power, AROUND, refine=False) == 100
    assert estimate_azimuth_deg(power, AROUND, weights=np.array([0.0, 0.0, 1.0]), refine=False) == 30


@pytest.mark.parametrize(
    ("gcc", "axis", "words"),
    [
        (np.zeros((5, 3, 51)), np.arange(-25.0, 26), ["[6 pairs, frame, 51 lags]", "4 microphones", "[5, 3, 51]"]),
        (np.zeros((6, 3, 50)), np.arange(-25.0, 26), ["[6, 3, 50]"]),
        (np.zeros((6, 51)), np.arange(-25.0, 26), ["[6, 51]"]),
        (np.zeros((6, 3, 5)), np.arange(-2.0, 3), ["samples of lag apart", "end at 2", "max_lag"]),
    ],
)
def test_what_does_not_fit_is_one_line(gcc, axis, words):
    with pytest.raises(FeatureError) as error:
        srp_phat(gcc, axis, SQUARE, SAMPLE_RATE, AROUND)
    assert "\n" not in str(error.value)
    assert not [word for word in words if word not in str(error.value)]


def read(path, channels=slice(None)):
    samples, sample_rate = sf.read(path, dtype="float32", always_2d=True)
    assert sample_rate == SAMPLE_RATE
    return np.ascontiguousarray(samples.T[channels])


def one_source(folder):
    """Recordings of one sound by four microphones: waveform, positions, azimuth, elevation."""
    for path in sorted((folder / "simulated_4ch" / "a180e20").glob("*/*.wav")):
        yield read(path), [[HALF, HALF, 0], [-HALF, HALF, 0], [-HALF, -HALF, 0], [HALF, -HALF, 0]], 180.0, 20.0
    path = next((folder / "square_4ch").glob("speech_*.flac"))
    x, y, z = (float(part) for part in path.stem.split("_")[1:])
    positions = [[-0.05, -0.05, 0], [-0.05, 0.05, 0], [0.05, -0.05, 0], [0.05, 0.05, 0]]
    yield read(path), positions, np.degrees(np.arctan2(y, x)), np.degrees(np.arcsin(z))


@ROUTES
@pytest.mark.parametrize("known_elevation", [True, False])
def test_recordings_of_one_source_are_found_within_5_degrees(shared_data, route, known_elevation):
    recordings = list(one_source(shared_data / "microphone_array"))
    assert len(recordings) == 4
    for waveform, positions, azimuth, elevation in recordings:
        found = route(waveform, positions, elevation_deg=elevation if known_elevation else 0.0)
        assert circular_error_deg(found, azimuth) <= 5


@ROUTES
def test_recordings_with_swapped_channels_or_a_mirrored_array_are_not(shared_data, route):
    for waveform, positions, azimuth, elevation in one_source(shared_data / "microphone_array"):
        sideways = [[-x, y, z] for x, y, z in positions]
        assert circular_error_deg(route(waveform[[1, 2, 3, 0]], positions, elevation_deg=elevation), azimuth) > 10
        assert circular_error_deg(route(waveform, sideways, elevation_deg=elevation), azimuth) > 10


TALKERS = {"a0e45_a-135e5.wav": [0, -135], "a0e45_a-45e15_a90e0.wav": [0, -45, 90]}
BOARD = [[-HALF, -HALF, 0], [HALF, -HALF, 0], [HALF, HALF, 0], [-HALF, HALF, 0]]


def strongest(waveform, positions_m, count):
    """The strongest directions of talkers: their band, loud frames, any elevation; votes of frames in place of mean power."""
    band = {"sample_rate": SAMPLE_RATE, "window_length": 1024, "hop_length": 512, "f_min_hz": 300, "f_max_hz": 4000}
    configs = {"gcc_phat": GccPhatConfig(**band, max_lag=8, interpolation=8), "log_mel": LogMelConfig(**band, n_mels=40)}
    made = extract(waveform, SAMPLE_RATE, configs)
    azimuths = np.arange(0.0, 360.0, 5.0)
    power = srp_phat(made["gcc_phat"], lags(configs["gcc_phat"]), positions_m, SAMPLE_RATE, azimuths, (0, 15, 30, 45, 60))
    counts = azimuth_counts(power, azimuths, weights=frame_weights(made["log_mel"], 25.0))
    return strongest_azimuths_deg(counts, azimuths, count)


def worst_deg(found, nominal):
    """Largest distance of a nominal azimuth from the nearest one found."""
    return max(circular_error_deg(np.array(found), azimuth).min() for azimuth in nominal)


@pytest.mark.parametrize("name", TALKERS)
def test_as_many_directions_as_there_are_talkers_are_theirs_within_20_degrees(shared_data, name):
    waveform = read(shared_data / "microphone_array" / "respeaker_6ch" / name, slice(1, 5))
    assert worst_deg(strongest(waveform, BOARD, len(TALKERS[name])), TALKERS[name]) <= 20


@pytest.mark.parametrize("name", TALKERS)
def test_talkers_are_not_found_with_a_mirrored_board_or_swapped_channels(shared_data, name):
    waveform = read(shared_data / "microphone_array" / "respeaker_6ch" / name, slice(1, 5))
    mirrored = [[x, -y, z] for x, y, z in BOARD]
    assert worst_deg(strongest(waveform, mirrored, len(TALKERS[name])), TALKERS[name]) > 20
    assert worst_deg(strongest(waveform[[1, 0, 2, 3]], BOARD, len(TALKERS[name])), TALKERS[name]) > 20
