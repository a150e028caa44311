"""Background activity: events that no neighbour supports are dropped (Delbruck, "Frame-free dynamic digital vision", 2008)."""

import numpy as np

from audiodata.errors import ClipError, FeatureError
from audiodata.events.conversion_kernels import mark_supported
from audiodata.events.record import Events


def denoise(events: Events, within_us: int) -> Events:
    """Keep the events before which one of the neighbours had an event.

    Neighbours are the eight pixels around, in a line of channels the two beside; not the pixel itself. Polarity doesn't matter, an event that is
    dropped itself supports others, and of two events at the same microsecond the one that is listed later is supported by the other. The first
    events of a recording have nothing before them, and are dropped.

    Parameters
    ----------
    events : Events
    within_us : int
        Longest time since the neighbour's event, in microseconds.

    Raises
    ------
    FeatureError
        A negative time.
    ClipError
        ``undecodable``: an address outside the sensor.
    """
    if within_us < 0:
        raise FeatureError(f"denoise: expected a time of 0 us or more, got {within_us} us")
    array, (columns, rows, _) = events
    if not len(array):
        return events
    kept = np.zeros(len(array), np.bool_)
    latest = np.full((rows + 2, columns + 2), array["t"][0] - within_us - 1)
    y = array["y"] if events.sense == "visual" else np.zeros(len(array), np.int16)
    strange = mark_supported(array["t"], array["x"], y, within_us, latest, kept)
    if strange:
        raise ClipError("undecodable", f"events: {strange} of {len(array)} have an address outside the sensor {events.sensor_size}")
    return Events(array[kept], events.sensor_size)
