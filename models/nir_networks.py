"""Which networks NIR can express, and how each becomes a graph; the others, with the reason why not."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor, nn

from audiodata.errors import AudioDataError
from models.a_network import FEATURE as AUDITORY
from models.a_network import ANetwork
from models.convolution import ConvPool2d
from models.csnn import CSNN
from models.feedforward import FeedforwardSNN
from models.folding import SumPool
from models.layers import Encoder, Scaling
from models.nir_graph import Draft
from models.spiking_chain import SpikingNetwork, Synapses
from models.v_network import FEATURE as VISUAL
from models.v_network import VNetwork
from models.views import Features, Shapes, zeros

# How the input of a graph comes about, `input_coding` of its metadata: what is given at each time step.
CODINGS = {
    "every_step": "the values, at every time step",
    "first_step": "the values at the first time step, nothing after",
    "equal_parts": "the values divided by the number of time steps, at every time step",
    "each_step": "something of its own for each time step, such as spikes: [time, ...]",
}

MAX_POOLING = (
    "pools by the maximum, for which NIR has no node; train it with average pooling (--set pooling=average), which a sum over spikes can express"
)


class Described(NamedTuple):
    """A network as a graph that is not finished.

    Attributes
    ----------
    draft : Draft
    metadata : dict
        Of the graph: ``time_steps``, ``input_coding``, ``about_input``, ``about_output`` and, where features are scaled, the range.
    given : callable
        ``(features, generator) -> Tensor``: what goes into the graph, ``[B, ...]`` or for the coding "each_step" ``[T, B, ...]``.
    """

    draft: Draft
    metadata: dict[str, Any]
    given: Callable[[Features, Generator | None], Tensor]


def describe(network: nn.Module, shape: Shapes) -> Described:
    """Describe a network as a graph.

    Parameters
    ----------
    network : Module
        In evaluation mode.
    shape : tuple of int or dict
        Of the features of one example.

    Raises
    ------
    AudioDataError
        NIR can't express the network; the message says why and, where there is a way, what to do.
    EnvironmentFault
        The package nir is missing.
    """
    for kind, describer in DESCRIBERS.items():
        if isinstance(network, kind):
            return describer(network, shape)
    raise AudioDataError(f"{type(network).__name__} can't be exported: {_reason(network)}")


def _reason(network: nn.Module) -> str:
    known = REFUSED.get(type(network).__name__)
    if known:
        return known
    if hasattr(network, "spiking_layers") and network.spiking_layers():
        return "NIR export knows converted networks, csnn, feedforward and v_network"
    return "it has no spikes; convert it to a spiking network first"


# Networks by name, so that none of them has to be imported for its refusal.
REFUSED = {
    "Multimodal": "its attention multiplies spikes by what other neurons give, and NIR has no node that multiplies; export v_network alone",
    "MultimodalFc": "one of its senses feeds membrane potentials back, and NIR's edges carry outputs alone; export v_network alone",
    "SpikSLCNet": "its attention multiplies spikes by spikes, and NIR has no node that multiplies",
    "MtpcCsnn": "it pools by the maximum, for which NIR has no node",
    "SrpPhat": "it is an estimator without layers",
    "GccArgmax": "it is an estimator without layers",
}


def _describe_csnn(network: CSNN, shape: tuple[int, ...]) -> Described:
    """Convolution, pooling and normalisation, the last folded into the first: both are linear, and pooling leaves constants as they are."""
    if network.config.pooling == "max":
        raise AudioDataError(f"{type(network).__name__} {MAX_POOLING}")
    draft = Draft(shape)
    blocks = (network.conv1, network.norm1, network.lif1), (network.conv2, network.norm2, network.lif2)
    for number, (convolution, norm, neurons) in enumerate(blocks, start=1):
        draft.weights(convolution, f"conv{number}", *with_norm(convolution, norm))
        draft.pool(2, f"pool{number}")
        _add_neurons(draft, neurons.neuron, f"lif{number}")
    draft.weights(network.fc, "fc")
    _add_neurons(draft, network.lif3.neuron, "lif3")
    metadata = _of_encoder(network.encoder) | _of_scaling(network.scaling) | {"about_output": "spikes of the output neurons, one a class"}
    return Described(draft, metadata, _encoded(network.encoder, network.scaling))


def _describe_feedforward(network: FeedforwardSNN, shape: tuple[int, ...]) -> Described:
    draft = Draft((network.fc1.in_features,))
    for number, (dense, neurons) in enumerate(((network.fc1, network.lif1), (network.fc2, network.lif2.neuron)), start=1):
        draft.weights(dense, f"fc{number}")
        _add_neurons(draft, neurons, f"lif{number}")
    metadata = _of_encoder(network.encoder) | _of_scaling(network.scaling) | {"about_output": "spikes of the output neurons, one a class"}
    if network.config.over == "frames" and network.config.encoding == "direct":
        metadata["input_coding"] = "each_step"
        metadata["about_input"] = "features, scaled; each frame is a time step, its channels and bands one vector"
        return Described(draft, metadata, lambda features, _: network.vectors(features))
    return Described(draft, metadata, _encoded(network.encoder, network.vectors))


def _describe_v_network(network: VNetwork, shapes: Mapping[str, tuple[int, ...]]) -> Described:
    time_steps, *frame = shapes[VISUAL]
    draft = Draft(frame)
    for number, (convolution, neurons) in enumerate(((network.conv1, network.lif1), (network.conv2, network.lif2)), start=1):
        draft.weights(convolution, f"conv{number}")
        _add_neurons(draft, neurons.neuron, f"lif{number}")
        draft.pool(2, f"pool{number}")
    for number, (dense, neurons) in enumerate(((network.fc1, network.lif3), (network.fc2, network.lif4)), start=1):
        draft.weights(dense, f"fc{number}")
        _add_neurons(draft, neurons, f"lif{number + 2}")
    return Described(draft, _of_frames(time_steps, "[polarity, row, column]"), lambda features, _: features[VISUAL].transpose(0, 1))


def _describe_a_network(network: ANetwork, shapes: Mapping[str, tuple[int, ...]]) -> Described:
    if network.config.recurrence != "none":
        raise AudioDataError(
            "ANetwork can't be exported: its neurons feed their membrane potentials back, and NIR's edges carry what nodes put out, which is spikes; "
            "train it without (--set recurrence=none)"
        )
    time_steps = shapes[AUDITORY][0]
    draft = Draft((network.dense[0].in_features,))
    for number, (dense, neurons) in enumerate(zip(network.dense, network.neurons, strict=True), start=1):
        draft.weights(dense, f"fc{number}")
        _add_neurons(draft, neurons.neuron, f"lif{number}")
    metadata = _of_frames(time_steps, "[polarity, channel], as one vector")
    return Described(draft, metadata, lambda features, _: features[AUDITORY].transpose(0, 1).flatten(2))


def _describe_converted(network: SpikingNetwork, shape: Shapes) -> Described:
    """Weights are folded already; the bias is one time step's share of it, and the readout adds up without spikes."""
    with torch.no_grad():
        values, _ = network.shell.prepare(zeros(shape).to(network.readout.weighted.weight))
    draft = Draft(values.shape[1:])
    for layer in network.layers:
        _add_synapses(draft, layer.synapses, layer.synapses.weighted.bias)
        draft.neurons(layer.neuron.dynamics, f"{_node(layer.synapses)}_if", layer.synapses.name)
    _add_synapses(draft, network.readout, network.readout.weighted.bias / network.time_steps)
    draft.integrator(f"{_node(network.readout)}_i")
    coding = "equal_parts" if network.layers and network.layers[0].coding == "constant" else "first_step"
    metadata = {"time_steps": network.time_steps, "input_coding": coding} | _of_shell(network.shell)
    return Described(draft, metadata, lambda features, _: network.shell.prepare(features)[0])


