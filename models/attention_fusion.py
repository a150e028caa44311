"""Attention between two senses: how much each sense's spikes count, decided at every time step (Liu et al. 2022, section 2.3, Eq. 5).

    [o_v, o_a] -> dense, LIF -> dense -> w_v, w_a        u[t] = decay u[t-1] (1 - o[t-1]) + w_v[t] o_v[t] + w_a[t] o_a[t],   o = 1[u >= v_th]

Weights are the dense layer's values as they are ("raw", the paper's), or squeezed into 0 to 1 one by one ("sigmoid") or so that both add up
to 1 ("softmax"). At the start all three are about the threshold (0.5): the spikes of one sense then take its output neuron to the threshold,
where the surrogate gradient is at work. From 0 or 1, the edges of its window (width 1), nothing would be learned.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from models.neurons import LIF

Squeeze = Literal["raw", "softmax", "sigmoid"]

# Deviation of the attention's weights at the start, from the threshold that they start at.
_SPREAD = 0.1


def weighted_sum(visual: Tensor, auditory: Tensor, weights: Tensor) -> Tensor:
    """Weigh and add up the spikes of two senses.

    Parameters
    ----------
    visual, auditory : Tensor [T, B, C]
    weights : Tensor [T, B, 2]
        Of the visual sense, of the auditory sense; anything that broadcasts to that shape.

    Returns
    -------
    Tensor [T, B, C]
    """
    return weights[..., :1] * visual + weights[..., 1:] * auditory


def fuse(visual: Tensor, auditory: Tensor, weights: Tensor, neurons: LIF) -> Tensor:
    """Spikes ``[T, B, C]`` of neurons whose current is the `weighted_sum` of both senses' spikes (Eq. 5, last two lines)."""
    return neurons(weighted_sum(visual, auditory, weights))


class Attention(nn.Module):
    """Weights of two senses, from their spikes.

    Parameters
    ----------
    classes : int
        C, output neurons of each sense.
    width : int
        Neurons of the layer between.
    neuron : LIF
        Its equations.
    squeeze : {"raw", "softmax", "sigmoid"}
        What is done to the last layer's values.
    """

    def __init__(self, classes: int, width: int, neuron: LIF, squeeze: Squeeze = "raw"):
        super().__init__()
        self.fc1, self.lif, self.fc2 = nn.Linear(2 * classes, width), neuron, nn.Linear(width, 2)
        self.squeeze = squeeze
        nn.init.normal_(self.fc2.weight, std=_SPREAD / width**0.5)
        nn.init.constant_(self.fc2.bias, neuron.dynamics.threshold if squeeze == "raw" else 0.0)

    def forward(self, visual: Tensor, auditory: Tensor) -> Tensor:
        """Weights ``[T, B, 2]`` from spikes ``[T, B, C]`` of both senses."""
        values = self.fc2(self.lif(self.fc1(torch.cat([visual, auditory], -1))))
        if self.squeeze == "softmax":
            return values.softmax(-1)
        return values.sigmoid() if self.squeeze == "sigmoid" else values


class Fusion(nn.Module):
    """Output neurons that hear both senses, each with its weight: `fuse` as a layer, which tells how many additions it takes."""

    def __init__(self, neuron: LIF):
        super().__init__()
        self.neuron = neuron

    def forward(self, visual: Tensor, auditory: Tensor, weights: Tensor) -> Tensor:
        """Spikes ``[T, B, C]``; see `fuse`."""
        return fuse(visual, auditory, weights, self.neuron)

    def operations(self, visual: Tensor, auditory: Tensor, weights: Tensor) -> float:
        """Additions: a weight for each spike that arrives."""
        return (visual.sum(dtype=torch.float64) + auditory.sum(dtype=torch.float64)).item()
