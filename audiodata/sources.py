"""From a file below the data root to one clip's samples: the two kinds of source that a catalog can name, sound and images.

Each kind is a `load` (the samples that features are made of) and a `describe` (what is noted of them, for the verdict and the plan).
"""

import math
from collections.abc import Callable
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from audiodata import audio, cleaning
from audiodata.datasets.idx_images import read_idx_images
from audiodata.errors import ClipError, MetadataError
from audiodata.fingerprint import hash_arrays, hash_file, hash_json
from audiodata.records import ClipSpan, Inspection

Samples = tuple[np.ndarray, int]  # decoded array and sample rate (0 for images)


class Source(NamedTuple):
    """One kind of source: how a clip is loaded, and what is noted of it."""

    load: Callable[[Path, ClipSpan], Samples]
    describe: Callable[[Path, ClipSpan, Samples], Inspection]


def clip_path(root: Path, path: str) -> Path:
    """Path of a clip's file; a path that leaves the root is a bad table, not a file."""
    if path.startswith("/") or ".." in Path(path).parts:
        raise ClipError("missing_file", f"{path}: leaves the data root; paths must be relative and below it")
    return Path(root) / path


def file_stamp(path: Path) -> str:
    """Size and modification time of a file, or an empty text where there is none."""
    try:
        status = path.stat()
    except OSError:
        return ""
    return f"{status.st_size}-{status.st_mtime_ns}"


def clip_stamp(root: Path, clip: ClipSpan) -> str:
    """Stamps of all files of a clip."""
    return "+".join(file_stamp(Path(root) / path) for path in clip.paths)


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
        return SOURCES[kind].describe(root, clip, samples), samples
    except ClipError as error:
        return Inspection(clip.clip_id, error.reason, error.message.removeprefix(f"{clip.path}: "), stamp), None
    except MetadataError as error:
        return Inspection(clip.clip_id, "undecodable", str(error).replace(f"{root}/", ""), stamp), None


def _describe_audio(root: Path, clip: ClipSpan, samples: Samples) -> Inspection:
    waveform, sample_rate = samples
    found = asdict(cleaning.measure(waveform, sample_rate))
    return Inspection(
        clip.clip_id,
        stamp=clip_stamp(root, clip),
        sha256=_files_hash(root, clip),
        content_sha256=found.pop("content_sha256"),
        sample_rate=sample_rate,
        channels=waveform.shape[0],
        samples=waveform.shape[1],
        measured=found,
    )


def _load_audio(root: Path, clip: ClipSpan) -> tuple[np.ndarray, int]:
    duration_s = math.nan if clip.duration_s is None else clip.duration_s
    parts = [audio.read_clip(clip_path(root, path), clip.start_s, duration_s, path) for path in clip.paths]
    waveform, sample_rate = parts[0] if len(parts) == 1 else _side_by_side(clip.paths, parts)
    return _picked(waveform, clip), sample_rate


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
        clip.clip_id, stamp=clip_stamp(root, clip), sha256=digest, content_sha256=digest, channels=1, samples=1, shape=image.shape[1:]
    )


def _load_image(root: Path, clip: ClipSpan) -> tuple[np.ndarray, int]:
    path = clip_path(root, clip.path)
    images = _images(str(path), file_stamp(path))
    if not 0 <= clip.index < len(images):
        raise ClipError("missing_file", f"{clip.path}: has {len(images)} images, number {clip.index} was asked for")
    return images[clip.index][np.newaxis], 0  # [row, column] -> [channel, row, column]


@lru_cache(maxsize=2)
def _images(path: str, stamp: str) -> np.ndarray:
    """Keep the last files open, which hold thousands of clips each; the stamp makes a changed file a new entry."""
    return read_idx_images(Path(path))


@lru_cache(maxsize=64)
def _file_hash(path: str, stamp: str) -> str:
    """Hash a long recording once, however many clips are cut from it."""
    return hash_file(Path(path))


def _files_hash(root: Path, clip: ClipSpan) -> str:
    """Hash of a clip's file, or of the hashes of its files."""
    files = [clip_path(root, path) for path in clip.paths]
    hashes = [_file_hash(str(path), file_stamp(path)) for path in files]
    return hashes[0] if len(hashes) == 1 else hash_json(hashes)


def input_hash(kind: str, root: Path, clip: ClipSpan) -> str:
    """SHA-256 of what a clip is made from now, to be compared with its inspection."""
    if kind == "image":
        return hash_arrays([("image", _load_image(root, clip)[0])])
    return _files_hash(root, clip)


SOURCES = {
    "audio": Source(_load_audio, _describe_audio),
    "image": Source(_load_image, _describe_image),
}
