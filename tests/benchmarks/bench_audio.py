"""Decode and check a clip: ours against `librosa.load` and the same checks in plain NumPy, alternating, in one run.

    python tests/benchmarks/bench_audio.py [--clips N] [--rounds N]

Prints medians per clip (CPU time of the thread) and the ratio. The clips are FLAC, 16 kHz, mono, 10 s of noise with the
spectrum and envelope of speech.
"""

import argparse
import hashlib
import statistics
import sys
import tempfile
import time
from pathlib import Path

import librosa
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from audiodata.audio import decode, prepare, read_clip, write_flac
from audiodata.cleaning import measure

RATE, DURATION_S = 16000, 10


def make_clips(folder: Path, count: int) -> list[Path]:
    """Noise with a falling spectrum and a syllable-like envelope: compresses like speech."""
    rng, paths = np.random.default_rng(0), []
    for number in range(count):
        spectrum = np.fft.rfft(rng.standard_normal(RATE * DURATION_S))
        spectrum /= 1 + np.linspace(0, 40, len(spectrum))
        envelope = np.interp(np.arange(RATE * DURATION_S) / RATE, np.arange(0, 11, 0.25), rng.random(44))
        waveform = np.fft.irfft(spectrum) * envelope
        waveform *= 0.5 / np.abs(waveform).max()
        paths.append(folder / f"{number}.flac")
        write_flac(paths[-1], waveform[np.newaxis].astype(np.float32), RATE)
    return paths


def ours(path: Path) -> object:
    """Decode, measure, give it the shape of a catalog."""
    waveform, rate = decode(path)
    found = measure(waveform, rate)
    prepare(waveform, rate, sample_rate=RATE, channels=1)
    return found


def peers(path: Path) -> dict:
    """Compute the same quantities as one writes them down first."""
    waveform, rate = librosa.load(path, sr=RATE, mono=True)
    top = waveform >= min(waveform.max(), 1 - 2.0**-15)
    bottom = waveform <= max(waveform.min(), -1 + 2.0**-15)
    runs = [side[:-2] & side[1:-1] & side[2:] for side in (top, bottom)]
    frames = librosa.util.frame(waveform, frame_length=1024, hop_length=1024).T
    power = np.mean(np.abs(np.fft.rfft(frames * np.hanning(1024))) ** 2, axis=0)
    tail = np.cumsum(power[::-1])[::-1]
    return {
        "duration_s": len(waveform) / rate,
        "finite": bool(np.isfinite(waveform).all()),
        "level_db": 10 * np.log10(np.mean((waveform - waveform.mean()) ** 2)),
        "peak_db": 20 * np.log10(np.abs(waveform).max()),
        "dc_offset": waveform.mean(),
        "clipped_share": sum(run.sum() for run in runs) / len(waveform),
        "bandwidth_hz": np.flatnonzero(tail > 1e-6 * tail[0])[-1] * rate / 1024,
        "sha256": hashlib.sha256(waveform.tobytes()).hexdigest(),
    }


PAIRS = {
    "decode": (decode, lambda path: librosa.load(path, sr=RATE)),
    "decode 1 s at 5 s": (
        lambda path: read_clip(path, 5.0, 1.0),
        lambda path: librosa.load(path, sr=RATE, offset=5.0, duration=1.0),
    ),
    "decode and check": (ours, peers),
}


def cpu_ms(step, path: Path) -> float:
    """CPU time of one call in this thread, which a busy machine does not lengthen."""
    start = time.thread_time()
    step(path)
    return 1e3 * (time.thread_time() - start)


def compare(pair: tuple, paths: list[Path], rounds: int) -> list[float]:
    """Median of each of a pair; who goes first changes from call to call."""
    times = ([], [])
    for number, path in enumerate(paths * rounds):
        for which in (0, 1) if number % 2 else (1, 0):
            times[which].append(cpu_ms(pair[which], path))
    return [statistics.median(one) for one in times]


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--clips", type=int, default=8)
    options.add_argument("--rounds", type=int, default=15)
    arguments = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        paths = make_clips(Path(folder), arguments.clips)
        for name, pair in PAIRS.items():
            for step in pair:
                step(paths[0])
            mine, other = compare(pair, paths, arguments.rounds)
            print(f"{name:20s} ours {mine:6.3f} ms   librosa {other:6.3f} ms   ratio {other / mine:.2f}")
        waveform, rate = decode(paths[0])
        alone = statistics.median(cpu_ms(lambda _: measure(waveform, rate), paths[0]) for _ in range(100))
        print(f"{'measure alone':20s} ours {alone:6.3f} ms (SHA-256 included)")


if __name__ == "__main__":
    main()
