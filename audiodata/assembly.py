"""One shard: from the clips that it names to a verified file, and the fingerprint that says whether that has to be done at all."""

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from audiodata import audio, sources
from audiodata.errors import CacheError, ClipError
from audiodata.features import FEATURES, extract, extract_image, feature_shape, numeric_versions
from audiodata.fingerprint import hash_json
from audiodata.layout import segment_spans
from audiodata.mixing import NoiseSettings, add_noise
from audiodata.noise_bank import NoiseBank, NoiseRecording
from audiodata.records import ClipSpan, ExampleSpan, Inspection, Truth
from audiodata.settings import Settings
from audiodata.shards import FORMAT_VERSION, Layout, ShardRecord, ShardWriter, read_fingerprint, read_shard_record
from audiodata.verdicts import judge_clip


class AddedNoise(NamedTuple):
    """What a catalog's ``[noise]`` comes to.

    Attributes
    ----------
    settings : NoiseSettings
    recordings : tuple of NoiseRecording
        Empty for noise that is made.
    positions_m : tuple or None
        Of the microphones.
    speed_m_s : float
        Of sound.
    """

    settings: NoiseSettings
    recordings: tuple[NoiseRecording, ...]
    positions_m: tuple[tuple[float, float, float], ...] | None
    speed_m_s: float

    def add(self, root: Path, waveform: np.ndarray, example: ExampleSpan, sample_rate: int) -> np.ndarray:
        """Give an example ``[channel, sample]`` its noise."""
        return add_noise(
            self.settings,
            waveform,
            example.example_id,
            sample_rate,
            valid=example.valid,
            positions_m=self.positions_m,
            source_azimuth_deg=example.truth.azimuth_deg,
            bank=NoiseBank(root, self.recordings) if self.recordings else None,
            speed_m_s=self.speed_m_s,
        )

    def described(self) -> dict[str, Any]:
        """What of it shapes the numbers, for a fingerprint: a recording by its content and not by its name."""
        recordings = [[one.clip.start_s, one.clip.duration_s, one.clip.channels, *one[1:]] for one in self.recordings]
        return self._asdict() | {"settings": self.settings.model_dump(mode="json"), "recordings": recordings}


class BuildSettings(NamedTuple):
    """What shapes the numbers of every shard, with nothing left open.

    Attributes
    ----------
    kind : str
        Key of `audiodata.sources.SOURCES`.
    sample_rate : int
        Hz; 0 for images.
    channels : int
    length, hop : int
        Samples of a segment, and from one to the next; 1 for images.
    min_fill : float
        A last segment filled by a smaller share is not made.
    image_shape : tuple of int
        ``(row, column)``; empty for sound.
    short : str
        "zero", "repeat" or "drop".
    features : dict
        Feature configs by name.
    fft : str
        "scipy" or "mkl".
    classes : tuple of str
        Their order is the class index.
    targets : tuple of str
        Keys of `TARGETS`.
    noise : AddedNoise or None
    """

    kind: str
    sample_rate: int
    channels: int
    length: int
    hop: int
    min_fill: float
    image_shape: tuple[int, ...]
    short: str
    features: dict[str, Settings]
    fft: str
    classes: tuple[str, ...]
    targets: tuple[str, ...]
    noise: AddedNoise | None = None

    def of_split(self, split: str) -> "BuildSettings":
        """Settings of one split's shards: those without noise where the split gets none."""
        return self if self.noise is None or split in self.noise.settings.splits else self._replace(noise=None)


class ShardTask(NamedTuple):
    """Everything that a worker needs to make one shard."""

    root: str
    folder: str
    file: str
    split: str
    fingerprint: str
    settings: BuildSettings
    examples: tuple[ExampleSpan, ...]


class ShardDraft(NamedTuple):
    """A shard that may be made before the plan is known: its clips, each with what is true of it, in the order of its rows."""

    root: str
    folder: str
    file: str
    split: str
    settings: BuildSettings
    clean: Any
    clips: tuple[tuple[ClipSpan, Truth], ...]


Row = tuple[ExampleSpan, dict[str, np.ndarray]]
ROWS_AHEAD = 2  # examples per clip that a draft may hold in memory


def feature_layouts(settings: BuildSettings) -> dict[str, Layout]:
    """Shape, dtype, axes and unit of each feature, before any of it is computed."""
    size = settings.image_shape or (settings.length,)
    return {
        name: Layout(feature_shape(name, config, settings.channels, *size), "float32", FEATURES[name].axes, FEATURES[name].unit)
        for name, config in settings.features.items()
    }


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
    """Hash of all that a shard's bytes depend on: format, settings, code and package versions, and every input."""
    described = settings._asdict() | {"features": {
        name: {"version": FEATURES[name].version, "config": config.model_dump(mode="json")} for name, config in settings.features.items()
    }, "noise": settings.noise and settings.noise.described()}
    inputs = [
        [one.example_id, one.sha256, one.clip.start_s, one.clip.duration_s, one.clip.index, one.clip.channels, one.start_sample, one.valid, one.truth]
        for one in examples
    ]
    return hash_json({
        "format_version": FORMAT_VERSION, "settings": described, "versions": numeric_versions(settings.fft), "inputs": inputs,
    })


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
    return _write_rows(path, task.split, task.fingerprint, task.settings, _rows(task), len(task.examples))


