"""Sections of a report that are about events: examples, what the events are like, attention, and trainings with several seeds."""

import html
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from audiodata import event_pictures, pictures
from audiodata.errors import CacheError
from audiodata.events.binning import frames
from audiodata.events.cropping import downsampled_size
from audiodata.events.polarities import channel_count
from audiodata.events.record import MICROSECONDS_PER_SECOND, Events, SensorSize, make_events
from audiodata.events.statistics import summarise
from audiodata.features import FEATURES
from audiodata.page import embedded, image, short, table
from audiodata.shards import Cache
from audiodata.spatial_report import read_json
from audiodata.text_hashes import unit_hashes

EXAMPLES_DRAWN = 4
EXAMPLES_MEASURED = 60
ATTENTION_DRAWN = 3
LIST_STEPS = 64  # time steps that a list of events is drawn in
ATTENTION, REPEATS, DEGRADATION = "attention.npz", "repeats.json", "degradation.json"


def of_different_classes(examples: pd.DataFrame) -> pd.DataFrame:
    """Choose a few examples, each of another class."""
    ids = pa.table({name: pa.array(examples[name], pa.large_string()) for name in ("label", "example_id")})
    first = ids.group_by("label").aggregate([("example_id", "min")])["example_id_min"].sort()[:EXAMPLES_DRAWN].to_pylist()
    return examples[examples["example_id"].isin(first)].sort_values("example_id")


def is_of_events(cache: Cache, name: str) -> bool:
    """Whether a feature is made of events."""
    return cache.manifest["features"][name]["axes"][0] in ("time", "event")


def feature(cache: Cache, name: str) -> str:
    """A few examples of a feature of events; of frames of a camera also one that moves."""
    layout, chosen = cache.manifest["features"][name], of_different_classes(cache.examples)
    arrays, titles = [cache.read(example_id)[name] for example_id in chosen["example_id"]], chosen["label"].tolist()
    if layout["dtype"].startswith("float"):
        return _one_step(arrays, titles, layout, name)
    arrays = [_frames(cache, name, array) for array in arrays]
    if arrays[0].ndim == 3:
        return image(event_pictures.raster_examples(arrays, titles, _seconds(cache)), name)
    moving = embedded(event_pictures.gif(arrays[0], _seconds(cache)), "gif", f"{name}, moving")
    return image(event_pictures.frame_examples(arrays, titles), name) + "<p>The first of them, moving:</p>" + moving


def _one_step(arrays: list[np.ndarray], titles: list[str], layout: dict[str, Any], name: str) -> str:
    """Draw the middle time step of arrays [time, polarity, row, column] that hold other numbers than counts."""
    middle = len(arrays[0]) // 2
    drawn = pictures.feature_examples([array[middle] for array in arrays], titles, {**layout, "axes": layout["axes"][1:]}, 0.0)
    return f"<p>Time step {middle} of {len(arrays[0])}, the first polarity.</p>" + image(drawn, name)


def statistics(cache: Cache) -> str:
    """What the events of each sense are like, from lists of events where the cache has such, else from frames."""
    names = {FEATURES[name].source: name for name in sorted(cache.manifest["features"], reverse=True) if _is_counted(cache, name)}
    return "<h2>Events</h2>" + "".join(_measured(cache, names[sense]) for sense in sorted(names, reverse=True)) if names else ""


def _is_counted(cache: Cache, name: str) -> bool:
    return name in FEATURES and is_of_events(cache, name) and not cache.manifest["features"][name]["dtype"].startswith("float")


def _measured(cache: Cache, name: str) -> str:
    ids = cache.examples["example_id"]
    chosen = ids.iloc[np.argsort(unit_hashes(0, "statistics", ids), kind="stable")[:EXAMPLES_MEASURED]]
    found = summarise([_events(cache, name, cache.read(example_id)[name]) for example_id in chosen])
    facts = {
        "examples": found.recordings,
        "events of an example, median": found.events,
        "events / s, median": found.event_rate_hz,
        "addresses with an event, median share": found.active_share,
        "events / s of an active address, median": found.rate_median_hz,
        "interval of an address and polarity, median / ms": found.interval_median_us / 1000,
        "ON events, share": found.on_share,
    }
    rows = [(key, f"{value:,.0f}" if value >= 1000 else f"{value:.3g}") for key, value in facts.items() if not math.isnan(value)]
    listed = cache.manifest["features"][name]["axes"][0] == "event"
    coarse = "" if listed else "; times are those of the frames, and what frames don't count is not seen"
    figure = event_pictures.statistics(found, titles=(name,))
    return f"<p>From <code>{html.escape(name)}</code>{coarse}.</p>" + table(("", ""), rows) + image(figure, f"rates and intervals of {name}")


def _frames(cache: Cache, name: str, array: np.ndarray) -> np.ndarray:
    """Frames [time, polarity, row, column] or [time, polarity, channel] of either form of a feature."""
    if cache.manifest["features"][name]["axes"][0] == "time":
        return array
    return frames(_events(cache, name, array), LIST_STEPS, _window_us(cache), values="count", polarity="both")


