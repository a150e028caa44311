"""Pairs of what is seen and what is heard: a visual and an auditory event recording of the same class, made out of two data sets.

Size: as many pairs of a class and split as the larger of the two sides has recordings.
Origin: two other data sets of this package, `visual` and `auditory`, whose classes have the same names.
Paper: Q. Liu et al., "Event-based multimodal spiking neural network with attention mechanism", ICASSP 2022, section 3.1: 10,000 digits of
MNIST-DVS, each with a spoken digit of N-TIDIGITS, whose recordings are repeated.
Licence: those of the two data sets.
Access: put both below the data root. Of several tables for one side the first is taken whose `path` is there.

Each side is divided first, by its own `split`, over its own groups; only then are recordings of one class and one split paired, those of
the smaller side as often as needed. So no recording, speaker or image is ever on two sides of the split, although pairs share them.
A pair's id is ``<visual id>+<auditory id>``, its group all pairs that share a group of either side with it; the catalog's own split is
"published", which takes over what was decided here.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from pydantic import field_validator

from audiodata.clips import COLUMNS, clips_table
from audiodata.datasets.connections import connected_rows, named_groups
from audiodata.errors import CatalogError, MetadataError
from audiodata.records import ClipSpan, partner_text
from audiodata.settings import Settings, validated
from audiodata.splits import SplitSettings, assign_splits, check_leakage
from audiodata.text_hashes import unit_hashes

PUBLISHED = {"scheme": "published"}
SENSORS = {"visual": "retina", "auditory": "cochlea"}


class JointEventsSettings(Settings):
    """Keys of ``[dataset]`` for pairs.

    Attributes
    ----------
    visual, auditory : dict or list of dict
        A side's own ``[dataset]`` table: ``name``, that data set's keys, and ``split``, a table as the catalog's ``[split]`` (default: the
        data set's published split). Of several the first is taken whose ``path`` (or that of its ``source``) is there.
    seed : int
        Of who is paired with whom.
    """

    visual: tuple[dict[str, Any], ...] = ({"name": "mnist_dvs"},)
    auditory: tuple[dict[str, Any], ...] = ({"name": "ntidigits"},)
    seed: int = 0

    @field_validator("visual", "auditory", mode="before")
    @classmethod
    def _as_tables(cls, value: Any) -> Any:
        return (value,) if isinstance(value, dict) else value

    @field_validator("visual", "auditory")
    @classmethod
    def _known_sides(cls, value: tuple[dict[str, Any], ...], info: Any) -> tuple[dict[str, Any], ...]:
        from audiodata.datasets import dataset_settings  # the registry, of which this module is a part

        if not value:
            raise ValueError("needs at least one table")
        for table in value:
            entry, settings = dataset_settings(_own_keys(table), f"[dataset.{info.field_name}]")
            validated(SplitSettings, table.get("split", PUBLISHED), f"[dataset.{info.field_name}] split")
            if entry.kind != "events":
                raise ValueError(f"`{table['name']}` holds no event recordings; make them with name = \"simulated_events\"")
            if getattr(settings, "sensor", SENSORS[info.field_name]) != SENSORS[info.field_name]:
                raise ValueError(f"a {settings.sensor} is not {info.field_name}; `visual` and `auditory` are reversed")
        return value


def _own_keys(table: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in table.items() if key != "split"}


class Pairs(NamedTuple):
    """Rows of the two sides' tables that belong together."""

    visual: np.ndarray
    auditory: np.ndarray


def read_clips(settings: JointEventsSettings, root: Path, classes: Sequence[str], quality: float | None) -> pd.DataFrame:
    """Divide both sides and pair their recordings.

    Parameters
    ----------
    settings : JointEventsSettings
    root : Path
    classes : sequence of str
        Classes to keep, on both sides.
    quality : float or None
        As the sides take it.

    Returns
    -------
    DataFrame
        Clips table: the pairs, each with its split in ``published``, and the recordings that either side leaves out.

    Raises
    ------
    CatalogError, MetadataError
        As the two sides; a class or a split that only one of them has; neither table's folder is there.
    """
    sides = {name: read_side(name, getattr(settings, name), root, classes, quality) for name in ("visual", "auditory")}
    chosen = {name: table[table["reason"] == ""].reset_index(drop=True) for name, table in sides.items()}
    _check_counterparts(chosen)
    pairs = pair_up(chosen["visual"], chosen["auditory"], settings.seed)
    left_out = pd.concat([table.loc[table["reason"] != "", list(COLUMNS)] for table in sides.values()])
    return _with_rows(_paired(chosen["visual"].iloc[pairs.visual], chosen["auditory"].iloc[pairs.auditory]), left_out)


def settle(settings: JointEventsSettings, root: Path) -> JointEventsSettings:
    """Keep of each side's tables the one whose folder is there; raises `MetadataError` where none is."""
    return settings.model_copy(update={name: (_there(name, getattr(settings, name), root),) for name in SENSORS})


