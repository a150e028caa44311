"""The data card of a cache as one HTML file: what is in it, what is missing and why, how it looks, and how a training on it went."""

import base64
import html
import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from audiodata import pictures
from audiodata.errors import CacheError
from audiodata.reasons import REASONS
from audiodata.shards import Cache, open_cache
from audiodata.timing import samples_to_seconds

EXAMPLES_DRAWN = 4
PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #222; }}
table {{ border-collapse: collapse; margin: .6rem 0 1.2rem; }}
td, th {{ padding: .15rem .8rem .15rem 0; text-align: left; vertical-align: top; }}
td.number, th.number {{ text-align: right; font-variant-numeric: tabular-nums; }} th {{ border-bottom: 1px solid #999; font-weight: 600; }}
code {{ font-size: 13px; overflow-wrap: anywhere; }} img {{ max-width: 100%; }} h2 {{ margin-top: 2rem; }}
</style>
<h1>{title}</h1>
{body}
</html>
"""


def write_report(cache_path: Path, out: Path, run: Path | None = None) -> None:
    """Write the report.

    Parameters
    ----------
    cache_path : path
        A finished cache.
    out : path
        The HTML file; pictures are inside it.
    run : path, optional
        A training run's folder: adds its learning curve, confusion matrix and spikes.

    Raises
    ------
    CacheError
        Not a cache, or a run without metrics.
    """
    cache = open_cache(cache_path)
    about = cache.manifest["catalog"]["about"]
    title = about["title"] or cache.manifest["catalog"]["name"]
    sections = [_about(cache), _balance(cache), _missing(cache), *(_feature(cache, name) for name in cache.manifest["features"])]
    sections += [_run(Path(run))] if run else []
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(PAGE.format(title=html.escape(title), body="\n".join([*sections, _provenance(cache)])), encoding="utf-8")


def _about(cache: Cache) -> str:
    manifest = cache.manifest
    about, splits = manifest["catalog"]["about"], manifest["splits"]
    facts = [("data set", manifest["catalog"]["dataset"]["name"])]
    facts += [(key, about[key]) for key in ("summary", "homepage", "licence", "citation")]
    counts = [(split, entry["examples"], entry["clips"], entry["groups"]) for split, entry in splits.items()]
    scheme = manifest["catalog"]["split"]["scheme"]
    return (
        _table(("", ""), [fact for fact in facts if fact[1]])
        + f"<h2>Splits</h2><p>Scheme: {html.escape(scheme)}; no group is in two splits.</p>"
        + _table(("split", "examples", "clips", "groups"), counts)
    )


def _balance(cache: Cache) -> str:
    return "<h2>Class balance</h2>" + _image(pictures.class_balance(cache.examples, cache.manifest["classes"]), "examples per class")


def _missing(cache: Cache) -> str:
    counts = cache.ledger.value_counts(["status", "reason"]).reset_index()
    meanings = {reason: entry.meaning for reason, entry in REASONS.items()}
    rows = [(row.status, row.reason, row.count, meanings.get(row.reason, "")) for row in counts.itertuples()]
    return "<h2>What became of every clip</h2>" + _table(("status", "reason", "clips", "meaning"), rows)


def _feature(cache: Cache, name: str) -> str:
    layout, audio = cache.manifest["features"][name], cache.manifest["audio"]
    seconds = samples_to_seconds(audio["segment_samples"], audio["sample_rate"]) if audio["sample_rate"] else 0.0
    chosen = cache.examples.sort_values("example_id").drop_duplicates("label").head(EXAMPLES_DRAWN)
    arrays = [cache.read(example_id)[name] for example_id in chosen["example_id"]]
    shape = " x ".join(f"{size} {axis}" for size, axis in zip(layout["shape"], layout["axes"], strict=True))
    figure = pictures.feature_examples(arrays, list(chosen["label"]), layout, seconds)
    return f"<h2>{html.escape(name)}</h2><p>{shape}, {layout['dtype']}, {html.escape(layout['unit'])}</p>" + _image(figure, name)


def _run(run: Path) -> str:
    metrics = _read_metrics(run)
    facts = [(key.replace("_", " "), metrics[key]) for key in ("network", "split", "accuracy", "chance", "parameters") if key in metrics]
    parts = [f"<h2>Training: {html.escape(run.name)}</h2>", _table(("", ""), [(key, _short(value)) for key, value in facts])]
    if (run / "curves.csv").is_file():
        parts.append(_image(pictures.learning_curve(pd.read_csv(run / "curves.csv")), "learning curve"))
    if "confusion_matrix" in metrics:
        parts.append(_image(pictures.confusion(np.array(metrics["confusion_matrix"]), metrics["classes"]), "confusion matrix"))
    if (run / "activity.npz").is_file():
        with np.load(run / "activity.npz") as layers:
            parts.append("<h3>Spikes per layer for one example</h3>" + _image(pictures.layer_activity(dict(layers)), "spikes"))
    return "\n".join(parts)


def _read_metrics(run: Path) -> dict[str, Any]:
    try:
        return json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CacheError(f"{run}: no readable metrics.json ({error}); train or evaluate first") from None


def _provenance(cache: Cache) -> str:
    manifest = cache.manifest
    shards = [(shard["file"], shard["examples"], f"{shard['bytes']:,}", shard["sha256"][:16]) for shard in manifest["shards"]]
    return (
        "<h2>How to make the same bytes again</h2>"
        f"<p>Catalog fingerprint <code>{manifest['catalog_fingerprint']}</code></p>"
        + _table(("package", "version"), manifest["versions"].items())
        + _table(("shard", "examples", "bytes", "SHA-256"), shards)
        + f"<details><summary>The catalog as resolved</summary><pre><code>{html.escape(json.dumps(manifest['catalog'], indent=1))}"
        "</code></pre></details>"
    )


def _table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    head = "".join(f"<th>{html.escape(column)}</th>" for column in columns) if any(columns) else ""
    body = "".join(f"<tr>{''.join(_cell(value) for value in row)}</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def _cell(value: Any) -> str:
    kind = ' class="number"' if isinstance(value, int | float | np.number) else ""
    return f"<td{kind}>{html.escape(str(value))}</td>"


def _short(value: Any) -> Any:
    return f"{value:.4g}" if isinstance(value, float) else value


def _image(figure: Any, description: str) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f'<p><img alt="{html.escape(description)}" src="data:image/png;base64,{data}"></p>'
