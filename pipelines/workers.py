"""Whether the workers are fit for a build: what they must have and see is written down here, and those that are there are asked at once."""

import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from audiodata import environment
from audiodata.catalog import Catalog
from audiodata.errors import CatalogError, EnvironmentFault
from audiodata.features import numeric_versions
from audiodata.shards.atomic import temporary_name, write_faults
from audiodata.worker import Check, FileSample, UnfitWorker, explain, own_name, problems, take_sample

SAMPLES = 3
FILES_TRIED = 100  # until enough can be read


class Places(NamedTuple):
    """Where things lie as the workers see them.

    Attributes
    ----------
    root, out : str
        Data root and cache.
    scratch : str
        Folder of a worker's own for shards in the making, as `audiodata.shards.scratch.find_scratch` takes it; empty: the cache.
    """

    root: str
    out: str
    scratch: str = ""


def check_elsewhere(is_elsewhere: bool, worker_root: str | None, worker_out: str | None = None) -> None:
    """Make sure that places as workers see them are given only where workers may see others than the driver.

    Raises
    ------
    EnvironmentFault
        The workers are this machine's own.
    """
    given = [name for name, value in (("--worker-root", worker_root), ("--worker-out", worker_out)) if value is not None]
    if given and not is_elsewhere:
        raise EnvironmentFault(f"{' and '.join(given)}: only with --scheduler or --slurm; local workers see what this process sees")


def places_of(root: Path, out: Path, worker_root: str | None, worker_out: str | None, scratch: str = "") -> Places:
    """Find out where the workers see the data root and the cache.

    Parameters
    ----------
    root, out : Path
        As the driver sees them.
    worker_root, worker_out : str or None
        As the workers do; None: at the same place. A cache below the data root moves with it.

    Raises
    ------
    CatalogError
        The data root is elsewhere and the cache isn't below it: then nobody knows where that is.
    """
    root, out = Path(root).absolute(), Path(out).absolute()
    if worker_root is not None and worker_out is None:
        if not out.is_relative_to(root):
            raise CatalogError(f"--worker-root {worker_root}: --out {out} isn't below --data {root}; say where workers see it: --worker-out PATH")
        worker_out = str(Path(worker_root) / out.relative_to(root))
    return Places(worker_root or str(root), worker_out or str(out), scratch)


@contextmanager
def fitness(client: Any, catalog: Catalog, root: Path, paths: Iterable[str], out: Path | None, places: Places) -> Iterator[Check]:
    """Say what a worker needs for a build, and ask those that are there.

    Parameters
    ----------
    client : distributed.Client
    catalog : Catalog
    root : Path
        Data root as the driver sees it.
    paths : iterable of str
        Files below it that are going to be read.
    out : Path or None
        The cache, which has to be there; None: nothing is going to be written.
    places : Places

    Yields
    ------
    Check
        For those that join later.

    Raises
    ------
    UnfitWorker
        One of those that are there lacks something; the line says which and what.
    """
    packages = tuple(numeric_versions(catalog.compute.fft, catalog.features).keys() - {"fft"})
    with note_in(out) as note:
        check = Check(
            tuple(environment.describe(packages).items()), tuple(sorted(packages)), places.root, places.out, tuple(samples_of(root, paths)), note
        )
        ask(client, check)
        yield check


def ask(client: Any, check: Check) -> None:
    """Put a check to all workers that are there.

    Raises
    ------
    UnfitWorker
        The first, by address, that does not pass.
    EnvironmentFault
        The scheduler can't pass on what is sent through it.
    """
    ask_scheduler(client)
    answers = client.run(problems, check, on_error="return")
    for address, found in sorted(answers.items()):
        lines = (explain(found),) if isinstance(found, BaseException) else found
        if lines:
            raise UnfitWorker(address, lines)


def ask_scheduler(client: Any) -> None:
    """Make sure that the scheduler knows this package: Dask unpacks on the way what it passes on.

    Raises
    ------
    EnvironmentFault
        It does not.
    """
    try:
        client.run_on_scheduler(own_name)
    except OSError:  # it has gone away
        raise
    except Exception as error:  # whatever it lacks
        where = client.scheduler.address
        raise EnvironmentFault(f"scheduler {where}: {explain(error)}; it needs the audiodata wheel as its workers do") from error


def samples_of(root: Path, paths: Iterable[str]) -> Iterator[FileSample]:
    """Look at the first few files below a root that can be read."""
    found = 0
    for path in paths:
        try:
            yield take_sample(root, path)
        except OSError:
            continue
        found += 1
        if found == SAMPLES:
            return


@contextmanager
def note_in(out: Path | None) -> Iterator[tuple[str, str]]:
    """Leave a note in the cache for the workers to find, and yield its name and text; none where there is no cache.

    Its name is that of a file in the making, so that a build removes one left behind.
    """
    if out is None:
        yield "", ""
        return
    path, text = temporary_name(out / "worker-check"), uuid.uuid4().hex
    with write_faults(path):
        path.write_text(text, encoding="utf-8")
    try:
        yield path.name, text
    finally:
        path.unlink(missing_ok=True)
