"""The plan of a cache: from the clips table and what inspection found to every example's place and every shard's task.

Pure functions of catalog, table and inspections: no file is touched, and nothing depends on the order in which anything was found.
"""

import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from audiodata.assembly import ShardDraft, ShardTask
from audiodata.build_settings import BuildSettings
from audiodata.catalog import Catalog
from audiodata.errors import MetadataError
from audiodata.events.record import Sense, SensorSize
from audiodata.findings import Findings, as_arrow
from audiodata.layout import clip_hashes, cut_segments, place, shard_counts, shard_numbers
from audiodata.noise_bank import NoiseRecording
from audiodata.records import ClipSpan, ExampleSpan, Truth, read_partner
from audiodata.resolved_settings import clip_lengths, drafted_settings, resolve
from audiodata.shard_inputs import PlannedShard, planned_shards, shard_spans
from audiodata.timing import samples_to_seconds, segment_count

SPANS_AT_ONCE = 10_000
_SPAN_COLUMNS = ["clip_id", "path", "file_start_s", "duration_s", "index", "channels", "more_paths", "item", "reader", "partner"]
_COLUMNS_OF_EXAMPLES = [*_SPAN_COLUMNS, "group_id", "start_s", "label", "labels", "azimuth_deg", "split"]


class BuildPlan(NamedTuple):
    """What is to be built.

    Attributes
    ----------
    catalog : Catalog
    settings : BuildSettings
    ledger : DataFrame
        ``clip_id, status, reason, detail``: a row an input clip.
    examples : DataFrame
        A row an example with its place (``shard, row``) and its input (path, span, SHA-256 as bytes), in the order of shards and rows.
    """

    catalog: Catalog
    settings: BuildSettings
    ledger: pd.DataFrame
    examples: pd.DataFrame


def plan_cache(
    catalog: Catalog, table: pd.DataFrame, findings: Findings, verdicts: pd.DataFrame, recordings: tuple[NoiseRecording, ...] = ()
) -> BuildPlan:
    """Decide what the cache holds.

    Parameters
    ----------
    catalog : Catalog
    table : DataFrame
        The clips table with its ``split``.
    findings : Findings
        Of every candidate.
    verdicts : DataFrame
        Of `audiodata.verdicts.judge`.
    recordings : tuple of NoiseRecording
        What the catalog's ``[noise]`` names.
    """
    ledger = verdicts.copy()
    rows = np.flatnonzero((ledger["status"] == "ok").to_numpy())
    if len(rows) == 0:
        raise MetadataError(f"no clip is fit for use ({summary(ledger)}); check the data root and the catalog's [select] and [clean]{_first(ledger)}")
    settings = resolve(catalog, table, rows, findings, recordings)
    fine = table[_COLUMNS_OF_EXAMPLES].take(rows)
    fine["samples"] = clip_lengths(rows, findings, settings)
    fine["sha256"] = pd.arrays.ArrowExtensionArray(pa.chunked_array([findings.hashes(rows)]))
    examples = _cut(fine, settings)
    ledger = _reject_uncut(ledger, fine, settings)
    examples["label_index"] = _label_indices(examples, settings)
    return BuildPlan(catalog, settings, ledger, place(examples.drop(columns="samples"), catalog.shards.examples))


def _first(ledger: pd.DataFrame) -> str:
    """What is wrong with the first clip that could not be used, for a message."""
    wrong = ledger[ledger["status"].isin(["failed", "rejected"])].head(1)
    return "".join(f"; the first of them, {row.clip_id}: {row.detail}" for row in wrong.itertuples() if row.detail)


class DraftPlan(NamedTuple):
    """Shards that may be made before the plan is known.

    Attributes
    ----------
    catalog : Catalog
    settings : BuildSettings
    clips : DataFrame
        A row a clip with its ``shard``, in the order of the shards and of their rows.
    """

    catalog: Catalog
    settings: BuildSettings
    clips: pd.DataFrame


