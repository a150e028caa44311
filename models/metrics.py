"""What a network does, in numbers: right and wrong answers, spikes, operations.

Operations are counted per connection, without biases, pooling, scaling and the neurons' own updates:

    synaptic operations = sum over layers, time steps and neurons of spikes x connections that lead on from the neuron     (additions)
    MACs                = inputs x connections, of every layer whose input is real numbers          (multiplications and additions)

which is the convention of Rueckauer et al. (2017). A neuron at the edge of a map leads to fewer places of the next one than the kernel has,
which is counted exactly. The first layer of a network with direct encoding takes real numbers, so it has MACs, once and not for every time step.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Generator, Tensor, nn

from models.accounting import FLOAT_BITS, Storage, Work, account_dense, account_spiking
from models.connections import connections, directions, fan_out
from models.layers import Encoder, Output
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
    neurons : dict of str to int
        Per spiking layer: neurons of one example; an encoding's outputs are none.
    spikes_at_once : int
        The largest number of spikes of one example at one time step, of all spiking layers together.
    synaptic_operations, macs : dict of str to float
        Per weighted layer and product; each has the one or the other.
    outputs : dict of str to int
        Per weighted layer: numbers that it put out.
    """

    def __init__(self, network: nn.Module):
        self.network = network
        self.spikes = dict.fromkeys(network.spiking_layers(), 0.0)
        self.neuron_steps = dict.fromkeys(network.spiking_layers(), 0)
        self.neurons = dict.fromkeys(network.spiking_layers(), 0)
        self.spikes_at_once = 0
        layers = network.weighted_layers()
        self.synaptic_operations = {name: 0.0 for name, layer in layers.items() if layer.takes_spikes}
        self.macs = {name: 0.0 for name, layer in layers.items() if not layer.takes_spikes}
        self.outputs = dict.fromkeys(layers, 0)
        self.products = network.product_layers() if hasattr(network, "product_layers") else {}
        self._of_products = self.synaptic_operations if self.spikes else self.macs
        self._of_products |= dict.fromkeys(self.products, 0.0)
        self._at_steps: Tensor | int = 0

    @contextmanager
    def watching(self) -> Iterator["Meter"]:
        """Count until the block ends."""
        hooks = [layer.register_forward_hook(partial(self._count_spikes, name)) for name, layer in self.network.spiking_layers().items()]
        for name, layer in self.network.weighted_layers().items():
            count = self._count_arrivals if layer.takes_spikes else self._count_macs
            hooks.append(layer.module.register_forward_pre_hook(partial(count, name)))
            hooks.append(layer.module.register_forward_hook(partial(self._count_outputs, name)))
        hooks += [layer.register_forward_pre_hook(partial(self._count_product, name)) for name, layer in self.products.items()]
        hooks.append(self.network.register_forward_hook(self._end_pass))
        try:
            yield self
        finally:
            for hook in hooks:
                hook.remove()

    def _count_spikes(self, name: str, layer: nn.Module, _inputs: tuple, output: Tensor | Output) -> None:
        spikes = _spikes(output)
        at_steps = torch.linalg.vector_norm(spikes, 0, tuple(range(2, spikes.dim())))  # [T, B]: how many are not 0, without a copy
        self.spikes[name] += at_steps.sum(dtype=torch.float64).item()
        self.neuron_steps[name] += spikes.numel()
        self.neurons[name] = 0 if isinstance(layer, Encoder) else spikes[0, 0].numel()
        self._at_steps = self._at_steps + at_steps

    def _end_pass(self, *_: Any) -> None:
        if isinstance(self._at_steps, Tensor):
            self.spikes_at_once = max(self.spikes_at_once, int(self._at_steps.max()))
        self._at_steps = 0

    def _count_arrivals(self, name: str, layer: nn.Module, inputs: tuple) -> None:
        # Where residual connections or poolings add up streams of spikes, a 2 stands for two of them.
        (arriving,) = inputs
        placed = directions(layer)
        over = tuple(range(arriving.dim() - placed))  # [N, C, H, W] to [H, W], all of it for a dense layer
        spikes = arriving.abs().sum(over, dtype=torch.float64).cpu()
        self.synaptic_operations[name] += (spikes * fan_out(layer, *spikes.shape)).sum().item()

    def _count_macs(self, name: str, layer: nn.Module, inputs: tuple) -> None:
        (values,) = inputs
        self.macs[name] += connections(layer, values)

    def _count_outputs(self, name: str, _layer: nn.Module, _inputs: tuple, output: Tensor) -> None:
        self.outputs[name] += output.numel()

    def _count_product(self, name: str, layer: nn.Module, inputs: tuple) -> None:
        self._of_products[name] += layer.operations(*inputs)


