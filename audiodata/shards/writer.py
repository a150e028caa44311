"""Write one shard, row by row, so that it appears complete and checked or not at all."""

import logging
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Container, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np

from audiodata.shards.atomic import Output, staged, sync, write_faults
from audiodata.shards.bitshuffle import COMPRESSION
from audiodata.shards.format import (
    FORMAT,
    FORMAT_VERSION,
    GROUPS,
    ID_PATH,
    INLINE_BYTES,
    LIBVER,
    ContentHash,
    Layout,
    ShardRecord,
    content_hash,
    fixed_text,
)
from audiodata.shards.record import describe_shard

logger = logging.getLogger(__name__)


class ShardWriter:
    """Context manager that writes one shard; it takes its final name when the block ends without an error.

    The rows go to a temporary file in the same folder, one at a time. At the end the file is closed, fsynced, opened
    again and decoded; only if its content has the hashes of what was added is it renamed. After an error, or a kill,
    there is nothing under the final name.

    Parameters
    ----------
    path : Path
        Final name, ``<cache>/<split>-<number>.h5``.
    fingerprint : str
        Hash of what the shard is made from.
    split : str
        The split of all its examples.
    features, targets : mapping of str to Layout
        What each example has.
    examples : int, optional
        How many rows there will be, where that is known: another number is an error at the end.

    Attributes
    ----------
    record : ShardRecord or None
        The shard's entry of the manifest, once the block has ended.

    Raises
    ------
    EnvironmentFault
        The disk is full, or the folder can't be written to.
    CacheError
        What was read back isn't what was written.
    """

    def __init__(
        self,
        path: Path,
        *,
        fingerprint: str,
        split: str,
        features: Mapping[str, Layout],
        targets: Mapping[str, Layout],
        examples: int | None = None,
    ):
        self.path = Path(path)
        self.record: ShardRecord | None = None
        if both := features.keys() & targets.keys():
            raise ValueError(f"{self.path}: {', '.join(sorted(both))} named as feature and as target")
        self._texts = {"format": FORMAT, "fingerprint": fingerprint, "split": split}
        self._expected = examples
        self._columns = {path: _FeatureColumn(path, features[name]) for name, path in _paths("features", features)}
        self._columns |= {path: _target_column(path, targets[name]) for name, path in _paths("targets", targets)}
        self._ids: dict[str, None] = {}
        self._broken = False

    def __enter__(self) -> "ShardWriter":
        self._context = self._write()
        self._context.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._context.__exit__(kind, error, trace)

    def add(self, example_id: str, features: Mapping[str, np.ndarray], targets: Mapping[str, Any]) -> None:
        """Append one example.

        Parameters
        ----------
        example_id : str
            Unique in the shard, printable.
        features : mapping of str to ndarray
            Exactly the names, shapes and dtypes of the layouts.
        targets : mapping of str to array_like
            The names and shapes of the layouts, with values that their dtypes can hold.

        Raises
        ------
        ValueError
            An id, name, shape, dtype or value that doesn't fit; nothing was written.
        EnvironmentFault
            The disk is full.
        """
        _check_id(example_id, self._ids)
        given = {f"/features/{name}": value for name, value in features.items()}
        given |= {f"/targets/{name}": value for name, value in targets.items()}
        if given.keys() != self._columns.keys():
            raise ValueError(f"{example_id}: has {sorted(given)}, the shard has {sorted(self._columns)}")
        rows = [(column, column.accept(example_id, given[path])) for path, column in self._columns.items()]
        self._broken = True
        with self._writing():
            for column, row in rows:
                column.append(row)
        self._ids[example_id] = None
        self._broken = False

    @contextmanager
    def _write(self) -> Iterator[None]:
        with staged(self.path) as temporary:
            with write_faults(self.path):
                self._output = Output(temporary)
            with self._output, self._new_file() as file:
                yield
                self._check_complete()
                with self._writing():
                    self._write_tail(file)
                    file.close()
                    self._output.close()
                    sync(temporary)
            self.record = describe_shard(temporary, self.path)

    @contextmanager
    def _new_file(self) -> Iterator[h5py.File]:
        # No chunk cache: a chunk is written whole and once, and a full disk shows at the row that meets it.
        with self._writing():
            file = h5py.File(self._output, "w", libver=LIBVER, rdcc_nbytes=0)
        try:
            with self._writing():
                self._create(file)
            yield file
        finally:
            _close_quietly(file)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Raise what went wrong in writing as an `EnvironmentFault`, rather than what HDF5 makes of it."""
        with write_faults(self.path):
            try:
                yield
            finally:
                self._output.check()

    def _create(self, file: h5py.File) -> None:
        for group in GROUPS:
            file.create_group(group)
        for column in self._columns.values():
            column.create(file)

    def _check_complete(self) -> None:
        if self._broken:
            raise ValueError(f"{self.path}: a row was written in part; the shard can't be kept")
        if self._expected not in (None, len(self._ids)):
            raise ValueError(f"{self.path}: {len(self._ids)} examples were added, {self._expected} were announced")

    def _write_tail(self, file: h5py.File) -> None:
        """Write what is known at the end only: small targets, ids, hashes."""
        hashes = {path: column.finish(file) for path, column in self._columns.items()}
        digest = ContentHash(ID_PATH, "utf-8", ())
        digest.update_ids(identifier.encode("utf-8") for identifier in self._ids)
        hashes[ID_PATH] = digest.hexdigest()
        _annotate(file.create_dataset(ID_PATH, data=fixed_text(self._ids)), (), "", hashes[ID_PATH])
        file.attrs["format_version"] = np.int64(FORMAT_VERSION)
        for name, text in {**self._texts, "content_sha256": content_hash(hashes)}.items():
            file.attrs[name] = fixed_text(text)


def _close_quietly(file: h5py.File) -> None:
    """Close a file that may be closed or have failed already."""
    try:
        file.close()
    except (OSError, RuntimeError) as error:
        logger.warning("HDF5 could not close a file given up: %s", error)


def _paths(group: str, layouts: Mapping[str, Layout]) -> list[tuple[str, str]]:
    """Return (name, path inside the shard) of each layout, by name, so that their order in a mapping doesn't matter."""
    for name in layouts:
        if not name.isidentifier():
            raise ValueError(f"{group} named {name!r}: needs a Python identifier")
    return [(name, f"/{group}/{name}") for name in sorted(layouts)]


