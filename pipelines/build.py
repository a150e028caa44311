"""Catalog and files to a cache: inspect the clips, plan the shards, make them, write the manifest last.

As little logic as possible lives here: what is decided is in `audiodata.planning`, what workers run is in `audiodata.jobs`; this module
hands the results of one to the other and shows how far it is.
"""

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from audiodata import jobs
from audiodata.catalog import Catalog
from audiodata.clips import limit_clips
from audiodata.datasets import dataset_settings, read_clips
from audiodata.errors import CacheError, ClipError, MetadataError
from audiodata.events.spans import sensors_of
from audiodata.findings import Findings
from audiodata.inspections import InspectionStore, verdicts_of_download
from audiodata.manifest import finish
from audiodata.noise_bank import NoiseRecording
from audiodata.noise_list import noise_recordings
from audiodata.planning import BuildPlan, clip_spans, draft_plan, plan_cache, rows_by_file, shard_drafts, shard_task, spans_at
from audiodata.progress import Bar
from audiodata.records import ClipSpan, Inspection
from audiodata.shard_inputs import PlannedShard, planned_shards
from audiodata.shard_memory import ShardMemory
from audiodata.shards import MANIFEST_FILE, ShardRecord, read_manifest
from audiodata.sources import inspect
from audiodata.splits import assign_splits, check_leakage
from audiodata.verdicts import Judge, judge
from pipelines.crew import SetAside
from pipelines.journal import SILENT, Journal
from pipelines.site import Site, prepare_site
from pipelines.workers import Places

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


def recall(catalog: Catalog, table: pd.DataFrame, root: Path, store: InspectionStore) -> Findings:
    """Look up what is remembered of the clips whose files have not changed since they were inspected."""
    findings = Findings(table, Judge(catalog.clean, catalog.audio.channels))
    store.recall(findings, table, root)
    return findings


def build_ahead(
    catalog: Catalog,
    table: pd.DataFrame,
    root: Path,
    store: InspectionStore,
    site: Site,
    findings: Findings,
    recordings: tuple[NoiseRecording, ...] = (),
) -> dict[str, ShardRecord]:
    """Inspect clips and make their shards in one pass, where none of a shard's clips has been inspected before.

    Returns
    -------
    dict of str to ShardRecord
        By fingerprint: whether a shard is wanted as it was made is for the plan to say.
    """
    fresh, places = findings.left(), site.places
    drafted = draft_plan(catalog, table, fresh, recordings, _first_sensors(catalog, table, root) if fresh.any() else None)
    if drafted is None or drafted.clips.empty:
        return {}
    site.make_room()
    made = {}
    with Bar("inspect and build", len(drafted.clips), "clips") as bar:
        drafts = (draft._replace(scratch=places.scratch, note=site.note) for draft in shard_drafts(drafted, places.root, places.out))
        for draft, result in site.run(jobs.build_ahead, drafts):
            if isinstance(result, SetAside):  # its clips are inspected one by one later on
                continue
            found, record = result
            _take_in([clip for clip, _ in draft.clips], found, store, findings)
            made.update({record.fingerprint: record} if record else {})
            bar.advance(len(found), failed=sum(bool(row.reason) for row in found))
    return made


def _take_in(clips: Sequence[ClipSpan], found: Sequence[Inspection], store: InspectionStore, findings: Findings) -> None:
    store.remember(clips, found)
    findings.put(found)


def _first_sensors(catalog: Catalog, table: pd.DataFrame, root: Path) -> dict[str, tuple[int, int, int]]:
    """Sizes of the sensors of the first clip of events that can be read, which are likely those of all."""
    if dataset_settings(catalog.dataset)[0].kind != "events":
        return {}
    found = (inspect("events", root, clip)[0] for clip in itertools.islice(clip_spans(table), CLIPS_TRIED))
    return sensors_of(next((one.shape for one in found if not one.reason), ()))


def inspect_clips(catalog: Catalog, table: pd.DataFrame, store: InspectionStore, site: Site, findings: Findings) -> None:
    """Inspect the clips that `findings` lacks, and put what is found there.

    What could not be inspected, as its workers did not survive it, is set aside: it is found to be unreadable, and is not remembered.
    """
    left = rows_by_file(table, findings.left())
    kind = dataset_settings(catalog.dataset)[0].kind
    with Bar("inspect", len(left), "clips") as bar:
        single: list[ClipSpan] = []
        for clips, rows in _inspected(spans_at(table, left), CLIPS_PER_TASK, kind, site):
            if isinstance(rows, SetAside):
                single.extend(clips)
                continue
            _take_in(clips, rows, store, findings)
            bar.advance(len(rows), failed=sum(bool(row.reason) for row in rows))
        for (clip,), rows in _inspected(single, 1, kind, site):
            if isinstance(rows, SetAside):
                site.aside[clip.clip_id] = rows
                findings.put([Inspection(clip.clip_id, "unreadable", rows.reason)])
            else:
                _take_in((clip,), rows, store, findings)
            bar.advance(failed=int(isinstance(rows, SetAside) or bool(rows[0].reason)))


def _inspected(clips: Iterable[ClipSpan], at_once: int, kind: str, site: Site) -> Iterator[tuple[tuple[ClipSpan, ...], Any]]:
    clips = iter(clips)
    batches = iter(lambda: tuple(itertools.islice(clips, at_once)), ())
    for task, rows in site.run(jobs.inspect_clips, (jobs.InspectTask(site.places.root, kind, batch) for batch in batches)):
        yield task.clips, rows


