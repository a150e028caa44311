"""Pictures of events: rasters, accumulated frames, a moving picture, attention over time, and made events against recorded ones.

Frames are arrays as features give them, with the polarities OFF and ON, or one for both. Colours: ON blue, OFF red, which people who see
fewer colours tell apart; dark grey for one polarity, and for as many ON as OFF.
"""

import io
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from PIL import Image

from audiodata.events.record import MICROSECONDS_PER_SECOND, Events
from audiodata.events.statistics import QUANTILES, Summary
from audiodata.pictures import tidy

ON, OFF, BOTH = "#4477aa", "#ee6677", "#333333"
SENSES = {"visual": "#228833", "auditory": "#aa3377"}
SUMMARIES = ("#ee6677", "#4477aa")
SLICES = 6
DRAWN_EVENTS = 60_000
GIF_SIDE = 168
GIF_STEP_MS = 20  # what a browser shows at least


def raster(events: Events, title: str = "") -> Figure:
    """Each event as a dot, time to the right; up goes the channel, or of a sensor with rows the pixel, row after row."""
    figure = Figure(figsize=(7, 2.6), layout="constrained")
    axes = figure.subplots()
    array = events.array[:: max(1, -(-len(events.array) // DRAWN_EVENTS))]
    visual = events.sense == "visual"
    address = array["y"].astype(np.int64) * events.sensor_size[0] + array["x"] if visual else array["x"]
    time_s = (array["t"] - array["t"][:1].sum()) / MICROSECONDS_PER_SECOND
    for value, name, colour in _polarities(events.sensor_size[2]):
        chosen = array["p"] == value
        axes.scatter(time_s[chosen], address[chosen], s=0.6, color=colour, label=name, linewidths=0)
    axes.set(xlabel="time / s", ylabel="row × columns + column" if visual else "channel", title=title)
    axes.set_ylim(-0.5, events.sensor_size[0] * events.sensor_size[1] - 0.5)
    if visual:
        axes.invert_yaxis()
    _legend(axes, events.sensor_size[2])
    tidy(axes)
    return figure


def accumulated_frame(events: Events, title: str = "") -> Figure:
    """All events of a sensor with rows in one picture."""
    columns, rows, polarities = events.sensor_size
    counts = np.zeros((polarities, rows, columns), np.int64)
    np.add.at(counts, (events.array["p"], events.array["y"], events.array["x"]), 1)
    figure = Figure(figsize=(3, 3), layout="constrained")
    axes = figure.subplots()
    _show(axes, counts)
    axes.set_title(title, fontsize=8)
    return figure


def frame_examples(arrays: Sequence[np.ndarray], titles: Sequence[str]) -> Figure:
    """All frames of an example added up, and beside that the same in parts of equal length; a row an example.

    Parameters
    ----------
    arrays : sequence of array [time, polarity, row, column]
    titles : sequence of str
    """
    parts = min(SLICES, min(len(array) for array in arrays))
    figure = Figure(figsize=(1.15 * (parts + 1) + 0.4, 1.25 * len(arrays) + 0.3), layout="constrained")
    grid = figure.subplots(len(arrays), parts + 1, squeeze=False)
    for row, array, title in zip(grid, arrays, titles, strict=True):
        edges = np.arange(parts + 1) * len(array) // parts
        slices = [array[first:last].sum(axis=0, dtype=np.int64) for first, last in itertools.pairwise(edges)]
        _show(row[0], np.sum(slices, axis=0))
        row[0].set_ylabel(title, fontsize=8)
        highest = max(_reach(counts) for counts in slices)
        for axes, counts in zip(row[1:], slices, strict=True):
            _show(axes, counts, highest)
    grid[0][0].set_title("all", fontsize=8)
    for number, axes in enumerate(grid[0][1:], start=1):
        axes.set_title(f"part {number} of {parts}", fontsize=8)
    return figure


def raster_examples(arrays: Sequence[np.ndarray], titles: Sequence[str], seconds: float) -> Figure:
    """Time to the right and channels up, an example beside the other.

    Parameters
    ----------
    arrays : sequence of array [time, polarity, channel]
    titles : sequence of str
    seconds : float
        Length of an example.
    """
    figure = Figure(figsize=(2.6 * len(arrays), 2.3), layout="constrained")
    all_axes = figure.subplots(1, len(arrays), sharey=True, squeeze=False)[0]
    for axes, array, title in zip(all_axes, arrays, titles, strict=True):
        _show_channels(axes, array, seconds)
        axes.set_title(title, fontsize=8)
        axes.set_xlabel("time / s")
    all_axes[0].set_ylabel("channel")
    return figure


def gif(frames: np.ndarray, seconds: float) -> bytes:
    """A moving picture that plays for ever, at most as fast as a browser can.

    Parameters
    ----------
    frames : array [time, polarity, row, column]
    seconds : float
        Length of the example.

    Returns
    -------
    bytes
        A GIF file; the same ones for the same frames.
    """
    shades = _which(frames)
    factor = max(1, GIF_SIDE // max(shades.shape[1:]))
    images = [_indexed(np.kron(shade, np.ones((factor, factor), np.uint8))) for shade in shades]
    step_ms = max(GIF_STEP_MS, round(1000 * seconds / len(images) / 10) * 10)
    buffer = io.BytesIO()
    images[0].save(buffer, format="GIF", save_all=True, append_images=images[1:], duration=step_ms, loop=0, optimize=False, disposal=1)
    return buffer.getvalue()


def attention(weights: np.ndarray, visual: np.ndarray | None = None, auditory: np.ndarray | None = None, title: str = "") -> Figure:
    """Weights that a network gives to what it sees and what it hears, above what there was to see and to hear.

    Parameters
    ----------
    weights : array [time, 2]
        Visual, auditory.
    visual : array [time, polarity, row, column], optional
        Drawn as events of a time step.
    auditory : array [time, polarity, channel], optional
    title : str
    """
    heights = [1.5] + [0.8] * (visual is not None) + [1.2] * (auditory is not None)
    figure = Figure(figsize=(7, 1.3 * sum(heights)), layout="constrained")
    all_axes = list(figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0])
    step = np.arange(len(weights))
    for (sense, colour), line in zip(SENSES.items(), np.asarray(weights).T, strict=True):
        all_axes[0].plot(step, line, drawstyle="steps-mid", color=colour, label=sense)
    all_axes[0].axhline(0, color="#999999", linewidth=0.6)
    all_axes[0].set(ylabel="attention", title=title)
    all_axes[0].legend(frameon=False, ncols=2, fontsize=8)
    if visual is not None:
        all_axes[1].bar(step, visual.reshape(len(visual), -1).sum(axis=1, dtype=np.int64), width=1.0, color=SENSES["visual"])
        all_axes[1].set_ylabel("pixels'\nevents")
    if auditory is not None:
        _show_channels(all_axes[-1], auditory, len(auditory), start=-0.5)
        all_axes[-1].set_ylabel("channel")
    all_axes[-1].set_xlabel("time step")
    for axes in all_axes:
        tidy(axes)
    return figure


def statistics(made: Summary, recorded: Summary | None = None, titles: Sequence[str] = ("made", "recorded")) -> Figure:
    """Rates of addresses, intervals and the rate over time, of made events beside recorded ones.

    Parameters
    ----------
    made : Summary
    recorded : Summary, optional
    titles : sequence of str
        What the two are called.
    """
    figure = Figure(figsize=(10.5, 2.9), layout="constrained")
    rates, intervals, over_time = figure.subplots(1, 3)
    drawn = [made] if recorded is None else [made, recorded]
    for summary, title, colour in zip(drawn, titles, SUMMARIES, strict=False):
        label = f"{title} ({summary.recordings})"
        rates.plot(summary.rate_quantiles_hz, QUANTILES, color=colour, label=label)
        intervals.plot(summary.interval_quantiles_us / 1000, QUANTILES, color=colour, label=label)
        time_s = np.arange(len(summary.rate_over_time_hz)) * summary.bin_us / MICROSECONDS_PER_SECOND
        over_time.plot(time_s, summary.rate_over_time_hz / 1000, drawstyle="steps-post", color=colour, label=label)
    rates.set(xscale="log", ylim=(0, 1), xlabel="events / s of an active address", ylabel="share of addresses")
    intervals.set(xscale="log", ylim=(0, 1), xlabel="interval of an address / ms", ylabel="share of intervals")
    over_time.set(xlabel="time / s", ylabel="1000 events / s", ylim=(0, None))
    rates.legend(frameon=False, fontsize=8)
    for axes in (rates, intervals):
        axes.xaxis.set_minor_formatter(NullFormatter())  # on little more than a decade they write over each other
    for axes in (rates, intervals, over_time):
        tidy(axes)
    return figure


def _polarities(count: int) -> list[tuple[int, str, str]]:
    """Value of p, name and colour."""
    return [(0, "events", BOTH)] if count == 1 else [(0, "OFF", OFF), (1, "ON", ON)]


def _legend(axes: Any, count: int) -> None:
    if count > 1:
        axes.legend(frameon=False, fontsize=8, markerscale=8, ncols=2, loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0)


def _show(axes: Any, counts: np.ndarray, highest: float | None = None) -> None:
    """Draw counts [polarity, row, column] as a picture."""
    axes.imshow(_coloured(counts, highest or _reach(counts)), interpolation="nearest")
    axes.set(xticks=[], yticks=[])


def _show_channels(axes: Any, array: np.ndarray, duration: float, start: float = 0.0) -> None:
    """Draw counts [time, polarity, channel], time to the right."""
    image = _coloured(array.transpose(1, 2, 0), _reach(array.transpose(1, 2, 0)))
    extent = (start, start + duration, -0.5, array.shape[2] - 0.5)
    axes.imshow(image, origin="lower", aspect="auto", extent=extent, interpolation="nearest")


def _reach(counts: np.ndarray) -> float:
    """How many events are drawn in full colour: few places have more."""
    total = counts.sum(axis=0)
    return float(np.percentile(total[total > 0], 95)) if np.any(total > 0) else 1.0


def _coloured(counts: np.ndarray, highest: float) -> np.ndarray:
    """Colours of counts [polarity, row, column], white where there are none: float [row, column, 3]."""
    total = counts.sum(axis=0)
    strength = np.sqrt(np.clip(total / highest, 0.0, 1.0))[..., None]
    if len(counts) == 1:
        return 1.0 - strength * (1.0 - _rgb(BOTH))
    balance = (counts[1].astype(np.float64) - counts[0]) / np.maximum(total, 1)
    pure = np.where(balance[..., None] > 0, _rgb(ON), _rgb(OFF))
    mixed = _rgb(BOTH) + np.abs(balance[..., None]) * (pure - _rgb(BOTH))
    return 1.0 - strength * (1.0 - mixed)


def _rgb(colour: str) -> np.ndarray:
    return np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)]) / 255


def _which(frames: np.ndarray) -> np.ndarray:
    """0 where there is nothing, 1 for OFF, 2 for ON, 3 for both or a sensor with one polarity: uint8 [time, row, column]."""
    present = (frames > 0).astype(np.uint8)
    return 3 * present[:, 0] if frames.shape[1] == 1 else present[:, 0] + 2 * present[:, 1]


def _indexed(shades: np.ndarray) -> Image.Image:
    image = Image.fromarray(shades, mode="P")
    image.putpalette([round(255 * part) for colour in ("#ffffff", OFF, ON, BOTH) for part in _rgb(colour)])
    return image
