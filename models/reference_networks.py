"""Well-known image networks as baselines beside the spiking ones: those that Courregé and Gandeel (2024, section 4.2.2) trained beside their own.

    features [B, channel, band, frame] -> scaled to 0..1 -> convolutions, 1/32 of the size -> averaged over the map -> dense -> [B, class]

The convolutions are those of the package pytorchcv (extra ``baselines``), with weights at random: nothing is loaded or downloaded. What is
made here is what ties them to images of 3 x 224 x 224: the first layer takes as many channels as the features have; the pooling before the
dense layers takes maps of any size; and where a map of odd size is halved by a pooling without padding, the last row or column is pooled by
itself and not left out, so that 20 coefficients, or a single one, pass through all five halvings. At sizes that can be halved five times the
networks are exactly the published ones: with 3 channels and 1000 classes they have as many parameters as torchvision's of the same names.
"""

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Generator, Tensor, nn

from audiodata.errors import EnvironmentFault
from audiodata.settings import Settings
from models.layers import Output, Scaling, Shape, TimeDropout, WeightedLayer


class ReferenceConfig(Settings):
    """Settings of a reference network. ``dropout``: share of the values before the output layer that is silenced while training."""

    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)


class EfficientNetConfig(ReferenceConfig):
    """Settings of EfficientNet-B0, with the dropout of Tan and Le (2019)."""

    dropout: float = Field(default=0.2, ge=0.0, lt=1.0)


class VggConfig(ReferenceConfig):
    """Settings of VGG-16; ``dropout`` is after each of both hidden dense layers, as large as in Simonyan and Zisserman (2015)."""

    dropout: float = Field(default=0.5, ge=0.0, lt=1.0)


class Architecture(NamedTuple):
    """Where a network's convolutions come from, and what follows them.

    Attributes
    ----------
    module, function : str
        The function of ``pytorchcv.models`` that makes it.
    places : int
        Rows and columns, at most, of the map that the dense layers see.
    hidden : tuple of int
        Sizes of the dense layers before the output layer.
    """

    module: str
    function: str
    places: int = 1
    hidden: tuple[int, ...] = ()


ARCHITECTURES: dict[str, Architecture] = {
    # He et al. (2016), with the stride in the 3 x 3 convolution of a block, where it leaves no input out
    "resnet50": Architecture("resnet", "resnet50b"),
    "resnet101": Architecture("resnet", "resnet101b"),
    "efficientnet_b0": Architecture("efficientnet", "efficientnet_b0"),  # Tan and Le (2019)
    "vgg16": Architecture("vgg", "vgg16", places=7, hidden=(4096, 4096)),  # Simonyan and Zisserman (2015), D, without normalisation
    "densenet121": Architecture("densenet", "densenet121"),  # Huang et al. (2017)
    # Sandler et al. (2018); the first block, which widens by 1, without a convolution for that
    "mobilenet_v2": Architecture("mobilenetv2", "mobilenetv2b_w1"),
}


def builder(name: str) -> Callable[..., nn.Module]:
    """Import what makes the convolutions of a network.

    Parameters
    ----------
    name : str
        A key of `ARCHITECTURES`.

    Raises
    ------
    EnvironmentFault
        The package isn't installed, or as a version that can't be imported here.
    """
    module, function = ARCHITECTURES[name][:2]
    try:
        return getattr(importlib.import_module(f"pytorchcv.models.{module}"), function)
    except (ImportError, AttributeError) as error:
        raise EnvironmentFault(f"`{name}` is made by the package pytorchcv: {error}; pip install 'audiodata[baselines]'") from None


