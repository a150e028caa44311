"""Progressive tandem learning: a trained ANN becomes a spiking network one layer at a time, each followed by training (Wu et al. 2021, section 4).

    for each layer:   measure its threshold on the hybrid network          models.tandem
                      put the tandem layer in its place                    models.hybrid
                      train it and all later layers, epoch by epoch,
                      until there was no better value for a while          models.patience
                      load the best weights of the stage, freeze the layer

A stage that gets better and better may take its share of the epochs that are left, and no more, so that every layer has some. The learning rate
is that of the settings in the first half of a stage's share and a tenth of it in the second (after section 5.1, where there is one fall for all),
and each stage has an optimizer of its own. Where weights are constrained there is one more stage, for the readout's: it has no threshold, but
weights of few bits. Training can be interrupted after any epoch and goes on as if it had not been.
"""

import copy
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pandas as pd
import torch
from pydantic import Field
from torch import nn

from audiodata.errors import AudioDataError
from audiodata.shards import replacing
from models.chain import stages
from models.data import HELD_BYTES, evenly_spaced
from models.hybrid import HybridNetwork, converted_layers
from models.patience import Patience
from models.runs import CHECKPOINTS, LAST_CHECKPOINT
from models.schedules import step
from models.seeds import derived_seed
from models.spiking_chain import SpikingNetwork
from models.stage_progress import StageProgress
from models.stage_training import Means, StageSplit, train_batch, validate
from models.tandem import ConversionConfig, assemble, evaluating, measure_threshold
from models.tandem_data import ExampleSet
from models.training import Task, repeatable
from models.views import moved

CURVES = "curves.csv"
# Where the settings name no other.
BATCH_SIZE = 32


class TandemTraining(ConversionConfig):
    """How a network is converted and trained on the way; settings of the conversion as in `models.tandem.ConversionConfig`.

    ``patience``: T_p, epochs without a better value until the next layer is converted. ``epochs``: of all stages together, at most; a stage takes
    at most what is left of them over the number of stages that are left, and with fewer epochs than stages the last layers are converted without
    training. ``learning_rate``, ``weight_decay``: of Adam, anew for each stage; the rate is a tenth in the second half of a stage's epochs.
    ``batch_size``, none: as in the ANN's training. ``seed``: of everything random. ``monitor``: what decides which epoch is the best (measured on
    the val split; on the training split of a cache without one). ``augment``: change training examples as in the ANN's training; what frozen
    layers send is then computed in every epoch. ``workers``: processes that read. ``device``: "auto" takes a GPU if there is one.
    """

    patience: int = Field(default=6, ge=1)
    epochs: int = Field(default=100, ge=1)
    learning_rate: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=1e-5, ge=0)
    batch_size: int | None = Field(default=None, ge=1)
    seed: int = Field(default=0, ge=0)
    monitor: Literal["val_loss", "val_accuracy"] = "val_loss"
    augment: bool = True
    workers: int = Field(default=0, ge=0)
    device: Literal["auto", "cpu", "cuda"] = "auto"


class TandemResult(NamedTuple):
    """What a progressive training comes to.

    Attributes
    ----------
    network : SpikingNetwork
        In evaluation mode, on the CPU.
    stages : list of dict
        One a stage: ``layer``; ``threshold`` (none for the readout); ``start``, what was measured after conversion and before training;
        ``share``, how many epochs it might take; ``epochs``; ``best_epoch`` (over all stages, from 1) and ``best``, what was measured in it, none
        without training.
    rows : list of dict
        One an epoch, as in ``curves.csv``.
    seconds : list of float
        Of each epoch.
    """

    network: SpikingNetwork
    stages: list[dict[str, Any]]
    rows: list[dict[str, Any]]
    seconds: list[float]

    @property
    def untrained(self) -> list[str]:
        """Layers that were converted when no epoch was left."""
        return [stage["layer"] for stage in self.stages if not stage["epochs"]]


@dataclass
class State:
    """How far a training is; what a checkpoint keeps beside weights."""

    place: int = 0
    epoch: int = 0
    thresholds: list[float] = field(default_factory=list)
    stages: list[dict[str, Any]] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


