"""The shards of a plan with their fingerprints, in columns: those of `audiodata.assembly.shard_fingerprint`, without a record for each example."""

import itertools
import json
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from audiodata.assembly import described_clip, frame_of_inputs
from audiodata.build_settings import BuildSettings
from audiodata.findings import as_arrow
from audiodata.fingerprint import canonical_json, hash_bytes
from audiodata.json_columns import each, joined, json_hashes, json_numbers, json_texts
from audiodata.records import read_partner

EXAMPLES_AT_ONCE = 50_000


class PlannedShard(NamedTuple):
    """A shard of a plan.

    Attributes
    ----------
    file, split, fingerprint : str
    examples : DataFrame
        All examples of the plan.
    begin, end : int
        Where those of the shard are.
    """

    file: str
    split: str
    fingerprint: str
    examples: pd.DataFrame
    begin: int
    end: int

    @property
    def rows(self) -> pd.DataFrame:
        """Its examples, in order; cut out when they are asked for, which few shards of a resumed build are."""
        return self.examples.iloc[self.begin : self.end]


def planned_shards(examples: pd.DataFrame, settings: BuildSettings) -> Iterator[PlannedShard]:
    """Yield the shards of a plan in the order of their names.

    Parameters
    ----------
    examples : DataFrame
        Of `audiodata.planning.BuildPlan`.
    settings : BuildSettings
    """
    shards = shard_spans(examples)
    frames = {split: frame_of_inputs(settings.of_split(split)) for split in {shard.split for shard in shards}}
    some: list[ShardSpan] = []
    for shard in shards:
        some.append(shard)
        if shard.end - some[0].begin >= EXAMPLES_AT_ONCE or shard.end == len(examples):
            for one, inputs in zip(some, _inputs(examples, some), strict=True):
                before, after = frames[one.split]
                yield PlannedShard(one.file, one.split, hash_bytes(b"".join([before, b"[", inputs, b"]", after])), examples, one.begin, one.end)
            some = []


class ShardSpan(NamedTuple):
    """Where a shard is in a table that is in the order of its shards: rows from `begin` to before `end`."""

    file: str
    split: str
    begin: int
    end: int


def shard_spans(placed: pd.DataFrame) -> list[ShardSpan]:
    """Find the shards of a table with ``shard`` and ``split`` that is in the order of its shards."""
    ends = pc.run_end_encode(as_arrow(placed["shard"]), pa.int64()).run_ends.to_pylist()
    begins = [0, *ends[:-1]] if ends else []
    files, splits = (placed[name].iloc[begins].tolist() for name in ("shard", "split"))
    return list(map(ShardSpan, files, splits, begins, ends))


def _inputs(examples: pd.DataFrame, shards: list[ShardSpan]) -> Iterator[memoryview]:
    """Cut what is written of the inputs of each shard, with commas between them, out of one text."""
    begin, end = shards[0].begin, shards[-1].end
    _, offsets, data = _input_texts(examples.iloc[begin:end]).buffers()
    ends = np.frombuffer(offsets, dtype=np.int64)
    for shard in shards:
        yield memoryview(data)[ends[shard.begin - begin] : ends[shard.end - begin] - 1]


def _input_texts(examples: pd.DataFrame) -> pa.LargeStringArray:
    """Canonical JSON of the input of each example, as `audiodata.assembly.shard_fingerprint` has it, and a comma."""
    parts = ((before, _written(examples[name], write)) for before, name, write in _PARTS)
    return joined(*itertools.chain.from_iterable(parts), "]],")


def _written(column: pd.Series, write: Callable[[pd.Series], pa.LargeStringArray]) -> str | pa.LargeStringArray:
    """Write a column, once where it is the same in every row, as most columns of most tables are."""
    is_same = len(column) > 1 and column.iloc[0] == column.iloc[-1] and bool((column == column.iloc[0]).all())
    return write(column.iloc[:1])[0].as_py() if is_same else write(column)


def _text(column: pd.Series) -> pa.LargeStringArray:
    return json_texts(column, ensure_ascii=False)


def _number(column: pd.Series) -> pa.LargeStringArray:
    return json_numbers(column.to_numpy())


def _hash(column: pd.Series) -> pa.LargeStringArray:
    return json_hashes(pa.array(column))


def _channels(column: pd.Series) -> pa.LargeStringArray:
    return each(column, lambda text: json.dumps([int(channel) for channel in text.split(",") if text], separators=(",", ":")))


def _partner(column: pd.Series) -> pa.LargeStringArray:
    return each(column, lambda text: f",{canonical_json(described_clip(read_partner(text)))}" if text else "")


_PARTS = (  # of the text of an example, in order: what stands before a column, its name, and what writes it
    ("[", "example_id", _text),
    (",", "sha256", _hash),
    (",[", "file_start_s", _number),
    (",", "clip_duration_s", _number),
    (",", "index", _number),
    (",", "channels", _channels),
    (",", "item", _text),
    (",", "reader", _text),
    ("]", "partner", _partner),
    (",", "start_sample", _number),
    (",", "valid", _number),
    (",[", "label_index", _number),
    (",", "azimuth_deg", _number),
)
