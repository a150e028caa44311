"""Build a cache of the size of SLoClas: time and memory, measured on samples of two sizes and carried over to all 71,136 recordings.

    python tests/benchmarks/bench_spatial_build.py [--files 720 2880] [--workers 2]

The recordings are made first: four channels at 48 kHz, 16 bit, 1.18 s on average, in folders ``<class>/<azimuth>``. Each size is built by the command
that a user would give, as processes of their own, while the memory of the driver and of each worker is read every 50 ms. What must be seen: a
worker's memory does not grow with the number of recordings, and the time grows in proportion.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil
import soundfile

ROOT = Path(__file__).resolve().parents[2]
SLOCLAS_FILES = 71_136
RATE = 48_000
CLASSES = ("bells", "bottles", "buzzer", "cymbals", "horn", "metal", "particle", "phone", "ring", "whistle")
CATALOG = """
[dataset]
name = "sloclas"
[audio]
sample_rate = 16000
channels = 4
[segment]
length_s = 1.024
short = "repeat"
[features.gcc_phat]
window_length = 1024
hop_length = 512
max_lag = 25
[features.log_mel]
window_length = 1024
hop_length = 512
n_mels = 51
f_min_hz = 250.0
"""


class Cost(NamedTuple):
    """What one build took."""

    seconds: float
    driver_mb: float
    worker_mb: float
    cache_mb: float


def make_recordings(folder: Path, files: int) -> None:
    """Write noise bursts; compression and decoding take as long as for the real ones, as these are wav files."""
    rng = np.random.default_rng(0)
    for number in range(files):
        name, azimuth_deg, sound = CLASSES[number % 10], 5 * (number // 10 % 72) + 5, number // 10 % 35  # no two files alike up to 25,200
        samples = int(RATE * rng.uniform(0.6, 1.76))
        burst = rng.standard_normal((samples, 4)).astype(np.float32) * np.exp(-np.arange(samples) / (0.3 * RATE))[:, np.newaxis]
        path = folder / name / str(azimuth_deg) / f"{sound:03d}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, 0.1 * burst, RATE, subtype="PCM_16")


def build(data: Path, out: Path, catalog: Path, workers: int) -> Cost:
    """Run the build and watch its processes."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "pipelines", "build", str(catalog), "--data", str(data), "--out", str(out), "--workers", str(workers)]
    driver = psutil.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    driver_mb = worker_mb = 0.0
    while driver.poll() is None:
        try:
            driver_mb = max(driver_mb, driver.memory_info().rss / 1e6)
            worker_mb = max([worker_mb, *(child.memory_info().rss / 1e6 for child in driver.children(recursive=True))])
        except psutil.NoSuchProcess:
            pass
        time.sleep(0.05)
    if driver.returncode:
        raise SystemExit(f"the build ended with exit code {driver.returncode}; run: {' '.join(command)}")
    cache_mb = sum(path.stat().st_size for path in out.iterdir()) / 1e6
    return Cost(time.perf_counter() - started, driver_mb, worker_mb, cache_mb)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, nargs=2, default=[720, 2880])
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    costs = {}
    with tempfile.TemporaryDirectory() as folder:
        catalog = Path(folder) / "catalog.toml"
        catalog.write_text(CATALOG)
        print(f"{'recordings':>10}{'wall':>10}{'driver':>12}{'a worker':>12}{'cache':>12}")
        for files in arguments.files:
            data = Path(folder) / f"data{files}"
            make_recordings(data, files)
            costs[files] = cost = build(data, Path(folder) / f"cache{files}", catalog, arguments.workers)
            print(f"{files:10d}{cost.seconds:8.1f} s{cost.driver_mb:9.0f} MB{cost.worker_mb:9.0f} MB{cost.cache_mb:9.0f} MB", flush=True)
    (few, small), (many, large) = costs.items()
    more = (SLOCLAS_FILES - many) / (many - few)
    whole = [b + (b - a) * more for a, b in zip(small, large, strict=True)]
    print(f"{SLOCLAS_FILES:10d}{whole[0]:8.1f} s{whole[1]:9.0f} MB{large.worker_mb:9.0f} MB{whole[3]:9.0f} MB   carried over")
    print(f"memory of a worker, {many} against {few} recordings: {large.worker_mb / small.worker_mb:.2f} times")


if __name__ == "__main__":
    main()
