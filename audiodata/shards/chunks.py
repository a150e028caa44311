"""How a data set is cut into chunks, and how rows are read through HDF5 without trusting what is in them."""

import itertools
import math
from collections.abc import Iterator
from typing import NamedTuple

import h5py
import numpy as np

from audiodata.shards.bitshuffle import Decoder, find_decoder, find_flaw, is_packed, unpack


class Grid(NamedTuple):
    """The chunks of a data set; asking HDF5 for these things costs as much as reading a small chunk.

    Attributes
    ----------
    shape, chunks : tuple of int
        Of the data set; of a chunk.
    itemsize : int
        Bytes of a number.
    packed : bool
        Whether the chunks are packed as ours are, so that they can be checked.
    """

    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    itemsize: int
    packed: bool

    @classmethod
    def of(cls, dataset: h5py.Dataset) -> "Grid":
        """Return the chunks of a data set that has some."""
        return cls(dataset.shape, dataset.chunks, dataset.dtype.itemsize, is_packed(dataset))

    def corners(self, start: int, stop: int) -> Iterator[tuple[int, ...]]:
        """Yield the first position of each chunk that holds something of the rows from `start` up to `stop`."""
        spans = [range(start - start % self.chunks[0], stop, self.chunks[0])]
        spans += [range(0, length, step) for length, step in zip(self.shape[1:], self.chunks[1:], strict=True)]
        return itertools.product(*spans)

    @property
    def count(self) -> int:
        """Number of chunks."""
        return math.prod(-(-length // step) for length, step in zip(self.shape, self.chunks, strict=True))

    def number(self, corner: tuple[int, ...]) -> int:
        """Return the number of the chunk that begins at a position, counted in C order."""
        number = 0
        for start, length, step in zip(corner, self.shape, self.chunks, strict=True):
            number = number * -(-length // step) + start // step
        return number

    @property
    def is_plain(self) -> bool:
        """Whether there is one chunk a row, packed as ours are."""
        return self.packed and self.chunks == (1, *self.shape[1:])

    @property
    def chunk_bytes(self) -> int:
        """Bytes of a decoded chunk."""
        return math.prod(self.chunks) * self.itemsize


def write_rows(dataset: h5py.Dataset, start: int, rows: np.ndarray) -> None:
    """Append rows to a data set that has `start` of them; h5py's own indexing takes longer than packing a small chunk.

    Parameters
    ----------
    dataset : Dataset
        Resizable along its rows.
    start : int
    rows : array [row, ...]
        Of the data set's dtype.
    """
    dataset.id.set_extent((start + len(rows), *rows.shape[1:]))
    dataset.id.write(*_spaces(dataset, start, rows.shape), np.ascontiguousarray(rows))


def _spaces(dataset: h5py.Dataset, start: int, shape: tuple[int, ...]) -> tuple[h5py.h5s.SpaceID, h5py.h5s.SpaceID]:
    """Rows in memory, and where in the data set they are, as HDF5 wants it said."""
    there = dataset.id.get_space()
    there.select_hyperslab((start, *(0 for _ in shape[1:])), shape)
    return h5py.h5s.create_simple(shape), there


def iterate_rows(dataset: h5py.Dataset) -> Iterator[np.ndarray]:
    """Yield the rows of a data set in chunks, those of one chunk at a time, each time in the same memory.

    Raises
    ------
    ValueError
        A chunk, packed as ours are, is damaged.
    """
    grid = Grid.of(dataset)
    decoder = find_decoder() if grid.is_plain else None
    rows = np.empty((grid.chunks[0], *grid.shape[1:]), dataset.dtype)
    for start in range(0, grid.shape[0], grid.chunks[0]):
        if decoder is None:
            yield read_rows_into(dataset, grid, start, rows[: grid.shape[0] - start])
        else:
            yield _decode_row_into(dataset, grid, start, rows, decoder)


def _decode_row_into(dataset: h5py.Dataset, grid: Grid, row: int, out: np.ndarray, decoder: Decoder) -> np.ndarray:
    """Decode the one chunk of a row, which HDF5 does in three times the time."""
    skipped, packed = dataset.id.read_direct_chunk((row, *(0 for _ in grid.shape[1:])))
    if skipped:  # HDF5 would give others the bytes as they are
        raise ValueError(f"row {row}: is marked as not packed")
    if flaw := unpack(decoder, packed, np.frombuffer(packed, np.uint8).ctypes.data, out):
        raise ValueError(f"row {row}: {flaw}")
    return out


def read_rows_into(dataset: h5py.Dataset, grid: Grid, start: int, out: np.ndarray) -> np.ndarray:
    """Fill a C-contiguous array with so many rows of a data set, beginning at `start`, and return it.

    Raises
    ------
    ValueError
        A chunk, packed as ours are, is too damaged to let HDF5 decode it.
    """
    stop = start + len(out)
    if grid.packed:
        chunk_bytes = grid.chunk_bytes
        for corner in grid.corners(start, stop):
            if flaw := find_flaw(dataset.id.read_direct_chunk(corner)[1], chunk_bytes, grid.itemsize):
                raise ValueError(f"row {corner[0]}: {flaw}")
    if out.size:
        dataset.id.read(*_spaces(dataset, start, out.shape), out)
    return out
