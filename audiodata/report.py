"""The data card of a cache as one HTML file: what is in it, what is missing and why, how it looks, and how a training on it went."""

import html
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from audiodata import event_report, pictures, spatial_report, tandem_report
from audiodata.datasets import dataset_settings
from audiodata.errors import CatalogError
from audiodata.event_report import DEGRADATION, REPEATS
from audiodata.page import PAGE, image, short, table
from audiodata.reasons import REASONS
from audiodata.shards import LEDGER_FILE, Cache, open_cache, read_ledger
from audiodata.spatial_report import COMPARISON, ROBUSTNESS
from audiodata.tandem_report import WINDOWS
from audiodata.timing import samples_to_seconds

METRICS = "metrics.json"


def write_report(cache_path: Path, out: Path, run: Path | None = None) -> None:
    """Write the report.

    Parameters
    ----------
    cache_path : path
        A finished cache.
    out : path
        The HTML file; pictures are inside it.
    run : path, optional
        A training run's folder: adds its learning curve, confusion matrix, directions, attention and spikes; or a folder that ``models
        compare``, ``repeat``, ``robustness`` or ``degrade`` wrote.

    Raises
    ------
    CacheError
        Not a cache, or a run without metrics.
    """
    cache = open_cache(cache_path)
    about = cache.manifest["catalog"]["about"]
    title = about["title"] or cache.manifest["catalog"]["name"]
    sections = [_about(cache), _balance(cache), *([spatial_report.azimuths(cache)] if spatial_report.has_directions(cache) else []), _missing(cache)]
    sections += [*(_feature(cache, name) for name in cache.manifest["features"]), event_report.statistics(cache)]
    sections += _results(cache, Path(run)) if run else []
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(PAGE.format(title=html.escape(title), body="\n".join([*sections, _provenance(cache)])), encoding="utf-8")


def _about(cache: Cache) -> str:
    manifest = cache.manifest
    about, splits = manifest["catalog"]["about"], manifest["splits"]
    facts = [("data set", manifest["catalog"]["dataset"]["name"])]
    facts += [(key, about[key]) for key in ("summary", "homepage", "licence", "citation")]
    counts = [(split, entry["examples"], entry["clips"], entry["groups"]) for split, entry in splits.items()]
    scheme, grouping = manifest["catalog"]["split"]["scheme"], _grouping(manifest["catalog"]["dataset"])
    grouped = f"; groups: {html.escape(grouping)} (<code>grouping</code> of the data set)" if grouping else ""
    return (
        table(("", ""), [fact for fact in facts if fact[1]])
        + f"<h2>Splits</h2><p>Scheme: {html.escape(scheme)}{grouped}; no group is in two splits.</p>"
        + table(("split", "examples", "clips", "groups"), counts)
    )


def _grouping(dataset: dict[str, Any]) -> str:
    """What the data set keeps on one side of a split, where it leaves the choice."""
    try:
        return getattr(dataset_settings(dataset)[1], "grouping", "")
    except CatalogError:  # a data set that this version does not know
        return ""


def _balance(cache: Cache) -> str:
    return "<h2>Class balance</h2>" + image(pictures.class_balance(cache.examples, cache.manifest["classes"]), "examples per class")


def _missing(cache: Cache) -> str:
    counts = read_ledger(cache.path / LEDGER_FILE, ["status", "reason"]).value_counts().reset_index()
    meanings = {reason: entry.meaning for reason, entry in REASONS.items()}
    rows = [(row.status, row.reason, row.count, meanings.get(row.reason, "")) for row in counts.itertuples()]
    return "<h2>What became of every clip</h2>" + table(("status", "reason", "clips", "meaning"), rows)


