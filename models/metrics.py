"""What a network does, in numbers: right and wrong answers, spikes, operations.

Operations are counted per connection, without biases, pooling, scaling and the neurons' own updates:

    synaptic operations = sum over layers, time steps and neurons of spikes x connections that lead on from the neuron     (additions)
    MACs                = inputs x connections, of every layer whose input is real numbers          (multiplications and additions)

which is the convention of Rueckauer et al. (2017). A neuron at the edge of a map leads to fewer places of the next one than the kernel has,
which is counted exactly. The first layer of a network with direct encoding takes real numbers, so it has MACs, once and not for every time step.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from models.layers import Output
from models.views import Features, Shapes, zeros


class Score(NamedTuple):
    """The mean of something over so many examples of a batch."""

    value: Tensor
    examples: int


def confusion_matrix(labels: Tensor, predictions: Tensor, classes: int) -> Tensor:
    """Count true classes (rows) against predicted ones (columns): int64 ``[C, C]`` from ``[N]`` and ``[N]``."""
    return torch.bincount(labels * classes + predictions, minlength=classes * classes).reshape(classes, classes)


def accuracy(matrix: Tensor) -> float:
    """Share of the examples of a confusion matrix that are right."""
    return matrix.diagonal().sum().item() / max(matrix.sum().item(), 1)


def recalls(matrix: Tensor) -> list[float | None]:
    """Share of each class's examples that are right, none for a class without examples."""
    return [right / total if total else None for right, total in zip(matrix.diagonal().tolist(), matrix.sum(1).tolist(), strict=True)]


def class_summary(matrix: Tensor, classes: tuple[str, ...], loss: float) -> dict[str, Any]:
    """Describe right and wrong classes; ``chance`` is that of guessing, ``majority`` that of always naming the split's largest class."""
    return {
        "accuracy": accuracy(matrix),
        "chance": 1 / len(classes),
        "majority": matrix.sum(1).max().item() / max(int(matrix.sum()), 1),
        "loss": loss,
        "classes": list(classes),
        "recall": dict(zip(classes, recalls(matrix), strict=True)),
        "confusion_matrix": matrix.tolist(),
    }


def parameter_count(network: nn.Module) -> int:
    """Number of trained numbers."""
    return sum(parameter.numel() for parameter in network.parameters())


def fan_out(layer: nn.Module, height: int = 1, width: int = 1) -> Tensor:
    """Connections that lead on from each input of a layer.

    Parameters
    ----------
    layer : Module
        Dense (`torch.nn.Linear`) or convolution without dilation (`torch.nn.Conv2d`).
    height, width : int
        Of the input maps of a convolution.

    Returns
    -------
    Tensor
        float64, ``[H, W]`` for a convolution, ``[]`` for a dense layer.

    Raises
    ------
    TypeError
        Another kind of layer.
    """
    if isinstance(layer, nn.Linear):
        return torch.tensor(layer.out_features, dtype=torch.float64)
    if isinstance(layer, nn.Conv2d):
        per_place = layer.out_channels // layer.groups
        return per_place * _places_reached(height, width, layer.kernel_size, layer.stride, layer.padding)
    raise TypeError(f"connections of a {type(layer).__name__} can't be counted")


