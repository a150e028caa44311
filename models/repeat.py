"""Train networks with several seeds on one cache: ``repeats.json``, ``repeats.md`` and ``repeats.png``.

The table has the form of Table 1 of Liu et al. (2022), the curves that of its Figure 3. A standard deviation is that of a sample, with n - 1.
"""

import csv
import importlib
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import nn

from audiodata.settings import Settings
from audiodata.shards import open_cache, replacing
from models import MODELS
from models.choices import Choice, settings_for
from models.compare import FIGURES, choose_all, markdown_table, meant_for, measured_on, shown
from models.evaluation import build_network
from models.runs import read_record, write_json
from models.votes import SENSES

FORMAT, FORMAT_VERSION = "audiodata-repeats", 1
CURVES = "curves.csv"
REPEATS, TABLE, PICTURE = "repeats.json", "repeats.md", "repeats.png"
# Curves are drawn of the first of these that all networks have.
DRAWN = ("val_accuracy", "val_doa_accuracy", "train_accuracy", "train_doa_accuracy")
LAYERS_NAMED = 6
OTHER = {name: (heading, form) for name, heading, form in FIGURES}
FIGURE_NAMES = {"accuracy": "accuracy (%)", "doa_mae_deg": "DoA MAE (deg)"} | {name: heading for name, (heading, _) in OTHER.items()}
# Figures of which the lowest is the best.
LOWEST = ("doa_mae_deg", "mse")


def repeat(names: Sequence[str], cache: Path, folder: Path, given: dict[str, Any], seeds: int = 5, *, resume: bool = False) -> dict[str, Any]:
    """Train and measure networks one after another, each with several seeds; one that learns nothing is measured once.

    Parameters
    ----------
    names : sequence of str
        Networks and presets.
    cache : Path
    folder : Path
        Gets a run's folder ``<name>/seed-<seed>`` for each, and the files.
    given : dict
        Settings; each goes to those networks that know it. ``seed``: the first one.
    seeds : int
        How many.
    resume : bool
        Go on with what is there; what has ended is not trained again.

    Returns
    -------
    dict
        The content of ``repeats.json``: ``cache``, ``split``, ``seeds``, ``curves`` (name of the curve that all have, none without any) and
        ``rows``, see `row_of`.

    Raises
    ------
    AudioDataError
        An unknown name, a setting that none of them knows, or what training raises.
    """
    first = given.get("seed", 0)
    plans = [plan_of(choice, cache, folder, given, range(first, first + seeds)) for choice in choose_all(names, given)]
    measured = [[_train(plan, seed, cache, resume) for seed in plan.runs] for plan in plans]
    catalog = open_cache(cache).manifest["catalog"]
    rows = [row_of(plan, each, catalog) for plan, each in zip(plans, measured, strict=True)]
    metrics = measured[0][0]
    found = {"format": FORMAT, "format_version": FORMAT_VERSION, "cache": metrics["evaluated_on"], "split": metrics["split"]}
    found |= {"seeds": list(range(first, first + seeds)), "curves": shared_curve(rows), "rows": rows}
    write_result(folder, found)
    return found


class Plan(NamedTuple):
    """What is to be done with one network.

    Attributes
    ----------
    choice : Choice
    settings : Settings
        Of the network.
    training : Settings
        Of its training, whose seed is still to be set.
    runs : dict of int to Path
        Folder of the run of each seed.
    """

    choice: Choice
    settings: Settings
    training: Settings
    runs: dict[int, Path]


def plan_of(choice: Choice, cache: Path, folder: Path, given: dict[str, Any], seeds: Sequence[int]) -> Plan:
    """Say what is to be done with one network; raises as `models.choices.settings_for`."""
    seeds = seeds if MODELS[choice.network].trained else seeds[:1]
    return Plan(choice, *settings_for(choice, meant_for(choice, given), cache), {seed: folder / choice.name / f"seed-{seed}" for seed in seeds})


def _train(plan: Plan, seed: int, cache: Path, resume: bool) -> dict[str, Any]:
    page = importlib.import_module(MODELS[plan.choice.network].page)
    training = plan.training.model_copy(update={"seed": seed})
    metrics = page.train(plan.choice.network, cache, plan.runs[seed], plan.settings, training, resume=resume)
    figures = ", ".join(f"{name} {value:.4f}" for name, value in figures_of(metrics).items())
    sys.stderr.write(f"{plan.choice.name}, seed {seed}: {figures}\n")
    return metrics