def _events(cache: Cache, name: str, array: np.ndarray) -> Events:
    """Events of either form of a feature; those of frames at the start of their time step."""
    if cache.manifest["features"][name]["axes"][0] == "event":
        fields = array.T
        return make_events(fields[0], fields[1], fields[2] if len(fields) == 4 else None, fields[-1], _sensor(cache, name))
    fields = np.repeat(np.argwhere(array), array[array > 0], axis=0).T
    rows, columns = (array.shape[2], array.shape[3]) if array.ndim == 4 else (1, array.shape[2])
    start_us = fields[0] * _window_us(cache) // len(array)
    return make_events(start_us, fields[-1], fields[2] if array.ndim == 4 else None, fields[1], (columns, rows, array.shape[1]))


def _sensor(cache: Cache, name: str) -> SensorSize:
    """Columns, rows and polarities of a list of events."""
    kind = FEATURES[name]
    size = tuple(cache.manifest["audio"]["sensors"][kind.source])
    config = kind.config(**cache.manifest["catalog"]["features"][name])
    columns, rows, _ = config.sensor_after(size) if kind.source == "visual" else downsampled_size(size, config.channels_per_band)
    return columns, rows, channel_count(config.polarity, size[2])


def _window_us(cache: Cache) -> int:
    return cache.manifest["audio"]["segment_samples"]


def _seconds(cache: Cache) -> float:
    return _window_us(cache) / MICROSECONDS_PER_SECOND


def votes(metrics: dict[str, Any]) -> list[tuple[str, Any]]:
    """Facts of a run that only networks of events have; empty for others."""
    facts = [(f"accuracy of the {sense} part", short(share)) for sense, share in (metrics.get("senses") or {}).items()]
    facts += [(f"mean attention, {sense}", short(weight)) for sense, weight in (metrics.get("attention") or {}).items()]
    names = {"silent": "examples without an answer, share", "tied": "examples with several answers, share"}
    return facts + [(name, short(metrics[key])) for key, name in names.items() if metrics.get(key) is not None]


def attention(cache: Cache, run: Path) -> str:
    """Weights of the senses over time for a few examples of different classes; empty for a run without.

    Raises
    ------
    CacheError
        The file is damaged.
    """
    if not (run / ATTENTION).is_file():
        return ""
    found = _read_attention(run / ATTENTION)
    chosen = np.unique(found["label"], return_index=True)[1][:ATTENTION_DRAWN]
    drawn = [_attended(cache, {name: values[place] for name, values in found.items()}) for place in chosen]
    return "<h3>Attention over time</h3>" + "".join(drawn)


def _read_attention(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path) as file:
            return {name: file[name] for name in ("weights", "label", "predicted", "example_id")}
    except (OSError, ValueError, KeyError) as error:
        raise CacheError(f"{path}: not readable as attention over time ({error}); evaluate the run again") from None


def _attended(cache: Cache, example: dict[str, Any]) -> str:
    known = example["example_id"] in cache.examples["example_id"].to_numpy()  # a run may have been evaluated on another cache
    features = cache.read(str(example["example_id"])) if known else {}
    seen, heard = (features.get(f"{sense}_frames") for sense in ("visual", "auditory"))
    title = f"{example['label']}, taken for {example['predicted']}"
    return image(event_pictures.attention(example["weights"], seen, heard, title), f"attention: {title}")


def repeats(folder: Path) -> str:
    """Table and curves of trainings that ``models repeat`` made with several seeds."""
    found = read_json(folder / REPEATS)
    rows = [
        (*(row[key] for key in ("method", "structure", "modality", "dataset")), name, *(_shown(figure[key], name) for key in ("mean", "std", "best")))
        for row in found["rows"]
        for name, figure in row["figures"].items()
    ]
    title = f"<h2>Several seeds: {html.escape(found['split'])}, {len(found['seeds'])} trainings each</h2>"
    columns = ("method", "structure", "modality", "data set", "figure", "mean", "std", "best")
    return title + table(columns, rows) + _picture_beside(folder / REPEATS, "curves of several seeds")


def degradation(folder: Path) -> str:
    """Accuracies that ``models degrade`` measured while the events of one sense got worse."""
    found = read_json(folder / DEGRADATION)
    rows = [(network["name"], *(f"{100 * result['accuracy']:.1f}" for result in network["results"])) for network in found["networks"]]
    title = f"<h2>Degraded {html.escape(found['sense'])} events, on {html.escape(found['split'])}</h2>"
    about = f"<p>Accuracy in % of {found['examples']} examples; across: {html.escape(found['meaning'])}.</p>"
    columns = ("network", *(f"{amount:g}" for amount in found["amounts"]))
    return title + about + table(columns, rows) + _picture_beside(folder / DEGRADATION, "accuracy against degradation")


def _picture_beside(path: Path, description: str) -> str:
    """The picture that a command wrote with a result; nothing where it wrote none."""
    picture = path.with_suffix(".png")
    return embedded(picture.read_bytes(), "png", description) if picture.is_file() else ""


def _shown(value: float | None, name: str) -> str:
    """Shares in percent, errors in degrees."""
    if value is None:
        return "-"
    return f"{value:.2f}°" if name.endswith("_deg") else f"{100 * value:.2f} %"
