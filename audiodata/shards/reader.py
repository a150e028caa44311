"""Read rows of one shard: an index that outlives open files, and handles that may be dropped at any time.

Looking up where a chunk lies costs more than reading it, so `ShardIndex` does that for all rows at once and keeps it:
16 bytes a row and feature, no open file. A `Handle` is what has to be open; many shards share few of them. Reading
needs no position in the file, so a handle may be used by several threads and inherited by a forked process.
"""

import os
import threading
from pathlib import Path
from typing import Protocol

import h5py
import numpy as np

from audiodata.errors import CacheError
from audiodata.shards.bitshuffle import HEADER_BYTES, Decoder, block_elements, find_decoder, find_flaw, is_plain
from audiodata.shards.format import GROUPS, ID_PATH, check_chunk, one_line, open_shard

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


class Column(Protocol):
    """One data set of a shard, readable by row."""

    shape: tuple[int, ...]
    dtype: np.dtype

    def read_into(self, handle: Handle, row: int, out: np.ndarray) -> None:
        """Fill `out`, a C-contiguous array of the column's shape and dtype, with a row."""


class MemoryColumn:
    """A small target, read whole when the shard is indexed."""

    def __init__(self, dataset: h5py.Dataset):
        self._values = dataset[:]
        self.shape, self.dtype = dataset.shape[1:], dataset.dtype

    def read_into(self, handle: Handle, row: int, out: np.ndarray) -> None:
        """Copy a row."""
        out[...] = self._values[row]


class HDF5Column:
    """A data set that is read through HDF5."""

    def __init__(self, dataset: h5py.Dataset):
        self._path = dataset.name
        self.shape, self.dtype = dataset.shape[1:], dataset.dtype

    def read_into(self, handle: Handle, row: int, out: np.ndarray) -> None:
        """Let HDF5 decode a row."""
        try:
            dataset = handle.file[self._path]
            if is_plain(dataset):
                check_chunk(dataset, row)
            dataset.read_direct(out, np.s_[row])
        except (OSError, RuntimeError, KeyError, ValueError) as error:
            raise damaged(handle.path, self._path, row, one_line(error)) from error


class ChunkColumn:
    """A data set whose chunks are read and decoded without HDF5."""

    def __init__(self, dataset: h5py.Dataset, decoder: Decoder):
        self._path = dataset.name
        self.shape, self.dtype = dataset.shape[1:], dataset.dtype
        self._elements = int(np.prod(self.shape, dtype=np.int64))
        self._decoder = decoder
        self._offsets, self._sizes, self.complete = _chunk_table(dataset)

    def read_into(self, handle: Handle, row: int, out: np.ndarray) -> None:
        """Read a chunk into this thread's scratch memory and decode it to where it is wanted."""
        size = int(self._sizes[row])
        packed = _scratch.view(size)
        if os.preadv(handle.descriptor, [packed], int(self._offsets[row])) != size:
            raise damaged(handle.path, self._path, row, "the file ends before the chunk does")
        itemsize = self.dtype.itemsize
        if flaw := find_flaw(packed, out.nbytes, itemsize):
            raise damaged(handle.path, self._path, row, flaw)
        block = block_elements(packed, itemsize)
        used = self._decoder(_scratch.address + HEADER_BYTES, out.ctypes.data, self._elements, itemsize, block)
        if used != size - HEADER_BYTES:
            raise damaged(handle.path, self._path, row, "a block is damaged")


def damaged(path: Path, dataset: str, row: int, found: str) -> CacheError:
    """Return the error for a row that can't be decoded."""
    return CacheError(f"{path}: {dataset}: row {row} can't be decoded ({found}); run verify on the cache")


def _chunk_table(dataset: h5py.Dataset) -> tuple[np.ndarray, np.ndarray, bool]:
    """Return offset and size of each row's chunk, and whether every row has one that went through the filter."""
    table = np.zeros((len(dataset), 2), np.int64)
    masks = np.ones(len(dataset), np.int64)

    def note(chunk: h5py.h5d.StoreInfo) -> None:
        row = chunk.chunk_offset[0]
        table[row] = chunk.byte_offset, chunk.size
        masks[row] = chunk.filter_mask

    dataset.id.chunk_iter(note)
    return table[:, 0].copy(), table[:, 1].copy(), not masks.any()


class _Scratch(threading.local):
    """Memory for one packed chunk per thread, kept from read to read."""

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
                self.columns = {item.name: _column(item) for group in GROUPS for item in file[group].values()}
            except (KeyError, OSError, RuntimeError, ValueError) as error:
                raise CacheError(f"{path}: structure: can't be read ({one_line(error)}); run verify on the cache") from error
        self._needs_hdf5 = any(isinstance(column, HDF5Column) for column in self.columns.values())

    def open(self) -> Handle:
        """Open the shard for reading rows."""
        return Handle(self.path, self.stamp, self._needs_hdf5)

    def read(self, handle: Handle, row: int, path: str) -> np.ndarray:
        """Return one row of one data set in memory of its own."""
        column = self.columns[path]
        out = np.empty(column.shape, column.dtype)
        column.read_into(handle, row, out)
        return out

    def read_into(self, handle: Handle, row: int, path: str, out: np.ndarray) -> None:
        """Fill a C-contiguous array with one row of one data set."""
        self.columns[path].read_into(handle, row, out)


def _column(dataset: h5py.Dataset) -> Column:
    if dataset.chunks is None:
        return MemoryColumn(dataset)
    decoder = find_decoder()
    if decoder is not None and is_plain(dataset):
        column = ChunkColumn(dataset, decoder)
        if column.complete:
            return column
    return HDF5Column(dataset)
