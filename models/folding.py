"""One stage as one affine map: batch normalisation, the scale of the counts that arrive and the areas of pooling folded into its weights."""

import copy
import math
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from models.chain import DROPOUTS, POOLS, Stage, run
from models.constraints import Constraints


class Affine(NamedTuple):
    """Weights ``[output, ...]`` and bias ``[output]`` of a folded stage."""

    weight: Tensor
    bias: Tensor


def folded(stage: Stage) -> Affine:
    """Fold a stage's batch normalisation, with its running statistics, into its weights (Rueckauer et al. 2017, section 2.2.3).

    ``weight * g`` and ``(bias - mean) * g + beta`` with ``g = gamma / sqrt(variance + eps)``. Differentiable in all that is learned.
    """
    weight = stage.weighted.weight
    bias = stage.weighted.bias if stage.weighted.bias is not None else weight.new_zeros(len(weight))
    norm = stage.norm
    if norm is None:
        return Affine(weight, bias)
    gain = (norm.running_var + norm.eps).rsqrt()
    gain = gain if norm.weight is None else gain * norm.weight
    shift = 0.0 if norm.bias is None else norm.bias
    return Affine(weight * gain.view(-1, *[1] * (weight.dim() - 1)), (bias - norm.running_mean) * gain + shift)


def for_spikes(stage: Stage, scale: float, constraints: Constraints) -> Affine:
    """Weights that a converted stage has.

    Parameters
    ----------
    stage : Stage
    scale : float
        Value of one arriving spike in units of the ANN's activations: the threshold of the stage before; 1 for the first stage. Sum pooling
        takes the place of average pooling of what arrives, so that whole spikes arrive; its area divides the weights.
    constraints : Constraints
    """
    weight, bias = constraints.constrained(*folded(stage))
    return Affine(weight * (scale / pooled_area(stage)), bias)


def pooled_area(stage: Stage) -> int:
    """Number of places that the pooling before a stage's weights takes together."""
    area = 1
    for layer in stage.before:
        if isinstance(layer, POOLS):
            area *= math.prod(_window(layer))
    return area


def apply(stage: Stage, affine: Affine, values: Tensor) -> Tensor:
    """Run a stage on ``[B, ...]`` with other weights in place of its own and its normalisation, without its rectifier and its dropout."""
    values = run((layer for layer in stage.before if not isinstance(layer, DROPOUTS)), values)
    values = functional_call(stage.weighted, {"weight": affine.weight, "bias": affine.bias}, (values,))
    return run(stage.after, values)


def arrivals(stage: Stage) -> nn.Sequential:
    """What happens to spikes on their way to a stage's weights: pools that add up, flattening."""
    return nn.Sequential(*(_summing(layer) for layer in stage.before if not isinstance(layer, DROPOUTS)))


def weighted_layer(stage: Stage, affine: Affine) -> nn.Module:
    """Copy a stage's layer with weights, with others and a bias put in place."""
    layer = copy.deepcopy(stage.weighted)
    layer.weight = nn.Parameter(affine.weight.detach().clone(), requires_grad=False)
    layer.bias = nn.Parameter(affine.bias.detach().clone(), requires_grad=False)
    return layer


class SumPool(nn.Module):
    """Sum over windows that lie side by side; of whole numbers it is exact.

    Parameters
    ----------
    average : AvgPool1d or AvgPool2d
        With the same windows.
    """

    def __init__(self, average: nn.Module):
        super().__init__()
        self.window = _window(average)

    def forward(self, values: Tensor) -> Tensor:
        """Add up ``[N, C, ...]``."""
        if len(self.window) == 2:
            return F.avg_pool2d(values, self.window, divisor_override=1)
        return F.avg_pool2d(values.unsqueeze(-2), (1, *self.window), divisor_override=1).squeeze(-2)


def _summing(layer: nn.Module) -> nn.Module:
    return SumPool(layer) if isinstance(layer, POOLS) else copy.deepcopy(layer)


def _window(layer: nn.Module) -> tuple[int, ...]:
    dimensions = 1 if isinstance(layer, nn.AvgPool1d) else 2
    size = layer.kernel_size
    return (size,) * dimensions if isinstance(size, int) else tuple(size)
