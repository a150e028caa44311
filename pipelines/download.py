"""Catalog to checked files: what is wanted and not there yet is asked for, at a pace that platforms allow.

As little logic as possible lives here: what is left is decided in `pipelines.download_plan`, what one video needs in
`audiodata.jobs.download_video`, when it may be asked for in `pipelines.pacing`; what became of it is in the ledger.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from audiodata import jobs
from audiodata.catalog import Catalog, DownloadSettings
from audiodata.console import out
from audiodata.datasets import dataset_settings
from audiodata.download import remove_unfinished
from audiodata.errors import CatalogError
from audiodata.existing import ExistingTask, find_existing
from audiodata.lease import Lease
from audiodata.ledger import ClipRow, Ledger, known_reasons
from audiodata.progress import Bar
from audiodata.resolve import YOUTUBE, DownloadOptions, is_youtube, parse_extractor_args
from audiodata.settings import validated
from pipelines.campaign import estimate, print_campaign
from pipelines.crew import run_bounded
from pipelines.download_driver import REAL_TIME, Driver, Inline, Outside
from pipelines.download_plan import (
    DownloadPlan,
    clips_by_recording,
    current_status,
    files_there,
    plan,
    read_candidates,
    video_tasks,
    wanted_clips,
)
from pipelines.download_report import print_attrition, print_plan
from pipelines.journal import SILENT, Journal
from pipelines.pacing import Time

__all__ = ["download", "download_options", "plan", "run", "take_in"]

LEDGER_FILE, LEASE_FILE = "ledger.sqlite", "ledger.lease.json"
LISTS_FOLDER = "lists"
OWN_ADDRESS = "none"
_KNOWN = ("clip_id", "status", "reason")


def take_in(
    ledger: Ledger,
    candidates: pd.DataFrame,
    status: np.ndarray,
    root: Path,
    folders: Sequence[Path],
    options: DownloadOptions,
    client: Any = None,
    journal: Journal = SILENT,
) -> int:
    """Take in files that are there already, ours and those of other tools; return how many clips that gave.

    A file that does not hold what its name promises leaves its clip pending, with the reason.

    Parameters
    ----------
    ledger : Ledger
        Open for writing.
    candidates : DataFrame
        Clips table of the clips that the catalog chooses.
    status : array of str, shape [candidate]
        Of `pipelines.download_plan.current_status`.
    root : Path
        The data root.
    folders : sequence of Path
        Where other tools have put files.
    options : DownloadOptions
        For the files that are made.
    client : distributed.Client or None
        Where the work is done.
    journal : Journal
        Told of every file.
    """
    present = wanted_clips(candidates[status == "present"])
    tasks = [ExistingTask(str(root / clip.path), clip.path, (clip,), True, str(root), options) for _, clip in present]
    if folders:
        wanted = clips_by_recording(candidates[np.isin(status, ["pending", "gone"])])
        tasks += find_existing(folders, wanted, str(root), options)
    taken: set[str] = set()
    with Bar("take in", len(tasks), "files") as bar:
        for _, rows in run_bounded(client, jobs.take_in_file, _still_wanted(tasks, taken), journal=journal):
            news = [_open(row) for row in rows if row.clip_id not in taken]
            ledger.record(news)
            taken.update(row.clip_id for row in news if row.status == "ok")
            bar.advance(failed=sum(row.status != "ok" for row in rows))
    return len(taken)


def _open(row: ClipRow) -> ClipRow:
    """Leave a clip pending whose file was of no use: it can still be asked for."""
    return row if row.status == "ok" else row._replace(status="pending")


def _still_wanted(tasks: Iterable[ExistingTask], taken: set[str]) -> Iterator[ExistingTask]:
    """Leave out clips that an earlier file has given."""
    for task in tasks:
        if clips := tuple(clip for clip in task.clips if clip.clip_id not in taken):
            yield task._replace(clips=clips)


def run(
    planned: DownloadPlan,
    ledger: Ledger,
    root: Path,
    options: DownloadOptions,
    pace: DownloadSettings,
    client: Any = None,
    in_flight: int = 1,
    time: Time = REAL_TIME,
    proxies: Sequence[str | None] | None = None,
    journal: Journal = SILENT,
) -> int:
    """Ask for what is planned; return how many clips failed.

    Parameters
    ----------
    planned : DownloadPlan
    ledger : Ledger
        Open for writing.
    root : Path
        The data root.
    options : DownloadOptions
    pace : DownloadSettings
        ``interval_s, jitter, retries``.
    client : distributed.Client or None
        Where the work is done; None: in this process, one video after the other.
    in_flight : int
        Videos asked for at the same time by each identity, with a client.
    time : Time
        Clock and sleep.
    proxies : sequence of (str or None), optional
        One for each network identity; by default there is one, which goes out as the options say.
    journal : Journal
        Told of every video.

    Raises
    ------
    EnvironmentFault
        Going on is useless; what is left stays pending.
    """
    ledger.add(planned.clips["clip_id"])
    executor = Inline() if client is None else Outside(client)
    with Bar("download", len(planned.clips), "clips") as bar:
        driver = Driver(ledger, pace, executor, in_flight, bar, time, proxies or (options.proxy,), journal)
        return driver.work(video_tasks(planned.clips, root, options))


def download(
    catalog: Catalog,
    root: Path,
    *,
    limit: int | None = None,
    retry: Sequence[str] = (),
    dry_run: bool = False,
    identities: int | None = None,
    cookies: Path | None = None,
    proxies: Sequence[str] = (),
    url_template: str = YOUTUBE,
    interval_s: float | None = None,
    existing: Sequence[Path] = (),
    extractor_args: Sequence[str] = (),
    client: Any = None,
    workers: int = 0,
    journal: Journal = SILENT,
) -> int:
    """Do what ``python -m pipelines download`` promises; return its exit code.

    Parameters
    ----------
    catalog : Catalog
    root : Path
        The data root; holds the ledger.
    limit : int or None
        Ask for so many clips at most; 0: only take in what is there.
    retry : sequence of str
        Reasons, or kinds of reason, whose clips are tried again; one text may hold several, with commas.
    dry_run : bool
        Say what would be asked for; write nothing.
    identities : int or None
        Print what the whole is going to cost when so many network identities share it, and write nothing; None: go ahead.
    cookies, url_template, extractor_args
        See `audiodata.resolve.DownloadOptions`.
    proxies : sequence of str
        Each is a network identity of its own, with its own pace; ``"none"`` is this machine's address.
    interval_s : float or None
        Mean distance of two videos, in seconds; None: the catalog's.
    existing : sequence of Path
        Folders with files made by other tools, besides those that the catalog names below the root.
    client : distributed.Client or None
        Where the work is done.
    workers : int
        Videos under way at the same time; YouTube is never asked for more than one by an identity.
    journal : Journal
        Told of the plan, of every file taken in and of every video.
    """
    reasons = known_reasons(word for text in retry for word in text.split(","))
    per_identity = [download_options(catalog, cookies, proxy, url_template, extractor_args) for proxy in _addresses(proxies)]
    options = per_identity[0]
    pace = _pace(catalog, interval_s)
    candidates = read_candidates(catalog, root)
    planning = {"limit": limit, "seed": catalog.select.seed, "interval_s": pace.interval_s}
    if dry_run or identities is not None:
        known = _known(root)
        status = current_status(candidates, known, files_there(root, candidates["path"]), reasons)
        planned = plan(candidates, status, **planning)
        if identities is not None:
            print_campaign(estimate(planned, known, candidates, pace, identities, root), pace, identities)
        else:
            print_plan(planned, pace)
        out.print(f"{'plan' if identities is not None else 'dry run'}: nothing was asked for, nothing was written")
        return 0
    folders = [*(root / folder for folder in catalog.download.existing), *existing]
    with Lease(root / LEASE_FILE, str(root / LEDGER_FILE)), Ledger(root / LEDGER_FILE) as ledger:
        ledger.retry(reasons)
        status = settle_files(ledger, candidates, root, folders, options, client, journal)
        planned = plan(candidates, status, **planning)
        journal.write("plan", clips=len(planned.clips), videos=planned.videos, estimated_s=planned.estimated_s)
        print_plan(planned, pace)
        _write_lists(catalog, candidates, root)
        in_flight = 1 if is_youtube(url_template) else max(workers // len(per_identity), 1)
        try:
            failed = run(planned, ledger, root, options, pace, client, in_flight, proxies=[one.proxy for one in per_identity], journal=journal)
            remove_unfinished(root, candidates["path"])
        finally:  # a run that is stopped has something to tell, too
            print_attrition(ledger.table(_KNOWN, ledger.counts()), candidates)
    return int(failed > 0)


def _addresses(proxies: Sequence[str]) -> list[str | None]:
    """Return the proxy of each network identity; None is this machine's own address."""
    twice = next((one for one in proxies if list(proxies).count(one) > 1), None)
    if twice is not None:
        raise CatalogError(f"--proxy {twice.rpartition('@')[2]}: given twice; each proxy is one network identity with a pace of its own")
    return [None if one == OWN_ADDRESS else one for one in proxies] or [None]


