"""What all readers share: what a reader is, how a file is opened, what its first bytes say, and events brought into order of time."""

import logging
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from audiodata.errors import ClipError
from audiodata.events.record import EVENT_1D, EVENT_2D, Events, SensorSize
from audiodata.settings import Settings

LOGGER = logging.getLogger(__name__)

HEAD_BYTES = 4096
LARGEST_SIDE = 32767  # addresses are int16
_AEDAT_VERSION = re.compile(rb"#!AER-DAT(\d+\.\d+)")
_KINDS = {
    b"\x89HDF\r\n\x1a\n": "an HDF5 file",
    b"PK\x03\x04": "a zip archive",
    b"\x93NUMPY": "a NumPy array",
    b"\x1f\x8b": "a gzip archive",
    b"RIFF": "a RIFF file (sound or video)",
    b"fLaC": "a FLAC file",
    b"%": "a Prophesee recording, or text",
    b"#ROSBAG": "a ROS bag",
    b"<": "a web page or XML",
}
_CERTAIN_BYTES = 4  # shorter beginnings occur by chance
# A recording may have a few late events, from a busy bus. Bytes that are no events run backward at every second one.
_LATE_SHARE = 16


class Reader(NamedTuple):
    """One format of event files.

    Attributes
    ----------
    settings : type of Settings
        The keys that it understands beside ``format``.
    read : callable
        ``(path, settings, item, index) -> Events``. Messages of its `ClipError` say what is wrong and leave the file's name out:
        `audiodata.events.readers.read_events` puts it in front. An `OSError` may pass as it is.
    sniff : callable
        ``(first bytes, path) -> bool``: whether a file is of this format beyond doubt.
    summary : str
        One line for people.
    """

    settings: type[Settings]
    read: Callable[[Path, Any, str, int], Events]
    sniff: Callable[[bytes, Path], bool]
    summary: str


@contextmanager
def opened(path: Path) -> Iterator[tuple[BinaryIO, int]]:
    """Open a file that has content.

    Yields
    ------
    file : binary file
    size : int
        Bytes.

    Raises
    ------
    ClipError
        ``unreadable``: a folder or device; ``empty``: 0 bytes.
    OSError
        No such file, or it may not be read.
    """
    size = path.stat().st_size
    if not path.is_file():
        raise ClipError("unreadable", "expected a file, got a folder or device")
    if size == 0:
        raise ClipError("empty", "expected events, got a file of 0 bytes")
    with path.open("rb") as file:
        yield file, size


def kind_of(head: bytes) -> str:
    """Say what a file is by its first bytes, for messages: "" where they mean nothing.

    Examples
    --------
    >>> kind_of(b"#!AER-DAT3.1 and so on")
    'an AEDAT 3.1 file'
    """
    version = _AEDAT_VERSION.match(head)
    if version:
        return f"an AEDAT {version[1].decode()} file"
    return next((kind for magic, kind in _KINDS.items() if head.startswith(magic)), "")


def described(head: bytes) -> str:
    """Say what was found instead of what was expected."""
    return kind_of(head) or f"a file that begins with the bytes {head[:8].hex(' ')}"


def check_no_known_header(head: bytes, expected: str) -> None:
    """Refuse a file that is certainly of another format, for a format that has no header of its own.

    Raises
    ------
    ClipError
        ``undecodable``.
    """
    if _AEDAT_VERSION.match(head) or any(head.startswith(magic) for magic in _KINDS if len(magic) >= _CERTAIN_BYTES):
        raise ClipError("undecodable", f"expected {expected}, got {kind_of(head)}")


def as_events(words: np.ndarray, rows: bool) -> np.ndarray:
    """View pairs of 64-bit words, time and packed address, as the structured array that they are.

    Parameters
    ----------
    words : int64 [word]
        Two an event: time in microseconds; ``x | y << 16 | p << 32`` with rows, ``x | p << 16`` without.
    rows : bool
        Whether the sensor has rows.
    """
    return words.view(EVENT_2D if rows else EVENT_1D)


def filled(columns: Mapping[str, np.ndarray], sensor_size: SensorSize) -> np.ndarray:
    """Put columns into one array, in whatever order of time they are.

    Parameters
    ----------
    columns : mapping of str to array [event]
        Integers: ``t``, ``x``, ``p``, and ``y`` where the sensor has rows.
    sensor_size : tuple of int
        Columns (or channels), rows, polarities.

    Raises
    ------
    ClipError
        ``undecodable``: columns of different lengths, or addresses outside the sensor.
    """
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise ClipError("undecodable", f"columns of different lengths ({', '.join(f'{name}: {length}' for name, length in lengths.items())})")
    for name, side in zip("xyp", sensor_size, strict=True):
        values = columns.get(name, ())
        if len(values) and not (values.min() >= 0 and values.max() < side):
            raise ClipError("undecodable", f"{name} runs from {int(values.min())} to {int(values.max())}, the sensor has 0 to {side - 1}")
    array = np.zeros(lengths["t"], EVENT_2D if "y" in columns else EVENT_1D)
    for name in array.dtype.names:
        array[name] = columns[name]
    return array


def in_order(array: np.ndarray, path: Path, late: int | None = None) -> np.ndarray:
    """Sort events by time where some are late; events of one time keep their order.

    Parameters
    ----------
    array : structured array [event]
    path : Path
        For the log, which gets a warning.
    late : int, optional
        How many events come before the one in front of them, where that has been counted.

    Raises
    ------
    ClipError
        ``undecodable``: more than one event of 16 is late, as no sensor's are.
    """
    late = int(np.count_nonzero(array["t"][1:] < array["t"][:-1])) if late is None else late
    if not late:
        return array
    if late > max(1, len(array) // _LATE_SHARE):
        raise ClipError("undecodable", f"time runs backward at {late} of {len(array)} events: damaged, or not of this format or these settings")
    LOGGER.warning("%s: %d of %d events are late; sorted by time", path.name, late, len(array))
    return array[np.argsort(array["t"], kind="stable")]
