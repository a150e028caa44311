"""Picture of trainings that were repeated with several seeds."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from audiodata.pictures import tidy

COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#bbbbbb")
SPLITS = {"val": "validation split", "train": "training split"}
SCORES = {"accuracy": "accuracy", "doa_accuracy": "share of right directions"}


def repeat_curves(found: dict[str, Any]) -> Figure:
    """Draw a score over the epochs: for each network the mean over the seeds, and around it a band of one standard deviation.

    Parameters
    ----------
    found : dict
        The content of ``repeats.json``.
    """
    drawn = found["curves"]
    split, _, score = drawn.partition("_")
    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.subplots()
    for number, row in enumerate(row for row in found["rows"] if drawn in row["curves"]):
        colour = COLOURS[number % len(COLOURS)]
        mean = 100 * np.array(row["curves"][drawn]["mean"])
        epochs = np.arange(1, len(mean) + 1)
        axes.plot(epochs, mean, color=colour, label=row["method"], marker="o" if len(mean) == 1 else "")
        if row["curves"][drawn]["std"]:
            deviation = 100 * np.array(row["curves"][drawn]["std"])
            axes.fill_between(epochs, mean - deviation, mean + deviation, color=colour, alpha=0.2, linewidth=0)
    axes.set(xlabel="epoch", ylabel=f"{SCORES[score]} / %")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    seeds = f"{len(found['seeds'])} seeds" if len(found["seeds"]) > 1 else "one seed"
    axes.set_title(f"{SCORES[score]} on the {SPLITS[split]}: mean of {seeds}, band of one standard deviation", fontsize=9, loc="left")
    axes.legend(frameon=False, fontsize=9)
    tidy(axes)
    return figure
