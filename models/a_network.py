"""A-Network: the recurrent spiking network for what a silicon cochlea hears (Liu et al. 2022, section 2.2, "512R-512R-512R-10R").

    auditory_frames [B, T, polarity, channel] -> 3 x (dense 512, recurrent LIF) -> dense, recurrent LIF

The frames are spikes already: each time step is fed in as it is, both polarities side by side. A recurrent layer's current is W o + R u + b: the
spikes of the layer before, and its own membrane potentials one step earlier (`models.recurrent_lif`); the output layer is one of them. Neurons
follow Eq. 1 to 4 with decay 0.1 and threshold 0.5. The paper does not say whether R is full; here it is, or diagonal or left out by a setting.
"""

from collections.abc import Mapping
from itertools import pairwise

from pydantic import Field
from torch import Generator, Tensor, nn

from models.layers import TimeDropout, WeightedLayer
from models.recurrent_lif import Recurrence, RecurrentLIF
from models.stbp import Driven, StbpConfig
from models.votes import Votes

FEATURE = "auditory_frames"


class ANetworkConfig(StbpConfig):
    """Layers and neurons of A-Network; for the neurons see `models.stbp.StbpConfig`.

    ``hidden``: units of each layer but the last. ``recurrence``: whether a neuron hears the potentials of its whole layer ("full"), its own
    ("diagonal") or none. ``recurrent_gain``: size of R at the start, and ``recurrent_limit``: the size beyond which it doesn't grow, none for no
    limit (`models.recurrent_lif.RecurrentLIF`). ``dropout``: share of each hidden layer's spikes that is silenced while training, at all time
    steps alike.
    """

    decay: float = Field(default=0.1, ge=0.0, le=1.0)
    hidden: tuple[int, ...] = Field(default=(512, 512, 512), min_length=1)
    recurrence: Recurrence = "full"
    recurrent_gain: float = Field(default=0.5, ge=0.0)
    recurrent_limit: float | None = Field(default=0.9, gt=0.0)
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)


class ANetwork(nn.Module):
    """Recurrent spiking network on channels of events; see the module's text.

    Parameters
    ----------
    config : ANetworkConfig
    shapes : mapping
        Of ``"auditory_frames"``: ``(time, polarity, channel)``.
    classes : int

    Examples
    --------
    >>> network = ANetwork(ANetworkConfig(), {"auditory_frames": (64, 1, 64)}, 10)
    >>> [layer.in_features for layer in network.dense]
    [64, 512, 512, 512]
    """

    def __init__(self, config: ANetworkConfig, shapes: Mapping[str, tuple[int, ...]], classes: int):
        super().__init__()
        self.config = config
        self.scaling = nn.ModuleDict()  # spikes are 0 and 1
        _, polarities, channels = shapes[FEATURE]
        widths = [polarities * channels, *config.hidden, classes]
        self.dense = nn.ModuleList(nn.Linear(*pair) for pair in pairwise(widths))
        recurrence = config.recurrence, config.recurrent_gain, config.recurrent_limit
        self.neurons = nn.ModuleList(RecurrentLIF(width, config.neuron(), *recurrence) for width in widths[1:])
        self.dropout = TimeDropout(config.dropout)
        config.start(*self.dense)

    def forward(self, features: Mapping[str, Tensor], generator: Generator | None = None) -> Votes:
        """Run all time steps.

        Parameters
        ----------
        features : mapping
            ``"auditory_frames"``: Tensor [B, T, polarity, channel].
        generator : Generator, optional
            For dropout.

        Returns
        -------
        Votes
            The answer alone.
        """
        spikes = features[FEATURE].transpose(0, 1).flatten(2)  # [T, B, P * C]
        for number, (dense, neurons) in enumerate(zip(self.dense, self.neurons, strict=True)):
            spikes = self.dropout(spikes, generator) if number else spikes
            spikes = neurons(dense(spikes))  # [T, B, 512]
        return Votes(spikes)

    @property
    def structure(self) -> str:
        """Layers as in the paper's Table 1: R a recurrent one."""
        kind = "" if self.config.recurrence == "none" else "R"
        return "-".join(f"{dense.out_features}{kind}" for dense in self.dense)

    def spiking_layers(self) -> dict[str, nn.Module]:
        """Layers whose outputs are spikes, from the input on."""
        return {f"lif{number}": layer for number, layer in enumerate(self.neurons, start=1)}

    def driven_layers(self) -> dict[str, Driven]:
        """Layers whose output is, with what the potentials feed back, the neurons' current, from the input on."""
        return self.config.driven({f"fc{number}": dense for number, dense in enumerate(self.dense, start=1)})

    def weighted_layers(self) -> dict[str, WeightedLayer]:
        """Layers with weights, from the input on.

        The full R takes potentials, real numbers at every time step. A diagonal one is a part of the neurons' own updates, which aren't counted.
        """
        found = {}
        for number, (dense, neurons) in enumerate(zip(self.dense, self.neurons, strict=True), start=1):
            found[f"fc{number}"] = WeightedLayer(dense, takes_spikes=True)
            if self.config.recurrence == "full":
                found[f"recurrence{number}"] = WeightedLayer(neurons.recurrence, takes_spikes=False)
        return found