def _write_rows(
    path: Path, split: str, fingerprint: str, settings: BuildSettings, rows: Iterable[Row], count: int
) -> ShardRecord:
    layouts, targets = feature_layouts(settings), target_layouts(settings)
    writer = ShardWriter(path, fingerprint=fingerprint, split=split, features=layouts, targets=targets, examples=count)
    with writer:
        for example, features in rows:
            writer.add(example.example_id, features, _target_values(example, settings))
    return writer.record


def _rows(task: ShardTask) -> Iterator[Row]:
    """Make the rows in order."""
    for example, waveform in example_waveforms(Path(task.root), task.examples, task.settings):
        yield example, _features(waveform, task.settings)


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
    inspections, rows = [], []
    for clip, truth in draft.clips:
        found, samples = sources.inspect(draft.settings.kind, Path(draft.root), clip)
        inspections.append(found)
        if samples is not None and judge_clip(found, clip.duration_s, draft.clean, draft.settings.channels)[0] == "ok":
            rows.extend(_rows_of(draft, clip, truth, found, samples))
        if len(rows) > ROWS_AHEAD * len(draft.clips):
            rows = []
            break
    inspections += [sources.inspect(draft.settings.kind, Path(draft.root), clip)[0] for clip, _ in draft.clips[len(inspections) :]]
    if not rows:
        return inspections, None
    fingerprint = shard_fingerprint(draft.settings, tuple(example for example, _ in rows))
    path = Path(draft.folder) / draft.file
    return inspections, _write_rows(path, draft.split, fingerprint, draft.settings, rows, len(rows))


def _rows_of(draft: ShardDraft, clip: ClipSpan, truth: Truth, found: Inspection, samples: sources.Samples) -> Iterator[Row]:
    settings = draft.settings
    prepared = audio.prepare(*samples, sample_rate=settings.sample_rate, channels=settings.channels)
    spans = segment_spans(prepared.shape[1], settings.length, settings.hop, settings.min_fill)
    for number, (start, valid) in enumerate(spans):
        example = ExampleSpan(f"{clip.clip_id}#{number}", clip, found.sha256, start, valid, truth)
        yield example, _features(_segment(Path(draft.root), prepared, example, settings), settings)


def _prepare(root: Path, example: ExampleSpan, settings: BuildSettings) -> np.ndarray:
    """Load a clip as the build wants it, and make sure that it is the one that was inspected."""
    if sources.input_hash(settings.kind, root, example.clip) != example.sha256:
        raise ClipError("unreadable", f"{example.clip.path}: changed while the cache was being built; run the build again")
    samples, sample_rate = sources.SOURCES[settings.kind].load(root, example.clip)
    if settings.kind == "image":
        return samples
    return audio.prepare(samples, sample_rate, sample_rate=settings.sample_rate, channels=settings.channels)


def _segment(root: Path, prepared: np.ndarray, example: ExampleSpan, settings: BuildSettings) -> np.ndarray:
    """Cut an example out of its clip, fill it up and give it its noise; an image is an example."""
    if settings.kind == "image":
        return prepared
    segment = prepared[:, example.start_sample : example.start_sample + settings.length]
    if segment.shape[1] != example.valid:
        raise ClipError("unreadable", f"{example.clip.path}: has {segment.shape[1]} samples at {example.start_sample}, "
                                      f"{example.valid} were inspected; run the build again")
    filled = audio.fill(segment, settings.length, settings.short)
    return filled if settings.noise is None else settings.noise.add(root, filled, example, settings.sample_rate)


def _features(waveform: np.ndarray, settings: BuildSettings) -> dict[str, Any]:
    if settings.kind == "image":
        return extract_image(waveform, settings.features)
    return extract(waveform, settings.sample_rate, settings.features, fft=settings.fft)


def example_waveforms(root: Path, examples: Iterable[ExampleSpan], settings: BuildSettings) -> Iterator[tuple[ExampleSpan, np.ndarray]]:
    """Make what features are computed from; where segments of one clip follow each other, it is decoded once.

    Parameters
    ----------
    root : Path
        The data root.
    examples : iterable of ExampleSpan
    settings : BuildSettings

    Yields
    ------
    ExampleSpan, array
        Each example with its waveform, float32 [channel, sample], or its image [channel, row, column].

    Raises
    ------
    ClipError
        A file has changed or gone since it was inspected.
    """
    clip: ClipSpan | None = None
    for example in examples:
        if example.clip != clip:
            clip, prepared = example.clip, _prepare(root, example, settings)
        yield example, _segment(root, prepared, example, settings)
