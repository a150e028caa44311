"""The shards of a plan with their fingerprints, in columns: those of `audiodata.assembly.shard_fingerprint`, without a record for each example."""

import json
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from audiodata.assembly import described_clip, frame_of_inputs
from audiodata.build_settings import BuildSettings
from audiodata.fingerprint import canonical_json, hash_bytes
from audiodata.json_columns import each, joined, json_hashes, json_numbers, json_texts
from audiodata.records import read_partner

EXAMPLES_AT_ONCE = 50_000


class PlannedShard(NamedTuple):
    """A shard of a plan.

    Attributes
    ----------
    file, split, fingerprint : str
    rows : DataFrame
        Its examples, in order.
    """

    file: str
    split: str
    fingerprint: str
    rows: pd.DataFrame


def planned_shards(examples: pd.DataFrame, settings: BuildSettings) -> Iterator[PlannedShard]:
    """Yield the shards of a plan in the order of their names.

    Parameters
    ----------
    examples : DataFrame
        Of `audiodata.planning.BuildPlan`.
    settings : BuildSettings
    """
    frames = {split: frame_of_inputs(settings.of_split(split)) for split in examples["split"].unique()}
    some: list[tuple[str, str, pd.DataFrame]] = []
    begin = end = 0
    for shard in by_shard(examples):
        some.append(shard)
        end += len(shard[2])
        if end - begin >= EXAMPLES_AT_ONCE or end == len(examples):
            yield from _with_fingerprints(some, input_texts(examples.iloc[begin:end]), frames)
            some, begin = [], end


def by_shard(placed: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """File name, split and rows of each shard of a table that is in the order of its shards."""
    codes, files = pd.factorize(placed["shard"])
    ends = np.searchsorted(codes, np.arange(len(files)), side="right")
    for file, start, end in zip(files, [0, *ends], ends, strict=False):
        rows = placed.iloc[start:end]
        yield str(file), str(rows["split"].iloc[0]), rows


def _with_fingerprints(
    shards: list[tuple[str, str, pd.DataFrame]], inputs: pa.LargeStringArray, frames: dict[str, tuple[bytes, bytes]]
) -> Iterator[PlannedShard]:
    ends = np.cumsum([0, *(len(rows) for _, _, rows in shards)], dtype=np.int32)
    together = pc.binary_join(pa.ListArray.from_arrays(ends, inputs), pa.scalar(",", inputs.type)).to_pylist()
    for (file, split, rows), text in zip(shards, together, strict=True):
        before, after = frames[split]
        yield PlannedShard(file, split, hash_bytes(before + b"[" + text.encode("utf-8") + b"]" + after), rows)


def input_texts(examples: pd.DataFrame) -> pa.LargeStringArray:
    """Canonical JSON of the input of each example, as `audiodata.assembly.shard_fingerprint` has it."""
    numbers = {name: json_numbers(examples[name].to_numpy()) for name in
               ("file_start_s", "clip_duration_s", "index", "start_sample", "valid", "label_index", "azimuth_deg")}
    item, reader, example_id = (json_texts(examples[name], ensure_ascii=False) for name in ("item", "reader", "example_id"))
    channels = each(examples["channels"], lambda text: json.dumps([int(channel) for channel in text.split(",") if text], separators=(",", ":")))
    clip = joined(numbers["file_start_s"], numbers["clip_duration_s"], numbers["index"], channels, item, reader, by=",")
    partner = each(examples["partner"], lambda text: f",{canonical_json(described_clip(read_partner(text)))}" if text else "")
    truth = joined("[", numbers["label_index"], ",", numbers["azimuth_deg"], "]")
    recordings = joined("[", clip, "]", partner)
    sha256 = json_hashes(pa.array(examples["sha256"]))
    return joined("[", joined(example_id, sha256, recordings, numbers["start_sample"], numbers["valid"], truth, by=","), "]")