def _check_id(example_id: str, known: Container[str]) -> None:
    if example_id in known:
        raise ValueError(f"{example_id}: added twice")
    if not example_id or any(unicodedata.category(character) in ("Cc", "Cs") for character in example_id):
        raise ValueError(f"{example_id!r}: an example id must be non-empty text without control characters")


def _annotate(dataset: h5py.Dataset, axes: tuple[str, ...], unit: str, sha256: str) -> None:
    dataset.attrs["axes"] = fixed_text(["example", *axes])
    dataset.attrs["unit"] = fixed_text(unit)
    dataset.attrs["sha256"] = fixed_text(sha256)


def _target_column(path: str, layout: Layout) -> "_Column":
    """Choose how to store a target: small ones in one piece."""
    return _InlineColumn(path, layout) if layout.row_bytes <= INLINE_BYTES else _TargetColumn(path, layout)


class _Column(ABC):
    """One data set while it is being written."""

    def __init__(self, path: str, layout: Layout):
        self._path = path
        self._layout = layout
        self._dtype = np.dtype(layout.dtype).newbyteorder("<")
        self._hash = ContentHash(path, layout.dtype, layout.shape)

    @abstractmethod
    def create(self, file: h5py.File) -> None:
        """Create the data set, where that doesn't have to wait for the number of rows."""

    @abstractmethod
    def accept(self, example_id: str, value: Any) -> np.ndarray:
        """Return the value as a row of this column, or raise a `ValueError`."""

    @abstractmethod
    def append(self, row: np.ndarray) -> None:
        """Append a row that `accept` returned."""

    @abstractmethod
    def finish(self, file: h5py.File) -> str:
        """Complete the data set and return the SHA-256 of its content."""

    def _check_shape(self, example_id: str, found: tuple[int, ...]) -> None:
        if found != self._layout.shape:
            raise ValueError(f"{example_id}: {self._path} has shape {found}, expected {self._layout.shape}")


class _FeatureColumn(_Column):
    """One example a chunk, compressed; the dtype must be the layout's."""

    def create(self, file: h5py.File) -> None:
        shape = self._layout.shape
        self._dataset = file.create_dataset(
            self._path, shape=(0, *shape), maxshape=(None, *shape), chunks=(1, *shape), dtype=self._dtype, **COMPRESSION
        )
        self._rows = 0

    def accept(self, example_id: str, value: Any) -> np.ndarray:
        row = np.asarray(value)
        self._check_shape(example_id, row.shape)
        if row.dtype.name != self._layout.dtype:
            raise ValueError(f"{example_id}: {self._path} has dtype {row.dtype.name}, expected {self._layout.dtype}")
        return np.ascontiguousarray(row, dtype=self._dtype).reshape(self._layout.shape)

    def append(self, row: np.ndarray) -> None:
        self._dataset.resize(self._rows + 1, axis=0)
        self._dataset[self._rows] = row
        self._hash.update(row)
        self._rows += 1

    def finish(self, file: h5py.File) -> str:
        _annotate(self._dataset, self._layout.axes, self._layout.unit, self._hash.hexdigest())
        return self._hash.hexdigest()


class _TargetColumn(_FeatureColumn):
    """A large target: stored as a feature, but takes other dtypes too; floats are rounded, all else must be exact."""

    def accept(self, example_id: str, value: Any) -> np.ndarray:
        given = np.asarray(value)
        self._check_shape(example_id, given.shape)
        with np.errstate(invalid="ignore"):
            row = given.astype(self._dtype)
        if self._dtype.kind != "f" and not np.array_equal(row, given):
            raise ValueError(f"{example_id}: {self._path} has a value that {self._layout.dtype} can't hold exactly")
        return row


class _InlineColumn(_TargetColumn):
    """A small target: kept until the number of rows is known, then written in one piece."""

    def create(self, file: h5py.File) -> None:
        self._values: list[np.ndarray] = []

    def append(self, row: np.ndarray) -> None:
        self._values.append(row)
        self._hash.update(row)

    def finish(self, file: h5py.File) -> str:
        values = np.array(self._values, dtype=self._dtype).reshape(-1, *self._layout.shape)
        self._dataset = file.create_dataset(self._path, data=values)
        return super().finish(file)
