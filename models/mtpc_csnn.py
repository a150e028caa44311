"""MTPC-CSNN: a convolutional spiking network on the spikes of multi-tone phase coding (Pan, Zhang, Wu, Wang and Li 2021). It localizes only.

    mtpc [B, pair, detector, frame] -> frames shared out among T time steps -> maps [T, B, pair, band, lag]
    -> 3 x (conv 3 x 3, max pool 2 x 2, batch norm, LIF) -> dense to 360 azimuths, mean over the time steps

From Pan et al.: pairs x 51 delays x 40 bands of spikes (`audiodata.features.mtpc`), T = 2, 4 or 8 (as SpikSLC-Net's Table 1 lists them), neurons
trained by spatio-temporal backpropagation (Wu et al. 2018), a bell-shaped curve over 360 azimuths as target. Their layers could not be read. The
widths 12, 24 and 48 are those of a later network on spikes of the same shape (Zhang et al. 2024, Spike-based Neuromorphic Model for Sound
Source Localization), here without its attention and its recurrent connections. Chosen here as well: neighbouring frames make up a time step,
in which a detector counts as the share of frames in which it fired; the output neurons do not fire, their current is the answer.
"""

from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Generator, Tensor, nn

from audiodata.errors import AudioDataError
from audiodata.settings import Settings
from models.convolution import ConvPool2d
from models.layers import MapLinear, MapNeurons, Shape, TimeDropout, WeightedLayer, at_each_step
from models.located import AZIMUTHS, Located
from models.neurons import LIF

FEATURE = "mtpc"


class MtpcCsnnConfig(Settings):
    """Layers, time and neurons of the network.

    ``n_bands``: that of the cached `mtpc`. ``time_steps``: T; at most the number of frames. ``spikes``: what a detector that fires now and then
    in the frames of a time step puts in: "share" of those frames, or "any", 1. ``channels``: of each convolution. ``norm``: "batch" normalises
    each channel after the pooling. ``dropout``: share of the last layer's inputs that is silenced while training. ``decay``, ``threshold``: of
    `LIF.stbp`, with its gradient's ``surrogate``.
    """

    n_bands: int = Field(default=40, ge=1)
    time_steps: int = Field(default=4, ge=1)
    spikes: Literal["share", "any"] = "share"
    channels: tuple[int, ...] = Field(default=(12, 24, 48), min_length=1)
    norm: Literal["none", "batch"] = "batch"
    dropout: float = Field(default=0.15, ge=0.0, lt=1.0)
    decay: float = Field(default=0.2, ge=0.0, le=1.0)
    threshold: float = Field(default=0.5, gt=0.0)
    surrogate: Literal["arctan", "fast_sigmoid", "sigmoid", "rectangular", "triangular"] = "rectangular"

    def neuron(self) -> LIF:
        """Make one layer of the neurons of spatio-temporal backpropagation."""
        return LIF.stbp(self.decay, threshold=self.threshold, surrogate=self.surrogate)


class MtpcCsnn(nn.Module):
    """Convolutional spiking network on phase-coded spikes; see the module's text.

    Parameters
    ----------
    config : MtpcCsnnConfig
    shapes : mapping
        Of ``"mtpc"``: ``(pair, band * lag, frame)``.
    classes : int
        Length of the class values, which are all 0.

    Raises
    ------
    AudioDataError
        The detectors are not bands x lags, too few for the convolutions, or there are fewer frames than time steps.

    Examples
    --------
    >>> network = MtpcCsnn(MtpcCsnnConfig(), {"mtpc": (6, 2040, 27)}, 10)
    >>> network({"mtpc": torch.zeros(2, 6, 2040, 27)}).azimuth.shape
    torch.Size([2, 360])
    """

    classifies = False

    def __init__(self, config: MtpcCsnnConfig, shapes: Mapping[str, Shape], classes: int):
        super().__init__()
        self.config = config
        self.classes = classes
        self.scaling = nn.ModuleDict()  # spikes are 0 and 1
        pairs, lags = shapes[FEATURE][0], _lags(config, shapes[FEATURE])
        self.convolutions, self.norms, self.neurons = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        maps = (pairs, config.n_bands, lags)
        for channels in config.channels:
            self.convolutions.append(ConvPool2d(maps[0], channels, 3, padding=1))
            self.norms.append(nn.BatchNorm2d(channels) if config.norm == "batch" else nn.Identity())
            self.neurons.append(MapNeurons(config.neuron()))
            maps = self.convolutions[-1].output_shape(*maps[1:])
        if min(maps) < 1:
            raise AudioDataError(f"mtpc: {config.n_bands} bands x {lags} lags are too few for {len(config.channels)} poolings by 2")
        self.dropout = TimeDropout(config.dropout)
        self.azimuth_head = MapLinear(maps, AZIMUTHS)

    def forward(self, features: Mapping[str, Tensor], generator: Generator | None = None) -> Located:
        """Localize.

        Parameters
        ----------
        features : mapping
            ``"mtpc"``: Tensor [B, pair, band * lag, frame].
        generator : Generator, optional
            For dropout.

        Returns
        -------
        Located
            Class values are 0.
        """
        spikes = self.steps(features[FEATURE])  # [T, B, pair, band, lag]
        for convolution, norm, neurons in zip(self.convolutions, self.norms, self.neurons, strict=True):
            spikes = neurons(at_each_step(norm, at_each_step(convolution, spikes)))  # [T, B, channel, band / 2, lag / 2]
        currents = at_each_step(self.azimuth_head, self.dropout(spikes, generator))  # [T, B, azimuth]
        return Located(currents.mean(0), currents.new_zeros(currents.shape[1], self.classes))

    def steps(self, spikes: Tensor) -> Tensor:
        """Share out the frames of ``[B, pair, band * lag, frame]`` among the time steps: ``[T, B, pair, band, lag]``."""
        groups = spikes.unflatten(2, (self.config.n_bands, -1)).tensor_split(self.config.time_steps, -1)
        merge = Tensor.mean if self.config.spikes == "share" else Tensor.amax
        return torch.stack([merge(group, -1) for group in groups])

    def spiking_layers(self) -> dict[str, nn.Module]:
        """Layers whose outputs are spikes, from the input on."""
        return {f"lif{number}": layer for number, layer in enumerate(self.neurons, start=1)}

    def weighted_layers(self) -> dict[str, WeightedLayer]:
        """Layers with weights, from the input on; a share of frames is a real number, whose products count as such."""
        takes_spikes = [self.config.spikes == "any"] + [True] * len(self.convolutions)
        layers = {f"conv{number}": layer for number, layer in enumerate(self.convolutions, start=1)} | {"azimuth_head": self.azimuth_head}
        return {name: WeightedLayer(layer, spikes) for (name, layer), spikes in zip(layers.items(), takes_spikes, strict=True)}


def _lags(config: MtpcCsnnConfig, shape: Shape) -> int:
    """Lags of a feature ``(pair, band * lag, frame)``, checked against the settings."""
    _, detectors, frames = shape
    if detectors % config.n_bands:
        raise AudioDataError(f"mtpc: {detectors} detectors are no multiple of n_bands = {config.n_bands}; give n_bands as the cache has it")
    if frames < config.time_steps:
        raise AudioDataError(f"mtpc: {frames} frames cannot be shared out among time_steps = {config.time_steps}; use fewer time_steps")
    return detectors // config.n_bands
