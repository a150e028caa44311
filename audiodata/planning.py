"""The plan of a cache: from the clips table and what inspection found to every example's place and every shard's task.

Pure functions of catalog, table and inspections: no file is touched, and nothing depends on the order in which anything was found.
"""

import math
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from audiodata.assembly import ShardDraft, ShardTask, shard_fingerprint
from audiodata.build_settings import AddedNoise, BuildSettings
from audiodata.catalog import ArraySettings, AudioSettings, Catalog
from audiodata.clips import class_names
from audiodata.datasets import dataset_settings
from audiodata.errors import CatalogError, MetadataError
from audiodata.events.record import MICROSECONDS_PER_SECOND, Sense, SensorSize
from audiodata.events.spans import sensors_of
from audiodata.features import FEATURES, at_sample_rate, at_window
from audiodata.findings import Findings, as_arrow
from audiodata.layout import cut_segments, place
from audiodata.noise_bank import NoiseRecording
from audiodata.records import ClipSpan, ExampleSpan, Truth, read_partner
from audiodata.timing import resampled_length, samples_to_seconds, seconds_to_samples
from audiodata.verdicts import common_value

LONGEST_UNCUT_S = 60.0
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
    settings = _resolve(catalog, table, rows, findings)._replace(noise=_noise(catalog, recordings))
    fine = table[_COLUMNS_OF_EXAMPLES].take(rows)
    fine["samples"] = _lengths(rows, findings, settings)
    fine["sha256"] = pd.arrays.ArrowExtensionArray(pa.chunked_array([findings.hashes(rows)]))
    examples = _cut(fine, settings)
    ledger = _reject_uncut(ledger, fine, examples, settings)
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
    settings = _drafted_settings(catalog, table, sensors) if fresh.any() else None
    if settings is None:
        return None
    settings = settings._replace(noise=_noise(catalog, recordings))
    candidates = np.flatnonzero((table["reason"] == "").to_numpy(dtype=bool))
    clips = table[_COLUMNS_OF_EXAMPLES].take(candidates)
    clips["samples"] = (clips["duration_s"] * settings.sample_rate).fillna(settings.length).astype("int64")
    clips["fresh"] = fresh[candidates]
    placed = place(_cut(clips, settings), catalog.shards.examples).drop_duplicates("clip_id", ignore_index=True)
    all_fresh = placed["fresh"].groupby(placed["shard"]).transform("all").to_numpy(dtype=bool)
    return DraftPlan(catalog, settings, placed[all_fresh].reset_index(drop=True))


def shard_drafts(drafted: DraftPlan, root: str, folder: str) -> Iterator[ShardDraft]:
    """Make the draft of each shard, one at a time, in the order of their names."""
    for file, split, rows in _by_shard(drafted.clips):
        settings = drafted.settings.of_split(split)
        truths = _truths(_label_indices(rows, settings), rows["azimuth_deg"])
        clips = tuple(zip(_spans(rows, "clip_duration_s"), truths, strict=True))
        yield ShardDraft(root, folder, file, split, settings, drafted.catalog.clean, clips)


def _drafted_settings(catalog: Catalog, table: pd.DataFrame, sensors: Mapping[Sense, SensorSize] | None) -> BuildSettings | None:
    kind, length_s = _kind(catalog), catalog.segment.length_s
    if kind == "events" and sensors and length_s:
        return _event_settings(catalog, table, dict(sensors), seconds_to_samples(length_s, MICROSECONDS_PER_SECOND))
    if kind == "audio" and catalog.audio.sample_rate and catalog.audio.channels and length_s:
        length = seconds_to_samples(length_s, catalog.audio.sample_rate)
        return _audio_settings(catalog, table, catalog.audio.sample_rate, catalog.audio.channels, length)
    return None


def summary(ledger: pd.DataFrame) -> str:
    """Return the ledger in one line: how many clips have which status and reason, the most frequent first."""
    counts = ledger.value_counts(["status", "reason"])
    return ", ".join(f"{count} {status}" + (f" {reason}" if reason else "") for (status, reason), count in counts.items()) or "no clips"


def shard_tasks(plan: BuildPlan, root: str, folder: str) -> Iterator[ShardTask]:
    """Make the task of each shard, one at a time, in the order of their names."""
    for file, split, rows in _by_shard(plan.examples):
        examples = tuple(_example_spans(rows))
        settings = plan.settings.of_split(split)
        yield ShardTask(root, folder, file, split, shard_fingerprint(settings, examples), settings, examples)


