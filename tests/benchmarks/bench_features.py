"""MFCC on one core: ours against librosa's and against the bare FFTs, in one run.

    python tests/benchmarks/bench_features.py [--repeats 40] [--recordings FOLDER]

Each line: 10 s at 16 kHz, 20 coefficients, float32. The routes take turns; the figures are medians of the process's CPU
time over the turns (all run in one thread), and the ratios medians of each turn's own ratio, so that neither other
programs nor a change of clock rate favour one of them. "rfft" is the same number of real FFTs of the same length over
frames that are already cut and windowed.
"""

import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[variable] = "1"

import argparse
import importlib.util
import statistics
import sys
import time
from pathlib import Path

import librosa
import numpy as np
import scipy.fft

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from audiodata.features.spectral import MfccConfig, mfcc

SAMPLE_RATE = 16000
DURATION_S = 10
SETTINGS = [(2048, 512, 128), (1024, 512, 64), (1024, 256, 51), (400, 160, 80)]
AIMS = {"librosa / ours": ">= 3.3", "ours / rfft": "<= 1.8", "librosa / mkl": ">= 6"}


def signals(folder: Path) -> dict[str, np.ndarray]:
    """Noise, and where there are recordings ten of them joined, a second of each."""
    noise = 0.1 * np.random.default_rng(0).standard_normal(DURATION_S * SAMPLE_RATE)
    found = {"noise": noise.astype(np.float32)}
    paths = sorted(folder.glob("*/*.ogg"))[:: max(1, len(list(folder.glob("*/*.ogg"))) // 10)][:10]
    if len(paths) == 10:
        seconds = [librosa.load(path, sr=SAMPLE_RATE, duration=1.0)[0] for path in paths]
        found["recordings"] = np.resize(np.concatenate(seconds), noise.size).astype(np.float32)
    return found


def routes(waveform: np.ndarray, config: MfccConfig) -> dict[str, object]:
    """What takes turns."""
    framing = config.framing
    frames = np.random.default_rng(1).standard_normal((framing.frames(waveform.size), framing.n_fft)).astype(np.float32)
    timed = {
        "librosa": lambda: librosa.feature.mfcc(
            y=waveform,
            sr=SAMPLE_RATE,
            n_mfcc=config.n_mfcc,
            n_fft=framing.n_fft,
            hop_length=framing.hop_length,
            n_mels=config.n_mels,
        ),
        "rfft": lambda: scipy.fft.rfft(frames, axis=-1, workers=1),
        "ours": lambda: mfcc(waveform, config),
    }
    if importlib.util.find_spec("mkl_fft"):
        timed["mkl"] = lambda: mfcc(waveform, config, fft="mkl")
    return timed


def take_turns(timed: dict[str, object], repeats: int) -> dict[str, list[float]]:
    """Milliseconds of each route, one of each in every turn, after two turns to warm up."""
    spent = {name: [] for name in timed}
    for turn in range(-2, repeats):
        for name, route in timed.items():
            start = time.process_time()
            route()
            if turn >= 0:
                spent[name].append((time.process_time() - start) * 1e3)
    return spent


def ratio(spent: dict[str, list[float]], upper: str, lower: str) -> float:
    """Median over the turns of upper / lower."""
    return statistics.median(a / b for a, b in zip(spent[upper], spent[lower], strict=True))


def main() -> None:
    """Print one line per signal and settings."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=40)
    parser.add_argument("--recordings", type=Path, default=Path(__file__).resolve().parents[3] / "shared/data/environmental_sounds")
    arguments = parser.parse_args()
    print("aims:", ", ".join(f"{name} {aim}" for name, aim in AIMS.items()))
    for signal, waveform in signals(arguments.recordings).items():
        for window_length, hop_length, n_mels in SETTINGS:
            config = MfccConfig(sample_rate=SAMPLE_RATE, window_length=window_length, hop_length=hop_length, n_mels=n_mels, n_mfcc=20)
            spent = take_turns(routes(waveform, config), arguments.repeats)
            times = " ".join(f"{name} {statistics.median(values):6.2f} (min {min(values):5.2f})" for name, values in spent.items())
            ratios = [name.split(" / ") for name in AIMS if name.split(" / ")[1] in spent]
            shown = ", ".join(f"{upper} / {lower} = {ratio(spent, upper, lower):.2f}" for upper, lower in ratios)
            print(
                f"{signal:10} window {window_length:4} hop {hop_length} mels {n_mels:3} | ms: {times} | {shown}",
                flush=True,
            )


if __name__ == "__main__":
    main()
