"""How trained networks bear that one sense gets worse: accuracies against the share of events lost, noise events, shaken times, or silence.

The events that a cache was made from are degraded, and the features of that sense are computed again, once for all networks. Whatever is
drawn at random for an example depends on the seed and its id alone, so that all networks are given the same events.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from audiodata.errors import AudioDataError, CacheError
from audiodata.events.degrading import add_noise, drop, jitter, silence
from audiodata.events.record import Events, Sense
from audiodata.features import FEATURES
from audiodata.fingerprint import hash_json
from audiodata.originals import Originals
from audiodata.records import ExampleSpan
from audiodata.shards import replacing
from models.conditions import Entry, measure_conditions, open_entries, useful_rows
from models.runs import write_json
from models.votes import SENSES

FORMAT = "audiodata-degradation"
FORMAT_VERSION = 1
RESULT, PICTURE = "degradation.json", "degradation.png"


class Way(NamedTuple):
    """One way to degrade events.

    Attributes
    ----------
    change : callable
        ``(events, amount, length of the window in us, generator) -> events``.
    meaning : str
        What an amount is, with its unit.
    allowed : callable
        Whether an amount is one.
    amounts : tuple of float
        Used where none are given.
    """

    change: Callable[[Events, float, int, np.random.Generator], Events]
    meaning: str
    allowed: Callable[[float], bool]
    amounts: tuple[float, ...]


WAYS = {
    "drop": Way(lambda e, amount, _, rng: drop(e, amount, rng), "share of the events dropped, 0 to 1", lambda a: 0 <= a <= 1, (0.25, 0.5, 0.75, 0.9)),
    "noise": Way(
        lambda e, amount, window_us, rng: add_noise(e, amount, window_us, rng), "noise events per second and address / Hz",
        lambda a: 0 <= a < np.inf, (1.0, 3.0, 10.0, 30.0),
    ),
    "jitter": Way(
        lambda e, amount, window_us, rng: jitter(e, amount, window_us, rng), "standard deviation of the times / us",
        lambda a: 0 <= a < np.inf, (1e3, 3e3, 1e4, 3e4, 1e5),
    ),
    "silence": Way(lambda e, amount, _, rng: silence(e) if amount else e, "0: as recorded, 1: silent", lambda a: a in (0, 1), (1.0,)),
}  # fmt: skip


def measure_degradation(
    runs: Sequence[Path],
    cache: Path,
    root: Path,
    sense: Sense,
    how: str,
    amounts: Sequence[float] = (),
    split: str = "test",
    limit: int | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Evaluate networks with one sense as it is and degraded by each amount.

    Parameters
    ----------
    runs : sequence of Path
        Folders of trained networks; one that does not use the sense is measured all the same.
    cache : Path
        Of events, with the features that they take.
    root : Path
        The data root that the cache was built from.
    sense : str
        "visual" or "auditory".
    how : str
        A key of `WAYS`.
    amounts : sequence of float
        See `WAYS`; 0 is always among them, and some are chosen where none are given.
    split : str
    limit : int, optional
        So many of its examples at most, evenly spaced.
    seed : int
        Of what is drawn at random.

    Returns
    -------
    dict
        The content of ``degradation.json``: the same each time.

    Raises
    ------
    AudioDataError
        A run, cache, sense or amount that can't be used, or that do not fit each other.
    """
    levels = _levels(how, amounts)
    originals = _open(cache, root, sense)
    entries = open_entries(runs, cache)
    rows = useful_rows(originals, split, limit)
    vary = partial(_degraded, originals, sense, how, levels, seed)
    tallies = measure_conditions(originals, entries, rows, levels, vary, "degrade")
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "cache": entries[0].source.identity(),
        "split": split,
        "examples": len(rows),
        "sense": sense,
        "how": how,
        "meaning": WAYS[how].meaning,
        "seed": seed,
        "amounts": levels,
        "chance": 1 / len(entries[0].source.classes),
        "networks": [_summary(entry, of_entry, levels, sense) for entry, of_entry in zip(entries, tallies, strict=True)],
    }


