"""Speech separation in the time domain: encoder, masks from a chain of dilated convolutions, decoder (Wu et al. 2021, section 6.2 and Fig. 7).

    mixture [B, 1, sample] -> convolution, ReLU -> A [B, N, K], K = 2 (T - L) / L + 1
    A -> normalised over channels -> [1x1 convolution, BN, ReLU] -> 10 x [dilated convolution, BN, ReLU] -> 1x1 convolution -> sigmoid -> masks
    A x mask -> transposed convolution -> source, one for each speaker

A follows the level of the mixture and the normalisation takes it out again, so the masks do not depend on it. What lies between the normalisation
and the sigmoid is the chain of layers that can become spiking (`models.chain`); the last 1x1 convolution is its readout, whose aggregate potential
the masks are made from. Nothing in the paper's Fig. 7 goes past a layer: there are no residual connections.
"""

from typing import Any, NamedTuple

import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Generator, Tensor, nn

from audiodata.settings import Settings
from audiodata.shards import Cache
from models.chain import run
from models.layers import WeightedLayer
from models.separation import Separated
from models.views import WAVEFORM

# Added to a frame's variance: less than speech at -80 dB leaves there, so that masks do not depend on the level.
NORM_EPS = 1e-10


class SeparatorConfig(Settings):
    """Layers of the separating network; the defaults are those of Wu et al. (2021, section 6.3.2).

    ``filters``: N, of encoder and decoder. ``filter_length``, ``stride``: of these filters, samples; L and L / 2. ``channels``, ``kernel``,
    ``dilated_layers``: of the dilated convolutions, whose dilations are 1, 2, 4 and so on. ``speakers``: sources to be found.
    ``sample_rate``: of the mixtures, Hz. The last two are those of the cache.
    """

    filters: int = Field(default=512, ge=1)
    filter_length: int = Field(default=20, ge=1)
    stride: int = Field(default=10, ge=1)
    channels: int = Field(default=512, ge=1)
    kernel: int = Field(default=3, ge=1)
    dilated_layers: int = Field(default=10, ge=1, le=16)
    speakers: int = Field(default=2, ge=2)
    sample_rate: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _check_lengths(self) -> "SeparatorConfig":
        if self.stride > self.filter_length:
            raise ValueError(f"`stride` = {self.stride} is more than `filter_length` = {self.filter_length}: samples between filters would be lost")
        if self.kernel % 2 == 0:
            raise ValueError(f"`kernel` = {self.kernel}: expected an odd number, so that frames stay in their place")
        return self


def mixture_settings(cache: Cache) -> dict[str, Any]:
    """Give what the network has to know of a cache: how many speakers its mixtures have, and at which rate."""
    layout = cache.features.get(WAVEFORM)
    rate = {"sample_rate": cache.manifest["audio"]["sample_rate"]}
    return rate if layout is None else rate | {"speakers": max(layout.shape[0] - 1, 2)}


class Encoded(NamedTuple):
    """What the network keeps of a mixture beside what its chain of layers takes.

    Attributes
    ----------
    mixture : Tensor [B, 1, sample]
    frames : Tensor [B, N, K]
    """

    mixture: Tensor
    frames: Tensor


class ChannelNorm(nn.Module):
    """Normalise each frame of ``[B, N, K]`` over its channels, with a gain and a bias for each channel (Ba et al. 2016)."""

    def __init__(self, channels: int):
        super().__init__()
        self.norm = nn.LayerNorm(channels, eps=NORM_EPS)

    def forward(self, frames: Tensor) -> Tensor:
        """Normalise."""
        return self.norm(frames.transpose(1, 2)).transpose(1, 2)


