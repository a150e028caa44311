"""What the networks on event recordings share: their neurons' settings and the weights that they start with.

The rectangular surrogate gradient is 0 where a potential is further from the threshold than half its width: a layer that is silent at the start has
neither spikes to send on nor a gradient that would wake it, and never learns. PyTorch's own initial weights leave networks on sparse events that
way, since they count on all inputs being about 1. `start_weights` counts on a share p of them being 1: a sum of n inputs of which each is 1 with
probability p, with independent weights of mean 0 and variance v, has the variance n p v. With v = v_th^2 / (n p) the current's deviation
is the threshold, and about one neuron in six fires at its first step.

What share p of the inputs is 1 differs from cache to cache and from layer to layer, and a start that is wrong by a factor of ten is as dead as
PyTorch's. `fit_start` therefore measures the currents of some training examples, layer by layer from the input on. It scales the weights until
their deviation is the threshold, "layer-sequential unit-variance initialization" (Mishkin and Matas, ICLR 2016) with the threshold for unit, and
sets the biases so that each neuron's mean current is 0, as Krähenbühl et al. (ICLR 2016) do: else a neuron whose weights happen to add up to less
than nothing never comes near its threshold where many inputs fire.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from audiodata.settings import Settings
from models.neurons import LIF
from models.surrogate import rectangular


class StbpConfig(Settings):
    """Neurons of spatio-temporal backpropagation (Wu et al. 2018) as Liu et al. (2022, section 3.2) set them, and how the weights start.

    ``decay``: share of the membrane potential left after a step. ``threshold``: potential from which on a neuron fires. ``surrogate_width``: a of
    the surrogate gradient 1/a where abs(u - v_th) < a/2 (Eq. 9). ``expected_activity``: the share of a layer's inputs that fire in a time step,
    on which the weights at the start count (`start_weights`), before a training measures it (`fit_start`).
    """

    decay: float = Field(default=0.2, ge=0.0, le=1.0)
    threshold: float = Field(default=0.5, gt=0.0)
    surrogate_width: float = Field(default=1.0, gt=0.0)
    expected_activity: float = Field(default=0.05, gt=0.0, le=1.0)

    def neuron(self) -> LIF:
        """Make one layer of these neurons."""
        return LIF.stbp(self.decay, threshold=self.threshold, surrogate=rectangular(self.surrogate_width))

    def driven(self, layers: Mapping[str, nn.Linear | nn.Conv2d]) -> dict[str, "Driven"]:
        """Name layers whose current goes to these neurons."""
        return {name: Driven(layer, self.threshold) for name, layer in layers.items()}

    def start(self, *layers: nn.Linear | nn.Conv2d) -> None:
        """Give layers whose current goes to these neurons the weights of `start_weights`."""
        for layer in layers:
            start_weights(layer, self.threshold, self.expected_activity)


def start_weights(layer: nn.Linear | nn.Conv2d, threshold: float, activity: float) -> None:
    """Draw weights of mean 0 and variance ``threshold^2 / (inputs x activity)``, evenly distributed, and set the bias to 0.

    Parameters
    ----------
    layer : Linear or Conv2d
    threshold : float
        Of the neurons that take the current.
    activity : float
        Share of the inputs that are 1 in a time step.
    """
    inputs = layer.weight[0].numel()
    bound = threshold * (3 / (inputs * activity)) ** 0.5  # an even distribution over -bound to bound has the variance bound^2 / 3
    nn.init.uniform_(layer.weight, -bound, bound)
    nn.init.zeros_(layer.bias)


class Driven(NamedTuple):
    """A layer whose output is the current of spiking neurons.

    Attributes
    ----------
    layer : Linear or Conv2d
    threshold : float
        Of these neurons.
    """

    layer: nn.Linear | nn.Conv2d
    threshold: float


def fit_start(network: nn.Module, features: Mapping[str, Tensor]) -> None:
    """Centre and scale the first weights: each neuron's current has the mean 0, and those of a layer deviate by its threshold.

    The deviation is the root mean square of the currents of neurons that any spike reaches; a layer that none reaches stays as it is.

    Parameters
    ----------
    network : Module
        With ``driven_layers()``, `Driven` by name from the input on; biases are 0.
    features : mapping of str to Tensor [B, T, ...]
        Of training examples.
    """
    training = network.training
    network.eval()
    with torch.no_grad():
        for layer, threshold in network.driven_layers().values():
            _fit(layer, threshold, _current(network, layer, features))
    network.train(training)


def _fit(layer: nn.Linear | nn.Conv2d, threshold: float, current: Tensor) -> None:
    """Centre and scale one layer by the currents ``[neuron, ...]`` that it sends out."""
    mean = current.mean(1)
    deviation = (current - mean.unsqueeze(1))[current != 0].square().mean().sqrt()
    if deviation > 0:  # false where there is none
        layer.weight.mul_(threshold / deviation)
        layer.bias.copy_(-mean * threshold / deviation)


def _current(network: nn.Module, layer: nn.Module, features: Mapping[str, Tensor]) -> Tensor:
    """Currents ``[neuron or channel, example, ...]`` that a layer sends out, as float64."""
    found = []
    handle = layer.register_forward_hook(lambda module, given, current: found.append(current.double()))
    try:
        network(features)
    finally:
        handle.remove()
    channel = 1 if isinstance(layer, nn.Conv2d) else -1
    return torch.cat([current.movedim(channel, 0).flatten(1) for current in found], 1)
