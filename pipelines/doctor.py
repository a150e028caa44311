"""Whether the workers of a scheduler can do their part: each examines its machine, and what differs from the driver is named."""

import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from audiodata import environment
from audiodata.console import out, print_table
from audiodata.doctor import Examination, Finding, examine_worker
from audiodata.errors import EnvironmentFault, MetadataError
from audiodata.worker import Check, explain, own_name
from pipelines.workers import FILES_TRIED, Places, ask_scheduler, note_in, places_of, samples_of

PACKAGES = ("numba", "numpy", "scipy")
SHOWN = 8


def seen_by_workers(root: Path | None, cache: Path | None, worker_root: str | None, worker_out: str | None, scratch: str) -> Places:
    """Find out where the workers see the folders to look at; those that are not given are not looked at.

    Raises
    ------
    MetadataError
        The data root is not there.
    """
    if root is not None and not root.is_dir():
        raise MetadataError(f"--data {root}: no such folder")
    if root is not None and cache is not None:
        return places_of(root, cache, worker_root, worker_out, scratch)
    at = [given or (str(path.absolute()) if path else "") for path, given in ((root, worker_root), (cache, worker_out))]
    return Places(*at, scratch)


def doctor(client: Any, root: Path | None, cache: Path | None, places: Places) -> int:
    """Let all workers that are there examine themselves, and print a table each (of many, those with problems first).

    Parameters
    ----------
    client : distributed.Client
    root, cache : Path or None
        Data root and cache as the driver sees them; None: not looked at.
    places : Places
        Where the workers see them.

    Returns
    -------
    int
        0, or 1 if any has a problem.

    Raises
    ------
    EnvironmentFault
        There is no worker, or the scheduler can't pass on what is sent through it.
    """
    ask_scheduler(client)
    _wait_for_one(client)
    found = _examine(client, root, cache, places)
    ill = [address for address, findings in found.items() if any(finding.state == "problem" for finding in findings)]
    fine = [address for address in found if address not in ill]
    for address in (ill + fine)[:SHOWN]:
        print_table(f"worker {address}", ("what", "state", "detail"), found[address])
    more = f"; {len(found) - SHOWN} not shown" if len(found) > SHOWN else ""
    out.print(f"workers: {len(found)}, of which {len(ill)} with problems{more}")
    return int(bool(ill))


def _wait_for_one(client: Any) -> None:
    """Wait for the first worker where workers come with the work: jobs of Slurm."""
    if client.nthreads():
        return
    if not hasattr(client.cluster, "most_threads"):
        raise EnvironmentFault(f"scheduler {client.scheduler.address}: no worker is there; start some, and ask again")
    out.print("no worker is there yet; waiting for the first job to start")
    client.submit(own_name, pure=False).result()


def _examine(client: Any, root: Path | None, cache: Path | None, places: Places) -> dict[str, list[Finding]]:
    ours = environment.describe(PACKAGES)
    with note_in(cache if cache and cache.is_dir() else None) as note:
        check = Check((), PACKAGES, places.root, places.out, tuple(samples_of(root, _first_files(root))) if root else (), note)
        answers = client.run(examine_worker, check, places.scratch, on_error="return")
    return {address: list(_findings(answer, ours)) for address, answer in sorted(answers.items())}


def _first_files(root: Path) -> Iterator[str]:
    files = (path for path in root.rglob("*") if path.is_file())
    return (path.relative_to(root).as_posix() for path in itertools.islice(files, FILES_TRIED))


def _findings(answer: Examination | BaseException, ours: Mapping[str, str]) -> Iterator[Finding]:
    if isinstance(answer, BaseException):
        yield Finding("examination", "problem", explain(answer))
        return
    yield Finding("host", "ok", answer.host)
    different = environment.differences(ours, answer.environment)
    yield Finding("versions", "problem" if different else "ok", "; ".join(different) or "as the driver's")
    yield from answer.findings
