"""V-Network: the convolutional spiking network for what an event camera sees (Liu et al. 2022, section 2.1, "32C3-AP2-32C3-AP2-128-10").

    visual_frames [B, T, polarity, row, column] -> conv 32@3, LIF, average pool 2 -> conv 32@3, LIF, average pool 2 -> dense 128, LIF -> dense, LIF

The frames are spikes already: each time step is fed in as it is. Pooling takes the mean of spikes; no neuron follows it. Neurons follow Eq. 1 to 4
with decay 0.2 and threshold 0.5. The paper leaves the convolutions' padding open; 1 is taken here, which gives 7 x 7 maps for 28 x 28 pixels.
"""

from collections.abc import Mapping

from pydantic import Field
from torch import Generator, Tensor, nn

from audiodata.errors import AudioDataError
from models.layers import MapNeurons, TimeDropout, WeightedLayer, at_each_step
from models.pooled_neurons import MeanConv2d, MeanLinear, spike_sums
from models.stbp import Driven, StbpConfig
from models.votes import Votes

FEATURE = "visual_frames"
KERNEL = 3


class VNetworkConfig(StbpConfig):
    """Layers and neurons of V-Network; for the neurons see `models.stbp.StbpConfig`.

    ``channels``: of the two convolutions. ``hidden``: units of the first dense layer. ``padding``: rows and columns of zeros on each side of a
    convolution's input. ``dropout``: share of the values before each dense layer that is silenced while training, at all time steps alike.
    """

    channels: tuple[int, int] = (32, 32)
    hidden: int = Field(default=128, ge=1)
    padding: int = Field(default=1, ge=0)
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)


class VNetwork(nn.Module):
    """Convolutional spiking network on frames of events; see the module's text.

    Parameters
    ----------
    config : VNetworkConfig
    shapes : mapping
        Of ``"visual_frames"``: ``(time, polarity, row, column)``.
    classes : int

    Raises
    ------
    AudioDataError
        The frames are too small for the convolutions.

    Examples
    --------
    >>> network = VNetwork(VNetworkConfig(), {"visual_frames": (64, 1, 28, 28)}, 10)
    >>> network.fc1.in_features
    1568
    """

    def __init__(self, config: VNetworkConfig, shapes: Mapping[str, tuple[int, ...]], classes: int):
        super().__init__()
        self.config = config
        self.scaling = nn.ModuleDict()  # spikes are 0 and 1
        _, polarities, *size = shapes[FEATURE]
        first, second = config.channels
        self.conv1 = nn.Conv2d(polarities, first, KERNEL, padding=config.padding)
        self.conv2 = MeanConv2d(first, second, KERNEL, padding=config.padding)
        self.dropout = TimeDropout(config.dropout)
        self.fc1 = MeanLinear((second, *_pooled_size(size, config.padding)), config.hidden)
        self.fc2 = nn.Linear(config.hidden, classes)
        self.lif1, self.lif2 = MapNeurons(config.neuron()), MapNeurons(config.neuron())
        self.lif3, self.lif4 = config.neuron(), config.neuron()
        config.start(self.conv1, self.conv2, self.fc1, self.fc2)

    def forward(self, features: Mapping[str, Tensor], generator: Generator | None = None) -> Votes:
        """Run all time steps.

        Parameters
        ----------
        features : mapping
            ``"visual_frames"``: Tensor [B, T, polarity, row, column].
        generator : Generator, optional
            For dropout.

        Returns
        -------
        Votes
            The answer alone.
        """
        frames = features[FEATURE].transpose(0, 1)  # [T, B, P, H, W]
        sums = spike_sums(self.conv1, self.lif1, frames)  # [T, B, 32, H / 2, W / 2]
        sums = spike_sums(self.conv2, self.lif2, sums)  # [T, B, 32, H / 4, W / 4]
        spikes = self.lif3(at_each_step(self.fc1, self.dropout(sums, generator)))  # [T, B, 128]
        return Votes(self.lif4(self.fc2(self.dropout(spikes, generator))))

    @property
    def structure(self) -> str:
        """Layers as in the paper's Table 1: C a convolution and its kernel, AP an average pooling."""
        maps = [f"{convolution.out_channels}C{KERNEL}-AP2" for convolution in (self.conv1, self.conv2)]
        return "-".join([*maps, str(self.fc1.out_features), str(self.fc2.out_features)])

    def spiking_layers(self) -> dict[str, nn.Module]:
        """Layers whose outputs are spikes, from the input on."""
        return {"lif1": self.lif1, "lif2": self.lif2, "lif3": self.lif3, "lif4": self.lif4}

    def driven_layers(self) -> dict[str, Driven]:
        """Layers whose output is the neurons' current, from the input on."""
        return self.config.driven({"conv1": self.conv1, "conv2": self.conv2, "fc1": self.fc1, "fc2": self.fc2})

    def weighted_layers(self) -> dict[str, WeightedLayer]:
        """Layers with weights, from the input on; all take spikes, or sums of them."""
        layers = {"conv1": self.conv1, "conv2": self.conv2, "fc1": self.fc1, "fc2": self.fc2}
        return {name: WeightedLayer(layer, takes_spikes=True) for name, layer in layers.items()}


def _pooled_size(size: list[int], padding: int) -> list[int]:
    """Rows and columns of the maps after both poolings."""
    pooled = size
    for _ in range(2):
        pooled = [(length + 2 * padding - KERNEL + 1) // 2 for length in pooled]
    if min(pooled) < 1:
        raise AudioDataError(f"visual_frames: {size[0]} x {size[1]} pixels are too few for two convolutions with pooling by 2; use some `padding`")
    return pooled
