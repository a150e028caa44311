"""Features with any number of entries per example: where the entries of each lie, and how they are cut into chunks."""

import h5py
import numpy as np

OFFSETS = "offsets"
CHUNK_BYTES = 1 << 16
FIELDS_APART = 16


def offsets_path(path: str) -> str:
    """Return where the offsets of a ragged feature lie, given where its entries lie."""
    return f"/{OFFSETS}/{path.rpartition('/')[2]}"


def entries_path(path: str) -> str:
    """Return where the entries of a ragged feature lie, given where its offsets lie."""
    return f"/features/{path.rpartition('/')[2]}"


def is_ragged(dataset: h5py.Dataset) -> bool:
    """Whether a data set holds the entries of a ragged feature."""
    return OFFSETS in dataset.attrs


def chunk_shape(entry: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """Choose the chunks of a ragged feature.

    Parameters
    ----------
    entry : tuple of int
        Shape of one entry.
    itemsize : int
        Bytes of a number.

    Returns
    -------
    tuple of int
        As many entries as `CHUNK_BYTES` hold; of one field each where there are few.

    Examples
    --------
    >>> chunk_shape((4,), 4), chunk_shape((64,), 4)
    ((16384, 1), (256, 64))
    """
    fields = (1,) if len(entry) == 1 and entry[0] <= FIELDS_APART else entry
    return max(CHUNK_BYTES // (int(np.prod(fields, dtype=np.int64)) * itemsize), 1), *fields


def read_offsets(dataset: h5py.Dataset, examples: int) -> np.ndarray:
    """Return the offsets of a ragged feature, int64 ``[example + 1]``.

    Raises
    ------
    KeyError
        There are none.
    ValueError
        They don't fit the examples or the entries.
    """
    offsets = dataset.file[offsets_path(dataset.name)][:]
    if flaw := offsets_flaw(offsets, examples, len(dataset)):
        raise ValueError(f"{offsets_path(dataset.name)}: {flaw}")
    return offsets


def offsets_flaw(offsets: np.ndarray, examples: int, entries: int) -> str:
    """Return what is wrong with offsets; empty where they give every entry to one example."""
    if offsets.shape != (examples + 1,) or offsets.dtype.name != "int64":
        return f"has {offsets.dtype.name} {list(offsets.shape)}, expected int64 [{examples + 1}] for {examples} examples"
    if offsets[0] != 0 or offsets[-1] != entries:
        return f"runs from {offsets[0]} to {offsets[-1]}, expected 0 to {entries}, the number of entries"
    falls = np.flatnonzero(offsets[1:] < offsets[:-1])
    return f"falls after example {falls[0]}, from {offsets[falls[0]]} to {offsets[falls[0] + 1]}" if len(falls) else ""
