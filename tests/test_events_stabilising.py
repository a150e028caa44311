"""A dot that moves as the digits of MNIST-DVS moved ends at one pixel."""

import math

import numpy as np
import pytest

from audiodata.errors import FeatureError
from audiodata.events.record import make_events
from audiodata.events.stabilising import digit_centre, stabilise

SENSOR = (128, 128, 2)
both = pytest.mark.parametrize("orientation", ["upright", "jaer"])


def published_centre(time_s):
    """The wave as it is published, in seconds, with halves away from zero: column and row of the recording software."""
    half_x, half_y = 0.5964, 0.2982
    x = abs((time_s + 1.5 * half_x) % (2 * half_x) - half_x) / half_x * 10 + 58
    y = abs(time_s % (2 * half_y) - half_y) / half_y * 5 + 58
    return 127 - math.floor(x + 0.5), 127 - math.floor(y + 0.5)


def moving_dot(orientation, times_us, right=0, down=0):
    """Events of a dot beside the digit's centre, in the orientation that the recording was read in."""
    centres = np.array([published_centre(time / 1e6) for time in times_us])
    x, y = centres[:, 0] + right, centres[:, 1] + down
    if orientation == "upright":  # raw x = 127 - x and raw y = y; upright are 127 - raw y and 127 - raw x
        x, y = 127 - y, x
    return make_events(times_us, x, y, np.arange(len(times_us)) % 2, SENSOR)


TIMES = np.arange(0, 2_400_000, 997)  # no multiple of a quarter period, where a wave in seconds may round either way


@both
def test_a_dot_on_the_wave_ends_at_one_pixel(orientation):
    dot = moving_dot(orientation, TIMES)
    before = dot.array.copy()
    assert np.ptp(dot.array["x"]) >= 5
    assert np.ptp(dot.array["y"]) >= 5
    still = stabilise(dot, orientation=orientation)
    assert set(still.array[["x", "y"]].tolist()) == {(63, 63)}
    assert still.sensor_size == SENSOR
    np.testing.assert_array_equal(still.array["t"], TIMES)
    np.testing.assert_array_equal(still.array["p"], before["p"])
    np.testing.assert_array_equal(dot.array, before)


@both
def test_what_is_beside_the_centre_stays_beside_it(orientation):
    still = stabilise(moving_dot(orientation, TIMES, right=4, down=-7), orientation=orientation)
    expected = (67, 56) if orientation == "jaer" else (70, 67)
    assert set(still.array[["x", "y"]].tolist()) == {expected}


def test_the_other_orientation_does_not_hold_still():
    moved = stabilise(moving_dot("upright", TIMES), orientation="jaer")
    assert len(set(moved.array[["x", "y"]].tolist())) > 10


def test_the_wave_has_its_amplitudes_and_periods():
    x, y = digit_centre(np.arange(0, 1_192_800, 100), "jaer")
    assert (x.min(), x.max(), y.min(), y.max()) == (59, 69, 64, 69)
    for later, values, index in ((1_192_800, x, 0), (596_400, y, 1)):
        again = digit_centre(np.arange(0, 1_192_800, 100) + later, "jaer")[index]
        np.testing.assert_array_equal(again, values)
    assert (x[0], y[0]) == (64, 64)  # half way and, of the rows, at the far end


def test_a_window_that_starts_later_goes_on_with_the_wave():
    whole = moving_dot("upright", TIMES)
    late = whole.array[whole.array["t"] >= 500_000].copy()
    late["t"] -= 500_000
    still = stabilise(whole._replace(array=late), start_us=500_000)
    assert set(still.array[["x", "y"]].tolist()) == {(63, 63)}
    assert len({*stabilise(whole._replace(array=late)).array["x"].tolist()}) > 1


def test_what_leaves_the_sensor_is_dropped():
    corner = make_events(TIMES, np.zeros(TIMES.size, int), np.zeros(TIMES.size, int), np.zeros(TIMES.size, int), SENSOR)
    kept = stabilise(corner, orientation="jaer")
    x, y = digit_centre(TIMES, "jaer")
    assert len(kept.array) == ((x <= 63) & (y <= 63)).sum() < TIMES.size


def test_another_sensor_is_refused():
    small = make_events(np.array([0]), np.array([0]), np.array([0]), np.array([0]), (34, 34, 2))
    with pytest.raises(FeatureError, match=r"128 x 128 pixels of MNIST-DVS, got 34 x 34"):
        stabilise(small)
