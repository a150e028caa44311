"""SpikSLC-Net (2023, anonymous): where a sound is and what it is, by attention between two streams of spikes; and SLC-Net, its twin without.

    gcc_phat [B, pair, lag, frame]    -> scaled -> dense, norm, neurons -> |        | -> |  sum over time,   | -> azimuth [B, 360]
                                                                           | blocks |    |  mean of frames   |
    log_mel  [B, channel, mel, frame] -> scaled -> dense, norm, neurons -> |        | -> |  of both streams  | -> label [B, C]

A frame is a token: all its lags of all pairs, or all its bands of all channels, become E values. Each of the blocks (spiking hybrid attention
fusion, SHAF) has two halves of the same form, one a stream (Eq. 11 to 13):

    X~ = Xa + SSA(Xa) + SCA(Xa, Xb),    new Xa = X~ + FLS(FLS(X~)),    FLS = neurons(dense(norm(.)))

Streams are sums of spikes, so they carry small whole numbers. The input is the same at every time step (direct encoding), so whatever is
before the first neurons is computed once. Once trained, `SpikSLCNet.fold` takes all normalisations into the dense layers beside them.

The paper leaves open, and is settled here: 8 heads; a hidden layer of 4 E between the two FLS, as in the spiking transformer that SSA is from
(Zhou et al. 2022); weights behind the norm of an FLS that keep its unit variance; mean of frames. ArcTan surrogate after Eq. 23, where the
text above it says rectangular. Axes: T time steps, B examples, F frames, E values of a token.
"""

import copy
from collections.abc import Mapping
from functools import partial
from typing import Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Generator, Tensor, nn

from audiodata.errors import AudioDataError
from audiodata.settings import Settings
from models.decoupled_norm import NORMS, BatchNorm, DecoupledNorm, LayerNorm, fold_into_next
from models.layers import Scaling, Shape, WeightedLayer
from models.located import AZIMUTHS, Located
from models.neurons import LIF, SpikingNeuron
from models.spiking_attention import CrossAttention, Kit, NormedLinear, SelfAttention, SoftmaxProduct, SpikeProduct
from models.surrogate import SURROGATES

# Table 1 and 2: "<blocks>-<width>"
PRESETS: dict[str, dict[str, int]] = {f"{blocks}-{width}": {"blocks": blocks, "width": width} for blocks in (1, 2, 3, 4) for width in (64, 128)}


class SlcNetConfig(Settings):
    """Layers of both networks.

    ``blocks``: SHAF blocks. ``width``: E. ``heads``: of each attention. ``mlp_ratio``: values between the two FLS of a half, as a multiple of E.
    """

    blocks: int = Field(default=2, ge=1)
    width: int = Field(default=128, ge=1)
    heads: int = Field(default=8, ge=1)
    mlp_ratio: float = Field(default=4.0, gt=0.0)

    @model_validator(mode="after")
    def _check_heads(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"`width` = {self.width} is no multiple of `heads` = {self.heads}")
        return self

    @property
    def hidden(self) -> int:
        """Values between the two FLS."""
        return max(1, round(self.mlp_ratio * self.width))


