"""Sounds to recordings of a microphone array: every sound that a catalog names, at its azimuths, a file each.

As little logic as possible lives here: what is wanted is decided in `audiodata.datasets.simulated_array`, what a worker does with one
sound in `audiodata.simulation`; this module hands the one to the other and writes down what came of it.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from audiodata import jobs
from audiodata.catalog import Catalog
from audiodata.clips import limit_clips, sample_per_class
from audiodata.console import out, print_table
from audiodata.datasets import dataset_settings
from audiodata.datasets.simulated_array import SimulatedArraySettings, placed_clips, read_sounds
from audiodata.errors import CatalogError, MetadataError
from audiodata.fingerprint import hash_json
from audiodata.planning import clip_spans
from audiodata.progress import Bar
from audiodata.records import ClipSpan
from audiodata.shards.atomic import write_faults
from audiodata.simulation import FileSettings, PlacedSound, Scene, SimulatedFile, SoundTask, check_azimuths, describe, scene_of, tables
from pipelines.crew import run_bounded
from pipelines.journal import SILENT, Journal

_SHOWN = 10


class SimulationPlan(NamedTuple):
    """What is to be simulated.

    Attributes
    ----------
    folder : Path
        Gets the files.
    scene : Scene
    settings : FileSettings
    table : DataFrame
        Clips table of the files wanted, with ``source_id`` and ``source_path``.
    sounds : dict of str to ClipSpan
        Where the sounds lie, by id.
    """

    folder: Path
    scene: Scene
    settings: FileSettings
    table: pd.DataFrame
    sounds: dict[str, ClipSpan]


def plan(catalog: Catalog, root: Path, limit: int | None = None) -> SimulationPlan:
    """Read the sounds and decide what is made of them; nothing is written.

    Parameters
    ----------
    catalog : Catalog
        Of the data set ``simulated_array``.
    root : Path
        Data root.
    limit : int, optional
        Only so many sounds.

    Raises
    ------
    CatalogError, MetadataError, EnvironmentFault
        Another data set; a scene that can't be; an azimuth that it has no place or no response for; no sounds.
    """
    if catalog.dataset.name != "simulated_array":
        found = f"this one is `{catalog.dataset.name}`, which needs no simulation"
        raise CatalogError(f'{catalog.name}: `simulate` takes a catalog of [dataset] name = "simulated_array"; {found}')
    settings = dataset_settings(catalog.dataset, f"{catalog.name}: [dataset]")[1]
    if not root.is_dir():
        raise MetadataError(f"--data {root}: no such folder")
    scene = scene_of(settings, root, catalog.array.positions_m, catalog.array.speed_of_sound_m_s, f"{catalog.name}: [dataset] simulated_array")
    check_azimuths(scene, settings.azimuths())
    table, sounds = _wanted(catalog, settings, root, limit)
    if table.empty:
        raise MetadataError(f"{root / settings.sounds_folder}: no sound is left to place; check [select]")
    files = FileSettings(**{name: getattr(settings, name) for name in FileSettings.model_fields})
    return SimulationPlan(root / settings.folder, scene, files, table, sounds)


def _wanted(catalog: Catalog, settings: SimulatedArraySettings, root: Path, limit: int | None) -> tuple[pd.DataFrame, dict[str, ClipSpan]]:
    select = catalog.select
    sounds = read_sounds(settings, root, select.classes, select.quality)
    if limit is not None:
        sounds = limit_clips(sounds, limit, select.seed)
    placed = placed_clips(settings, sounds)
    if select.per_class is not None:
        placed = sample_per_class(placed, select.per_class, select.seed)
    table = placed[(placed["reason"] == "").to_numpy(dtype=bool)].reset_index(drop=True)
    spans = {span.clip_id: span for span in clip_spans(sounds)}
    return table.assign(source_path=[spans[sound].path for sound in table["source_id"]]), spans


def tasks(planned: SimulationPlan, root: Path | str) -> Iterator[SoundTask]:
    """Make the task of each sound, ordered by id; `root` is where the workers see the data root."""
    fingerprint = hash_json(describe(planned.scene, planned.settings))
    for source_id, rows in planned.table.groupby("source_id", sort=True):
        placed = tuple(PlacedSound(*row) for row in rows[["clip_id", "path", "azimuth_deg"]].itertuples(index=False, name=None))
        yield SoundTask(str(root), planned.scene, planned.settings, fingerprint, planned.sounds[source_id], placed)


def run(planned: SimulationPlan, root: Path | str, client: Any = None, journal: Journal = SILENT) -> list[SimulatedFile]:
    """Make the files that are missing or differ, then the table and the description of the scene.

    Parameters
    ----------
    planned : SimulationPlan
    root : path
        Data root, as the workers see it.
    client : distributed.Client or None
        None = this process.
    journal : Journal
        Told of every sound.
    """
    described = describe(planned.scene, planned.settings)
    with write_faults(planned.folder):
        tables.make_ready(planned.folder, described)
    rows: dict[str, SimulatedFile] = {}
    with Bar("simulate", len(planned.table), "files") as bar:
        for _, found in run_bounded(client, jobs.simulate_sound, tasks(planned, root), journal=journal):
            rows.update((row.clip_id, row) for row in found)
            bar.advance(len(found), failed=sum(bool(row.reason) for row in found))
    tables.write(planned.folder, described, tables.table_of_files(planned.table, rows))
    return [rows[clip_id] for clip_id in planned.table["clip_id"]]


def simulate(
    catalog: Catalog, root: Path, client: Any = None, limit: int | None = None, dry_run: bool = False, worker_root: str | None = None,
    journal: Journal = SILENT,
) -> int:
    """Simulate what a catalog names, and say what came of it.

    Parameters
    ----------
    catalog : Catalog
    root : Path
        Data root.
    client : distributed.Client or None
        None = this process.
    limit : int, optional
        Only so many sounds.
    dry_run : bool
        Check and count; make nothing.
    worker_root : str, optional
        Where the workers see the data root; None: where the driver does.
    journal : Journal
        Told of the plan and of every sound.

    Returns
    -------
    int
        0, or 1 where a sound failed.
    """
    planned = plan(catalog, root, limit)
    _show(planned)
    journal.write("plan", sounds=planned.table["source_id"].nunique(), files=len(planned.table))
    if dry_run:
        out.print("dry run: nothing was made")
        return 0
    rows = run(planned, worker_root or root, client, journal)
    failed = [row for row in rows if row.reason]
    made = sum(row.made for row in rows)
    out.print(f"files: {planned.folder}  ({made} made, {len(rows) - made - len(failed)} kept, {len(failed)} failed)")
    for row in failed[:_SHOWN]:
        out.print(f"  failed {row.clip_id}: {row.reason}: {row.detail}")
    if len(failed) > _SHOWN:
        out.print(f"  ... and {len(failed) - _SHOWN} more; {planned.folder / tables.TABLE_FILE} has them all")
    _tell_of_others(planned)
    return int(bool(failed))


def _show(planned: SimulationPlan) -> None:
    counts = planned.table.groupby("label").agg(sounds=("source_id", "nunique"), groups=("group_id", "nunique"), files=("clip_id", "size"))
    print_table("to simulate", ["class", *counts.columns], ([label, *row] for label, row in zip(counts.index, counts.to_numpy(), strict=True)))


def _tell_of_others(planned: SimulationPlan) -> None:
    """Say that the folder holds more than was asked for: a reader that goes by folders would take it for part of the data set."""
    others = tables.strangers(planned.folder, {"/".join(path.split("/")[-3:]) for path in planned.table["path"]})
    if others:
        out.print(f"note: {len(others)} more sound files lie there, which this catalog does not name, e.g. {others[0]}")
