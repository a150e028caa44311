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
from audiodata.fingerprint import hash_arrays, hash_file
from audiodata.records import ClipSpan, Inspection

Samples = tuple[np.ndarray, int]  # decoded array and sample rate (0 for images)


class Source(NamedTuple):
    """One kind of source: how a clip is loaded, and what is noted of it."""

    load: Callable[[Path, ClipSpan], Samples]
    describe: Callable[[Path, ClipSpan, Samples], Inspection]


def clip_path(root: Path, clip: ClipSpan) -> Path:
    """Path of a clip's file; a path that leaves the root is a bad table, not a file."""
    if clip.path.startswith("/") or ".." in Path(clip.path).parts:
        raise ClipError("missing_file", f"{clip.path}: leaves the data root; paths must be relative and below it")
    return Path(root) / clip.path


def file_stamp(path: Path) -> str:
    """Size and modification time of a file, or an empty text where there is none."""
    try:
        status = path.stat()
    except OSError:
        return ""
    return f"{status.st_size}-{status.st_mtime_ns}"


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
    stamp = file_stamp(Path(root) / clip.path)
    try:
        samples = SOURCES[kind].load(root, clip)
        return SOURCES[kind].describe(root, clip, samples), samples
    except ClipError as error:
        return Inspection(clip.clip_id, error.reason, error.message.removeprefix(f"{clip.path}: "), stamp), None
    except MetadataError as error:
        return Inspection(clip.clip_id, "undecodable", str(error).replace(f"{root}/", ""), stamp), None


def _describe_audio(root: Path, clip: ClipSpan, samples: Samples) -> Inspection:
    waveform, sample_rate = samples
    path = clip_path(root, clip)
    found = asdict(cleaning.measure(waveform, sample_rate))
    return Inspection(
        clip.clip_id,
        stamp=file_stamp(path),
        sha256=_file_hash(str(path), file_stamp(path)),
        content_sha256=found.pop("content_sha256"),
        sample_rate=sample_rate,
        channels=waveform.shape[0],
        samples=waveform.shape[1],
        measured=found,
    )


def _load_audio(root: Path, clip: ClipSpan) -> tuple[np.ndarray, int]:
    path = clip_path(root, clip)
    return audio.read_clip(path, clip.start_s, math.nan if clip.duration_s is None else clip.duration_s, clip.path)


def _describe_image(root: Path, clip: ClipSpan, samples: Samples) -> Inspection:
    path = clip_path(root, clip)
    image, _ = samples
    digest = hash_arrays([("image", image)])
    return Inspection(
        clip.clip_id, stamp=file_stamp(path), sha256=digest, content_sha256=digest, channels=1, samples=1, shape=image.shape[1:]
    )


def _load_image(root: Path, clip: ClipSpan) -> tuple[np.ndarray, int]:
    path = clip_path(root, clip)
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


def input_hash(kind: str, root: Path, clip: ClipSpan) -> str:
    """SHA-256 of what a clip is made from now, to be compared with its inspection."""
    if kind == "image":
        return hash_arrays([("image", _load_image(root, clip)[0])])
    path = clip_path(root, clip)
    return _file_hash(str(path), file_stamp(path))


SOURCES = {
    "audio": Source(_load_audio, _describe_audio),
    "image": Source(_load_image, _describe_image),
}
