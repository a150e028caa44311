"""Which example goes to which row of which shard: arithmetic on tables, no files.

An example's shard is decided by the hash of its clip's id and the number of shards of its split, never by order, so that a new or changed
clip touches one shard. The number of shards is a power of two: it changes only when the data doubles, and then each shard is cut in two.
"""

import hashlib
import math

import numpy as np
import pandas as pd

from audiodata.timing import samples_to_seconds, segment_count


def shard_count(examples: int, aimed: int) -> int:
    """Number of shards of a split: the power of two that brings the mean size nearest (by ratio) to `aimed` examples.

    Examples
    --------
    >>> [shard_count(n, 512) for n in (1, 700, 800, 5000)]
    [1, 1, 2, 8]
    """
    return 2 ** max(0, round(math.log2(max(examples, 1) / aimed)))


def clip_hash(clip_id: str) -> int:
    """The 64 bits that place a clip: the first 8 bytes of the SHA-256 of its id."""
    return int.from_bytes(hashlib.sha256(clip_id.encode("utf-8")).digest()[:8], "big")


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
    examples = clips.loc[clips.index.repeat(counts)].reset_index(drop=True)
    number = np.arange(len(examples)) - np.repeat(np.cumsum(counts) - counts, counts)
    examples["example_id"] = examples["clip_id"].astype(str) + "#" + pd.Series(number).astype(str)
    examples["start_sample"] = number * hop
    examples["valid"] = np.minimum(examples["samples"] - examples["start_sample"], length)
    examples["start_s"] = (examples["start_s"] + examples["start_sample"] / sample_rate).round(6)
    examples["duration_s"] = [samples_to_seconds(valid, sample_rate) for valid in examples["valid"]]
    return examples


def place(examples: pd.DataFrame, aimed: int) -> pd.DataFrame:
    """Give every example its shard and row.

    Parameters
    ----------
    examples : DataFrame
        With ``example_id, clip_id, split``.
    aimed : int
        Examples per shard aimed at.

    Returns
    -------
    DataFrame
        With ``shard`` (file name) and ``row``, sorted by split, shard and example id.
    """
    placed = examples.copy()
    placed["shard"] = ""
    for split, rows in placed.groupby("split", sort=True):
        count = shard_count(len(rows), aimed)
        clip_ids = rows["clip_id"].unique()
        number = dict(zip(clip_ids, (clip_hash(clip_id) * count >> 64 for clip_id in clip_ids), strict=True))
        placed.loc[rows.index, "shard"] = [shard_name(split, number[clip_id]) for clip_id in rows["clip_id"]]
    placed = placed.sort_values(["shard", "example_id"], kind="stable", ignore_index=True)
    placed["row"] = placed.groupby("shard", sort=False).cumcount()
    return placed
