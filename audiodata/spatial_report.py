"""Sections of a report that are about directions, about several networks side by side, and about noise."""

import html
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from audiodata import spatial_pictures
from audiodata.errors import CacheError
from audiodata.features.spatial import GccPhatConfig, lags
from audiodata.geometry import pair_lags
from audiodata.page import image, short, table
from audiodata.shards import Cache
from audiodata.text_hashes import unit_hashes
from audiodata.timing import samples_to_seconds

DIRECTIONS_DRAWN = 3
PREDICTIONS, COMPARISON, ROBUSTNESS = "predictions.csv", "comparison.json", "robustness.json"


def has_directions(cache: Cache) -> bool:
    """Whether there is an example whose azimuth is known."""
    return "azimuth_deg" in cache.examples and bool(cache.examples["azimuth_deg"].notna().any())


def azimuths(cache: Cache) -> str:
    """How many examples come from where."""
    return "<h2>Directions</h2>" + image(spatial_pictures.azimuth_balance(cache.examples), "examples by azimuth")


def can_show_lags(cache: Cache, name: str) -> bool:
    """Whether a feature is a correlation over lags and the catalog tells which lag belongs to which direction."""
    return name == "gcc_phat" and has_directions(cache) and bool(cache.manifest["catalog"].get("array", {}).get("positions_m"))


def correlations(cache: Cache) -> str:
    """GCC-PHAT of a few directions, with the lags that the geometry gives."""
    catalog, audio = cache.manifest["catalog"], cache.manifest["audio"]
    array, rows = catalog["array"], of_different_directions(cache.examples)
    expected = [
        pair_lags(array["positions_m"], azimuth, audio["sample_rate"], speed_m_s=array["speed_of_sound_m_s"]) for azimuth in rows["azimuth_deg"]
    ]
    figure = spatial_pictures.located_correlations(
        [cache.read(example_id)["gcc_phat"] for example_id in rows["example_id"]],
        [f"{row.label} {row.azimuth_deg:g}°".strip() for row in rows.itertuples()],
        lags(GccPhatConfig(**catalog["features"]["gcc_phat"])),
        expected,
        samples_to_seconds(audio["segment_samples"], audio["sample_rate"]),
    )
    return "<p>Line: the lag of a plane wave from the true azimuth, by the catalog's geometry.</p>" + image(figure, "gcc_phat and true lags")


def of_different_directions(examples: pd.DataFrame) -> pd.DataFrame:
    """Choose long examples, one of each of a few directions that lie evenly round the circle and on no axis of symmetry, if there are such."""
    located = examples[examples["azimuth_deg"].notna()]
    located = located.assign(order=unit_hashes(0, "picture", located["example_id"])).sort_values(["duration_s", "order"], ascending=[False, True])
    wanted = 40.0 + np.arange(DIRECTIONS_DRAWN) * 360.0 / DIRECTIONS_DRAWN
    known = np.unique(located["azimuth_deg"])
    nearest = {float(known[np.argmin(np.abs((known - azimuth + 180.0) % 360.0 - 180.0))]): None for azimuth in wanted}
    return located.drop_duplicates("azimuth_deg").set_index("azimuth_deg", drop=False).loc[list(nearest)]


def predictions(run: Path, metrics: dict[str, Any]) -> str:
    """Predicted against true azimuths of a run; empty for a run that finds no directions."""
    found = metrics.get("doa")
    if not found or not (run / PREDICTIONS).is_file():
        return ""
    predicted = pd.read_csv(run / PREDICTIONS)
    both = (predicted["azimuth_deg"].to_numpy(float), predicted["predicted_azimuth_deg"].to_numpy(float))
    facts = [("examples with a direction", found["examples"]), ("mean error / degrees", short(found["mae_deg"]))]
    facts += [("median error / degrees", short(found["median_deg"]))]
    facts += [(f"within {tolerance} degrees / %", _percent(share)) for tolerance, share in found["accuracy"].items()]
    return (
        f"<h3>Directions on {html.escape(metrics['split'])}</h3>" + table(("", ""), facts)
        + image(spatial_pictures.predicted_azimuths(*both), "predicted against true azimuth")
        + image(spatial_pictures.azimuth_errors(*both, [float(tolerance) for tolerance in found["accuracy"]]), "errors of azimuths")
    )  # fmt: skip


def comparison(folder: Path) -> str:
    """Table of the networks that ``models compare`` measured side by side."""
    found = read_json(folder / COMPARISON)
    rows = found["rows"]
    tolerances = sorted({tolerance for row in rows for tolerance in row["doa_accuracy"] or {}}, key=float)
    columns = ["network", "type", "time steps", "mean error / degrees", *(f"within {tolerance} degrees / %" for tolerance in tolerances)]
    columns += ["right classes / %", "parameters", "synaptic operations", "MACs"]
    cells = [
        (
            row["method"], row["type"], _or_dash(row["time_steps"], ".0f"), _or_dash(row["doa_mae_deg"], ".2f"),
            *(_percent((row["doa_accuracy"] or {}).get(tolerance)) for tolerance in tolerances), _percent(row["accuracy"]),
            *(f"{row[name]:,.0f}" for name in ("parameters", "synaptic_operations", "macs")),
        )
        for row in rows
    ]  # fmt: skip
    return f"<h2>Networks side by side, on {html.escape(found['split'])}</h2>" + table(columns, cells)


def robustness(folder: Path) -> str:
    """Curves over the signal-to-noise ratio that ``models robustness`` measured."""
    found = read_json(folder / ROBUSTNESS)
    title = f"<h2>Noise: {html.escape(found['noise']['kind'])}, on {html.escape(found['split'])}</h2>"
    return title + image(spatial_pictures.robustness_curves(found), "errors against the signal-to-noise ratio")


def read_json(path: Path) -> dict[str, Any]:
    """Read what a command of ``models`` wrote.

    Raises
    ------
    CacheError
        It is not there or damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CacheError(f"{path.parent}: no readable {path.name} ({error}); train or evaluate first") from None


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}"


def _or_dash(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
