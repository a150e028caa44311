"""One shard: from the clips that it names to a verified file, and the fingerprint that says whether that has to be done at all."""

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from audiodata import sources
from audiodata.build_settings import BuildSettings
from audiodata.cleaning import judge_clip
from audiodata.errors import CacheError, ClipError
from audiodata.features import FEATURES, feature_shape, numeric_versions
from audiodata.fingerprint import canonical_json, hash_bytes
from audiodata.kinds import KINDS, material_size
from audiodata.records import ClipSpan, ExampleSpan, Inspection, Truth
from audiodata.settings import Settings
from audiodata.shards import FORMAT_VERSION, Layout, ShardRecord, ShardWriter, read_fingerprint, read_shard_record
from audiodata.shards.scratch import find_scratch
from audiodata.timing import segment_spans


class ShardTask(NamedTuple):
    """Everything that a worker needs to make one shard.

    `scratch` as `audiodata.shards.scratch.find_scratch` takes it; `note` is the name of a file in `folder` that is there as long as the
    shard is wanted; empty: it is in any case.
    """

    root: str
    folder: str
    file: str
    split: str
    fingerprint: str
    settings: BuildSettings
    examples: tuple[ExampleSpan, ...]
    scratch: str = ""
    note: str = ""


class ShardDraft(NamedTuple):
    """A shard that may be made before the plan is known: its clips, each with what is true of it, in the order of its rows."""

    root: str
    folder: str
    file: str
    split: str
    settings: BuildSettings
    clean: Any
    clips: tuple[tuple[ClipSpan, Truth], ...]
    scratch: str = ""
    note: str = ""


Row = tuple[ExampleSpan, dict[str, np.ndarray]]
ROWS_AHEAD = 2  # examples per clip that a draft may hold in memory


def feature_layouts(settings: BuildSettings) -> dict[str, Layout]:
    """Shape, dtype, axes and unit of each feature, before any of it is computed."""
    return {name: _layout(name, config, settings) for name, config in settings.features.items()}


def _layout(name: str, config: Settings, settings: BuildSettings) -> Layout:
    feature = FEATURES[name]
    return Layout(feature_shape(name, config, *material_size(name, settings)), feature.dtype, feature.axes, feature.unit)


TARGETS = {
    "label": Layout((), "int64", (), "class index"),
    "length": Layout((), "int32", (), "samples"),
    "azimuth_deg": Layout((), "float32", (), "degrees"),
}


def target_layouts(settings: BuildSettings) -> dict[str, Layout]:
    """Shape, dtype, axes and unit of each target."""
    return {name: TARGETS[name] for name in settings.targets}


def _target_values(example: ExampleSpan, settings: BuildSettings) -> dict[str, float]:
    azimuth_deg = example.truth.azimuth_deg
    values = {
        "label": example.truth.label_index, "length": example.valid, "azimuth_deg": math.nan if azimuth_deg is None else azimuth_deg,
    }
    return {name: values[name] for name in settings.targets}


def shard_fingerprint(settings: BuildSettings, examples: tuple[ExampleSpan, ...]) -> str:
    """Hash of all that a shard's bytes depend on: format, settings, code and package versions, and every input.

    `audiodata.shard_inputs` does the same to a table.
    """
    before, after = frame_of_inputs(settings)
    inputs = [
        [one.example_id, one.sha256, *map(described_clip, one.clip.recordings), one.start_sample, one.valid, one.truth] for one in examples
    ]
    return hash_bytes(before + canonical_json(inputs).encode("utf-8") + after)


def frame_of_inputs(settings: BuildSettings) -> tuple[bytes, bytes]:
    """What stands before and after the inputs in the canonical JSON that a fingerprint is the hash of."""
    described = settings._asdict() | {"features": {
        name: {"version": FEATURES[name].version, "config": config.model_dump(mode="json")} for name, config in settings.features.items()
    }, "noise": settings.noise and settings.noise.described()}
    rest = canonical_json({"settings": described, "versions": numeric_versions(settings.fft, settings.features)})
    return f'{{"format_version":{FORMAT_VERSION},"inputs":'.encode(), f",{rest[1:]}".encode()


def described_clip(clip: ClipSpan) -> list:
    """Return what of a clip shapes its samples, besides the bytes of its files; their names do not."""
    return [clip.start_s, clip.duration_s, clip.index, clip.channels, clip.item, clip.reader]


def build_shard(task: ShardTask) -> ShardRecord:
    """Make one shard, or take over the one that is there when its fingerprint is this task's and its content is intact.

    Raises
    ------
    ClipError
        A file has changed or gone since it was inspected.
    """
    path = Path(task.folder) / task.file
    return _intact(path, task.fingerprint) or _write(path, task)