def _add_synapses(draft: Draft, synapses: Synapses, bias: Tensor) -> None:
    name = _node(synapses)
    for number, layer in enumerate(synapses.arrivals):
        _add_arrival(draft, layer, f"{name}_before{number}")
    draft.weights(synapses.weighted, name, bias=bias)
    if isinstance(synapses.weighted, ConvPool2d) and synapses.weighted.pooling == "average":
        draft.pool(2, f"{name}_pool")
    for number, layer in enumerate(synapses.after):
        draft.pool(layer.kernel_size, f"{name}_after{number}")


def _node(synapses: Synapses) -> str:
    """Name of the node with the weights; a number alone would say nothing, and a stroke means a folder in the file."""
    name = synapses.name.replace("/", "_")
    return f"layer{name}" if name[0].isdigit() else name


def _add_arrival(draft: Draft, layer: nn.Module, name: str) -> None:
    if isinstance(layer, SumPool):
        draft.pool(layer.window, name, summing=True)
    elif isinstance(layer, nn.Flatten) and (layer.start_dim, layer.end_dim) == (1, -1):
        draft.flatten(name)
    else:
        raise AudioDataError(f"`{name}`: {layer} can't be exported; use torch.nn.Flatten() as it is")


def _add_neurons(draft: Draft, neuron: Any, name: str) -> None:
    """Add neurons under the name of their layer, with what they learned of decay and threshold."""
    decay = None if neuron.decay is None else neuron.decay.clamp(0, 1).item()
    draft.neurons(neuron.dynamics, name, name, decay, None if neuron.threshold is None else neuron.threshold.item())


