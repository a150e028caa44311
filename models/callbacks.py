"""What happens beside the training itself: the curves are kept, the user sees how it goes."""

import csv
import sys
import time
from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback
from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from audiodata.shards import replacing

LINE_EVERY_S = 30.0


class Curves(Callback):
    """Keeps what was measured in each epoch, writes ``curves.csv`` after each and goes on with it when training does.

    Parameters
    ----------
    run : Path
        The run's folder.

    Attributes
    ----------
    rows : list of dict
        One an epoch: ``epoch`` (from 1), ``learning_rate`` and the loss and scores of each split.
    seconds : list of float
        How long each epoch took.
    """

    def __init__(self, run: Path):
        self.path = run / "curves.csv"
        self.rows: list[dict[str, float]] = []
        self.seconds: list[float] = []

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Note the time and the learning rate."""
        self._started = time.monotonic()
        self._rate = trainer.optimizers[0].param_groups[0]["lr"]

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Add the epoch."""
        self.seconds.append(time.monotonic() - self._started)
        measured = {name: value.item() for name, value in sorted(trainer.callback_metrics.items())}
        self.rows.append({"epoch": trainer.current_epoch + 1, "learning_rate": self._rate} | measured)
        self._write()

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"rows": self.rows, "seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what a checkpoint kept."""
        self.rows, self.seconds = state_dict["rows"], state_dict["seconds"]

    def _write(self) -> None:
        with replacing(self.path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=list(self.rows[-1]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.rows)


class Progress(Callback):
    """Shows how training goes: a bar on a terminal, elsewhere a line at most every 30 seconds; on standard error."""

    def __init__(self, epochs: int):
        self.epochs = epochs
        self._bar: Bar | None = None

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Begin to show."""
        self._begun = self._last_line = time.monotonic()
        self._first_epoch, self._examples = trainer.current_epoch, 0
        if sys.stderr.isatty():
            self._bar = Bar(
                TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[tail]}"), TimeElapsedColumn(), TimeRemainingColumn(),
                console=Console(stderr=True),
            )  # fmt: skip
            self._bar.start()
            self._task = self._bar.add_task("training", total=trainer.num_training_batches * (self.epochs - trainer.current_epoch), tail="")

    def on_train_batch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Count a batch."""
        self._examples += batch.examples
        if self._bar:
            self._bar.update(self._task, advance=1, description=f"epoch {trainer.current_epoch + 1} of {self.epochs}", tail=self._tail(trainer))
        elif time.monotonic() - self._last_line >= LINE_EVERY_S:
            self._write_line(trainer, batch_idx + 1)

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Say where it ended."""
        self._stop()
        sys.stderr.write(f"trained {trainer.current_epoch} epochs: {self._tail(trainer)}\n")

    def on_exception(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException) -> None:
        """Leave the terminal as it was."""
        self._stop()

    def _stop(self) -> None:
        if self._bar:
            self._bar.stop()

    def _tail(self, trainer: lightning.Trainer) -> str:
        rate = self._examples / max(time.monotonic() - self._begun, 1e-9)
        measured = ", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in sorted(trainer.callback_metrics.items()))
        return f"{rate:.0f} examples/s{', ' if measured else ''}{measured}"

    def _write_line(self, trainer: lightning.Trainer, batches: int) -> None:
        self._last_line = time.monotonic()
        done = trainer.current_epoch - self._first_epoch + batches / trainer.num_training_batches
        left = (self._last_line - self._begun) * ((self.epochs - self._first_epoch) / done - 1)
        sys.stderr.write(f"epoch {trainer.current_epoch + 1} of {self.epochs}: {self._tail(trainer)}, {left:.0f} s left\n")
        sys.stderr.flush()
