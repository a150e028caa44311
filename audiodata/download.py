"""One span of one video becomes one verified file: decide, fetch, cut, verify, move.

A file stands under its final name only when it holds the samples that were asked for; that is decided by decoding and
counting, never by what a program claims.
"""

import contextlib
import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from audiodata import audio
from audiodata.clip_files import is_safe_path
from audiodata.errors import ClipError, EnvironmentFault
from audiodata.fetch import read_span
from audiodata.resolve import DownloadOptions, Source
from audiodata.timing import seconds_to_samples

AROUND_S = 0.1  # farther than the resampler's filter reaches
# A header that promises so much more than there is tells of a file cut short; less is a header's imprecision.
CUT_FILE_S = 0.25


class WantedClip(NamedTuple):
    """One clip to be had.

    Attributes
    ----------
    clip_id : str
    start_s : float
        In the recording.
    duration_s : float or None
        None: to the end of the recording.
    path : str
        POSIX path of its file below the data root.
    """

    clip_id: str
    start_s: float
    duration_s: float | None
    path: str


class VideoTask(NamedTuple):
    """All clips that are wanted of one video, which is resolved once.

    Attributes
    ----------
    recording_id : str
    clips : tuple of WantedClip
    root : str
        The data root.
    options : DownloadOptions
    """

    recording_id: str
    clips: tuple[WantedClip, ...]
    root: str
    options: DownloadOptions


def clip_path(root: str | Path, path: str) -> Path:
    """Return a clip's path below the root.

    Raises
    ------
    ClipError
        ``missing_file``: the path would leave the root.
    """
    if not is_safe_path(path):
        raise ClipError("missing_file", f"{path!r}: not a path below the data root")
    return Path(root) / path


def download_clip(source: Source, clip: WantedClip, root: str | Path, options: DownloadOptions) -> Path:
    """Fetch one clip of a resolved video.

    Parameters
    ----------
    source : Source
        Of `audiodata.resolve.resolve`.
    clip : WantedClip
        What to fetch.
    root : path
        The data root; folders below it are made.
    options : DownloadOptions
        How.

    Returns
    -------
    Path
        The file: FLAC, exact to the sample.

    Raises
    ------
    ClipError
        ``past_end, too_short, truncated, empty, undecodable`` or a reason of the network; no file is left.
    EnvironmentFault
        ffmpeg is missing, or the disk is full.
    """
    path = clip_path(root, clip.path)
    if source.duration_s is not None and clip.start_s >= source.duration_s:
        length = f"the video is {source.duration_s:.3f} s long"
        raise ClipError("past_end", f"the span begins at {clip.start_s:.3f} s, {length}")
    span = read_span(
        source.address, clip.start_s, clip.duration_s,
        over_read_s=options.over_read_s, timeout_s=options.timeout_s, proxy=options.proxy,
    )
    missing_s = _missing_s(span.waveform.shape[1] + span.at, span.sample_rate, clip)
    if missing_s > options.tolerance_s:
        raise _too_short(clip, missing_s, span.recording_s, span.complaint)
    return store(span.waveform, span.sample_rate, span.at, clip, path, options)


def store(
    waveform: np.ndarray, sample_rate: int, at: int, clip: WantedClip, path: Path, options: DownloadOptions
) -> Path:
    """Cut a clip out of a waveform and write it.

    Parameters
    ----------
    waveform : numpy.ndarray
        float32 [channel, sample].
    sample_rate : int
        In Hz.
    at : int
        Position of the waveform's sample 0 in the recording, in samples.
    clip : WantedClip
        What to cut.
    path : Path
        The final name.
    options : DownloadOptions
        Sample rate and channels of the file, and the tolerance.

    Raises
    ------
    ClipError
        ``too_short``, ``wrong_channels`` or what `audiodata.audio.write_flac` raises.
    EnvironmentFault
        The disk is full or can't be written.
    """
    rate = options.sample_rate or sample_rate
    mixed = audio.mix_channels(waveform, options.channels)
    piece = cut(mixed, sample_rate, at, clip, rate, options.tolerance_s)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        problem = f"{path.parent}: can't be made ({error.strerror}); check permissions and space"
        raise EnvironmentFault(problem) from error
    audio.write_flac(path, piece, rate)
    return path