def _by_shard(placed: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """File name, split and rows of each shard of a table that is in the order of its shards."""
    codes, files = pd.factorize(placed["shard"])
    ends = np.searchsorted(codes, np.arange(len(files)), side="right")
    for file, start, end in zip(files, [0, *ends], ends, strict=False):
        rows = placed.iloc[start:end]
        yield str(file), str(rows["split"].iloc[0]), rows


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
    index = {name: number for number, name in enumerate(settings.classes)}
    return rows["label"].map(index).fillna(-1).astype("int64")


def _resolve(catalog: Catalog, table: pd.DataFrame, rows: np.ndarray, findings: Findings) -> BuildSettings:
    """Fill in what the catalog leaves to the files."""
    common = partial(common_value, findings, rows, table["clip_id"])
    if _kind(catalog) == "image":
        return _image_settings(catalog, table, common("shape", "dataset"))
    if _kind(catalog) == "events":
        sensors = sensors_of(common("shape", "dataset"))
        return _event_settings(catalog, table, sensors, _segment_length(catalog, table, rows, findings, MICROSECONDS_PER_SECOND))
    sample_rate = catalog.audio.sample_rate or common("sample_rate", "[audio] sample_rate")
    channels = catalog.audio.channels or common("channels", "[audio] channels")
    return _audio_settings(catalog, table, sample_rate, channels, _segment_length(catalog, table, rows, findings, sample_rate))


def _kind(catalog: Catalog) -> str:
    return dataset_settings(catalog.dataset)[0].kind


def _image_settings(catalog: Catalog, table: pd.DataFrame, shape: tuple[int, ...]) -> BuildSettings:
    classes = tuple(class_names(table, catalog.select.classes))
    return BuildSettings("image", 0, 1, 1, 1, 0.0, shape, "zero", catalog.features, catalog.compute.fft, classes, ("label", "length"))


def _event_settings(catalog: Catalog, table: pd.DataFrame, sensors: dict[str, SensorSize], length: int) -> BuildSettings:
    """Events are a signal of one sample a microsecond."""
    _check_senses(catalog, sensors)
    _check_no_sound(catalog)
    cut = _cutting(catalog, MICROSECONDS_PER_SECOND, length)
    window_s = samples_to_seconds(length, MICROSECONDS_PER_SECOND)
    features = {name: at_window(config, window_s) for name, config in catalog.features.items()}
    return BuildSettings(
        kind="events", channels=len(sensors), image_shape=(), features=features, fft=catalog.compute.fft,
        classes=tuple(class_names(table, catalog.select.classes)), targets=("label", "length"), sensors=sensors, **cut,
    )


def _check_no_sound(catalog: Catalog) -> None:
    about_sound = {"audio": catalog.audio != AudioSettings(), "noise": catalog.noise is not None, "array": catalog.array != ArraySettings()}
    for name, given in about_sound.items():
        if given:
            raise CatalogError(f"[{name}]: says nothing about recordings of events; leave the table out")


def _check_senses(catalog: Catalog, sensors: Mapping[Sense, SensorSize]) -> None:
    for name in catalog.features:
        source = FEATURES[name].source
        if source not in sensors:
            has = f"{' and '.join(sensors)} events"
            needed = f"a {source}" if source in ("waveform", "image") else f"{source} events"
            raise CatalogError(f"[features.{name}]: is made of {needed}, the clips have {has}; leave it out")


def _cutting(catalog: Catalog, sample_rate: int, length: int) -> dict[str, Any]:
    """How clips are cut, in samples of `sample_rate`."""
    segment = catalog.segment
    hop = seconds_to_samples(segment.hop_s, sample_rate) if segment.hop_s else length
    min_fill = 1.0 if segment.short == "drop" else segment.min_fill
    return {"sample_rate": sample_rate, "length": length, "hop": hop, "min_fill": min_fill, "short": segment.short}


def _audio_settings(catalog: Catalog, table: pd.DataFrame, sample_rate: int, channels: int, length: int) -> BuildSettings:
    _check_array(catalog, channels)
    return BuildSettings(
        kind="audio",
        channels=channels,
        image_shape=(),
        features={name: at_sample_rate(config, sample_rate) for name, config in catalog.features.items()},
        fft=catalog.compute.fft,
        classes=tuple(class_names(table, catalog.select.classes)),
        targets=_targets(table),
        **_cutting(catalog, sample_rate, length),
    )


def _targets(table: pd.DataFrame) -> tuple[str, ...]:
    located = table.loc[table["reason"] == "", "azimuth_deg"].notna().any()
    return ("label", "length", "azimuth_deg") if located else ("label", "length")


def _check_array(catalog: Catalog, channels: int) -> None:
    positions = catalog.array.positions_m
    if positions is not None and len(positions) != channels:
        raise CatalogError(
            f"[array] positions_m has {len(positions)} positions, the clips have {channels} channels; give one position for each channel "
            "(and `channels` in [audio])"
        )


def _segment_length(catalog: Catalog, table: pd.DataFrame, rows: np.ndarray, findings: Findings, sample_rate: int) -> int:
    """Length of an example in samples: the catalog's, or that of the longest clip where clips are short enough to be examples."""
    if catalog.segment.length_s is not None:
        return seconds_to_samples(catalog.segment.length_s, sample_rate)
    lengths = _resampled(rows, findings, sample_rate)
    longest = int(np.argmax(lengths))
    if lengths.min() < lengths.max() > LONGEST_UNCUT_S * sample_rate:
        raise CatalogError(
            f"clips are up to {samples_to_seconds(int(lengths[longest]), sample_rate):g} s long ({table['clip_id'].iloc[rows[longest]]}) and differ; "
            "set `length_s` in [segment] to say how long an example is"
        )
    return int(lengths[longest])


def _lengths(rows: np.ndarray, findings: Findings, settings: BuildSettings) -> np.ndarray:
    return np.ones(len(rows), dtype=np.int64) if settings.kind == "image" else _resampled(rows, findings, settings.sample_rate)


def _resampled(rows: np.ndarray, findings: Findings, sample_rate: int) -> np.ndarray:
    """Lengths of clips at a sample rate; each different one is computed once."""
    pairs, which = np.unique(np.stack([findings.samples[rows], findings.sample_rates(rows)]), axis=1, return_inverse=True)
    lengths = [resampled_length(int(samples), int(rate), sample_rate) for samples, rate in pairs.T]
    return np.array(lengths, dtype=np.int64)[which.ravel()]


def _cut(fine: pd.DataFrame, settings: BuildSettings) -> pd.DataFrame:
    clips = fine.rename(columns={"duration_s": "clip_duration_s"})  # examples have a duration of their own
    return cut_segments(clips, length=settings.length, hop=settings.hop, min_fill=settings.min_fill, sample_rate=settings.sample_rate or 1)


def _reject_uncut(ledger: pd.DataFrame, fine: pd.DataFrame, examples: pd.DataFrame, settings: BuildSettings) -> pd.DataFrame:
    """Clips that gave no example are too short for one; only the policy "drop" has them."""
    cut = pc.is_in(as_arrow(fine["clip_id"]), value_set=as_arrow(examples["clip_id"])).to_numpy(zero_copy_only=False)
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


def _noise(catalog: Catalog, recordings: tuple[NoiseRecording, ...]) -> AddedNoise | None:
    if catalog.noise is None:
        return None
    return AddedNoise(catalog.noise, recordings, catalog.array.positions_m, catalog.array.speed_of_sound_m_s)


def recorded_settings(
    catalog: Catalog, table: pd.DataFrame, recorded: Mapping[str, Any], recordings: tuple[NoiseRecording, ...] = ()
) -> BuildSettings:
    """Settings of a cache of sounds or events that has been built.

    Parameters
    ----------
    catalog : Catalog
    table : DataFrame
        The clips table.
    recorded : mapping
        ``sample_rate``, ``channels``, ``segment_samples`` and, of events, ``sensors``: the manifest's ``audio``.
    recordings : tuple of NoiseRecording
        What the catalog's ``[noise]`` names.
    """
    if _kind(catalog) == "events":
        sensors = {sense: tuple(size) for sense, size in recorded["sensors"].items()}
        return _event_settings(catalog, table, sensors, recorded["segment_samples"])
    settings = _audio_settings(catalog, table, recorded["sample_rate"], recorded["channels"], recorded["segment_samples"])
    return settings._replace(noise=_noise(catalog, recordings))
