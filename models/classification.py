"""One class per example: loss and decoding for training, and all that is measured afterwards."""

from typing import Any

import torch
from torch import Tensor, nn

from models.decoding import DECODINGS
from models.layers import Output
from models.losses import LOSSES
from models.metrics import Score, class_summary, confusion_matrix
from models.training_config import SpikingTraining, TwinTraining


class Classification:
    """What a classifying network is trained for.

    Parameters
    ----------
    loss : str
        A key of `models.losses.LOSSES`.
    decoding : str
        A key of `models.decoding.DECODINGS`.
    """

    def __init__(self, loss: str, decoding: str):
        self._loss = LOSSES[loss]
        self._decode = DECODINGS[decoding]

    @classmethod
    def of(cls, training: SpikingTraining | TwinTraining, network: nn.Module) -> "Classification":
        """Task that some settings describe, whatever the network."""
        return cls(training.loss, training.decode)

    def loss(self, output: Output, targets: dict[str, Tensor]) -> Tensor:
        """Loss of a batch, its mean over the examples."""
        return self._loss.function(getattr(output, self._loss.reads), targets["label"])

    def scores(self, output: Output, targets: dict[str, Tensor]) -> dict[str, Score]:
        """Share of a batch that is right."""
        right = self.predict(output) == targets["label"]
        return {"accuracy": Score(right.float().mean(), len(right))}

    def predict(self, output: Output) -> Tensor:
        """Class of each example, int64 ``[B]``."""
        return self._decode(output.spikes, output.potentials)

    def tally(self, classes: tuple[str, ...]) -> "ClassificationTally":
        """Begin to add up what is measured over a split."""
        return ClassificationTally(self, classes)


class ClassificationTally:
    """Adds up, batch by batch, what a classifying network gets right and wrong.

    Parameters
    ----------
    task : Classification
    classes : tuple of str
    """

    def __init__(self, task: Classification, classes: tuple[str, ...]):
        self.task = task
        self.classes = classes
        self._labels: list[Tensor] = []
        self._predicted: list[Tensor] = []
        self._loss = 0.0

    def add(self, output: Output, targets: dict[str, Tensor]) -> None:
        """Add a batch."""
        self._labels.append(targets["label"].cpu())
        self._predicted.append(self.task.predict(output).cpu())
        self._loss += self.task.loss(output, targets).item() * len(targets["label"])

    @property
    def examples(self) -> int:
        """How many there were."""
        return sum(map(len, self._labels))

    def summary(self) -> dict[str, Any]:
        """Describe right and wrong answers."""
        matrix = confusion_matrix(torch.cat(self._labels), torch.cat(self._predicted), len(self.classes))
        return {"examples": self.examples} | class_summary(matrix, self.classes, self._loss / max(self.examples, 1))

    def predictions(self) -> dict[str, list]:
        """Give truth and answer for each example, as names of classes."""
        columns = {"label": self._labels, "predicted_label": self._predicted}
        return {name: [self.classes[index] for index in torch.cat(values).tolist()] for name, values in columns.items()}
