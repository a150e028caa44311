"""Read, resample, cut and write waveforms.

A waveform is float32 ``[channel, sample]``, contiguous, full scale 1.0. libsndfile reads what it can, ffmpeg the rest;
whether a file is whole is decided by the lengths that its container states and by what decodes.
"""

import logging
import math
import os
import re
import tempfile
import threading
from io import BytesIO
from pathlib import Path

import numpy as np
import soundfile as sf
import soxr

from audiodata.decoding import read_span
from audiodata.errors import ClipError, EnvironmentFault
from audiodata.ffmpeg import Span, ffmpeg_version, find_ffmpeg
from audiodata.timing import resampled_length, seconds_to_samples, segment_count

__all__ = [
    "decode",
    "ffmpeg_version",
    "fill",
    "find_ffmpeg",
    "mix_channels",
    "prepare",
    "read_clip",
    "resample",
    "segments",
    "write_flac",
    "write_wav",
]

logger = logging.getLogger(__name__)

_FLAC_CHANNELS = 8


def decode(source: Path | bytes, name: str = "") -> tuple[np.ndarray, int]:
    """Decode a whole sound file.

    Parameters
    ----------
    source : path or bytes
        The file, or its content.
    name : str
        What messages call it; by default the file's name.

    Returns
    -------
    numpy.ndarray
        float32 [channel, sample]; lossy formats may exceed full scale, and keep it.
    int
        Sample rate in Hz, the file's own.

    Raises
    ------
    ClipError
        ``missing_file``, ``unreadable``, ``empty``, ``truncated`` or ``undecodable``.
    EnvironmentFault
        ffmpeg is needed and not there.
    """
    return read_clip(source, 0.0, math.nan, name)


def read_clip(source: Path | bytes, start_s: float, duration_s: float, name: str = "") -> tuple[np.ndarray, int]:
    """Decode a span of a sound file, exact to the sample.

    Parameters
    ----------
    source : path or bytes
        The file, or its content.
    start_s : float
        Start in the file, in seconds; sample 0 is at 0.
    duration_s : float
        Seconds; NaN means to the end. A file that ends inside the span gives what it has: whether that is enough is for
        `audiodata.cleaning.verdict` to say.
    name : str
        What messages call it; by default the file's name.

    Returns
    -------
    numpy.ndarray
        float32 [channel, sample].
    int
        Sample rate in Hz, the file's own.

    Raises
    ------
    ClipError
        As `decode`; ``past_end`` where the file ends before the span begins; ``empty`` for a span under half a sample.
    EnvironmentFault
        ffmpeg is needed and not there.
    """

    def span(sample_rate: int) -> tuple[int, int | None]:
        count = None if math.isnan(duration_s) else seconds_to_samples(duration_s, sample_rate)
        return seconds_to_samples(start_s, sample_rate), count

    if start_s < 0:
        raise ValueError(f"start_s = {start_s}: a span can't start before its file")
    if isinstance(source, bytes):
        return _read_content(source, span, name or "content")
    return read_span(Path(source), span, name or Path(source).name)


def resample(waveform: np.ndarray, from_rate: int, to_rate: int) -> np.ndarray:
    """Change the sample rate by band-limited interpolation (soxr, quality HQ), channel by channel.

    Parameters
    ----------
    waveform : numpy.ndarray
        float32 [channel, sample].
    from_rate, to_rate : int
        In Hz. Where they are equal the waveform itself is returned.

    Returns
    -------
    numpy.ndarray
        float32 [channel, sample] of samples * to_rate / from_rate samples, rounded half up; sample 0 stays at time 0.
    """
    if from_rate == to_rate:
        return waveform
    length = resampled_length(waveform.shape[1], from_rate, to_rate)
    resampled = np.zeros((waveform.shape[0], length), dtype=np.float32)
    for row, channel in zip(resampled, waveform, strict=True):
        changed = soxr.resample(np.ascontiguousarray(channel), from_rate, to_rate, quality="HQ")[:length]
        row[: len(changed)] = changed
    return resampled


