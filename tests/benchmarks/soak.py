"""Kill drivers, workers and schedulers at random moments of builds and downloads, then see whether anything was lost.

    python tests/benchmarks/soak.py [--kills 100] [--minutes 25] [--seed 0] [--folder DIR]

Two stages take turns: a build on a scheduler that is there already, with two workers, and a download by two workers from a server on
loopback that refuses, breaks off, cuts short and lacks as it is told. Both are the real commands, started again with the same words when
they end; when one has completed with kills to spare, or sometimes when its driver was killed, something changes: clips appear, a file has
other content, a setting is another one, files are gone, a new cache is begun. What is killed gets no warning (SIGKILL). After the last
kill, or when the time is up, all may complete. Then every clip has to be in its ledger once, with the reason that the server's script
demands, caches have to verify and to have the bytes of an undisturbed build, and nothing may be left that nobody removes. Prints the
schedule as it goes and a table at the end; the exit code is 1 if anything was lost. The seed decides all but the machine's own pace.
"""

import argparse
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"
ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import numpy as np
from soak_build import Build
from soak_download import Download
from soak_parts import Programs, schedule

LOOK_S = 0.1
WAIT_FOR_VICTIM_S = 60.0
COMPLETE_S = 900.0
END_S = 60.0
COLUMNS = (("driver", 8), ("worker", 8), ("scheduler", 11))


def say(started, text):
    print(f"{time.monotonic() - started:7.1f} s  {text}", flush=True)


def keep_going(stages, seconds, until=lambda: False):
    """Keep all stages going for some time, or until something is the case; return whether it is."""
    deadline = time.monotonic() + seconds
    while not (reached := until()) and time.monotonic() < deadline:
        for stage in stages.values():
            stage.keep_going()
        time.sleep(LOOK_S)
    return reached


def kill_one(stages, kill):
    """Kill a process some time after there is one of its kind, so that old and young ones are hit; return whether there was one."""
    stage = stages[kill.stage]
    keep_going(stages, WAIT_FOR_VICTIM_S, lambda: stage.is_there(kill.kind))
    keep_going(stages, kill.delay_s)
    return keep_going(stages, WAIT_FOR_VICTIM_S, lambda: stage.kill(kill.kind, kill.draw))


def kill_at_random(stages, kills, deadline, seed, pause_s, started):
    """Kill as the schedule says; return how many of each kind there were."""
    counts = Counter()
    for kill in schedule(seed, pause_s, {name: stage.kinds for name, stage in stages.items()}):
        if counts.total() >= kills or time.monotonic() > deadline or any(stage.has_ended() for stage in stages.values()):
            return counts
        happened = kill_one(stages, kill)
        counts[kill.stage, kill.kind] += happened
        drawn = f"drawn {kill.delay_s:.2f} s and {kill.draw:.3f}"
        say(started, f"kill {counts.total()}: {kill.stage} {kill.kind}, {drawn}{'' if happened else ': none there'}")
    return counts


def let_complete(stages, started):
    """Let everything come to its end; return what did not."""
    for stage in stages.values():
        stage.may_change = False
    keep_going(stages, COMPLETE_S, lambda: all(stage.driver is None and stage.has_ended() for stage in stages.values()))
    say(started, "what was begun has ended")
    return [f"{stage.name}: does not come to its end" for stage in stages.values() if not stage.complete]


def close(stages, programs):
    """End all that was started; return what does not end."""
    for stage in stages.values():
        stage.close()
    deadline = time.monotonic() + END_S
    while (left := programs.left()) and time.monotonic() < deadline:
        time.sleep(LOOK_S)
    return [f"process {pid} is left: {command}" for pid, command in left.items()]


def report(stages, counts, found, problems):
    """Print what happened; return the number of things that must not be."""
    print("\nstage       driver  worker  scheduler  runs  complete  clips  losses  duplicates  bytes equal")
    for name, stage in stages.items():
        killed = "".join(f"{counts[name, kind]:>{width}}" for kind, width in COLUMNS)
        lost, twice, same, _ = found.get(name, (stage.clips(), 0, False, []))
        row = f"{stage.runs:>6}{stage.finished:>10}{stage.clips():>7}{lost:>8}{twice:>12}  {'yes' if same else 'NO'}"
        print(f"{name:<10}{killed}{row}")
        for line, times in stage.said.items():
            print(f"  ended {times} times with: {line}")
    lost, twice = (sum(one[at] for one in found.values()) for at in (0, 1))
    print(f"kills survived: {counts.total()}, losses: {lost}, duplicate rows: {twice}, problems: {len(problems)}")
    for problem in problems:
        print(f"  {problem}")
    return lost + twice + len(problems) + sum(not one[2] for one in found.values()) + (len(found) < len(stages))


def soak(folder, arguments):
    """Do it all in a folder; return the exit code."""
    started = time.monotonic()
    programs = Programs(folder)
    for name in ("build", "download"):
        (folder / name).mkdir()
    seeds = np.random.SeedSequence(arguments.seed).spawn(3)
    stages = {
        "build": Build(folder / "build", programs, np.random.default_rng(seeds[0]), arguments.sounds),
        "download": Download(folder / "download", programs, np.random.default_rng(seeds[1]), arguments.videos),
    }
    found = {}
    try:
        counts = kill_at_random(stages, arguments.kills, started + 60 * arguments.minutes, seeds[2], arguments.pause, started)
        problems = let_complete(stages, started)
        if not problems:
            found = {name: stage.look() for name, stage in stages.items()}
    finally:
        left = close(stages, programs)
    problems += [line for *_, lines in found.values() for line in lines] + left + [line for stage in stages.values() for line in stage.unexpected]
    return int(report(stages, counts, found, problems) > 0)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--minutes", type=float, default=25.0, help="after which no more is killed")
    parser.add_argument("--pause", type=float, default=6.0, help="mean seconds between two kills")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sounds", type=int, default=12, help="of each of the twelve kinds of sound that are built from at first")
    parser.add_argument("--videos", type=int, default=34, help="asked for at first, and added each time")
    parser.add_argument("--folder", type=Path, help="where to work; stays; default: a temporary folder that is removed")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started is ended
    if arguments.folder is not None:
        arguments.folder.mkdir(parents=True)
        sys.exit(soak(arguments.folder.resolve(), arguments))
    with tempfile.TemporaryDirectory() as folder:
        sys.exit(soak(Path(folder), arguments))


if __name__ == "__main__":
    main()
