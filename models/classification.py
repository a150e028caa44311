"""One class per example: loss and decoding for training, and all that is measured afterwards."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor, nn

from models.data import Batch
from models.decoding import DECODINGS
from models.layers import Output
from models.losses import LOSSES
from models.metrics import Meter, accuracy, confusion_matrix, parameter_count, recalls, twin_macs


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

    def loss(self, output: Output, targets: dict[str, Tensor]) -> Tensor:
        """Loss of a batch, its mean over the examples."""
        return self._loss.function(getattr(output, self._loss.reads), targets["label"])

    def scores(self, output: Output, targets: dict[str, Tensor]) -> dict[str, Tensor]:
        """Scores of a batch, means over the examples, of which more is better."""
        return {"accuracy": (self.predict(output) == targets["label"]).float().mean()}

    def predict(self, output: Output) -> Tensor:
        """Class of each example, int64 ``[B]``."""
        return self._decode(output.spikes, output.potentials)


class Evaluation(NamedTuple):
    """What came out of running a network over a split.

    Attributes
    ----------
    matrix : Tensor [C, C]
        True classes against predicted ones.
    loss : float
        Mean over the examples.
    meter : Meter
        Spikes and operations of all examples together.
    """

    matrix: Tensor
    loss: float
    meter: Meter


def evaluate(
    network: nn.Module, batches: Iterable[Batch], task: Classification, classes: int, generator: Generator
) -> Evaluation:
    """Run a network over a split.

    Parameters
    ----------
    network : Module
        Is put in evaluation mode.
    batches : iterable of Batch
    task : Classification
    classes : int
    generator : Generator
        For encodings that draw random numbers; on the network's device.
    """
    meter = Meter(network.eval())
    matrix, loss, device = torch.zeros(classes, classes, dtype=torch.int64), 0.0, generator.device
    with torch.no_grad(), meter.watching():
        for features, targets in batches:
            targets = {name: values.to(device) for name, values in targets.items()}
            output = network(features.to(device), generator)
            matrix += confusion_matrix(targets["label"].cpu(), task.predict(output).cpu(), classes)
            loss += task.loss(output, targets).item() * len(features)
    return Evaluation(matrix, loss / max(matrix.sum().item(), 1), meter)


def summarize(evaluation: Evaluation, classes: tuple[str, ...]) -> dict[str, Any]:
    """Describe right and wrong answers; ``chance`` is that of guessing, ``majority`` that of always naming the split's largest class."""
    matrix = evaluation.matrix
    examples = int(matrix.sum())
    return {
        "examples": examples,
        "accuracy": accuracy(matrix),
        "chance": 1 / len(classes),
        "majority": matrix.sum(1).max().item() / max(examples, 1),
        "loss": evaluation.loss,
        "classes": list(classes),
        "recall": dict(zip(classes, recalls(matrix), strict=True)),
        "confusion_matrix": matrix.tolist(),
    }


def summarize_cost(network: nn.Module, evaluation: Evaluation, twin: nn.Module | None, shape: tuple[int, int, int]) -> dict[str, Any]:
    """Describe size, spikes and operations per example, beside the twin's.

    Parameters
    ----------
    network : Module
    evaluation : Evaluation
    twin : Module, optional
        The same layers without spikes.
    shape : tuple of int
        ``(channel, band, frame)``.
    """
    meter, examples = evaluation.meter, max(int(evaluation.matrix.sum()), 1)
    found: dict[str, Any] = {
        "parameters": parameter_count(network),
        "firing_rates": {name: spikes / max(meter.neuron_steps[name], 1) for name, spikes in meter.spikes.items()},
        "spikes_per_example": {name: spikes / examples for name, spikes in meter.spikes.items()},
        "operations_per_example": {
            "synaptic_operations": {name: count / examples for name, count in meter.synaptic_operations.items()},
            "macs": {name: count / examples for name, count in meter.macs.items()},
        },
    }
    if twin is not None:
        macs = twin_macs(twin, shape)
        additions = sum(meter.synaptic_operations.values()) / examples
        found["twin"] = {"parameters": parameter_count(twin), "macs": macs, "macs_total": sum(macs.values())}
        found["operations_per_example"] |= {"synaptic_operations_total": additions, "macs_total": sum(meter.macs.values()) / examples}
        found["operations_per_example"]["synaptic_operations_per_twin_mac"] = additions / sum(macs.values())
    return found
