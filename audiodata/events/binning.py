"""Events to frames over a fixed window: every event inside it lands in exactly one time step.

An event at ``t`` belongs to step floor((t - start) S / window) of the ``S`` steps of the half-open window [start, start + window), in integers:
step ``s`` begins with the microsecond start + ceil(s window / S), also where the window is no multiple of ``S`` microseconds. Events outside the
window are left out; `step_indices` has -1 for them, so that they can be counted.
"""

from typing import Literal

import numpy as np

from audiodata.errors import ClipError, FeatureError
from audiodata.events.conversion_kernels import fill_steps
from audiodata.events.polarities import Polarity, channel_count, polarity_channels
from audiodata.events.record import Events, SensorSize

Values = Literal["binary", "count"]
OUTSIDE = -1
TIME_MAX = 2**63 - 1


def step_indices(t: np.ndarray, time_steps: int, window_us: int, start_us: int = 0) -> np.ndarray:
    """Time step of each event, -1 for one outside the window.

    Parameters
    ----------
    t : int64 [event]
        In microseconds, in any order.
    time_steps : int
        Number of steps.
    window_us : int
        Their length together, in microseconds.
    start_us : int
        Where the first begins.

    Returns
    -------
    int64 [event]

    Raises
    ------
    FeatureError
        No step, no window, or more than 64 bits can count.

    Examples
    --------
    >>> step_indices(np.array([-1, 0, 49, 50, 99, 100]), 2, 100).tolist()
    [-1, 0, 0, 1, 1, -1]
    """
    _check_window(time_steps, window_us, start_us)
    inside = (t >= start_us) & (t < start_us + window_us)
    return np.where(inside, (np.where(inside, t, start_us) - start_us) * time_steps // window_us, OUTSIDE)


def frames(
    events: Events,
    time_steps: int,
    window_us: int,
    *,
    values: Values = "binary",
    polarity: Polarity = "merged",
    start_us: int = 0,
) -> np.ndarray:
    """Events of each address in each time step.

    Parameters
    ----------
    events : Events
        In any order of time; fastest in order.
    time_steps, window_us, start_us : int
        See `step_indices`.
    values : str
        ``"binary"``: 1 where there was an event; ``"count"``: how many, 255 standing for 255 and more.
    polarity : str
        See `audiodata.events.polarities.polarity_channels`.

    Returns
    -------
    uint8 [time, polarity, row, column]
        [time, polarity, channel] of a sensor without rows.

    Raises
    ------
    FeatureError
        Settings that don't fit each other or the sensor.
    ClipError
        ``undecodable``: an address outside the sensor.
    """
    _check_window(time_steps, window_us, start_us)
    array, (columns, rows, polarities) = events
    y = array["y"] if events.sense == "visual" else np.zeros(len(array), np.int16)
    out = np.zeros((time_steps, channel_count(polarity, polarities), rows, columns), np.uint8)
    to_channel = polarity_channels(polarity, polarities)
    edges = _edges(time_steps, window_us, start_us)
    strange = fill_steps(array["t"], array["x"], y, array["p"], edges, to_channel, values == "count", out)
    if strange:
        raise ClipError("undecodable", f"events: {strange} of {len(array)} have an address outside the sensor {events.sensor_size}")
    return out if events.sense == "visual" else out.reshape(time_steps, -1, rows * columns)


def frames_shape(sensor_size: SensorSize, time_steps: int, polarity: Polarity) -> tuple[int, int, int, int]:
    """Shape of `frames` [time, polarity, row, column] without computing them."""
    columns, rows, polarities = sensor_size
    return time_steps, channel_count(polarity, polarities), rows, columns


def _edges(time_steps: int, window_us: int, start_us: int) -> np.ndarray:
    """First microsecond of each step, and the one after the last."""
    return start_us - (-np.arange(time_steps + 1, dtype=np.int64) * window_us) // time_steps


def _check_window(time_steps: int, window_us: int, start_us: int) -> None:
    if time_steps < 1 or window_us < 1:
        raise FeatureError(f"binning: expected at least 1 time step over at least 1 us, got {time_steps} over {window_us} us")
    if (time_steps + 1) * (window_us + 1) + abs(start_us) > TIME_MAX:
        raise FeatureError(f"binning: {time_steps} time steps over {window_us} us from {start_us} us are more than 64 bits can count")
