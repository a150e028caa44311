"""Networks that can be converted: a chain of layers, read as stages that each become one layer of spiking neurons.

A convertible network has three methods:

    chain() -> dict of str to Module                    its layers in order, by name
    prepare(features) -> (Tensor [B, ...], context)     what the first of them takes
    finish(values, context) -> output                   from what the last of them gives to the network's output

and its forward pass is ``finish`` of the chain of what ``prepare`` gives. What lies before and after the chain stays as it is: the scaling of
features, a sigmoid or, of a network that separates speakers, encoder and decoder.

A stage is one layer with weights, its batch normalisation and its rectifier (Wu et al. 2021, section 4):

    [pool, flatten, dropout] -> weights -> [batch norm, average pool, in either order] -> ReLU

The last stage has no rectifier: it is the readout.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from torch import Generator, Tensor, nn

from audiodata.errors import AudioDataError
from models.convolution import ConvPool2d
from models.layers import TimeDropout

DENSE = (nn.Linear,)
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
POOLS = (nn.AvgPool1d, nn.AvgPool2d)
DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, TimeDropout)
SUPPORTED = "Linear, Conv1d, Conv2d, BatchNorm1d, BatchNorm2d, ReLU, AvgPool1d, AvgPool2d, Flatten, Dropout, Identity"

# What to use in place of layers that spike counts can't express.
INSTEAD = {
    "MaxPool": "the largest of several counts is not known before the last time step; use average pooling or a stride (--set pooling=average)",
    "AdaptiveAvgPool": "use AvgPool1d or AvgPool2d with the size written out",
    "ConvTranspose": "keep it outside of the chain, after the readout",
    "LayerNorm": "use BatchNorm, which folds into the weights",
    "GroupNorm": "use BatchNorm, which folds into the weights",
    "InstanceNorm": "use BatchNorm, which folds into the weights",
    "ReLU6": "use ReLU; what a count can be ends at the number of time steps anyway",
    "LeakyReLU": "spike counts can't be negative; use ReLU",
    "PReLU": "spike counts can't be negative; use ReLU",
    "ELU": "spike counts can't be negative; use ReLU",
    "CELU": "spike counts can't be negative; use ReLU",
    "SELU": "spike counts can't be negative; use ReLU",
    "GELU": "spike counts can't be negative; use ReLU",
    "SiLU": "spike counts can't be negative; use ReLU",
    "Tanh": "spike counts can't be negative; use ReLU",
    "Sigmoid": "use ReLU between layers; a sigmoid on the readout belongs after the chain",
    "Softmax": "leave it out: the readout's values are what a softmax takes, and the loss has one",
}


class Stage(NamedTuple):
    """One layer with weights and what belongs to it.

    Attributes
    ----------
    name : str
        Of the layer with weights.
    before : tuple of Module
        Average pooling, flattening and dropout between the layer before and the weights.
    weighted : Module
        Dense layer or convolution.
    behind : tuple of Module
        Batch normalisation and average pooling between the weights and the rectifier, in order.
    rectified : bool
        False for the readout.
    """

    name: str
    before: tuple[nn.Module, ...]
    weighted: nn.Module
    behind: tuple[nn.Module, ...]
    rectified: bool

    @property
    def norm(self) -> nn.Module | None:
        """Batch normalisation after the weights, or None."""
        return next((layer for layer in self.behind if isinstance(layer, NORMS)), None)

    @property
    def after(self) -> tuple[nn.Module, ...]:
        """Average pooling between the weights and the rectifier; one normalisation for all places of a channel commutes with it."""
        return tuple(layer for layer in self.behind if isinstance(layer, POOLS))

    @property
    def modules(self) -> tuple[nn.Module, ...]:
        """All layers that belong to it, in order, without the rectifier."""
        return (*self.before, self.weighted, *self.behind)

    def forward(self, values: Tensor) -> Tensor:
        """Run it as a part of the ANN, in whatever mode its layers are."""
        values = run(self.modules, values)
        return values.relu() if self.rectified else values


class Sequence(nn.Module):
    """A convertible network made of any `torch.nn.Sequential` of supported layers.

    Parameters
    ----------
    layers : Sequential
        Sequentials inside are taken apart. The last layer with weights is the readout; only pooling and flattening may stand between the last
        rectifier and it.

    Raises
    ------
    AudioDataError
        A layer that can't be converted, with what to use instead.

    Examples
    --------
    >>> [stage.name for stage in stages(Sequence(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))).chain())]
    ['0', '2']
    """

    def __init__(self, layers: nn.Sequential):
        super().__init__()
        self.layers = layers
        stages(self.chain())

    def chain(self) -> dict[str, nn.Module]:
        """Layers in order; one that is there twice is there under both names."""
        layers = self.layers.named_modules(remove_duplicate=False)
        return {name: layer for name, layer in layers if not isinstance(layer, nn.Sequential)}

    def prepare(self, features: Tensor) -> tuple[Tensor, None]:
        """Features as they are."""
        return features, None

    def finish(self, values: Tensor, context: None) -> Tensor:
        """Values as they are."""
        return values

    def forward(self, features: Tensor, generator: Generator | None = None) -> Tensor:
        """Run the layers."""
        return self.layers(features)


def run(layers: Iterable[nn.Module], values: Tensor) -> Tensor:
    """Apply layers one after another."""
    for layer in layers:
        # this dropout wants a time axis, over which it silences the same units
        values = layer(values.unsqueeze(0)).squeeze(0) if isinstance(layer, TimeDropout) else layer(values)
    return values


def check_convertible(network: nn.Module, name: str) -> None:
    """Raise `AudioDataError` unless a network has a chain of supported layers."""
    if not hasattr(network, "chain"):
        raise AudioDataError(f"`{name}` can't be converted: it is not a chain of layers with rectifiers; `list` shows the networks that are")
    stages(network.chain())


def stages(layers: Mapping[str, nn.Module]) -> tuple[Stage, ...]:
    """Read a chain of layers as stages.

    Parameters
    ----------
    layers : mapping of str to Module
        In order.

    Returns
    -------
    tuple of Stage
        The last is the readout.

    Raises
    ------
    AudioDataError
        A layer that is not supported or stands where it can't be converted; the message says what to use instead.
    """
    found, current = [], _Draft()
    for name, layer in layers.items():
        if isinstance(layer, nn.ReLU):
            found.append(current.finished(name, rectified=True))
            current = _Draft()
        elif not isinstance(layer, nn.Identity):
            current.add(name, layer)
    if current.weighted is None:
        raise AudioDataError("a chain of layers must end with a readout, one layer with weights after the last ReLU; add a Linear or a convolution")
    return (*found, current.finished("the end", rectified=False))


class _Draft:
    """A stage of which not all layers are known yet."""

    def __init__(self) -> None:
        self.name = ""
        self.before: list[nn.Module] = []
        self.weighted: nn.Module | None = None
        self.behind: list[nn.Module] = []

    def add(self, name: str, layer: nn.Module) -> None:
        """Take one more layer, or refuse it."""
        if isinstance(layer, (*DENSE, *CONVOLUTIONS)):
            self._add_weighted(name, layer)
        elif isinstance(layer, NORMS):
            self._add_norm(name, layer)
        elif isinstance(layer, POOLS):
            self._add_pool(name, layer)
        elif isinstance(layer, (nn.Flatten, *DROPOUTS)):
            self._add_between(name, layer)
        else:
            raise AudioDataError(_refusal(name, layer))

    def _add_weighted(self, name: str, layer: nn.Module) -> None:
        if self.weighted is not None:
            raise AudioDataError(f"layer `{name}`: follows `{self.name}` without a ReLU between them; add one, or make one layer of both")
        if isinstance(layer, ConvPool2d) and layer.pooling == "max":
            raise AudioDataError(f"layer `{name}` pools by the maximum: {INSTEAD['MaxPool']}")
        self.name, self.weighted = name, layer

    def _add_norm(self, name: str, layer: nn.Module) -> None:
        if self.weighted is None or any(isinstance(other, NORMS) for other in self.behind):
            raise AudioDataError(f"layer `{name}` (BatchNorm): must follow a layer with weights, before its ReLU, to fold into them")
        if isinstance(self.weighted, DENSE) and layer.num_features != self.weighted.out_features:
            raise AudioDataError(
                f"layer `{name}` (BatchNorm): normalises {layer.num_features} channels, but `{self.name}` has {self.weighted.out_features} outputs; "
                "use one that is as wide, or a convolution with kernels of size 1"
            )
        if not layer.track_running_stats:
            raise AudioDataError(f"layer `{name}` (BatchNorm): has no running statistics to fold; set track_running_stats=True")
        self.behind.append(layer)

    def _add_pool(self, name: str, layer: nn.Module) -> None:
        _check_pool(name, layer)
        if isinstance(self.weighted, DENSE):
            raise AudioDataError(f"layer `{name}` ({type(layer).__name__}): stands between a dense layer and its ReLU; move it behind the ReLU")
        (self.before if self.weighted is None else self.behind).append(layer)

    def _add_between(self, name: str, layer: nn.Module) -> None:
        if self.weighted is not None:
            place = "move it behind the ReLU, or after the readout leave it out"
            raise AudioDataError(f"layer `{name}` ({type(layer).__name__}): stands between weights and ReLU; {place}")
        self.before.append(layer)

    def finished(self, name: str, *, rectified: bool) -> Stage:
        """Give the stage; a rectifier without weights is refused."""
        if self.weighted is None:
            raise AudioDataError(f"layer `{name}` (ReLU): no layer with weights since the ReLU before; leave it out")
        return Stage(self.name, tuple(self.before), self.weighted, tuple(self.behind), rectified)


def _refusal(name: str, layer: nn.Module) -> str:
    kind = type(layer).__name__
    instead = next((text for known, text in INSTEAD.items() if kind.startswith(known)), f"supported are {SUPPORTED}")
    return f"layer `{name}` ({kind}) can't be converted to spiking neurons: {instead}"


def _check_pool(name: str, layer: Any) -> None:
    sizes = [layer.kernel_size, layer.stride, layer.padding]
    kernel, stride, padding = ([size] if isinstance(size, int) else list(size) for size in sizes)
    if kernel != stride or any(padding) or layer.ceil_mode or getattr(layer, "divisor_override", None):
        wanted = "stride = kernel_size, no padding, ceil_mode or divisor_override"
        raise AudioDataError(f"layer `{name}` (average pooling): windows must be side by side and averaged: {wanted}")
