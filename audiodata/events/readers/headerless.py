"""Recordings of neuromorphic cochleas without a header (NAS and kin, often named ``.aedat``).

Records of an address (2 bytes as the USBAERmini2 board writes it, 4 as jAER does) and a 4-byte timestamp, big-endian. The lowest bit of an address
is the polarity, 0 for ON; the rest is the channel; the right ear's channels follow those of the left. Lines that begin with ``#`` in front are
skipped.
Source: J. P. Dominguez-Morales, A. Jimenez-Fernandez, M. J. Dominguez-Morales, G. Jimenez-Moreno, "NAVIS: Neuromorphic Auditory VISualizer Tool",
Neurocomputing 237 (2017).
"""

from fractions import Fraction
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
from pydantic import Field, model_validator

from audiodata.errors import ClipError
from audiodata.events.readers import kernels
from audiodata.events.readers.base import HEAD_BYTES, LARGEST_SIDE, Reader, as_events, check_no_known_header, in_order, opened
from audiodata.events.readers.blocks import blocks
from audiodata.events.record import Events
from audiodata.settings import Settings

_TIMESTAMP_BYTES, _LONG_RECORD = 4, 8
_TICK_DENOMINATOR = 10_000
_LINE_BYTES = 1 << 20


class HeaderlessSettings(Settings):
    """Keys for recordings of a cochlea without a header. What a file does not say has no default.

    Attributes
    ----------
    address_bytes : int
        2 or 4.
    tick_us : float
        One step of the timestamps: 1.0 from jAER, 0.2 from the USBAERmini2. Times are rounded down to whole microseconds.
    channels : int
        Of one ear.
    ears : int
        1 or 2.
    ear : str
        Of two ears: "left", "right", or "both", the right ear's channels after those of the left.
    polarity : bool
        Whether the lowest address bit is the polarity; if not, all of it is the channel and p is 0.
    """

    address_bytes: Literal[2, 4]
    tick_us: float = Field(ge=1e-3, le=1e3)
    channels: int = Field(64, ge=1, le=LARGEST_SIDE)
    ears: Literal[1, 2] = 1
    ear: Literal["both", "left", "right"] = "both"
    polarity: bool = True

    @model_validator(mode="after")
    def _has_the_ear(self) -> "HeaderlessSettings":
        if self.ears == 1 and self.ear != "both":
            raise ValueError(f'`ear` = "{self.ear}" needs `ears` = 2')
        if self.channels * self.ears > LARGEST_SIDE:
            raise ValueError(f"`channels` = {self.channels} of two ears are more than {LARGEST_SIDE}")
        return self


def read(path: Path, settings: HeaderlessSettings, item: str = "", index: int = 0) -> Events:
    """Read a recording.

    Timestamps that wrap around 2 ** 32 ticks go on growing; late events are sorted in, with a warning in the log.

    Raises
    ------
    ClipError
        ``truncated``: not whole events; ``undecodable``: addresses beyond the channels, or time that runs backward all over.
    """
    layout = _layout(settings)
    record_bytes = settings.address_bytes + _TIMESTAMP_BYTES
    with opened(path) as (file, size):
        records = _records(file, size, record_bytes)
        words = np.empty(2 * records, np.int64)
        state = kernels.new_state()
        for block in blocks(file, record_bytes, records):
            kernels.addressed(_with_long_addresses(block, record_bytes), words, state, layout)
    _check_addresses(int(state[kernels.SEEN]), settings)
    array = as_events(words[: 2 * state[kernels.WRITTEN]], rows=False)
    return Events(in_order(array, path, int(state[kernels.LATE])), (layout.end - layout.first, 1, 1 + settings.polarity))


def _layout(settings: HeaderlessSettings) -> kernels.Layout:
    tick = Fraction(repr(settings.tick_us)).limit_denominator(_TICK_DENOMINATOR)
    first = settings.channels if settings.ear == "right" else 0
    end = settings.channels if settings.ear == "left" else settings.channels * settings.ears
    p = int(settings.polarity)
    return kernels.Layout(
        special=0, x_shift=p, x_mask=-1, first=first, end=end, y_shift=0, y_mask=0, p_mask=p, p_place=16, flips=p << 16,
        tick_numerator=tick.numerator, tick_denominator=tick.denominator,
    )  # fmt: skip


def _with_long_addresses(block: np.ndarray, record_bytes: int) -> np.ndarray:
    """Give each address four bytes."""
    if record_bytes == _LONG_RECORD:
        return block
    longer = np.zeros(block.size // record_bytes * _LONG_RECORD, np.uint8)
    kernels.lengthened(block, longer)
    return longer


def _records(file: BinaryIO, size: int, record_bytes: int) -> int:
    """Skip a header if there is one; return how many records follow."""
    if file.peek(1)[:1] != b"#":
        check_no_known_header(file.peek(HEAD_BYTES), "cochlea events without a header")
    while file.peek(1)[:1] == b"#":
        if not file.readline(_LINE_BYTES).endswith(b"\n"):
            raise ClipError("truncated", "a line of its header has no end; fetch it again")
    records, tail = divmod(size - file.tell(), record_bytes)
    if tail:
        raise ClipError("truncated", f"expected events of {record_bytes} bytes, got {size - file.tell()} bytes; cut, or another `address_bytes`?")
    return records


def _check_addresses(largest: int, settings: HeaderlessSettings) -> None:
    channel = largest >> settings.polarity
    channels = settings.channels * settings.ears
    if channel >= channels:
        raise ClipError("undecodable", f"got channel {channel}, expected 0 to {channels - 1}; other `channels`, `ears`, `address_bytes`, `polarity`?")


def _sniff(head: bytes, path: Path) -> bool:
    """Never beyond doubt: nothing in such a file tells the length of a tick."""
    return False


READER = Reader(HeaderlessSettings, read, _sniff, "cochlea recordings without a header (NAS, often named .aedat)")
