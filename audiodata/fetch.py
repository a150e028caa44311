"""Read a span of a recording behind an address: ffmpeg seeks, decodes more on both sides, and says where it is.

A seek lands where the container allows it: up to 10 s early in WebM, one packet late in MP4. So nothing is trusted
but the time stamps of the decoded frames (ffmpeg's ``ashowinfo``), from which `Span.at` places the samples in the
recording.
"""

import json
import os
import re
import signal
import statistics
import subprocess
from typing import NamedTuple

import numpy as np

from audiodata.audio import find_ffmpeg
from audiodata.download_errors import classify_media
from audiodata.errors import ClipError, EnvironmentFault
from audiodata.resolve import Address
from audiodata.timing import seconds_to_samples

LEAST_LEAD_S = 0.25  # a decoder needs some packets before its output is right (Opus: 80 ms, RFC 7845 section 4.6)
MAX_GAP_S = 0.05  # time stamps may jitter (WebM has whole milliseconds); beyond this, sound is missing
OPUS_GRID = 120  # samples at 48 kHz: the shortest Opus frame, 2.5 ms, of which all are made (RFC 6716, section 2.1.4)

_PROTOCOLS = "http,https,httpproxy,tcp,tls,crypto"
# What platforms serve. No scripts and playlists that could name other sources, but for HLS, which _PROTOCOLS binds.
_FORMATS = "aac,ac3,asf,avi,caf,eac3,flac,flv,hls,matroska,mov,mp3,mp4,m4a,mpeg,mpegts,ogg,wav,webm"
_ABSOLUTE_TIME = ("mov", "matroska")  # sound may start later than time 0; elsewhere the first sample is time 0
_LOSE_TIME = ("hls", "mpegts")  # after a seek, packets have no time stamps for a while: read from the start instead

_FRAME = re.compile(
    r"^\[Parsed_ashowinfo.* n:\s*\d+ pts:(-?\d+) .*channels:(\d+) .*rate:(\d+) nb_samples:(\d+)", re.MULTILINE
)
_INPUT = re.compile(r"^Input #0, (\S+), from", re.MULTILINE)
_DURATION = re.compile(r"^  Duration: (?:N/A|(\d+):(\d+):([\d.]+))(?:, start: (-?[\d.]+))?", re.MULTILINE)
# Lines that hold other people's words (titles, comments, the address), which must not pass for errors.
_DESCRIPTION = (" ", "Input #", "Output #")
# A frame's line is written in pieces, and on a busy machine what another thread has to say gets between them.
_OF_A_FRAME = re.compile(r"^\[Parsed_ashowinfo[^\]]*\] (?:n:.*? checksum:[0-9A-F]{8} )?(?:plane_checksums: \[ )?(?:[0-9A-F]{8} )*\]?")


class Span(NamedTuple):
    """What was read.

    Attributes
    ----------
    waveform : numpy.ndarray
        float32 [channel, sample]; reaches over what was asked for where the recording does.
    sample_rate : int
        In Hz, the recording's own.
    at : int
        Position of sample 0 in the recording, in samples.
    container : str
        ffmpeg's name of its format.
    recording_s : float or None
        Length of the recording by its container.
    complaint : tuple of (str, str)
        Reason and message where the connection or the file failed on the way; else empty texts.
    """

    waveform: np.ndarray
    sample_rate: int
    at: int
    container: str
    recording_s: float | None
    complaint: tuple[str, str]