def row_of(plan: Plan, measured: Sequence[dict[str, Any]], catalog: dict[str, Any]) -> dict[str, Any]:
    """What is said of one network.

    Parameters
    ----------
    plan : Plan
        Whose runs have ended.
    measured : sequence of dict
        ``metrics.json`` of each.
    catalog : dict
        As the cache's manifest has it.

    Returns
    -------
    dict
        ``method``, ``network``, ``type`` ("SNN", "ANN", "classical"), ``structure``, ``modality`` ("Unimodal", "Multimodal"), ``dataset``,
        ``parameters``, ``seeds``, ``figures`` by name, see `spread`: ``accuracy``, that of sub-networks (``visual_accuracy``,
        ``auditory_accuracy``), and of directions ``doa_mae_deg`` and ``doa_accuracy_<tolerance in degrees>``; and ``curves`` by name, see
        `mean_curve`. Of other tasks than classes and directions those of `models.compare.FIGURES`.
    """
    metrics, figures = measured[0], [figures_of(each) for each in measured]
    senses = senses_of(metrics["feature"])
    return {
        "method": plan.choice.name,
        "network": plan.choice.network,
        "type": MODELS[plan.choice.network].kind,
        "structure": structure_of(build_network(read_record(next(iter(plan.runs.values()))))),
        "modality": "Multimodal" if len(senses) > 1 else "Unimodal",
        "dataset": dataset_name(catalog, senses),
        "parameters": metrics["parameters"],
        "seeds": list(plan.runs),
        "figures": {key: spread([each[key] for each in figures], lowest=key in LOWEST) for key in figures[0]},
        "curves": mean_curves([read_curves(run) for run in plan.runs.values()]),
    }


def figures_of(metrics: dict[str, Any]) -> dict[str, float]:
    """Figures of one run by name, those that there are."""
    doa = metrics.get("doa") or {"mae_deg": None, "accuracy": {}}
    found = {"doa_mae_deg": doa["mae_deg"]} | {f"doa_accuracy_{tolerance}": share for tolerance, share in doa["accuracy"].items()}
    found |= {name: metrics.get(name) for name in ("accuracy", *(name for name, _, _ in FIGURES))}
    found |= {f"{sense}_accuracy": share for sense, share in metrics.get("senses", {}).items()}
    return {name: value for name, value in found.items() if value is not None}


def spread(values: Sequence[float], *, lowest: bool = False) -> dict[str, Any]:
    """Describe one figure over the seeds: ``values``, ``mean``, ``std`` (of a sample, none for a single one) and ``best``."""
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else None
    best = min(values) if lowest else max(values)
    return {"values": list(values), "mean": float(np.mean(values)), "std": deviation, "best": best}


def senses_of(features: str | Iterable[str]) -> list[str]:
    """Senses that some features are of, as their names say; none for sounds and images."""
    names = [features] if isinstance(features, str) else features
    return [sense for sense in ("visual", "auditory") if any(name.startswith(f"{sense}_") for name in names)]


def dataset_name(catalog: dict[str, Any], senses: Sequence[str]) -> str:
    """Name the data set of a catalog; of a joint one those parts that are seen or heard, of a made one also its source.

    Where a part has several tables, of which the build took the first whose files were there, it is only named after the catalog.
    """
    table = catalog.get("dataset", {})
    parts = [table[sense] for sense in senses if sense in table]
    parts = [each[0] if isinstance(each, (list, tuple)) and len(each) == 1 else each for each in parts]
    if all(isinstance(part, dict) for part in parts):
        return " + ".join(_table_name(part) for part in parts or [table]) or catalog["name"]
    return catalog["name"] if len(parts) > 1 else f"{catalog['name']}, {senses[0]} part"


def _table_name(table: dict[str, Any]) -> str:
    inner = table.get("source")
    return f"{table['name']} ({_table_name(inner)})" if isinstance(inner, dict) else table.get("name", "")


def structure_of(network: nn.Module) -> str:
    """Say what a network is made of: as it says itself, else its layers with weights, of which more than a few are only counted."""
    if hasattr(network, "structure"):
        return network.structure
    layers = [layer.module for layer in network.weighted_layers().values()]
    if len(layers) > LAYERS_NAMED:
        return f"{len(layers)} layers"
    return "-".join(_layer_name(layer) for layer in layers) or "-"


