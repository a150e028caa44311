"""Decode a span of one file, by libsndfile or else by ffmpeg, and decide whether the file is sound and whole."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from stat import S_ISREG
from typing import BinaryIO

import numpy as np
import soundfile as sf

from audiodata import containers
from audiodata.errors import ClipError
from audiodata.ffmpeg import Decoded, Span, read_through_ffmpeg
from audiodata.timing import samples_to_seconds

# A seek in these is exact to the sample. In Vorbis it is not (near the end, libsndfile 1.2.2 lands elsewhere), and an
# MP3 frame depends on the frames before it: those two are decoded from the start, in one go.
_SEEKABLE = {"wav", "aiff", "flac", "au", "caf", "w64", "nist", "voc"}
_BY_LIBSNDFILE = {*_SEEKABLE, "ogg", "mp3"}
_UNKNOWN_LENGTH = 1 << 62  # libsndfile's frame count for a FLAC that was written into a pipe is over this
_BLOCK = 1 << 12  # samples a channel, where a file is read in pieces
_PCM_16 = np.float32(2.0**-15)


def read_span(path: Path, span: Span, name: str) -> tuple[np.ndarray, int]:
    """Decode a span of a sound file.

    Parameters
    ----------
    path : Path
        The file; what it holds is told by its content, never by its ending.
    span : callable
        From the file's sample rate to the first sample and the number of samples wanted (None: to the end).
    name : str
        What messages call it.

    Returns
    -------
    numpy.ndarray
        float32 [channel, sample], contiguous; fewer samples than wanted where the file ends inside the span.
    int
        Sample rate in Hz, the file's own.

    Raises
    ------
    ClipError
        ``missing_file``, ``unreadable``, ``empty``, ``truncated``, ``undecodable`` or ``past_end``. Of a file that is
        cut inside its samples, FLAC gives the spans before the cut; every other kind is refused as a whole.
    EnvironmentFault
        ffmpeg is needed and not there.
    """
    if not name.isprintable():
        name = "".join(letter if letter.isprintable() else "?" for letter in name)
    with _opened(path, name) as (file, size):
        head = file.read(containers.HEAD_BYTES)
        kind = containers.container(head)
        _check_whole(file, size, kind, head, name)
        read = _read_by_libsndfile(file, kind, span, name) if _suits_libsndfile(file, kind) else None
    return _checked(read or read_through_ffmpeg(path, span, name), name)


@contextmanager
def _opened(path: Path, name: str) -> Iterator[tuple[BinaryIO, int]]:
    """Open a regular file, unbuffered: libsndfile goes on with the same file descriptor."""
    try:
        status = path.stat()
        if not S_ISREG(status.st_mode):
            raise ClipError("unreadable", f"{name}: expected a file, got a folder or device")
        with path.open("rb", buffering=0) as file:
            yield file, status.st_size
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ClipError("missing_file", f"{name}: no such file") from error
    except OSError as error:
        raise ClipError("unreadable", f"{name}: can't be read ({error.strerror})") from error


def _check_whole(file: BinaryIO, size: int, kind: str, head: bytes, name: str) -> None:
    if size == 0:
        raise ClipError("empty", f"{name}: expected sound, got a file of 0 bytes")
    if kind == "text":
        beginning = head[:40].decode("utf-8", "replace")
        raise ClipError("undecodable", f"{name}: expected sound, got text that begins with {beginning!r}")
    missing = containers.shortfall(file, size, kind)
    if missing:
        raise ClipError("truncated", f"{name}: {missing}; fetch it again")


def _suits_libsndfile(file: BinaryIO, kind: str) -> bool:
    # Where an MP3 does not state its length, libsndfile stops at an estimate; ffmpeg reads it to its end.
    return kind in _BY_LIBSNDFILE and (kind != "mp3" or containers.states_mp3_length(file))


def _sound(file: BinaryIO) -> sf.SoundFile:
    file.seek(0)  # libsndfile takes the descriptor's position for the beginning
    return sf.SoundFile(file.fileno(), closefd=False)


def _read_by_libsndfile(file: BinaryIO, kind: str, span: Span, name: str) -> Decoded | None:
    """Decode by libsndfile; None where ffmpeg should have a try."""
    try:
        with _sound(file) as sound:
            if sound.frames >= _UNKNOWN_LENGTH:
                return None
            start, count = span(sound.samplerate)
            stop = sound.frames if count is None else min(start + count, sound.frames)
            first = min(start, stop) if kind in _SEEKABLE else 0
            if first:
                sound.seek(first)
            waveform = _read_samples(sound, stop - first, name)
            rate, total = sound.samplerate, sound.frames
    except sf.LibsndfileError as error:
        if kind != "flac":
            return None
        raise _flac_problem(file, name, error) from error
    if waveform.shape[1] < stop - first:
        raise _cut_short(name, total, first + waveform.shape[1])
    return Decoded(np.ascontiguousarray(waveform[:, start - first :]), rate, start, total)


def _read_samples(sound: sf.SoundFile, count: int, name: str) -> np.ndarray:
    """Read up to `count` samples as float32 [channel, sample].

    Plain 16-bit files are read as integers and scaled here: the numbers are libsndfile's, in less of its time.
    """
    dtype = np.int16 if sound.subtype == "PCM_16" and sound.format != "FLAC" else np.float32
    try:
        samples = np.empty((count, sound.channels), dtype=dtype)
    except MemoryError as error:
        raise ClipError("undecodable", f"{name}: {count} samples by its header, more than fit into memory") from error
    samples = sound.read(out=samples).T
    if dtype == np.float32:
        return np.ascontiguousarray(samples)
    return np.multiply(samples, _PCM_16, out=np.empty(samples.shape, dtype=np.float32))


def _cut_short(name: str, promised: int, decoded: int) -> ClipError:
    return ClipError("truncated", f"{name}: its header promises {promised} samples, {decoded} decode; fetch it again")


def _flac_problem(file: BinaryIO, name: str, error: sf.LibsndfileError) -> ClipError:
    """Tell a FLAC that was cut from one that is damaged inside: of the second the last sample can still be decoded."""
    try:
        with _sound(file) as sound:
            promised, decoded = sound.frames, _count_decodable(sound)
    except sf.LibsndfileError:
        return ClipError("undecodable", f"{name}: not a FLAC that can be decoded ({error.error_string})")
    if _last_sample_decodes(file):
        return ClipError("undecodable", f"{name}: damaged after sample {decoded} of {promised}; fetch it again")
    return _cut_short(name, promised, decoded)


def _count_decodable(sound: sf.SoundFile) -> int:
    scratch = np.empty((_BLOCK, sound.channels), dtype=np.int32)
    decoded = 0
    try:
        while read := len(sound.read(out=scratch)):
            decoded += read
    except sf.LibsndfileError:
        pass
    return decoded


def _last_sample_decodes(file: BinaryIO) -> bool:
    try:
        with _sound(file) as sound:
            sound.seek(sound.frames - 1)
            return len(sound.read(1)) == 1
    except sf.LibsndfileError:
        return False


def _checked(read: Decoded, name: str) -> tuple[np.ndarray, int]:
    if read.total == 0:
        raise ClipError("empty", f"{name}: expected sound, got 0 samples")
    if read.start >= read.total:
        start_s, end_s = (samples_to_seconds(samples, read.sample_rate) for samples in (read.start, read.total))
        raise ClipError("past_end", f"{name}: the span begins at {start_s:.3f} s, the file ends at {end_s:.3f} s")
    if read.waveform.shape[1] == 0:
        raise ClipError("empty", f"{name}: the span holds no sample")
    return read.waveform, read.sample_rate