class SpikSlcNetConfig(SlcNetConfig):
    """Layers, time and neurons of SpikSLC-Net.

    ``time_steps``: T. ``norm``: of the encoders and the FLS, see `models.decoupled_norm.NORMS` (Table 4). ``variance``: of DSLN, shared by a "layer",
    a "frame" or nothing but a "token", see `models.decoupled_norm.DecoupledNorm`. ``tau``, ``threshold``: of the neurons;
    ``attention_threshold``: of those behind a product of spikes; ``scale``: s of that product. ``detach_reset``: leave the reset out of the gradient.
    ``surrogate``: see `models.surrogate`; ``surrogate_scale`` none: its default.
    """

    time_steps: int = Field(default=2, ge=1)
    norm: Literal["dsln", "layer", "variant_layer", "batch"] = "dsln"
    variance: Literal["layer", "frame", "token"] = "layer"
    tau: float = Field(default=2.0, gt=1.0)
    threshold: float = Field(default=1.0, gt=0.0)
    attention_threshold: float = Field(default=0.5, gt=0.0)
    scale: float = Field(default=0.125, gt=0.0)
    detach_reset: bool = True
    surrogate: Literal["arctan", "fast_sigmoid", "sigmoid", "rectangular", "triangular"] = "arctan"
    surrogate_scale: float | None = Field(default=None, gt=0.0)

    @model_validator(mode="after")
    def _check_variance(self) -> Self:
        if self.variance != "layer" and self.norm != "dsln":
            raise ValueError(f'`variance` = "{self.variance}" needs `norm` = "dsln", got "{self.norm}"')
        return self

    def neurons(self, threshold: float) -> LIF:
        """Make one layer of neurons (Eq. 2 to 4)."""
        surrogate = SURROGATES[self.surrogate]
        return LIF.spikingjelly(
            self.tau,
            threshold=threshold,
            detach_reset=self.detach_reset,
            surrogate=surrogate() if self.surrogate_scale is None else surrogate(self.surrogate_scale),
        )

    def kit(self, frames: int) -> Kit:
        """Say what the network is made of; `frames` are those of the training examples."""
        norm = partial(DecoupledNorm, variance=self.variance, frames=frames) if self.norm == "dsln" else NORMS[self.norm]
        neurons = partial(self.neurons, self.threshold)
        return Kit(neurons, neurons, partial(SpikeProduct, self.scale), partial(self.neurons, self.attention_threshold), norm)


class Rectifier(nn.Module):
    """Stands in the twin where neurons are; called as they are."""

    def forward(self, current: Tensor, time_steps: int | None = None) -> Tensor:
        """Rectify ``[T, ...]``; with `time_steps`, ``[...]``, which gets a time axis."""
        return (current if time_steps is None else current.unsqueeze(0)).relu()


class FixedScaling(nn.Module):
    """A `Scaling` whose range no longer changes: one multiplication in place of its division.

    Parameters
    ----------
    scaling : Scaling
    """

    def __init__(self, scaling: Scaling):
        super().__init__()
        gain = 1 / (scaling.high.double() - scaling.low.double())
        self.register_buffer("gain", gain.to(scaling.low.dtype))
        self.register_buffer("offset", (-scaling.low.double() * gain).to(scaling.low.dtype))

    def forward(self, features: Tensor) -> Tensor:
        """Scale ``[B, channel, band, frame]``."""
        return torch.addcmul(self.offset, features, self.gain).clamp(0, 1)


class StreamEncoder(nn.Module):
    """Values of a frame become spikes: direct encoding, the dense layer and its norm once for all time steps.

    Parameters
    ----------
    values : int
        Of a frame, all channels or pairs together.
    width : int
        E.
    kit : Kit
    """

    def __init__(self, values: int, width: int, kit: Kit):
        super().__init__()
        norm = kit.norm(width)
        self.dense = NormedLinear(values, width, norm, bias=not isinstance(norm, BatchNorm))
        self.neurons = kit.neurons()

    def forward(self, features: Tensor, time_steps: int) -> Tensor:
        """Give ``[T, B, F, E]`` of scaled features ``[B, channel, band, F]``."""
        tokens = features.flatten(1, 2).transpose(1, 2)  # [B, F, channel * band]
        return self.neurons(self.dense(tokens.unsqueeze(0)).squeeze(0), time_steps=time_steps)


class FLS(nn.Module):
    """Normalisation, dense layer and neurons, in this order (Eq. 12).

    The dense layer starts with weights of variance 1 / `inputs`, so that the neurons get currents of variance 1 and some of them fire.

    Parameters
    ----------
    inputs, outputs : int
    kit : Kit
    """

    def __init__(self, inputs: int, outputs: int, kit: Kit):
        super().__init__()
        self.norm = kit.norm(inputs)
        self.linear = nn.Linear(inputs, outputs)
        nn.init.normal_(self.linear.weight, std=inputs**-0.5)
        self.neurons = kit.neurons()

    def forward(self, tokens: Tensor) -> Tensor:
        """Give ``[T, B, F, outputs]`` of ``[T, B, F, inputs]``."""
        return self.neurons(self.linear(self.norm(tokens)))

    def fold(self) -> None:
        """Put the normalisation, as it is in evaluation, into the dense layer behind it."""
        self.linear, self.norm = fold_into_next(self.norm, self.linear), nn.Identity()


