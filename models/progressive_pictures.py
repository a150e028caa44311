"""Picture of a progressive training, as in Wu et al. (2021, Fig. 5)."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from audiodata.pictures import SPLIT_COLOURS, tidy

SHADES = ("#eeeeee", "#ffffff")
ANN_COLOUR, PRIMITIVE_COLOUR = "#222222", "#aa3377"


def stage_curves(curves: pd.DataFrame, found: Mapping[str, Any], label: str) -> Figure:
    """Draw what was measured over all epochs; each stage is shaded and begins with what conversion left, before any training.

    Parameters
    ----------
    curves : DataFrame
        The content of ``curves.csv``.
    found : mapping
        That of ``tandem.json``.
    label : str
        Of the figure that is drawn.
    """
    figure = Figure(figsize=(7.2, 3.6), layout="constrained")
    axes = figure.subplots()
    first = 0
    for number, stage in enumerate(stage for stage in found["stages"] if stage["epochs"]):
        _draw_stage(axes, curves, stage, found["figure"], first, named=number == 0)
        axes.axvspan(first, first + stage["epochs"], color=SHADES[number % 2], zorder=0)
        middle = first + stage["epochs"] / 2
        axes.text(middle, 1.01, stage["layer"], transform=axes.get_xaxis_transform(), ha="center", va="bottom", fontsize=8, rotation=30)
        first += stage["epochs"]
    for name, colour, style in (("ann", ANN_COLOUR, "--"), ("primitive", PRIMITIVE_COLOUR, ":")):
        words = {"ann": "ANN", "primitive": "primitive conversion"}[name]
        axes.axhline(found["watched"][name], color=colour, linestyle=style, linewidth=1, label=f"{words}, {found['watched']['split']}")
    axes.set(xlabel="epoch", ylabel=label, xlim=(0, max(first, 1)))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(frameon=False, fontsize=8)
    tidy(axes)
    return figure


def _draw_stage(axes: Axes, curves: pd.DataFrame, stage: Mapping[str, Any], score: str, first: int, *, named: bool) -> None:
    """Draw the epochs `first` + 1 and on; the first stage names the lines."""
    rows = curves.iloc[first : first + stage["epochs"]]
    for split in ("train", "val"):
        column = f"{split}_{score}"
        start = [(first, stage["start"][column])] if column in stage["start"] else []
        points = [*start, *zip(rows["epoch"], rows[column], strict=True)]
        words = {"train": "training", "val": "validation"}[split] if named else None
        axes.plot(*zip(*points, strict=True), color=SPLIT_COLOURS[split], marker=".", label=words)
    if stage["best_epoch"]:
        axes.plot(stage["best_epoch"], stage["best"][f"val_{score}"], marker="o", color=SPLIT_COLOURS["val"], fillstyle="none", markersize=8)


def window_curves(ann: float, methods: Mapping[str, list[dict[str, Any]]], label: str) -> Figure:
    """Draw how well networks do their task, and their operations beside the ANN's, over the time window (Fig. 6 A and B).

    Parameters
    ----------
    ann : float
        The ANN's own figure.
    methods : mapping of str to list of dict
        Means by time window, see `models.windows.means`; a band is one standard deviation.
    label : str
        Of the figure.
    """
    figure = Figure(figsize=(7.2, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    for (method, rows), colour in zip(methods.items(), (PRIMITIVE_COLOUR, SPLIT_COLOURS["train"]), strict=True):
        if rows:
            _draw_windows(left, right, rows, colour, method)
    left.axhline(ann, color=ANN_COLOUR, linestyle="--", linewidth=1, label="ANN")
    right.axhline(1, color=ANN_COLOUR, linestyle="--", linewidth=1)
    left.set(ylabel=label)
    right.set(ylabel="operations / ANN's", ylim=(0, None))
    for axes in (left, right):
        axes.set(xlabel="time steps", xscale="log")
        steps = sorted({row["time_steps"] for rows in methods.values() for row in rows})
        axes.set_xticks(steps, [str(each) for each in steps])
        axes.minorticks_off()
        tidy(axes)
    left.legend(frameon=False, fontsize=8)
    right.legend(frameon=False, fontsize=8)
    return figure


def _draw_windows(left: Axes, right: Axes, rows: list[dict[str, Any]], colour: str, method: str) -> None:
    steps, values = [row["time_steps"] for row in rows], [row["value"] for row in rows]
    left.plot(steps, values, color=colour, marker="o", label=f"{method} conversion" if method == "primitive" else f"{method} training")
    if all(row["std"] is not None for row in rows):
        band = [[value + sign * row["std"] for value, row in zip(values, rows, strict=True)] for sign in (-1, 1)]
        left.fill_between(steps, *band, color=colour, alpha=0.2, linewidth=0)
    right.plot(steps, [row["ratio"] for row in rows], color=colour, marker="o", label="all layers")
    right.plot(steps, [row["ratio_without_dense"] for row in rows], color=colour, marker="o", fillstyle="none", linestyle=":", label="without first")
