"""Files to a verified cache, per core: a whole build against the usual script and against lhotse.

    python tests/benchmarks/bench_build.py [CLIPS]

The files: FLAC, 16 kHz, 10 s, cut from real recordings where they lie beside the checkout, synthesized otherwise. Every way computes a
20-coefficient MFCC and a 128-band log-mel (window 2048, hop 512) of each file, once a file, in one process with one thread; the runs
alternate and medians are printed.

- ours: everything that ``python -m pipelines build --workers 0`` does: hash, decode, clean, plan, decode again, features, shards, read
  back and compare, tables, manifest.
- usual: librosa.load, librosa.feature.mfcc, melspectrogram and power_to_db, one gzip data set per clip and feature in one HDF5 file.
- lhotse: CutSet.compute_and_store_features with LibrosaFbank (128 bands; it has no second feature to compute) and its default storage.
"""

import contextlib
import os

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[variable] = "1"

import shutil
import statistics
import sys
import tempfile
import time
import warnings
from pathlib import Path

import h5py
import librosa
import numpy as np
import soundfile

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from audiodata import audio
from audiodata.catalog import parse_catalog
from pipelines import build
from pipelines.demo_sounds import CLASSES, synthesize

RECORDINGS = Path(__file__).resolve().parents[3] / "shared" / "data" / "environmental_sounds"
RATE, SECONDS, RUNS = 16000, 10, 5
MEL = {"window_length": 2048, "hop_length": 512, "n_mels": 128}
CATALOG = parse_catalog(
    {
        "dataset": {"name": "folder"}, "audio": {"sample_rate": RATE}, "segment": {"length_s": float(SECONDS)},
        "features": {"mfcc": MEL | {"n_mfcc": 20}, "log_mel": MEL}, "clean": {"duplicates": "keep"},
    },
    "bench", "bench",
)


def waveforms(count):
    """Yield 10 s waveforms: two real recordings after each other, or a synthesized one repeated."""
    files = sorted(RECORDINGS.rglob("*.ogg"))
    rng = np.random.default_rng(0)
    for number in range(count):
        if files:
            parts = [audio.prepare(*audio.decode(files[(2 * number + k) % len(files)]), sample_rate=RATE, channels=1)[0] for k in range(2)]
        else:
            parts = [synthesize(CLASSES["weather"][number % 3], rng)] * 8
        yield np.resize(np.concatenate(parts), RATE * SECONDS)


def write_files(folder, count):
    (folder / "class").mkdir(parents=True)
    for number, waveform in enumerate(waveforms(count)):
        soundfile.write(folder / "class" / f"{number:04d}.flac", np.clip(waveform, -0.99, 0.99), RATE, "PCM_16")


def ours(folder, out):
    build.build(CATALOG, folder, out)


def usual(folder, out):
    with h5py.File(out.with_suffix(".h5"), "w") as file:
        for path in sorted(folder.rglob("*.flac")):
            waveform, rate = librosa.load(path, sr=None)
            group = file.create_group(path.stem)
            levels = librosa.power_to_db(librosa.feature.melspectrogram(y=waveform, sr=rate, n_fft=2048, hop_length=512, n_mels=128))
            coefficients = librosa.feature.mfcc(y=waveform, sr=rate, n_mfcc=20, n_fft=2048, hop_length=512, n_mels=128)
            group.create_dataset("log_mel", data=levels, compression="gzip")
            group.create_dataset("mfcc", data=coefficients, compression="gzip")


def lhotse_way(folder, out):
    from lhotse import CutSet, MonoCut, Recording
    from lhotse.features.librosa_fbank import LibrosaFbank, LibrosaFbankConfig

    extractor = LibrosaFbank(LibrosaFbankConfig(sampling_rate=RATE, fft_size=2048, hop_size=512, num_mel_bins=128, fmin=0, fmax=RATE // 2))
    recordings = [Recording.from_file(path) for path in sorted(folder.rglob("*.flac"))]
    cuts = CutSet.from_cuts(MonoCut(recording.id, 0, recording.duration, 0, recording=recording) for recording in recordings)
    cuts.compute_and_store_features(extractor, storage_path=out, num_jobs=1, progress_bar=False)


def median_seconds(ways, folder, scratch):
    taken = {name: [] for name in ways}
    for number in range(RUNS + 1):
        for name, way in ways.items():
            out = scratch / f"{name}-{number}"
            started = time.process_time()
            way(folder, out)
            if number:  # the first round warms up compilers and caches
                taken[name].append(time.process_time() - started)
            for path in scratch.glob(f"{name}-{number}*"):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    return {name: statistics.median(times) for name, times in taken.items()}


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    warnings.filterwarnings("ignore")
    ways = {"ours": ours, "usual": usual}
    try:
        import lhotse  # noqa: F401
        import torch

        torch.set_num_threads(1)
        ways["lhotse"] = lhotse_way
    except ImportError:
        print("lhotse is not installed: left out (pip install -e '.[bench]')")
    with tempfile.TemporaryDirectory() as scratch:
        folder, scratch = Path(scratch) / "files", Path(scratch)
        write_files(folder, count)
        with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stderr(nowhere):  # the build's progress lines
            taken = median_seconds(ways, folder, scratch)
    for name, seconds in taken.items():
        print(f"{name:8s} {1000 * seconds / count:8.2f} ms of processor time per clip   {seconds / taken['ours']:5.2f} x ours")


if __name__ == "__main__":
    main()