@lru_cache(maxsize=64)
def _places_reached(height: int, width: int, kernel: tuple, stride: tuple, padding: tuple) -> Tensor:
    """How many places of a convolution's output each place of its input takes part in, ``[H, W]``."""
    sizes = [(size + 2 * pad - k) // step + 1 for size, k, step, pad in zip((height, width), kernel, stride, padding, strict=True)]
    ones = torch.ones(1, 1, *sizes, dtype=torch.float64)
    reached = F.conv_transpose2d(ones, torch.ones(1, 1, *kernel, dtype=torch.float64), stride=stride)[0, 0]
    whole = torch.zeros(height + 2 * padding[0], width + 2 * padding[1], dtype=torch.float64)
    whole[: reached.shape[0], : reached.shape[1]] = reached
    return whole[padding[0] : padding[0] + height, padding[1] : padding[1] + width]


class Meter:
    """Counts the spikes and operations of a network over all forward passes inside `watching`.

    Parameters
    ----------
    network : Module
        With ``spiking_layers()`` and ``weighted_layers()``, and ``product_layers()`` where layers multiply what they are given with each other:
        these have a method ``operations``, which counts additions in a spiking network and MACs in another, given what the layer is given.

    Attributes
    ----------
    spikes, neuron_steps : dict of str to float
        Per spiking layer: spikes, and neurons times time steps.
    synaptic_operations, macs : dict of str to float
        Per weighted layer and product; each has the one or the other.
    """

    def __init__(self, network: nn.Module):
        self.network = network
        self.spikes = dict.fromkeys(network.spiking_layers(), 0.0)
        self.neuron_steps = dict.fromkeys(network.spiking_layers(), 0)
        layers = network.weighted_layers()
        self.synaptic_operations = {name: 0.0 for name, layer in layers.items() if layer.takes_spikes}
        self.macs = {name: 0.0 for name, layer in layers.items() if not layer.takes_spikes}
        self.products = network.product_layers() if hasattr(network, "product_layers") else {}
        self._of_products = self.synaptic_operations if self.spikes else self.macs
        self._of_products |= dict.fromkeys(self.products, 0.0)

    @contextmanager
    def watching(self) -> Iterator["Meter"]:
        """Count until the block ends."""
        hooks = [layer.register_forward_hook(partial(self._count_spikes, name)) for name, layer in self.network.spiking_layers().items()]
        for name, layer in self.network.weighted_layers().items():
            count = self._count_arrivals if layer.takes_spikes else self._count_macs
            hooks.append(layer.module.register_forward_pre_hook(partial(count, name)))
        hooks += [layer.register_forward_pre_hook(partial(self._count_product, name)) for name, layer in self.products.items()]
        try:
            yield self
        finally:
            for hook in hooks:
                hook.remove()

    def _count_spikes(self, name: str, _layer: nn.Module, _inputs: tuple, output: Tensor | Output) -> None:
        spikes = _spikes(output)
        self.spikes[name] += torch.count_nonzero(spikes).item()
        self.neuron_steps[name] += spikes.numel()

    def _count_arrivals(self, name: str, layer: nn.Module, inputs: tuple) -> None:
        # Where residual connections add up streams of spikes, a 2 stands for two of them.
        (arriving,) = inputs
        over = (0, 1) if isinstance(layer, nn.Conv2d) else None  # [N, C, H, W] to [H, W]
        spikes = arriving.abs().sum(over, dtype=torch.float64).cpu()
        self.synaptic_operations[name] += (spikes * fan_out(layer, *arriving.shape[-2:])).sum().item()

    def _count_macs(self, name: str, layer: nn.Module, inputs: tuple) -> None:
        (values,) = inputs
        fan = fan_out(layer, *values.shape[-2:])
        self.macs[name] += fan.sum().item() * values.numel() / fan.numel()

    def _count_product(self, name: str, layer: nn.Module, inputs: tuple) -> None:
        self._of_products[name] += layer.operations(*inputs)


def _spikes(output: Tensor | Output) -> Tensor:
    return output.spikes if isinstance(output, Output) else output


def cost_summary(network: nn.Module, meter: Meter, examples: int, twin: nn.Module | None, shape: Shapes) -> dict[str, Any]:
    """Describe size, spikes and operations per example, beside the twin's.

    Parameters
    ----------
    network : Module
    meter : Meter
        What it counted over all examples.
    examples : int
    twin : Module, optional
        The same layers without spikes.
    shape : tuple of int or dict
        ``(channel, band, frame)`` of the features, by name where there are several.
    """
    examples = max(examples, 1)
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


def twin_macs(twin: nn.Module, shape: Shapes) -> dict[str, float]:
    """MACs of each layer of a network without spikes for one example, given the shape of its features."""
    meter = Meter(twin)
    with meter.watching(), torch.no_grad():
        twin.eval()(zeros(shape, device=next(twin.parameters()).device))
    return meter.macs


def record_spikes(network: nn.Module, features: Features, generator: Generator | None = None) -> dict[str, np.ndarray]:
    """Spikes of every spiking layer for the first example of some features ``[B, ...]``, from the input on.

    Returns
    -------
    dict of str to int8 array [T, ...]
        One entry a layer; empty for a network without spikes.
    """
    found: dict[str, np.ndarray] = {}

    def keep(name: str, _layer: nn.Module, _inputs: tuple, output: Any) -> None:
        found[name] = _spikes(output)[:, 0].sign().to(torch.int8).cpu().numpy()

    hooks = [layer.register_forward_hook(partial(keep, name)) for name, layer in network.spiking_layers().items()]
    with torch.no_grad():
        network.eval()(features, generator)
    for hook in hooks:
        hook.remove()
    return found
