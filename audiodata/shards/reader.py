"""Read rows of one shard: an index that outlives open files, and handles that may be dropped at any time.

Looking up where a chunk lies costs more than reading it, so `ShardIndex` does that for all rows at once and keeps it:
16 bytes a row and feature (of a ragged one a chunk, and its offsets), no open file. A `Handle` is what has to be open;
many shards share few of them. Reading needs no position in the file, so a handle may be used by several threads and
inherited by a forked process.
"""

import os
import threading
from abc import ABC, abstractmethod
from pathlib import Path

import h5py
import numpy as np

from audiodata.errors import CacheError
from audiodata.shards.bitshuffle import Decoder, find_decoder, unpack
from audiodata.shards.chunks import Grid, read_rows_into
from audiodata.shards.format import GROUPS, ID_PATH, one_line, open_shard
from audiodata.shards.ragged import is_ragged, read_offsets

Stamp = tuple[int, int, int]


class Handle:
    """An open shard file; closed when the last one who uses it lets go.

    Parameters
    ----------
    path : Path
        The shard.
    stamp : tuple
        What `file_stamp` gave when the shard was indexed.
    needs_hdf5 : bool
        Whether some data set has to be read through HDF5.

    Raises
    ------
    CacheError
        The file is gone, or is another one than was indexed.
    """

    def __init__(self, path: Path, stamp: Stamp, needs_hdf5: bool):
        self.path = path
        self.file = _open_hdf5(path) if needs_hdf5 else None
        self.descriptor = _open_descriptor(path)
        if file_stamp(os.fstat(self.descriptor)) != stamp:
            raise CacheError(f"{path}: has changed since the cache was opened; open the cache again")

    def __del__(self) -> None:
        if hasattr(self, "descriptor"):
            os.close(self.descriptor)


def file_stamp(status: os.stat_result) -> Stamp:
    """Return what tells one file from another under the same name: inode, size, time of last change."""
    return status.st_ino, status.st_size, status.st_mtime_ns


def _open_descriptor(path: Path) -> int:
    try:
        return os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0))
    except OSError as error:
        raise CacheError(f"{path}: can't be opened ({error.strerror}); run verify on the cache") from error


def _open_hdf5(path: Path) -> h5py.File:
    try:
        return h5py.File(path, "r", locking=False)
    except (OSError, RuntimeError) as error:
        raise CacheError(f"{path}: can't be opened as HDF5 ({one_line(error)}); run verify on the cache") from error


class Column(ABC):
    """One data set of a shard, readable by row.

    Attributes
    ----------
    shape : tuple of int
        Of a row; None as the first length of a ragged one.
    dtype : dtype
    """

    def __init__(self, dataset: h5py.Dataset):
        self._path = dataset.name
        self.shape, self.dtype = dataset.shape[1:], dataset.dtype

    def empty(self, row: int) -> np.ndarray:
        """Return memory for a row."""
        return np.empty(self.shape, self.dtype)

    @abstractmethod
    def read_into(self, handle: Handle, row: int, out: np.ndarray) -> None:
        """Fill `out`, C-contiguous memory like that of `empty`, with a row."""


class MemoryColumn(Column):
    """A small target, read whole when the shard is indexed."""

    def __init__(self, dataset: h5py.Dataset):
        super().__init__(dataset)
        self._values = dataset[:]

    def read_into(self, handle: Handle, row: int, out: np.ndarray) -> None:
        """Copy a row."""
        out[...] = self._values[row]


class HDF5Column(Column):
    """A data set that is read through HDF5."""

    def __init__(self, dataset: h5py.Dataset):
        super().__init__(dataset)
        self._grid = Grid.of(dataset)

    def read_into(self, handle: Handle, row: int, out: np.ndarray) -> None:
        """Let HDF5 decode a row."""
        self._read(handle, row, row, out[np.newaxis])

    def _read(self, handle: Handle, row: int, start: int, out: np.ndarray) -> None:
        """Fill `out` with what begins at `start` of the data set; `row` is for messages."""
        try:
            read_rows_into(handle.file[self._path], self._grid, start, out)
        except (OSError, RuntimeError, KeyError, ValueError) as error:
            raise damaged(handle.path, self._path, row, one_line(error)) from error


class DirectColumn(Column):
    """A data set whose chunks are read and decoded without HDF5.

    Parameters
    ----------
    dataset : Dataset
        Packed as ours are.
    decoder : callable
        What `find_decoder` gave.

    Attributes
    ----------
    complete : bool
        Whether every chunk is there and went through the filter; else this way of reading can't be used.
    """

    def __init__(self, dataset: h5py.Dataset, decoder: Decoder):
        super().__init__(dataset)
        self._decoder = decoder
        self._offsets, self._sizes, self.complete = _chunk_table(dataset)

    def _decode(self, handle: Handle, row: int, chunk: int, out: np.ndarray) -> None:
        """Read a chunk into this thread's scratch memory and decode it to where it is wanted; `row` is for messages."""
        size = int(self._sizes[chunk])
        packed = _scratch.view(size)
        if os.preadv(handle.descriptor, [packed], int(self._offsets[chunk])) != size:
            raise damaged(handle.path, self._path, row, "the file ends before the chunk does")
        if flaw := unpack(self._decoder, packed, _scratch.address, out):
            raise damaged(handle.path, self._path, row, flaw)


class ChunkColumn(DirectColumn):
    """A data set with a chunk a row."""

    def read_into(self, handle: Handle, row: int, out: np.ndarray) -> None:
        """Decode a chunk to where it is wanted."""
        self._decode(handle, row, row, out)


