"""How an image moves before a sensor: the three saccades of N-MNIST, the triangle wave of MNIST-DVS, and at rest.

A motion is where the image's centre is at each step, in pixels of the sensor: pixel k covers k to k + 1, x runs to the right and y down.
Between two steps it is a straight line.

Saccades (G. Orchard, A. Jayawant, G. K. Cohen and N. Thakor, "Converting static image datasets to spiking neuromorphic datasets using saccades",
Frontiers in Neuroscience 9:437, 2015): a camera that turns in three micro-saccades, one every 100 ms or so, along an isosceles triangle. Seen from
the sensor the image goes down and right, up and right, and back to the left. The size of the triangle, its place, and when each saccade begins
and how long it takes are not taken from the paper but measured on 300 recordings of it, as what makes the events of a digit fall on the fewest
pixels once the motion is taken out again; speed rises and falls linearly in each, as it does where acceleration is constant.

Triangle wave (T. Serrano-Gotarredona and B. Linares-Barranco, "Poker-DVS and MNIST-DVS. Their history, how they were made, and other details",
Frontiers in Neuroscience 9:481, 2015): the image goes back and forth along both axes at constant speed, with half periods of 0.2982 s (5 pixels)
and 0.5964 s (10 pixels). With T the half period and A the pixels, for upright images,

    x(t) = 58 + 5 |(t mod 2 T_x) - T_x| / T_x                    T_x = 0.2982 s
    y(t) = 69 - 10 |((t + 1.5 T_y) mod 2 T_y) - T_y| / T_y       T_y = 0.5964 s

which is the position that `audiodata.events.stabilising` takes out again, there rounded to whole pixels.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

SACCADES_MS = ((7.0, 79.0), (107.0, 84.0), (219.0, 76.0))  # when each begins, and how long it takes
SACCADE_CORNERS = ((0.0, 0.0), (0.5, 1.0), (1.0, 0.0), (0.0, 0.0))  # of the triangle, in its size
SACCADE_SIZE_PX = 5.3
SACCADE_START = (14.5, 16.0)
SACCADES_SENSOR = (34, 34)
SACCADES_S = 0.315

WAVE_X_US, WAVE_Y_US = 298_200.0, 596_400.0  # half periods
WAVE_X_PX, WAVE_Y_PX = 5.0, 10.0
WAVE_START = (58.0, 69.0)
WAVE_CENTRE = (60.5, 64.0)
WAVE_SENSOR = (128, 128)
WAVE_S = 2.0


class Motion(NamedTuple):
    """Where an image's centre is.

    Attributes
    ----------
    time_us : float64 [step]
        Rising, from 0.
    x, y : float64 [step]
        In pixels of the sensor.
    """

    time_us: np.ndarray
    x: np.ndarray
    y: np.ndarray


def steps(duration_us: int, step_us: int) -> np.ndarray:
    """Times from 0 to a duration, both of them steps; the last one may be shorter."""
    return np.append(np.arange(0.0, duration_us, step_us), float(duration_us))


def at_rest(time_us: np.ndarray, centre: Sequence[float]) -> Motion:
    """No motion at all."""
    return Motion(time_us, np.full(len(time_us), float(centre[0])), np.full(len(time_us), float(centre[1])))


def saccades(time_us: np.ndarray, centre: Sequence[float] = SACCADE_START, size_px: float = SACCADE_SIZE_PX) -> Motion:
    """Three saccades along a triangle, back to where they began.

    Parameters
    ----------
    time_us : float64 [step]
    centre : (x, y)
        Where the image's centre is at rest.
    size_px : float
        Length of the triangle's base and height.
    """
    corners = np.asarray(SACCADE_CORNERS) * size_px
    place = np.tile(np.asarray(centre, dtype=np.float64), (len(time_us), 1))
    for (start_ms, lasts_ms), way in zip(SACCADES_MS, np.diff(corners, axis=0), strict=True):
        share = np.clip((time_us - 1e3 * start_ms) / (1e3 * lasts_ms), 0.0, 1.0)
        place += np.where(share < 0.5, 2.0 * share * share, 1.0 - 2.0 * (1.0 - share) * (1.0 - share))[:, None] * way
    return Motion(time_us, place[:, 0], place[:, 1])


def triangle_wave(time_us: np.ndarray, centre: Sequence[float] = WAVE_CENTRE, size: float = 1.0) -> Motion:
    """Back and forth along both axes at constant speed.

    Parameters
    ----------
    time_us : float64 [step]
    centre : (x, y)
        Middle of the path.
    size : float
        Factor on its 5 and 10 pixels.
    """
    x = WAVE_X_PX * (_triangle(time_us, WAVE_X_US) - 0.5)
    y = WAVE_Y_PX * (0.5 - _triangle(time_us + 1.5 * WAVE_Y_US, WAVE_Y_US))
    return Motion(time_us, centre[0] + size * x, centre[1] + size * y)


def _triangle(time_us: np.ndarray, half_period_us: float) -> np.ndarray:
    """From 1 at time 0 down to 0 half a period later, and back."""
    return np.abs(time_us % (2.0 * half_period_us) - half_period_us) / half_period_us
