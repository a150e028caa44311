"""Pictures of a cache and of a training run, each a function from data to a matplotlib figure."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

SPLIT_COLOURS = {"train": "#4477aa", "val": "#ccbb44", "test": "#ee6677"}
SCORES = {"loss": "loss", "mae": "mean error / degrees", "doa_accuracy": "right directions", "accuracy": "accuracy"}
NEURONS_DRAWN = 400


def class_balance(examples: pd.DataFrame, classes: Sequence[str]) -> Figure:
    """Bars of examples per class, stacked by split."""
    counts = examples.groupby(["label", "split"]).size().unstack(fill_value=0).reindex(list(classes), fill_value=0)
    figure = Figure(figsize=(7, 0.9 + 0.28 * len(classes)), layout="constrained")
    axes = figure.subplots()
    left = np.zeros(len(counts))
    for split in (name for name in SPLIT_COLOURS if name in counts):
        axes.barh(counts.index.astype(str), counts[split], left=left, color=SPLIT_COLOURS[split], label=split)
        left += counts[split].to_numpy()
    axes.invert_yaxis()
    axes.set_xlabel("examples")
    axes.legend(frameon=False, ncols=3, loc="lower right", bbox_to_anchor=(1, 1))
    tidy(axes)
    return figure


def feature_examples(arrays: Sequence[np.ndarray], titles: Sequence[str], layout: Mapping[str, Any], seconds: float) -> Figure:
    """The first channel (or pair of channels) of one feature for a few examples, time to the right.

    Parameters
    ----------
    arrays : sequence of array [channel or pair, frame, value] or [channel, row, column]
    titles : sequence of str
    layout : mapping
        The manifest's entry of the feature: ``axes`` and ``unit``.
    seconds : float
        Length of an example; 0 for images.
    """
    figure = Figure(figsize=(2.6 * len(arrays), 2.3), layout="constrained")
    all_axes = figure.subplots(1, len(arrays), sharey=True, squeeze=False)[0]
    low, high, shades = _shading(arrays, layout)
    for axes, array, title in zip(all_axes, arrays, titles, strict=True):
        image = array[0].T if "frame" in layout["axes"] else array[0][::-1]
        extent = (0, seconds or image.shape[1], 0, image.shape[0])
        drawn = axes.imshow(image, origin="lower", aspect="auto", extent=extent, cmap=shades, vmin=low, vmax=high, interpolation="nearest")
        axes.set_title(title, fontsize=8)
        axes.set_xlabel("time / s" if seconds else "column")
    all_axes[0].set_ylabel(layout["axes"][-1] if "frame" in layout["axes"] else "row")
    figure.colorbar(drawn, ax=all_axes, label=layout["unit"], pad=0.01)
    return figure


def waveform_examples(arrays: Sequence[np.ndarray], titles: Sequence[str], layout: Mapping[str, Any], seconds: float) -> Figure:
    """All channels of a few waveforms, the first at the top.

    Parameters
    ----------
    arrays : sequence of array [channel, sample]
    titles, layout, seconds
        As for `feature_examples`.
    """
    channels = len(arrays[0])
    figure = Figure(figsize=(2.6 * len(arrays), 0.6 + 0.8 * channels), layout="constrained")
    grid = figure.subplots(channels, len(arrays), sharex=True, sharey=True, squeeze=False)
    for column, array, title in zip(grid.T, arrays, titles, strict=True):
        column[0].set_title(title, fontsize=8)
        column[-1].set_xlabel("time / s")
        for axes, samples in zip(column, array, strict=True):
            axes.plot(np.linspace(0, seconds, len(samples), endpoint=False), samples, linewidth=0.3, color=SPLIT_COLOURS["train"])
            tidy(axes)
    figure.supylabel(layout["unit"], fontsize=8)
    return figure


def _shading(arrays: Sequence[np.ndarray], layout: Mapping[str, Any]) -> tuple[float, float, str]:
    """Lowest and highest value that is told apart, and the colours between them; differences of channels lie on both sides of 0."""
    low, high = (float(np.percentile(np.stack(arrays), share)) for share in (1, 99))
    if layout["unit"] == "rad":
        return -np.pi, np.pi, "twilight_shifted"
    if layout["axes"][0] == "pair":
        limit = max(-low, high, 1.0)
        return -limit, limit, "RdBu_r"
    return low, high, "magma"


def learning_curve(curves: pd.DataFrame) -> Figure:
    """Loss and scores per epoch, training and validation.

    Parameters
    ----------
    curves : DataFrame
        ``epoch`` and columns like ``train_loss``; of the scores of `SCORES`, those that it has are drawn.
    """
    drawn = {score: label for score, label in SCORES.items() if {f"train_{score}", f"val_{score}"} & set(curves)}
    figure = Figure(figsize=(3.5 * len(drawn), 2.6), layout="constrained")
    for axes, (score, label) in zip(figure.subplots(1, len(drawn), squeeze=False)[0], drawn.items(), strict=True):
        for split in ("train", "val"):
            column = f"{split}_{score}"
            if column in curves:
                rows = curves[["epoch", column]].dropna()
                axes.plot(rows["epoch"], rows[column], marker=".", color=SPLIT_COLOURS[split], label=split)
        axes.set(xlabel="epoch", ylabel=label)
        axes.legend(frameon=False)
        tidy(axes)
    return figure


def confusion(matrix: np.ndarray, classes: Sequence[str]) -> Figure:
    """Confusion matrix: true class down, predicted class across, counts written in."""
    size = 2.2 + 0.38 * len(classes)
    figure = Figure(figsize=(size, size), layout="constrained")
    axes = figure.subplots()
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(matrix):
        axes.text(column, row, int(count), ha="center", va="center", fontsize=8, color="white" if share[row, column] > 0.5 else "black")
    axes.set_xticks(range(len(classes)), classes, rotation=45, ha="right", fontsize=8)
    axes.set_yticks(range(len(classes)), classes, fontsize=8)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    return figure


def layer_activity(layers: Mapping[str, np.ndarray]) -> Figure:
    """Spikes per layer over time, input at the top (Courregé and Gandeel 2024, figure 25).

    Parameters
    ----------
    layers : mapping of str to array [T, neuron]
        In the order of the network; of a large layer, evenly spaced neurons are drawn.
    """
    figure = Figure(figsize=(8, 1.5 * len(layers) + 0.6), layout="constrained")
    all_axes = figure.subplots(len(layers), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (name, spikes) in zip(all_axes, layers.items(), strict=True):
        flat = np.asarray(spikes, dtype=np.float32).reshape(len(spikes), -1)
        drawn = flat[:, np.unique(np.linspace(0, flat.shape[1] - 1, NEURONS_DRAWN).astype(int))]
        axes.imshow(drawn.T, aspect="auto", cmap="binary", interpolation="nearest", extent=(-0.5, len(flat) - 0.5, drawn.shape[1], 0))
        axes.set_yticks([])
        axes.set_ylabel(f"{name}\n{flat.shape[1]} neurons", fontsize=8)
        axes.set_title(f"{flat.mean():.3f} spikes per neuron and step", fontsize=8, loc="right")
    all_axes[-1].set_xlabel("time step")
    return figure


def tidy(axes: Any) -> None:
    """Take away the two lines of a frame that say nothing."""
    axes.spines[["top", "right"]].set_visible(False)
