"""Simulate a NIR graph in discrete time, as its metadata says; independent of the networks that graphs are made of.

It reads the nodes alone (`nir.read`): tau, R, thresholds and weights. With the time step dt of the metadata each neuron's equation becomes

    h[t] = a v[t-1] + g (v_leak + R I[t]),    a = 1 - dt / tau,  g = dt / tau;    for IF and I: a = 1, h[t] = v[t-1] + dt R I[t]

and a spike is followed by the reset that the node's metadata names. All time steps of a node are worked out before the next node's, which a
graph without loops allows.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from audiodata.errors import AudioDataError
from models.nir_graph import import_nir

# Decimals of the constants of a time step: the way through tau and back leaves an error in the last bits, which could move a potential that
# meets its threshold exactly to the other side.
DECIMALS = 12


class Simulated(NamedTuple):
    """What a graph did.

    Attributes
    ----------
    spikes : dict of str to Tensor [T, B, ...]
        Of each node that fires; bool.
    potentials : dict of str to Tensor [B, ...]
        Of each node that only adds up, at the last time step.
    output : Tensor [T, B, ...]
        What arrives at the output: spikes, or potentials at every time step.
    """

    spikes: dict[str, Tensor]
    potentials: dict[str, Tensor]
    output: Tensor


def read(path: Path) -> Any:
    """Read a graph, its types checked by nir.

    Returns
    -------
    nir.NIRGraph

    Raises
    ------
    AudioDataError
        Not a file, not a graph of NIR, or a graph whose shapes don't fit together.
    EnvironmentFault
        The package nir is missing.
    """
    nir = import_nir()
    path = Path(path)
    if not path.is_file():
        raise AudioDataError(f"{path}: no such file; give a file that `export` wrote")
    try:
        return nir.read(path)
    except (OSError, KeyError, ValueError, TypeError, AttributeError, AssertionError) as error:
        raise AudioDataError(f"{path}: not a graph of NIR ({type(error).__name__}: {' '.join(str(error).split())[:200]})") from None


def simulate(graph: Any, values: Tensor, dtype: torch.dtype = torch.float64) -> Simulated:
    """Run a graph through all time steps.

    Parameters
    ----------
    graph : nir.NIRGraph
        With the metadata that `models.nir_export` writes.
    values : Tensor
        What its metadata's ``about_input`` says, ``[B, ...]``, or for the input coding "each_step" ``[T, B, ...]``.
    dtype : torch.dtype
        To work in.

    Raises
    ------
    AudioDataError
        The graph has loops, nodes or metadata that this can't simulate, or the values don't fit its input.
    """
    for key in ("time_step_s", "time_steps", "input_coding"):
        if key not in graph.metadata:
            raise AudioDataError(f"graph: no `{key}` in its metadata; without it there is no telling what a time step is")
    outputs = {"input": present(values.to(dtype), str(graph.metadata["input_coding"]), int(graph.metadata["time_steps"]))}
    _check_input(graph, outputs["input"])
    spikes, potentials, order = {}, {}, _order(graph)
    with torch.no_grad():
        for place, name in enumerate(order):
            incoming = sum(outputs[before] for before, after in graph.edges if after == name)
            outputs[name] = _respond(graph.nodes[name], incoming, float(graph.metadata["time_step_s"]))
            if _fires(graph.nodes[name]):
                spikes[name] = outputs[name].bool()
            elif _kind(graph.nodes[name]) == "I":
                potentials[name] = outputs[name][-1]
            wanted = {before for before, after in graph.edges if after in order[place + 1 :]}
            outputs = {node: values for node, values in outputs.items() if node in wanted or node == "output"}
    return Simulated(spikes, potentials, outputs["output"])


def present(values: Tensor, coding: str, time_steps: int) -> Tensor:
    """Give the input at each time step ``[T, B, ...]``; for the codings see `models.nir_networks.CODINGS`."""
    if coding == "each_step":
        return values
    if coding == "every_step":
        return values.expand(time_steps, *values.shape)
    if coding == "equal_parts":
        return (values / time_steps).expand(time_steps, *values.shape)
    if coding == "first_step":
        return torch.cat([values.unsqueeze(0), values.new_zeros(time_steps - 1, *values.shape)])
    raise AudioDataError(f"graph: unknown `input_coding` {coding!r} in its metadata")


def _check_input(graph: Any, given: Tensor) -> None:
    expected = [int(size) for size in graph.nodes["input"].input_type["input"]]
    steps = int(graph.metadata["time_steps"])
    if list(given.shape[2:]) != expected or len(given) != steps:
        raise AudioDataError(f"values: expected {steps} time steps of {expected}, got {len(given)} of {list(given.shape[2:])}")


def _order(graph: Any) -> list[str]:
    """All nodes but the input, each after those that lead to it."""
    done, waiting = ["input"], [name for name in graph.nodes if name != "input"]
    while waiting:
        ready = [name for name in waiting if all(before in done for before, after in graph.edges if after == name)]
        if not ready:
            raise AudioDataError(f"graph: the nodes {', '.join(waiting)} form a loop, which this simulation can't run")
        done += ready
        waiting = [name for name in waiting if name not in ready]
    return done[1:]


def _kind(node: Any) -> str:
    return type(node).__name__


def _fires(node: Any) -> bool:
    return _kind(node) in ("LIF", "IF")


def _respond(node: Any, incoming: Tensor, time_step_s: float) -> Tensor:
    """Give what a node puts out, ``[T, B, ...]``."""
    if _fires(node):
        return _neurons(node, incoming, time_step_s)
    if _kind(node) == "I":
        return (incoming * _tensor(_rounded(node.r * time_step_s), incoming)).cumsum(0)
    if _kind(node) == "Output":
        return incoming
    return _timeless(node, incoming.flatten(0, 1)).unflatten(0, incoming.shape[:2])


def _timeless(node: Any, values: Tensor) -> Tensor:
    """Apply a node that knows no time to ``[N, ...]``."""
    kind = _kind(node)
    if kind in ("Affine", "Conv1d", "Conv2d"):
        return _weighted(node, values)
    if kind in ("SumPool2d", "AvgPool2d"):
        return _pooled(node, values)
    if kind == "Flatten" and int(node.start_dim) == 0 and int(node.end_dim) == -1:
        return values.flatten(1)
    raise AudioDataError(f"graph: a node {kind}, which this simulation doesn't know")


def _weighted(node: Any, values: Tensor) -> Tensor:
    weight, bias = _tensor(node.weight, values), _tensor(node.bias, values)
    if _kind(node) == "Affine":
        return F.linear(values, weight, bias)
    convolve, n = (F.conv1d, 1) if _kind(node) == "Conv1d" else (F.conv2d, 2)
    options = {name: _sizes(getattr(node, name), n) for name in ("stride", "padding", "dilation")}
    return convolve(values, weight, bias, groups=int(node.groups), **options)


def _pooled(node: Any, values: Tensor) -> Tensor:
    kernel, stride, padding = (_sizes(size, 2) for size in (node.kernel_size, node.stride, node.padding))
    divisor = 1 if _kind(node) == "SumPool2d" else kernel[0] * kernel[1]
    return F.avg_pool2d(values, kernel, stride, padding, divisor_override=divisor)


def _neurons(node: Any, current: Tensor, time_step_s: float) -> Tensor:
    """Spikes ``[T, B, ...]`` of a layer of neurons, one time step after the other."""
    says = _metadata(node)
    decay, driven = _driven(node, current, time_step_s)
    threshold, v_reset = _tensor(node.v_threshold, current), _tensor(node.v_reset, current)
    v, fired = torch.full_like(current[0], float(says["v_init"])), torch.zeros_like(current[0])
    found = []
    for now in driven:
        if says["reset_at"] == "same_step" or says["reset"] == "zero":
            h = decay * _reset(v, fired, says["reset"], threshold, v_reset) + now
        else:
            h = _reset(decay * v + now, fired, says["reset"], threshold, v_reset)
        fired = ((h > threshold) if says["comparison"] == ">" else (h >= threshold)).to(h.dtype)
        v = h
        found.append(fired)
    return torch.stack(found)


def _driven(node: Any, current: Tensor, time_step_s: float) -> tuple[Tensor | float, Tensor]:
    """Share of the potential that a time step leaves, and what the current adds to it, ``[T, B, ...]``."""
    if _kind(node) == "IF":
        return 1.0, current * _tensor(_rounded(node.r * time_step_s), current)
    share = time_step_s / node.tau
    gain, leak = _rounded(share * node.r), _rounded(share * node.v_leak)
    return _tensor(_rounded(1 - share), current), current * _tensor(gain, current) + _tensor(leak, current)


def _reset(v: Tensor, fired: Tensor, reset: str, threshold: Tensor, v_reset: Tensor) -> Tensor:
    if reset == "subtract":
        return v - fired * threshold
    return torch.where(fired > 0, v_reset, v) if reset == "zero" else v


def _metadata(node: Any) -> Mapping[str, Any]:
    """What a node says of its reset; a node that says nothing is NIR's own: reset to a potential, at v above threshold."""
    return {"reset": "zero", "reset_at": "next_step", "comparison": ">", "v_init": 0.0} | node.metadata


def _rounded(values: np.ndarray) -> np.ndarray:
    return np.round(values, DECIMALS)


def _tensor(values: np.ndarray, like: Tensor) -> Tensor:
    return torch.as_tensor(np.asarray(values), dtype=like.dtype, device=like.device)


def _sizes(value: Any, directions: int) -> tuple[int, ...]:
    sizes = np.atleast_1d(value)
    return tuple(int(size) for size in (np.repeat(sizes, directions) if len(sizes) == 1 else sizes))