def draft_plan(
    catalog: Catalog,
    table: pd.DataFrame,
    fresh: np.ndarray,
    recordings: tuple[NoiseRecording, ...] = (),
    sensors: Mapping[Sense, SensorSize] | None = None,
) -> DraftPlan | None:
    """Guess the shards of a plan from the table alone, so that clips can be inspected and made into examples in one pass.

    Possible where the catalog leaves nothing to the files: sound with its rate, channels and segment length; events with their segment
    length, and `sensors` as the first clip has them. The guess is that every candidate is fit for use and as long as the table says (as a
    segment where it does not say); where it is wrong, the plan has other fingerprints and the shards are made again.

    Parameters
    ----------
    catalog, table, recordings
        As of `plan_cache`.
    fresh : array of bool, shape [clip]
        Clips that have never been inspected: a shard with another clip in it is left out.
    sensors : mapping, optional
        Sizes of the sensors of events.
    """
    settings = drafted_settings(catalog, table, sensors, recordings) if fresh.any() else None
    if settings is None:
        return None
    candidates = np.flatnonzero((table["reason"] == "").to_numpy(dtype=bool))
    clips = table[_COLUMNS_OF_EXAMPLES].take(candidates)
    clips["samples"] = (clips["duration_s"] * settings.sample_rate).fillna(settings.length).astype("int64")
    aimed = catalog.shards.examples
    examples = segment_count(clips["samples"].to_numpy(), settings.length, settings.hop, settings.min_fill)
    counts = shard_counts(clips["split"], examples, aimed)
    clips = clips[(examples > 0) & _in_fresh_shards(clips, fresh[candidates] | (examples == 0), counts)]
    placed = place(_cut(clips, settings), aimed, counts).drop_duplicates("clip_id", ignore_index=True)
    return DraftPlan(catalog, settings, placed)


def _in_fresh_shards(clips: pd.DataFrame, fresh: np.ndarray, counts: Mapping[str, int]) -> np.ndarray:
    """Whether all clips of a clip's shard are fresh; bool [clip]."""
    if fresh.all():
        return fresh
    hashes, found = clip_hashes(clips["clip_id"]), fresh.copy()
    for split, rows in clips.groupby("split").indices.items():
        numbers = shard_numbers(hashes[rows], counts[split])
        has_known = np.bincount(numbers[~fresh[rows]], minlength=counts[split]) > 0
        found[rows] = ~has_known[numbers]
    return found


def shard_drafts(drafted: DraftPlan, root: str, folder: str) -> Iterator[ShardDraft]:
    """Make the draft of each shard, one at a time, in the order of their names."""
    for file, split, begin, end in shard_spans(drafted.clips):
        settings, rows = drafted.settings.of_split(split), drafted.clips.iloc[begin:end]
        truths = _truths(_label_indices(rows, settings), rows["azimuth_deg"])
        clips = tuple(zip(_spans(rows, "clip_duration_s"), truths, strict=True))
        yield ShardDraft(root, folder, file, split, settings, drafted.catalog.clean, clips)


def summary(ledger: pd.DataFrame) -> str:
    """Return the ledger in one line: how many clips have which status and reason, the most frequent first."""
    counts = ledger.value_counts(["status", "reason"])
    return ", ".join(f"{count} {status}" + (f" {reason}" if reason else "") for (status, reason), count in counts.items()) or "no clips"


def shard_tasks(plan: BuildPlan, root: str, folder: str) -> Iterator[ShardTask]:
    """Make the task of each shard, one at a time, in the order of their names."""
    for shard in planned_shards(plan.examples, plan.settings):
        yield shard_task(plan, shard, root, folder)


def shard_task(plan: BuildPlan, shard: PlannedShard, root: str, folder: str) -> ShardTask:
    """Make the task of a shard."""
    examples = tuple(_example_spans(shard.rows))
    return ShardTask(root, folder, shard.file, shard.split, shard.fingerprint, plan.settings.of_split(shard.split), examples)


def clip_spans(table: pd.DataFrame) -> Iterator[ClipSpan]:
    """Where the candidates of a clips table lie, ordered by file so that a long recording is read in one go."""
    return spans_at(table, rows_by_file(table, (table["reason"] == "").to_numpy(dtype=bool)))


