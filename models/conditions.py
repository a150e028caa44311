"""Trained networks on the same examples under several conditions: what a cache's examples were made from is changed, features are computed again."""

import os
from collections.abc import Callable, Hashable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from audiodata.errors import AudioDataError, CacheError
from audiodata.originals import Originals
from audiodata.progress import Bar
from audiodata.records import ExampleSpan
from models import MODELS
from models.evaluation import AnyTask, check_fits, load_network, open_for, task_of
from models.runs import RunRecord
from models.seeds import derived_generator
from models.views import Source

EXAMPLES_AT_ONCE = 32

# From an example, what it was made from and the names of the features wanted to each condition with its features.
Vary = Callable[[ExampleSpan, Any, Sequence[str]], Iterator[tuple[Hashable, dict[str, np.ndarray]]]]


class Entry(NamedTuple):
    """One trained network that is to be measured."""

    name: str
    network: nn.Module
    record: RunRecord
    source: Source
    task: AnyTask


def open_entries(runs: Sequence[Path], cache: Path) -> list[Entry]:
    """Load networks that are to be measured on a cache.

    Raises
    ------
    AudioDataError
        A run or a cache that can't be used, or that do not fit each other.
    """
    return [_entry(run, name, cache) for run, name in zip(runs, _names(runs), strict=True)]


def useful_rows(originals: Originals, split: str, limit: int | None) -> pd.DataFrame:
    """Table of the examples to measure: those of a split that have a class or a direction.

    Parameters
    ----------
    originals : Originals
    split : str
    limit : int, optional
        So many at most, evenly spaced.

    Raises
    ------
    CacheError
        There is none.
    """
    table = originals.cache.examples
    useful = (table["split"] == split) & ((table["label_index"] >= 0) | table.get("azimuth_deg", pd.Series(np.nan, table.index)).notna())
    rows = table[useful.to_numpy()]
    if rows.empty:
        raise CacheError(f"{originals.cache.path}: split `{split}` has no example with a class or a direction")
    if limit is None or limit >= len(rows):
        return rows
    return rows.iloc[np.unique(np.linspace(0, len(rows) - 1, limit).round().astype(int))]


def measure_conditions(
    originals: Originals, entries: Sequence[Entry], rows: pd.DataFrame, conditions: Sequence[Hashable], vary: Vary, what: str
) -> list[list[Any]]:
    """Measure each network on each example under each condition.

    Parameters
    ----------
    originals : Originals
    entries : sequence of Entry
    rows : DataFrame
        The examples.
    conditions : sequence
        What `vary` names.
    vary : callable
        Yields each condition with the features of an example under it.
    what : str
        For the progress bar.

    Returns
    -------
    list of list of tally
        By network, then by condition, in the orders given.
    """
    names = sorted({name for entry in entries for name in entry.source.views})
    keys = [(number, condition) for number in range(len(entries)) for condition in conditions]
    tallies = {key: entries[key[0]].task.tally(entries[key[0]].record.classes) for key in keys}
    generators = {key: derived_generator(entries[key[0]].record.training_settings["seed"], "evaluate") for key in keys}
    ids = rows["example_id"].tolist()
    with Bar(what, len(ids), "examples") as bar, torch.no_grad():
        for first in range(0, len(ids), EXAMPLES_AT_ONCE):
            examples, features = _varied(originals, ids[first : first + EXAMPLES_AT_ONCE], vary, names, conditions)
            targets = _targets(examples)
            for key in keys:
                _add(tallies[key], entries[key[0]], features[key[1]], targets, generators[key])
            bar.advance(len(examples))
    return [[tallies[number, condition] for condition in conditions] for number in range(len(entries))]


def _names(runs: Sequence[Path]) -> list[str]:
    """Names of the runs' folders; with their parents where they are the same."""
    paths = [Path(run).absolute() for run in runs]
    names = [path.name for path in paths]
    if len(set(names)) == len(names):
        return names
    above = os.path.commonpath([path.parent for path in paths])
    return [path.relative_to(above).as_posix() for path in paths]


def _entry(run: Path, name: str, cache: Path) -> Entry:
    network, record = load_network(run)
    task = MODELS[record.network].task
    if task in ("reconstruction", "separation"):
        raise AudioDataError(f"{run}: holds `{record.network}`, a network for {task}; only networks that find classes or directions are measured so")
    source = open_for(record.network, cache, record.training_settings)
    check_fits(record, source)
    return Entry(name, network, record, source, task_of(record, network))


def _varied(
    originals: Originals, example_ids: Sequence[str], vary: Vary, names: Sequence[str], conditions: Sequence[Hashable]
) -> tuple[list[ExampleSpan], dict[Hashable, dict[str, Tensor]]]:
    """Features [example, ...] of some examples under each condition, as they would lie in the cache."""
    examples, found = [], {condition: {name: [] for name in names} for condition in conditions}
    for example, material in originals.waveforms(example_ids):
        examples.append(example)
        for condition, features in vary(example, material, names):
            for name in names:
                found[condition][name].append(torch.from_numpy(features[name]))
    return examples, {condition: {name: torch.stack(values) for name, values in of.items()} for condition, of in found.items()}


def _targets(examples: Sequence[ExampleSpan]) -> dict[str, Tensor]:
    azimuths = [np.nan if example.truth.azimuth_deg is None else example.truth.azimuth_deg for example in examples]
    labels = [example.truth.label_index for example in examples]
    return {"label": torch.tensor(labels, dtype=torch.int64), "azimuth_deg": torch.tensor(azimuths, dtype=torch.float32)}


def _add(tally: Any, entry: Entry, features: dict[str, Tensor], targets: dict[str, Tensor], generator: torch.Generator) -> None:
    """Run a network over a batch; one that only tells classes apart is spared examples without one."""
    kept = torch.ones(len(targets["label"]), dtype=torch.bool) if entry.source.located else targets["label"] >= 0
    if not kept.any():
        return
    turned = {name: view.turned(features[name][kept]) for name, view in entry.source.views.items()}
    tally.add(entry.network(entry.source.given(turned), generator), {name: values[kept] for name, values in targets.items()})