def _intact(path: Path, fingerprint: str) -> ShardRecord | None:
    if not path.exists():
        return None
    try:
        return read_shard_record(path) if read_fingerprint(path) == fingerprint else None
    except CacheError:
        return None


def _write(path: Path, task: ShardTask) -> ShardRecord:
    return _write_rows(path, task, task.fingerprint, _rows(task), len(task.examples))


def _write_rows(path: Path, task: ShardTask | ShardDraft, fingerprint: str, rows: Iterable[Row], count: int) -> ShardRecord:
    """Write a shard in scratch where there is one, else where it will lie."""
    layouts = {"features": feature_layouts(task.settings), "targets": target_layouts(task.settings)}
    scratch = find_scratch(task.scratch)
    note = path.with_name(task.note) if task.note else None
    writer = ShardWriter(path, fingerprint=fingerprint, split=task.split, examples=count, scratch=scratch, note=note, **layouts)
    with writer:
        for example, features in rows:
            writer.add(example.example_id, features, _target_values(example, task.settings))
    return writer.record


def _rows(task: ShardTask) -> Iterator[Row]:
    """Make the rows in order."""
    for example, material in example_materials(Path(task.root), task.examples, task.settings):
        yield example, KINDS[task.settings.kind].features(material, example.start_sample, task.settings)


def build_ahead(draft: ShardDraft) -> tuple[list[Inspection], ShardRecord | None]:
    """Inspect the clips of a shard and make it in the same pass, so that each is decoded once.

    Nothing is decided here for good: the plan comes after the inspections, and takes a shard made ahead only if its fingerprint is the
    planned one. So a duplicate in another shard, or a clip longer than expected, costs time and nothing else.

    Returns
    -------
    list of Inspection
        One a clip, in order.
    ShardRecord or None
        None where there is nothing to write, or more than was drafted.
    """
    root, inspections, rows = Path(draft.root), [], []
    for clip, truth in draft.clips:
        found, samples = sources.inspect(draft.settings.kind, root, clip)
        inspections.append(found)
        if samples is not None and judge_clip(found, clip.duration_s, draft.clean, draft.settings.channels)[0] == "ok":
            rows.extend(_rows_of(draft, root, clip, truth, found, samples))
        if len(rows) > ROWS_AHEAD * len(draft.clips):
            rows = []
            break
    inspections += [sources.inspect(draft.settings.kind, root, clip)[0] for clip, _ in draft.clips[len(inspections) :]]
    if not rows:
        return inspections, None
    fingerprint = shard_fingerprint(draft.settings, tuple(example for example, _ in rows))
    return inspections, _write_rows(Path(draft.folder) / draft.file, draft, fingerprint, rows, len(rows))


def _rows_of(draft: ShardDraft, root: Path, clip: ClipSpan, truth: Truth, found: Inspection, samples: sources.Samples) -> Iterator[Row]:
    settings, kind = draft.settings, KINDS[draft.settings.kind]
    prepared = kind.prepare(samples, settings)
    spans = segment_spans(kind.length(prepared), settings.length, settings.hop, settings.min_fill)
    for number, (start, valid) in enumerate(spans):
        example = ExampleSpan(f"{clip.clip_id}#{number}", clip, found.sha256, start, valid, truth)
        yield example, kind.features(kind.segment(root, prepared, example, settings), start, settings)


def _prepare(root: Path, example: ExampleSpan, settings: BuildSettings) -> Any:
    """Load a clip as the build wants it, and make sure that it is the one that was inspected."""
    if sources.input_hash(settings.kind, root, example.clip) != example.sha256:
        raise ClipError("unreadable", f"{example.clip.path}: changed while the cache was being built; run the build again")
    return KINDS[settings.kind].prepare(sources.SOURCES[settings.kind].load(root, example.clip), settings)


def example_materials(root: Path, examples: Iterable[ExampleSpan], settings: BuildSettings) -> Iterator[tuple[ExampleSpan, Any]]:
    """Make what features are computed from; where segments of one clip follow each other, it is decoded once.

    Parameters
    ----------
    root : Path
        The data root.
    examples : iterable of ExampleSpan
    settings : BuildSettings

    Yields
    ------
    ExampleSpan, array or dict
        Each example with its waveform, float32 [channel, sample], its image [channel, row, column], or its events by sense.

    Raises
    ------
    ClipError
        A file has changed or gone since it was inspected.
    """
    clip: ClipSpan | None = None
    for example in examples:
        if example.clip != clip:
            clip, prepared = example.clip, _prepare(root, example, settings)
        yield example, KINDS[settings.kind].segment(root, prepared, example, settings)