def plan(
    catalog: Catalog,
    table: pd.DataFrame,
    root: Path,
    store: InspectionStore,
    site: Site | None = None,
    recordings: tuple[NoiseRecording, ...] = (),
    findings: Findings | None = None,
) -> BuildPlan:
    """Inspect what is left and plan; nothing in the cache changes. What is known already may be in `findings`."""
    findings = recall(catalog, table, root, store) if findings is None else findings
    inspect_clips(catalog, table, store, site or Site(root), findings)
    downloaded = dataset_settings(catalog.dataset)[0].fetch is not None
    verdicts = judge(table, findings, catalog.clean, verdicts_of_download(root) if downloaded else None)
    store.settle(verdicts)
    return plan_cache(catalog, table, findings, verdicts, recordings)


def run(
    planned: BuildPlan, root: Path, out: Path, site: Site | None = None, made: Mapping[str, ShardRecord] | None = None,
    memory: ShardMemory | None = None,
) -> dict[str, Any]:
    """Make the shards that are missing or stale, then the tables and the manifest, which is returned.

    Parameters
    ----------
    planned : BuildPlan
    root, out : path
        Data root and cache.
    site : Site or None
        Where the work is done; None = this process.
    made : mapping, optional
        Shards that were made ahead, by fingerprint.
    memory : ShardMemory, optional
        What is remembered of the shards that are there; None: they are all decoded.

    Raises
    ------
    ClipError
        A file changed during the build; nothing of it is in the cache, and the next build starts from there.
    UnfinishedBuild
        Something was set aside; the rest is made, but for the manifest.
    """
    site = site or Site(root, out)
    site.make_room()
    records: list[ShardRecord] = []
    changed: ClipError | None = None
    with Bar("shards", planned.examples["shard"].nunique(), "shards") as bar:
        shards = _retiring_manifest(planned_shards(planned.examples, planned.settings), out)
        left = _not_made(shards, made or {}, memory, records, bar)
        tasks = (shard_task(planned, shard, site.places.root, site.places.out) for shard in left)
        placed = (task._replace(scratch=site.places.scratch, note=site.note) for task in tasks)
        for task, result in site.run(jobs.build_shard, placed):
            if isinstance(result, ShardRecord):
                _enter(result, records, memory)
            elif isinstance(result, SetAside):
                site.aside[task.file] = result
            else:
                changed = result
            bar.advance(failed=int(not isinstance(result, ShardRecord)))
    if changed is not None:
        raise changed
    site.check_finished()
    site.tidy()
    return finish(out, planned, records)


def _not_made(
    shards: Iterable[PlannedShard], made: Mapping[str, ShardRecord], memory: ShardMemory | None, records: list[ShardRecord], bar: Bar
) -> Iterator[PlannedShard]:
    """Pass on the shards that are left to make or to check; enter the others in the records."""
    for shard in shards:
        ahead = made.get(shard.fingerprint)
        if ahead and ahead.file == shard.file:  # the same examples may have been expected in another shard
            known = ahead
        else:
            known = memory.recall(shard.file, shard.fingerprint) if memory else None
        if known:
            _enter(known, records, memory)
            bar.advance()
        else:
            yield shard


def _enter(record: ShardRecord, records: list[ShardRecord], memory: ShardMemory | None) -> None:
    records.append(record)
    if memory:
        memory.remember(record)


def build(
    catalog: Catalog,
    root: Path,
    out: Path,
    client: Any = None,
    limit: int | None = None,
    on_plan: Callable[[BuildPlan], None] = lambda planned: None,
    dry_run: bool = False,
    places: Places | None = None,
    journal: Journal = SILENT,
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
    places : Places, optional
        Where the workers see data root and cache; None: where this process does.
    journal : Journal
        Told of the plan and of every piece of work.

    Returns
    -------
    dict or None
        The manifest; None after a dry run.

    Raises
    ------
    CacheError
        Another run is writing to the cache.
    UnfitWorker
        A worker lacks something.
    UnfinishedBuild
        Something failed three times and was set aside; the rest is done.
    """
    _check_root(root)
    catalog = catalog.settled(root)
    table = read_table(catalog, root, limit)
    recordings = noise_recordings(catalog.noise, table, root) if catalog.noise else ()
    with prepare_site(catalog, table, root, out, client, places, dry_run, journal) as site, InspectionStore.beside(out) as store:
        findings = recall(catalog, table, root, store)
        made = {} if dry_run else build_ahead(catalog, table, root, store, site, findings, recordings)
        planned = plan(catalog, table, root, store, site, recordings, findings)
        journal.write("plan", clips=_counts(planned), examples=len(planned.examples), shards=planned.examples["shard"].nunique())
        on_plan(planned)
        return None if dry_run else run(planned, root, out, site, made, store.shards_of(out))


def _counts(planned: BuildPlan) -> dict[str, int]:
    counts = planned.ledger.value_counts(["status", "reason"])
    return {" ".join(filter(None, names)): int(count) for names, count in counts.items()}


def _retiring_manifest(shards: Iterator[PlannedShard], out: Path) -> Iterator[PlannedShard]:
    """Pass shards on; remove the manifest of an earlier build before the first shard that it does not describe any more is made."""
    described = {}
    if (out / MANIFEST_FILE).is_file():
        with contextlib.suppress(CacheError):
            described = {shard["file"]: shard["fingerprint"] for shard in read_manifest(out / MANIFEST_FILE)["shards"]}
    for shard in shards:
        if described.get(shard.file) != shard.fingerprint:
            (out / MANIFEST_FILE).unlink(missing_ok=True)
        yield shard
