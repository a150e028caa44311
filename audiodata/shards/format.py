"""The shard format, version 1, and what its content hashes are hashes of.

A shard is one HDF5 file that holds the examples of one split:

===================  ==============================  ===============================================================
data set             shape                           stored as
===================  ==============================  ===============================================================
``/features/<name>`` ``[example, ...]``              one example a chunk, bitshuffle with LZ4 (HDF5 filter 32008)
``/targets/<name>``  ``[example, ...]``              contiguous; as a feature if a row is larger than `INLINE_BYTES`
``/offsets/<name>``  ``[example + 1]``               int64, contiguous; of ragged features alone, see below
``/example_id``      ``[example]``                   fixed-length UTF-8, padded with NUL to the longest id, contiguous
===================  ==============================  ===============================================================

A *ragged* feature has any number of entries per example, none too: events of a sensor, say. Its layout has None as the
first length, and its data set holds the entries of all examples one after the other, ``[entry, ...]``; those of example
``i`` are ``offsets[i]`` to ``offsets[i + 1]``. Offsets begin with 0, never fall, and end with the number of entries. The
data set's attribute ``offsets`` is the path of its offsets: this is what makes it ragged. Its chunks hold `CHUNK_BYTES`
or somewhat less, and where an entry has no more than `FIELDS_APART` fields, each of one field alone: times pack well
beside times. A shard without ragged features has no group ``/offsets``.

Numbers are little-endian. Root attributes: ``format``, ``format_version``, ``fingerprint``, ``split`` and
``content_sha256``; each data set has ``axes`` (one name per dimension; the first is ``example``, but the layout's own
for a ragged feature), ``unit`` and ``sha256``. All texts have a fixed length and no object has a time stamp: the bytes
depend on the content alone. The file uses the object formats of HDF5 1.10, where every piece of metadata has its own
checksum.

The ``sha256`` of a data set is that of its *decoded* content, so that it holds whatever library did the compressing. It
is the SHA-256 of

1. the header: the JSON list ``[path, dtype, row shape]`` without spaces, in UTF-8, then one line feed; for example
   ``["/features/mfcc","float32",[1,313,20]]``; the row shape leaves out the example axis, and is that of the layout for a
   ragged feature: ``["/features/visual_events","int32",[null,4]]``;
2. the rows in order: each its numbers in C order, little-endian; of a ragged feature the entries of all examples. Where
   one example ends and the next begins is in the hash of its offsets, ``["/offsets/visual_events","int64",[]]``. For
   ``/example_id`` the dtype is ``utf-8``, the row shape ``[]``, and a row is the id's UTF-8 bytes (no padding) followed
   by one line feed.

``content_sha256`` is the SHA-256 of the JSON object ``{path: sha256, ...}`` of all data sets, keys sorted, without
spaces, in UTF-8.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

from audiodata.errors import CacheError
from audiodata.fingerprint import canonical_json, hash_json
from audiodata.shards.chunks import iterate_rows
from audiodata.shards.ragged import OFFSETS, is_ragged

FORMAT = "audiodata-shard"
FORMAT_VERSION = 1
# The oldest object formats with checksums and a chunk index without a B-tree; a fixed choice, as "latest" means other
# bytes with each HDF5.
LIBVER = ("v110", "v110")
INLINE_BYTES = 64
ID_PATH = "/example_id"
GROUPS = ("features", "targets")


@dataclass(frozen=True)
class Layout:
    """How one feature or target of an example is stored.

    Attributes
    ----------
    shape : tuple of int
        Per example; ``()`` for a single number. None as the first length: any number of entries, see the format.
    dtype : str
        A NumPy name: ``float32``, ``int64``, ...
    axes : tuple of str
        One name per dimension of `shape`.
    unit : str
        ``dB``, ``deg``, ``samples``, ...; empty where there is none.

    Raises
    ------
    ValueError
        Axes and shape disagree, an axis is empty, or the dtype isn't a plain number.
    """

    shape: tuple[int | None, ...]
    dtype: str
    axes: tuple[str, ...] = ()
    unit: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", _whole(self.shape))
        object.__setattr__(self, "axes", tuple(self.axes))
        if len(self.axes) != len(self.shape):
            raise ValueError(f"layout with axes {self.axes} for shape {self.shape}: one name per dimension")
        if any(length < 1 for length in self.entry):
            raise ValueError(f"layout with shape {self.shape}: every length must be at least 1")
        if np.dtype(self.dtype).kind not in "biuf" or np.dtype(self.dtype).name != self.dtype:
            raise ValueError(f"layout with dtype {self.dtype!r}: needs the NumPy name of a plain number")

    @property
    def ragged(self) -> bool:
        """Whether an example may have any number of entries."""
        return self.shape[:1] == (None,)

    @property
    def entry(self) -> tuple[int, ...]:
        """Shape of what there is a fixed number of: an entry of a ragged feature, else a whole example."""
        return self.shape[1:] if self.ragged else self.shape

    @property
    def row_bytes(self) -> int:
        """Bytes of one decoded example, or of one entry of a ragged feature."""
        return int(np.prod(self.entry, dtype=np.int64)) * np.dtype(self.dtype).itemsize

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Whether an example of this shape is one of this layout."""
        return len(shape) == len(self.shape) and all(expected in (None, found) for expected, found in zip(self.shape, shape, strict=True))

    def record(self) -> dict[str, Any]:
        """Return the entry of the manifest: ``shape``, ``dtype``, ``axes``, ``unit``."""
        return {"shape": list(self.shape), "dtype": self.dtype, "axes": list(self.axes), "unit": self.unit}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "Layout":
        """Build a layout from an entry of the manifest; further keys are left alone."""
        return cls(tuple(record["shape"]), record["dtype"], tuple(record["axes"]), record["unit"])


