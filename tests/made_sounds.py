"""Sounds with known properties, and files made of them, for the tests."""

import subprocess
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from audiodata.audio import find_ffmpeg

# Ending -> encoder and further arguments of ffmpeg.
ENCODINGS = {
    "ogg": ["-c:a", "libvorbis"],
    "opus": ["-c:a", "libopus"],
    "mp3": ["-c:a", "libmp3lame"],
    "m4a": ["-c:a", "aac"],
    "webm": ["-c:a", "libopus"],
    "mkv": ["-c:a", "flac"],
    "mp4": ["-c:a", "aac", "-movflags", "+faststart"],
    "aac": ["-c:a", "aac"],
}


def tone(frequency_hz, amplitude, sample_rate, duration_s=1.0, channels=1):
    """Sine, float32 [channel, sample]."""
    times = np.arange(round(duration_s * sample_rate)) / sample_rate
    return np.tile(amplitude * np.sin(2 * np.pi * frequency_hz * times), (channels, 1)).astype(np.float32)


def noise(seed, samples, channels=1, level=0.1):
    """White noise, float32 [channel, sample]."""
    return (level * np.random.default_rng(seed).standard_normal((channels, samples))).astype(np.float32)


def chirp(sample_rate, duration_s, seed=0):
    """Sweep with a little noise: every moment of it differs from every other, so that a delay can be measured."""
    times = np.arange(round(duration_s * sample_rate)) / sample_rate
    sweep = 0.3 * np.sin(2 * np.pi * (200 * times + 900 * times**2))
    return (sweep + noise(seed, len(times), level=0.02)[0]).astype(np.float32)[np.newaxis]


def delay(signal, reference):
    """Samples by which `signal` comes later than `reference`, from their cross-correlation."""
    size = 2 * max(len(signal), len(reference))
    found = np.fft.irfft(np.fft.rfft(signal, size) * np.conj(np.fft.rfft(reference, size)), size)
    at = int(np.argmax(found))
    return at if at < size // 2 else at - size


def rms_db(waveform):
    return 10 * np.log10(np.mean(np.square(waveform, dtype=np.float64)))


@cache
def encoders():
    listing = subprocess.run([find_ffmpeg(), "-hide_banner", "-encoders"], capture_output=True, text=True, check=True)
    return {line.split()[1] for line in listing.stdout.splitlines() if len(line.split()) > 1}


def encode(path: Path, waveform, sample_rate, arguments=None):
    """Write a file in a format that ffmpeg encodes; skip the test where this ffmpeg does not."""
    arguments = arguments or ENCODINGS[path.suffix[1:]]
    if arguments[1] not in encoders():
        pytest.skip(f"this ffmpeg has no encoder {arguments[1]}")
    source = path.with_name(f"{path.name}.source.wav")
    sf.write(source, waveform.T, sample_rate, subtype="FLOAT")
    command = [find_ffmpeg(), "-nostdin", "-y", "-loglevel", "error", "-i", str(source), *arguments, f"file:{path}"]
    subprocess.run(command, check=True, capture_output=True)
    source.unlink()
    return path