def _spikes(output: Tensor | Output) -> Tensor:
    return output.spikes if isinstance(output, Output) else output


def cost_summary(
    network: nn.Module, meter: Meter, examples: int, twin: nn.Module | None, shape: Shapes, weight_bits: int = FLOAT_BITS
) -> dict[str, Any]:
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
    weight_bits : int
        Of the network's weights, for its memory; the twin has weights of full precision.

    Returns
    -------
    dict
        Among others ``accounting``: see `models.accounting`.
    """
    examples = max(examples, 1)
    other = None if twin is None else twin_meter(twin, shape)
    work = _work(meter, examples)
    found: dict[str, Any] = {
        "parameters": parameter_count(network),
        "firing_rates": {name: spikes / max(meter.neuron_steps[name], 1) for name, spikes in meter.spikes.items()},
        "spikes_per_example": {name: spikes / examples for name, spikes in meter.spikes.items()},
        "operations_per_example": {"synaptic_operations": work.additions, "macs": work.macs},
    }
    if twin is not None:
        additions, macs = sum(work.additions.values()), sum(other.macs.values())
        found["twin"] = {"parameters": parameter_count(twin), "macs": other.macs, "macs_total": macs}
        found["operations_per_example"] |= {"synaptic_operations_total": additions, "macs_total": sum(work.macs.values())}
        found["operations_per_example"]["synaptic_operations_per_twin_mac"] = additions / macs
    return found | {"accounting": _account(_storage(network, meter, examples, weight_bits), work, twin, other)}


def _account(storage: Storage, work: Work, twin: nn.Module | None, other: Meter | None) -> dict[str, Any]:
    if not work.additions:
        return account_dense(work, storage)
    if twin is None:
        return account_spiking(work, storage)
    return account_spiking(work, storage, _work(other, 1), _storage(twin, other, 1))


def _work(meter: Meter, examples: int) -> Work:
    """Operations per example."""
    counts = meter.synaptic_operations, meter.macs
    return Work(*({name: count / examples for name, count in each.items()} for each in counts))


def _storage(network: nn.Module, meter: Meter, examples: int, weight_bits: int = FLOAT_BITS) -> Storage:
    outputs = {name: count // examples for name, count in meter.outputs.items()}
    integrating = network.integrating_layers() if hasattr(network, "integrating_layers") else ()
    potentials = sum(meter.neurons.values()) + sum(outputs[name] for name in integrating)
    return Storage(weight_count(network), potentials, meter.spikes_at_once, sum(outputs.values()), weight_bits)


def weight_count(network: nn.Module) -> int:
    """Number of trained numbers, and of weights and biases that came out of trained ones and are trained no more."""
    tensors = {id(parameter): parameter for parameter in network.parameters()}
    for layer in network.weighted_layers().values():
        kept = (getattr(layer.module, name, None) for name in ("weight", "bias"))
        tensors |= {id(tensor): tensor for tensor in kept if tensor is not None}
    return sum(tensor.numel() for tensor in tensors.values())


def twin_meter(twin: nn.Module, shape: Shapes) -> Meter:
    """Count what a network without spikes does for one example, given the shape of its features."""
    meter = Meter(twin)
    with meter.watching(), torch.no_grad():
        twin.eval()(zeros(shape, device=next(twin.parameters()).device))
    return meter


def twin_macs(twin: nn.Module, shape: Shapes) -> dict[str, float]:
    """MACs of each layer of a network without spikes for one example, given the shape of its features."""
    return twin_meter(twin, shape).macs


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