def write_result(out: Path, found: dict[str, Any]) -> None:
    """Write ``degradation.json`` and ``degradation.png`` into a folder."""
    from models.degrade_pictures import degradation_curves  # matplotlib takes a second to import

    out.mkdir(parents=True, exist_ok=True)
    write_json(out / RESULT, found)
    with replacing(out / PICTURE) as temporary:
        degradation_curves(found).savefig(temporary, format="png", dpi=130)


def table_rows(found: dict[str, Any]) -> list[tuple[str, ...]]:
    """Rows of a table for people: network, amount, accuracies in percent of the answer and of the sub-networks, attention to the sense."""
    rows = []
    for network in found["networks"]:
        for result in network["results"]:
            shares = [_percent(share) for share in (result["accuracy"], *(result["senses"].get(sense) for sense in SENSES))]
            weight = (result["attention"] or {}).get(found["sense"])
            rows.append((network["name"], f"{result['amount']:g}", *shares, "-" if weight is None else f"{weight:.3f}"))
    return rows


def table_columns(found: dict[str, Any]) -> tuple[str, ...]:
    """Headings of `table_rows`."""
    return ("network", found["how"], "accuracy / %", *(f"{sense} part / %" for sense in SENSES), f"attention to {found['sense']}")


def _levels(how: str, amounts: Sequence[float]) -> list[float]:
    """Return the amounts in rising order, 0 first."""
    if how not in WAYS:
        raise AudioDataError(f"--how {how}: expected {', '.join(WAYS)}")
    for amount in amounts:
        if not WAYS[how].allowed(amount):
            raise AudioDataError(f"--amount {amount:g}: of --how {how} it is: {WAYS[how].meaning}")
    return sorted({0.0, *map(float, amounts or WAYS[how].amounts)})


def _open(cache: Path, root: Path, sense: str) -> Originals:
    originals = Originals(cache, root)
    if originals.kind != "events":
        raise CacheError(f"{cache}: was made from {originals.kind}, which has no events to degrade; `robustness` mixes noise into sounds")
    if sense not in originals.settings.sensors:
        raise CacheError(f"{cache}: has no {sense} events, only {', '.join(originals.settings.sensors)}")
    return originals


def _degraded(
    originals: Originals, sense: str, how: str, levels: Sequence[float], seed: int,
    example: ExampleSpan, recordings: dict[str, Events], names: Sequence[str],
) -> Iterator[tuple[float, dict[str, np.ndarray]]]:
    """Yield each amount with the features of the example at it; those of the other sense stay as they are."""
    plain = originals.features(recordings, names, example.start_sample)
    _check_as_cached(originals, example.example_id, plain)
    touched = [name for name in names if FEATURES[name].source == sense]
    for level in levels:
        generator = np.random.default_rng(int(hash_json([seed, how, example.example_id]), 16))
        if level == 0 or not touched:
            yield level, plain
        else:
            worse = WAYS[how].change(recordings[sense], level, originals.settings.length, generator)
            yield level, plain | originals.features(recordings | {sense: worse}, touched, example.start_sample)


def _check_as_cached(originals: Originals, example_id: str, features: dict[str, np.ndarray]) -> None:
    """Make sure that an amount of 0 is what the cache holds."""
    cached = originals.cache.read(example_id)
    for name, values in features.items():
        if not np.array_equal(values, cached[name]):
            raise CacheError(f"{originals.cache.path}: {name} of {example_id} is another one when computed from {originals.root} now; build again")


def _summary(entry: Entry, tallies: Sequence[Any], levels: Sequence[float], sense: str) -> dict[str, Any]:
    return {
        "name": entry.name,
        "network": entry.record.network,
        "features": list(entry.source.views),
        "uses_sense": any(FEATURES[name].source == sense for name in entry.source.views),
        "results": [_result(level, tally.summary()) for level, tally in zip(levels, tallies, strict=True)],
    }


def _result(amount: float, summary: dict[str, Any]) -> dict[str, Any]:
    kept = {name: summary.get(name) for name in ("examples", "accuracy", "silent", "attention")}
    return {"amount": amount, **kept, "senses": summary.get("senses") or {}}


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}"
