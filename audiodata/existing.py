"""Files that other people's tools have made, taken in as clips: found by name, cut where needed, verified.

Tools name a file by the video's id alone, by id and start, or by id, start and end; times in seconds or milliseconds;
some put a ``Y`` before the id. Ids may begin with ``-`` and hold ``_``, so a name is never split: its parts are
compared with the ids that are wanted.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from audiodata.download import WantedClip, clip_path, store
from audiodata.errors import ClipError, MetadataError
from audiodata.resolve import DownloadOptions
from audiodata.timing import seconds_to_milliseconds, seconds_to_samples

ENDINGS = frozenset(f".{ending}" for ending in (
    "aac", "aif", "aiff", "flac", "m4a", "mka", "mkv", "mp3", "mp4", "oga", "ogg", "opus", "wav", "webm", "wma",
))
# A file that is so much longer than the clip still is the clip: encoders fill their last packet, tools read over.
LONGER_S = 0.5


class ExistingTask(NamedTuple):
    """One file, and the clips that may be in it.

    Attributes
    ----------
    file : str
    name : str
        What messages call it: its path from the folder that was searched.
    clips : tuple of WantedClip
    names_a_start : bool
        The file's name holds the start of a clip: it is that clip, never a whole video.
    root : str
        The data root.
    options : DownloadOptions
    """

    file: str
    name: str
    clips: tuple[WantedClip, ...]
    names_a_start: bool
    root: str
    options: DownloadOptions


def find_existing(
    folders: Iterable[str | Path], wanted: Mapping[str, list[WantedClip]], root: str, options: DownloadOptions
) -> Iterator[ExistingTask]:
    """Look through folders for files of wanted clips, in the order of their paths.

    Parameters
    ----------
    folders : iterable of path
        Searched with all folders below them.
    wanted : mapping of str to list of WantedClip
        By recording id.
    root : str
        The data root.
    options : DownloadOptions
        For the files that are made.

    Raises
    ------
    MetadataError
        A folder is not there.
    """
    for folder in folders:
        if not Path(folder).is_dir():
            raise MetadataError(f"--existing {folder}: no such folder")
        for path in _sound_files(Path(folder)):
            clips, names_a_start = match_name(path.stem, wanted)
            if clips:
                name = path.relative_to(Path(folder).parent).as_posix()
                yield ExistingTask(str(path), name, tuple(clips), names_a_start, root, options)


def match_name(stem: str, wanted: Mapping[str, list[WantedClip]]) -> tuple[list[WantedClip], bool]:
    """Return the wanted clips that a file may hold by its name without ending, and whether the name holds a start.

    Examples
    --------
    >>> clip = WantedClip("-a_b_30000", 30.0, 10.0, "-a_b_30000.flac")
    >>> match_name("Y-a_b_30_40", {"-a_b": [clip]}) == ([clip], True)
    True
    """
    for name in (stem, stem.removeprefix("Y")):
        if name in wanted:
            return wanted[name], False
    for name in (stem, stem.removeprefix("Y")):
        for recording_id, start in _readings(name):
            if clips := _at(wanted.get(recording_id, []), start):
                return clips, True
    return [], False


def _readings(name: str) -> Iterator[tuple[str, str]]:
    """Yield the ways to read a name as an id and a start: ``id_start`` first, then ``id_start_end``."""
    pieces = name.rsplit("_", 2)
    if len(pieces) > 1 and _is_time(pieces[-1]):
        yield name[: -len(pieces[-1]) - 1], pieces[-1]
    if len(pieces) == 3 and _is_time(pieces[-1]) and _is_time(pieces[-2]):
        yield pieces[0], pieces[1]


def _is_time(text: str) -> bool:
    return bool(re.fullmatch(r"\d+(\.\d+)?", text, re.ASCII))


def _at(clips: list[WantedClip], start: str) -> list[WantedClip]:
    """Return the clips that begin at a time: in seconds if one does, else in milliseconds."""
    for milliseconds in (seconds_to_milliseconds(float(start)), float(start)):
        found = [clip for clip in clips if seconds_to_milliseconds(clip.start_s) == milliseconds]
        if found:
            return found
    return []


def _sound_files(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        folders.sort()
        sounds = (name for name in sorted(names) if Path(name).suffix.lower() in ENDINGS and not name.startswith("."))
        yield from (Path(parent) / name for name in sounds)


def take_in(waveform: np.ndarray, sample_rate: int, clip: WantedClip, task: ExistingTask) -> Path:
    """Make a clip's file from a decoded file of somebody else's; a file that is the clip's own is only checked.

    A file about as long as the clip is the clip; one that reaches to the clip's end in the recording is the whole
    recording, and is cut.

    Parameters
    ----------
    waveform : numpy.ndarray
        float32 [channel, sample], all of the file.
    sample_rate : int
        In Hz.
    clip : WantedClip
        What the file should hold.
    task : ExistingTask
        Which file it is.

    Raises
    ------
    ClipError
        ``too_short`` or ``too_long`` with what was measured, or as `audiodata.download.store`.
    """
    at = place(waveform.shape[1] / sample_rate, clip, task.names_a_start, task.options.tolerance_s)
    path = clip_path(task.root, clip.path)
    if path.exists() and path.samefile(task.file):
        return path
    return store(waveform, sample_rate, seconds_to_samples(at, sample_rate), clip, path, task.options)


def place(length_s: float, clip: WantedClip, names_a_start: bool, tolerance_s: float) -> float:
    """Return the time in the recording at which a file begins: the clip's start, or 0 for a whole recording.

    Parameters
    ----------
    length_s : float
        Of the file, in seconds.
    clip : WantedClip
        What it should hold.
    names_a_start : bool
        See `ExistingTask`.
    tolerance_s : float
        How much shorter than the clip it may be.

    Raises
    ------
    ClipError
        ``too_short`` or ``too_long``.
    """
    if clip.duration_s is None:
        return clip.start_s if names_a_start else 0.0
    measured = f"measured {length_s:.3f} s, expected {clip.duration_s:.3f} s"
    if -tolerance_s <= length_s - clip.duration_s <= LONGER_S:
        return clip.start_s
    if length_s < clip.duration_s:
        raise ClipError("too_short", measured)
    if names_a_start:
        raise ClipError("too_long", f"{measured}: where in it the clip lies is not known")
    if length_s < clip.start_s + clip.duration_s - tolerance_s:
        raise ClipError("too_short", f"{measured}, or a whole recording up to {clip.start_s + clip.duration_s:.3f} s")
    return 0.0
