"""The autoencoder of Wu et al. (2021, section 6.3.1): dense layers through a bottleneck and back.

    features [B, channel, band, frame] -> scaled to 0..1 -> 784-128-64-32-64-128-784 -> sigmoid

Every hidden layer has batch normalisation (section 5.1) and a rectifier. The first and the last size follow from the features; 784 is that of
images of 28 x 28.
"""

import math

from pydantic import Field, PositiveInt
from torch import Tensor, nn

from audiodata.settings import Settings
from models.chain_network import ChainNetwork, DenseNorm
from models.layers import Shape
from models.reconstruction import Reconstruction


class AutoencoderConfig(Settings):
    """Layers of the autoencoder; ``hidden``: units of each layer between input and output."""

    hidden: tuple[PositiveInt, ...] = Field(default=(128, 64, 32, 64, 128), min_length=1)


class Autoencoder(ChainNetwork):
    """Autoencoder; see the module's text.

    Parameters
    ----------
    config : AutoencoderConfig
    shape : tuple of int
        ``(channel, band, frame)`` of the features.
    classes : int
        Does not matter.

    Examples
    --------
    >>> import torch
    >>> network = Autoencoder(AutoencoderConfig(), (1, 28, 28))
    >>> network(torch.rand(2, 1, 28, 28)).values.shape
    torch.Size([2, 1, 28, 28])
    """

    def __init__(self, config: AutoencoderConfig, shape: Shape, classes: int = 0):
        self.config = config
        sizes = (math.prod(shape), *config.hidden)
        layers: dict[str, nn.Module] = {}
        for number, (before, units) in enumerate(zip(sizes, config.hidden, strict=False), 1):
            layers |= {f"fc{number}": nn.Linear(before, units, bias=False), f"norm{number}": DenseNorm(units), f"relu{number}": nn.ReLU()}
        super().__init__(shape, layers | {f"fc{len(sizes)}": nn.Linear(sizes[-1], sizes[0])})

    def prepare(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Scale ``[B, channel, band, frame]`` to ``[B, value]``; the scaled features are what is wanted."""
        wanted = self.scaling(features)
        return wanted.flatten(1), wanted

    def finish(self, values: Tensor, context: Tensor) -> Reconstruction:
        """Squeeze ``[B, value]`` to 0 to 1 and give it the features' shape, beside what is wanted."""
        return Reconstruction(values.sigmoid().view_as(context), context)