def read_span(
    address: Address,
    start_s: float,
    duration_s: float | None,
    *,
    over_read_s: float,
    timeout_s: float,
    proxy: str | None = None,
) -> Span:
    """Read a span, and a little more on both sides.

    Parameters
    ----------
    address : Address
        Where from.
    start_s, duration_s : float
        The span in the recording, in seconds; None: to the end.
    over_read_s : float
        How much more to read on both sides.
    timeout_s : float
        Time after which the attempt is ended, however much has come.
    proxy : str or None
        ``http://host:port``.

    Raises
    ------
    ClipError
        A reason of the network or the address; ``past_end``, ``undecodable`` or ``empty``. A recording that ends
        within the span is no error here: see `Span.complaint` and the length.
    EnvironmentFault
        ffmpeg is missing.
    """
    seek_s = max(0, int(start_s - max(over_read_s, LEAST_LEAD_S)))  # whole seconds are exact in every time base
    end_s = None if duration_s is None else start_s + duration_s + over_read_s
    span = _read(address, seek_s, end_s, timeout_s, proxy)
    landed_late = span.at > seconds_to_samples(start_s, span.sample_rate)  # an index with holes
    behind_the_end = span.recording_s is not None and seek_s >= span.recording_s  # ffmpeg then counts Ogg from where it was to go
    if seek_s and (landed_late or behind_the_end or span.container in _LOSE_TIME):
        span = _read(address, 0, end_s, timeout_s, proxy)
    if _reaches(span) <= start_s:
        raise _nothing_there(span, start_s)
    return span