def with_norm(layer: nn.Module, norm: nn.Module) -> tuple[Tensor, Tensor | None]:
    """Weights and bias of a layer with the batch normalisation behind it folded in, float64; its own where there is none."""
    if isinstance(norm, nn.Identity):
        return layer.weight, layer.bias
    gain = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    bias = (layer.bias.double() - norm.running_mean.double()) * gain + norm.bias.double()
    return layer.weight.double() * gain.view(-1, *[1] * (layer.weight.dim() - 1)), bias


def _encoded(encoder: Encoder, prepare: Callable[[Tensor], Tensor]) -> Callable[[Features, Generator | None], Tensor]:
    """Scaled values, or the spikes that an encoding makes of them."""
    if encoder.name == "direct":
        return lambda features, _: prepare(features)
    return lambda features, generator: encoder(prepare(features), generator)


def _of_encoder(encoder: Encoder) -> dict[str, Any]:
    direct = encoder.name == "direct"
    about = "features, scaled" if direct else f"spikes: features, scaled, in {encoder.name} encoding"
    return {"time_steps": encoder.time_steps, "input_coding": "every_step" if direct else "each_step", "about_input": about}


def _of_frames(time_steps: int, axes: str) -> dict[str, Any]:
    about = {"about_input": f"frames of events {axes}, one a time step", "about_output": "spikes of the output neurons, one a class"}
    return {"time_steps": time_steps, "input_coding": "each_step"} | about


def _of_scaling(scaling: nn.Module) -> dict[str, Any]:
    """Range that features are scaled by; the cutting-off at 0 and 1 is not linear, so that it can't be a node."""
    if not isinstance(scaling, Scaling):
        return {}
    about = "(features - low) / (high - low), cut off at 0 and 1; low and high are [channel, band, 1]"
    return {"scaling": about, "scaling_low": scaling.low.cpu().numpy(), "scaling_high": scaling.high.cpu().numpy()}


def _of_shell(shell: nn.Module) -> dict[str, Any]:
    """Describe what a converted network does before and after its chain, which is not part of the graph."""
    about_output = "aggregate membrane potential of the readout at the last time step"
    about = {"about_input": _first_line(shell.prepare), "about_output": f"{about_output}; after it: {_first_line(shell.finish)}"}
    return about | _of_scaling(getattr(shell, "scaling", None))


def _first_line(method: Callable) -> str:
    """What a method of the network does, in its own words."""
    does = (inspect.getdoc(method) or "").partition("\n")[0].replace("``", "")
    return f"{type(method.__self__).__name__}.{method.__name__}: {does}"


DESCRIBERS: dict[type[nn.Module], Callable[..., Described]] = {
    SpikingNetwork: _describe_converted,
    CSNN: _describe_csnn,
    FeedforwardSNN: _describe_feedforward,
    VNetwork: _describe_v_network,
    ANetwork: _describe_a_network,
}
