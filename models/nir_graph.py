"""A NIR graph (Pedersen et al. 2024, Nature Communications 15, 8122) put together layer by layer.

NIR describes neurons in continuous time and resets them to a fixed potential:

    LIF: tau v' = (v_leak - v) + R I        IF: v' = R I        I: v' = R I, no spikes        spike at v > v_threshold, then v = v_reset

A time step of length dt (Euler's method) turns a LIF into v[t] = (1 - dt / tau) v[t-1] + (dt / tau) (v_leak + R I[t]). So a decay b per step is
tau = dt / (1 - b), and a current that counts in full is R = 1 / (1 - b), as snnTorch's exporter has it; a neuron that does not leak is an IF with
R = 1 / dt. What NIR has no words for goes into the metadata: the reset by subtraction, when it takes place, >= in place of >, the potential at
the start, dt and the number of time steps. A simulator that doesn't read them gets other spikes.

A graph holds one chain of nodes from ``input`` to ``output``.
"""

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audiodata.errors import AudioDataError, EnvironmentFault
from models.dynamics import Dynamics

# Seconds that a time step counts as; tau and R follow from it, spikes don't depend on it.
TIME_STEP_S = 1e-4


def import_nir() -> ModuleType:
    """Import the package nir; `EnvironmentFault` where it is not installed."""
    try:
        import nir
    except ImportError as error:
        raise EnvironmentFault("the package nir is not installed; run: pip install 'audiodata[export]'") from error
    return nir


class Draft:
    """A graph in the making.

    Parameters
    ----------
    shape : sequence of int
        Of the input of one example at one time step.

    Attributes
    ----------
    shape : tuple of int
        Of what the last node puts out.
    layers : dict of str to str
        The spiking layer whose neurons a node holds, by node.
    """

    def __init__(self, shape: Sequence[int]):
        self._nir = import_nir()
        self.nodes: dict[str, Any] = {"input": self._nir.Input(input_type=np.array(shape))}
        self.edges: list[tuple[str, str]] = []
        self.layers: dict[str, str] = {}
        self.shape = tuple(shape)
        self._last = "input"

    def weights(self, layer: nn.Module, name: str, weight: Tensor | None = None, bias: Tensor | None = None) -> None:
        """Add a dense layer or a convolution, with other weights and bias than its own where given; maps are flattened for a dense one.

        Raises
        ------
        AudioDataError
            NIR can't express it.
        """
        weight = layer.weight if weight is None else weight
        bias = layer.bias if bias is None else bias
        bias = weight.new_zeros(len(weight)) if bias is None else bias
        if isinstance(layer, nn.Linear):
            self._dense(layer, name, weight, bias)
        elif isinstance(layer, nn.Conv1d | nn.Conv2d):
            self._convolution(layer, name, weight, bias)
        else:
            raise AudioDataError(f"layer `{name}`: NIR has no {type(layer).__name__}")

    def _dense(self, layer: nn.Linear, name: str, weight: Tensor, bias: Tensor) -> None:
        if len(self.shape) > 1 and hasattr(layer, "shape"):  # a dense layer on maps
            self.flatten(f"{name}_flatten")
        if len(self.shape) != 1:
            raise AudioDataError(f"layer `{name}`: a dense layer on {list(self.shape)} values; NIR's are on vectors, put a Flatten before it")
        self._add(name, self._nir.Affine(weight=array(weight), bias=array(bias)), (len(weight),))

    def _convolution(self, layer: nn.Conv1d | nn.Conv2d, name: str, weight: Tensor, bias: Tensor) -> None:
        _check_convolution(layer, name)
        dense = array(ungrouped(weight, layer.groups))
        padding = tuple(_zeros_on_each_side(layer))
        if isinstance(layer, nn.Conv2d):
            options = {"input_shape": self.shape[1:], "stride": layer.stride, "padding": padding, "dilation": layer.dilation}
            node = self._nir.Conv2d(weight=dense, bias=array(bias), groups=1, **options)
        else:
            options = {"input_shape": self.shape[1], "stride": layer.stride[0], "padding": padding[0], "dilation": layer.dilation[0]}
            node = self._nir.Conv1d(weight=dense, bias=array(bias), groups=1, **options)
        self._add(name, node, tuple(int(size) for size in node.output_type["output"]))

    def pool(self, size: int | Sequence[int], name: str, *, summing: bool = False) -> None:
        """Add a pooling by windows side by side, over rows and columns or over the places of a sequence; an incomplete last window is left out."""
        directions = len(self.shape) - 1
        sizes = (size,) * directions if isinstance(size, int) else tuple(size)
        if directions == 1:
            self._pool_sequence(sizes[0], name, 1.0 if summing else 1 / sizes[0])
            return
        options = {"kernel_size": np.array(sizes), "stride": np.array(sizes), "padding": np.zeros(2, int)}
        kind = self._nir.SumPool2d if summing else self._nir.AvgPool2d
        pooled = F.avg_pool2d(torch.zeros(1, *self.shape), sizes)
        self._add(name, kind(**options), tuple(pooled.shape[1:]))

    def _pool_sequence(self, size: int, name: str, weight: float) -> None:
        """Add a pooling of a sequence, for which NIR has no node, as a convolution of each channel by itself."""
        channels = self.shape[0]
        layer = nn.Conv1d(channels, channels, size, stride=size, bias=False)
        self._convolution(layer, name, torch.eye(channels).unsqueeze(2).repeat(1, 1, size) * weight, torch.zeros(channels))

    def flatten(self, name: str) -> None:
        """Add a flattening of maps to a vector, unless there is a vector already."""
        if len(self.shape) > 1:
            node = self._nir.Flatten(input_type=np.array(self.shape), start_dim=0, end_dim=-1)
            self._add(name, node, (int(np.prod(self.shape)),))

    def neurons(self, dynamics: Dynamics, name: str, layer: str, decay: float | None = None, threshold: float | None = None) -> None:
        """Add a layer of neurons.

        Parameters
        ----------
        dynamics : Dynamics
        name : str
            Of the node.
        layer : str
            Of the spiking layer that it stands for.
        decay, threshold : float, optional
            Learned ones, in place of those of `dynamics`.

        Raises
        ------
        AudioDataError
            Neurons that the metadata has no words for.
        """
        if dynamics.reset_at == "snntorch_same_step":
            raise AudioDataError(f"layer `{layer}`: reset_at `snntorch_same_step` can't be exported; use next_step or same_step")
        decay = dynamics.decay if decay is None else decay
        threshold = dynamics.threshold if threshold is None else threshold
        spike = {"v_threshold": self._each(threshold), "v_reset": self._each(dynamics.v_reset)}
        node = self._leaky(dynamics, decay, spike)
        node.metadata = neuron_metadata(dynamics) | {"layer": layer}
        self.layers[name] = layer
        self._add(name, node, self.shape)

    def _leaky(self, dynamics: Dynamics, decay: float, spike: dict[str, np.ndarray]) -> Any:
        if dynamics.tau is not None:
            r = 1.0 if dynamics.decay_input else dynamics.tau
            leak = {"tau": self._each(dynamics.tau * TIME_STEP_S), "v_leak": self._each(dynamics.v_reset)}
            return self._nir.LIF(r=self._each(r), **leak, **spike)
        if decay == 1:
            return self._nir.IF(r=self._each(dynamics.input_scale / TIME_STEP_S), **spike)
        leak = {"tau": self._each(TIME_STEP_S / (1 - decay)), "v_leak": self._each(0.0)}
        return self._nir.LIF(r=self._each(dynamics.input_scale / (1 - decay)), **leak, **spike)

    def integrator(self, name: str) -> None:
        """Add neurons that add up their current and never fire."""
        self._add(name, self._nir.I(r=self._each(1 / TIME_STEP_S)), self.shape)

    def _each(self, value: float) -> np.ndarray:
        """The same number for each neuron, float64: it is divided by dt and multiplied by it again."""
        return np.full(self.shape, value, np.float64)

    def _add(self, name: str, node: Any, shape: tuple[int, ...]) -> None:
        self.nodes[name] = node
        self.edges.append((self._last, name))
        self._last, self.shape = name, shape

    def finished(self, metadata: dict[str, Any]) -> Any:
        """Give the graph with an output, its types checked by nir.

        Returns
        -------
        nir.NIRGraph
        """
        self._add("output", self._nir.Output(output_type=np.array(self.shape)), self.shape)
        return self._nir.NIRGraph(nodes=self.nodes, edges=self.edges, metadata={"time_step_s": TIME_STEP_S} | metadata)


