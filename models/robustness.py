"""How trained networks bear noise: errors and accuracies against the signal-to-noise ratio.

Noise is mixed into the waveforms that a cache was made from, and the features are computed again, once for all networks. The noise of an
example is the same at every ratio, so that a curve over the ratios shows the ratio alone.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from audiodata.errors import AudioDataError, CacheError
from audiodata.mixing import NoiseSettings, make_noise, mix
from audiodata.noise_bank import NoiseBank
from audiodata.noise_list import list_recordings, noise_recordings
from audiodata.originals import Originals
from audiodata.records import ExampleSpan
from audiodata.settings import validated
from audiodata.shards import replacing
from models.conditions import Entry, measure_conditions, open_entries, useful_rows
from models.runs import write_json

FORMAT = "audiodata-robustness"
FORMAT_VERSION = 1
RESULT, PICTURE = "robustness.json", "robustness.png"
MADE = ("white", "diffuse", "directional")


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
    if originals.kind != "audio":
        raise CacheError(f"{cache}: was made from {originals.kind}, into which no noise can be mixed; `degrade` measures networks on worse events")
    entries = open_entries(runs, cache)
    chosen = open_noise(originals, noise, settings)
    rows = useful_rows(originals, split, limit)
    levels = [None, *sorted(set(snrs_db), reverse=True)]
    tallies = measure_conditions(originals, entries, rows, levels, partial(_noisy, originals, chosen, levels), "noise")
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "cache": entries[0].source.identity(),
        "split": split,
        "examples": len(rows),
        "noise": {"of": noise} | chosen.settings.model_dump(mode="json", exclude={"snr_db", "splits"}),
        "snr_db": levels,
        "networks": [_summary(entry, of_entry, levels) for entry, of_entry in zip(entries, tallies, strict=True)],
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


def _noisy(
    originals: Originals, noise: Noise, levels: Sequence[float | None], example: ExampleSpan, waveform: np.ndarray, names: Sequence[str]
) -> Iterator[tuple[float | None, dict[str, np.ndarray]]]:
    """Yield each ratio with the features of the example at it."""
    array = originals.catalog.array
    added = make_noise(
        noise.settings, example.example_id, *waveform.shape, originals.sample_rate, array.positions_m, example.truth.azimuth_deg, noise.bank,
        array.speed_of_sound_m_s,
    )  # fmt: skip
    for level in levels:
        yield level, originals.features(waveform if level is None else mix(waveform, added, level, example.valid), names)


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
