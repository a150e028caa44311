"""AEDAT 2.0 recordings of the DVS128 camera, as jAER writes them and as MNIST-DVS comes.

Lines that begin with ``#``, the first ``#!AER-DAT2.0``; then events of eight bytes, big-endian: a 32-bit address and a 32-bit timestamp in
microseconds. Address bit 0 is the polarity (0 = ON), bits 1 to 7 are x and 8 to 14 y, both as wired; bit 15 marks special events, which are
left out (jAER, ``DVS128.java``). Other cameras use further bits: such files are refused.
"""

import re
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np

from audiodata.errors import ClipError
from audiodata.events.readers import kernels
from audiodata.events.readers.base import LOGGER, Reader, as_events, described, in_order, opened
from audiodata.events.readers.blocks import blocks
from audiodata.events.record import Events
from audiodata.settings import Settings

_MAGIC = b"#!AER-DAT2"
_LINE_BYTES = 1 << 20
_RECORD_BYTES = 8
_SENSOR = (128, 128, 2)
_CHIP = re.compile(rb"#\s*AEChip:\s*([\w.$]+)")
_END = b"#End Of ASCII Header"


class Aedat2Settings(Settings):
    """Keys for AEDAT 2.0 files.

    Attributes
    ----------
    orientation : str
        "upright": x = 127 - raw y, y = 127 - raw x, as public loaders of MNIST-DVS and CIFAR10-DVS have it, for images whose rows count
        downward; "jaer": x = 127 - raw x, y = raw y, as jAER and MNIST-DVS's own MATLAB functions have it; both with p = 1 for ON. "raw":
        nothing is changed, p is the bit.
    """

    orientation: Literal["upright", "jaer", "raw"] = "upright"


_ALL = 127
_FLIP_X, _FLIP_Y, _FLIP_P = _ALL, _ALL << 16, 1 << 32
_SPECIAL = 1 << 15


def _layout(x_shift: int, y_shift: int, flips: int) -> kernels.Layout:
    return kernels.Layout(_SPECIAL, x_shift, _ALL, 0, _ALL + 1, y_shift, _ALL, p_mask=1, p_place=32, flips=flips)


_LAYOUTS = {
    "upright": _layout(8, 1, _FLIP_X | _FLIP_Y | _FLIP_P),
    "jaer": _layout(1, 8, _FLIP_X | _FLIP_P),
    "raw": _layout(1, 8, 0),
}


def read(path: Path, settings: Aedat2Settings, item: str = "", index: int = 0) -> Events:
    """Read a recording.

    Timestamps that wrap around 2 ** 32 us go on growing. A tail that is no whole event is left out, with a warning in the log; late events are
    sorted in, with a warning.

    Raises
    ------
    ClipError
        ``undecodable``: another version or camera, or time that runs backward all over; ``truncated``: the header has no end.
    """
    with opened(path) as (file, size):
        chip = _skip_header(file)
        events, tail = divmod(size - file.tell(), _RECORD_BYTES)
        words = np.empty(2 * events, np.int64)
        state = kernels.new_state()
        for block in blocks(file, _RECORD_BYTES, events):
            kernels.addressed(block, words, state, _LAYOUTS[settings.orientation])
    if tail:
        LOGGER.warning("%s: %d bytes after the last whole event; left out", path.name, tail)
    _check_camera(int(state[kernels.SEEN]), chip)
    array = as_events(words[: 2 * state[kernels.WRITTEN]], rows=True)
    return Events(in_order(array, path, int(state[kernels.LATE])), _SENSOR)


def _skip_header(file: BinaryIO) -> str:
    """Move to the first event; return the camera's name, "" where the header has none."""
    first = file.readline(_LINE_BYTES)
    if not first.startswith(_MAGIC):
        raise ClipError("undecodable", f"expected an AEDAT 2.0 file, got {described(first)}")
    chip, line = b"", first
    while not line.startswith(_END):
        if not line.endswith(b"\n"):
            raise ClipError("truncated", "a line of its header has no end; fetch it again")
        found = _CHIP.match(line)
        chip = found[1] if found else chip
        if file.peek(1)[:1] != b"#":  # the first byte of a DVS128's address is 0
            break
        line = file.readline(_LINE_BYTES)
    return chip.decode()


def _check_camera(largest_address: int, chip: str) -> None:
    if largest_address >> 16:
        known = f"its header names {chip[:100]}" if chip else "its header names none"
        raise ClipError(
            "undecodable",
            f"expected events of a DVS128, got addresses with bits beyond the 16th ({largest_address:#x}): damaged, or of another camera"
            f" ({known}); export it to AEDAT 4 or to .npz first",
        )


def _sniff(head: bytes, path: Path) -> bool:
    return head.startswith(_MAGIC)


READER = Reader(Aedat2Settings, read, _sniff, "AEDAT 2.0 of a DVS128 camera (jAER, MNIST-DVS)")
