"""GCC-PHAT and log-mel of four channels on one core: ours against a loop over pairs and frames, and against the bare FFTs, in one run.

    python tests/benchmarks/bench_spatial_features.py [--repeats 40] [--recordings FOLDER]

10 s of 4 channels at 16 kHz, windows of 1024 samples every 512; 51 lags, 51 mel bands from 250 Hz to 8 kHz. The peer is the loop that is usual
for this feature: librosa's STFT of each channel, numpy's inverse FFT of each pair's frame, librosa's mel filters on the same spectra. The routes
take turns; the figures are medians of the process's CPU time over the turns (all run in one thread), and the ratios medians of each turn's own
ratio, so that neither other programs nor a change of clock rate favour one of them. "rfft" is the same number of real FFTs of the same length
over frames that are already cut and windowed.
"""

import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[variable] = "1"

import argparse
import importlib.util
import statistics
import sys
import time
from itertools import combinations
from pathlib import Path

import librosa
import numpy as np
import scipy.fft
import soundfile as sf

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from audiodata.features import extract
from audiodata.features.spatial import GccPhatConfig
from audiodata.features.spectral import LogMelConfig

SAMPLE_RATE = 16000
SAMPLES = 10 * SAMPLE_RATE
MAX_LAG = 25
FRAMING = {"window_length": 1024, "hop_length": 512}
CONFIGS = {
    "gcc_phat": GccPhatConfig(sample_rate=SAMPLE_RATE, max_lag=MAX_LAG, **FRAMING),
    "log_mel": LogMelConfig(sample_rate=SAMPLE_RATE, n_mels=51, f_min_hz=250, f_max_hz=8000, **FRAMING),
}
AIMS = {"loop / ours": "> 11", "ours / rfft": "<= 3.5", "loop / mkl": ">= 14"}


def by_loop(waveform: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """GCC-PHAT [pair, frame, lag] and log-mel [channel, mel, frame], pair by pair and frame by frame."""
    spectra = [librosa.stft(channel, n_fft=1024, hop_length=512) for channel in waveform]
    correlations = []
    for first, second in combinations(spectra, 2):
        cross = (first * second.conj()).T
        rows = []
        for frame in cross:
            correlation = np.fft.irfft(np.exp(1j * np.angle(frame)))
            rows.append(np.concatenate([correlation[-MAX_LAG:], correlation[: MAX_LAG + 1]]))
        correlations.append(rows)
    mel = {"sr": SAMPLE_RATE, "n_mels": 51, "fmin": 250, "fmax": 8000}
    levels = [librosa.power_to_db(librosa.feature.melspectrogram(S=np.abs(spectrum) ** 2, **mel), top_db=None) for spectrum in spectra]
    return np.array(correlations), np.array(levels)


def signals(folder: Path) -> dict[str, np.ndarray]:
    """Noise heard at four places, and where there are recordings of four microphones each of their kinds, 10 s of it."""
    noise = 0.1 * np.random.default_rng(0).standard_normal((5, SAMPLES))
    found = {"noise": noise[:4] * 0.3 + np.stack([np.roll(noise[4], delay) for delay in (0, 3, 7, 5)])}
    for kind in ("respeaker_6ch", "simulated_4ch", "square_4ch"):
        paths = sorted(path for path in folder.glob(f"{kind}/**/*") if path.suffix in (".wav", ".flac"))
        if paths:
            samples = np.concatenate([sf.read(path, dtype="float32")[0] for path in paths]).T
            found[kind] = np.resize(samples[1:5] if len(samples) == 6 else samples, (4, samples.shape[1]))[:, :SAMPLES]
    return {name: np.ascontiguousarray(waveform, np.float32) for name, waveform in found.items()}


def routes(waveform: np.ndarray) -> dict[str, object]:
    """What takes turns."""
    framing = CONFIGS["gcc_phat"].framing
    frames = np.random.default_rng(1).standard_normal((len(waveform) * framing.frames(SAMPLES), framing.n_fft)).astype(np.float32)
    timed = {
        "loop": lambda: by_loop(waveform),
        "rfft": lambda: scipy.fft.rfft(frames, axis=-1, workers=1),
        "ours": lambda: extract(waveform, SAMPLE_RATE, CONFIGS),
    }
    if importlib.util.find_spec("mkl_fft"):
        timed["mkl"] = lambda: extract(waveform, SAMPLE_RATE, CONFIGS, fft="mkl")
    return timed


def check(waveform: np.ndarray) -> str:
    """How far the two routes are apart."""
    ours, (correlations, levels) = extract(waveform, SAMPLE_RATE, CONFIGS), by_loop(waveform)
    apart = np.abs(ours["gcc_phat"] - correlations).max(), np.abs(ours["log_mel"] - levels.swapaxes(1, 2)).max()
    return f"apart by {apart[0]:.0e} (the loop's phases are float32) and {apart[1]:.0e} dB"


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
    """Print one line per signal."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=40)
    parser.add_argument("--recordings", type=Path, default=Path(__file__).resolve().parents[3] / "shared/data/microphone_array")
    arguments = parser.parse_args()
    print("aims:", ", ".join(f"{name} {aim}" for name, aim in AIMS.items()))
    for signal, waveform in signals(arguments.recordings).items():
        spent = take_turns(routes(waveform), arguments.repeats)
        times = " ".join(f"{name} {statistics.median(values):6.2f} (min {min(values):5.2f})" for name, values in spent.items())
        ratios = [name.split(" / ") for name in AIMS if name.split(" / ")[1] in spent]
        shown = ", ".join(f"{upper} / {lower} = {ratio(spent, upper, lower):.2f}" for upper, lower in ratios)
        print(f"{signal:14} | ms: {times} | {shown} | {check(waveform)}", flush=True)


if __name__ == "__main__":
    main()
