"""Picture of a conversion: what each layer's activations are like, what it can count to, and what it gets wrong."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from audiodata.pictures import tidy
from models.conversion_report import ERRORS
from models.repeat_pictures import COLOURS

ROW_INCHES = 0.85


def conversion_picture(found: Mapping[str, Any]) -> Figure:
    """Draw a row a layer: to the left how often the ANN's activations occur, in a log scale (Wu et al. 2021, figure 1), to the right its errors.

    Parameters
    ----------
    found : mapping
        What `models.conversion_report.conversion_report` gives, of one layer of spiking neurons at least.
    """
    layers = found["layers"]
    figure = Figure(figsize=(9, 1.2 + ROW_INCHES * len(layers)), layout="constrained")
    grid = figure.add_gridspec(len(layers), 2, width_ratios=(3, 2))
    for row, layer in enumerate(layers):
        activations = figure.add_subplot(grid[row, 0])
        _draw_activations(activations, layer, f"{found['percentile']:g} % of activations are below", COLOURS[row % len(COLOURS)])
    activations.set_xlabel("activation of the ANN")
    errors = figure.add_subplot(grid[:, 1])
    _draw_errors(errors, layers)
    figure.legend(*activations.get_legend_handles_labels(), loc="outside lower left", ncols=2, frameon=False, fontsize=8)
    figure.legend(*errors.get_legend_handles_labels(), loc="outside lower right", ncols=3, frameon=False, fontsize=8)
    return figure


def _draw_activations(axes: Axes, layer: Mapping[str, Any], percentile_label: str, colour: str) -> None:
    edges, values = layer["histogram"]["edges"], layer["histogram"]["values"]
    axes.stairs(values, edges, fill=True, color=colour, alpha=0.6)
    axes.axvline(layer["percentile"], color="#222222", linestyle=":", linewidth=1.2, label=percentile_label)
    axes.axvline(layer["largest"], color="#222222", linewidth=1.0, label="threshold x time steps")
    if any(values):
        axes.set_yscale("log", nonpositive="clip")
        axes.set_ylim(bottom=0.5)
    axes.set_ylabel(layer["layer"], rotation=0, ha="right", va="center", fontsize=8)
    axes.tick_params(labelsize=7)
    tidy(axes)


def _draw_errors(axes: Axes, layers: list[Mapping[str, Any]]) -> None:
    """Bars of mean absolute errors, a group a layer, from the first at the top."""
    places, height = np.arange(len(layers)), 0.8 / len(ERRORS)
    for number, (name, label) in enumerate(ERRORS.items()):
        widths = [layer["errors"][name]["in_thresholds"]["mean_absolute"] for layer in layers]
        axes.barh(places + (number - 1) * height, widths, height, color=COLOURS[number], label=label)
    axes.set_yticks(places, [layer["layer"] for layer in layers], fontsize=8)
    axes.set_ylim(len(layers) - 0.5, -0.5)
    axes.set_xlabel("mean absolute error / thresholds")
    axes.tick_params(axis="x", labelsize=7)
    tidy(axes)
