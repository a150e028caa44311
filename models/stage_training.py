"""One stage of progressive training, epoch by epoch: the tandem layer and all that follows it learn, what comes before is looked up."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from audiodata.errors import AudioDataError
from models.hybrid import HybridNetwork
from models.metrics import Score
from models.prefix import HeldSpikes, hold
from models.tandem_data import ExampleSet, numbered_loader
from models.training import Task
from models.views import Features, moved


class Arrived(NamedTuple):
    """A batch on the device of the network.

    Attributes
    ----------
    features : Tensor [B, ...] or dict
    targets : dict of str to Tensor [B]
    arriving : Tensor or None
        Spikes ``[T, B, ...]`` that arrive at the stage in training, where they are held.
    examples : int
        B.
    """

    features: Features
    targets: dict[str, Tensor]
    arriving: Tensor | None
    examples: int


class StageSplit:
    """Examples of one split on their way to the stage in training.

    Parameters
    ----------
    examples : ExampleSet
    batch_size : int
    device : torch.device
    limit : int
        Bytes of spikes that may be held; 0 for examples that change from epoch to epoch.
    shuffle : bool
    workers : int
        Processes that read.
    """

    def __init__(self, examples: ExampleSet, batch_size: int, device: torch.device, limit: int, *, shuffle: bool = False, workers: int = 0):
        self.examples = examples
        self.device = device
        self.limit = limit
        self.loader = numbered_loader(examples, batch_size, shuffle=shuffle, workers=workers)
        self._held: HeldSpikes | None = None
        self._place: int | None = None

    @property
    def held_bytes(self) -> int:
        """Memory of the spikes that are held for the stage."""
        return self._held.bytes if self._held else 0

    def batches(self, hybrid: HybridNetwork, epoch: int = 0) -> Iterator[Arrived]:
        """Give all examples; the first call of a stage computes what arrives at it."""
        self._hold(hybrid)
        self.loader.sampler.set_epoch(epoch)
        for positions, features, targets in self.loader:
            arriving = self._held.take(positions, self.device) if self._held else None
            targets = {name: values.to(self.device) for name, values in targets.items()}
            yield Arrived(moved(features, self.device), targets, arriving, len(positions))

    def _hold(self, hybrid: HybridNetwork) -> None:
        if self._place == hybrid.place:
            return
        self._held, self._place = None, hybrid.place

        @torch.no_grad()
        def run(positions: range) -> Tensor:
            features = moved(self.examples.read(positions).features, self.device)
            return hybrid.arrivals(hybrid.network.prepare(features)[0])

        if hybrid.place and self.limit:
            self._held = hold(run, len(self.examples), self.loader.batch_size, self.limit)


class Means:
    """Adds up scores of batches, each weighed by the examples that it is about."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = {}
        self._examples: dict[str, int] = {}

    def add(self, scores: dict[str, Score]) -> None:
        """Add those of a batch."""
        for name, score in scores.items():
            if score.examples:
                self._sums[name] = self._sums.get(name, 0.0) + score.value.item() * score.examples
                self._examples[name] = self._examples.get(name, 0) + score.examples

    def named(self, split: str) -> dict[str, float]:
        """Give the means, by ``<split>_<score>``."""
        return {f"{split}_{name}": total / self._examples[name] for name, total in sorted(self._sums.items())}


def train_batch(hybrid: HybridNetwork, batch: Arrived, task: Task, optimizer: torch.optim.Optimizer) -> dict[str, Score]:
    """Take one step; give loss and scores.

    Raises
    ------
    AudioDataError
        The loss is no number.
    """
    # one example has no spread of its own that a normalisation could take out
    if hybrid.training != (batch.examples > 1):
        hybrid.train(not hybrid.training)
    optimizer.zero_grad(set_to_none=True)
    output = hybrid(batch.features, arriving=batch.arriving)
    loss = task.loss(output, batch.targets)
    if not torch.isfinite(loss):
        raise AudioDataError(f"layer `{hybrid.stage.name}`: the loss is {loss.item()}; lower `learning_rate`")
    loss.backward()
    optimizer.step()
    with torch.no_grad():
        return {"loss": Score(loss.detach(), batch.examples)} | task.scores(output, batch.targets)


@torch.no_grad()
def validate(hybrid: HybridNetwork, split: StageSplit, task: Task, name: str = "val") -> dict[str, float]:
    """Measure the hybrid network in evaluation mode on all examples of a split."""
    hybrid.eval()
    means = Means()
    for batch in split.batches(hybrid):
        output = hybrid(batch.features, arriving=batch.arriving)
        means.add({"loss": Score(task.loss(output, batch.targets), batch.examples)} | task.scores(output, batch.targets))
    return means.named(name)
