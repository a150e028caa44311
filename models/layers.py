"""What the networks are made of besides neurons and convolutions: scaling, encoding, neurons on maps, output neurons, dropout, a dense layer on maps.

Every layer here says at each reshape what the axes are: T time steps, B examples, C channels, H and W the maps' height and width.
"""

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Generator, Tensor, nn

from audiodata.settings import Settings
from models.encoding import encode
from models.neurons import LIF
from models.surrogate import SURROGATES

# (channel, band, frame) of the features of one example
Shape = tuple[int, int, int]


class SpikingConfig(Settings):
    """Time, encoding and neurons of a network trained with surrogate gradients.

    ``time_steps``: T. ``encoding``: see `models.encoding`. ``decay``: share of the membrane potential left after a step. ``reset``,
    ``reset_at``, ``strict``, ``detach_reset``: see `models.dynamics.Dynamics`; as given here, snnTorch's neuron. ``surrogate``: see
    `models.surrogate`; ``surrogate_scale`` none: that surrogate's default. ``learn_decay``, ``learn_threshold``: one number a layer.
    """

    time_steps: int = Field(default=10, ge=1)
    encoding: Literal["direct", "rate", "latency", "phase", "burst", "ttfs"] = "direct"
    decay: float = Field(default=0.9, ge=0.0, le=1.0)
    threshold: float = Field(default=1.0, gt=0.0)
    reset: Literal["subtract", "zero", "none"] = "subtract"
    reset_at: Literal["next_step", "same_step"] = "next_step"
    strict: bool = True
    detach_reset: bool = True
    surrogate: Literal["arctan", "fast_sigmoid", "sigmoid", "rectangular", "triangular"] = "arctan"
    surrogate_scale: float | None = Field(default=None, gt=0.0)
    learn_decay: bool = False
    learn_threshold: bool = False

    def neuron(self) -> LIF:
        """Make one layer of these neurons."""
        surrogate = SURROGATES[self.surrogate]
        return LIF(
            self.decay,
            threshold=self.threshold,
            reset=self.reset,
            reset_at=self.reset_at,
            strict=self.strict,
            detach_reset=self.detach_reset,
            surrogate=surrogate() if self.surrogate_scale is None else surrogate(self.surrogate_scale),
            learn_decay=self.learn_decay,
            learn_threshold=self.learn_threshold,
        )


class Output(NamedTuple):
    """What a classifying network puts out.

    Attributes
    ----------
    spikes : Tensor [T, B, C]
        Spikes of the output neurons, one a class; of a network that does not spike, its values as the only time step.
    potentials : Tensor [T, B, C]
        Their membrane potentials; of a network that does not spike, the same values.
    """

    spikes: Tensor
    potentials: Tensor


class WeightedLayer(NamedTuple):
    """A layer with weights, for counting operations.

    Attributes
    ----------
    module : Module
        A convolution or a dense layer.
    takes_spikes : bool
        Whether its input is spikes (an operation for each that arrives) or real numbers (a multiplication for each weight).
    """

    module: nn.Module
    takes_spikes: bool


class Scaling(nn.Module):
    """Map features to 0 to 1, linearly between a low and a high value measured on the training split, and cut off outside.

    Parameters
    ----------
    channels, bands : int
        Of the features ``[B, channel, band, frame]``. The low and high values are saved with the weights, one per channel and band.
    """

    def __init__(self, channels: int, bands: int):
        super().__init__()
        self.register_buffer("low", torch.zeros(channels, bands, 1))
        self.register_buffer("high", torch.ones(channels, bands, 1))

    def set_range(self, low: Tensor, high: Tensor) -> None:
        """Take over measured values ``[channel, band, 1]``; where both are equal, there is nothing to tell apart and a range of 1 is taken."""
        self.low.copy_(low)
        self.high.copy_(torch.where(high > low, high, low + 1))

    def forward(self, features: Tensor) -> Tensor:
        """Scale ``[B, channel, band, frame]``."""
        return ((features - self.low) / (self.high - self.low)).clamp(0, 1)


class Encoder(nn.Module):
    """Values ``[B, ...]`` in 0 to 1 become spike trains ``[T, B, ...]``; see `models.encoding`."""

    def __init__(self, name: str, time_steps: int):
        super().__init__()
        self.name = name
        self.time_steps = time_steps

    def forward(self, values: Tensor, generator: Generator | None = None) -> Tensor:
        """Encode; `generator` serves the encodings that draw random numbers."""
        return encode(values, self.name, self.time_steps, generator=generator)


def at_each_step(layer: nn.Module, sequence: Tensor) -> Tensor:
    """Apply a layer that knows no time to all time steps at once: ``[T, B, ...]`` to ``[T, B, ...]``."""
    merged = sequence.flatten(0, 1)  # [T * B, ...]
    return layer(merged).unflatten(0, sequence.shape[:2])


class MapNeurons(nn.Module):
    """Neurons on maps ``[T, B, C, H, W]`` that lie in memory with the channels last, as the convolutions leave them."""

    def __init__(self, neuron: LIF):
        super().__init__()
        self.neuron = neuron

    def forward(self, current: Tensor, time_steps: int | None = None) -> Tensor:
        """Give spikes ``[T, B, C, H, W]``; with `time_steps`, `current` is ``[B, C, H, W]``, the same at every step."""
        spikes = self.neuron(current.movedim(-3, -1), time_steps=time_steps)  # [T, B, H, W, C]
        return spikes.movedim(-1, -3)


class OutputNeurons(nn.Module):
    """Last layer of neurons, ``[T, B, C]``, of which the membrane potentials are wanted as well."""

    def __init__(self, neuron: LIF):
        super().__init__()
        self.neuron = neuron

    def forward(self, current: Tensor) -> Output:
        """Give spikes and potentials."""
        response = self.neuron.run(current)
        return Output(response.spikes, response.potential)


class TimeDropout(nn.Module):
    """Dropout that silences the same neurons at all time steps of an example, while training.

    A mask drawn anew at each time step would average out over the steps.
    """

    def __init__(self, share: float):
        super().__init__()
        self.share = share

    def forward(self, spikes: Tensor, generator: Generator | None = None) -> Tensor:
        """Silence a share of ``[T, B, ...]`` and strengthen the rest, which keeps the mean."""
        if not (self.training and self.share):
            return spikes
        kept = torch.rand(spikes.shape[1:], generator=generator, device=spikes.device) >= self.share
        return spikes * (kept / (1 - self.share))


class MapLinear(nn.Linear):
    """Dense layer on maps ``[N, C, H, W]``, its weights in the order of ``maps.flatten(1)``.

    The maps lie in memory with the channels last; the weights are put in that order for the product, not the maps, which are far larger.

    Parameters
    ----------
    shape : tuple of int
        ``(C, H, W)``.
    out_features : int
    """

    def __init__(self, shape: tuple[int, int, int], out_features: int):
        channels, height, width = shape
        super().__init__(channels * height * width, out_features)
        self.shape = shape

    def forward(self, maps: Tensor) -> Tensor:
        """Give ``[N, out_features]``."""
        weight = self.weight.unflatten(1, self.shape).permute(0, 2, 3, 1).flatten(1)  # [out, H * W * C]
        return F.linear(maps.permute(0, 2, 3, 1).flatten(1), weight, self.bias)