class Separator(nn.Module):
    """Network that takes mixtures apart; see the module's text.

    Parameters
    ----------
    config : SeparatorConfig
    shape : tuple of int
        ``(1, sample)``; any length fits.
    classes : int
        Has no meaning here.

    Examples
    --------
    >>> import torch
    >>> network = Separator(SeparatorConfig(filters=16, channels=8, dilated_layers=3))
    >>> network(torch.rand(2, 1, 1234)).sources.shape
    torch.Size([2, 2, 1234])
    """

    def __init__(self, config: SeparatorConfig, shape: tuple[int, ...] = (1, 0), classes: int = 0):
        super().__init__()
        self.config = config
        self.scaling = nn.ModuleDict()
        self.encoder = nn.Conv1d(1, config.filters, config.filter_length, config.stride, bias=False)
        self.norm = ChannelNorm(config.filters)
        self.layers = nn.ModuleDict(_layers(config))
        self.decoder = nn.ConvTranspose1d(config.filters, 1, config.filter_length, config.stride, bias=False)

    def chain(self) -> dict[str, nn.Module]:
        """Layers that can become spiking, in order."""
        return dict(self.layers.items())

    def prepare(self, features: Tensor) -> tuple[Tensor, Encoded]:
        """Encode ``[B, 1, sample]``; give the normalised frames ``[B, N, K]`` that the chain takes, and the mixture."""
        frames = self.encoder(F.pad(features, (0, self.missing(features.shape[-1])))).relu()
        return self.norm(frames), Encoded(features, frames)

    def finish(self, values: Tensor, context: Encoded) -> Separated:
        """Turn the chain's values ``[B, speakers x N, K]`` into masks, and what these let through into sounds."""
        masks = values.sigmoid().unflatten(1, (self.config.speakers, -1))  # [B, S, N, K]
        let_through = masks * context.frames.unsqueeze(1)
        sounds = self.decoder(let_through.flatten(0, 1)).squeeze(1)  # [B * S, sample]
        sources = sounds[:, : context.mixture.shape[-1]].unflatten(0, masks.shape[:2])
        return Separated(sources, context.mixture.squeeze(1))

    def forward(self, features: Tensor, generator: Generator | None = None) -> Separated:
        """Take mixtures apart.

        Parameters
        ----------
        features : Tensor [B, 1, sample]
        generator : Generator, optional
            Not used: nothing is random.

        Returns
        -------
        Separated
            Sources ``[B, speaker, sample]``, in an order of the network's own.
        """
        values, context = self.prepare(features)
        return self.finish(run(self.layers.values(), values), context)

    def missing(self, samples: int) -> int:
        """Zeros that must follow so many samples for the last filters to reach their end."""
        length, stride = self.config.filter_length, self.config.stride
        return length - samples if samples < length else -(samples - length) % stride

    def spiking_layers(self) -> dict[str, nn.Module]:
        """None."""
        return {}

    def weighted_layers(self) -> dict[str, WeightedLayer]:
        """Layers with weights, from the input on."""
        inner = {name: layer for name, layer in self.layers.items() if isinstance(layer, nn.Conv1d)}
        named = {"encoder": self.encoder} | inner | {"decoder": self.decoder}
        return {name: WeightedLayer(layer, takes_spikes=False) for name, layer in named.items()}


def _layers(config: SeparatorConfig) -> dict[str, nn.Module]:
    """Layers between normalisation and masks; their biases are those of the batch normalisations, but for the last."""
    found: dict[str, nn.Module] = {"entry": nn.Conv1d(config.filters, config.channels, 1, bias=False)}
    found |= {"entry_norm": nn.BatchNorm1d(config.channels), "entry_relu": nn.ReLU()}
    for number in range(1, config.dilated_layers + 1):
        dilation = 2 ** (number - 1)
        reach = dilation * (config.kernel // 2)
        convolution = nn.Conv1d(config.channels, config.channels, config.kernel, padding=reach, dilation=dilation, bias=False)
        found |= {f"dilated{number}": convolution, f"dilated{number}_norm": nn.BatchNorm1d(config.channels), f"dilated{number}_relu": nn.ReLU()}
    return found | {"masks": nn.Conv1d(config.channels, config.speakers * config.filters, 1)}
