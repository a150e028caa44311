"""A Dask client (this process, local processes or a scheduler's address) and bounded submission to it."""

import contextlib
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from audiodata.errors import EnvironmentFault

TASKS_PER_WORKER = 3
LOST_WORKERS_PER_TASK = 5


@contextlib.contextmanager
def connect(workers: int | None = None, scheduler: str | None = None) -> Iterator[Any]:
    """Yield a Dask client, or None where the work is done in this process.

    Parameters
    ----------
    workers : int or None
        Local processes, one thread each; 0 = this process; None = one per core.
    scheduler : str or None
        Address of a scheduler that is already there.

    Raises
    ------
    EnvironmentFault
        Dask is not installed, or nothing answers at the address.
    """
    workers = len(os.sched_getaffinity(0)) if workers is None and scheduler is None else workers
    if scheduler is None and workers == 0:
        yield None
        return
    distributed = _import_distributed()
    with _local_cluster(distributed, workers) if scheduler is None else contextlib.nullcontext(scheduler) as address:
        try:
            client = distributed.Client(address, timeout=20, set_as_default=False)
        except OSError as error:
            raise EnvironmentFault(f"--scheduler {scheduler}: no Dask scheduler answers ({error}); check address and network") from error
        with client:
            yield client


def _import_distributed() -> Any:
    try:
        import dask
        import distributed
    except ImportError as error:
        raise EnvironmentFault("Dask is not installed; run: pip install 'audiodata[dask]', or use --workers 0") from error
    dask.config.set({"distributed.scheduler.allowed-failures": LOST_WORKERS_PER_TASK, "distributed.worker.daemon": True})
    for name in ("distributed", "distributed.nanny", "distributed.scheduler", "distributed.worker"):
        logging.getLogger(name).setLevel(logging.ERROR)
    return distributed


def _local_cluster(distributed: Any, workers: int) -> Any:
    """Worker processes that do not share a thread with anything and end with this process."""
    return distributed.LocalCluster(
        n_workers=workers, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0", silence_logs=logging.ERROR, memory_limit=0
    )


def run_bounded(client: Any, function: Callable[[Any], Any], tasks: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
    """Run a function over tasks and yield ``(task, result)`` as they complete.

    Only a few tasks per worker are with the scheduler at a time, so memory does not grow with the number of tasks; a task whose worker
    is lost is run again elsewhere by Dask; a result leaves the cluster at once, so nothing is recomputed when its worker dies later.

    Parameters
    ----------
    client : distributed.Client or None
        None = in this process, in order.
    function : callable
        A module-level function of `audiodata.jobs`.
    tasks : iterable
        Its arguments, one each.
    """
    if client is None:
        for task in tasks:
            yield task, function(task)
        return
    yield from _run_on(client, function, iter(tasks))


def _run_on(client: Any, function: Callable[[Any], Any], tasks: Iterator[Any]) -> Iterator[tuple[Any, Any]]:
    from distributed import as_completed

    task_of: dict[str, Any] = {}

    def submit(task: Any) -> Any:
        future = client.submit(function, task, pure=False)
        task_of[future.key] = task
        return future

    completed = as_completed(loop=client.loop)
    for task in tasks:
        completed.add(submit(task))
        if completed.count() >= TASKS_PER_WORKER * max(len(client.nthreads()), 1):
            yield _take(next(completed), task_of)
    for future in completed:
        yield _take(future, task_of)


def _take(future: Any, task_of: dict[str, Any]) -> tuple[Any, Any]:
    task = task_of.pop(future.key)
    result = future.result()
    future.release()
    return task, result