def _read(address: Address, seek_s: int, end_s: float | None, timeout_s: float, proxy: str | None) -> Span:
    output, log = _run(_command(address, seek_s, end_s, timeout_s), _environment(proxy), timeout_s)
    frames = [tuple(map(int, frame)) for frame in _FRAME.findall(log)]
    complaint = _complaint(log)
    container, recording_s, offset_s = _container(log)
    if not frames:
        raise _no_sound(complaint, recording_s, seek_s)
    channels, sample_rate = frames[0][1], frames[0][2]
    if any(frame[1:3] != frames[0][1:3] for frame in frames):
        raise ClipError("undecodable", "the number of channels or the sample rate changes inside the recording")
    at = _first_position(frames, "Audio: opus" in log) + seconds_to_samples(seek_s + offset_s, sample_rate)
    samples = np.frombuffer(output, dtype="<f4", count=len(output) // (4 * channels) * channels).reshape(-1, channels)
    return Span(np.ascontiguousarray(samples.T), sample_rate, at, container, recording_s, complaint)


def _complaint(log: str) -> tuple[str, str]:
    lines = (_OF_A_FRAME.sub("", line) for line in log.splitlines() if not line.startswith(_DESCRIPTION))
    return classify_media("\n".join(lines))


def _first_position(frames: list[tuple[int, ...]], is_opus: bool) -> int:
    """Position of the first sample after the seek, from the time stamps of all frames.

    Each frame votes for where the first one must have been; the median does not care for the few that are off after a
    seek. Opus in WebM is a millisecond off as a whole, but its frames lie on a known grid once the decoder has
    dropped its delay from the first.
    """
    votes, passed = [], 0
    for pts, _, _, count in frames:
        votes.append(pts - passed)
        passed += count
    first = round(statistics.median(votes))
    late = sum(abs(vote - first) > MAX_GAP_S * frames[0][2] for vote in votes)
    if late > 1:  # one is the first after a seek
        raise ClipError("undecodable", f"a gap in the sound: {late} of {len(votes)} pieces are out of place")
    dropped_delay = len(frames) > 1 and frames[0][3] < frames[1][3]
    return round(first / OPUS_GRID) * OPUS_GRID if is_opus and dropped_delay else first


def _container(log: str) -> tuple[str, float | None, float]:
    """Name of the format, length of the recording, and the time that ffmpeg has counted from, in seconds."""
    kind, found = _INPUT.search(log), _DURATION.search(log)
    if not kind or not found:
        return "", None, 0.0
    hours, minutes, seconds, start = found.groups()
    recording_s = None if hours is None else 3600 * int(hours) + 60 * int(minutes) + float(seconds)
    is_absolute = any(name in kind[1].split(",") for name in _ABSOLUTE_TIME)
    return kind[1], recording_s, max(float(start or 0), 0.0) if is_absolute else 0.0


def _reaches(span: Span) -> float:
    return (span.at + span.waveform.shape[1]) / span.sample_rate


def _nothing_there(span: Span, start_s: float) -> ClipError:
    end_s = _reaches(span)
    cut = span.recording_s is not None and span.recording_s > start_s + MAX_GAP_S
    if span.complaint[0] and not (cut and span.complaint[0] == "undecodable"):  # the last piece of a cut file is damaged
        return ClipError(*span.complaint)
    if cut:
        header = f"the recording is {span.recording_s:.3f} s long by its header"
        return ClipError("truncated", f"{header}, its sound ends at {end_s:.3f} s")
    return ClipError("past_end", f"the span begins at {start_s:.3f} s, the recording ends at {end_s:.3f} s")


def _no_sound(complaint: tuple[str, str], recording_s: float | None, seek_s: int) -> ClipError:
    if complaint[0]:
        return ClipError(*complaint)
    if recording_s is None:
        return ClipError("empty", f"no sound from {seek_s} s on")
    if recording_s <= seek_s:
        return ClipError("past_end", f"the span begins after {seek_s} s, the recording is {recording_s:.3f} s long")
    header = f"the recording is {recording_s:.3f} s long by its header"
    return ClipError("truncated", f"{header}, no sound from {seek_s} s on")


def _command(address: Address, seek_s: int, end_s: float | None, timeout_s: float) -> list[str]:
    headers = "".join(f"{_clean(name)}: {_clean(value)}\r\n" for name, value in address.headers.items())
    cookies = "".join(f"{_clean(cookie)}\r\n" for cookie in address.cookies)
    reading = ["-protocol_whitelist", _PROTOCOLS, "-format_whitelist", _FORMATS, "-noaccurate_seek"]
    # Where its worker was killed, a silent server would hold it for ever; else it is ended long before by whoever waits for it.
    reading += ["-rw_timeout", str(round(2e6 * timeout_s))]
    reading += ["-headers", headers] if headers else []
    reading += ["-cookies", cookies] if cookies else []
    reading += ["-ss", str(seek_s)] if seek_s else []  # a seek to 0 drops what lies before time 0, which decoders need
    stop = "" if end_s is None else f",atrim=end={end_s - seek_s:.6f}"
    writing = ["-map", "0:a:0", "-vn", "-sn", "-dn", "-af", f"ashowinfo{stop}", "-c:a", "pcm_f32le", "-f", "f32le"]
    program = [find_ffmpeg(), "-nostdin", "-hide_banner", "-nostats", "-loglevel", "info"]
    return [*program, *reading, "-i", _checked(address.url), *writing, "pipe:1"]


def _clean(text: str) -> str:
    """Keep a header from becoming two."""
    return re.sub(r"[\r\n\0]+", " ", str(text))


def _checked(url: str) -> str:
    if not re.match(r"https?://", url, re.IGNORECASE):
        raise ClipError("no_format", f"the sound is behind {json.dumps(url[:80])}, which is not an http address")
    return url


def _environment(proxy: str | None) -> dict[str, str]:
    """Hand the proxy over in the environment: it may hold a password, and everyone can read command lines."""
    environment = {name: value for name, value in os.environ.items() if name != "AV_LOG_FORCE_COLOR"}
    environment["AV_LOG_FORCE_NOCOLOR"] = "1"
    if proxy:
        environment["http_proxy"] = proxy
        environment = {name: value for name, value in environment.items() if name.lower() != "no_proxy"}
    return environment


def _run(command: list[str], environment: dict[str, str], timeout_s: float) -> tuple[bytes, str]:
    """Run ffmpeg in a process group of its own, which is gone when this returns, for whatever cause."""
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            process_group=0,
        )
    except OSError as error:
        raise EnvironmentFault(f"{command[0]} does not run ({error.strerror}); install a working ffmpeg") from error
    try:
        output, log = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        raise ClipError("network", f"the span did not arrive within {timeout_s:g} s") from None
    finally:
        _end_group(process)
    return output, log.decode("utf-8", "replace")


def _end_group(process: subprocess.Popen) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