def fine_tune(
    network: nn.Module,
    task: Task,
    train: ExampleSet,
    val: ExampleSet | None,
    config: TandemTraining,
    folder: Path | None = None,
    *,
    changing: ExampleSet | None = None,
    resume: bool = False,
    show: bool = False,
) -> TandemResult:
    """Convert a trained network layer by layer, training it on the way.

    Parameters
    ----------
    network : Module
        With its `models.chain`; its weights are trained in place, and are the full-precision copy of the result's.
    task : Task
        Its loss and scores.
    train, val : ExampleSet
        `models.data.Examples`, or `models.tandem_data.TensorExamples` for tensors at hand. Without `val` the training examples decide.
    config : TandemTraining
    folder : Path, optional
        Gets ``checkpoints/last.ckpt`` and ``curves.csv`` after each epoch.
    changing : ExampleSet, optional
        The training examples, changed at random in each epoch; they are trained on, thresholds are measured on `train`.
    resume : bool
        Go on with the checkpoint there, if there is one; its settings must have been the same.
    show : bool
        Say on standard error how it goes.

    Returns
    -------
    TandemResult

    Raises
    ------
    AudioDataError
        A layer that can't be converted or is never active, a loss that is no number, or a `monitor` that the task does not measure.

    Examples
    --------
    >>> from models.chain import Sequence
    >>> from models.tandem_data import TensorExamples
    >>> from models.reconstruction import Reconstructing, Reconstruction
    >>> class Twice(Sequence):
    ...     def prepare(self, features):
    ...         return features, features
    ...
    ...     def finish(self, values, features):
    ...         return Reconstruction(values, 2 * features)
    >>> _ = torch.manual_seed(0)
    >>> examples = TensorExamples(torch.rand(64, 3), {"label": torch.zeros(64)})
    >>> network = Twice(nn.Sequential(nn.Linear(3, 20), nn.ReLU(), nn.Linear(20, 3)))
    >>> result = fine_tune(network, Reconstructing(), examples, None, TandemTraining(epochs=3, batch_size=8))
    >>> result.network(torch.rand(5, 3)).values.shape, [row["layer"] for row in result.rows]
    (torch.Size([5, 3]), ['0', '0', '0'])
    """
    data = _Splits(train, train if val is None else val, changing)
    training = _ProgressiveTraining(network, task, data, config, folder, show)
    with repeatable(), torch.random.fork_rng():
        return training.run(resume=resume)


class _Splits(NamedTuple):
    train: ExampleSet
    val: ExampleSet
    changing: ExampleSet | None


