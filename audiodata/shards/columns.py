"""The data sets of a shard while they are being written: each takes a value per example."""

from abc import ABC, abstractmethod
from typing import Any

import h5py
import numpy as np

from audiodata.shards.bitshuffle import COMPRESSION
from audiodata.shards.chunks import write_rows
from audiodata.shards.format import INLINE_BYTES, OFFSETS_LAYOUT, ContentHash, Layout, fixed_text
from audiodata.shards.ragged import OFFSETS, chunk_shape, offsets_path


def annotate(dataset: h5py.Dataset, axes: tuple[str, ...], unit: str, sha256: str) -> None:
    """Give a data set its attributes; `axes` are all of them."""
    dataset.attrs["axes"] = fixed_text(axes)
    dataset.attrs["unit"] = fixed_text(unit)
    dataset.attrs["sha256"] = fixed_text(sha256)


def feature_column(path: str, layout: Layout) -> "Column":
    """Choose how to store a feature: a ragged one as entries and offsets."""
    return _RaggedColumn(path, layout) if layout.ragged else _FeatureColumn(path, layout)


def target_column(path: str, layout: Layout) -> "Column":
    """Choose how to store a target: small ones in one piece."""
    if layout.ragged:
        raise ValueError(f"{path} has the layout {layout.shape}: only features may be ragged")
    return _InlineColumn(path, layout) if layout.row_bytes <= INLINE_BYTES else _TargetColumn(path, layout)


class Column(ABC):
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
    def finish(self, file: h5py.File) -> dict[str, str]:
        """Complete the data sets and return the SHA-256 of the content of each, by path."""

    def _check_shape(self, example_id: str, found: tuple[int, ...]) -> None:
        if not self._layout.fits(found):
            raise ValueError(f"{example_id}: {self._path} has shape {found}, expected {self._layout.shape}")

    def _note(self, dataset: h5py.Dataset) -> dict[str, str]:
        """Give the finished data set its attributes and return its hash."""
        annotate(dataset, ("example", *self._layout.axes), self._layout.unit, self._hash.hexdigest())
        return {self._path: self._hash.hexdigest()}


class _FeatureColumn(Column):
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
        return np.ascontiguousarray(row, dtype=self._dtype).reshape(row.shape)

    def append(self, row: np.ndarray) -> None:
        write_rows(self._dataset, self._rows, row[np.newaxis])
        self._hash.update(row)
        self._rows += 1

    def finish(self, file: h5py.File) -> dict[str, str]:
        return self._note(self._dataset)


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

    def finish(self, file: h5py.File) -> dict[str, str]:
        values = np.array(self._values, dtype=self._dtype).reshape(-1, *self._layout.shape)
        return self._note(file.create_dataset(self._path, data=values))


class _RaggedColumn(_FeatureColumn):
    """Entries one after the other, written a whole chunk at a time, and their offsets, kept until the end."""

    def create(self, file: h5py.File) -> None:
        entry = self._layout.entry
        chunks = chunk_shape(entry, self._dtype.itemsize)
        self._dataset = file.create_dataset(
            self._path, shape=(0, *entry), maxshape=(None, *entry), chunks=chunks, dtype=self._dtype, **COMPRESSION
        )
        file.require_group(OFFSETS)
        self._pending = np.empty((chunks[0], *entry), self._dtype)
        self._offsets = [0]

    def append(self, row: np.ndarray) -> None:
        self._hash.update(row)
        total, size = self._offsets[-1], len(self._pending)
        self._offsets.append(total + len(row))
        while len(row):
            used = total % size
            taken = row[: size - used]
            self._pending[used : used + len(taken)] = taken
            total, row = total + len(taken), row[len(taken) :]
            if total % size == 0:
                self._write(total - size, size)

    def finish(self, file: h5py.File) -> dict[str, str]:
        total = self._offsets[-1]
        rest = total % len(self._pending)
        if rest:
            self._write(total - rest, rest)
        path, offsets = offsets_path(self._path), np.array(self._offsets, "<i8")
        digest = ContentHash(path, "int64", ())
        digest.update(offsets)
        annotate(file.create_dataset(path, data=offsets), ("example",), OFFSETS_LAYOUT.unit, digest.hexdigest())
        annotate(self._dataset, self._layout.axes, self._layout.unit, self._hash.hexdigest())
        self._dataset.attrs[OFFSETS] = fixed_text(path)
        return {self._path: self._hash.hexdigest(), path: digest.hexdigest()}

    def _write(self, start: int, count: int) -> None:
        write_rows(self._dataset, start, self._pending[:count])
