"""N-TIDIGITS18: spoken digits heard by a 64-channel cochlea, all in one HDF5 file.

``train_labels`` and ``test_labels`` list the recordings (``<man|woman>-<speaker>-<a|b>-<digits>``); ``<split>_timestamps/<id>`` holds seconds and
``<split>_addresses/<id>`` channels. An item is ``<split>/<id>``.
Source: J. Anumula, D. Neil, T. Delbruck, S.-C. Liu, "Feature representations for neuromorphic audio spike streams", Frontiers in Neuroscience
12:23 (2018).
"""

import difflib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from audiodata.errors import ClipError
from audiodata.events.readers.base import Reader, filled, in_order, opened
from audiodata.events.record import MICROSECONDS_PER_SECOND, Events
from audiodata.settings import Settings

SPLITS = ("train", "test")
_SENSOR = (64, 1, 1)
_MAGIC = b"\x89HDF\r\n\x1a\n"
_LAST_US = 1 << 53  # times are float64: beyond this, microseconds are not whole


class NtidigitsSettings(Settings):
    """N-TIDIGITS18 has no keys."""


def ntidigits_items(path: Path) -> list[tuple[str, str]]:
    """List the recordings of a file.

    Parameters
    ----------
    path : Path
        ``n-tidigits.hdf5``.

    Returns
    -------
    list of (str, str)
        Split ("train" or "test") and id, in the file's order; ``f"{split}/{id}"`` is the item that `read` takes.

    Raises
    ------
    ClipError
        ``undecodable``: not such a file.
    OSError
        It is not there or may not be read.
    """
    with _opened_h5(Path(path)) as file:
        return [(split, _text(label)) for split in SPLITS for label in np.ravel(_values(file, f"{split}_labels")).tolist()]


def read(path: Path, settings: NtidigitsSettings, item: str, index: int = 0) -> Events:
    """Read one recording; seconds are rounded to microseconds.

    Raises
    ------
    ClipError
        ``undecodable``: not such a file, no such item, or its events make no sense.
    """
    split, _, identifier = item.partition("/")
    if split not in SPLITS or not identifier or "/" in identifier:
        raise ClipError("undecodable", f"expected an item such as `train/man-ae-a-1o4`, got `{item}`")
    with _opened_h5(path) as file:
        _check_item(file, split, identifier)
        seconds, channels = (_numbers(file, f"{split}_{name}/{identifier}") for name in ("timestamps", "addresses"))
    columns = {"t": _microseconds(seconds, item), "x": channels, "p": np.zeros(len(channels), np.int8)}
    return Events(in_order(filled(columns, _SENSOR), path), _SENSOR)


def _check_item(file: Any, split: str, identifier: str) -> None:
    known = file.get(f"{split}_timestamps", {})
    if identifier not in known:
        near = difflib.get_close_matches(identifier, list(known), n=1, cutoff=0.3)
        raise ClipError("undecodable", f"has no item `{split}/{identifier}`" + (f"; the nearest is `{split}/{near[0]}`" if near else ""))


def _microseconds(seconds: np.ndarray, item: str) -> np.ndarray:
    with np.errstate(over="ignore", invalid="ignore"):
        microseconds = np.round(seconds * float(MICROSECONDS_PER_SECOND))
    if not np.all(np.abs(microseconds) < _LAST_US):
        raise ClipError("undecodable", f"`{item}` has timestamps that are no seconds; damaged?")
    return microseconds.astype(np.int64)


def _values(file: Any, name: str) -> np.ndarray:
    """Read a data set whole."""
    found = file.get(name)
    if not hasattr(found, "shape"):
        raise ClipError("undecodable", f"not N-TIDIGITS18: has no `{name}`")
    return np.asarray(found[()])


def _numbers(file: Any, name: str) -> np.ndarray:
    values = _values(file, name).ravel()
    if values.dtype.kind not in "iuf":
        raise ClipError("undecodable", f"`{name}` holds no numbers ({values.dtype}); damaged?")
    return values


def _text(label: bytes | str) -> str:
    return label.decode("utf-8", "replace") if isinstance(label, bytes) else str(label)


@contextmanager
def _opened_h5(path: Path) -> Iterator[Any]:
    """Open the file for one reading (a fifth of its time): an HDF5 file kept open survives no fork and stops others from opening it.

    Errors inside HDF5 mean that the file is damaged.
    """
    import h5py

    with opened(path) as (file, _):
        head = file.read(len(_MAGIC))
    if head != _MAGIC:
        raise ClipError("undecodable", "expected n-tidigits.hdf5, got no HDF5 file")
    try:
        with h5py.File(path, "r", locking=False) as file:
            yield file
    except (OSError, KeyError, RuntimeError, ValueError, TypeError) as error:
        cause = " ".join(str(error).split())[:200]
        raise ClipError("truncated" if "truncated" in cause else "undecodable", f"HDF5 can't read it ({cause}); fetch it again") from None


def _sniff(head: bytes, path: Path) -> bool:
    if not head.startswith(_MAGIC):
        return False
    try:
        with _opened_h5(path) as file:
            return {"train_labels", "train_timestamps", "train_addresses"} <= set(file)
    except ClipError:
        return False


READER = Reader(NtidigitsSettings, read, _sniff, "N-TIDIGITS18 (n-tidigits.hdf5; an item is a recording)")
