"""Which example goes to which row of which shard: arithmetic on tables, no files.

An example's shard is decided by the hash of its clip's id and the number of shards of its split, never by order, so that a new or changed
clip touches one shard. The number of shards is a power of two: it changes only when the data doubles, and then each shard is cut in two.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import pyarrow as pa

from audiodata.findings import as_arrow, take_texts
from audiodata.json_columns import joined, json_numbers
from audiodata.text_hashes import first_words
from audiodata.timing import samples_to_seconds, segment_count


def shard_count(examples: int, aimed: int) -> int:
    """Number of shards of a split: the power of two that brings the mean size nearest (by ratio) to `aimed` examples.

    Examples
    --------
    >>> [shard_count(n, 512) for n in (1, 700, 800, 5000)]
    [1, 1, 2, 8]
    """
    return 2 ** max(0, round(math.log2(max(examples, 1) / aimed)))


def clip_hashes(clip_ids: Sequence[str]) -> np.ndarray:
    """The numbers that place clips: the first 8 bytes of the SHA-256 of each id, big-endian, as uint64 [clip]."""
    return first_words(clip_ids)


def shard_numbers(hashes: np.ndarray, count: int) -> np.ndarray:
    """Shard of each clip among `count`, a power of two: the leading bits of its hash."""
    return np.zeros(len(hashes), dtype=np.int64) if count == 1 else (hashes >> np.uint64(64 - int(math.log2(count)))).astype(np.int64)


def shard_name(split: str, number: int) -> str:
    """File name of a shard."""
    return f"{split}-{number:05d}.h5"


def cut_segments(clips: pd.DataFrame, *, length: int, hop: int, min_fill: float, sample_rate: int) -> pd.DataFrame:
    """Cut clips into examples.

    Parameters
    ----------
    clips : DataFrame
        One row a clip, with ``clip_id, start_s`` and ``samples`` (its length at `sample_rate`).
    length, hop : int
        Of a segment, in samples.
    min_fill : float
        See `audiodata.timing.segment_count`.
    sample_rate : int
        In Hz.

    Returns
    -------
    DataFrame
        One row an example: the clip's columns, with ``example_id``, ``start_sample`` (inside the clip), ``valid`` (samples that the clip
        fills) and ``start_s, duration_s`` of the example in the recording.
    """
    counts = segment_count(clips["samples"].to_numpy(), length, hop, min_fill)
    examples = (clips if (counts == 1).all() else _take_rows(clips, np.repeat(np.arange(len(clips)), counts))).reset_index(drop=True)
    number = np.arange(len(examples)) - np.repeat(np.cumsum(counts) - counts, counts)
    examples["example_id"] = joined(as_arrow(examples["clip_id"]), "#", json_numbers(number)).to_pandas().astype("str")
    examples["start_sample"] = number * hop
    examples["valid"] = np.minimum(examples["samples"] - examples["start_sample"], length)
    examples["start_s"] = (examples["start_s"] + examples["start_sample"] / sample_rate).round(6)
    lengths, which = np.unique(examples["valid"].to_numpy(), return_inverse=True)
    examples["duration_s"] = np.array([samples_to_seconds(valid, sample_rate) for valid in lengths], dtype=np.float64)[which]
    return examples


def shard_counts(splits: Sequence[str], examples: np.ndarray, aimed: int) -> dict[str, int]:
    """Number of shards of each split, given each clip's split and its number of examples."""
    codes, names = pd.factorize(splits)
    totals = np.bincount(codes, examples, len(names))
    return {name: shard_count(int(total), aimed) for name, total in zip(names, totals, strict=True)}


def _take_rows(table: pd.DataFrame, rows: np.ndarray) -> pd.DataFrame:
    """Take rows, numbered anew; a column that has the same text throughout, as several of most tables have, is repeated instead."""
    taken = {name: _repeated(table[name], len(rows)) if _is_same(table[name]) else table[name].array.take(rows) for name in table.columns}
    return pd.DataFrame(taken, copy=False)


def _is_same(column: pd.Series) -> bool:
    return column.dtype == "str" and len(column) > 0 and column.iloc[0] == column.iloc[-1] and bool((column == column.iloc[0]).all())


def _repeated(column: pd.Series, count: int) -> pd.Series:
    return pa.repeat(pa.scalar(column.iloc[0], pa.large_string()), count).to_pandas().astype("str")


def place(examples: pd.DataFrame, aimed: int, counts: Mapping[str, int] | None = None) -> pd.DataFrame:
    """Give every example its shard and row.

    Parameters
    ----------
    examples : DataFrame
        With ``clip_id, start_sample, split``.
    aimed : int
        Examples per shard aimed at.
    counts : mapping of str to int, optional
        Number of shards of each split, where `examples` are not all of them; whole shards must be there.

    Returns
    -------
    DataFrame
        With ``shard`` (file name) and ``row``; sorted by split, then by the clip's hash, then by time, which is the order of the rows in
        the shards.
    """
    hashes = clip_hashes(examples["clip_id"])
    order = _order(pd.factorize(examples["split"], sort=True)[0], hashes, examples["start_sample"].to_numpy())
    placed = _take_rows(examples, order)
    hashes = hashes[order]
    names: list[str] = []
    codes, numbers_in_shard = (np.zeros(len(placed), dtype=np.int64) for _ in range(2))
    for split, rows in placed.groupby("split", sort=False).indices.items():
        count = counts[split] if counts else shard_count(len(rows), aimed)
        numbers = shard_numbers(hashes[rows], count)
        codes[rows] = len(names) + numbers
        numbers_in_shard[rows] = np.arange(len(rows)) - np.searchsorted(numbers, numbers)
        names += [shard_name(split, number) for number in range(count)]
    placed["shard"], placed["row"] = take_texts(names, codes), numbers_in_shard
    return placed


def _order(splits: np.ndarray, hashes: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Order by split, then by hash, then by start."""
    order = np.argsort(hashes)  # several times as fast as sorting by all three at once
    if (np.diff(hashes[order]) == 0).any():
        order = np.lexsort((starts, hashes))
    return order[np.argsort(splits[order].astype(np.int16), kind="stable")]
