"""Pictures of directions: correlations with the lags that geometry gives, true and predicted azimuths, errors, and noise.

Polar axes look down on the array: the front is at the top, the left on the left.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from audiodata.geometry import circular_error_deg, pairs
from audiodata.pictures import SPLIT_COLOURS, tidy

DRAWN_LINES = 600
SECTOR_DEG = 15.0
MANY_DIRECTIONS = 72
COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#bbbbbb", "#000000")
ERROR_SHADES = LinearSegmentedColormap.from_list("errors", ["#9db7d1", "#e0b04c", "#c8102e"])
TRUE_LAG_COLOUR = "#35e0ff"
SPARE, FEWEST_LAGS = 1.6, 3.5  # lags are drawn up to this many times the largest true one, and so many at least


def located_correlations(
    arrays: Sequence[np.ndarray], titles: Sequence[str], lags: np.ndarray, true_lags: Sequence[np.ndarray], seconds: float
) -> Figure:
    """GCC-PHAT over time, a row an example and a column a pair, with the lag at which a sound from its azimuth arrives.

    Parameters
    ----------
    arrays : sequence of array [pair, frame, lag]
    titles : sequence of str
        One an example.
    lags : array [lag]
        In samples.
    true_lags : sequence of array [pair]
        In samples.
    seconds : float
        Length of an example.
    """
    count = len(arrays[0])
    channels = round((1 + np.sqrt(1 + 8 * count)) / 2)
    figure = Figure(figsize=(1.2 + 1.75 * count, 0.7 + 1.75 * len(arrays)), layout="constrained")
    grid = figure.subplots(len(arrays), count, sharex=True, sharey=True, squeeze=False)
    high = float(np.percentile(np.stack(arrays), 99.7))
    half = (lags[1] - lags[0]) / 2 if len(lags) > 1 else 0.5
    # no more of the lags than what a sound can reach, with a margin
    limit = min(np.abs(lags).max() + half, max(SPARE * np.abs(np.stack(true_lags)).max(), FEWEST_LAGS))
    for row, array, title, expected in zip(grid, arrays, titles, true_lags, strict=True):
        for axes, pair, lag in zip(row, array, expected, strict=True):
            extent = (0, seconds, lags[0] - half, lags[-1] + half)
            drawn = axes.imshow(pair.T, origin="lower", aspect="auto", extent=extent, cmap="magma", vmin=0, vmax=high, interpolation="nearest")
            axes.axhline(lag, color="black", linewidth=2.4, alpha=0.7)
            axes.axhline(lag, color=TRUE_LAG_COLOUR, linewidth=1.2)
            axes.set_ylim(-limit, limit)
        row[0].set_ylabel(f"{title}\nlag / samples", fontsize=8)
    for axes, (first, second) in zip(grid[0], pairs(channels), strict=True):
        axes.set_title(f"channels {first}, {second}", fontsize=8)
    for axes in grid[-1]:
        axes.set_xlabel("time / s")
    figure.colorbar(drawn, ax=grid, label="correlation", pad=0.01)
    return figure


def azimuth_balance(examples: pd.DataFrame) -> Figure:
    """How many examples come from where, one polar panel a split.

    Parameters
    ----------
    examples : DataFrame
        With ``split`` and ``azimuth_deg``.
    """
    located = examples[examples["azimuth_deg"].notna()]
    splits = [split for split in SPLIT_COLOURS if (located["split"] == split).any()]
    figure = Figure(figsize=(2.9 * len(splits), 3.2), layout="constrained")
    grid = figure.subplots(1, len(splits), subplot_kw={"projection": "polar"}, squeeze=False)[0]
    azimuths = np.unique(located["azimuth_deg"])
    step = 360.0 / min(max(len(azimuths), 8), MANY_DIRECTIONS)
    for axes, split in zip(grid, splits, strict=True):
        _as_seen_from_above(axes)
        of_split = located.loc[located["split"] == split, "azimuth_deg"].to_numpy()
        counts = np.bincount(np.round(of_split / step).astype(int) % round(360 / step), minlength=round(360 / step))
        axes.bar(np.radians(np.arange(len(counts)) * step), counts, width=np.radians(0.85 * step), color=SPLIT_COLOURS[split])
        axes.set_title(f"{split}: {len(of_split)} examples", fontsize=9)
        axes.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    return figure


def predicted_azimuths(azimuth_deg: np.ndarray, predicted_deg: np.ndarray) -> Figure:
    """True against predicted azimuths on the circle, mean error by direction, and the same as a scatter.

    Parameters
    ----------
    azimuth_deg, predicted_deg : array [example]
        NaN where there is none.
    """
    known = ~(np.isnan(azimuth_deg) | np.isnan(predicted_deg))
    azimuth_deg, predicted_deg = azimuth_deg[known], predicted_deg[known]
    errors = circular_error_deg(azimuth_deg, predicted_deg)
    figure = Figure(figsize=(10.5, 3.7), layout="constrained")
    _draw_spokes(figure.add_subplot(1, 3, 1, projection="polar"), figure, azimuth_deg, predicted_deg, errors)
    _draw_error_by_direction(figure.add_subplot(1, 3, 2, projection="polar"), azimuth_deg, errors)
    axes = figure.add_subplot(1, 3, 3)
    axes.plot([0, 360], [0, 360], color="#999999", linewidth=0.8, zorder=0)
    for start, stop in ((0, 180), (180, 360)):  # where front and back are confused: 180 - azimuth, on the circle
        axes.plot([start, stop], [stop, start], color="#cccccc", linewidth=0.8, linestyle="--", zorder=0)
    axes.scatter(azimuth_deg, predicted_deg, s=7, color=COLOURS[0], alpha=_alpha(len(errors)), linewidths=0)
    axes.set(xlim=(0, 360), ylim=(0, 360), aspect="equal", xlabel="true azimuth / degrees", ylabel="predicted azimuth / degrees")
    axes.set(xticks=range(0, 361, 90), yticks=range(0, 361, 90))
    axes.set_title("dashed: front and back confused", fontsize=9)
    tidy(axes)
    return figure


def _draw_spokes(axes: Any, figure: Figure, azimuth_deg: np.ndarray, predicted_deg: np.ndarray, errors: np.ndarray) -> None:
    """Draw a line from each true azimuth on the outer ring to the predicted one on the inner ring, the worst on top."""
    _as_seen_from_above(axes)
    shades = ScalarMappable(Normalize(0, max(10.0, float(np.ceil(errors.max(initial=0.0) / 10) * 10))), ERROR_SHADES)
    kept = np.unique(np.linspace(0, len(errors) - 1, min(DRAWN_LINES, len(errors))).round().astype(int))
    for at in kept[np.argsort(errors[kept], kind="stable")]:
        start, turn = np.radians(azimuth_deg[at]), np.radians((predicted_deg[at] - azimuth_deg[at] + 180.0) % 360.0 - 180.0)
        share = np.linspace(0.0, 1.0, 20)
        axes.plot(start + turn * share, 1.0 - 0.5 * share, color=shades.to_rgba(errors[at]), linewidth=0.8, alpha=0.7)
    axes.set(ylim=(0, 1.05), yticks=[0.5, 1.0], yticklabels=[])
    axes.set_title("from true (outside) to predicted (inside)", fontsize=9)
    figure.colorbar(shades, ax=axes, label="error / degrees", shrink=0.6, pad=0.12)


def _draw_error_by_direction(axes: Any, azimuth_deg: np.ndarray, errors: np.ndarray) -> None:
    _as_seen_from_above(axes)
    count = round(360 / SECTOR_DEG)
    sector = np.round(azimuth_deg / SECTOR_DEG).astype(int) % count
    totals, counts = np.bincount(sector, errors, count), np.bincount(sector, minlength=count)
    means = np.divide(totals, counts, out=np.zeros(count), where=counts > 0)
    axes.bar(np.radians(np.arange(count) * SECTOR_DEG), means, width=np.radians(0.85 * SECTOR_DEG), color=COLOURS[1])
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.set_title("mean error by true azimuth / degrees", fontsize=9)


def azimuth_errors(azimuth_deg: np.ndarray, predicted_deg: np.ndarray, tolerance_deg: Sequence[float] = (2.5, 5.0)) -> Figure:
    """Histogram of errors along the circle, and the share of examples below each error.

    Parameters
    ----------
    azimuth_deg, predicted_deg : array [example]
        NaN where there is none.
    tolerance_deg : sequence of float
        Errors that are marked.
    """
    errors = circular_error_deg(azimuth_deg, predicted_deg)
    errors = np.sort(errors[~np.isnan(errors)])
    figure = Figure(figsize=(8, 2.8), layout="constrained")
    counts, below = figure.subplots(1, 2)
    heights, _, _ = counts.hist(errors, bins=np.arange(0, 181, 5), color=COLOURS[0])
    counts.set(xlabel="error / degrees", ylabel="examples", xlim=(0, 180), xticks=range(0, 181, 30))
    counts.set(yscale="symlog", ylim=(0, 1.6 * max(heights.max(), 1)))
    below.step(np.maximum(errors, 0.1), 100 * np.arange(1, len(errors) + 1) / max(len(errors), 1), where="post", color=COLOURS[0])
    for tolerance in tolerance_deg:
        below.axvline(tolerance, color="#999999", linewidth=0.8, linestyle="--")
    below.set(xscale="log", xlim=(0.1, 180), ylim=(0, 101), xlabel="error / degrees", ylabel="examples below / %")
    below.set_xticks([0.1, 1, 2.5, 5, 10, 45, 180], ["0.1", "1", "2.5", "5", "10", "45", "180"], fontsize=8)
    below.minorticks_off()
    tidy(counts)
    tidy(below)
    return figure


def robustness_curves(found: Mapping[str, Any]) -> Figure:
    """Error and accuracies against the signal-to-noise ratio, a line a network.

    Parameters
    ----------
    found : mapping
        What ``models robustness`` wrote: ``snr_db`` (None = without noise), ``noise`` and ``networks``.
    """
    levels = sorted(level for level in found["snr_db"] if level is not None)
    places = [*levels, *([_clean_place(levels)] if None in found["snr_db"] else [])]
    panels = _panels(found)
    figure = Figure(figsize=(3.4 * len(panels), 3.3), layout="constrained")
    for axes, (label, read) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        for network, colour in zip(found["networks"], _cycle(len(found["networks"])), strict=True):
            values = {result["snr_db"]: read(result) for result in network["results"]}
            drawn = [values.get(level, np.nan) for level in [*levels, *([None] if None in values else [])]]
            axes.plot(places, [np.nan if value is None else value for value in drawn], marker="o", markersize=4, color=colour, label=network["name"])
        axes.set(xlabel="signal-to-noise ratio / dB", ylabel=label, ylim=(0, None) if "error" in label else (0, 104))
        axes.set_xticks(places, [f"{level:g}" for level in levels] + ["clean"] * (len(places) - len(levels)))
        axes.grid(axis="y", color="#e5e5e5", linewidth=0.8)
        axes.set_axisbelow(True)
        tidy(axes)
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=min(len(labels), 4), frameon=False, fontsize=9)
    figure.suptitle(f"{found['noise']['kind']} noise, {found['examples']} examples of {found['split']}", fontsize=9, x=0.01, ha="left")
    return figure


def _clean_place(levels: Sequence[float]) -> float:
    if len(levels) < 2:
        return (levels[0] if levels else 0.0) + 10.0
    return levels[-1] + float(np.max(np.diff(levels)))


def _panels(found: Mapping[str, Any]) -> list[tuple[str, Callable[[Mapping[str, Any]], float | None]]]:
    """What can be drawn of the results: label of the axis, and how a result is read."""
    results = [result for network in found["networks"] for result in network["results"]]
    tolerances = next((list(result["doa_accuracy"]) for result in results if result["doa_accuracy"]), [])
    panels = [("mean error / degrees", lambda result: result["mae_deg"])] if tolerances else []
    for tolerance in tolerances:
        panels.append((f"within {tolerance} degrees / %", lambda result, key=tolerance: _percent(result["doa_accuracy"].get(key))))
    if any(result["accuracy"] is not None for result in results):
        panels.append(("right classes / %", lambda result: _percent(result["accuracy"])))
    return panels


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _cycle(count: int) -> list[str]:
    return [COLOURS[number % len(COLOURS)] for number in range(count)]


def _alpha(count: int) -> float:
    return float(np.clip(300 / max(count, 1), 0.3, 0.9))


def _as_seen_from_above(axes: Any) -> None:
    axes.set_theta_zero_location("N")
    axes.set_theta_direction(1)
    axes.set_xticks(np.radians(range(0, 360, 45)), ["front", "45", "left", "135", "back", "225", "right", "315"], fontsize=8)
    axes.tick_params(axis="y", labelsize=7)
    axes.grid(color="#dddddd", linewidth=0.7)
    axes.set_axisbelow(True)
