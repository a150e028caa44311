"""The files of N-MNIST and N-Caltech101 (``.bin``, ``.bs2``): five bytes an event and no header.

Byte 0 is x, byte 1 is y, bit 7 of byte 2 the polarity (1 = ON), the other 23 bits are the time in microseconds, big-endian. A record with y = 240
is no event: times after it are 2 ** 13 us later (as in the reader of the data sets' author, event-Python).
Source: G. Orchard, A. Jayawant, G. K. Cohen, N. Thakor, "Converting static image datasets to spiking neuromorphic datasets using saccades",
Frontiers in Neuroscience 9:437 (2015).
"""

from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from audiodata.errors import ClipError
from audiodata.events.readers import kernels
from audiodata.events.readers.base import HEAD_BYTES, Reader, as_events, check_no_known_header, in_order, opened
from audiodata.events.readers.blocks import blocks
from audiodata.events.record import Events
from audiodata.settings import Settings

_RECORD_BYTES = 5
_FEWEST = 16  # events that a file needs to be known without its format being named


class NmnistSettings(Settings):
    """Keys for N-MNIST's kind of files.

    Attributes
    ----------
    sensor_size : tuple of int
        Columns and rows: N-MNIST 34 x 34; N-Caltech101 240 x 180.
    """

    sensor_size: tuple[Annotated[int, Field(ge=1, le=256)], Annotated[int, Field(ge=1, le=240)]] = (34, 34)


def read(path: Path, settings: NmnistSettings, item: str = "", index: int = 0) -> Events:
    """Read a recording.

    Times that wrap around 2 ** 23 us go on growing; late events are sorted in, with a warning in the log.

    Raises
    ------
    ClipError
        ``truncated``: not whole events; ``undecodable``: events outside the sensor, or time that runs backward all over.
    """
    with opened(path) as (file, size):
        check_no_known_header(file.peek(HEAD_BYTES), "N-MNIST events")
        if size % _RECORD_BYTES:
            raise ClipError("truncated", f"expected events of {_RECORD_BYTES} bytes, got {size} bytes; cut, or of another format")
        records = size // _RECORD_BYTES
        words = np.empty(2 * records, np.int64)
        state = kernels.new_state()
        for block in blocks(file, _RECORD_BYTES, records):
            kernels.saccades(block, words, state, *settings.sensor_size)
    written, outside = int(state[kernels.WRITTEN]), int(state[kernels.SEEN])
    if outside:
        columns, rows = settings.sensor_size
        raise ClipError("undecodable", f"{outside} of {written} events are outside the {columns} x {rows} sensor; another format or `sensor_size`?")
    array = as_events(words[: 2 * written], rows=True)
    return Events(in_order(array, path, int(state[kernels.LATE])), (*settings.sensor_size, 2))


def _sniff(head: bytes, path: Path) -> bool:
    """Whether every single event could be one of N-MNIST (of random ones, one in 56 could) and time never runs backward."""
    if not _could_be(head[: len(head) // _RECORD_BYTES * _RECORD_BYTES]):
        return False
    content = path.read_bytes()
    return len(content) % _RECORD_BYTES == 0 and len(content) >= _FEWEST * _RECORD_BYTES and _could_be(content) and _goes_on(content)


def _could_be(content: bytes) -> bool:
    columns, rows = NmnistSettings().sensor_size
    x, y = (np.frombuffer(content, np.uint8)[byte::_RECORD_BYTES] for byte in (0, 1))
    return bool(np.all((x < columns) & (y < rows) | (y == kernels.OVERFLOW_ROW)))


def _goes_on(content: bytes) -> bool:
    records = np.frombuffer(content, np.uint8).reshape(-1, _RECORD_BYTES).astype(np.int64)
    overflows = np.cumsum(records[:, 1] == kernels.OVERFLOW_ROW) * kernels.OVERFLOW_US
    time = ((records[:, 2] & 127) << 16 | records[:, 3] << 8 | records[:, 4]) + overflows
    return bool(np.all(np.diff(time) >= 0) and time[-1] > time[0])


READER = Reader(NmnistSettings, read, _sniff, "N-MNIST and N-Caltech101 (.bin, .bs2)")