def _layer_name(layer: nn.Module) -> str:
    return f"{layer.out_channels}C{layer.kernel_size[0]}" if isinstance(layer, nn.Conv2d) else str(layer.out_features)


def read_curves(run: Path) -> dict[str, list[float]]:
    """Read a run's ``curves.csv``, by column; nothing of a run without."""
    if not (run / CURVES).is_file():
        return {}
    with (run / CURVES).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {name: [float(row[name]) for row in rows] for name in rows[0]}


def mean_curves(histories: Sequence[dict[str, list[float]]]) -> dict[str, dict[str, Any]]:
    """Mean and standard deviation over the seeds in each epoch, as far as all of them were trained.

    Parameters
    ----------
    histories : sequence of dict
        Curves of each seed by name.

    Returns
    -------
    dict
        By those names of `DRAWN` that all have: ``mean`` and ``std`` (of a sample, none for a single one), one value an epoch.
    """
    return {name: mean_curve([history[name] for history in histories]) for name in DRAWN if all(name in history for history in histories)}


def mean_curve(curves: Sequence[Sequence[float]]) -> dict[str, Any]:
    """Mean and standard deviation of curves, up to the end of the shortest; see `mean_curves`."""
    epochs = min(map(len, curves))
    values = np.array([curve[:epochs] for curve in curves])  # [seed, epoch]
    return {"mean": values.mean(0).tolist(), "std": values.std(0, ddof=1).tolist() if len(values) > 1 else None}


def shared_curve(rows: Sequence[dict[str, Any]]) -> str | None:
    """First name of `DRAWN` of which all networks that were trained have a curve; None without any."""
    trained = [row["curves"] for row in rows if row["curves"]]
    return next((name for name in DRAWN if trained and all(name in curves for curves in trained)), None)


def table(rows: Sequence[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Columns and cells in the form of Table 1; where directions are measured, a line for each figure."""
    figures = ["figure"] if any(set(row["figures"]) & {"doa_mae_deg", *OTHER} for row in rows) else []
    columns = ["method", "structure", "modality", "data set", *figures, "mean", "std", "best"]
    cells = []
    for row in rows:
        for name in (name for name in row["figures"] if not name.startswith(SENSES)):
            words = [row[key] for key in ("method", "structure", "modality", "dataset")]
            cells.append([*words, *([_figure_name(name)] if figures else []), *_numbers(row["figures"][name], name)])
    return columns, cells


def _figure_name(name: str) -> str:
    tolerance = name.removeprefix("doa_accuracy_")
    return FIGURE_NAMES.get(name, f"DoA acc. < {tolerance} deg (%)")


def _numbers(figure: dict[str, Any], name: str) -> list[str]:
    scale = 1 if name == "doa_mae_deg" or name in OTHER else 100
    form = OTHER[name][1] if name in OTHER else "{:.2f}"
    return [shown(None if figure[key] is None else scale * figure[key], form) for key in ("mean", "std", "best")]


def markdown(found: dict[str, Any]) -> str:
    """Table as text that reads well as it stands, with what it was measured on."""
    columns, cells = table(found["rows"])
    seeds = found["seeds"]
    span = f"seeds {seeds[0]} to {seeds[-1]}" if len(seeds) > 1 else f"seed {seeds[0]}"
    unit = "" if "figure" in columns else " Accuracies in %."
    about = f"Measured on {measured_on(found)}, {span}; the standard deviation is that of a sample (n - 1).{unit}"
    return "\n".join([about, "", *markdown_table(columns, cells, len(columns) - 3), ""])


def write_result(folder: Path, found: dict[str, Any]) -> None:
    """Write ``repeats.json``, ``repeats.md`` and, where there are curves, ``repeats.png``."""
    write_json(folder / REPEATS, found)
    with replacing(folder / TABLE) as temporary:
        temporary.write_text(markdown(found), encoding="utf-8")
    if found["curves"]:
        from models.repeat_pictures import repeat_curves  # matplotlib takes a second to import

        with replacing(folder / PICTURE) as temporary:
            repeat_curves(found).savefig(temporary, format="png", dpi=130)
