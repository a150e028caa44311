"""Directions, arrival times and lags: written-out cases and symmetries."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audiodata import geometry

SQUARE = np.array([[0.03, 0.03, 0], [-0.03, 0.03, 0], [-0.03, -0.03, 0], [0.03, -0.03, 0]])
AZIMUTHS = st.floats(-720, 720)


@pytest.mark.parametrize(("azimuth_deg", "elevation_deg", "expected"), [
    (0, 0, [1, 0, 0]), (90, 0, [0, 1, 0]), (180, 0, [-1, 0, 0]), (270, 0, [0, -1, 0]), (45, 90, [0, 0, 1]), (0, -90, [0, 0, -1]),
])
def test_front_left_and_up(azimuth_deg, elevation_deg, expected):
    assert geometry.direction(azimuth_deg, elevation_deg) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("one", "other", "expected"), [(359, 1, 2), (0, 360, 0), (10, 200, 170), (0, 180, 180), (-90, 270, 0), (725, 0, 5)])
def test_errors_go_the_short_way_round(one, other, expected):
    assert geometry.circular_error_deg(one, other) == geometry.circular_error_deg(other, one) == expected


@settings(max_examples=200, deadline=None)
@given(AZIMUTHS)
def test_wrapped_azimuths_are_the_same_direction(azimuth_deg):
    wrapped = geometry.wrapped_azimuth_deg(azimuth_deg)
    assert 0 <= wrapped < 360
    assert geometry.direction(wrapped) == pytest.approx(geometry.direction(azimuth_deg), abs=1e-9)


def test_a_sound_from_the_left_reaches_the_left_microphone_first():
    """Two microphones 34.3 cm apart are one millisecond apart for a sound along their line."""
    left_right = [[0, 0.1715, 0], [0, -0.1715, 0]]
    times = geometry.arrival_times_s(left_right, 90.0)
    assert times == pytest.approx([-0.0005, 0.0005])
    assert geometry.pair_lags(left_right, 90.0, 16000) == pytest.approx([-16.0])
    assert geometry.pair_lags(left_right, 270.0, 16000) == pytest.approx([16.0])
    assert geometry.pair_lags(left_right, [0.0, 180.0], 16000) == pytest.approx(np.zeros((2, 1)), abs=1e-9)


@settings(max_examples=100, deadline=None)
@given(AZIMUTHS, st.floats(-80, 80))
def test_turning_the_array_turns_the_azimuth(azimuth_deg, turned_deg):
    turn = np.radians(turned_deg)
    rotation = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    turned = geometry.pair_lags(SQUARE @ rotation.T, azimuth_deg + turned_deg, 16000)
    assert turned == pytest.approx(geometry.pair_lags(SQUARE, azimuth_deg, 16000), abs=1e-9)


def test_far_sources_send_plane_waves():
    near = geometry.arrival_times_s(SQUARE, 30.0, 20.0, distance_m=0.2)
    far = geometry.arrival_times_s(SQUARE, 30.0, 20.0, distance_m=1e5)
    plane = geometry.arrival_times_s(SQUARE, 30.0, 20.0)
    assert far == pytest.approx(plane, abs=1e-10)
    assert np.abs(near - plane).max() > 1e-6
    by_hand = (np.linalg.norm(0.2 * geometry.direction(30.0, 20.0) - SQUARE, axis=1) - 0.2) / 343.0
    assert near == pytest.approx(by_hand)


def test_pairs_are_in_the_order_of_combinations():
    assert geometry.pairs(4) == [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
    times = geometry.arrival_times_s(SQUARE, 77.0)
    expected = [(times[a] - times[b]) * 48000 for a, b in geometry.pairs(4)]
    assert geometry.pair_lags(SQUARE, 77.0, 48000) == pytest.approx(expected)