def _pace(catalog: Catalog, interval_s: float | None) -> DownloadSettings:
    changed = {} if interval_s is None else {"interval_s": interval_s}
    return validated(DownloadSettings, catalog.download.model_dump() | changed, "--interval")


def _known(root: Path) -> pd.DataFrame:
    """Return what the ledger knows, without making one."""
    if not (root / LEDGER_FILE).is_file():
        return pd.DataFrame(columns=_KNOWN, dtype=object)
    with Ledger(root / LEDGER_FILE, read_only=True) as ledger:
        return ledger.table(_KNOWN, ledger.counts())


def settle_files(
    ledger: Ledger, candidates: pd.DataFrame, root: Path, folders: Sequence[Path], options: DownloadOptions, client: Any, journal: Journal = SILENT
) -> np.ndarray:
    """Bring ledger and files together, and return the status of each candidate then.

    Parameters
    ----------
    ledger, candidates, root, folders, options, client, journal
        As of `take_in`; clips whose files have gone are entered as pending.

    Returns
    -------
    array of str, shape [candidate]
        As `pipelines.download_plan.current_status` tells it.
    """
    status = current_status(candidates, ledger.table(_KNOWN, ledger.counts()), files_there(root, candidates["path"]))
    gone = candidates[status == "gone"]
    ledger.record(
        ClipRow(clip_id, "pending", "missing_file", f"{path}: was here, is gone", attempts=0)
        for clip_id, path in zip(gone["clip_id"], gone["path"], strict=True)
    )
    if not folders and not np.isin(status, ["gone", "present"]).any():
        return status
    take_in(ledger, candidates, status, root, folders, options, client, journal)
    status = current_status(candidates, ledger.table(_KNOWN, ledger.counts()), files_there(root, candidates["path"]))
    return np.where(status == "present", "pending", status)  # still not recorded: not what its name promises


def download_options(
    catalog: Catalog, cookies: Path | None, proxy: str | None, url_template: str, extractor_args: Sequence[str]
) -> DownloadOptions:
    """Bring the catalog's and the command's settings together.

    Raises
    ------
    CatalogError
        A value that can't be used.
    """
    shared = ("timeout_s", "over_read_s", "sample_rate", "channels")
    values = {name: getattr(catalog.download, name) for name in shared}
    values |= {"cookies": cookies, "proxy": proxy, "url_template": url_template}
    values |= {"extractor_args": parse_extractor_args(list(extractor_args))}
    values |= {"tolerance_s": catalog.clean.duration_tolerance_s}
    return validated(DownloadOptions, values, "download")


def _write_lists(catalog: Catalog, candidates: pd.DataFrame, root: Path) -> None:
    """Write the chosen clips as lists for other tools, where the data set has a form for that."""
    write = dataset_settings(catalog.dataset)[0].write_lists
    if write is not None:
        write(candidates, root / LISTS_FOLDER / catalog.name)
