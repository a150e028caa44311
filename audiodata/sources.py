"""From a file below the data root to one clip's samples: the three kinds of source that a catalog can name: sound, images and events.

Each kind is a `load` (the samples that features are made of) and a `describe` (what is noted of them, for the verdict and the plan).
"""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from audiodata import audio, cleaning
from audiodata.clip_files import clip_path, clip_stamp, files_hash
from audiodata.errors import ClipError, MetadataError
from audiodata.event_sources import load_recordings, sees_image
from audiodata.events.record import MICROSECONDS_PER_SECOND, Events, Sense
from audiodata.events.spans import flat_sizes
from audiodata.fingerprint import hash_arrays, hash_json
from audiodata.images import load_image
from audiodata.records import ClipSpan, Inspection
from audiodata.speech_mixing import mix, read_recipe

Samples = tuple[Any, int]  # array, or recordings of events by sense; and sample rate (0 for images)


class Source(NamedTuple):
    """One kind of source: how a clip is loaded, and what is noted of it."""

    load: Callable[[Path, ClipSpan], Samples]
    describe: Callable[[Path, ClipSpan, Samples], Inspection]


def inspect(kind: str, root: Path, clip: ClipSpan) -> tuple[Inspection, Samples | None]:
    """Load and measure one clip.

    Parameters
    ----------
    kind : str
        Key of `SOURCES`.
    root : path
        The data root.
    clip : ClipSpan
        Where the clip lies.

    Returns
    -------
    Inspection
        Whatever is wrong with the clip is its reason.
    tuple of array and int, or None
        The decoded samples and their rate; None where there is a reason.
    """
    stamp = clip_stamp(root, clip)
    try:
        samples = SOURCES[kind].load(root, clip)
        return SOURCES[kind].describe(root, clip, samples)._replace(stamp=stamp), samples
    except ClipError as error:
        return Inspection(clip.clip_id, error.reason, error.message.removeprefix(f"{clip.path}: "), stamp), None
    except MetadataError as error:
        return Inspection(clip.clip_id, "undecodable", str(error).replace(f"{root}/", ""), stamp), None


def _describe_audio(root: Path, clip: ClipSpan, samples: Samples) -> Inspection:
    waveform, sample_rate = samples
    found = vars(cleaning.measure(waveform, sample_rate)).copy()
    return Inspection(
        clip.clip_id,
        sha256=input_hash("audio", root, clip),
        content_sha256=found.pop("content_sha256"),
        sample_rate=sample_rate,
        channels=waveform.shape[0],
        samples=waveform.shape[1],
        measured=found,
    )


def _load_audio(root: Path, clip: ClipSpan) -> tuple[np.ndarray, int]:
    if clip.reader:
        return _load_mixture(root, clip)
    parts = [_read(root, path, clip.start_s, clip.duration_s) for path in clip.paths]
    waveform, sample_rate = parts[0] if len(parts) == 1 else _side_by_side(clip.paths, parts)
    return _picked(waveform, clip), sample_rate


def _read(root: Path, path: str, start_s: float, duration_s: float | None) -> tuple[np.ndarray, int]:
    return audio.read_clip(clip_path(root, path), start_s, math.nan if duration_s is None else duration_s, path)


def _load_mixture(root: Path, clip: ClipSpan) -> tuple[np.ndarray, int]:
    """Read the utterances of a mixture, several channels as their mean, and mix them as the clip's reader says."""
    recipe = read_recipe(clip.reader, f"reader of {clip.clip_id}")
    parts = [_read(root, path, *span) for path, span in zip(clip.paths, recipe.spans, strict=True)]
    _, sample_rate = parts[0]
    for path, (_, rate) in zip(clip.paths, parts, strict=True):
        if rate != sample_rate:
            raise ClipError("channels_differ", f"{path}: is at {rate} Hz, {clip.path} at {sample_rate} Hz; resample one of them")
    return mix([audio.mix_channels(waveform, 1)[0] for waveform, _ in parts], sample_rate, recipe, clip.paths), sample_rate


def _side_by_side(paths: tuple[str, ...], parts: list[tuple[np.ndarray, int]]) -> tuple[np.ndarray, int]:
    """Put the channels of several files into one waveform."""
    first, sample_rate = parts[0]
    for path, (waveform, rate) in zip(paths, parts, strict=True):
        if (waveform.shape[1], rate) != (first.shape[1], sample_rate):
            found, expected = f"{waveform.shape[1]} samples at {rate} Hz", f"{first.shape[1]} at {sample_rate} Hz"
            raise ClipError("channels_differ", f"{path}: has {found}, {paths[0]} has {expected}; record them together")
    return np.concatenate([waveform for waveform, _ in parts]), sample_rate


def _picked(waveform: np.ndarray, clip: ClipSpan) -> np.ndarray:
    if not clip.channels:
        return waveform
    if max(clip.channels) >= len(waveform):
        missing = f"channel {max(clip.channels)} (counted from 0) was asked for"
        raise ClipError("wrong_channels", f"{clip.path}: has {len(waveform)} channels, {missing}")
    return waveform[list(clip.channels)]


def _describe_image(root: Path, clip: ClipSpan, samples: Samples) -> Inspection:
    image, _ = samples
    digest = hash_arrays([("image", image)])
    return Inspection(
        clip.clip_id, sha256=digest, content_sha256=digest, channels=1, samples=1, shape=image.shape[1:]
    )


def _load_image(root: Path, clip: ClipSpan) -> Samples:
    return load_image(root, clip)[np.newaxis], 0  # [row, column] -> [channel, row, column]


def _describe_events(root: Path, clip: ClipSpan, samples: Samples) -> Inspection:
    recordings, rate = samples
    return Inspection(
        clip.clip_id,
        sha256=input_hash("events", root, clip),
        content_sha256=hash_arrays(_columns(recordings)),
        sample_rate=rate,
        channels=len(recordings),
        samples=max(events.duration_us for events in recordings.values()),
        shape=flat_sizes(recordings),
        measured={f"{sense}_events": len(events.array) for sense, events in recordings.items()},
    )


def _columns(recordings: dict[Sense, Events]) -> Iterator[tuple[str, np.ndarray]]:
    for sense, events in recordings.items():
        for name in events.array.dtype.names:
            yield f"{sense} {name}", np.ascontiguousarray(events.array[name])


def _load_events(root: Path, clip: ClipSpan) -> Samples:
    return load_recordings(root, clip), MICROSECONDS_PER_SECOND


def input_hash(kind: str, root: Path, clip: ClipSpan) -> str:
    """SHA-256 of what a clip is made from now, to be compared with its inspection."""
    hashes = [_content_hash(kind, root, part) for part in clip.recordings]
    return hashes[0] if len(hashes) == 1 else hash_json(hashes)


def _content_hash(kind: str, root: Path, clip: ClipSpan) -> str:
    """Hash of an image, of which a file holds thousands, or else of the clip's files."""
    if kind == "image" or sees_image(clip):
        return hash_arrays([("image", load_image(root, clip)[np.newaxis])])
    return files_hash(root, clip._replace(partner=None))


SOURCES = {
    "audio": Source(_load_audio, _describe_audio),
    "image": Source(_load_image, _describe_image),
    "events": Source(_load_events, _describe_events),
}
