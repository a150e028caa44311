"""What the training of all networks shares: one learner, one fit. It knows of no network and of no task in particular."""

import logging
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import lightning
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau
from torch.utils.data import DataLoader

from audiodata.errors import AudioDataError
from models.callbacks import Curves, Progress
from models.data import Batch
from models.metrics import Score
from models.runs import CHECKPOINTS, LAST_CHECKPOINT
from models.schedules import SCHEDULES
from models.seeds import derived_generator
from models.training_config import TrainingConfig

logger = logging.getLogger(__name__)

# Without a lower loss, until the schedule "plateau" halves the rate (Wu et al. 2021, section 6.3.2).
EPOCHS_TO_HALVING = 3
OPTIMIZERS: dict[str, type[torch.optim.Optimizer]] = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}


class Task(Protocol):
    """What a network is trained for."""

    def loss(self, output: tuple, targets: dict[str, Tensor]) -> Tensor:
        """Loss of a batch, its mean over the examples."""

    def scores(self, output: tuple, targets: dict[str, Tensor]) -> dict[str, Score]:
        """Scores of a batch by name, each over the examples that have what it is about."""


class Learner(lightning.LightningModule):
    """One network in training.

    Everything random in a forward pass is drawn from a generator that is seeded for each epoch, so that training that was interrupted
    goes on exactly as it would have.

    Parameters
    ----------
    network : Module
        ``(features, generator) -> output``.
    task : Task
    config : TrainingConfig
    """

    def __init__(self, network: nn.Module, task: Task, config: TrainingConfig):
        super().__init__()
        self.network = network
        self.task = task
        self.config = config

    def configure_optimizers(self) -> dict:
        """Adam or AdamW with a learning rate that follows the schedule, epoch by epoch."""
        config = self.config
        optimizer = OPTIMIZERS[config.optimizer](self.network.parameters(), config.learning_rate, weight_decay=config.weight_decay)
        if config.schedule == "plateau":
            halving = ReduceLROnPlateau(optimizer, factor=0.5, patience=EPOCHS_TO_HALVING - 1, threshold=0.0, eps=0.0)
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": halving, "monitor": "val_loss"}}
        share = SCHEDULES[config.schedule]
        return {"optimizer": optimizer, "lr_scheduler": LambdaLR(optimizer, lambda epoch: share(epoch, config.epochs))}

    def on_train_epoch_start(self) -> None:
        """Seed the epoch."""
        self._generator = derived_generator(self.config.seed, "train", self.current_epoch, device=self.device)

    def on_validation_epoch_start(self) -> None:
        """Seed the validation, the same in every epoch."""
        self._training_generator = getattr(self, "_generator", None)
        self._generator = derived_generator(self.config.seed, "evaluate", device=self.device)

    def on_validation_epoch_end(self) -> None:
        """Go back to the epoch's own random numbers."""
        self._generator = self._training_generator

    def training_step(self, batch: Batch, _: int) -> Tensor:
        """Loss of one batch."""
        return self._measure("train", batch)

    def validation_step(self, batch: Batch, _: int) -> None:
        """Measure one batch."""
        self._measure("val", batch)

    def _measure(self, split: str, batch: Batch) -> Tensor:
        output = self.network(batch.features, self._generator)
        loss = self.task.loss(output, batch.targets)
        if not torch.isfinite(loss):
            raise AudioDataError(f"epoch {self.current_epoch + 1}: the loss is {loss.item()}; lower `learning_rate` or set `clip_norm`")
        with torch.no_grad():
            scores = {"loss": Score(loss.detach(), batch.examples)} | self.task.scores(output, batch.targets)
        for name, score in scores.items():
            self.log(f"{split}_{name}", score.value, on_step=False, on_epoch=True, batch_size=score.examples)
        return loss


def fit(learner: Learner, train: DataLoader, val: DataLoader | None, run: Path, *, resume: bool = False) -> Curves:
    """Train; the run's folder gets checkpoints (the best epoch and the last), ``curves.csv`` and TensorBoard logs.

    Parameters
    ----------
    learner : Learner
        Its network has the last epoch's weights afterwards.
    train, val : DataLoader
        Without `val` there is no early stop, and the last epoch is the best.
    run : Path
    resume : bool
        Go on from the last checkpoint, if there is one.

    Returns
    -------
    Curves
        What was measured in each epoch.

    Raises
    ------
    AudioDataError
        The loss is no longer finite, the device asked for is not there, or the learning rate is to follow a val split that there is not.
    KeyboardInterrupt
        On Ctrl-C, after the trainer has shut down.
    """
    config = learner.config
    if config.schedule == "plateau" and val is None:
        raise AudioDataError('`schedule` = "plateau" follows the loss on the val split, which this cache has not; choose another')
    curves = Curves(run)
    with _quiet(), repeatable():
        trainer = lightning.Trainer(
            accelerator=_accelerator(config.device),
            devices=1,
            max_epochs=config.epochs,
            gradient_clip_val=config.clip_norm or None,
            callbacks=[curves, Progress(config.epochs), *_checkpoints(config, run, val is not None)],
            logger=TensorBoardLogger(str(run), name="", version="tensorboard"),
            log_every_n_steps=1,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
            default_root_dir=str(run),
        )
        last = run / CHECKPOINTS / LAST_CHECKPOINT
        _run(trainer, learner, train, val, last if resume and last.is_file() else None)
    return curves


def _run(trainer: lightning.Trainer, learner: Learner, train: DataLoader, val: DataLoader | None, checkpoint: Path | None) -> None:
    before = signal.getsignal(signal.SIGINT)
    try:
        trainer.fit(learner, train, val, ckpt_path=checkpoint, weights_only=True)
    except SystemExit:
        # The trainer answers Ctrl-C by leaving the process; who called decides what to say.
        signal.signal(signal.SIGINT, before)
        raise KeyboardInterrupt from None


def _checkpoints(config: TrainingConfig, run: Path, validated: bool) -> list[Callback]:
    mode = "min" if config.monitor.endswith(("loss", "mae")) else "max"
    best = ModelCheckpoint(
        dirpath=run / CHECKPOINTS,
        filename="best",
        monitor=config.monitor if validated else None,
        mode=mode,
        save_last=True,
        enable_version_counter=False,
        save_on_train_epoch_end=True,
    )
    if not (validated and config.patience):
        return [best]
    return [EarlyStopping(config.monitor, mode=mode, patience=config.patience, check_on_train_epoch_end=True), best]


def _accelerator(device: str) -> str:
    available = {"cuda": torch.cuda.is_available, "mps": torch.backends.mps.is_available}
    if device in available and not available[device]():
        raise AudioDataError(f'`device` = "{device}": there is none here; leave it at "auto"')
    return device


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the trainer's tips and notices from the user, whose questions they do not answer."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric", "pytorch_lightning")]
    levels = [each.level for each in loggers]
    for each in loggers:
        each.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"lightning(_fabric|\.|$)")
            warnings.filterwarnings("ignore", category=UserWarning, module=r"torch\.optim\.lr_scheduler")
            yield
    finally:
        for each, level in zip(loggers, levels, strict=True):
            each.setLevel(level)


@contextmanager
def repeatable() -> Iterator[None]:
    """Choose operations that give the same bits each time; new memory is not filled, since every kernel here writes all that it reads."""
    before = torch.are_deterministic_algorithms_enabled(), torch.utils.deterministic.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.utils.deterministic.fill_uninitialized_memory = before[1]
