"""What networks share that are one chain of layers between scaled features and an output, so that they can be converted (`models.chain`)."""

from collections import OrderedDict
from typing import Any

import torch.nn.functional as F
from torch import Generator, Tensor, nn

from models.chain import run
from models.layers import Output, Scaling, Shape, WeightedLayer


class ChainNetwork(nn.Module):
    """A network whose layers follow one another, from scaled features to class values; those who inherit may end with something else.

    Parameters
    ----------
    shape : tuple of int
        ``(channel, band, frame)`` of the features.
    layers : dict of str to Module
        In order.
    """

    def __init__(self, shape: Shape, layers: dict[str, nn.Module]):
        super().__init__()
        self.scaling = Scaling(shape[0], shape[1])
        self.layers = nn.Sequential(OrderedDict(layers))

    def chain(self) -> dict[str, nn.Module]:
        """Layers in order."""
        return dict(self.layers.named_children())

    def prepare(self, features: Tensor) -> tuple[Tensor, Any]:
        """Give what the first layer takes, ``[B, channel, band, frame]`` scaled, and what `finish` has to know of it: nothing."""
        return self.scaling(features), None

    def finish(self, values: Tensor, context: Any) -> tuple:
        """Give what the last layer gives, class values ``[B, C]``, as the only time step, ``[1, B, C]``."""
        return Output(values.unsqueeze(0), values.unsqueeze(0))

    def forward(self, features: Tensor, generator: Generator | None = None) -> tuple:
        """Run the network; nothing in it is random.

        Parameters
        ----------
        features : Tensor [B, channel, band, frame]
        generator : Generator, optional
            Not used.
        """
        values, context = self.prepare(features)
        return self.finish(run(self.layers, values), context)

    def spiking_layers(self) -> dict[str, nn.Module]:
        """None."""
        return {}

    def weighted_layers(self) -> dict[str, WeightedLayer]:
        """Layers with weights, from the input on."""
        weighted = (nn.Linear, nn.Conv2d)
        return {name: WeightedLayer(layer, takes_spikes=False) for name, layer in self.chain().items() if isinstance(layer, weighted)}


class _SingleExample:
    """Batch normalisation of one single value per channel, which has no variance, by the running statistics.

    The last batch of an epoch may hold but one example.
    """

    def forward(self, values: Tensor) -> Tensor:
        """Normalise ``[B, C, ...]``."""
        if self.training and values.numel() == values.shape[1]:
            return F.batch_norm(values, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(values)


class DenseNorm(_SingleExample, nn.BatchNorm1d):
    """Batch normalisation after a dense layer."""


class MapNorm(_SingleExample, nn.BatchNorm2d):
    """Batch normalisation after a convolution."""
