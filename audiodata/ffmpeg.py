"""Find ffmpeg, and decode with it what libsndfile can't: m4a, mp4, webm, mkv, aac and their kind."""

import re
import shutil
import struct
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, BinaryIO, NamedTuple

import imageio_ffmpeg
import numpy as np

from audiodata.errors import ClipError, EnvironmentFault

TIMEOUT_S = 300.0
"""An ffmpeg that decodes one file for longer than this is stopped."""

# Playlists and scripts are formats to ffmpeg too and could name other files or addresses: only these are tried.
_FORMATS = (
    "aac,ac3,aiff,amr,ape,asf,au,avi,caf,dts,eac3,flac,flv,matroska,mov,mp3,mp4,m4a,"
    "mpeg,mpegts,ogg,oma,tta,voc,w64,wav,webm,wv"
)
_BLOCK = 1 << 20  # bytes read from the pipe at a time while skipping
_CUT_SHORT = ("ended prematurely", "partial file", "moov atom not found", "truncated")
_DAMAGED = ("invalid data found", "error while decoding", "error submitting", "decoding error", "corrupt")

Span = Callable[[int], tuple[int, int | None]]
"""From a stream's sample rate to the first sample and the number of samples wanted (None: to the end)."""


class Decoded(NamedTuple):
    """What came out of a decoder.

    Attributes
    ----------
    waveform : numpy.ndarray
        float32 [channel, sample], contiguous; the span, or what the stream has of it.
    sample_rate : int
        In Hz.
    start : int
        The first sample asked for.
    total : int
        Samples in the stream, as far as it was read.
    """

    waveform: np.ndarray
    sample_rate: int
    start: int
    total: int


def find_ffmpeg() -> str:
    """Path of the ffmpeg to use: the system's where there is one on PATH, else the one that imageio-ffmpeg brings.

    Raises
    ------
    EnvironmentFault
        There is neither.
    """
    system = shutil.which("ffmpeg")
    if system:
        return system
    try:
        return imageio_ffmpeg.get_ffmpeg_exe()
    except RuntimeError as error:
        problem = "no ffmpeg on PATH and none with imageio-ffmpeg; install ffmpeg or `pip install imageio-ffmpeg`"
        raise EnvironmentFault(problem) from error


def ffmpeg_version() -> str:
    """Version of the ffmpeg that `find_ffmpeg` gives, as it states it (``7.1``, ``n9.0.2-17-g2a571b6068``).

    Raises
    ------
    EnvironmentFault
        There is no ffmpeg, or it does not run.
    """
    program = find_ffmpeg()
    try:
        command = [program, "-version"]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise EnvironmentFault(f"{program} does not run ({_first_line(str(error))}); install one that works") from error
    found = re.match(rb"ffmpeg version (\S+)", done.stdout)
    return found[1].decode("ascii", "replace") if found else "unknown"


def read_through_ffmpeg(path: Path, span: Span, name: str, timeout_s: float = TIMEOUT_S) -> Decoded:
    """Decode a span of a file's first audio stream.

    Sample 0 is the first sample of the stream (encoder delay removed, where the container states it). The stream is
    decoded from its start and counted, because a seek in these containers is not exact; memory is bounded by the span.

    Parameters
    ----------
    path : Path
        The file.
    span : callable
        From the sample rate to the first sample and the number of samples wanted (None: to the end).
    name : str
        What messages call it.
    timeout_s : float
        Time after which ffmpeg is stopped.

    Raises
    ------
    ClipError
        ``undecodable`` or ``truncated``.
    EnvironmentFault
        There is no ffmpeg.
    """
    with tempfile.TemporaryFile() as log, _running(_command(path), log, timeout_s) as (process, expired):
        header = _read_header(process.stdout)
        if header is None:
            raise _problem(process.wait() or 1, _text(log, path), name, expired.is_set())
        sample_rate, channels = header
        start, count = span(sample_rate)
        samples, total, ended = _read_samples(process.stdout, channels, start, count)
        problem = _problem(process.wait(), _text(log, path), name, expired.is_set()) if ended else None
        if problem:
            raise problem
    return Decoded(np.array(samples.T, dtype=np.float32, order="C"), sample_rate, start, total)


