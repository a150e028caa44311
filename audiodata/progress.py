"""Progress of long work: a bar on a terminal, a line every 30 seconds elsewhere; rate, remaining time and failures in both."""

import sys
import time
from collections.abc import Callable
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

LINE_EVERY_S = 30.0


class Bar:
    """Count finished work.

    Parameters
    ----------
    title : str
        What is being done.
    total : int
        How much there is.
    unit : str
        Name of one piece, in the plural.
    clock : callable
        Seconds; injected by tests.
    """

    def __init__(self, title: str, total: int, unit: str, clock: Callable[[], float] = time.monotonic):
        self.title, self.total, self.unit, self.clock = title, total, unit, clock
        self.done = self.failed = 0
        self.note = ""  # what failed, by reason
        self.started = self.last_line = clock()
        self._progress = self._terminal() if sys.stderr.isatty() else None

    def __enter__(self) -> "Bar":
        if self._progress:
            self._progress.start()
            self._task = self._progress.add_task(self.title, total=self.total, rate="", failed="")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._progress:
            self._progress.stop()
        elif self.total and kind is None:
            self._write_line()

    def advance(self, count: int = 1, failed: int = 0) -> None:
        """Report `count` more pieces, of which `failed` failed."""
        self.done += count
        self.failed += failed
        if self._progress:
            tail = self._failures() if self.failed else ""
            self._progress.update(self._task, completed=self.done, rate=f"{self.rate():.1f} {self.unit}/s", failed=tail)
        elif self.clock() - self.last_line >= LINE_EVERY_S:
            self._write_line()

    def rate(self) -> float:
        """Pieces per second since the start."""
        return self.done / max(self.clock() - self.started, 1e-9)

    def _failures(self) -> str:
        return f"{self.failed} failed" + (f" ({self.note})" if self.note else "")

    def _write_line(self) -> None:
        self.last_line = self.clock()
        left = (self.total - self.done) / max(self.rate(), 1e-9)
        sys.stderr.write(f"{self.title}: {self.done} of {self.total} {self.unit}, {self.rate():.1f}/s, "
                         f"{left:.0f} s left, {self._failures()}\n")
        sys.stderr.flush()

    @staticmethod
    def _terminal() -> Progress:
        return Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(), TimeRemainingColumn(), TextColumn("[red]{task.fields[failed]}"), console=Console(stderr=True),
        )
