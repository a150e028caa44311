"""Events as NumPy arrays: the project's own ``.npz`` files, and structured ``.npy`` arrays as users of tonic save them.

``.npz``: arrays ``t`` (microseconds), ``x``, ``y`` (left out for a line of channels), ``p``, and ``sensor_size`` (columns, rows, polarities);
`audiodata.events.writing.save_events` writes such files. ``.npy``: one array with fields of these names, in any order; its sensor size is a key.
Nothing is ever unpickled.
"""

import errno
import lzma
import re
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import numpy as np
from pydantic import Field

from audiodata.errors import ClipError
from audiodata.events.readers.base import LARGEST_SIDE, Reader, described, filled, in_order, opened
from audiodata.events.record import Events, SensorSize
from audiodata.settings import Settings

_NPY, _ZIP = b"\x93NUMPY", b"PK\x03\x04"
_MEMBER = re.compile(rb"PK\x03\x04.{26}(t|x|y|p|sensor_size)\.npy", re.DOTALL)  # the first one in an archive
_DAMAGED = (
    ValueError, TypeError, LookupError, ArithmeticError, RuntimeError, SyntaxError, OSError,
    tokenize.TokenError, zlib.error, lzma.LZMAError, struct.error,
)  # fmt: skip
_NEEDED, _SIZE = ("t", "x", "p"), "sensor_size"
_POLARITIES = 2
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}

Side = Annotated[int, Field(ge=1, le=LARGEST_SIDE)]


class NpzSettings(Settings):
    """Keys for NumPy files.

    Attributes
    ----------
    sensor_size : tuple of int, optional
        Columns (or channels), rows (1 for a line of channels), polarities; needed where the file does not tell.
    """

    sensor_size: tuple[Side, Side, Annotated[int, Field(ge=1, le=_POLARITIES)]] | None = None


def read(path: Path, settings: NpzSettings, item: str = "", index: int = 0) -> Events:
    """Read a file of events; late ones are sorted in, with a warning in the log.

    Raises
    ------
    ClipError
        ``undecodable``: arrays are missing, not of integers, of different lengths, or outside the sensor; ``truncated``: ends inside an array.
    """
    with opened(path) as (file, size), _explained():
        columns = _columns(file, size)
    sensor = _sensor(columns.pop(_SIZE, None), settings.sensor_size)
    _check_columns(columns)
    return Events(in_order(filled(columns, sensor), path), sensor)


def _columns(file: BinaryIO, size: int) -> dict[str, np.ndarray]:
    """Read the arrays by name; fields of a structured array are columns as well."""
    magic = file.peek(len(_NPY))
    if magic.startswith(_NPY):
        array = _array(file, size, "the array")
        return {name: array[name] for name in (*_NEEDED, "y") if name in (array.dtype.names or ())}
    if not magic.startswith(_ZIP):
        raise ClipError("undecodable", f"expected a .npz or .npy file, got {described(magic)}")
    with zipfile.ZipFile(file) as archive:
        return dict(_members(archive))


def _members(archive: zipfile.ZipFile) -> Iterator[tuple[str, np.ndarray]]:
    names = set(archive.namelist())
    for name in (*_NEEDED, "y", _SIZE):
        if f"{name}.npy" in names:
            with archive.open(f"{name}.npy") as member:
                yield name, _array(member, archive.getinfo(f"{name}.npy").file_size, f"`{name}`")


def _array(file: Any, size: int, what: str) -> np.ndarray:
    """Read one array in NumPy's format, after its header was held against the bytes that are there."""
    start = file.tell()
    read_header = _HEADERS.get(np.lib.format.read_magic(file))
    if read_header is None:
        raise ClipError("undecodable", f"{what} is of an unknown version of NumPy's format")
    shape, columns_first, dtype = read_header(file)
    if dtype.hasobject:
        raise ClipError("undecodable", f"{what} holds pickled objects, which are not read; save numbers")
    length, there = int(np.prod(shape, dtype=object)) * dtype.itemsize, size - (file.tell() - start)
    content = file.read(length) if length <= there else b""
    if len(content) < length:
        raise ClipError("truncated", f"{what} promises {length} bytes, {there} are there; fetch it again")
    if file.read(1):
        raise ClipError("undecodable", f"{what} promises {length} bytes, {there} are there; damaged, or several arrays in one .npy")
    return np.frombuffer(content, dtype).reshape(shape, order="F" if columns_first else "C")


def _sensor(stated: np.ndarray | None, asked: SensorSize | None) -> SensorSize:
    if stated is None:
        if asked is None:
            raise ClipError("undecodable", "does not tell the sensor's size; give `sensor_size` = [columns, rows, polarities]")
        return asked
    size = tuple(stated.tolist()) if stated.dtype.kind in "iu" and stated.shape == (3,) else ()
    if not size or min(size) < 1 or max(size) > LARGEST_SIDE or size[-1] > _POLARITIES:
        raise ClipError("undecodable", f"`{_SIZE}` is not three sizes [columns, rows, polarities]: {str(stated.tolist())[:80]}")
    if asked and size != asked:
        raise ClipError("undecodable", f"`sensor_size` = {list(asked)}, the file says {list(size)}; leave the key out")
    return size


def _check_columns(columns: Mapping[str, np.ndarray]) -> None:
    missing = [name for name in _NEEDED if name not in columns]
    if missing:
        raise ClipError("undecodable", f"has no {' or '.join(f'`{name}`' for name in missing)}; expected t, x, y (for a sensor with rows) and p")
    for name, values in columns.items():
        if values.dtype.kind not in "iub" or values.ndim != 1:
            raise ClipError("undecodable", f"`{name}` is {values.dtype} with {values.ndim} axes, expected integers in one row")
    if columns["t"].dtype.kind == "u" and np.any(columns["t"] > np.uint64(np.iinfo(np.int64).max)):
        raise ClipError("undecodable", "`t` goes beyond 2 ** 63 us")


@contextmanager
def _explained() -> Iterator[None]:
    """Say in one line what zip archives and NumPy's headers can have wrong with them."""
    try:
        yield
    except (zipfile.BadZipFile, EOFError) as error:
        cut = "not a zip file" in str(error) or isinstance(error, EOFError)
        raise ClipError("truncated" if cut else "undecodable", f"{_one_line(error)}; damaged or cut, fetch it again") from None
    except _DAMAGED as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):  # those two come from offsets and streams inside the file
            raise
        raise ClipError("undecodable", f"damaged, or not saved by NumPy ({_one_line(error)})") from None


def _one_line(error: Exception) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in str(error))[:200]


def _sniff(head: bytes, path: Path) -> bool:
    return head.startswith(_NPY) or (head.startswith(_ZIP) and _MEMBER.match(head) is not None)


READER = Reader(NpzSettings, read, _sniff, "NumPy arrays: .npz with t, x, (y,) p, sensor_size; structured .npy")