def _feature(cache: Cache, name: str) -> str:
    layout = cache.manifest["features"][name]
    sizes = zip(layout["shape"], layout["axes"], strict=True)
    shape = " x ".join(f"any number of {axis}s" if size is None else f"{size} {axis}" for size, axis in sizes)
    heading = f"<h2>{html.escape(name)}</h2><p>{shape}, {layout['dtype']}, {html.escape(layout['unit'])}</p>"
    if event_report.is_of_events(cache, name):
        return heading + event_report.feature(cache, name)
    return heading + (spatial_report.correlations(cache) if spatial_report.can_show_lags(cache, name) else _drawn(cache, name))


def _drawn(cache: Cache, name: str) -> str:
    audio = cache.manifest["audio"]
    seconds = samples_to_seconds(audio["segment_samples"], audio["sample_rate"]) if audio["sample_rate"] else 0.0
    layout = cache.manifest["features"][name]
    of_pairs = layout["axes"][0] == "pair"
    if of_pairs and spatial_report.has_directions(cache):
        chosen = spatial_report.of_different_directions(cache.examples)
    else:
        chosen = event_report.of_different_classes(cache.examples)
    arrays = [cache.read(example_id)[name] for example_id in chosen["example_id"]]
    draw = pictures.waveform_examples if layout["axes"][-1] == "sample" else pictures.feature_examples
    drawn = image(draw(arrays, _titles(chosen), layout, seconds), name)
    return ("<p>Channels 0 and 1.</p>" if of_pairs else "") + drawn


def _titles(examples: pd.DataFrame) -> list[str]:
    directions = [f" {azimuth:g}°" if azimuth == azimuth else "" for azimuth in examples.get("azimuth_deg", [])]
    return [f"{label}{direction}" for label, direction in zip(examples["label"], directions or [""] * len(examples), strict=True)]


def _results(cache: Cache, folder: Path) -> list[str]:
    """What a folder holds: a run, a comparison of several, curves over noise; a folder without any of them is taken for an unfinished run."""
    known = {COMPARISON: spatial_report.comparison, ROBUSTNESS: spatial_report.robustness}
    known |= {REPEATS: event_report.repeats, DEGRADATION: event_report.degradation, WINDOWS: tandem_report.windows}
    sections = [section(folder) for name, section in known.items() if (folder / name).is_file()]
    return sections + ([] if sections and not (folder / METRICS).is_file() else [_run(cache, folder)])


def _run(cache: Cache, run: Path) -> str:
    metrics = spatial_report.read_json(run / METRICS)
    facts = [(key, short(metrics[key])) for key in ("network", "split", "accuracy", "chance", "parameters") if metrics.get(key) is not None]
    facts += event_report.votes(metrics)
    parts = [f"<h2>Training: {html.escape(run.name)}</h2>", table(("", ""), facts)]
    if (run / "curves.csv").is_file():
        parts.append(image(pictures.learning_curve(pd.read_csv(run / "curves.csv")), "learning curve"))
    parts.append(spatial_report.predictions(run, metrics))
    if metrics.get("confusion_matrix"):
        parts.append(image(pictures.confusion(np.array(metrics["confusion_matrix"]), metrics["classes"]), "confusion matrix"))
    if (run / "activity.npz").is_file():
        with np.load(run / "activity.npz") as layers:
            parts.append("<h3>Spikes per layer for one example</h3>" + image(pictures.layer_activity(dict(layers)), "spikes"))
    return "\n".join([*parts, event_report.attention(cache, run), tandem_report.run_sections(run)])


def _provenance(cache: Cache) -> str:
    manifest = cache.manifest
    shards = [(shard["file"], shard["examples"], f"{shard['bytes']:,}", shard["sha256"][:16]) for shard in manifest["shards"]]
    return (
        "<h2>How to make the same bytes again</h2>"
        f"<p>Catalog fingerprint <code>{manifest['catalog_fingerprint']}</code></p>"
        + table(("package", "version"), manifest["versions"].items())
        + table(("shard", "examples", "bytes", "SHA-256"), shards)
        + f"<details><summary>The catalog as resolved</summary><pre><code>{html.escape(json.dumps(manifest['catalog'], indent=1))}"
        "</code></pre></details>"
    )