class HalfBlock(nn.Module):
    """What a SHAF block does to one stream (Eq. 11 to 13).

    Parameters
    ----------
    config : SlcNetConfig
    kit : Kit
    """

    def __init__(self, config: SlcNetConfig, kit: Kit):
        super().__init__()
        self.ssa = SelfAttention(config.width, config.heads, kit)
        self.sca = CrossAttention(config.width, config.heads, kit)
        self.fls1 = FLS(config.width, config.hidden, kit)
        self.fls2 = FLS(config.hidden, config.width, kit)

    def forward(self, stream: Tensor, other: Tensor) -> Tensor:
        """Give the new stream ``[T, B, F, E]`` of it and the other one."""
        mixed = stream + self.ssa(stream) + self.sca(stream, other)
        return mixed + self.fls2(self.fls1(mixed))


class Block(nn.Module):
    """Spiking hybrid attention fusion (SHAF): both halves see both streams as they come in.

    Parameters
    ----------
    config : SlcNetConfig
    kit : Kit
    """

    def __init__(self, config: SlcNetConfig, kit: Kit):
        super().__init__()
        self.halves = nn.ModuleList([HalfBlock(config, kit), HalfBlock(config, kit)])

    def forward(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """Give both new streams ``[T, B, F, E]``."""
        return self.halves[0](first, second), self.halves[1](second, first)


class TwoStreams(nn.Module):
    """What both networks have: the same layers with the same weights under the same names.

    Parameters
    ----------
    config : SlcNetConfig
    shapes : mapping of str to tuple of int
        ``(channel or pair, band or lag, frame)`` of the two features, in the order of the streams.
    classes : int
    kit : Kit

    Raises
    ------
    AudioDataError
        Not two features.
    """

    time_steps = 1

    def __init__(self, config: SlcNetConfig, shapes: Mapping[str, Shape], classes: int, kit: Kit):
        super().__init__()
        if len(shapes) != 2:
            raise AudioDataError(f"features: expected two, such as gcc_phat and log_mel, got {', '.join(shapes) or 'none'}")
        self.config = config
        self.scaling = nn.ModuleDict({name: Scaling(shape[0], shape[1]) for name, shape in shapes.items()})
        self.encoders = nn.ModuleDict({name: StreamEncoder(shape[0] * shape[1], config.width, kit) for name, shape in shapes.items()})
        self.blocks = nn.ModuleList([Block(config, kit) for _ in range(config.blocks)])
        self.azimuth = nn.Linear(2 * config.width, AZIMUTHS)
        self.label = nn.Linear(2 * config.width, classes)

    def forward(self, features: Mapping[str, Tensor], generator: Generator | None = None) -> Located:
        """Run all time steps.

        Parameters
        ----------
        features : mapping of str to Tensor [B, channel or pair, band or lag, F]
            Any number of frames, the same for both.
        generator : Generator, optional
            As other networks take; nothing is drawn here.

        Returns
        -------
        Located
            Likelihood of each azimuth ``[B, 360]`` and class values ``[B, C]``.

        Raises
        ------
        AudioDataError
            A feature is missing, or they have different numbers of frames.
        """
        first, second = (self._encode(name, features) for name in self.encoders)
        if first.shape != second.shape:
            frames = " and ".join(f"{features[name].shape[-1]} of {name}" for name in self.encoders)
            raise AudioDataError(f"features: expected as many frames of both, got {frames}; use the same window and hop")
        for block in self.blocks:
            first, second = block(first, second)
        streams = torch.cat([first, second], -1)  # [T, B, F, 2 E]
        pooled = streams.sum((0, 2)) * (1 / streams.shape[2])  # [B, 2 E]
        return Located(self.azimuth(pooled), self.label(pooled))

    def _encode(self, name: str, features: Mapping[str, Tensor]) -> Tensor:
        if name not in features:
            raise AudioDataError(f"features: expected {' and '.join(self.encoders)}, got {', '.join(features) or 'none'}")
        return self.encoders[name](self.scaling[name](features[name]), self.time_steps)

    def spiking_layers(self) -> dict[str, nn.Module]:
        """Layers whose outputs are spikes, from the input on."""
        return {name: layer for name, layer in self.named_modules() if isinstance(layer, SpikingNeuron)}

    def product_layers(self) -> dict[str, nn.Module]:
        """Products of queries, keys and values, whose ``operations`` say what they cost."""
        return {name: layer for name, layer in self.named_modules() if isinstance(layer, SpikeProduct | SoftmaxProduct)}

    def weighted_layers(self) -> dict[str, WeightedLayer]:
        """Layers with weights, from the input on.

        Spikes, or the whole numbers that a stream sums up from them, arrive at the layers of the attentions, and at those of the FLS once
        they are folded; before, a normalisation hands them real numbers. The heads take means over frames.
        """
        spiking = bool(self.spiking_layers())
        takers = {id(layer.linear) for layer in self.blocks.modules() if isinstance(layer, NormedLinear) or _is_folded(layer)}
        linears = ((name, layer) for name, layer in self.named_modules() if isinstance(layer, nn.Linear))
        return {name: WeightedLayer(layer, spiking and id(layer) in takers) for name, layer in linears}


def _is_folded(layer: nn.Module) -> bool:
    return isinstance(layer, FLS) and isinstance(layer.norm, nn.Identity)


class SpikSLCNet(TwoStreams):
    """SpikSLC-Net; see the module's text.

    Parameters
    ----------
    config : SpikSlcNetConfig
    shapes : mapping of str to tuple of int
        ``(channel or pair, band or lag, frame)`` of the two features.
    classes : int

    Examples
    --------
    >>> shapes = {"gcc_phat": (6, 51, 27), "log_mel": (4, 51, 27)}
    >>> network = SpikSLCNet(SpikSlcNetConfig(blocks=1, width=64), shapes, 10)
    >>> network({name: torch.rand(2, *shape) for name, shape in shapes.items()}).azimuth.shape
    torch.Size([2, 360])
    """

    def __init__(self, config: SpikSlcNetConfig, shapes: Mapping[str, Shape], classes: int):
        super().__init__(config, shapes, classes, config.kit(frames=next(iter(shapes.values()), (0, 0, 0))[-1]))
        self.time_steps = config.time_steps

    def fold(self) -> "SpikSLCNet":
        """Give a copy in evaluation mode without normalisations: all are part of the dense layers beside them (re-parameterization, section 4.3).

        It has the outputs of this network in evaluation, up to the rounding of numbers. A membrane potential nearer to its threshold than
        that can fall to the other side of it; in double precision this does not happen in practice.

        Raises
        ------
        AudioDataError
            The normalisation can't be folded: ``norm`` "layer" or "variant_layer", or ``variance`` "frame".
        """
        folded = copy.deepcopy(self).eval()
        for layer in list(folded.modules()):
            if isinstance(layer, NormedLinear | FLS):
                layer.fold()
        folded.scaling = nn.ModuleDict({name: FixedScaling(scaling) for name, scaling in folded.scaling.items()})
        return folded


class SLCNet(TwoStreams):
    """SLC-Net, the twin without spikes and time ("ANN version" of Table 5); as many parameters.

    A rectifier in place of every layer of neurons, softmax attention (Vaswani et al. 2017) whose queries, keys and values and whose result
    are not rectified, layer normalization as it is in place of DSLN.

    Parameters
    ----------
    config : SlcNetConfig
    shapes, classes
        As for `SpikSLCNet`.
    """

    def __init__(self, config: SlcNetConfig, shapes: Mapping[str, Shape], classes: int):
        super().__init__(config, shapes, classes, Kit(Rectifier, nn.Identity, SoftmaxProduct, nn.Identity, LayerNorm))