def remove_unfinished(root: Path, paths: Iterable[str]) -> int:
    """Remove what workers that were killed have left beside clips' files; only for when nobody writes there.

    Parameters
    ----------
    root : Path
        The data root.
    paths : iterable of str
        The clips' files below it.

    Returns
    -------
    int
        How many files it were.
    """
    left = []
    for folder in sorted({path.rpartition("/")[0] for path in paths}):
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(root / folder) as entries:
            left += [entry.path for entry in entries if audio.UNFINISHED.fullmatch(entry.name)]
    for path in left:
        Path(path).unlink(missing_ok=True)
    return len(left)


def cut(
    waveform: np.ndarray, sample_rate: int, at: int, clip: WantedClip, to_rate: int, tolerance_s: float
) -> np.ndarray:
    """Cut a clip out of a waveform, exact to the sample, at the rate wanted.

    Parameters
    ----------
    waveform : numpy.ndarray
        float32 [channel, sample].
    sample_rate, to_rate : int
        Of the waveform and of the result, in Hz.
    at : int
        Position of the waveform's sample 0 in the recording, in samples.
    clip : WantedClip
        The span.
    tolerance_s : float
        How much may be missing: at the start it is filled with zeros (a recording whose sound sets in late), at the
        end the clip is shorter.

    Returns
    -------
    numpy.ndarray
        float32 [channel, sample] at `to_rate`.

    Raises
    ------
    ClipError
        ``too_short`` or ``empty``.
    """
    missing_s = _missing_s(at + waveform.shape[1], sample_rate, clip)
    if missing_s > tolerance_s:
        raise _too_short(clip, missing_s, None, ("", ""))
    first = seconds_to_samples(clip.start_s, sample_rate) - at
    if first < -tolerance_s * sample_rate:
        asked = f"{clip.start_s:.3f} s was asked for"
        raise ClipError("too_short", f"the sound sets in at {at / sample_rate:.3f} s, {asked}")
    waveform = np.pad(waveform, ((0, 0), (max(-first, 0), 0)))
    piece = _resampled(waveform, max(first, 0), clip.duration_s, sample_rate, to_rate)
    if piece.shape[1] == 0:
        raise ClipError("empty", "the span holds no sample")
    return piece


def _resampled(waveform: np.ndarray, first: int, duration_s: float | None, from_rate: int, to_rate: int) -> np.ndarray:
    """Resample with what lies around the clip, so that its edges are none to the resampler; then drop that again."""
    common = math.gcd(from_rate, to_rate)  # a block is the shortest time with a whole number of samples at both rates
    block, to_block = from_rate // common, to_rate // common
    around = -(-seconds_to_samples(AROUND_S, from_rate) // block)
    before = min(first // block, around)
    end = None if duration_s is None else first + seconds_to_samples(duration_s, from_rate) + around * block
    resampled = audio.resample(waveform[:, first - before * block : end], from_rate, to_rate)
    length = None if duration_s is None else seconds_to_samples(duration_s, to_rate)
    return np.ascontiguousarray(resampled[:, before * to_block :][:, :length])


def _missing_s(end: int, sample_rate: int, clip: WantedClip) -> float:
    """Seconds between where the sound ends (a position in the recording, in samples) and where the clip does."""
    return 0.0 if clip.duration_s is None else clip.start_s + clip.duration_s - end / sample_rate


def _too_short(clip: WantedClip, missing_s: float, recording_s: float | None, complaint: tuple[str, str]) -> ClipError:
    """Say why the end is missing: the connection broke, the file is cut, or the recording is just not that long."""
    wanted_s = clip.duration_s or 0.0
    measured = f"measured {max(wanted_s - missing_s, 0.0):.3f} s, expected {wanted_s:.3f} s"
    if complaint[0] == "network":
        return ClipError("network", f"{complaint[1]}; {measured}")
    if recording_s is not None and recording_s - (clip.start_s + wanted_s - missing_s) > CUT_FILE_S:
        return ClipError("truncated", f"{measured}, though the recording is {recording_s:.3f} s long by its header")
    return ClipError("too_short", measured)
