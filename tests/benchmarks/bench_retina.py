"""The retina: what an image costs, and how its events compare with recorded ones.

    python tests/benchmarks/bench_retina.py [--repeats 7] [--compare] [--first 251] [--count 250]

Each line of the first part: processor time of one image in one thread, the median over the repeats of the mean over some images; beside it the same
by a loop over steps in numpy that knows neither noise nor a refractory time, in turns with ours. With `--compare`, as many recordings of N-MNIST
as are asked for (the defaults were tuned on the first 250) beside as many made ones of other digits.
"""

import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[variable] = "1"

import argparse
import gzip
import statistics
import sys
import time
from pathlib import Path

import numpy as np
from scipy import ndimage

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from audiodata.events.record import Events, make_events
from audiodata.events.retina import RetinaConfig, motion_of, retina
from audiodata.events.statistics import QUANTILES, Summary, summarise

DATA = ROOT.parent / "shared" / "data"
FIRST_IMAGE = 1000
SHOWN = (0.05, 0.25, 0.5, 0.75, 0.95)
SETTINGS = {
    "saccades, 34 x 34, 0.315 s": (RetinaConfig(), 20),
    "triangle, 128 x 128, 2 s": (RetinaConfig(motion="triangle"), 3),
    "triangle, scale 4": (RetinaConfig(motion="triangle", scale=4.0), 1),
}


def images() -> np.ndarray:
    """Digits where there are some, else noise of their size."""
    path = DATA / "digit_images" / "t10k-images-idx3-ubyte.gz"
    if not path.is_file():
        return np.random.default_rng(0).integers(0, 256, (2000, 28, 28)).astype(np.uint8)
    return np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8, offset=16).reshape(-1, 28, 28)


def by_numpy(image: np.ndarray, config: RetinaConfig) -> int:
    """Count events by a loop over steps, all pixels at once."""
    columns, rows = config.size
    row, column = np.mgrid[:rows, :columns]
    shown = np.kron(1 - image / 255, np.ones((round(config.scale), round(config.scale))))
    picture = config.background + (1 - config.background) * shown
    memory, count = None, 0
    for _, x, y in zip(*motion_of(config), strict=True):
        places = [row - y + picture.shape[0] / 2, column - x + picture.shape[1] / 2]
        signal = np.log(ndimage.map_coordinates(picture, places, order=1, mode="nearest"))
        memory = signal if memory is None else memory
        steps = np.trunc(np.maximum(signal - memory, 0) / config.threshold_on) - np.trunc(np.maximum(memory - signal, 0) / config.threshold_off)
        memory = memory + np.where(steps > 0, config.threshold_on, config.threshold_off) * steps
        count += int(np.abs(steps).sum())
    return count


def spent_ms(function: object, chosen: np.ndarray) -> float:
    """Processor time an image."""
    start = time.process_time()
    for image in chosen:
        function(image)
    return (time.process_time() - start) * 1e3 / len(chosen)


def speed(repeats: int) -> None:
    """Print what an image costs."""
    digits = images()
    print(f"{'':28} {'ours':>10} {'numpy':>10} {'ratio':>7} {'events':>8} {'events/s':>10}")
    for name, (config, count) in SETTINGS.items():
        chosen = digits[FIRST_IMAGE : FIRST_IMAGE + count]
        routes = {"ours": lambda image, config=config: retina(image, config, 0), "numpy": lambda image, config=config: by_numpy(image, config)}
        events = len(retina(chosen[0], config, 0).array)
        spent = [{route: spent_ms(run, chosen if route == "ours" else chosen[:1]) for route, run in routes.items()} for _ in range(repeats)]
        ours, slow = (statistics.median(turn[route] for turn in spent) for route in routes)
        ratio = statistics.median(turn["numpy"] / turn["ours"] for turn in spent)
        print(f"{name:28} {ours:7.2f} ms {slow:7.1f} ms {ratio:6.1f}x {events:8d} {events / ours / 1e3:8.2f} M")


def read_recording(path: Path) -> Events:
    """Read a file of N-MNIST."""
    raw = np.fromfile(path, np.uint8).reshape(-1, 5).astype(np.int64)
    return make_events((raw[:, 2] & 127) << 16 | raw[:, 3] << 8 | raw[:, 4], raw[:, 0], raw[:, 1], raw[:, 2] >> 7, (34, 34, 2))


def compare(first: int, count: int, picture: Path | None) -> None:
    """Print figures of made and of recorded digits, and their ratios."""
    recorded = summarise([read_recording(DATA / "events" / "nmnist" / "train" / f"{number}.bs2") for number in range(first, first + count)])
    digits = images()
    made = summarise([retina(digits[number], None, number) for number in range(FIRST_IMAGE, FIRST_IMAGE + count)])
    print(f"\n{count} made and {count} recorded digits {'made':>12} {'recorded':>10} {'ratio':>7}")
    for name in ("events", "duration_s", "event_rate_hz", "active_share", "on_share"):
        line(name, getattr(made, name), getattr(recorded, name))
    for name in ("rate_quantiles_hz", "interval_quantiles_us"):
        for share in SHOWN:
            at = int(np.argmin(np.abs(QUANTILES - share)))
            line(f"{name} {share}", getattr(made, name)[at], getattr(recorded, name)[at])
    bumps(made, recorded)
    if picture is not None:
        from audiodata.event_pictures import statistics as draw

        draw(made, recorded).savefig(picture, dpi=110)


def bumps(made: Summary, recorded: Summary) -> None:
    """Print the rate over time of both."""
    shared = min(len(made.rate_over_time_hz), len(recorded.rate_over_time_hz))
    both = [summary.rate_over_time_hz[:shared] for summary in (made, recorded)]
    print(f"rate over time, 1000 events/s in bins of {made.bin_us / 1000:g} ms; correlation {np.corrcoef(*both)[0, 1]:.3f}")
    for name, rates in zip(("made", "recorded"), both, strict=True):
        print(f"{name:9}", *(f"{rate / 1000:3.0f}" for rate in rates))


def line(name: str, ours: float, theirs: float) -> None:
    """Print one figure of both."""
    print(f"{name:31} {ours:14.4g} {theirs:10.4g} {ours / theirs:7.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--compare", action="store_true")
    parser.add_argument("--first", type=int, default=251)
    parser.add_argument("--count", type=int, default=250)
    parser.add_argument("--picture", type=Path, help="where to draw the comparison")
    arguments = parser.parse_args()
    speed(arguments.repeats)
    if arguments.compare:
        compare(arguments.first, arguments.count, arguments.picture)