class ReferenceNetwork(nn.Module):
    """One of the networks of `ARCHITECTURES` on features of any size.

    A network for 1000 classes of images averages its last maps to 1 x 1, VGG-16 has dense layers on 7 x 7. Here these see a map averaged to
    7 x 7 where it is larger, and a smaller one as it is: spread out to 7 x 7 it would be the same values again and again, with weights of
    their own each (of 20 x 63 features, 103 instead of 4 million in the first dense layer alone).

    Parameters
    ----------
    name : str
        A key of `ARCHITECTURES`.
    config : ReferenceConfig
    shape : tuple of int
        ``(channel, band, frame)`` of the features.
    classes : int

    Raises
    ------
    EnvironmentFault
        The package pytorchcv isn't installed.

    Examples
    --------
    >>> network = ReferenceNetwork("mobilenet_v2", ReferenceConfig(), (1, 20, 63), 10)
    >>> network(torch.rand(2, 1, 20, 63)).spikes.shape
    torch.Size([1, 2, 10])
    """

    def __init__(self, name: str, config: ReferenceConfig, shape: Shape, classes: int):
        super().__init__()
        architecture = ARCHITECTURES[name]
        self.config = config
        self.scaling = Scaling(shape[0], shape[1])
        layers = _layers(name, shape[0])
        channels, *maps = _output_shape(layers, shape)
        self.places = tuple(min(size, architecture.places) for size in maps)
        widths = [channels * self.places[0] * self.places[1], *architecture.hidden]
        # channels last in memory: a training step takes 55 to 90 % of the time on a CPU
        self.maps = _initialised(layers.to_empty(device=torch.get_default_device())).to(memory_format=torch.channels_last)
        self.hidden = _initialised(nn.ModuleList(nn.Linear(*pair) for pair in pairwise(widths)))
        self.dropout = TimeDropout(config.dropout)
        self.output = nn.Linear(widths[-1], classes)

    def forward(self, features: Tensor, generator: Generator | None = None) -> Output:
        """Give class values.

        Parameters
        ----------
        features : Tensor [B, channel, band, frame]
        generator : Generator, optional
            For dropout.

        Returns
        -------
        Output
            ``[1, B, C]``, one time step.
        """
        with self._single_example_normalised(len(features)):
            values = self.scaling(features).contiguous(memory_format=torch.channels_last)
            maps = self.maps(values)  # [B, C, H / 32, W / 32]
        values = F.adaptive_avg_pool2d(maps, self.places).flatten(1)  # [B, C * places]
        for layer in self.hidden:
            values = self._thinned(layer(values).relu(), generator)
        if not self.hidden:
            values = self._thinned(values, generator)
        values = self.output(values).unsqueeze(0)  # [1, B, class]
        return Output(values, values)

    def _thinned(self, values: Tensor, generator: Generator | None) -> Tensor:
        return self.dropout(values.unsqueeze(0), generator).squeeze(0)

    @contextmanager
    def _single_example_normalised(self, examples: int) -> Iterator[None]:
        """Normalise a training batch of one example, which has no spread of its own in maps of 1 x 1, by the running statistics."""
        norms = [layer for layer in self.modules() if isinstance(layer, nn.BatchNorm2d)] if self.training and examples == 1 else []
        for norm in norms:
            norm.eval()
        try:
            yield
        finally:
            for norm in norms:
                norm.train()

    def spiking_layers(self) -> dict[str, nn.Module]:
        """None."""
        return {}

    def weighted_layers(self) -> dict[str, WeightedLayer]:
        """Layers with weights, from the input on, those that weigh channels included."""
        layers = {name: layer for name, layer in self.named_modules() if isinstance(layer, nn.Conv2d | nn.Linear)}
        return {name: WeightedLayer(layer, takes_spikes=False) for name, layer in layers.items()}


def _layers(name: str, channels: int) -> nn.Sequential:
    """Convolutions for so many channels, without memory for their weights, and without what the package puts after them."""
    with torch.device("meta"):
        layers = builder(name)(in_channels=channels).features
    if hasattr(layers, "final_pool"):
        del layers.final_pool
    for pool in layers.modules():
        if isinstance(pool, nn.MaxPool2d | nn.AvgPool2d) and pool.padding == 0:
            pool.ceil_mode = True
    return layers


def _output_shape(layers: nn.Module, shape: Shape) -> Shape:
    """Shape of what layers without memory give for one example."""
    return tuple(layers.eval()(torch.empty(1, *shape, device="meta")).shape[1:])


def _initialised(layers: nn.Module) -> nn.Module:
    """Fill weights as He et al. (2015) do for rectifiers, and normalisations with what leaves values as they are."""
    for layer in layers.train().modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.BatchNorm2d):
            layer.reset_parameters()
    return layers
