"""The feed-forward spiking network of Courregé and Gandeel (2024, figure 23) and its twin without spikes.

    features [B, channel, band, frame] -> scaled to 0..1 -> encoded -> dense, LIF -> dense, LIF

The report's sizes are 784-1000-10, for images of 28 x 28; here the first follows from the features and the last from the classes.
With `over` = "frames" the example's own time is the network's: at each step the network sees one frame.
"""

from typing import Literal

from pydantic import Field, model_validator
from torch import Generator, Tensor, nn

from audiodata.errors import AudioDataError
from audiodata.settings import Settings
from models.layers import Encoder, Output, OutputNeurons, Scaling, Shape, SpikingConfig, TimeDropout, WeightedLayer

REPORT_SHAPE = (1, 28, 28)
REPORT_CLASSES = 10


class MlpConfig(Settings):
    """Layers of the dense networks.

    ``hidden``: units between input and output. ``dropout``: share of them that is silenced while training. ``over``: "whole" takes an
    example as one vector; "frames" takes one frame after the other, with the same weights.
    """

    hidden: int = Field(default=1000, ge=1)
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    over: Literal["whole", "frames"] = "whole"


class FeedforwardConfig(SpikingConfig, MlpConfig):
    """Layers, time, encoding and neurons of the feed-forward spiking network.

    With ``over`` = "whole" the example is encoded anew at each of ``time_steps`` steps; with "frames" there are as many steps as frames
    and ``encoding`` is "direct" (a frame's values) or "delta" (its changes since the frame before).
    """

    encoding: Literal["direct", "rate", "latency", "delta", "phase", "burst", "ttfs"] = "direct"

    @model_validator(mode="after")
    def _check_encoding(self) -> "FeedforwardConfig":
        if self.over == "whole" and self.encoding == "delta":
            raise ValueError('`encoding` = "delta" encodes changes over time; it needs `over` = "frames"')
        if self.over == "frames" and self.encoding not in ("direct", "delta"):
            raise ValueError(f'`over` = "frames" needs `encoding` "direct" or "delta", got "{self.encoding}"')
        return self


class DenseLayers(nn.Module):
    """What both networks have: the same layers with the same weights under the same names.

    Parameters
    ----------
    config : MlpConfig
    shape : tuple of int
        ``(channel, band, frame)`` of the features.
    classes : int
    """

    def __init__(self, config: MlpConfig, shape: Shape, classes: int):
        super().__init__()
        self.config = config
        self.scaling = Scaling(shape[0], shape[1])
        channels, bands, frames = shape
        self.fc1 = nn.Linear(channels * bands * (frames if config.over == "whole" else 1), config.hidden)
        self.dropout = TimeDropout(config.dropout)
        self.fc2 = nn.Linear(config.hidden, classes)

    def vectors(self, features: Tensor) -> Tensor:
        """Scale ``[B, channel, band, frame]`` and give it as the vectors ``[B, N]`` ("whole") or ``[frame, B, N]`` ("frames")."""
        values = self.scaling(features)
        return values.flatten(1) if self.config.over == "whole" else values.permute(3, 0, 1, 2).flatten(2)


class FeedforwardSNN(DenseLayers):
    """Feed-forward spiking network; see the module's text.

    Parameters
    ----------
    config : FeedforwardConfig
    shape : tuple of int
        ``(channel, band, frame)`` of the features.
    classes : int

    Examples
    --------
    >>> network = FeedforwardSNN(FeedforwardConfig(time_steps=4, hidden=30), (1, 28, 28), 10)
    >>> network(torch.rand(2, 1, 28, 28)).spikes.shape
    torch.Size([4, 2, 10])
    """

    def __init__(self, config: FeedforwardConfig, shape: Shape, classes: int):
        super().__init__(config, shape, classes)
        self.encoder = Encoder(config.encoding, config.time_steps if config.over == "whole" else shape[2])
        self.lif1, self.lif2 = config.neuron(), OutputNeurons(config.neuron())

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
        spikes = self._hidden_spikes(self.vectors(features), generator)  # [T, B, hidden]
        return self.lif2(self.fc2(self.dropout(spikes, generator)))

    def _hidden_spikes(self, values: Tensor, generator: Generator | None) -> Tensor:
        if self.config.encoding != "direct":
            return self.lif1(self.fc1(self.encoder(values, generator)))
        if self.config.over == "frames":
            return self.lif1(self.fc1(values))
        return self.lif1(self.fc1(values), time_steps=self.config.time_steps)

    def spiking_layers(self) -> dict[str, nn.Module]:
        """Layers whose outputs are spikes, from the input on."""
        encoder = {} if self.config.encoding == "direct" else {"input": self.encoder}
        return encoder | {"lif1": self.lif1, "lif2": self.lif2}

    def weighted_layers(self) -> dict[str, WeightedLayer]:
        """Layers with weights, from the input on."""
        return {"fc1": WeightedLayer(self.fc1, self.config.encoding != "direct"), "fc2": WeightedLayer(self.fc2, True)}


class MLP(DenseLayers):
    """Twin of `FeedforwardSNN` without spikes: a rectifier in place of the first layer of neurons, no neurons at the end; as many parameters."""

    def forward(self, features: Tensor, generator: Generator | None = None) -> Output:
        """Class values ``[1, B, C]``, over frames their mean; arguments as for `FeedforwardSNN`."""
        hidden = self.fc1(self.vectors(features)).relu()
        hidden = hidden.unsqueeze(0) if self.config.over == "whole" else hidden  # [1 or frame, B, hidden]
        values = self.fc2(self.dropout(hidden, generator)).mean(0, keepdim=True)
        return Output(values, values)

    def chain(self) -> dict[str, nn.Module]:
        """Layers in order, for conversion (`models.chain`).

        Raises
        ------
        AudioDataError
            `over` = "frames": the class values are a mean over frames, and a converted network has no other time than that of its spike counts.
        """
        if self.config.over == "frames":
            raise AudioDataError(
                '`over` = "frames" can\'t be converted: its class values are a mean over the frames of an example, where spike counts take one '
                "vector an example; train it with --set over=whole"
            )
        return {"fc1": self.fc1, "relu": nn.ReLU(), "dropout": self.dropout, "fc2": self.fc2}

    def prepare(self, features: Tensor) -> tuple[Tensor, None]:
        """Give what the first layer takes, ``[B, N]``."""
        return self.vectors(features), None

    def finish(self, values: Tensor, context: None) -> Output:
        """Give class values ``[B, C]`` as the only time step, ``[1, B, C]``."""
        return Output(values.unsqueeze(0), values.unsqueeze(0))

    def spiking_layers(self) -> dict[str, nn.Module]:
        """None."""
        return {}

    def weighted_layers(self) -> dict[str, WeightedLayer]:
        """Layers with weights, from the input on."""
        return {name: WeightedLayer(layer, takes_spikes=False) for name, layer in (("fc1", self.fc1), ("fc2", self.fc2))}


def report_network() -> FeedforwardSNN:
    """The network as the report prints it: 784-1000-10, decay 0.99, rate encoding."""
    return FeedforwardSNN(FeedforwardConfig(decay=0.99, encoding="rate"), REPORT_SHAPE, REPORT_CLASSES)
