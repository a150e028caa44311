"""How trained networks bear noise: errors and accuracies against the signal-to-noise ratio.

Noise is mixed into the waveforms that a cache was made from, and the features are computed again, once for all networks. The noise of an
example is the same at every ratio, so that a curve over the ratios shows the ratio alone.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from audiodata.errors import AudioDataError, CacheError
from audiodata.mixing import NoiseSettings, make_noise, mix
from audiodata.noise_bank import NoiseBank
from audiodata.noise_list import list_recordings, noise_recordings
from audiodata.originals import Originals
from audiodata.progress import Bar
from audiodata.records import ExampleSpan
from audiodata.settings import validated
from audiodata.shards import replacing
from models.classification import Classification
from models.evaluation import check_fits, load_network, open_for, task_of
from models.localization import Localization
from models.runs import RunRecord, write_json
from models.seeds import derived_generator
from models.views import Source

FORMAT = "audiodata-robustness"
FORMAT_VERSION = 1
RESULT, PICTURE = "robustness.json", "robustness.png"
MADE = ("white", "diffuse", "directional")
EXAMPLES_AT_ONCE = 32


class Entry(NamedTuple):
    """One trained network that is to be measured."""

    name: str
    network: nn.Module
    record: RunRecord
    source: Source
    task: Classification | Localization


class Noise(NamedTuple):
    """Noise that is mixed in, and where its recordings are.

    Attributes
    ----------
    settings : NoiseSettings
        Its ``snr_db`` counts for nothing here.
    bank : NoiseBank or None
    """

    settings: NoiseSettings
    bank: NoiseBank | None = None


def measure_robustness(
    runs: Sequence[Path],
    cache: Path,
    root: Path,
    noise: str,
    snrs_db: Sequence[float],
    split: str = "test",
    limit: int | None = None,
    **settings: Any,
) -> dict[str, Any]:
    """Evaluate networks without noise and with noise at each ratio.

    Parameters
    ----------
    runs : sequence of Path
        Folders of trained networks, of any task.
    cache : Path
        With the features that they take.
    root : Path
        The data root that the cache was built from.
    noise : str
        "white", "diffuse" or "directional"; a folder of recordings: of the array's channels, or of one channel, which are placed; or how
        the labels of the data set's own noises begin, for instance ``"noise:"``.
    snrs_db : sequence of float
        Ratios in dB; see `audiodata.mixing.mix`.
    split : str
    limit : int, optional
        So many of its examples at most, evenly spaced.
    **settings
        Further keys of `audiodata.mixing.NoiseSettings`.

    Returns
    -------
    dict
        The content of ``robustness.json``: the same each time.

    Raises
    ------
    AudioDataError
        A run, cache or noise that can't be used, or that do not fit each other.
    """
    originals = Originals(cache, root)
    entries = [_entry(run, name, cache) for run, name in zip(runs, _names(runs), strict=True)]
    chosen = open_noise(originals, noise, settings)
    rows = _rows(originals, split, limit)
    levels = [None, *sorted(set(snrs_db), reverse=True)]
    tallies = _measure(originals, entries, chosen, rows, levels)
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "cache": entries[0].source.identity(),
        "split": split,
        "examples": len(rows),
        "noise": {"of": noise} | chosen.settings.model_dump(mode="json", exclude={"snr_db", "splits"}),
        "snr_db": levels,
        "networks": [_summary(entry, [tallies[number, level] for level in levels], levels) for number, entry in enumerate(entries)],
    }


def open_noise(originals: Originals, noise: str, settings: dict[str, Any]) -> Noise:
    """Find the noise that a command names; see `measure_robustness`.

    Raises
    ------
    AudioDataError
        No such kind, folder or label; or recordings that do not fit the array.
    """
    if noise in MADE:
        return Noise(validated(NoiseSettings, settings | {"kind": noise, "snr_db": 0.0}, "--noise"))
    if Path(noise).is_dir():
        recordings = list_recordings(Path(noise), ".", settings.get("azimuth_pattern", ""))
        bank = NoiseBank(Path(noise), recordings)
        channels = len(bank.draw(np.random.default_rng(0), 1024, originals.sample_rate))
        kind = "directional" if channels == 1 and originals.settings.channels > 1 else "recorded"
        return Noise(validated(NoiseSettings, settings | {"kind": kind, "snr_db": 0.0, "recordings": "."}, "--noise"), bank)
    if ":" in noise:
        named = validated(NoiseSettings, settings | {"kind": "recorded", "snr_db": 0.0, "label": noise}, "--noise")
        return Noise(named, NoiseBank(originals.root, noise_recordings(named, originals.table, originals.root)))
    raise AudioDataError(f"--noise {noise}: expected {', '.join(MADE)}, a folder of recordings, or a label of the data set's noises like noise:wind")


def write_result(out: Path, found: dict[str, Any]) -> None:
    """Write ``robustness.json`` and ``robustness.png`` into a folder."""
    from audiodata.spatial_pictures import robustness_curves  # matplotlib takes a second to import

    out.mkdir(parents=True, exist_ok=True)
    write_json(out / RESULT, found)
    with replacing(out / PICTURE) as temporary:
        robustness_curves(found).savefig(temporary, format="png", dpi=130)


def table_rows(found: dict[str, Any]) -> list[tuple]:
    """Rows of a table for people: network, ratio, mean error, shares of right directions and of right classes."""
    rows = []
    for network in found["networks"]:
        for result in network["results"]:
            level = "clean" if result["snr_db"] is None else f"{result['snr_db']:g}"
            shares = [_share(value) for value in (*result["doa_accuracy"].values(), result["accuracy"])]
            rows.append((network["name"], level, _figure(result["mae_deg"]), *shares))
    return rows


def table_columns(found: dict[str, Any]) -> tuple[str, ...]:
    """Headings of `table_rows`."""
    tolerances = found["networks"][0]["results"][0]["doa_accuracy"]
    return ("network", "SNR / dB", "MAE / degrees", *(f"within {tolerance} degrees / %" for tolerance in tolerances), "class / %")


def _names(runs: Sequence[Path]) -> list[str]:
    """Names of the runs' folders; with their parents where they are the same."""
    names = [Path(run).resolve().name for run in runs]
    return names if len(set(names)) == len(names) else [str(run) for run in runs]