def _whole(shape: Iterable[Any]) -> tuple[int | None, ...]:
    """Return the lengths as int; None may be the first alone."""
    shape = tuple(shape)
    if None in shape[1:]:
        raise ValueError(f"layout with shape {shape}: only the first length may be None")
    return tuple(None if length is None else int(length) for length in shape)


OFFSETS_LAYOUT = Layout((), "int64", (), "entries")


class ShardRecord(NamedTuple):
    """What the manifest says about one shard; ``_asdict()`` gives its entry.

    Attributes
    ----------
    file, split : str
        Name inside the cache; the split all its examples belong to.
    examples, bytes : int
        Number of rows; size of the file.
    sha256, content_sha256 : str
        Of the file's bytes; of the decoded content.
    datasets : dict
        Path inside the file to the SHA-256 of its decoded content.
    fingerprint : str
        Of what the shard was made from.
    """

    file: str
    split: str
    examples: int
    bytes: int
    sha256: str
    content_sha256: str
    datasets: dict[str, str]
    fingerprint: str


class ContentHash:
    """SHA-256 of the decoded content of one data set, row by row.

    Parameters
    ----------
    path : str
        Inside the shard, e.g. ``/features/mfcc``.
    dtype : str
        NumPy name, or ``utf-8`` for ids.
    row_shape : sequence of int
        Shape without the example axis.
    """

    def __init__(self, path: str, dtype: str, row_shape: Iterable[int]):
        self._digest = hashlib.sha256(canonical_json([path, dtype, list(row_shape)]).encode("utf-8") + b"\n")

    def update(self, rows: np.ndarray) -> None:
        """Add one row or several."""
        little = np.ascontiguousarray(rows, dtype=rows.dtype.newbyteorder("<"))
        self._digest.update(little.tobytes() if little.size < 2 else little.view(np.uint8).data)

    def update_ids(self, ids: Iterable[bytes]) -> None:
        """Add example ids, as UTF-8 without padding."""
        self._digest.update(b"".join(identifier + b"\n" for identifier in ids))

    def hexdigest(self) -> str:
        """Return the hash of what was added so far."""
        return self._digest.hexdigest()


def content_hash(datasets: Mapping[str, str]) -> str:
    """SHA-256 of the whole decoded content, from the hashes of its data sets."""
    return hash_json(dict(datasets))


