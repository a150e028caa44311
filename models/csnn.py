"""The convolutional spiking network of Courregé and Gandeel (2024, figure 24) and its twin without spikes.

    features [B, channel, band, frame] -> scaled to 0..1 -> encoded -> conv 12@5, pool 2, LIF -> conv 64@3, pool 2, LIF -> dense, LIF

All time steps of a layer are one call. With direct encoding every time step has the same input, so the first convolution is computed once.
The report feeds 20 MFCC x 805 frames to 3 classes, which flattens to 64 x 3 x 199 = 38208 values before the dense layer.
"""

from typing import Literal

from pydantic import Field
from torch import Generator, Tensor, nn

from audiodata.errors import AudioDataError
from audiodata.settings import Settings
from models.convolution import ConvPool2d
from models.layers import (
    Encoder,
    MapLinear,
    MapNeurons,
    Output,
    OutputNeurons,
    Scaling,
    Shape,
    SpikingConfig,
    TimeDropout,
    WeightedLayer,
    at_each_step,
)

REPORT_SHAPE = (1, 20, 805)
REPORT_CLASSES = 3


class CnnConfig(Settings):
    """Layers of the convolutional networks.

    ``channels``, ``kernels``: of the two convolutions. ``padding``: rows and columns of zeros on each side of a convolution's input.
    ``pooling``: over 2 x 2 windows. ``norm``: "batch" normalises each channel after the pooling. ``dropout``: share of the values before
    the dense layer that is silenced while training.
    """

    channels: tuple[int, int] = (12, 64)
    kernels: tuple[int, int] = (5, 3)
    padding: int = Field(default=0, ge=0)
    pooling: Literal["max", "average"] = "max"
    norm: Literal["none", "batch"] = "none"
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)


class CsnnConfig(SpikingConfig, CnnConfig):
    """Layers, time, encoding and neurons of the convolutional spiking network."""


class ConvolutionalLayers(nn.Module):
    """What both networks have: the same layers with the same weights under the same names.

    Parameters
    ----------
    config : CnnConfig
    shape : tuple of int
        ``(channel, band, frame)`` of the features.
    classes : int

    Raises
    ------
    AudioDataError
        The features are too small for the convolutions.
    """

    def __init__(self, config: CnnConfig, shape: Shape, classes: int):
        super().__init__()
        self.config = config
        self.scaling = Scaling(shape[0], shape[1])
        (first, second), (wide, narrow) = config.channels, config.kernels
        self.conv1 = ConvPool2d(shape[0], first, wide, pooling=config.pooling, padding=config.padding)
        self.conv2 = ConvPool2d(first, second, narrow, pooling=config.pooling, padding=config.padding)
        self.norm1, self.norm2 = (nn.BatchNorm2d(n) if config.norm == "batch" else nn.Identity() for n in config.channels)
        self.dropout = TimeDropout(config.dropout)
        self.fc = MapLinear(self._flattened(shape), classes)

    def _flattened(self, shape: Shape) -> Shape:
        """Shape of the maps before the dense layer."""
        maps = self.conv2.output_shape(*self.conv1.output_shape(*shape[1:])[1:])
        if min(maps) < 1:
            raise AudioDataError(
                f"features of {shape[1]} bands x {shape[2]} frames are too small for convolutions of {self.config.kernels} "
                "with pooling by 2 after each; use more bands or frames, smaller `kernels` or some `padding`"
            )
        return maps


