"""Losses on what a spiking network puts out over time, for one class per example.

Each function takes spikes or membrane potentials ``[T, B, C]`` and the class indices ``[B]``, and returns one number, the mean over the
examples. They are written down in Eshraghian et al., "Training spiking neural networks using lessons from deep learning" (2023), and equal
snnTorch's losses of the same names. A network that does not spike is the case T = 1 of `ce_count`.

For directions there are `azimuth_error` and `class_error`, which pass over examples that have none or no class.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from models.located import azimuth_target


def ce_rate(spikes: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy of the spikes of each time step, mean over the steps: the right neuron should fire at every step."""
    time_steps = len(spikes)
    return F.cross_entropy(spikes.flatten(0, 1), labels.repeat(time_steps))


def ce_count(spikes: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy of the spike counts (Courregé and Gandeel 2024, section 2.3.1)."""
    return F.cross_entropy(spikes.sum(0), labels)


def mse_count(spikes: Tensor, labels: Tensor, correct_rate: float = 0.8, incorrect_rate: float = 0.2) -> Tensor:
    """Squared error between spike counts and aimed counts, over T.

    Parameters
    ----------
    spikes : Tensor [T, B, C]
    labels : Tensor [B]
    correct_rate, incorrect_rate : float
        Share of the time steps at which the right neuron and the others should fire, 0 to 1; the counts aimed at are rounded down.
    """
    time_steps = len(spikes)
    aimed = _per_class(labels, spikes, int(time_steps * correct_rate), int(time_steps * incorrect_rate))
    return F.mse_loss(spikes.sum(0), aimed) / time_steps


def ce_max_membrane(potentials: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy of each neuron's highest membrane potential over time."""
    return F.cross_entropy(potentials.amax(0), labels)


def mse_membrane(potentials: Tensor, labels: Tensor, on_target: float = 1.0, off_target: float = 0.0) -> Tensor:
    """Squared error between the membrane potentials of every time step and `on_target` (the right neuron) or `off_target` (others)."""
    aimed = _per_class(labels, potentials, on_target, off_target)
    return F.mse_loss(potentials, aimed.expand_as(potentials))


def ce_temporal(spikes: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy of the negated times of the first spikes: the right neuron should fire first."""
    return F.cross_entropy(-first_spike_times(spikes), labels)


def first_spike_times(spikes: Tensor) -> Tensor:
    """Time step of each neuron's first spike, T - 1 where it never fires.

    Parameters
    ----------
    spikes : Tensor [T, ...]
        0 or 1.

    Returns
    -------
    Tensor [...]
        In the type of `spikes`. In the backward pass a spike at that time counts as making it one step earlier, so its gradient is
        the time's with its sign changed; all other time steps get none.
    """
    return _FirstSpikeTimes.apply(spikes)


class _FirstSpikeTimes(torch.autograd.Function):
    @staticmethod
    def forward(ctx, spikes):
        fired = spikes > 0
        last = len(spikes) - 1
        times = torch.where(fired.any(0), fired.to(torch.uint8).argmax(0), last)
        ctx.save_for_backward(times)
        ctx.time_steps = len(spikes)
        return times.to(spikes.dtype)

    @staticmethod
    def backward(ctx, gradient):
        (times,) = ctx.saved_tensors
        spread = gradient.new_zeros((ctx.time_steps, *times.shape))
        return spread.scatter_(0, times.unsqueeze(0), -gradient.unsqueeze(0))


def _per_class(labels: Tensor, like: Tensor, right: float, others: float) -> Tensor:
    """Fill ``[B, C]`` with `right` at each example's class and `others` elsewhere."""
    filled = like.new_full((len(labels), like.shape[-1]), float(others))
    return filled.scatter_(1, labels.unsqueeze(1), float(right))


class Loss(NamedTuple):
    """A loss and which output of the network it reads."""

    function: Callable[[Tensor, Tensor], Tensor]
    reads: Literal["spikes", "potentials"]


LOSSES = {
    "ce_count": Loss(ce_count, "spikes"),
    "ce_rate": Loss(ce_rate, "spikes"),
    "mse_count": Loss(mse_count, "spikes"),
    "ce_temporal": Loss(ce_temporal, "spikes"),
    "ce_max_membrane": Loss(ce_max_membrane, "potentials"),
    "mse_membrane": Loss(mse_membrane, "potentials"),
}


def azimuth_error(scores: Tensor, azimuth_deg: Tensor, sigma_deg: float = 5.0, over: Literal["mean", "sum"] = "mean") -> Tensor:
    """Squared error between outputs and the curve around the true azimuth (SpikSLC-Net 2023, Eq. 16 and 17), mean over the examples that have one.

    Parameters
    ----------
    scores : Tensor [B, 360]
    azimuth_deg : Tensor [B]
        NaN for an example without a direction.
    sigma_deg : float
        Width of the curve.
    over : str
        "sum" over the 360 outputs is Eq. 17 as it stands. A network that puts out 0 everywhere then has an error of sigma sqrt(pi / 2) = 6.3,
        and weighted by 0.99 against 0.01 times the cross entropy ln 10 = 2.3 of ten classes the direction makes 99.6 % of the loss. With
        "mean", an error of 0.0174, it makes 43 %: the weight 0.99 that the paper found best balances the two if its "MSE loss" is a mean.

    Returns
    -------
    Tensor []
        0 if no example has a direction.
    """
    known = ~azimuth_deg.isnan()
    target = azimuth_target(azimuth_deg[known].to(scores.dtype), sigma_deg)
    squares = (scores[known] - target).square()
    each = squares.mean(-1) if over == "mean" else squares.sum(-1)
    return each.sum() / max(len(each), 1)


def class_error(values: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy of class values ``[B, C]`` (SpikSLC-Net 2023, Eq. 18), mean over the examples with a label other than -1, else 0."""
    return F.cross_entropy(values, labels, ignore_index=-1, reduction="sum") / max(int((labels >= 0).sum()), 1)
