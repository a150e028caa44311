"""Networks of integrate-and-fire neurons that a chain of layers was converted to (Wu et al. 2021, section 3).

    values [B, ...] -> layer 1 -> spikes [T, B, ...] -> ... -> layer L -> spikes, counted -> readout: aggregate membrane potential [B, ...]

The first layer takes real numbers: all of them at the first time step and nothing after ("first_step"), or the N_s-th part at each step
("constant"). Either way its weights are applied once. The readout never fires: what its neurons would add up over all steps is its value,

    V = sum_j w_j c_j + b        (Eq. 9)

with the spike counts c. The ANN's bias is spread over the time steps, b / N_s at each; all other layers get one spike as the threshold of the
layer that fired it, so that threshold x count is the ANN's activation.
"""

import copy
from collections.abc import Sequence
from typing import Any, Literal

from torch import Generator, Tensor, nn

from models.chain import Stage, stages
from models.constraints import Constraints
from models.folding import Affine, arrivals, for_spikes, weighted_layer
from models.layers import WeightedLayer, at_each_step
from models.neurons import IF
from models.views import Features

Coding = Literal["first_step", "constant"]


class Synapses(nn.Module):
    """What leads to a layer of neurons: pooling on the way, weights, pooling behind them.

    Parameters
    ----------
    stage : Stage
    affine : Affine
        The folded weights and bias.
    bias_share : float
        Share of the bias that is added at each time step.
    """

    def __init__(self, stage: Stage, affine: Affine, bias_share: float = 1.0):
        super().__init__()
        self.name = stage.name
        self.arrivals = arrivals(stage)
        self.weighted = weighted_layer(stage, Affine(affine.weight, affine.bias * bias_share))
        self.after = nn.Sequential(*(copy.deepcopy(layer) for layer in stage.after))
        self.bias_share = bias_share

    def forward(self, incoming: Tensor) -> Tensor:
        """Give ``[N, ...]`` for spikes or values ``[N, ...]``, with one share of the bias."""
        return self.after(self.weighted(self.arrivals(incoming)))

    def step_bias(self) -> Tensor:
        """Share of the bias of one time step, in a shape that fits currents: of a dense layer ``[..., output]``, of others ``[N, channel, ...]``."""
        return self.weighted.bias.view(-1, *[1] * (self.weighted.weight.dim() - 2))

    def aggregate(self, counts: Tensor) -> Tensor:
        """Free aggregate membrane potential ``[B, ...]`` that counts or values ``[B, ...]`` lead to by the last step (Eq. 9)."""
        return self(counts) + self.step_bias() * (1 / self.bias_share - 1)


class SpikingLayer(nn.Module):
    """Synapses and the integrate-and-fire neurons that they lead to.

    Parameters
    ----------
    synapses : Synapses
    threshold : float
    time_steps : int
    rounding : str
        "floor", or "round": the membrane starts at half the threshold.
    coding : str or None
        How values come in; None for a layer that takes spikes.
    """

    def __init__(self, synapses: Synapses, threshold: float, time_steps: int, rounding: str = "floor", coding: Coding | None = None):
        super().__init__()
        self.synapses = synapses
        self.neuron = IF(threshold, v_init=threshold / 2 if rounding == "round" else 0.0)
        self.time_steps = time_steps
        self.coding = coding

    @property
    def threshold(self) -> float:
        """Firing threshold of all neurons."""
        return self.neuron.dynamics.threshold

    def forward(self, incoming: Tensor) -> Tensor:
        """Give spikes ``[T, B, ...]`` for spikes ``[T, B, ...]``, or for the first layer values ``[B, ...]``."""
        if self.coding == "constant":
            return self.neuron(self.synapses(incoming / self.time_steps), time_steps=self.time_steps)
        if self.coding == "first_step":
            return self.neuron(self._at_first_step(incoming))
        return self.neuron(at_each_step(self.synapses, incoming))

    def _at_first_step(self, values: Tensor) -> Tensor:
        first = self.synapses(values)
        current = self.synapses.step_bias().expand_as(first).repeat(self.time_steps, *[1] * first.dim())
        current[0] = first
        return current


class SpikingNetwork(nn.Module):
    """A converted network; what its ANN does before and after its chain of layers stays as it is.

    Parameters
    ----------
    network : Module
        The ANN; it is not changed.
    thresholds : sequence of float
        Of each layer of neurons.
    time_steps : int
    coding, rounding : str
        See `SpikingLayer`.
    constraints : Constraints
        On weights and biases, the readout's included.
    """

    def __init__(
        self,
        network: nn.Module,
        thresholds: Sequence[float],
        time_steps: int,
        coding: Coding = "first_step",
        rounding: str = "floor",
        constraints: Constraints | None = None,
    ):
        super().__init__()
        *hidden, last = stages(network.chain())
        scales, constraints = [1.0, *thresholds], constraints or Constraints()
        self.shell = shell_of(network)
        self.layers = nn.ModuleList(
            spiking_layer(stage, scale, threshold, time_steps, coding if place == 0 else None, rounding, constraints)
            for place, (stage, scale, threshold) in enumerate(zip(hidden, scales[:-1], thresholds, strict=True))
        )
        self.readout = Synapses(last, for_spikes(last, scales[-1], constraints))
        self.time_steps = time_steps

    @property
    def scaling(self) -> nn.Module:
        """How features are scaled, as in the ANN."""
        return self.shell.scaling

    @property
    def thresholds(self) -> list[float]:
        """Firing threshold of each layer."""
        return [layer.threshold for layer in self.layers]

    def forward(self, features: Features, generator: Generator | None = None) -> Any:
        """Run all time steps; arguments and output are the ANN's."""
        values, context = self.shell.prepare(features)
        for layer in self.layers:
            values = layer(values)
        counts = values.sum(0) if self.layers else values
        return self.shell.finish(self.readout(counts), context)

    def spiking_layers(self) -> dict[str, nn.Module]:
        """Layers whose outputs are spikes, from the input on."""
        return {layer.synapses.name: layer for layer in self.layers}

    def integrating_layers(self) -> tuple[str, ...]:
        """Names of the weighted layers whose output is an aggregate membrane potential: the readout."""
        return (self.readout.name,)

    def weighted_layers(self) -> dict[str, WeightedLayer]:
        """Layers with weights, from the input on; the first takes real numbers, the readout spike counts."""
        synapses = [*(layer.synapses for layer in self.layers), self.readout]
        outside = self.shell.weighted_layers() if hasattr(self.shell, "weighted_layers") else {}
        found = {name: layer for name, layer in outside.items() if not isinstance(layer.module, nn.Identity)}
        return found | {each.name: WeightedLayer(each.weighted, place > 0) for place, each in enumerate(synapses)}


def spiking_layer(
    stage: Stage, scale: float, threshold: float, time_steps: int, coding: Coding | None, rounding: str, constraints: Constraints
) -> SpikingLayer:
    """Convert one stage; `scale` is the threshold of the layer before, 1 for the first."""
    synapses = Synapses(stage, for_spikes(stage, scale, constraints), 1 / time_steps)
    return SpikingLayer(synapses, threshold, time_steps, rounding, coding)


def shell_of(network: nn.Module) -> nn.Module:
    """Copy a network without its chain: the chain's layers become identities, so that their weights are not there twice."""
    shell = copy.deepcopy(network)
    chained = set(shell.chain().values())
    places = [name for name, layer in shell.named_modules(remove_duplicate=False) if layer in chained]
    for parent, _, name in (place.rpartition(".") for place in places):
        setattr(shell.get_submodule(parent), name, nn.Identity())
    return shell.eval()