class CSNN(ConvolutionalLayers):
    """Convolutional spiking network; see the module's text.

    Parameters
    ----------
    config : CsnnConfig
    shape : tuple of int
        ``(channel, band, frame)`` of the features.
    classes : int

    Examples
    --------
    >>> network = CSNN(CsnnConfig(time_steps=4), (1, 20, 63), 10)
    >>> network(torch.rand(2, 1, 20, 63)).spikes.shape
    torch.Size([4, 2, 10])
    """

    def __init__(self, config: CsnnConfig, shape: Shape, classes: int):
        super().__init__(config, shape, classes)
        self.encoder = Encoder(config.encoding, config.time_steps)
        self.lif1, self.lif2 = MapNeurons(config.neuron()), MapNeurons(config.neuron())
        self.lif3 = OutputNeurons(config.neuron())

    def forward(self, features: Tensor, generator: Generator | None = None) -> Output:
        """Run all time steps.

        Parameters
        ----------
        features : Tensor [B, channel, band, frame]
        generator : Generator, optional
            For rate encoding and dropout.

        Returns
        -------
        Output
            Spikes and membrane potentials ``[T, B, C]`` of the output neurons.
        """
        values = self.scaling(features)
        spikes = self._first_spikes(values, generator)  # [T, B, 12, H / 2, W / 2]
        spikes = self.lif2(at_each_step(self.norm2, at_each_step(self.conv2, spikes)))  # [T, B, 64, H / 4, W / 4]
        spikes = self.dropout(spikes, generator)
        return self.lif3(at_each_step(self.fc, spikes))

    def _first_spikes(self, values: Tensor, generator: Generator | None) -> Tensor:
        if self.config.encoding == "direct":
            return self.lif1(self.norm1(self.conv1(values)), time_steps=self.config.time_steps)
        encoded = self.encoder(values, generator)  # [T, B, channel, band, frame]
        return self.lif1(at_each_step(self.norm1, at_each_step(self.conv1, encoded)))

    def spiking_layers(self) -> dict[str, nn.Module]:
        """Layers whose outputs are spikes, from the input on."""
        encoder = {} if self.config.encoding == "direct" else {"input": self.encoder}
        return encoder | {"lif1": self.lif1, "lif2": self.lif2, "lif3": self.lif3}

    def weighted_layers(self) -> dict[str, WeightedLayer]:
        """Layers with weights, from the input on."""
        from_encoder = self.config.encoding != "direct"
        layers = {"conv1": (self.conv1, from_encoder), "conv2": (self.conv2, True), "fc": (self.fc, True)}
        return {name: WeightedLayer(*layer) for name, layer in layers.items()}


class CNN(ConvolutionalLayers):
    """Twin of `CSNN` without spikes: a rectifier in place of every layer of neurons but the last, no time; as many parameters."""

    def forward(self, features: Tensor, generator: Generator | None = None) -> Output:
        """Class values ``[1, B, C]``; arguments as for `CSNN`."""
        maps = self.norm1(self.conv1(self.scaling(features))).relu()  # [B, 12, H / 2, W / 2]
        maps = self.norm2(self.conv2(maps)).relu()  # [B, 64, H / 4, W / 4]
        values = self.fc(self.dropout(maps.unsqueeze(0), generator).squeeze(0)).unsqueeze(0)  # [1, B, C]
        return Output(values, values)

    def chain(self) -> dict[str, nn.Module]:
        """Layers in order, for conversion (`models.chain`); with `pooling` = "max" they are refused there."""
        layers = {"conv1": self.conv1, "norm1": self.norm1, "relu1": nn.ReLU(), "conv2": self.conv2, "norm2": self.norm2, "relu2": nn.ReLU()}
        return layers | {"dropout": self.dropout, "fc": self.fc}

    def prepare(self, features: Tensor) -> tuple[Tensor, None]:
        """Give what the first layer takes, ``[B, channel, band, frame]`` scaled."""
        return self.scaling(features), None

    def finish(self, values: Tensor, context: None) -> Output:
        """Give class values ``[B, C]`` as the only time step, ``[1, B, C]``."""
        return Output(values.unsqueeze(0), values.unsqueeze(0))

    def spiking_layers(self) -> dict[str, nn.Module]:
        """None."""
        return {}

    def weighted_layers(self) -> dict[str, WeightedLayer]:
        """Layers with weights, from the input on."""
        layers = {"conv1": self.conv1, "conv2": self.conv2, "fc": self.fc}
        return {name: WeightedLayer(layer, takes_spikes=False) for name, layer in layers.items()}


def report_network() -> CSNN:
    """The network as the report prints it: 38208 values before the dense layer, 3 classes, 50 time steps, rate encoding, no norm."""
    config = CsnnConfig(time_steps=50, encoding="rate", norm="none", dropout=0.0)
    return CSNN(config, REPORT_SHAPE, REPORT_CLASSES)
