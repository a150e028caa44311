"""Picture of networks of which one sense got worse."""

from typing import Any

from matplotlib.figure import Figure

from audiodata.pictures import tidy
from models.repeat_pictures import COLOURS


def degradation_curves(found: dict[str, Any]) -> Figure:
    """Draw accuracies against the amount, a line a network; amounts at equal distances, as they mostly grow by factors.

    Parameters
    ----------
    found : dict
        The content of ``degradation.json``.
    """
    figure = Figure(figsize=(6.0, 3.8), layout="constrained")
    axes = figure.subplots()
    places = range(len(found["amounts"]))
    for number, network in enumerate(found["networks"]):
        values = [100 * result["accuracy"] for result in network["results"]]
        line = "-" if network["uses_sense"] else "--"
        axes.plot(places, values, line, color=COLOURS[number % len(COLOURS)], marker="o", markersize=4, label=network["name"])
    axes.axhline(100 * found["chance"], color="#999999", linewidth=1, linestyle=":", label="chance")
    axes.set(xlabel=found["meaning"], ylabel="accuracy / %", ylim=(0, 104))
    axes.set_xticks(list(places), [f"{amount:g}" for amount in found["amounts"]])
    axes.grid(axis="y", color="#e5e5e5", linewidth=0.8)
    axes.set_axisbelow(True)
    tidy(axes)
    axes.set_title(f"{found['sense']} events degraded ({found['how']}), {found['examples']} examples of {found['split']}", fontsize=9, loc="left")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    return figure
