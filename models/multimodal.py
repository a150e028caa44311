r"""Networks that see and hear: V-Network and A-Network, and what fuses their output spikes (Liu et al. 2022, sections 2.3 and 3.4).

    visual_frames -> V-Network -> o_v [T, B, C] \
                                                 -> attention, or two dense layers -> o_m [T, B, C]
    auditory_frames -> A-Network -> o_a [T, B, C] /

With attention (`Multimodal`, Eq. 5) the answer is that of both senses, weighed at each time step (`models.attention_fusion`). Without
(`MultimodalFc`) the spikes of both go through two dense layers of neurons. The neurons that fuse have a decay of 0.9. The three outputs are trained
together, each towards the label. The paper does not give the width of the layer between; 64 is taken here.
"""

from collections.abc import Mapping
from typing import Any

import torch
from pydantic import Field
from torch import Generator, Tensor, nn

from audiodata.errors import AudioDataError
from models import a_network, v_network
from models.a_network import ANetwork, ANetworkConfig
from models.attention_fusion import Attention, Fusion, Squeeze
from models.layers import WeightedLayer
from models.stbp import Driven, StbpConfig
from models.v_network import VNetwork, VNetworkConfig
from models.votes import Votes


class MultimodalFcConfig(StbpConfig):
    """The two sub-networks and the layers that fuse them; for the neurons of these see `models.stbp.StbpConfig`.

    ``visual``, ``auditory``: settings of the sub-networks. ``fusion``: units of the layer between.
    """

    decay: float = Field(default=0.9, ge=0.0, le=1.0)
    visual: VNetworkConfig = VNetworkConfig()
    auditory: ANetworkConfig = ANetworkConfig()
    fusion: int = Field(default=64, ge=1)


class MultimodalConfig(MultimodalFcConfig):
    """The two sub-networks and the attention; see `MultimodalFcConfig`. ``weights``: see `models.attention_fusion`."""

    weights: Squeeze = "raw"


class TwoSenses(nn.Module):
    """What both networks have: a sub-network for each sense.

    Parameters
    ----------
    config : MultimodalFcConfig
    shapes : mapping
        Of ``"visual_frames"``, ``(time, polarity, row, column)``, and of ``"auditory_frames"``, ``(time, polarity, channel)``.
    classes : int

    Raises
    ------
    AudioDataError
        The two have different numbers of time steps.
    """

    def __init__(self, config: MultimodalFcConfig, shapes: Mapping[str, tuple[int, ...]], classes: int):
        super().__init__()
        seen, heard = shapes[v_network.FEATURE][0], shapes[a_network.FEATURE][0]
        if seen != heard:
            raise AudioDataError(
                f"visual_frames has {seen} time steps and auditory_frames {heard}; give both features of the catalog the same `time_steps`"
            )
        self.config = config
        self.scaling = nn.ModuleDict()  # spikes are 0 and 1
        self.visual = VNetwork(config.visual, shapes, classes)
        self.auditory = ANetwork(config.auditory, shapes, classes)

    @property
    def structure(self) -> str:
        """Layers of both sub-networks."""
        return f"{self.visual.structure} + {self.auditory.structure}"

    def of_senses(self, name: str) -> dict[str, Any]:
        """What a method of both sub-networks gives, under their names."""
        networks = {"visual": self.visual, "auditory": self.auditory}
        return {f"{sense}.{key}": value for sense, network in networks.items() for key, value in getattr(network, name)().items()}


class Multimodal(TwoSenses):
    """The network with attention; see the module's text and `TwoSenses`.

    Examples
    --------
    >>> shapes = {"visual_frames": (8, 1, 28, 28), "auditory_frames": (8, 1, 64)}
    >>> network = Multimodal(MultimodalConfig(), shapes, 10)
    >>> network({name: torch.zeros(2, *shape) for name, shape in shapes.items()}).attention.shape
    torch.Size([8, 2, 2])
    """

    def __init__(self, config: MultimodalConfig, shapes: Mapping[str, tuple[int, ...]], classes: int):
        super().__init__(config, shapes, classes)
        self.attention = Attention(classes, config.fusion, config.neuron(), config.weights)
        self.fuse = Fusion(config.neuron())
        config.start(self.attention.fc1)

    def forward(self, features: Mapping[str, Tensor], generator: Generator | None = None) -> Votes:
        """Run all time steps.

        Parameters
        ----------
        features : mapping
            ``"visual_frames"``: Tensor [B, T, polarity, row, column], ``"auditory_frames"``: Tensor [B, T, polarity, channel].
        generator : Generator, optional
            For dropout.

        Returns
        -------
        Votes
            With both senses' own and the attention.
        """
        seen, heard = self.visual(features, generator).answer, self.auditory(features, generator).answer
        weights = self.attention(seen, heard)
        return Votes(self.fuse(seen, heard, weights), seen, heard, weights)

    def spiking_layers(self) -> dict[str, nn.Module]:
        """Layers whose outputs are spikes, from the input on."""
        return self.of_senses("spiking_layers") | {"attention.lif": self.attention.lif, "lif": self.fuse}

    def driven_layers(self) -> dict[str, Driven]:
        """Layers whose output is the neurons' current, from the input on."""
        return self.of_senses("driven_layers") | self.config.driven({"attention.fc1": self.attention.fc1})

    def weighted_layers(self) -> dict[str, WeightedLayer]:
        """Layers with weights, from the input on."""
        layers = {"attention.fc1": self.attention.fc1, "attention.fc2": self.attention.fc2}
        return self.of_senses("weighted_layers") | {name: WeightedLayer(layer, takes_spikes=True) for name, layer in layers.items()}

    def product_layers(self) -> dict[str, nn.Module]:
        """Layers that weigh spikes with what other layers give."""
        return {"fuse": self.fuse}


class MultimodalFc(TwoSenses):
    """The network without attention: two dense layers of neurons on the spikes of both senses; see the module's text and `TwoSenses`."""

    def __init__(self, config: MultimodalFcConfig, shapes: Mapping[str, tuple[int, ...]], classes: int):
        super().__init__(config, shapes, classes)
        self.fc1, self.fc2 = nn.Linear(2 * classes, config.fusion), nn.Linear(config.fusion, classes)
        self.lif1, self.lif2 = config.neuron(), config.neuron()
        config.start(self.fc1, self.fc2)

    def forward(self, features: Mapping[str, Tensor], generator: Generator | None = None) -> Votes:
        """Run all time steps; arguments as for `Multimodal`, no attention in the result."""
        seen, heard = self.visual(features, generator).answer, self.auditory(features, generator).answer
        spikes = self.lif1(self.fc1(torch.cat([seen, heard], -1)))  # [T, B, fusion]
        return Votes(self.lif2(self.fc2(spikes)), seen, heard)

    def spiking_layers(self) -> dict[str, nn.Module]:
        """Layers whose outputs are spikes, from the input on."""
        return self.of_senses("spiking_layers") | {"lif1": self.lif1, "lif2": self.lif2}

    def driven_layers(self) -> dict[str, Driven]:
        """Layers whose output is the neurons' current, from the input on."""
        return self.of_senses("driven_layers") | self.config.driven({"fc1": self.fc1, "fc2": self.fc2})

    def weighted_layers(self) -> dict[str, WeightedLayer]:
        """Layers with weights, from the input on."""
        layers = {"fc1": self.fc1, "fc2": self.fc2}
        return self.of_senses("weighted_layers") | {name: WeightedLayer(layer, takes_spikes=True) for name, layer in layers.items()}
