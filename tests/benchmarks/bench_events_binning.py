"""Events to frames on one core: ours against tonic's `ToFrame`, in one run.

    python tests/benchmarks/bench_events_binning.py [--repeats 60] [--recordings FOLDER]

100,000 events, 28 x 28 pixels, 64 steps over 2 s, both polarities. The two take turns; the figures are medians of the process's CPU time over the
turns (each runs in one thread), and the ratios medians of each turn's own ratio, so that neither other programs nor a change of clock rate favour one
of them. tonic is told the start and the end of the window, so that it gives the same frames; it needs the events in order of time. Then the whole of
`visual_frames`, crop included, for a recorded digit of N-MNIST and for 100,000 events of a sensor of 128 x 128 pixels.
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
from tonic.transforms import ToFrame

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from audiodata.events.binning import frames
from audiodata.events.record import Events, make_events
from audiodata.features.events import VisualFramesConfig, visual_frames

WINDOW_US = 2_000_000
TIME_STEPS = 64
AIM = 12


def recording(count: int, side: int) -> Events:
    """Events at random, in order of time."""
    rng = np.random.default_rng(0)
    t = np.sort(rng.integers(0, WINDOW_US, count))
    return make_events(t, rng.integers(0, side, count), rng.integers(0, side, count), rng.integers(0, 2, count), (side, side, 2))


def digit(folder: Path) -> Events | None:
    """The recorded digit with the median number of events; None where there are no recordings."""
    paths = sorted(folder.rglob("*.bs2"), key=lambda path: path.stat().st_size)
    if not paths:
        return None
    raw = np.fromfile(paths[len(paths) // 2], np.uint8).reshape(-1, 5).astype(np.int64)
    return make_events((raw[:, 2] & 127) << 16 | raw[:, 3] << 8 | raw[:, 4], raw[:, 0], raw[:, 1], raw[:, 2] >> 7, (34, 34, 2))


def take_turns(routes: dict[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Milliseconds of each route, one of each in every turn, after two turns to warm up."""
    spent = {name: [] for name in routes}
    for turn in range(-2, repeats):
        for name, route in routes.items():
            start = time.process_time()
            route()
            if turn >= 0:
                spent[name].append((time.process_time() - start) * 1e3)
    return spent


def show(spent: dict[str, list[float]], counts: dict[str, int]) -> None:
    """Print median, minimum and rate of each route."""
    for name, values in spent.items():
        middle = statistics.median(values)
        print(f"{name:32} {middle:8.3f} ms (min {min(values):7.3f}), {counts[name] / middle / 1e3:8.1f} million events/s")


def compare(repeats: int) -> None:
    """Our frames and tonic's of the same events."""
    events = recording(100_000, 28)
    shuffled = Events(np.random.default_rng(1).permutation(events.array), events.sensor_size)
    to_frame = ToFrame(sensor_size=events.sensor_size, time_window=WINDOW_US / TIME_STEPS, start_time=0, end_time=WINDOW_US)
    settings = {"values": "count", "polarity": "both"}
    routes = {
        "tonic": lambda: to_frame(events.array),
        "ours, counts": lambda: frames(events, TIME_STEPS, WINDOW_US, **settings),
        "ours, binary and merged": lambda: frames(events, TIME_STEPS, WINDOW_US),
        "ours, counts, events shuffled": lambda: frames(shuffled, TIME_STEPS, WINDOW_US, **settings),
    }
    np.testing.assert_array_equal(routes["ours, counts"](), routes["tonic"]())
    np.testing.assert_array_equal(routes["ours, counts, events shuffled"](), routes["tonic"]())
    spent = take_turns(routes, repeats)
    show(spent, dict.fromkeys(routes, 100_000))
    for name in list(routes)[1:]:
        ratio = statistics.median(theirs / ours for theirs, ours in zip(spent["tonic"], spent[name], strict=True))
        print(f"tonic / {name}: {ratio:.1f} (aim: >= {AIM})")


def whole_feature(folder: Path, repeats: int) -> None:
    """The feature from the recording on."""
    chosen = {"visual_frames, N-MNIST digit": digit(folder), "visual_frames, 128 x 128": recording(100_000, 128)}
    chosen = {name: events for name, events in chosen.items() if events is not None}
    config = VisualFramesConfig(window_s=2.0, time_steps=TIME_STEPS)
    routes = {name: lambda events=events: visual_frames(events, config) for name, events in chosen.items()}
    show(take_turns(routes, repeats), {name: len(events.array) for name, events in chosen.items()})


def main() -> None:
    """Print one line per route, and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=60)
    parser.add_argument("--recordings", type=Path, default=Path(__file__).resolve().parents[3] / "shared/data/events/nmnist")
    arguments = parser.parse_args()
    compare(arguments.repeats)
    whole_feature(arguments.recordings, arguments.repeats)


if __name__ == "__main__":
    main()
