"""What a process and all its descendants need while they run: memory, sampled from /proc, and processor seconds."""

import os
import threading
import time
from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc")
EVERY_S = 0.1
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class Usage(NamedTuple):
    """Of a process and its descendants at one time.

    Attributes
    ----------
    pss_mb : float
        Memory in MB; what several processes share counts once.
    rss_mb : float
        The same, but shared memory counts for each.
    processes : int
    """

    pss_mb: float
    rss_mb: float
    processes: int


def descendants(pid: int) -> list[int]:
    """Return a process and all that it started, whether or not they were started by what it started."""
    children: dict[int, list[int]] = {}
    for folder in PROC.glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        children.setdefault(int(fields[1]), []).append(int(folder.name))
    found = [pid]
    for one in found:
        found.extend(children.get(one, []))
    return found


def usage(pid: int) -> Usage:
    """Add up the memory of a process and its descendants."""
    pss = rss = count = 0
    for one in descendants(pid):
        try:
            lines = dict(line.split(":", 1) for line in (PROC / str(one) / "smaps_rollup").read_text().splitlines()[1:])
        except OSError:
            continue
        pss, rss, count = pss + _kilobytes(lines["Pss"]), rss + _kilobytes(lines["Rss"]), count + 1
    return Usage(pss / 1e3, rss / 1e3, count)


def _kilobytes(text: str) -> float:
    return int(text.split()[0]) * 1.024  # the kernel counts in units of 1024 bytes


class Watch:
    """Context manager that samples processes and their descendants from a thread of its own.

    Parameters
    ----------
    pids : list of int
        Where the trees begin.

    Attributes
    ----------
    peak : Usage
        Of the sample with the largest PSS.
    """

    def __init__(self, pids: list[int]):
        self._pids, self.peak = pids, Usage(0.0, 0.0, 0)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._over.wait(EVERY_S):
            parts = [usage(pid) for pid in self._pids]
            self.peak = max(self.peak, Usage(*(sum(column) for column in zip(*parts, strict=True))))


def processor_seconds(pid: int) -> float:
    """User and system seconds of a process and its descendants, those that have ended and were waited for included."""
    total = 0.0
    for one in descendants(pid):
        try:
            fields = (PROC / str(one) / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += sum(map(int, fields[11:15])) / TICKS_PER_SECOND
    return total


def now() -> float:
    """Seconds of a clock that all processes of a machine share."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
