"""Sections of a report that are about networks that were converted to spiking ones, and about what networks give back: pictures and sounds."""

import html
from pathlib import Path
from typing import Any

from audiodata.page import embedded, short, table
from audiodata.spatial_report import read_json

TANDEM, CONVERSION, WINDOWS = "tandem.json", "conversion.json", "windows.json"
# Pictures that a run leaves, in the order in which they are shown.
PICTURES = {
    "progress.png": "What was measured over all epochs; a band is a stage, in which the layer named is converted and trained.",
    "conversion.png": "Activations of the network without spikes, and what each layer's neurons make of them.",
    "reconstructions.png": "Some examples and what the network gives back.",
    "spectrograms.png": "A mixture, its sources and what was separated.",
}


def run_sections(run: Path) -> str:
    """What a run's folder holds of conversion and of pictures; empty where there is nothing."""
    parts = [_sides(run / TANDEM), _layers(run / CONVERSION)]
    parts += [picture(run / name, about) for name, about in PICTURES.items()]
    return "\n".join(part for part in parts if part)


def windows(folder: Path) -> str:
    """Section on conversions with different numbers of time steps."""
    found = read_json(folder / WINDOWS)
    columns = ("method", "seed", "time steps", found["label"], "operations / ANN's")
    rows = [[row["method"], _or_dash(row["seed"]), row["time_steps"], short(row["value"]), short(row["ratio"])] for row in found["rows"]]
    rows.insert(0, ["ANN", "-", "-", short(found["ann"]), 1])
    about = f"{found['network']} on the split {found['split']}, dashed the network without spikes."
    return f"<h2>Time steps: {html.escape(folder.name)}</h2>" + table(columns, rows) + picture(folder / "windows.png", about)


def picture(path: Path, about: str) -> str:
    """Show a picture file with a line on it; nothing where there is none."""
    return f"<p>{html.escape(about)}</p>{embedded(path.read_bytes(), 'png', about)}" if path.is_file() else ""


def _sides(path: Path) -> str:
    """Table of ANN, conversion and training on the way, and of the stages."""
    if not path.is_file():
        return ""
    found = read_json(path)
    sides = [(name, short(found[name])) for name in ("ann", "primitive", "progressive")]
    sides.append(("share of the gap closed", _or_dash(short(found["gap_closed"]))))
    stages = [(one["layer"], short(_or_dash(one["threshold"])), one["epochs"], _or_dash(one["best_epoch"])) for one in found["stages"]]
    head = f"<h3>Conversion, layer by layer: {found['figure']} on {found['split']}</h3>"
    return head + table(("", ""), sides) + table(("layer", "threshold", "epochs", "best epoch"), stages)


def _layers(path: Path) -> str:
    """Table of what conversion did to each layer."""
    if not path.is_file():
        return ""
    found = read_json(path)
    columns = ("layer", "neurons", "threshold", "silent", "saturated", "spikes per step", "quantisation", "spike timing", "against the ANN")
    rows = [_layer_row(one) for one in found["layers"]]
    head = f"<h3>Errors of each layer: mean magnitudes in thresholds, {found['examples']} examples, {found['time_steps']} time steps</h3>"
    return head + table(columns, rows)


def _layer_row(one: dict[str, Any]) -> list[Any]:
    errors = [short(one["errors"][kind]["in_thresholds"]["mean_absolute"]) for kind in ("quantisation", "timing", "total")]
    return [one["layer"], one["neurons"], *(short(one[name]) for name in ("threshold", "silent", "saturated", "firing_rate")), *errors]


def _or_dash(value: Any) -> Any:
    return "-" if value is None else value
