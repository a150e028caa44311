"""Train several networks on one cache, and put what was measured into one table: ``comparison.json`` and ``comparison.md``."""

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from audiodata.shards import replacing
from models import MODELS
from models.choices import Choice, check_known, choose, settings_for
from models.runs import write_json

COMPARISON, TABLE = "comparison.json", "comparison.md"
# Figures of networks that neither classify nor localize: name in `metrics.json`, heading and form in a table.
FIGURES = (
    ("mse", "MSE", "{:.5f}"),
    ("si_sdr", "SI-SDR (dB)", "{:.2f}"),
    ("si_sdr_improvement", "SI-SDR improvement (dB)", "{:.2f}"),
)
WORDS = 2  # columns of words, to the left; all others hold numbers


def compare(names: Sequence[str], cache: Path, folder: Path, given: dict[str, Any], *, resume: bool = False) -> dict[str, Any]:
    """Train and measure networks one after another, those that learn nothing measure only.

    Parameters
    ----------
    names : sequence of str
        Networks and presets.
    cache : Path
    folder : Path
        Gets a run's folder for each, of that name, and both files.
    given : dict
        Settings; each goes to those networks that know it.
    resume : bool
        Go on with what is there; what has ended is not trained again.

    Returns
    -------
    dict
        The content of ``comparison.json``: ``cache``, ``split`` and ``rows``, see `row_of`.

    Raises
    ------
    AudioDataError
        An unknown name, a setting that none of them knows, or what training raises.
    """
    choices = choose_all(names, given)
    chosen = [(choice, *settings_for(choice, meant_for(choice, given), cache)) for choice in choices]
    rows = []
    for choice, settings, training in chosen:
        page = importlib.import_module(MODELS[choice.network].page)
        metrics = page.train(choice.network, cache, folder / choice.name, settings, training, resume=resume)
        rows.append(row_of(choice.name, metrics))
    found = {"cache": metrics["evaluated_on"], "split": metrics["split"], "rows": rows}
    write_json(folder / COMPARISON, found)
    with replacing(folder / TABLE) as temporary:
        temporary.write_text(markdown(found), encoding="utf-8")
    return found


def choose_all(names: Sequence[str], given: dict[str, Any]) -> list[Choice]:
    """Find networks and presets by their names, each once.

    Raises
    ------
    AudioDataError
        An unknown name, or a setting that none of them knows.
    """
    choices = [choose(name) for name in dict.fromkeys(names)]
    check_known(given, list(dict.fromkeys(key for choice in choices for key in choice.known)))
    return choices


def meant_for(choice: Choice, given: dict[str, Any]) -> dict[str, Any]:
    """Those of some settings that a network or its training knows."""
    return {key: value for key, value in given.items() if key in choice.known}


def row_of(name: str, metrics: dict[str, Any]) -> dict[str, Any]:
    """What the table says of one network; None where it has no such figure.

    Returns
    -------
    dict
        ``method``, ``type`` ("SNN", "ANN", "classical"), ``time_steps``, ``doa_mae_deg``, ``doa_accuracy`` (share by tolerance in degrees),
        ``accuracy`` (of classes), ``mse`` (of reconstructions), ``si_sdr`` and ``si_sdr_improvement`` (of separated sounds, dB), ``parameters``,
        and per example ``synaptic_operations`` (additions) and ``macs``.
    """
    kind = "SNN" if "conversion" in metrics else MODELS[metrics["network"]].kind
    doa, operations = metrics.get("doa"), metrics["operations_per_example"]
    return {
        "method": name,
        "type": kind,
        "time_steps": metrics["time_steps"] or (1 if kind == "ANN" else None),
        "doa_mae_deg": doa and doa["mae_deg"],
        "doa_accuracy": doa and doa["accuracy"],
        "accuracy": metrics.get("accuracy"),
        **{name: metrics.get(name) for name, _, _ in FIGURES},
        "parameters": metrics["parameters"],
        "synaptic_operations": sum(operations["synaptic_operations"].values()),
        "macs": sum(operations["macs"].values()),
    }


def table(rows: Sequence[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Columns and cells in the form of SpikSLC-Net's Tables 1 and 5; columns of what none of them does are left out."""
    tolerances = sorted({tolerance for row in rows for tolerance in row["doa_accuracy"] or {}}, key=float)
    figures = [figure for figure in FIGURES if any(row[figure[0]] is not None for row in rows)]
    located, classified = bool(tolerances), not figures or any(row["accuracy"] is not None for row in rows)
    columns = ["Method", "Type", "Time steps", *(["DoA MAE (deg)"] if located else [])]
    columns += [f"DoA acc. < {tolerance} deg (%)" for tolerance in tolerances]
    columns += ["SEC acc. (%)" if located else "Accuracy (%)"] if classified else []
    columns += [*(heading for _, heading, _ in figures), "Parameters", "Synaptic operations", "MACs"]
    return columns, [_cells(row, tolerances, classified, figures) for row in rows]


def _cells(row: dict[str, Any], tolerances: Sequence[str], classified: bool, figures: Sequence[tuple[str, str, str]]) -> list[str]:
    within = row["doa_accuracy"] or {}
    shares = [*(within.get(tolerance) for tolerance in tolerances), *([row["accuracy"]] if classified else [])]
    directions = [shown(row["doa_mae_deg"], "{:.2f}")] if tolerances else []
    others = [shown(row[name], form) for name, _, form in figures]
    counts = [shown(row[name], "{:,.0f}") for name in ("parameters", "synaptic_operations", "macs")]
    percents = [shown(share if share is None else 100 * share, "{:.2f}") for share in shares]
    return [row["method"], row["type"], shown(row["time_steps"], "{}"), *directions, *percents, *others, *counts]


def shown(value: float | None, form: str) -> str:
    """Figure as text; a dash where there is none."""
    return "-" if value is None else form.format(value)


def markdown(found: dict[str, Any]) -> str:
    """Table as text that reads well as it stands, with what it was measured on."""
    about = f"Measured on {measured_on(found)}; operations per example."
    return "\n".join([about, "", *markdown_table(*table(found["rows"]), WORDS), ""])


def measured_on(found: dict[str, Any]) -> str:
    """Words for ``split`` and ``cache`` of a result."""
    return f"the split `{found['split']}` of the cache `{found['cache']['catalog']}` ({found['cache']['catalog_fingerprint'][:12]})"


def markdown_table(columns: Sequence[str], cells: Sequence[Sequence[str]], words: int) -> list[str]:
    """Lines of a table whose columns stand below each other: the first `words` to the left, all others to the right."""
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    rule = ["-" * width if place < words else f"{'-' * (width - 1)}:" for place, width in enumerate(widths)]
    return [_line(line, widths, words) for line in (columns, rule, *cells)]


def _line(cells: Sequence[str], widths: Sequence[int], words: int) -> str:
    padded = [cell.ljust(width) if place < words else cell.rjust(width) for place, (cell, width) in enumerate(zip(cells, widths, strict=True))]
    return f"| {' | '.join(padded)} |"
