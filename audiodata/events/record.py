"""What an event recording is in memory: one structured array, and the size of the sensor that it came from."""

from typing import Literal, NamedTuple

import numpy as np

from audiodata.errors import ClipError

MICROSECONDS_PER_SECOND = 1_000_000
EVENT_2D = np.dtype([("t", "<i8"), ("x", "<i2"), ("y", "<i2"), ("p", "i1")], align=True)
EVENT_1D = np.dtype([("t", "<i8"), ("x", "<i2"), ("p", "i1")], align=True)

Sense = Literal["visual", "auditory"]
SensorSize = tuple[int, int, int]


class Events(NamedTuple):
    """One recording of an event sensor.

    Attributes
    ----------
    array : structured array [event]
        ``t`` in microseconds, never running backward; ``x``, and ``y`` where the sensor has rows (`EVENT_2D`, else `EVENT_1D`);
        ``p``: 1 for ON, 0 for OFF; 0 for all events of a sensor that has one polarity.
    sensor_size : tuple of int
        Columns (or channels), rows (1 for a line of channels), polarities.
    """

    array: np.ndarray
    sensor_size: SensorSize

    @property
    def sense(self) -> Sense:
        """What kind of sensor: "visual" where events have rows, "auditory" where they have channels alone."""
        return "visual" if "y" in self.array.dtype.names else "auditory"

    @property
    def duration_us(self) -> int:
        """From the first event to the last, both counted: 0 without events, 1 with one."""
        return int(self.array["t"][-1] - self.array["t"][0]) + 1 if len(self.array) else 0


def make_events(t: np.ndarray, x: np.ndarray, y: np.ndarray | None, p: np.ndarray, sensor_size: SensorSize) -> Events:
    """Put columns together.

    Parameters
    ----------
    t, x, y, p : array [event]
        See `Events`; `y` is None for a line of channels.
    sensor_size : tuple of int
        Columns (or channels), rows, polarities.

    Raises
    ------
    ClipError
        ``undecodable``: columns of different lengths, time that runs backward, or an address outside the sensor.
    """
    columns = {"t": t, "x": x, "y": y, "p": p} if y is not None else {"t": t, "x": x, "p": p}
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise ClipError("undecodable", f"events: columns of different lengths ({lengths})")
    _check_range("x", x, sensor_size[0])
    _check_range("y", y, sensor_size[1])
    _check_range("p", p, sensor_size[2])
    if len(t) > 1 and np.any(np.diff(t) < 0):
        raise ClipError("undecodable", f"events: time runs backward at event {int(np.argmax(np.diff(t) < 0)) + 1}; sort them by time")
    array = np.empty(len(t), EVENT_1D if y is None else EVENT_2D)
    for name, values in columns.items():
        array[name] = values
    return Events(array, sensor_size)


def _check_range(name: str, values: np.ndarray | None, size: int) -> None:
    if values is not None and len(values) and not (values.min() >= 0 and values.max() < size):
        raise ClipError("undecodable", f"events: {name} runs from {values.min()} to {values.max()}, the sensor has 0 to {size - 1}")
