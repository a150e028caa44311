"""The plan of a cache: from the clips table and what inspection found to every example's place and every shard's task.

Pure functions of catalog, table and inspections: no file is touched, and nothing depends on the order in which anything was found.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from audiodata.assembly import ShardDraft, ShardTask, shard_fingerprint
from audiodata.build_settings import AddedNoise, BuildSettings
from audiodata.catalog import ArraySettings, AudioSettings, Catalog
from audiodata.clips import class_names
from audiodata.datasets import dataset_settings
from audiodata.errors import CatalogError, MetadataError
from audiodata.events.record import MICROSECONDS_PER_SECOND, Sense, SensorSize
from audiodata.events.spans import sensors_of
from audiodata.features import FEATURES, at_sample_rate, at_window
from audiodata.layout import cut_segments, place
from audiodata.noise_bank import NoiseRecording
from audiodata.records import ClipSpan, ExampleSpan, Inspection, Truth, read_partner
from audiodata.timing import resampled_length, samples_to_seconds, seconds_to_samples
from audiodata.verdicts import common_value

LONGEST_UNCUT_S = 60.0


class BuildPlan(NamedTuple):
    """What is to be built.

    Attributes
    ----------
    catalog : Catalog
    settings : BuildSettings
    ledger : DataFrame
        ``clip_id, status, reason, detail``: a row an input clip.
    examples : DataFrame
        A row an example with its place (``shard, row``) and its input (path, span, SHA-256).
    """

    catalog: Catalog
    settings: BuildSettings
    ledger: pd.DataFrame
    examples: pd.DataFrame


def plan_cache(
    catalog: Catalog,
    table: pd.DataFrame,
    inspections: Mapping[str, Inspection],
    verdicts: pd.DataFrame,
    recordings: tuple[NoiseRecording, ...] = (),
) -> BuildPlan:
    """Decide what the cache holds.

    Parameters
    ----------
    catalog : Catalog
    table : DataFrame
        The clips table with its ``split``.
    inspections : mapping of str to Inspection
        By clip id, for every candidate.
    verdicts : DataFrame
        Of `audiodata.verdicts.judge`.
    recordings : tuple of NoiseRecording
        What the catalog's ``[noise]`` names.
    """
    ledger = verdicts.copy()
    fine = table[(ledger["status"] == "ok").to_numpy()].copy()
    if fine.empty:
        raise MetadataError(f"no clip is fit for use ({summary(ledger)}); check the data root and the catalog's [select] and [clean]{_first(ledger)}")
    settings = _resolve(catalog, table, fine["clip_id"], inspections)._replace(noise=_noise(catalog, recordings))
    fine["sha256"] = [inspections[clip_id].sha256 for clip_id in fine["clip_id"]]
    fine["samples"] = _lengths(fine["clip_id"], inspections, settings)
    examples = _cut(fine, settings)
    ledger = _reject_uncut(ledger, fine, examples, settings)
    examples["label_index"] = _label_indices(examples, settings)
    return BuildPlan(catalog, settings, ledger, place(examples, catalog.shards.examples))


def _first(ledger: pd.DataFrame) -> str:
    """What is wrong with the first clip that could not be used, for a message."""
    wrong = ledger[ledger["status"].isin(["failed", "rejected"])].head(1)
    return "".join(f"; the first of them, {row.clip_id}: {row.detail}" for row in wrong.itertuples() if row.detail)


def draft_shards(
    catalog: Catalog,
    table: pd.DataFrame,
    root: str,
    folder: str,
    recordings: tuple[NoiseRecording, ...] = (),
    sensors: Mapping[Sense, SensorSize] | None = None,
) -> list[ShardDraft]:
    """Guess the shards of a plan from the table alone, so that clips can be inspected and made into examples in one pass.

    Possible where the catalog leaves nothing to the files: sound with its rate, channels and segment length; events with their segment
    length, and `sensors` as the first clip has them. The guess is that every candidate is fit for use and as long as the table says (as a
    segment where it does not say); where it is wrong, the plan has other fingerprints and the shards are made again.
    """
    settings = _drafted_settings(catalog, table, sensors)
    if settings is None:
        return []
    settings = settings._replace(noise=_noise(catalog, recordings))
    clips = table[table["reason"] == ""].copy()
    clips["samples"] = (clips["duration_s"] * settings.sample_rate).fillna(settings.length).astype("int64")
    clips["label_index"] = _label_indices(clips, settings)
    placed = place(_cut(clips, settings), catalog.shards.examples).drop_duplicates("clip_id")
    return [
        ShardDraft(
            root, folder, file, rows["split"].iloc[0], settings.of_split(rows["split"].iloc[0]), catalog.clean,
            tuple((_clip_span(row), _truth(row)) for row in rows.itertuples(index=False)),
        )
        for file, rows in placed.groupby("shard", sort=True)
    ]


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
    for file, rows in plan.examples.groupby("shard", sort=True):
        examples = tuple(_example_span(row) for row in rows.itertuples(index=False))
        split = rows["split"].iloc[0]
        settings = plan.settings.of_split(split)
        yield ShardTask(root, folder, file, split, shard_fingerprint(settings, examples), settings, examples)


def clip_spans(table: pd.DataFrame) -> Iterator[ClipSpan]:
    """Where the candidates of a clips table lie, ordered by file so that a long recording is read in one go."""
    wanted = table[table["reason"] == ""].sort_values(["path", "file_start_s", "clip_id"], kind="stable")
    return (_clip_span(row) for row in _unambiguous(wanted).itertuples(index=False))


def _unambiguous(clips: pd.DataFrame) -> pd.DataFrame:
    """Rename the columns that examples have under the same name, or that named tuples have as methods."""
    return clips.rename(columns={"duration_s": "clip_duration_s", "index": "index_in_file"})


def _clip_span(row: tuple) -> ClipSpan:
    return ClipSpan(
        row.clip_id,
        row.path,
        float(row.file_start_s),
        None if pd.isna(row.clip_duration_s) else float(row.clip_duration_s),
        int(row.index_in_file),
        tuple(int(channel) for channel in row.channels.split(",")) if row.channels else (),
        tuple(row.more_paths.split("|")) if row.more_paths else (),
        row.item,
        row.reader,
        read_partner(row.partner) if row.partner else None,
    )


def _truth(row: tuple) -> Truth:
    return Truth(int(row.label_index), None if pd.isna(row.azimuth_deg) else float(row.azimuth_deg))


def _label_indices(rows: pd.DataFrame, settings: BuildSettings) -> pd.Series:
    index = {name: number for number, name in enumerate(settings.classes)}
    return rows["label"].map(index).fillna(-1).astype("int64")


def _example_span(row: tuple) -> ExampleSpan:
    return ExampleSpan(row.example_id, _clip_span(row), row.sha256, int(row.start_sample), int(row.valid), _truth(row))


def _resolve(catalog: Catalog, table: pd.DataFrame, clip_ids: pd.Series, inspections: Mapping[str, Inspection]) -> BuildSettings:
    """Fill in what the catalog leaves to the files."""
    if _kind(catalog) == "image":
        return _image_settings(catalog, table, common_value(inspections, clip_ids, "shape", "dataset"))
    if _kind(catalog) == "events":
        sensors = sensors_of(common_value(inspections, clip_ids, "shape", "dataset"))
        return _event_settings(catalog, table, sensors, _segment_length(catalog, clip_ids, inspections, MICROSECONDS_PER_SECOND))
    sample_rate = catalog.audio.sample_rate or common_value(inspections, clip_ids, "sample_rate", "[audio] sample_rate")
    channels = catalog.audio.channels or common_value(inspections, clip_ids, "channels", "[audio] channels")
    return _audio_settings(catalog, table, sample_rate, channels, _segment_length(catalog, clip_ids, inspections, sample_rate))


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


def _segment_length(catalog: Catalog, clip_ids: pd.Series, inspections: Mapping[str, Inspection], sample_rate: int) -> int:
    """Length of an example in samples: the catalog's, or that of the longest clip where clips are short enough to be examples."""
    if catalog.segment.length_s is not None:
        return seconds_to_samples(catalog.segment.length_s, sample_rate)
    lengths = [resampled_length(inspections[clip_id].samples, inspections[clip_id].sample_rate, sample_rate) for clip_id in clip_ids]
    longest = int(np.argmax(lengths))
    if min(lengths) < max(lengths) > LONGEST_UNCUT_S * sample_rate:
        raise CatalogError(
            f"clips are up to {samples_to_seconds(lengths[longest], sample_rate):g} s long ({clip_ids.iloc[longest]}) and differ; "
            "set `length_s` in [segment] to say how long an example is"
        )
    return lengths[longest]


def _lengths(clip_ids: pd.Series, inspections: Mapping[str, Inspection], settings: BuildSettings) -> list[int]:
    found = (inspections[clip_id] for clip_id in clip_ids)
    if settings.kind == "image":
        return [1 for _ in found]
    return [resampled_length(one.samples, one.sample_rate, settings.sample_rate) for one in found]


def _cut(fine: pd.DataFrame, settings: BuildSettings) -> pd.DataFrame:
    return cut_segments(
        _unambiguous(fine), length=settings.length, hop=settings.hop, min_fill=settings.min_fill, sample_rate=settings.sample_rate or 1
    )


def _reject_uncut(ledger: pd.DataFrame, fine: pd.DataFrame, examples: pd.DataFrame, settings: BuildSettings) -> pd.DataFrame:
    """Clips that gave no example are too short for one; only the policy "drop" has them."""
    uncut = fine.loc[~fine["clip_id"].isin(examples["clip_id"].unique()), ["clip_id", "samples"]]
    if uncut.empty:
        return ledger
    rate = settings.sample_rate
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
