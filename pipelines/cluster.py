"""A Dask client: none (this process), local processes, a scheduler that is already there, or jobs of Slurm."""

import asyncio
import contextlib
import json
import logging
import multiprocessing
import os
import sys
from collections.abc import Iterator
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

from audiodata.errors import CatalogError, EnvironmentFault
from pipelines.dask_settings import WORKER_SETTINGS
from pipelines.slurm import load_slurm, slurm_cluster

TIMEOUT_S = 20.0
SCHEDULER_GONE = "the Dask scheduler has gone away; what is finished is kept, and the same command continues"
SHARED_IMPORTS = "pipelines.worker_imports"


@contextlib.contextmanager
def connect(workers: int | None = None, scheduler: str | None = None, slurm: Path | None = None, lost_workers: int = 0) -> Iterator[Any]:
    """Yield a Dask client, or None where the work is done in this process.

    Parameters
    ----------
    workers : int or None
        Local processes, one thread each; 0 = this process; None = one per core.
    scheduler : str or None
        Address of a scheduler that is already there, or its scheduler file.
    slurm : path or None
        File that says what to ask Slurm for.
    lost_workers : int
        How many workers a task may lose before Dask gives it up; `pipelines.crew` counts for itself. An existing scheduler has its own.

    Raises
    ------
    EnvironmentFault
        A package is missing, nothing answers at the address, or Slurm refuses.
    CatalogError
        A file that can't be used.
    """
    _check_exclusive(workers, scheduler, slurm)
    workers = len(os.sched_getaffinity(0)) if workers is None else workers
    if scheduler is None and slurm is None and workers == 0:
        yield None
        return
    distributed = _import_distributed(lost_workers)
    with _environment_restored(), _place(distributed, workers, scheduler, slurm) as place, _client(distributed, place, scheduler) as client:
        yield client


@contextlib.contextmanager
def _environment_restored() -> Iterator[None]:
    """Take back what Dask sets in this process's environment for workers of one thread: training in this process would have one, too."""
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)


def _check_exclusive(workers: int | None, scheduler: str | None, slurm: Path | None) -> None:
    given = [name for name, value in (("--workers", workers), ("--scheduler", scheduler), ("--slurm", slurm)) if value is not None]
    if len(given) > 1:
        raise EnvironmentFault(f"{' and '.join(given)} exclude each other: each says where the workers come from")


def _import_distributed(lost_workers: int) -> Any:
    try:
        import dask
        import distributed
    except ImportError as error:
        raise EnvironmentFault("Dask is not installed; run: pip install 'audiodata[dask]', or use --workers 0") from error
    dask.config.set({"distributed.scheduler.allowed-failures": lost_workers, "distributed.worker.daemon": True})
    dask.config.set(WORKER_SETTINGS)
    for name in ("distributed", "distributed.nanny", "distributed.scheduler", "distributed.worker"):
        logging.getLogger(name).setLevel(logging.ERROR)
    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)  # `pipelines.crew` says itself that a scheduler has gone
    return distributed


def _place(distributed: Any, workers: int, scheduler: str | None, slurm: Path | None) -> contextlib.AbstractContextManager[Any]:
    """What a client connects to."""
    if slurm is not None:
        return slurm_cluster(load_slurm(slurm), distributed)
    if scheduler is not None:
        return contextlib.nullcontext(scheduler_address(scheduler))
    try:
        return _local_cluster(distributed, workers)
    except (OSError, RuntimeError) as error:  # one of them did not survive its start
        raise EnvironmentFault(f"--workers {workers}: can't be started ({error}); is there memory for so many? The same command continues") from error


def _local_cluster(distributed: Any, workers: int) -> Any:
    """Worker processes that do not share a thread with anything and end with this process; what they have to say, `pipelines.crew` says."""
    return distributed.LocalCluster(
        n_workers=workers, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0", silence_logs=logging.CRITICAL, memory_limit=0,
        env=_share_imports() if sys.platform == "linux" else {},
    )


def _share_imports() -> dict[str, str]:
    """Let worker processes be forks of one that has imported what they all need: they share its memory, and start at once.

    It has to be there before Dask starts one that imports what Dask's own workers need. A later worker finds that one's environment,
    so it is given this process's as it is now, which is returned.
    """
    import dask

    settings = dask.config.get("distributed.nanny.pre-spawn-environ")  # threads of BLAS and the like: read when that is loaded
    os.environ.update({name: str(value) for name, value in settings.items() if value is not None and name not in os.environ})
    multiprocessing.get_context("forkserver").set_forkserver_preload([SHARED_IMPORTS])
    forkserver.ensure_running()
    dask.config.set({"distributed.worker.multiprocessing-method": "forkserver"})
    return dict(os.environ)


def scheduler_address(given: str) -> str:
    """Return the address that was given, or that stands in the scheduler file that was given.

    Raises
    ------
    CatalogError
        Neither an address nor a scheduler file.
    """
    if "://" in given:
        return given
    path = Path(given)
    if path.is_file():
        return _address_in(path)
    host, colon, port = given.rpartition(":")
    if colon and host and port.isdigit() and "/" not in host:
        return f"tcp://{given}"
    raise CatalogError(f"--scheduler {given}: no such scheduler file, and no address like tcp://host:8786")


def _address_in(path: Path) -> str:
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["address"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CatalogError(f"--scheduler {path}: not a scheduler file: no `address` in it (dask scheduler --scheduler-file writes one)") from error


@contextlib.contextmanager
def _client(distributed: Any, place: Any, scheduler: str | None) -> Iterator[Any]:
    try:
        if isinstance(place, str):
            asyncio.run(asyncio.wait_for(_identity(distributed, place), 1.5 * TIMEOUT_S))
        client = distributed.Client(place, timeout=TIMEOUT_S, set_as_default=False)
    except (OSError, ValueError) as error:  # a TimeoutError is an OSError
        cause = " ".join(str(error).split()) or f"silent for {TIMEOUT_S:.0f} s"
        raise EnvironmentFault(f"--scheduler {scheduler}: no Dask scheduler answers ({cause}); check address and network") from error
    with client:
        try:
            yield client
        except distributed.comm.CommClosedError as error:
            raise EnvironmentFault(SCHEDULER_GONE) from error


async def _identity(distributed: Any, address: str) -> None:
    """Ask a scheduler who it is: a client would wait for ever for something that takes its call and says nothing."""
    async with distributed.rpc(address, timeout=TIMEOUT_S) as scheduler:
        await scheduler.identity()


def dashboard(client: Any) -> str:
    """Return the address of a client's dashboard; empty where there is none."""
    scheduler = client.scheduler_info(n_workers=0) if client is not None else {}
    return client.dashboard_link if "dashboard" in scheduler.get("services", {}) else ""


def is_local(client: Any) -> bool:
    """Whether the workers are this process or its children: they see what it sees and are what it is."""
    return client is None or type(client.cluster).__name__ == "LocalCluster"
