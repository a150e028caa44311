"""What a soak is made of: a schedule of kills, processes that can be found again, and commands that are started again and again."""

import os
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import NamedTuple

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
MARK = "AUDIODATA_SOAK"  # in the environment of all that is started here, and of what that starts

MOST_UNEXPECTED = 5


class Kill(NamedTuple):
    """One entry of the schedule; `draw` decides which of several workers, and what is changed by whom."""

    stage: str
    kind: str
    delay_s: float
    draw: float


class Programs:
    """Starts processes that can be found again, and notes what they say."""

    def __init__(self, folder):
        self.folder, self.mark, self._count = folder / "logs", f"{os.getpid()}-{time.monotonic_ns()}", 0
        self.folder.mkdir()

    def start(self, name, module, *words, **environment):
        self._count += 1
        log = self.folder / f"{self._count:04d}-{name}.log"
        env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", MARK: self.mark} | environment
        with log.open("w") as file:
            command = [sys.executable, "-m", module, *map(str, words)]
            process = subprocess.Popen(command, cwd=self.folder, env=env, stdin=subprocess.DEVNULL, stdout=file, stderr=file)
        process.log = log
        return process

    def left(self):
        """Return the ids and commands of all processes that carry the mark."""
        return {pid: command_of(pid) for pid in (int(path.name) for path in Path("/proc").glob("[0-9]*")) if self._is_ours(pid)}

    def _is_ours(self, pid):
        try:
            return f"{MARK}={self.mark}".encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except OSError:  # another user's, or gone meanwhile
            return False


def command_of(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def children(pid):
    """Ids of the children of a process, whichever of its threads has started them."""
    try:
        return [int(child) for path in Path(f"/proc/{pid}/task").glob("*/children") for child in path.read_text().split()]
    except OSError:
        return []


def end(process):
    process.kill()
    process.wait()


class Stage(ABC):
    """A command that is started again whenever it ends, and whose work is changed whenever it is done.

    Attributes
    ----------
    runs, finished : int
        How often the command was started, and how often it came to its end.
    unexpected : list of str
        Ends that are neither success nor one of the lines that a user is promised.
    """

    name: str
    kinds: dict[str, float]
    done_line: str
    promised: tuple[str, ...] = ()

    def __init__(self, folder, programs, rng):
        self.folder, self.programs, self.rng = folder, programs, rng
        self.driver, self.runs, self.finished, self.unexpected, self.said = None, 0, 0, [], {}
        self.may_change, self.complete = True, False

    @abstractmethod
    def words(self):
        """Words of the command, the same until the work is changed."""

    @abstractmethod
    def change(self):
        """Change the work, while no driver is there."""

    @abstractmethod
    def victim(self, kind, draw):
        """Return the process, or the id of one, that is to be killed; None if there is none now."""

    def keep_going(self):
        """Start what has ended."""
        if self.driver is not None and self.driver.poll() is not None:
            self._note_end(self.driver)
            self.driver = None
        if self.driver is None and not self.has_ended():
            if self.complete:
                self.change()
            self.start()

    def has_ended(self):
        """Whether there is nothing left to start: all is done, or it goes wrong again and again."""
        return (self.complete and not self.may_change) or len(self.unexpected) >= MOST_UNEXPECTED

    def start(self):
        self.complete, self.runs = False, self.runs + 1
        self.driver = self.programs.start(self.name, "pipelines", self.name, *self.words())

    def _note_end(self, driver):
        text = driver.log.read_text()
        last = (text.strip().splitlines() or [""])[-1]
        self.complete = driver.returncode in (0, 1) and self.done_line in text and "Traceback" not in text
        self.finished += self.complete
        if self.complete:
            return
        known = next((line for line in self.promised if line in text), None)
        self.said[known or last] = self.said.get(known or last, 0) + 1
        if known is None or "Traceback" in text:
            self.unexpected.append(f"{self.name} ended with {driver.returncode}: {last} ({driver.log})")

    def is_there(self, kind):
        """Whether there is one of a kind that could be killed."""
        if kind == "driver":
            return self.driver is not None and self.driver.poll() is None
        return self.victim(kind, 0.0) is not None

    def kill(self, kind, draw):
        """Kill and return whether there was something to kill."""
        if kind == "driver":
            if not self.is_there(kind):
                return False
            end(self.driver)
            self.driver = None
            if draw < 0.25:  # somebody thinks better of it before going on
                self.change()
            return True
        found = self.victim(kind, draw)
        if found is None:
            return False
        try:
            os.kill(found, signal.SIGKILL)
        except ProcessLookupError:
            return False
        return True

    def close(self):
        if self.driver is not None:
            end(self.driver)


def schedule(seed, pause_s, stages):
    """Yield kills for ever: the stages take turns, victim and moment are drawn."""
    rng = np.random.default_rng(seed)
    while True:
        for name, kinds in stages.items():
            kind = str(rng.choice(list(kinds), p=list(kinds.values())))
            yield Kill(name, kind, float(rng.uniform(0, 2 * pause_s)), float(rng.random()))
