"""Spans of event recordings: time counted from the first event, cut, repeated; and what a set of recordings is called."""

from collections.abc import Iterable, Mapping

import numpy as np

from audiodata.errors import ClipError
from audiodata.events.record import Events, Sense, SensorSize

SIZES = 3  # numbers of a sensor's size: columns, rows, polarities


def from_start(events: Events) -> Events:
    """Count time from the first event, whatever clock recorded it.

    Examples
    --------
    >>> from audiodata.events.record import make_events
    >>> late = make_events(np.array([700, 705]), np.array([0, 1]), None, np.array([0, 0]), (2, 1, 1))
    >>> from_start(late).array["t"].tolist()
    [0, 5]
    """
    return _shifted(events, int(events.array["t"][0])) if len(events.array) else events


def cut(events: Events, start_us: int, length_us: int) -> Events:
    """Events of the half-open span ``[start, start + length)``, in time counted from its start.

    Parameters
    ----------
    events : Events
    start_us, length_us : int
        Microseconds.
    """
    first, last = np.searchsorted(events.array["t"], (start_us, start_us + length_us))
    return _shifted(events._replace(array=events.array[first:last]), start_us)


def repeat(events: Events, period_us: int, length_us: int) -> Events:
    """Play events of ``[0, period)`` again and again until ``[0, length)`` is full.

    Parameters
    ----------
    events : Events
        Time counted from its start.
    period_us, length_us : int
        Microseconds; the last period is cut off.
    """
    times = -(-length_us // period_us)
    array = np.tile(events.array, times)
    array["t"] += np.repeat(np.arange(times, dtype=np.int64) * period_us, len(events.array))
    return cut(events._replace(array=array), 0, length_us)


def _shifted(events: Events, by_us: int) -> Events:
    array = events.array.copy()
    array["t"] -= by_us
    return events._replace(array=array)


def by_sense(recordings: Iterable[Events]) -> dict[Sense, Events]:
    """Name the recordings of a clip: "visual" before "auditory".

    Raises
    ------
    ClipError
        Two of one sense.
    """
    recordings = list(recordings)
    named = {sense: events for sense in ("visual", "auditory") for events in recordings if events.sense == sense}
    if len(named) < len(recordings):
        raise ClipError("undecodable", f"paired with another {next(iter(named))} recording; a pair is one visual and one auditory one")
    return named


def flat_sizes(recordings: Mapping[Sense, Events]) -> tuple[int, ...]:
    """Write the sensors' sizes one after the other, as an inspection notes them."""
    return tuple(number for events in recordings.values() for number in events.sensor_size)


def sensors_of(sizes: tuple[int, ...]) -> dict[Sense, SensorSize]:
    """Read what `flat_sizes` wrote; a sensor of one row hears.

    Examples
    --------
    >>> sensors_of((34, 34, 2, 64, 1, 1))
    {'visual': (34, 34, 2), 'auditory': (64, 1, 1)}
    """
    sensors = [sizes[at : at + SIZES] for at in range(0, len(sizes), SIZES)]
    return {"visual" if rows > 1 else "auditory": (columns, rows, polarities) for columns, rows, polarities in sensors}
