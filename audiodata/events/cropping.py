"""A smaller sensor: a square cut out of it, or several pixels taken as one."""

import numpy as np

from audiodata.errors import FeatureError
from audiodata.events.record import Events, SensorSize


def crop_corner(sensor_size: SensorSize, size: int, centre: tuple[int, int] | None = None) -> tuple[int, int]:
    """First column and row of a square cut out of a sensor.

    Around a centre ``c`` it holds the pixels ``c - size // 2`` to ``c - size // 2 + size - 1``: for an even size one more before the centre than
    after it. Without a centre it lies in the middle of the sensor, ``(length - size) // 2`` pixels from its first column and row.

    Parameters
    ----------
    sensor_size : tuple of int
        Columns, rows, polarities.
    size : int
        Columns and rows of the square.
    centre : tuple of int, optional
        Column and row.

    Raises
    ------
    FeatureError
        The square reaches beyond the sensor.

    Examples
    --------
    >>> crop_corner((128, 128, 2), 28, (63, 63)), crop_corner((34, 34, 2), 28)
    ((49, 49), (3, 3))
    """
    lengths = sensor_size[:2]
    if centre is None:
        corner = tuple((length - size) // 2 for length in lengths)
    else:
        corner = tuple(middle - size // 2 for middle in centre)
    if not all(first >= 0 and first + size <= length for first, length in zip(corner, lengths, strict=True)):
        around = "" if centre is None else f" around {tuple(centre)}"
        raise FeatureError(f"crop: {size} x {size} pixels{around} reach beyond the sensor of {lengths[0]} x {lengths[1]}; choose a smaller size")
    return corner


def crop(events: Events, size: int, centre: tuple[int, int] | None = None) -> Events:
    """Cut a square out of the sensor; events outside it are dropped.

    Parameters
    ----------
    events : Events
        Of a sensor with rows.
    size : int
        Columns and rows of the square.
    centre : tuple of int, optional
        See `crop_corner`.

    Raises
    ------
    FeatureError
        See `crop_corner`.
    """
    left, top = crop_corner(events.sensor_size, size, centre)
    return shift(events, -left, -top, (size, size, events.sensor_size[2]))


def shift(events: Events, right: int | np.ndarray, down: int | np.ndarray, sensor_size: SensorSize) -> Events:
    """Move events and drop those that leave the sensor.

    Parameters
    ----------
    events : Events
        Of a sensor with rows.
    right, down : int or int64 [event]
        Pixels.
    sensor_size : tuple of int
        What they are moved to.
    """
    x, y = events.array["x"] + right, events.array["y"] + down
    inside = (x >= 0) & (x < sensor_size[0]) & (y >= 0) & (y < sensor_size[1])
    array = events.array[inside]
    array["x"], array["y"] = x[inside], y[inside]
    return Events(array, sensor_size)


def downsampled_size(sensor_size: SensorSize, factor: int) -> SensorSize:
    """Size of a sensor whose pixels are taken together; what remains at its far edges makes pixels of their own."""
    columns, rows, polarities = sensor_size
    return -(-columns // factor), -(-rows // factor), polarities


def downsample(events: Events, factor: int) -> Events:
    """Take ``factor x factor`` pixels, or ``factor`` channels, as one: x' = floor(x / factor). No event is dropped.

    Parameters
    ----------
    events : Events
    factor : int
        At least 1.
    """
    array = events.array.copy()
    for field in {"x", "y"} & set(array.dtype.names):
        array[field] //= factor
    return Events(array, downsampled_size(events.sensor_size, factor))