class _ProgressiveTraining:
    def __init__(self, network: nn.Module, task: Task, data: _Splits, config: TandemTraining, folder: Path | None, show: bool):
        self.network, self.task, self.config, self.folder = network, task, config, folder
        self.stages = stages(network.chain())
        self.names = stage_names(network, config)
        self.device = device_of(config.device)
        self.examples = data.train
        batch_size = config.batch_size or BATCH_SIZE
        share = HELD_BYTES / (len(data.train) + len(data.val))
        held = 0 if data.changing else int(share * len(data.train))
        self.train = StageSplit(data.changing or data.train, batch_size, self.device, held, shuffle=True, workers=config.workers)
        self.val = StageSplit(data.val, batch_size, self.device, int(share * len(data.val)), workers=config.workers)
        self.progress = StageProgress(self.names, config.patience, config.epochs, show=show)
        self.state = State()

    def run(self, *, resume: bool) -> TandemResult:
        self.network.to(self.device)
        self.progress.start(len(self.train.loader))
        try:
            going_on = resume and self._load()
            while self.state.place < len(self.names):
                if not going_on:
                    self._begin_stage()
                self._train_stage()
                self._end_stage()
                going_on = False
        finally:
            self.progress.stop()
        self.network.cpu().eval()
        state = self.state
        return TandemResult(assemble(self.network, state.thresholds, self.config), state.stages, state.rows, state.seconds)

    def _begin_stage(self) -> None:
        state, layer = self.state, self.stages[self.state.place]
        threshold = self._measure_threshold() if layer.rectified else None
        state.thresholds += [] if threshold is None else [threshold]
        self._build_stage()
        start = validate(self.hybrid, self.val, self.task)
        if self.config.monitor not in start:
            raise AudioDataError(f"`monitor` = \"{self.config.monitor}\": this network's task measures {', '.join(start)}")
        share = math.ceil((self.config.epochs - state.epoch) / (len(self.names) - state.place))
        begun = {"layer": layer.name, "threshold": threshold, "start": start, "share": share}
        state.stages.append(begun | {"epochs": 0, "best_epoch": None, "best": None})
        self.progress.begin_stage(start)

    def _measure_threshold(self) -> float:
        state, config = self.state, self.config
        layers = converted_layers(self.stages[: state.place], state.thresholds, config)
        positions = evenly_spaced(len(self.examples), config.threshold_examples)
        features = moved(self.examples.read(positions).features, self.device)
        with torch.no_grad(), evaluating(self.network):
            return measure_threshold(self.stages[state.place], layers, self.network.prepare(features)[0], config)

    def _build_stage(self) -> None:
        config, state = self.config, self.state
        self.progress.place(state.place)
        self.hybrid = HybridNetwork(self.network, state.place, state.thresholds, config).to(self.device)
        self.optimizer = torch.optim.Adam(self.hybrid.trained_parameters(), config.learning_rate, weight_decay=config.weight_decay)
        self.patience = Patience(config.patience, "lower" if config.monitor.endswith("loss") else "higher")
        self.best = copy.deepcopy(self.network.state_dict())

    def _train_stage(self) -> None:
        record = self.state.stages[-1]
        while record["epochs"] < record["share"] and not self.patience.ended:
            self._train_epoch()
            self._save()

    def _end_stage(self) -> None:
        self.network.load_state_dict(self.best)
        self.progress.end_stage(self.state.stages[-1])
        self.state.place += 1

    def _train_epoch(self) -> None:
        state, started = self.state, time.monotonic()
        rate = self.config.learning_rate * step(state.stages[-1]["epochs"], state.stages[-1]["share"])
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        measured = self._learn() | validate(self.hybrid, self.val, self.task)
        state.epoch += 1
        self._judge(measured)
        row = {"stage": state.place + 1, "layer": self.hybrid.stage.name, "epoch": state.epoch, "learning_rate": rate} | measured
        state.rows.append(row | {"bad_epochs": self.patience.bad_epochs, "best": self.patience.best})
        state.seconds.append(time.monotonic() - started)
        self.progress.end_epoch(state.rows[-1], self.config.monitor)

    def _learn(self) -> dict[str, float]:
        self.progress.begin_epoch(self.state.epoch + 1)
        torch.manual_seed(derived_seed(self.config.seed, "train", self.state.epoch))
        means = Means()
        for batch in self.train.batches(self.hybrid, self.state.epoch):
            means.add(train_batch(self.hybrid, batch, self.task, self.optimizer))
            self.progress.batch(batch.examples)
        return means.named("train")

    def _judge(self, measured: dict[str, float]) -> None:
        record = self.state.stages[-1]
        record["epochs"] += 1
        if not math.isfinite(measured[self.config.monitor]):
            raise AudioDataError(f"layer `{record['layer']}`: `{self.config.monitor}` is {measured[self.config.monitor]}; lower `learning_rate`")
        if self.patience.update(measured[self.config.monitor]) == "better":
            self.best = copy.deepcopy(self.network.state_dict())
            record["best_epoch"] = self.state.epoch
            record["best"] = {name: value for name, value in measured.items() if name.startswith("val_")}

    def _save(self) -> None:
        if self.folder is None:
            return
        weights = {"network": self.network.state_dict(), "best": self.best, "optimizer": self.optimizer.state_dict()}
        (self.folder / CHECKPOINTS).mkdir(parents=True, exist_ok=True)
        with replacing(self.folder / CHECKPOINTS / LAST_CHECKPOINT) as temporary:
            torch.save({"state": asdict(self.state), "patience": self.patience.state_dict()} | weights, temporary)
        write_curves(self.folder / CURVES, self.state.rows)

    def _load(self) -> bool:
        """Take over the last checkpoint; whether there is one."""
        path = None if self.folder is None else self.folder / CHECKPOINTS / LAST_CHECKPOINT
        if path is None or not path.is_file():
            return False
        kept = torch.load(path, map_location=self.device, weights_only=True)
        self.network.load_state_dict(kept["network"])
        self.state = State(**kept["state"])
        self._build_stage()
        self.best = kept["best"]
        self.optimizer.load_state_dict(kept["optimizer"])
        self.patience.load_state_dict(kept["patience"])
        return True


def stage_names(network: nn.Module, config: ConversionConfig) -> tuple[str, ...]:
    """Names of the layers that have a stage: all with a rectifier, and the readout where weights are constrained."""
    *hidden, last = stages(network.chain())
    return tuple(stage.name for stage in (*hidden, *((last,) if config.any else ())))


def device_of(name: str) -> torch.device:
    """Find the device that a setting names.

    Raises
    ------
    AudioDataError
        There is no GPU.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise AudioDataError('`device` = "cuda": there is none here; leave it at "auto"')
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def write_curves(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write ``curves.csv``, a row an epoch."""
    with replacing(path) as temporary:
        pd.DataFrame(rows).to_csv(temporary, index=False, lineterminator="\n")
