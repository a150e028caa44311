"""Catalog and files to a cache: inspect the clips, plan the shards, make them, write the manifest last.

As little logic as possible lives here: what is decided is in `audiodata.planning`, what workers run is in `audiodata.jobs`; this module
hands the results of one to the other and shows how far it is.
"""

import contextlib
import itertools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from audiodata import jobs
from audiodata.assembly import ShardTask
from audiodata.catalog import Catalog
from audiodata.clips import limit_clips
from audiodata.datasets import dataset_settings, read_clips
from audiodata.errors import CacheError, ClipError, MetadataError
from audiodata.events.spans import sensors_of
from audiodata.inspections import InspectionStore, verdicts_of_download
from audiodata.manifest import finish
from audiodata.noise_bank import NoiseRecording
from audiodata.noise_list import noise_recordings
from audiodata.planning import BuildPlan, clip_spans, draft_shards, plan_cache, shard_tasks
from audiodata.progress import Bar
from audiodata.records import Inspection
from audiodata.shards import MANIFEST_FILE, ShardRecord, read_manifest, remove_stale_temporaries
from audiodata.sources import inspect
from audiodata.splits import assign_splits, check_leakage
from audiodata.verdicts import judge
from pipelines.cluster import run_bounded

CLIPS_PER_TASK = 64
CLIPS_TRIED = 8  # until one of them can be read


def read_table(catalog: Catalog, root: Path, limit: int | None = None) -> pd.DataFrame:
    """Read the clips that a catalog names, with their split; `limit` keeps that many candidates, balanced over the classes."""
    _check_root(root)
    select = catalog.select
    table = read_clips(
        catalog.dataset, root, classes=select.classes, quality=select.quality, per_class=select.per_class, seed=select.seed
    )
    table["split"] = assign_splits(table, **catalog.split.model_dump())
    check_leakage(table)
    return table if limit is None else limit_clips(table, limit, select.seed)


def _check_root(root: Path) -> None:
    if not root.is_dir():
        raise MetadataError(f"--data {root}: no such folder")


def build_ahead(
    catalog: Catalog,
    table: pd.DataFrame,
    root: Path,
    out: Path,
    store: InspectionStore,
    client: Any,
    recordings: tuple[NoiseRecording, ...] = (),
) -> dict[str, ShardRecord]:
    """Inspect clips and make their shards in one pass, where none of a shard's clips has been inspected before.

    Returns
    -------
    dict of str to ShardRecord
        By fingerprint: whether a shard is wanted as it was made is for the plan to say.
    """
    known = store.recall(clip_spans(table), root)
    drafts = draft_shards(catalog, table, str(root), str(out), recordings, _first_sensors(catalog, table, root))
    fresh = [draft for draft in drafts if not any(clip.clip_id in known for clip, _ in draft.clips)]
    if fresh:
        _make_room(out)
    made = {}
    with Bar("inspect and build", sum(len(draft.clips) for draft in fresh), "clips") as bar:
        for draft, (found, record) in run_bounded(client, jobs.build_ahead, fresh):
            store.remember((clip for clip, _ in draft.clips), found)
            made.update({record.fingerprint: record} if record else {})
            bar.advance(len(found), failed=sum(bool(row.reason) for row in found))
    return made


def _first_sensors(catalog: Catalog, table: pd.DataFrame, root: Path) -> dict[str, tuple[int, int, int]]:
    """Sizes of the sensors of the first clip of events that can be read, which are likely those of all."""
    if dataset_settings(catalog.dataset)[0].kind != "events":
        return {}
    found = (inspect("events", root, clip)[0] for clip in itertools.islice(clip_spans(table), CLIPS_TRIED))
    return sensors_of(next((one.shape for one in found if not one.reason), ()))


def inspect_clips(catalog: Catalog, table: pd.DataFrame, root: Path, store: InspectionStore, client: Any) -> dict[str, Inspection]:
    """Inspect the clips whose files have changed since they were last inspected; the others are remembered."""
    wanted = list(clip_spans(table))
    known = store.recall(wanted, root)
    left = [clip for clip in wanted if clip.clip_id not in known]
    kind = dataset_settings(catalog.dataset)[0].kind
    tasks = (jobs.InspectTask(str(root), kind, tuple(left[at : at + CLIPS_PER_TASK])) for at in range(0, len(left), CLIPS_PER_TASK))
    with Bar("inspect", len(left), "clips") as bar:
        for task, rows in run_bounded(client, jobs.inspect_clips, tasks):
            store.remember(task.clips, rows)
            known.update((row.clip_id, row) for row in rows)
            bar.advance(len(rows), failed=sum(bool(row.reason) for row in rows))
    return known


