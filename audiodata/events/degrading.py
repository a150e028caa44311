"""Recordings made worse: events lost, events that nothing caused, times that shake, silence.

All functions leave their input as it is, and are exact repetitions of each other for equal generators. Times count from the start of a
window, as they do in the examples of a build.
"""

import numpy as np

from audiodata.errors import FeatureError
from audiodata.events.record import MICROSECONDS_PER_SECOND, Events


def drop(events: Events, share: float, rng: np.random.Generator) -> Events:
    """Lose each event with the same probability, whatever becomes of the others.

    What a larger share leaves of the same recording with a generator in the same state is a part of what a smaller one leaves.

    Parameters
    ----------
    events : Events
    share : float
        The probability, 0 to 1.
    rng : Generator

    Raises
    ------
    FeatureError
        A share outside 0 to 1.
    """
    if not 0 <= share <= 1:
        raise FeatureError(f"share of events to drop is {share:g}, expected 0 to 1")
    return events._replace(array=events.array[rng.random(len(events.array)) >= share])


def add_noise(events: Events, rate_hz: float, window_us: int, rng: np.random.Generator) -> Events:
    """Add events that nothing caused: a Poisson process of its own for each address, its polarities equally likely.

    Parameters
    ----------
    events : Events
    rate_hz : float
        Mean rate of the added events of one address: a pixel, or a channel.
    window_us : int
        They lie in ``[0, window)``, in microseconds.
    rng : Generator

    Returns
    -------
    Events
        Sorted by time; of those at the same time the recorded ones come first.

    Raises
    ------
    FeatureError
        A negative rate.
    """
    if not (rate_hz >= 0 and np.isfinite(rate_hz)):
        raise FeatureError(f"rate of noise events is {rate_hz:g} Hz, expected 0 or more")
    columns, rows, polarities = events.sensor_size
    # a Poisson number of events, spread evenly over time and addresses, is a Poisson process at each address
    count = rng.poisson(rate_hz * columns * rows * window_us / MICROSECONDS_PER_SECOND)
    added = np.empty(count, events.array.dtype)
    added["t"] = rng.integers(0, max(window_us, 1), count)
    for name, size in (("x", columns), ("y", rows), ("p", polarities)):
        if name in added.dtype.names:
            added[name] = rng.integers(0, size, count)
    return _sorted(events, np.concatenate([events.array, added]))


def jitter(events: Events, std_us: float, window_us: int, rng: np.random.Generator) -> Events:
    """Shift each event by a normally distributed time.

    An event that would leave the window is reflected at its edge, so that none is lost and what was spread evenly stays so.

    Parameters
    ----------
    events : Events
        In ``[0, window)``.
    std_us : float
        Standard deviation of the shift, in microseconds.
    window_us : int
    rng : Generator

    Returns
    -------
    Events
        Sorted by time.

    Raises
    ------
    FeatureError
        A negative deviation, or events outside the window.
    """
    if not (std_us >= 0 and np.isfinite(std_us)):
        raise FeatureError(f"standard deviation of the jitter is {std_us:g} us, expected 0 or more")
    t = events.array["t"]
    if len(t) and not (t[0] >= 0 and t[-1] < window_us):
        raise FeatureError(f"events from {t[0]} to {t[-1]} us do not lie in a window of {window_us} us; cut them first")
    array = events.array.copy()
    array["t"] = _reflected(t + np.rint(rng.normal(0.0, 1.0, len(t)) * std_us).astype(np.int64), max(window_us, 1))
    return _sorted(events, array)


def silence(events: Events) -> Events:
    """Lose all events: a sensor that has failed.

    Parameters
    ----------
    events : Events
    """
    return events._replace(array=events.array[:0])


def _reflected(t: np.ndarray, window_us: int) -> np.ndarray:
    """Fold times into ``[0, window)``; the microseconds before 0 run backward, and so do those from the window's end."""
    folded = t % (2 * window_us)
    return np.where(folded < window_us, folded, 2 * window_us - 1 - folded)


def _sorted(events: Events, array: np.ndarray) -> Events:
    return events._replace(array=array[np.argsort(array["t"], kind="stable")])
