"""From a trained ANN to a spiking network without any training: primitive conversion with measured thresholds (Wu et al. 2021, section 3).

    theta_l = P / N_s        (Eq. 10 and section 3.3)

with N_s time steps and P a high percentile of the rectified activations of layer l. It is measured on the hybrid network, the layers before l
spiking already, so that each layer's threshold fits what really arrives. `models.progressive` trains on from here.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from audiodata.errors import AudioDataError
from audiodata.settings import validated
from models.chain import Stage, stages
from models.constraints import Constraints
from models.folding import for_spikes
from models.spiking_chain import SpikingLayer, SpikingNetwork, Synapses, spiking_layer
from models.views import Features

# Examples that run through all time steps together while thresholds are measured.
CHUNK = 32


class ConversionConfig(Constraints):
    """How an ANN becomes a spiking network, with the constraints of its hardware.

    ``time_steps``: N_s. ``percentile``: of the activations, what the largest count stands for. ``coding``: real numbers come in at the first
    step alone ("first_step", as in progressive tandem learning), or an equal part at each ("constant"). ``rounding``: the count that a
    potential leads to, "floor" or "round" (the membrane starts at half the threshold, Eq. 10). ``threshold_examples``: training examples on
    which thresholds are measured.

    What more time steps are good for depends on the coding (``tests/benchmarks/compare_conversion.py`` draws it). With "constant", spikes of
    all neurons come evenly over the time window, and the error of the whole network falls like 1 / N_s towards the ANN. With "first_step" it
    stops falling after some tens of steps: strong inputs fire until long after weak ones have ended, so that a neuron can spike on what comes
    early and no inhibition later takes the spike back. Only a first layer without bias is exact but for rounding; a bias comes in parts over
    the whole window, too late for some. Few time steps, which the fine-tuning of `models.progressive` is made for, are on the side where both
    are alike: there rounding makes the larger error. "floor" takes half a threshold from every active neuron of every layer, "round" takes
    and gives.
    """

    time_steps: int = Field(default=16, ge=1, le=1024)
    percentile: float = Field(default=99.9, gt=0, le=100)
    coding: Literal["first_step", "constant"] = "first_step"
    rounding: Literal["floor", "round"] = "floor"
    threshold_examples: int = Field(default=256, ge=1)


def convert(network: nn.Module, features: Features, config: ConversionConfig | None = None, **settings: Any) -> SpikingNetwork:
    """Convert a trained network.

    Parameters
    ----------
    network : Module
        With ``chain()``, ``prepare()`` and ``finish()``, see `models.chain`; `models.chain.Sequence` makes one of a `torch.nn.Sequential`.
        It is not changed.
    features : Tensor [B, ...] or dict
        Training examples, on which thresholds are measured.
    config : ConversionConfig, optional
        Or its settings as keywords.

    Returns
    -------
    SpikingNetwork
        In evaluation mode; it gives what the network gives, as nearly as `time_steps` counts can.

    Raises
    ------
    AudioDataError
        A layer that can't be converted, or one that is never active on these examples.

    Examples
    --------
    >>> from models.chain import Sequence
    >>> _ = torch.manual_seed(0)
    >>> ann = Sequence(nn.Sequential(nn.Linear(20, 50), nn.ReLU(), nn.Linear(50, 3)))
    >>> snn = convert(ann, torch.rand(100, 20), time_steps=64)
    >>> snn(torch.rand(5, 20)).shape
    torch.Size([5, 3])
    """
    config = config or validated(ConversionConfig, settings, "conversion")
    hidden = stages(network.chain())[:-1]
    with torch.no_grad(), evaluating(network):
        values, _ = network.prepare(features)
        layers: list[SpikingLayer] = []
        for stage in hidden:
            layers.append(next_layer(stage, layers, measure_threshold(stage, layers, values, config), config))
    return assemble(network, [layer.threshold for layer in layers], config)


def assemble(network: nn.Module, thresholds: Sequence[float], config: ConversionConfig) -> SpikingNetwork:
    """Build the spiking network of an ANN whose thresholds are known, in evaluation mode."""
    constraints = Constraints(weight_bits=config.weight_bits, fan_in=config.fan_in)
    return SpikingNetwork(network, thresholds, config.time_steps, config.coding, config.rounding, constraints).eval()


def skeleton(network: nn.Module, conversion: dict[str, Any]) -> SpikingNetwork:
    """Build a converted network whose weights are to be loaded.

    Parameters
    ----------
    network : Module
        The ANN, with any weights.
    conversion : dict
        What `conversion_record` wrote down.

    Raises
    ------
    AudioDataError
        There are no thresholds: the conversion has not ended.
    """
    if "thresholds" not in conversion:
        raise AudioDataError("this conversion has not ended, its thresholds are not known; go on with --resume")
    settings = {key: value for key, value in conversion.items() if key in ConversionConfig.model_fields}
    return assemble(network, conversion["thresholds"], validated(ConversionConfig, settings, "conversion"))


def conversion_record(config: ConversionConfig, network: SpikingNetwork, method: str, **more: Any) -> dict[str, Any]:
    """Describe how a network was converted: settings, thresholds, ``method`` ("primitive" or "progressive") and whatever else."""
    return config.model_dump(mode="json") | {"thresholds": network.thresholds, "method": method} | more


def next_layer(stage: Stage, layers: Sequence[SpikingLayer], threshold: float, config: ConversionConfig) -> SpikingLayer:
    """Convert a stage that comes after some layers; the first takes real numbers."""
    scale, coding = (layers[-1].threshold, None) if layers else (1.0, config.coding)
    return spiking_layer(stage, scale, threshold, config.time_steps, coding, config.rounding, config)


def measure_threshold(stage: Stage, layers: Sequence[SpikingLayer], values: Tensor, config: ConversionConfig) -> float:
    """Measure the threshold of a stage: Threshold LayerNorm (Wu et al. 2021, section 3.3), on the hybrid network.

    Parameters
    ----------
    stage : Stage
        Still an ANN's; its normalisation counts with its running statistics.
    layers : sequence of SpikingLayer
        What was converted before it.
    values : Tensor [B, ...]
        What the first layer takes.
    config : ConversionConfig

    Raises
    ------
    AudioDataError
        The stage is never active on these examples.
    """
    synapses = Synapses(stage, for_spikes(stage, layers[-1].threshold if layers else 1.0, config))
    with torch.no_grad():
        active = torch.cat([synapses.aggregate(counts).relu().flatten() for counts in counts_after(layers, values)])
    largest = float(np.percentile(active.cpu().numpy(), config.percentile)) or active.max().item()
    if largest <= 0:
        raise AudioDataError(f"layer `{stage.name}` is never active on {len(values)} examples, so it has no threshold; train the network further")
    return largest / config.time_steps


def counts_after(layers: Sequence[SpikingLayer], values: Tensor) -> Iterator[Tensor]:
    """Run converted layers on a few examples at a time: the spike counts of the last, or the values themselves where there is none."""
    for chunk in values.split(CHUNK):
        spikes = chunk
        for layer in layers:
            spikes = layer(spikes)
        yield spikes.sum(0) if layers else chunk


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Put all layers in evaluation mode for a while; each goes back to its own."""
    modes = {layer: layer.training for layer in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for layer, training in modes.items():
            layer.training = training