def rows_by_file(table: pd.DataFrame, wanted: np.ndarray) -> np.ndarray:
    """Rows of the clips that are wanted (bool [clip]), in the order of their files and of their places in them."""
    rows = np.flatnonzero(wanted)
    keys = pa.table({name: pa.array(table[name].take(rows)) for name in ("path", "file_start_s", "clip_id")})
    return rows[pc.sort_indices(keys, [(name, "ascending") for name in keys.column_names]).to_numpy()]


def spans_at(table: pd.DataFrame, rows: np.ndarray) -> Iterator[ClipSpan]:
    """Where clips of a table lie, one after the other in the order of `rows`."""
    for at in range(0, len(rows), SPANS_AT_ONCE):
        yield from _spans(table[_SPAN_COLUMNS].take(rows[at : at + SPANS_AT_ONCE]))


def _spans(clips: pd.DataFrame, duration: str = "duration_s") -> Iterator[ClipSpan]:
    columns = [clips[duration if name == "duration_s" else name].to_numpy().tolist() for name in _SPAN_COLUMNS]
    for clip_id, path, start_s, duration_s, index, channels, more_paths, item, reader, partner in zip(*columns, strict=True):
        yield ClipSpan(
            clip_id,
            path,
            start_s,
            None if math.isnan(duration_s) else duration_s,
            index,
            tuple(int(channel) for channel in channels.split(",")) if channels else (),
            tuple(more_paths.split("|")) if more_paths else (),
            item,
            reader,
            read_partner(partner) if partner else None,
        )


def _truths(label_indices: pd.Series, azimuths_deg: pd.Series) -> Iterator[Truth]:
    for label_index, azimuth_deg in zip(label_indices.tolist(), azimuths_deg.tolist(), strict=True):
        yield Truth(label_index, None if math.isnan(azimuth_deg) else azimuth_deg)


def _example_spans(rows: pd.DataFrame) -> Iterator[ExampleSpan]:
    clips, truths = _spans(rows, "clip_duration_s"), _truths(rows["label_index"], rows["azimuth_deg"])
    own = zip(*(rows[name].tolist() for name in ("example_id", "sha256", "start_sample", "valid")), strict=True)
    for (example_id, sha256, start_sample, valid), clip, truth in zip(own, clips, truths, strict=True):
        yield ExampleSpan(example_id, clip, sha256.hex(), start_sample, valid, truth)


def _label_indices(rows: pd.DataFrame, settings: BuildSettings) -> pd.Series:
    index = pc.index_in(as_arrow(rows["label"]), value_set=pa.array(settings.classes, pa.large_string()))
    return pd.Series(index.fill_null(-1).to_numpy().astype(np.int64), index=rows.index)


def _cut(fine: pd.DataFrame, settings: BuildSettings) -> pd.DataFrame:
    clips = fine.rename(columns={"duration_s": "clip_duration_s"})  # examples have a duration of their own
    return cut_segments(clips, length=settings.length, hop=settings.hop, min_fill=settings.min_fill, sample_rate=settings.sample_rate or 1)


def _reject_uncut(ledger: pd.DataFrame, fine: pd.DataFrame, settings: BuildSettings) -> pd.DataFrame:
    """Clips that give no example are too short for one; only the policy "drop" has them."""
    cut = segment_count(fine["samples"].to_numpy(), settings.length, settings.hop, settings.min_fill) > 0
    if cut.all():
        return ledger
    uncut, rate = fine.loc[~cut, ["clip_id", "samples"]], settings.sample_rate
    at = ledger["clip_id"].isin(uncut["clip_id"])
    ledger.loc[at, ["status", "reason"]] = ["rejected", "too_short"]
    ledger.loc[at, "detail"] = [
        f"{samples_to_seconds(samples, rate):g} s is shorter than a segment of {samples_to_seconds(settings.length, rate):g} s"
        for samples in uncut["samples"]
    ]
    return ledger


