"""Where a converted network loses what its ANN knew: errors of every layer, told apart by their cause (Wu et al. 2021, section 3.2).

A layer's neurons can count to N_s, in steps of the threshold theta. With V the aggregate potential that really arrives (Eq. 9), c the spikes
that are really fired and a the ANN's own activation:

    quantisation    theta * level(V) - relu(V)      level(V) = floor(V / theta) within 0 .. N_s, or rounded
    timing          theta * (c - level(V))          spikes too many or too few, because the potential came in an unlucky order
    total           theta * c - a                   both, and what the layers before did wrong

`conversion_report` measures them, `models.compare.markdown_table` writes what `table` gives, `models.conversion_pictures` draws.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from models.chain import Stage, stages
from models.compare import markdown_table, shown
from models.spiking_chain import SpikingLayer, SpikingNetwork
from models.tandem import CHUNK, evaluating
from models.views import Features

CONVERSION = "conversion.json"
# Fine enough that a percentile read off them is good to a picture's pixel; neighbours are put together for the histogram.
BINS, BINS_TOGETHER = 2000, 40
ERRORS = {"quantisation": "quantisation", "timing": "spike timing", "total": "against the ANN"}


class LayerValues(NamedTuple):
    """What one layer does on some examples.

    Attributes
    ----------
    activations : Tensor [B, ...]
        Of the ANN, 0 or above.
    potentials : Tensor [B, ...]
        Aggregate potentials of the spiking layer, of either sign.
    counts : Tensor [B, ...]
        Its spikes.
    """

    activations: Tensor
    potentials: Tensor
    counts: Tensor


def conversion_report(network: nn.Module, spiking: SpikingNetwork, features: Features, percentile: float = 99.9) -> dict[str, Any]:
    """Measure what conversion did to each layer.

    Parameters
    ----------
    network : Module
        The ANN. It is not changed.
    spiking : SpikingNetwork
        What it was converted to.
    features : Tensor [B, ...] or dict
        Examples, the more the better: 100 give hundreds of thousands of neurons' values.
    percentile : float
        Of the ANN's activations, to be told beside the largest value that a layer can count to.

    Returns
    -------
    dict
        ``examples``, ``time_steps``, ``percentile``, ``readout`` (see `readout_errors`) and ``layers``, for each

        - ``layer``, ``neurons`` (of one example), ``threshold``, ``largest`` (threshold x time steps),
        - ``percentile`` and ``maximum`` of the ANN's activations,
        - ``saturated`` (share of the ANN's activations above ``largest``), ``silent`` (share of neurons without a spike), ``firing_rate``
          (spikes per neuron and time step),
        - ``errors``: of `ERRORS`, the ``mean`` and ``mean_absolute`` error in units of the ANN's activations, and both ``in_thresholds``,
        - ``histogram``: ``edges`` and ``values``, the number of the ANN's activations above 0 between them; ``zeros``, those that are 0.
    """
    hidden = stages(network.chain())[:-1]
    with torch.no_grad(), evaluating(network), evaluating(spiking):
        values, _ = network.prepare(features)
        maxima = _maxima(hidden, values)
        tallies = [_Tally(layer, maximum) for layer, maximum in zip(spiking.layers, maxima, strict=True)]
        for chunk in values.split(CHUNK):
            for tally, found in zip(tallies, layer_values(hidden, spiking.layers, chunk), strict=True):
                tally.add(found)
        readout = readout_errors(network, spiking, values)
    layers = [{"layer": stage.name} | tally.summary(percentile) for stage, tally in zip(hidden, tallies, strict=True)]
    return {"examples": len(values), "time_steps": spiking.time_steps, "percentile": percentile, "layers": layers, "readout": readout}


def layer_values(hidden: Sequence[Stage], layers: Sequence[SpikingLayer], values: Tensor) -> Iterator[LayerValues]:
    """Run an ANN and its spiking network side by side, layer by layer, on values ``[B, ...]`` that the first one takes."""
    analog = spikes = arriving = values
    for stage, layer in zip(hidden, layers, strict=True):
        analog, spikes = stage.forward(analog), layer(spikes)
        counts = spikes.sum(0)
        yield LayerValues(analog, layer.synapses.aggregate(arriving), counts)
        arriving = counts


def levels(potentials: Tensor, layer: SpikingLayer) -> Tensor:
    """Spike counts that potentials would lead to if all of them came at once: floor(V / theta) within 0..N_s, or rounded (Eq. 10)."""
    start = layer.neuron.dynamics.v_init
    return ((potentials + start) / layer.threshold).floor().clamp(0, layer.time_steps)


def readout_errors(network: nn.Module, spiking: SpikingNetwork, values: Tensor) -> dict[str, Any]:
    """Compare what both readouts give, before anything that comes after the chain.

    Returns
    -------
    dict
        ``layer``; ``mean`` and ``mean_absolute`` error in units of the ANN's values; ``deviation``, the standard deviation of the ANN's values
        over the examples, of one value in the mean: an error as large says that nothing is left.
    """
    *hidden, last = stages(network.chain())
    wanted, found = [], []
    for chunk in values.split(CHUNK):
        analog = spikes = chunk
        for stage, layer in zip(hidden, spiking.layers, strict=True):
            analog, spikes = stage.forward(analog), layer(spikes)
        wanted.append(last.forward(analog))
        found.append(spiking.readout(spikes.sum(0) if hidden else spikes))
    wanted, error = torch.cat(wanted).double(), torch.cat(found).double() - torch.cat(wanted).double()
    deviation = wanted.std(0, correction=0).mean().item()
    return {"layer": last.name, "mean": error.mean().item(), "mean_absolute": error.abs().mean().item(), "deviation": deviation}


def _maxima(hidden: Sequence[Stage], values: Tensor) -> list[float]:
    """Largest activation of each of the ANN's layers."""
    found = [0.0] * len(hidden)
    for chunk in values.split(CHUNK):
        for place, stage in enumerate(hidden):
            chunk = stage.forward(chunk)
            found[place] = max(found[place], chunk.max().item())
    return found


class _Tally:
    """Sums over examples of one layer."""

    def __init__(self, layer: SpikingLayer, maximum: float):
        self.layer = layer
        self.largest = layer.threshold * layer.time_steps
        self.maximum = maximum
        self.examples = self.values = self.saturated = self.silent = self.zeros = 0
        self.spikes = 0.0
        self.errors = {name: np.zeros(2) for name in ERRORS}
        self.bins = np.zeros(BINS, dtype=np.int64)

    def add(self, found: LayerValues) -> None:
        """Take a few examples more."""
        theta, level = self.layer.threshold, levels(found.potentials, self.layer)
        self.examples += len(found.counts)
        self.values += found.counts.numel()
        self.saturated += int((found.activations > self.largest).sum())
        self.silent += int((found.counts == 0).sum())
        self.spikes += found.counts.sum(dtype=torch.float64).item()
        self._add_error("quantisation", theta * level - found.potentials.relu())
        self._add_error("timing", theta * (found.counts - level))
        self._add_error("total", theta * found.counts - found.activations)
        self._add_activations(found.activations)

    def _add_error(self, name: str, error: Tensor) -> None:
        self.errors[name] += [error.sum(dtype=torch.float64).item(), error.abs().sum(dtype=torch.float64).item()]

    def _add_activations(self, activations: Tensor) -> None:
        active = activations[activations > 0]
        self.zeros += activations.numel() - active.numel()
        if active.numel():
            self.bins += np.histogram(active.cpu().numpy(), BINS, (0, self.maximum))[0]

    def summary(self, percentile: float) -> dict[str, Any]:
        """Give the layer's part of the report."""
        theta, edges = self.layer.threshold, np.linspace(0, self.maximum, BINS + 1)
        means = {name: dict(zip(("mean", "mean_absolute"), (sums / self.values).tolist(), strict=True)) for name, sums in self.errors.items()}
        return {
            "neurons": self.values // self.examples,
            "threshold": theta,
            "largest": self.largest,
            "percentile": self._percentile(percentile, edges),
            "maximum": self.maximum,
            "saturated": self.saturated / self.values,
            "silent": self.silent / self.values,
            "firing_rate": self.spikes / self.values / self.layer.time_steps,
            "errors": {
                name: error | {"in_thresholds": {kind: value / theta for kind, value in error.items()}} for name, error in means.items()
            },
            "histogram": {
                "edges": edges[::BINS_TOGETHER].tolist(), "values": self.bins.reshape(-1, BINS_TOGETHER).sum(1).tolist(), "zeros": self.zeros
            },
        }  # fmt: skip

    def _percentile(self, percentile: float, edges: np.ndarray) -> float:
        """Read it off the fine histogram, to within one of its bins; between two values as `numpy.percentile`."""
        up_to_edge = self.zeros + np.concatenate([[0], self.bins.cumsum()])
        rank = percentile / 100 * (self.values - 1)
        low, high = edges[np.searchsorted(up_to_edge, [np.floor(rank), np.ceil(rank)], side="right")]
        return float(low + (rank % 1) * (high - low))


def table(found: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Columns and cells for `models.compare.markdown_table`: a row a layer, mean absolute errors in thresholds; the readout's in its own units."""
    columns = ["Layer", "Neurons", "Threshold", "Saturated (%)", "Silent (%)", "Firing rate (%)", "Quantisation", "Timing", "Total"]
    cells = [_cells(layer) for layer in found["layers"]]
    readout = found["readout"]
    share = readout["mean_absolute"] / readout["deviation"] if readout["deviation"] else None
    last = [readout["layer"], *["-"] * (len(columns) - 2), shown(share, "{:.3f} of std")]
    return columns, [*cells, last]


def _cells(layer: Mapping[str, Any]) -> list[str]:
    percents = [f"{100 * layer[name]:.2f}" for name in ("saturated", "silent", "firing_rate")]
    errors = [f"{layer['errors'][name]['in_thresholds']['mean_absolute']:.3f}" for name in ERRORS]
    return [layer["layer"], f"{layer['neurons']:,}", f"{layer['threshold']:.4g}", *percents, *errors]


def markdown(found: Mapping[str, Any]) -> str:
    """Table as text that reads well as it stands, with what it was measured on."""
    about = f"Measured on {found['examples']} examples, {found['time_steps']} time steps; errors: means of the absolute value, in thresholds."
    return "\n".join([about, "", *markdown_table(*table(found), words=1), ""])