def _entry(run: Path, name: str, cache: Path) -> Entry:
    network, record = load_network(run)
    source = open_for(record.network, cache, record.training_settings)
    check_fits(record, source)
    return Entry(name, network, record, source, task_of(record, network))


def _rows(originals: Originals, split: str, limit: int | None) -> pd.DataFrame:
    """Table of the examples to measure: those of a split that have a class or a direction."""
    table = originals.cache.examples
    useful = (table["split"] == split) & ((table["label_index"] >= 0) | table.get("azimuth_deg", pd.Series(np.nan, table.index)).notna())
    rows = table[useful.to_numpy()]
    if rows.empty:
        raise CacheError(f"{originals.cache.path}: split `{split}` has no example with a class or a direction")
    if limit is None or limit >= len(rows):
        return rows
    return rows.iloc[np.unique(np.linspace(0, len(rows) - 1, limit).round().astype(int))]


def _measure(originals: Originals, entries: Sequence[Entry], noise: Noise, rows: pd.DataFrame, levels: Sequence[float | None]) -> dict:
    """Tallies by the number of the network and the ratio."""
    names = sorted({name for entry in entries for name in entry.source.views})
    keys = [(number, level) for number in range(len(entries)) for level in levels]
    tallies = {key: entries[key[0]].task.tally(entries[key[0]].record.classes) for key in keys}
    generators = {key: derived_generator(entries[key[0]].record.training_settings["seed"], "evaluate") for key in keys}
    ids = rows["example_id"].tolist()
    with Bar("noise", len(ids), "examples") as bar, torch.no_grad():
        for first in range(0, len(ids), EXAMPLES_AT_ONCE):
            examples, features = _heard(originals, ids[first : first + EXAMPLES_AT_ONCE], noise, names, levels)
            targets = _targets(examples)
            for key in keys:
                _add(tallies[key], entries[key[0]], features[key[1]], targets, generators[key])
            bar.advance(len(examples))
    return tallies


def _heard(
    originals: Originals, example_ids: Sequence[str], noise: Noise, names: Sequence[str], levels: Sequence[float | None]
) -> tuple[list[ExampleSpan], dict[float | None, dict[str, Tensor]]]:
    """Features [example, ...] of some examples at each ratio, as they would lie in the cache."""
    examples, found = [], {level: {name: [] for name in names} for level in levels}
    for example, waveform in originals.waveforms(example_ids):
        examples.append(example)
        for level, noisy in _mixtures(originals, example, waveform, noise, levels):
            for name, values in originals.features(noisy, names).items():
                found[level][name].append(torch.from_numpy(values))
    return examples, {level: {name: torch.stack(values) for name, values in of.items()} for level, of in found.items()}


def _mixtures(
    originals: Originals, example: ExampleSpan, waveform: np.ndarray, noise: Noise, levels: Sequence[float | None]
) -> Iterator[tuple[float | None, np.ndarray]]:
    array = originals.catalog.array
    added = make_noise(
        noise.settings, example.example_id, *waveform.shape, originals.sample_rate, array.positions_m, example.truth.azimuth_deg, noise.bank,
        array.speed_of_sound_m_s,
    )  # fmt: skip
    for level in levels:
        yield level, waveform if level is None else mix(waveform, added, level, example.valid)


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


def _summary(entry: Entry, tallies: Sequence[Any], levels: Sequence[float | None]) -> dict[str, Any]:
    results = []
    for level, tally in zip(levels, tallies, strict=True):
        summary = tally.summary()
        directions = summary.get("doa") or {}
        results.append({
            "snr_db": level,
            "examples": summary["examples"],
            "mae_deg": directions.get("mae_deg"),
            "median_deg": directions.get("median_deg"),
            "doa_accuracy": directions.get("accuracy", {}),
            "accuracy": summary["accuracy"],
        })
    return {"name": entry.name, "network": entry.record.network, "results": results}


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