def read_side(
    name: str, tables: Sequence[dict[str, Any]], root: Path, classes: Sequence[str] = (), quality: float | None = None
) -> pd.DataFrame:
    """Read one side's clips table and divide it; its column ``split`` is empty for rows that are left out.

    Raises
    ------
    MetadataError
        None of the tables' folders is there.
    """
    from audiodata.datasets import read_clips as read_any

    keys = _there(name, tables, root)
    table = read_any(_own_keys(keys), root, classes=tuple(classes), quality=quality)
    rule = validated(SplitSettings, keys.get("split", PUBLISHED), f"[dataset.{name}] split")
    table["split"] = assign_splits(table, **rule.model_dump())
    check_leakage(table)
    return table


def _there(name: str, tables: Sequence[dict[str, Any]], root: Path) -> dict[str, Any]:
    for table in tables:
        if (Path(root) / _folder(table)).exists():
            return table
    tried = ", ".join(f"{table['name']} in {_folder(table)}" for table in tables)
    raise MetadataError(f"{root}: has no {name} recordings; looked for {tried}")


def _folder(table: dict[str, Any]) -> str:
    return str(table.get("path") or table.get("source", {}).get("path", "."))


def _check_counterparts(chosen: dict[str, pd.DataFrame]) -> None:
    """Every class of every split must be on both sides."""
    found = {name: set(zip(table["split"], table["label"], strict=True)) for name, table in chosen.items()}
    for name, other in (("visual", "auditory"), ("auditory", "visual")):
        lonely = sorted(found[name] - found[other])
        if lonely:
            split, label = lonely[0]
            raise MetadataError(
                f"[dataset] {name}: class {label!r} of split {split} has no {other} recording to be paired with "
                f"({len(lonely)} such); choose [select] classes that both sides have, and splits that are filled on both"
            )


def pair_up(visual: pd.DataFrame, auditory: pd.DataFrame, seed: int) -> Pairs:
    """Pair recordings of one class and split.

    Each recording of the larger side is used once, each of the smaller side as often as any other or once more; who comes first is drawn
    by seeded hash of the ids.

    Parameters
    ----------
    visual, auditory : DataFrame
        Candidates with ``clip_id, label, split``.
    seed : int
    """
    rows = [_drawn(table, seed, name) for name, table in (("visual", visual), ("auditory", auditory))]
    found = []
    for key in sorted(rows[0]):
        seen, heard = rows[0][key], rows[1][key]
        count = max(len(seen), len(heard))
        found.append((np.resize(seen, count), np.resize(heard, count)))
    return Pairs(*(np.concatenate(side) for side in zip(*found, strict=True)))


def _drawn(table: pd.DataFrame, seed: int, name: str) -> dict[tuple[str, str], np.ndarray]:
    """Rows of each split and class, in the order of their draw."""
    order = np.argsort(unit_hashes(seed, name, table["clip_id"].tolist()), kind="stable")
    drawn = table.iloc[order][["split", "label"]].assign(row=order)
    return {key: rows["row"].to_numpy() for key, rows in drawn.groupby(["split", "label"])}


def _paired(visual: pd.DataFrame, auditory: pd.DataFrame) -> pd.DataFrame:
    """Make the clips table of the pairs: where the visual recording lies, and the auditory one as its partner."""
    same = ("path", "index", "item", "reader", "label", "labels", "file_start_s", "duration_s")
    return clips_table({
        "clip_id": [f"{seen}+{heard}" for seen, heard in zip(visual["clip_id"], auditory["clip_id"], strict=True)],
        "group_id": _components(visual["group_id"].to_numpy(), auditory["group_id"].to_numpy()),
        "published": visual["split"].to_numpy(),
        "partner": [partner_text(_span(row)) for row in auditory.to_dict("records")],
        **{name: visual[name].to_numpy() for name in same},
    })


def _span(row: dict[str, Any]) -> ClipSpan:
    duration_s = None if pd.isna(row["duration_s"]) else float(row["duration_s"])
    return ClipSpan(row["clip_id"], row["path"], float(row["file_start_s"]), duration_s, int(row["index"]), item=row["item"], reader=row["reader"])


def _components(visual: np.ndarray, auditory: np.ndarray) -> list[str]:
    """Name, for each pair, the groups that are connected to it through any pairs, after the first of them that is visual."""
    seen, seen_names = pd.factorize(visual)
    heard, _ = pd.factorize(auditory)
    return named_groups(connected_rows(np.stack([seen, heard + len(seen_names)], axis=1)), visual)


def _with_rows(pairs: pd.DataFrame, left_out: pd.DataFrame) -> pd.DataFrame:
    table = pd.concat([pairs, left_out], ignore_index=True)
    doubled = table["clip_id"].duplicated()
    if doubled.any():
        raise CatalogError(f"[dataset] visual and auditory both have a recording called {table['clip_id'][doubled].iloc[0]!r}; they must differ")
    return table