def mix_channels(waveform: np.ndarray, channels: int | None) -> np.ndarray:
    """Give a waveform the number of channels asked for.

    Parameters
    ----------
    waveform : numpy.ndarray
        float32 [channel, sample].
    channels : int or None
        1: the mean of all channels; None: as it is; any other number: the waveform must have it.

    Raises
    ------
    ClipError
        ``wrong_channels``.
    """
    have = waveform.shape[0]
    if channels is None or channels == have:
        return waveform
    if channels == 1:
        return waveform.mean(axis=0, dtype=np.float32, keepdims=True)
    raise ClipError("wrong_channels", f"expected {channels} channels, got {have}")


def prepare(waveform: np.ndarray, rate: int, *, sample_rate: int | None, channels: int | None) -> np.ndarray:
    """Mix channels and resample as a catalog's [audio] table says.

    Parameters
    ----------
    waveform : numpy.ndarray
        float32 [channel, sample].
    rate : int
        Its sample rate in Hz.
    sample_rate : int or None
        Wanted, in Hz; None keeps `rate`.
    channels : int or None
        As for `mix_channels`.
    """
    mixed = mix_channels(waveform, channels)
    return mixed if sample_rate is None else resample(mixed, rate, sample_rate)


def fill(waveform: np.ndarray, length: int, short: str) -> np.ndarray:
    """Bring a waveform to a length: cut what is too long, fill what is too short.

    Parameters
    ----------
    waveform : numpy.ndarray
        float32 [channel, sample].
    length : int
        Samples wanted.
    short : str
        ``"zero"``: zeros after the end; ``"repeat"``: the waveform again from its start, as often as needed.

    Returns
    -------
    numpy.ndarray
        float32 [channel, length], contiguous; without a copy where it fits already.

    Raises
    ------
    ClipError
        ``empty``: nothing to repeat.
    """
    have = waveform.shape[1]
    if have >= length:
        return np.ascontiguousarray(waveform[:, :length])
    if short == "zero":
        return np.pad(waveform, ((0, 0), (0, length - have)))
    if short != "repeat":
        raise ValueError(f"short = {short!r}: expected 'zero' or 'repeat'")
    if have == 0:
        raise ClipError("empty", "no samples to repeat")
    return np.tile(waveform, (1, -(-length // have)))[:, :length].copy()


def segments(
    waveform: np.ndarray, length: int | None, hop: int | None, short: str, min_fill: float
) -> list[tuple[int, int, np.ndarray]]:
    """Cut a clip into segments of one length.

    Parameters
    ----------
    waveform : numpy.ndarray
        float32 [channel, sample].
    length : int or None
        Samples in a segment; None: the clip is one segment.
    hop : int or None
        Samples from one start to the next; None: `length`, so that segments lie side by side.
    short : str
        What becomes of a segment that reaches past the clip's end: ``"zero"``, ``"repeat"`` (see `fill`) or ``"drop"``.
    min_fill : float
        A last segment that the clip fills by less than this share is not made; the first one always is, unless dropped.

    Returns
    -------
    list of (int, int, numpy.ndarray)
        First sample in the clip, samples that are the clip's own, and float32 [channel, length].
    """
    samples = waveform.shape[1]
    if length is None:
        return [(0, samples, waveform)] if samples else []
    hop = hop or length
    cuts = []
    for start in range(0, hop * int(segment_count(samples, length, hop, 1.0 if short == "drop" else min_fill)), hop):
        own = waveform[:, start : start + length]
        cuts.append((start, own.shape[1], fill(own, length, short)))
    return cuts


def write_flac(path: Path, waveform: np.ndarray, sample_rate: int, subtype: str = "PCM_16") -> int:
    """Write a waveform as FLAC: under its final name only when all of it is on disk and reads back the same.

    Samples are rounded to the nearest step (half to even, no dither: equal input gives an equal file), with full scale
    1.0 at 32768 or 8388608 steps: what was decoded from a file of that many bits is kept bit for bit. What lies beyond
    full scale is clipped.

    Parameters
    ----------
    path : Path
        The final name; an existing file is replaced.
    waveform : numpy.ndarray
        float32 [channel, sample].
    sample_rate : int
        In Hz.
    subtype : str
        ``"PCM_16"`` (a noise floor 98 dB under a full-scale sine: enough for what a lossy format held) or ``"PCM_24"``.

    Returns
    -------
    int
        Samples that were beyond full scale.

    Raises
    ------
    ClipError
        ``empty`` or ``not_finite``; ``wrong_channels`` or ``wrong_rate`` where FLAC has no place for it.
    EnvironmentFault
        The disk is full or can't be written.
    """
    path = Path(path)
    steps = _quantised(waveform, subtype, path.name)
    content = _flac_content(steps, sample_rate, subtype, path.name)
    _store(path, content, steps, sample_rate)
    return _count_beyond(waveform, path.name)


def write_wav(path: Path, waveform: np.ndarray, sample_rate: int, subtype: str = "PCM_16", comment: str = "") -> int:
    """Write a waveform as WAV, in the way of `write_flac` and with any number of channels.

    Parameters
    ----------
    path, waveform, sample_rate, subtype
        As for `write_flac`.
    comment : str
        A note for the header.

    Returns
    -------
    int
        Samples that were beyond full scale.

    Raises
    ------
    ClipError, EnvironmentFault
        As `write_flac`.
    """
    path = Path(path)
    steps = _quantised(waveform, subtype, path.name)
    content = BytesIO()
    with sf.SoundFile(content, "w", sample_rate, steps.shape[1], subtype, format="WAV") as file:
        if comment:
            file.comment = comment
        file.write(steps)
    _store(path, content.getvalue(), steps, sample_rate)
    return _count_beyond(waveform, path.name)


def _count_beyond(waveform: np.ndarray, name: str) -> int:
    beyond = int(np.count_nonzero(np.abs(waveform) > 1.0))
    if beyond:
        logger.info("%s: %d samples beyond full scale were clipped", name, beyond)
    return beyond


def _read_content(content: bytes, span: Span, name: str) -> tuple[np.ndarray, int]:
    """Decode from memory through a temporary file: one way for all sources, and ffmpeg has to seek in some."""
    try:
        with tempfile.NamedTemporaryFile(suffix=".media") as file:
            file.write(content)
            file.flush()
            return read_span(Path(file.name), span, name)
    except OSError as error:
        raise _disk_fault(Path(tempfile.gettempdir()), error) from error


def _quantised(waveform: np.ndarray, subtype: str, name: str) -> np.ndarray:
    """Integer [sample, channel]; PCM_24 in the upper three bytes of int32, as libsndfile takes it."""
    bits = {"PCM_16": 16, "PCM_24": 24}[subtype]
    if waveform.shape[1] == 0:
        raise ClipError("empty", f"{name}: no samples to write")
    if not np.isfinite(waveform).all():
        raise ClipError("not_finite", f"{name}: holds NaN or infinite samples")
    scale = 2.0 ** (bits - 1)
    steps = np.clip(np.rint(waveform.T * np.float32(scale)), -scale, scale - 1)
    steps = np.ascontiguousarray(steps, dtype=np.int16 if bits == 16 else np.int32)
    return steps if bits == 16 else steps << 8


def _flac_content(steps: np.ndarray, sample_rate: int, subtype: str, name: str) -> bytes:
    content = BytesIO()
    if steps.shape[1] > _FLAC_CHANNELS:
        problem = f"{name}: FLAC holds at most {_FLAC_CHANNELS} channels, got {steps.shape[1]}"
        raise ClipError("wrong_channels", problem)
    try:
        sf.write(content, steps, sample_rate, format="FLAC", subtype=subtype)
    except sf.LibsndfileError as error:
        raise ClipError("wrong_rate", f"{name}: no FLAC at {sample_rate} Hz ({error.error_string})") from error
    return content.getvalue()


UNFINISHED = re.compile(r"\..+\.\d+-\d+\.part")  # as `_store` names what it writes


def _store(path: Path, content: bytes, steps: np.ndarray, sample_rate: int) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_native_id()}.part")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        _check_reads_back(temporary, steps, sample_rate)
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise _disk_fault(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def _check_reads_back(path: Path, steps: np.ndarray, sample_rate: int) -> None:
    try:
        with path.open("rb", buffering=0) as file:
            back, rate = sf.read(file.fileno(), dtype=steps.dtype.name, always_2d=True, closefd=False)
    except sf.LibsndfileError:
        back, rate = None, 0
    if rate != sample_rate or not np.array_equal(back, steps):
        raise EnvironmentFault(f"{path}: what was written does not read back the same; check the disk")


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _disk_fault(path: Path, error: OSError) -> EnvironmentFault:
    return EnvironmentFault(f"{path}: can't be written ({error.strerror}); check the folder and the space left on it")