class RaggedColumn(HDF5Column):
    """A feature with any number of entries per row, read through HDF5."""

    def __init__(self, dataset: h5py.Dataset, bounds: np.ndarray):
        super().__init__(dataset)
        self.shape = (None, *self.shape)
        self._bounds = bounds

    def empty(self, row: int) -> np.ndarray:
        """Return memory for the entries of a row."""
        return _empty_entries(self, self._bounds, row)

    def read_into(self, handle: Handle, row: int, out: np.ndarray) -> None:
        """Let HDF5 decode the chunks that hold entries of a row."""
        if len(out):
            self._read(handle, row, int(self._bounds[row]), out)


class RaggedChunkColumn(DirectColumn):
    """A feature with any number of entries per row, in chunks that are read and decoded without HDF5."""

    def __init__(self, dataset: h5py.Dataset, decoder: Decoder, bounds: np.ndarray):
        super().__init__(dataset, decoder)
        self.shape = (None, *self.shape)
        self._bounds = bounds
        self._grid = Grid.of(dataset)

    def empty(self, row: int) -> np.ndarray:
        """Return memory for the entries of a row."""
        return _empty_entries(self, self._bounds, row)

    def read_into(self, handle: Handle, row: int, out: np.ndarray) -> None:
        """Decode the chunks that hold entries of a row, and copy those."""
        start, stop = int(self._bounds[row]), int(self._bounds[row + 1])
        step = self._grid.chunks[0]
        decoded = np.frombuffer(_decoded.view(self._grid.chunk_bytes), self.dtype).reshape(self._grid.chunks)
        for corner in self._grid.corners(start, stop) if len(out) else ():
            self._decode(handle, row, self._grid.number(corner), decoded)
            first, last = max(start, corner[0]), min(stop, corner[0] + step)
            fields = tuple(slice(begin, begin + length) for begin, length in zip(corner[1:], self._grid.chunks[1:], strict=True))
            out[first - start : last - start, *fields] = decoded[first - corner[0] : last - corner[0]]


def _empty_entries(column: Column, bounds: np.ndarray, row: int) -> np.ndarray:
    return np.empty((int(bounds[row + 1] - bounds[row]), *column.shape[1:]), column.dtype)


def damaged(path: Path, dataset: str, row: int, found: str) -> CacheError:
    """Return the error for a row that can't be decoded."""
    return CacheError(f"{path}: {dataset}: row {row} can't be decoded ({found}); run verify on the cache")


def _chunk_table(dataset: h5py.Dataset) -> tuple[np.ndarray, np.ndarray, bool]:
    """Return offset and size of each chunk, by its number, and whether every one is there and went through the filter."""
    grid = Grid.of(dataset)
    table = np.zeros((grid.count, 2), np.int64)
    masks = np.ones(grid.count, np.int64)

    def note(chunk: h5py.h5d.StoreInfo) -> None:
        number = grid.number(chunk.chunk_offset)
        table[number] = chunk.byte_offset, chunk.size
        masks[number] = chunk.filter_mask

    dataset.id.chunk_iter(note)
    return table[:, 0].copy(), table[:, 1].copy(), not masks.any()


class _Scratch(threading.local):
    """Memory for one chunk per thread, kept from read to read."""

    def __init__(self) -> None:
        self._reserve(1 << 16)

    def view(self, size: int) -> memoryview:
        """Return the first `size` bytes."""
        if size > len(self._memory):
            self._reserve(2 * size)
        return self._memory[:size]

    def _reserve(self, capacity: int) -> None:
        buffer = np.zeros(capacity, np.uint8)
        self._memory = buffer.data
        self.address = buffer.ctypes.data


_scratch = _Scratch()
_decoded = _Scratch()


class ShardIndex:
    """Where each row of a shard lies; holds no open file.

    Parameters
    ----------
    path : Path
        The shard.

    Raises
    ------
    CacheError
        Not a shard, or damaged.
    """

    def __init__(self, path: Path):
        self.path = path
        with open_shard(path) as file:
            try:
                self.stamp = file_stamp(path.stat())
                self.examples = len(file[ID_PATH])
                self.columns = {item.name: _column(item, self.examples) for group in GROUPS for item in file[group].values()}
            except (KeyError, OSError, RuntimeError, ValueError) as error:
                raise CacheError(f"{path}: structure: can't be read ({one_line(error)}); run verify on the cache") from error
        self._needs_hdf5 = any(isinstance(column, HDF5Column) for column in self.columns.values())

    def open(self) -> Handle:
        """Open the shard for reading rows."""
        return Handle(self.path, self.stamp, self._needs_hdf5)

    def read(self, handle: Handle, row: int, path: str) -> np.ndarray:
        """Return one row of one data set in memory of its own."""
        column = self.columns[path]
        out = column.empty(row)
        column.read_into(handle, row, out)
        return out

    def read_into(self, handle: Handle, row: int, path: str, out: np.ndarray) -> None:
        """Fill a C-contiguous array with one row of one data set."""
        self.columns[path].read_into(handle, row, out)


def _column(dataset: h5py.Dataset, examples: int) -> Column:
    if dataset.chunks is None:
        return MemoryColumn(dataset)
    bounds = [read_offsets(dataset, examples)] if is_ragged(dataset) else []
    through, directly = (RaggedColumn, RaggedChunkColumn) if bounds else (HDF5Column, ChunkColumn)
    decoder, grid = find_decoder(), Grid.of(dataset)
    if decoder is not None and (grid.packed if bounds else grid.is_plain):
        column = directly(dataset, decoder, *bounds)
        if column.complete:
            return column
    return through(dataset, *bounds)
