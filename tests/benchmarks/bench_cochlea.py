"""The cochlea on one core: ours against scipy's filters with a modulator in Python, in one run.

    python tests/benchmarks/bench_cochlea.py [--repeats 15] [--recordings FOLDER]

64 channels at 16 kHz, the default settings but without a refractory time, which the peer doesn't know. Sounds: spoken digits one after the
other (where there are recordings, else noise that comes and goes), and steady noise, which is the worst case. The peer filters each channel
with scipy.signal.sosfilt and smooths it with lfilter, on samples interpolated by scipy.signal.resample_poly; its modulator jumps with numpy to
the next sample at which a channel has something to say. Both are given the same settings and are held to the same number of events, within
2 %. They take turns; figures are medians of the process's CPU time, and the ratio is the median of each turn's own.
"""

import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[variable] = "1"

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile as sf
import soxr
from scipy.signal import firwin, lfilter, resample_poly, sosfilt

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from audiodata.events.cochlea import CochleaConfig, cochlea
from audiodata.events.cochlea_filters import band_pass, interpolation, smoothing_share

SAMPLE_RATE = 16000
SECONDS = 4
AIM = 40


def by_scipy(waveform: np.ndarray, config: CochleaConfig) -> int:
    """Count the events that a straightforward route finds."""
    frequencies = config.frequencies_hz(SAMPLE_RATE)
    factor = interpolation(SAMPLE_RATE, frequencies[-1])
    samples = waveform * (10 ** (config.level_db / 20) / np.sqrt(np.mean(waveform.astype(float) ** 2)))
    samples = resample_poly(samples, factor, 1, window=firwin(64 * factor + 1, 1 / factor, window=("kaiser", 8.0)))
    share = smoothing_share(config.smooth_hz, SAMPLE_RATE * factor)
    gains = 10 ** (config.tilt_db / 20 * np.log2(frequencies / 1000))
    coefficients = band_pass(frequencies, config.quality, SAMPLE_RATE * factor).T
    events = []
    for channel, ((b, a1, a2), gain) in enumerate(zip(coefficients, gains, strict=True)):
        rectified = np.maximum(sosfilt([[b, 0, -b, 1, a1, a2]] * 2, gain * samples), 0)
        events += modulated(lfilter([share], [1, share - 1], rectified), config.threshold, channel, 1e6 / (SAMPLE_RATE * factor))
    events.sort()
    return len(events)


def modulated(signal: np.ndarray, threshold: float, channel: int, step_us: float) -> list[tuple[int, int, int]]:
    """Events of one channel, from one sample with events to the next."""
    events, reference, at = [], 0.0, 0
    while True:
        ahead = signal[at : at + 256]
        away = np.flatnonzero(np.abs(ahead - reference) >= threshold)
        if not ahead.size:
            return events
        if not away.size:
            at += ahead.size
            continue
        at += int(away[0])
        before = signal[at - 1] if at else 0.0
        sign = 1 if signal[at] > reference else -1
        while abs(signal[at] - reference) >= threshold:
            reference += sign * threshold
            events.append((int((at - 1 + (reference - before) / (signal[at] - before)) * step_us), channel, sign))
        at += 1


def sounds(folder: Path) -> dict[str, np.ndarray]:
    """Waveforms of `SECONDS` seconds."""
    rng, samples = np.random.default_rng(0), SECONDS * SAMPLE_RATE
    noise = (0.1 * rng.standard_normal(samples)).astype(np.float32)
    files = sorted(folder.glob("*_*_1*.wav"))
    if not files:
        return {"noise that comes and goes": noise * np.repeat(rng.random(samples // 800) > 0.5, 800), "steady noise": noise}
    spoken = []
    for file in files[::37]:
        waveform, rate = sf.read(file, dtype="float32")
        spoken.append(soxr.resample(waveform / np.abs(waveform).max(), rate, SAMPLE_RATE))
    return {"spoken digits": np.resize(np.concatenate(spoken), samples), "steady noise": noise}


def timed(work: Callable[[], int]) -> tuple[float, int]:
    """CPU time and number of events."""
    start = time.process_time()
    count = work()
    return time.process_time() - start, count


def compare(name: str, waveform: np.ndarray, repeats: int) -> None:
    """Print a line."""
    config = CochleaConfig(refractory_us=0)
    cochlea(waveform[:4000], SAMPLE_RATE, config, 0)  # compile
    ours, peers = [], []
    for _ in range(repeats):
        ours.append(timed(lambda: len(cochlea(waveform, SAMPLE_RATE, config, 0).array)))
        if len(peers) < max(3, repeats // 5):  # it takes long
            peers.append(timed(lambda: by_scipy(waveform, config)))
    own, peer = ours[0][1], peers[0][1]
    assert abs(own - peer) < 0.02 * peer, (own, peer)
    times = SECONDS / statistics.median(seconds for seconds, _ in ours)
    ratio = statistics.median(peer[0] / own[0] for own, peer in zip(ours, peers, strict=False))
    print(f"{name}: {own / SECONDS:,.0f} events/s (peer {peer / SECONDS:,.0f}); {times:.0f} times real time (aim: {AIM}); peer / ours = {ratio:.1f}")


def main() -> None:
    """Compare on every sound."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--recordings", type=Path, default=Path(__file__).resolve().parents[3] / "shared" / "data" / "spoken_digits" / "recordings")
    arguments = parser.parse_args()
    for name, waveform in sounds(arguments.recordings).items():
        compare(name, waveform, arguments.repeats)


if __name__ == "__main__":
    main()
