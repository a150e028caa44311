"""Shows how progressive training goes: a bar on a terminal, elsewhere a line at most every 30 seconds and one for each stage; on standard error."""

import sys
import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from models.callbacks import LINE_EVERY_S


class StageProgress:
    """What a user sees of a training in stages.

    Parameters
    ----------
    stages : tuple of str
        Names of the layers, one a stage.
    period : int
        Epochs without a better value until a stage ends.
    epochs : int
        The most of all stages together.
    show : bool
        Otherwise it is silent.
    """

    def __init__(self, stages: tuple[str, ...], period: int, epochs: int, *, show: bool = True):
        self.stages = stages
        self.period = period
        self.epochs = epochs
        self.show = show
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._place = self._epoch = self._bad = 0
        self._best = ""

    def start(self, batches: int) -> None:
        """Begin to show; an epoch has so many batches."""
        self._begun = self._last_line = time.monotonic()
        self._examples = 0
        if self.show and sys.stderr.isatty():
            columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[tail]}"), TimeElapsedColumn()
            self._bar = Progress(*columns, console=Console(stderr=True))
            self._bar.start()
            self._task = self._bar.add_task("", total=batches, tail="")

    def place(self, place: int) -> None:
        """Say which stage it is, counted from 0."""
        self._place, self._bad, self._best = place, 0, ""

    def begin_stage(self, measured: dict[str, float]) -> None:
        """Tell what the network measures before the stage is trained."""
        self._write(f"{self._where()}: converted, {_shown(measured)}")

    def begin_epoch(self, epoch: int) -> None:
        """Begin an epoch, counted from 1 over all stages."""
        self._epoch = epoch
        if self._bar:
            self._bar.reset(self._task)

    def batch(self, examples: int) -> None:
        """Count a batch."""
        self._examples += examples
        if self._bar:
            self._bar.update(self._task, advance=1, description=f"{self._where()}, epoch {self._epoch}", tail=self._tail())
        elif time.monotonic() - self._last_line >= LINE_EVERY_S:
            self._last_line = time.monotonic()
            self._write(f"{self._where()}, epoch {self._epoch} of {self.epochs} at most: {self._tail()}")

    def end_epoch(self, row: dict[str, Any], monitor: str) -> None:
        """Take the row of an epoch."""
        self._bad, self._best = row["bad_epochs"], f", best {monitor.replace('_', ' ')} {row['best']:.4g}"

    def end_stage(self, record: dict[str, Any]) -> None:
        """Say how a stage ended."""
        how = f"best of {record['epochs']} epochs {_shown(record['best'])}" if record["epochs"] else "not trained, no epoch was left"
        self._write(f"{self._where()}: frozen, {how}")

    def stop(self) -> None:
        """Leave the terminal as it was."""
        if self._bar:
            self._bar.stop()

    def _where(self) -> str:
        return f"stage {self._place + 1} of {len(self.stages)} ({self.stages[self._place]})"

    def _tail(self) -> str:
        rate = self._examples / max(time.monotonic() - self._begun, 1e-9)
        return f"patience {self._bad} of {self.period}{self._best}, {rate:.0f} examples/s"

    def _write(self, line: str) -> None:
        if self._bar:
            self._bar.console.print(line, highlight=False)
        elif self.show:
            sys.stderr.write(f"{line}\n")
            sys.stderr.flush()


def _shown(measured: dict[str, float]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in measured.items())