def neuron_metadata(dynamics: Dynamics) -> dict[str, Any]:
    """Describe what NIR's equations don't say of a layer of neurons."""
    return {
        "reset": dynamics.reset,
        "reset_at": dynamics.reset_at,
        "comparison": ">" if dynamics.strict else ">=",
        "v_init": float(dynamics.v_init),
    }


def array(values: Tensor) -> np.ndarray:
    """Turn weights into an array, float32 where that loses nothing, else float64."""
    exact = values.detach().double().cpu().numpy()
    small = exact.astype(np.float32)
    return small if np.array_equal(small, exact) else exact


def ungrouped(weight: Tensor, groups: int) -> Tensor:
    """Write out the weights ``[out, in / groups, ...]`` of a convolution in groups with zeros between them: ``[out, in, ...]``.

    The type check of nir 1.0 does not know groups.
    """
    if groups == 1:
        return weight
    inputs, outputs = weight.shape[1], len(weight) // groups
    whole = weight.new_zeros(len(weight), inputs * groups, *weight.shape[2:])
    for group in range(groups):
        rows, columns = slice(group * outputs, (group + 1) * outputs), slice(group * inputs, (group + 1) * inputs)
        whole[rows, columns] = weight[rows]
    return whole


def _check_convolution(layer: nn.Conv1d | nn.Conv2d, name: str) -> None:
    if layer.padding_mode != "zeros":
        raise AudioDataError(f"layer `{name}`: NIR pads with zeros, not by `{layer.padding_mode}`")
    if len(set(layer.kernel_size)) > 1:
        size = " x ".join(map(str, layer.kernel_size))
        raise AudioDataError(f"layer `{name}`: a kernel of {size}; nir's type check takes every kernel for a square, so use one")
    if any(before != after for before, after in _padded(layer)):
        raise AudioDataError(f"layer `{name}`: padding `same` has more zeros after than before here, which NIR can't express; use an odd kernel")


def _zeros_on_each_side(layer: nn.Conv1d | nn.Conv2d) -> list[int]:
    return [before for before, _ in _padded(layer)]


def _padded(layer: nn.Conv1d | nn.Conv2d) -> list[tuple[int, int]]:
    """Zeros before and after, in each direction."""
    if layer.padding == "same":
        whole = [d * (k - 1) for d, k in zip(layer.dilation, layer.kernel_size, strict=True)]
        return [(each // 2, each - each // 2) for each in whole]
    if layer.padding == "valid":
        return [(0, 0)] * len(layer.kernel_size)
    return [(each, each) for each in layer.padding]