def fixed_text(values: str | Iterable[str]) -> np.ndarray:
    """Return fixed-length UTF-8 text for HDF5; variable-length text lies in a heap that has no checksum."""
    encoded = values.encode("utf-8") if isinstance(values, str) else [value.encode("utf-8") for value in values]
    longest = len(encoded) if isinstance(encoded, bytes) else max(map(len, encoded), default=1)
    return np.array(encoded, dtype=h5py.string_dtype("utf-8", max(longest, 1)))


@contextmanager
def open_shard(path: Path) -> Iterator[h5py.File]:
    """Open a shard for reading, without a file lock, and check that it is one.

    Raises
    ------
    CacheError
        Not there, not HDF5 or damaged, not a shard, or of a newer format.
    """
    with open_hdf5(path) as file:
        try:
            found, version = read_text(file, "format"), int(file.attrs["format_version"])
        except (KeyError, OSError, RuntimeError, ValueError, TypeError) as error:
            raise CacheError(f"{path}: structure: HDF5, but not a shard, or damaged: no `format` ({one_line(error)})") from error
        check_format(path, found, version, FORMAT, FORMAT_VERSION)
        yield file


def check_format(path: Path, found: Any, version: int, expected: str, known: int) -> None:
    """Raise a `CacheError` where a file is of another format or a newer version."""
    if found != expected:
        raise CacheError(f"{path}: format is {found!r}, expected {expected!r}")
    if version > known:
        raise CacheError(f"{path}: format version {version}, this audiodata reads up to {known}; upgrade audiodata")


@contextmanager
def open_hdf5(path: Path) -> Iterator[h5py.File]:
    """Open an HDF5 file for reading, without a file lock; `CacheError` of one line where that fails."""
    try:
        file = h5py.File(path, "r", locking=False)
    except FileNotFoundError as error:
        raise CacheError(f"{path}: no such shard; build the cache again, finished shards are kept") from error
    except (OSError, RuntimeError) as error:
        raise CacheError(f"{path}: structure: can't be opened as HDF5 ({one_line(error)})") from error
    with file:
        yield file


def one_line(error: BaseException) -> str:
    """Return an error's text on one line."""
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    return " ".join(text.split()) or type(error).__name__


def read_text(item: Any, name: str) -> str:
    """Read a text attribute."""
    return bytes(item.attrs[name]).decode("utf-8")


def dataset_paths(file: h5py.File) -> list[str]:
    """Return the paths of the data sets of a shard, ids last."""
    return [f"/{group}/{name}" for group in (*GROUPS, OFFSETS) if group in file for name in sorted(file[group])] + [ID_PATH]


def read_layout(dataset: h5py.Dataset) -> Layout:
    """Read the layout of a feature, a target or offsets from its data set."""
    axes = tuple(bytes(axis).decode("utf-8") for axis in dataset.attrs["axes"])
    ragged = is_ragged(dataset)
    shape, axes = ((None, *dataset.shape[1:]), axes) if ragged else (dataset.shape[1:], axes[1:])
    return Layout(shape, dataset.dtype.name, axes, read_text(dataset, "unit"))


def read_ids(file: h5py.File) -> list[str]:
    """Return the example ids of a shard, by row."""
    return [bytes(identifier).decode("utf-8") for identifier in file[ID_PATH][:]]


def hash_dataset(dataset: h5py.Dataset) -> str:
    """Decode a data set and return the SHA-256 of its content, one chunk along its rows in memory at a time."""
    if dataset.name == ID_PATH:
        digest = ContentHash(ID_PATH, "utf-8", ())
        digest.update_ids(bytes(identifier) for identifier in dataset[:])
        return digest.hexdigest()
    digest = ContentHash(dataset.name, dataset.dtype.name, (None, *dataset.shape[1:]) if is_ragged(dataset) else dataset.shape[1:])
    if dataset.chunks is None:
        digest.update(dataset[:])
        return digest.hexdigest()
    for rows in iterate_rows(dataset):
        digest.update(rows)
    return digest.hexdigest()