def plan(
    catalog: Catalog,
    table: pd.DataFrame,
    root: Path,
    store: InspectionStore,
    client: Any = None,
    recordings: tuple[NoiseRecording, ...] = (),
) -> BuildPlan:
    """Inspect what is left and plan; nothing in the cache changes."""
    inspections = inspect_clips(catalog, table, root, store, client)
    downloaded = dataset_settings(catalog.dataset)[0].fetch is not None
    fetched = verdicts_of_download(root) if downloaded else None
    verdicts = judge(table, inspections, catalog.clean, catalog.audio.channels, fetched)
    store.settle(verdicts)
    return plan_cache(catalog, table, inspections, verdicts, recordings)


def run(
    planned: BuildPlan, root: Path, out: Path, client: Any = None, made: Mapping[str, ShardRecord] | None = None
) -> dict[str, Any]:
    """Make the shards that are missing or stale, then the tables and the manifest, which is returned.

    Parameters
    ----------
    planned : BuildPlan
    root, out : path
        Data root and cache.
    client : distributed.Client or None
        None = this process.
    made : mapping, optional
        Shards that were made ahead, by fingerprint.

    Raises
    ------
    ClipError
        A file changed during the build; nothing of it is in the cache, and the next build starts from there.
    """
    made = made or {}
    _make_room(out)
    records: list[ShardRecord] = []
    changed: ClipError | None = None
    with Bar("shards", planned.examples["shard"].nunique(), "shards") as bar:

        def left() -> Iterator[ShardTask]:
            for task in _retiring_manifest(shard_tasks(planned, str(root), str(out)), out):
                ahead = made.get(task.fingerprint)
                if ahead and ahead.file == task.file:  # the same examples may have been expected in another shard
                    records.append(ahead)
                    bar.advance()
                else:
                    yield task

        for _, result in run_bounded(client, jobs.build_shard, left()):
            changed = result if isinstance(result, ClipError) else changed
            records.extend([] if isinstance(result, ClipError) else [result])
            bar.advance(failed=int(isinstance(result, ClipError)))
    if changed is not None:
        raise changed
    return finish(out, planned, records)


def build(
    catalog: Catalog,
    root: Path,
    out: Path,
    client: Any = None,
    limit: int | None = None,
    on_plan: Callable[[BuildPlan], None] = lambda planned: None,
    dry_run: bool = False,
) -> dict[str, Any] | None:
    """Build a cache: read, inspect, plan, make.

    Parameters
    ----------
    catalog : Catalog
    root, out : path
        Data root and cache.
    client : distributed.Client or None
        None = this process.
    limit : int, optional
        Only so many clips.
    on_plan : callable, optional
        Shown the plan before the shards are made.
    dry_run : bool
        Stop there.

    Returns
    -------
    dict or None
        The manifest; None after a dry run.
    """
    _check_root(root)
    catalog = catalog.settled(root)
    table = read_table(catalog, root, limit)
    recordings = noise_recordings(catalog.noise, table, root) if catalog.noise else ()
    with InspectionStore.beside(out) as store:
        made = {} if dry_run else build_ahead(catalog, table, root, out, store, client, recordings)
        planned = plan(catalog, table, root, store, client, recordings)
        on_plan(planned)
        return None if dry_run else run(planned, root, out, client, made)


def _make_room(out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    remove_stale_temporaries(out)


def _retiring_manifest(tasks: Iterator[ShardTask], out: Path) -> Iterator[ShardTask]:
    """Pass tasks on; remove the manifest of an earlier build before the first shard that it does not describe any more is made."""
    described = {}
    if (out / MANIFEST_FILE).is_file():
        with contextlib.suppress(CacheError):
            described = {shard["file"]: shard["fingerprint"] for shard in read_manifest(out / MANIFEST_FILE)["shards"]}
    for task in tasks:
        if described.get(task.file) != task.fingerprint:
            (out / MANIFEST_FILE).unlink(missing_ok=True)
        yield task
