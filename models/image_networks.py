"""Convolutional networks for images without spikes, made to be converted: those of Wu et al. (2021, section 5.1).

    features [B, channel, band, frame] -> scaled to 0..1 -> convolutions 3 x 3 -> dense layers -> class values

Every convolution and every hidden dense layer has batch normalisation and a rectifier. Nothing here takes a maximum over places, which spike
counts can't express: maps become smaller where a convolution has a stride of 2. The paper writes its network for MNIST so; of its AlexNet and
its VGG networks it names no pooling. Here they have strides as well: in the VGG networks the convolution before each pooling takes its stride
(Springenberg et al. 2015, "Strided-CNN"), which leaves out three of four of its places and halves the operations of a whole VGG-11, and maps of
odd size keep their last row. `downsampling` = "average" has an average over 2 x 2 places there instead, nearer to the published networks.
"""

from typing import ClassVar, Literal, NamedTuple

from pydantic import Field
from torch import nn

from audiodata.errors import AudioDataError
from audiodata.settings import Settings
from models.chain_network import ChainNetwork, DenseNorm, MapNorm
from models.layers import Shape

KERNEL = 3


class Layout(NamedTuple):
    """Layers of a network.

    Attributes
    ----------
    convolutions : tuple of (int, bool)
        Channels of each, and whether it halves the maps.
    hidden : tuple of int
        Units of the dense layers before the last.
    """

    convolutions: tuple[tuple[int, bool], ...]
    hidden: tuple[int, ...]


def vgg_layout(*blocks: tuple[int, int]) -> Layout:
    """Lay out a VGG network (Simonyan & Zisserman 2015, table 1) of blocks of ``(convolutions, channels)``, each of which ends at half the size."""
    return Layout(tuple((channels, number == count - 1) for count, channels in blocks for number in range(count)), (4096, 4096))


class ImageNetworkConfig(Settings):
    """Size of an image network; ``width``: factor on the channels of all convolutions and the units of all hidden layers."""

    width: float = Field(default=1.0, gt=0.0)


class VggLikeConfig(ImageNetworkConfig):
    """Size of a VGG network, and how maps become smaller: ``downsampling``, by "stride" or by "average"."""

    downsampling: Literal["stride", "average"] = "stride"


class ImageNetwork(ChainNetwork):
    """Convolutional network; those who inherit say of which layers.

    Parameters
    ----------
    config : ImageNetworkConfig
    shape : tuple of int
        ``(channel, band, frame)`` of the features.
    classes : int

    Raises
    ------
    AudioDataError
        The features are too small to be halved so often.
    """

    layout: ClassVar[Layout]

    def __init__(self, config: ImageNetworkConfig, shape: Shape, classes: int):
        self.config = config
        strided = getattr(config, "downsampling", "stride") == "stride"
        maps = _smallest_maps(self.layout, shape, strided)
        channels = [shape[0], *(_scaled(wide, config.width) for wide, _ in self.layout.convolutions)]
        layers: dict[str, nn.Module] = {}
        for number, (_, halves) in enumerate(self.layout.convolutions, 1):
            layers |= _convolution(number, *channels[number - 1 : number + 1], halves, strided)
        layers["flatten"] = nn.Flatten()
        units = [channels[-1] * maps[0] * maps[1], *(_scaled(wide, config.width) for wide in self.layout.hidden)]
        for number in range(1, len(units)):
            layers |= _dense(number, *units[number - 1 : number + 1])
        super().__init__(shape, layers | {f"fc{len(units)}": nn.Linear(units[-1], classes)})


def _scaled(wide: int, width: float) -> int:
    return max(1, round(wide * width))


def _smallest_maps(layout: Layout, shape: Shape, strided: bool) -> tuple[int, int]:
    """Height and width after all convolutions; `AudioDataError` where something halves maps of a single row or column."""
    halvings = sum(halves for _, halves in layout.convolutions)
    smallest = 2 ** (halvings - 1) + 1 if strided else 2**halvings
    bands, frames = shape[1:]
    if min(bands, frames) < smallest:
        instead = "" if strided else ", or `downsampling` = stride"
        raise AudioDataError(
            f"features of {bands} bands x {frames} frames are too small to be halved {halvings} times; this network needs at least "
            f"{smallest} x {smallest}: use more bands or frames{instead}, or a network with fewer layers"
        )
    for _ in range(halvings):
        bands, frames = ((size + 1) // 2 if strided else size // 2 for size in (bands, frames))
    return bands, frames


def _convolution(number: int, before: int, after: int, halves: bool, strided: bool) -> dict[str, nn.Module]:
    stride = 2 if halves and strided else 1
    layers = {
        f"conv{number}": nn.Conv2d(before, after, KERNEL, stride=stride, padding=KERNEL // 2, bias=False),
        f"conv{number}_norm": MapNorm(after),
        f"conv{number}_relu": nn.ReLU(),
    }
    return layers | ({f"conv{number}_pool": nn.AvgPool2d(2)} if halves and not strided else {})


def _dense(number: int, before: int, after: int) -> dict[str, nn.Module]:
    return {f"fc{number}": nn.Linear(before, after, bias=False), f"fc{number}_norm": DenseNorm(after), f"fc{number}_relu": nn.ReLU()}


class MnistCnn(ImageNetwork):
    """Network for MNIST: 28 x 28 - c16s1 - c32s2 - c32s1 - c64s2 - 800 - 10.

    Examples
    --------
    >>> import torch
    >>> MnistCnn(ImageNetworkConfig(), (1, 28, 28), 10)(torch.rand(2, 1, 28, 28)).spikes.shape
    torch.Size([1, 2, 10])
    """

    layout = Layout(((16, False), (32, True), (32, False), (64, True)), (800,))


class AlexnetLike(ImageNetwork):
    """Five convolutions after AlexNet (Krizhevsky et al. 2012), for images as small as CIFAR-10's."""

    layout = Layout(((96, False), (256, True), (384, True), (384, False), (256, True)), (2048,))


class Vgg11Like(ImageNetwork):
    """Eight convolutions and three dense layers after VGG-11 (Simonyan & Zisserman 2015, configuration A)."""

    layout = vgg_layout((1, 64), (1, 128), (2, 256), (2, 512), (2, 512))


class Vgg16Like(ImageNetwork):
    """Thirteen convolutions and three dense layers after VGG-16 (Simonyan & Zisserman 2015, configuration D)."""

    layout = vgg_layout((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))
