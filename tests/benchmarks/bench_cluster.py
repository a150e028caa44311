"""Files to a verified cache by Dask workers: what Dask costs, how two workers scale, and how others do the same job.

    python tests/benchmarks/bench_cluster.py [--clips 4000] [--rounds 3] [--data DIR] [--folder DIR] [--peers lhotse datasets mapped]

The files: FLAC, 16 kHz, 5 s, cut from the recordings below DIR (those beside the checkout, if there are any), synthesized otherwise;
the same for all. Each way makes a log-mel of 64 bands of each (see `cluster_ways.py`), in a process of its own with one thread a worker;
the rounds take the ways in turn, every second one backwards, and medians are printed.

- start-up: from the command to where work could begin: imports, worker processes, machine code loaded. What follows is the work.
- memory: the largest sum over a way's whole tree of processes; shared memory counts once (PSS), and once for each (RSS).
- Dask's share: how much longer one worker takes for the work than this process alone; and processor time of the whole tree likewise.
- scaling: the stage in which clips become features, with one worker against two; the machine's own ceiling is that of one process
  for all files against two independent ones, without Dask, for half of them each.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

import numpy as np
import soundfile
from cluster_ways import RATE, SECONDS
from process_tree import Watch, now, processor_seconds

RECORDINGS = HERE.parents[2] / "shared" / "data" / "environmental_sounds"
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
PEERS = ("lhotse", "datasets", "mapped")
MEASURES = {
    "startup_s": "start-up s", "work_s": "work s", "features_s": "features s", "rate": "clips/s", "rate_all": "with start-up",
    "driver_cpu_s": "driver cpu s", "cpu_s": "all cpu s", "pss_mb": "PSS MB", "rss_mb": "RSS MB", "processes": "processes", "megabytes": "MB written",
}


class Way(NamedTuple):
    """A way, with how many workers, and in how many processes that share the files but know nothing of each other."""

    name: str
    way: str
    workers: int
    parts: int = 1


ALONE, ONE, TWO = Way("ours, this process", "ours", 0), Way("ours, 1 worker", "ours", 1), Way("ours, 2 workers", "ours", 2)
APART, FAST = Way("ours, 2 separate runs", "ours", 0, 2), Way("ours, 2 workers, MKL", "fast", 2)


def waveforms(data: Path, count: int) -> Iterator[np.ndarray]:
    """Yield waveforms of 5 s: stretches of the recordings, each from another place and at another level; or synthesized ones."""
    from audiodata import audio
    from pipelines.demo_sounds import CLASSES, synthesize

    rng = np.random.default_rng(0)
    files = sorted(path for path in data.rglob("*") if path.suffix in (".ogg", ".flac", ".wav"))[:count]
    sounds = [audio.prepare(*audio.decode(path), sample_rate=RATE, channels=1)[0] for path in files]
    sounds = sounds or [synthesize(CLASSES["weather"][number % 3], rng) for number in range(30)]
    for number in range(count):
        sound = sounds[number % len(sounds)]
        yield np.clip(np.resize(np.roll(sound, rng.integers(len(sound))), RATE * SECONDS) * rng.uniform(0.3, 1.0), -1.0, 1.0)


def write_files(folder: Path, data: Path, count: int) -> None:
    """Write the files, all of them in one folder and, as links, half of them in each of two."""
    for part in ("all", "half-0", "half-1"):
        (folder / part / "class").mkdir(parents=True)
    for number, waveform in enumerate(waveforms(data, count)):
        path = folder / "all" / "class" / f"{number:05d}.flac"
        soundfile.write(path, waveform, RATE, "PCM_16")
        os.link(path, folder / f"half-{number % 2}" / "class" / path.name)


def run(way: Way, folder: Path, out: Path) -> dict[str, float]:
    """Let a way get ready and do its work; return what was measured."""
    started = now()
    inputs = [folder / (f"half-{part}" if way.parts > 1 else "all") for part in range(way.parts)]
    processes = [_start(way, files, out / str(part)) for part, files in enumerate(inputs)]
    with Watch([process.pid for process in processes]) as watch:
        _answers(processes)
        startup_s, before = now() - started, _cpu(processes)
        _go_on(processes)
        answers = _answers(processes)
        cpu_s = _cpu(processes) - before
    _go_on(processes)
    for process in processes:
        process.wait()
    shutil.rmtree(out)
    found = {name: max(answer[name] for answer in answers) for name in answers[0]}
    found |= {name: sum(answer[name] for answer in answers) for name in ("clips", "megabytes")}
    rates = {"rate": found["clips"] / found["work_s"], "rate_all": found["clips"] / (found["work_s"] + startup_s)}
    return found | rates | watch.peak._asdict() | {"startup_s": startup_s, "cpu_s": cpu_s}


def _start(way: Way, files: Path, out: Path) -> subprocess.Popen:
    command = [sys.executable, str(HERE / "cluster_ways.py"), way.way, str(way.workers), str(files), str(out)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env=os.environ | ONE_THREAD | {"HF_HUB_OFFLINE": "1"}, cwd=HERE.parents[1], **pipes)


def _answers(processes: list[subprocess.Popen]) -> list[dict[str, float]]:
    lines = [process.stdout.readline() for process in processes]
    for line, process in zip(lines, processes, strict=True):
        if not line:
            sys.exit(f"{' '.join(process.args[1:3])} failed:\n{process.stderr.read()}")
    return [json.loads(line) for line in lines]


def _go_on(processes: list[subprocess.Popen]) -> None:
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()


def _cpu(processes: list[subprocess.Popen]) -> float:
    return sum(processor_seconds(process.pid) for process in processes)


def measure(ways: list[Way], folder: Path, rounds: int) -> dict[Way, dict[str, float]]:
    """Run all ways in turn, a first time for nothing but warm caches; return the medians."""
    found: dict[Way, list[dict[str, float]]] = {way: [] for way in ways}
    for number in range(rounds + 1):
        for way in ways[:: 1 if number % 2 else -1]:
            figures = run(way, folder, folder / "out")
            if number:
                found[way].append(figures)
        print(f"round {number} of {rounds}", file=sys.stderr, flush=True)
    return {way: {name: statistics.median(one[name] for one in all_) for name in all_[0]} for way, all_ in found.items()}


def print_table(found: dict[Way, dict[str, float]]) -> None:
    print(f"{'':24s}" + "".join(f"{title:>14s}" for title in MEASURES.values()))
    for way, figures in found.items():
        values = (f"{figures[name]:14.2f}" if name.endswith("_s") else f"{figures[name]:14.0f}" for name in MEASURES if name in figures)
        cells = dict(zip((name for name in MEASURES if name in figures), values, strict=True))
        print(f"{way.name:24s}" + "".join(cells.get(name, f"{'':14s}") for name in MEASURES))


def print_ratios(found: dict[Way, dict[str, float]]) -> None:
    share, cpu = (found[ONE][name] / found[ALONE][name] - 1 for name in ("work_s", "cpu_s"))
    print(f"Dask's share of a build: {100 * share:+.1f} % of its time, {100 * cpu:+.1f} % of its processor time (1 worker against this process)")
    ours, ceiling = found[ONE]["features_s"] / found[TWO]["features_s"], found[ALONE]["features_s"] / found[APART]["features_s"]
    print(f"2 workers against 1, features: {ours:.2f} x; the machine's ceiling (two separate runs against one): {ceiling:.2f} x")
    print(f"2 workers against 1, whole build: {found[ONE]['work_s'] / found[TWO]['work_s']:.2f} x")
    for way, figures in found.items():
        for mine in (TWO, FAST) if way.way in PEERS else ():
            faster, all_, pss, rss = (found[mine][name] / figures[name] for name in ("rate", "rate_all", "pss_mb", "rss_mb"))
            told = f"{faster:.2f} x the clips/s ({all_:.2f} x with start-up), {pss:.2f} x its peak PSS, {rss:.2f} x its RSS"
            print(f"{mine.name} against {way.name}: {told}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--data", type=Path, default=RECORDINGS, help="folder with recordings to cut the files from")
    parser.add_argument("--folder", type=Path, help="where files and caches are written; default: a temporary folder")
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=PEERS)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        folder = Path(folder).absolute()
        write_files(folder, arguments.data, arguments.clips)
        ways = [ALONE, ONE, TWO, APART, FAST, *(Way(f"{peer}, 2 workers", peer, 2) for peer in arguments.peers)]
        found = measure(ways, folder, arguments.rounds)
    print(f"{arguments.clips} clips of {SECONDS} s, medians of {arguments.rounds} rounds")
    print_table(found)
    print_ratios(found)


if __name__ == "__main__":
    main()