def _command(path: Path) -> list[str]:
    # `file:` and an absolute path: a name that begins with a dash or holds a colon or a per cent sign stays a name.
    source = f"file:{Path(path).absolute()}"
    reading = ["-threads", "1", "-protocol_whitelist", "file", "-format_whitelist", _FORMATS, "-i", source]
    writing = ["-map", "0:a:0", "-vn", "-sn", "-dn", "-c:a", "pcm_f32le", "-bitexact", "-f", "wav", "pipe:1"]
    return [find_ffmpeg(), "-nostdin", "-hide_banner", "-loglevel", "error", *reading, *writing]


@contextmanager
def _running(
    command: list[str], log: IO[bytes], timeout_s: float
) -> Iterator[tuple[subprocess.Popen, threading.Event]]:
    """Run a command whose output is read by the caller; it is stopped at the time-out or when the caller is done."""
    expired = threading.Event()
    with _started(command, log) as process:
        watchdog = threading.Timer(timeout_s, lambda: (expired.set(), process.kill()))
        watchdog.daemon = True
        watchdog.start()
        try:
            yield process, expired
        finally:
            watchdog.cancel()
            process.kill()


def _started(command: list[str], log: IO[bytes]) -> subprocess.Popen:
    try:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log)
    except OSError as error:
        raise EnvironmentFault(f"{command[0]} does not run ({error.strerror}); install a working ffmpeg") from error


def _read_header(pipe: BinaryIO) -> tuple[int, int] | None:
    """Sample rate and channels from the WAV header that ffmpeg writes; None where it wrote none."""
    if len(pipe.read(12)) < 12:
        return None
    rate = channels = 0
    while len(head := pipe.read(8)) == 8:
        name, length = struct.unpack("<4sI", head)
        if name == b"data":
            return rate, channels
        body = pipe.read(length + length % 2)
        if name == b"fmt ":
            channels, rate = struct.unpack("<HI", body[2:8])
    return None


def _read_samples(pipe: BinaryIO, channels: int, start: int, count: int | None) -> tuple[np.ndarray, int, bool]:
    """Skip to `start` and read `count` samples; also the samples passed by, and whether the stream came to its end."""
    width = 4 * channels
    passed = 0
    while passed < start * width:
        block = len(pipe.read(min(_BLOCK, start * width - passed)))
        passed += block
        if not block:
            break
    data = pipe.read() if count is None else pipe.read(count * width)
    ended = count is None or len(data) < count * width
    samples = np.frombuffer(data, dtype="<f4", count=len(data) // width * channels).reshape(-1, channels)
    return samples, passed // width + len(samples), ended


def _text(log: IO[bytes], path: Path) -> str:
    """Return what ffmpeg wrote to stderr, without memory addresses and the folder: the same text on every machine."""
    log.seek(0)
    text = log.read(4096).decode("utf-8", "replace").replace(str(Path(path).absolute().parent) + "/", "")
    return re.sub(r"(^|\n)(\[[^\]\n]*\] ?)+", r"\1", text)


def _problem(code: int, text: str, name: str, expired: bool) -> ClipError | None:
    """Judge a finished ffmpeg by its exit code and its words: a file that was cut can end with code 0."""
    lowered = text.lower()
    if expired:
        return ClipError("undecodable", f"{name}: ffmpeg did not end in time and was stopped")
    if any(word in lowered for word in _CUT_SHORT):
        return ClipError("truncated", f"{name}: it ends early, says ffmpeg ({_first_line(text)}); fetch it again")
    if "matches no streams" in lowered or "does not contain any stream" in lowered:
        return ClipError("undecodable", f"{name}: expected sound, got a file without an audio stream")
    if code or any(word in lowered for word in _DAMAGED):
        return ClipError("undecodable", f"{name}: ffmpeg can't decode it ({_first_line(text) or f'exit code {code}'})")
    return None


def _first_line(text: str) -> str:
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return "".join(letter if letter.isprintable() else "?" for letter in line)[:200]
