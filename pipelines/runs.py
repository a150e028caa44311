"""One run of a command: it keeps a journal from its first moment to its last, whatever ends it, and sums up what was done."""

import os
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import typer

from audiodata import environment
from audiodata.catalog import Catalog
from audiodata.console import BAD_INPUT, INTERRUPTED, out
from audiodata.errors import AudioDataError
from audiodata.worker import explain
from pipelines.cluster import dashboard
from pipelines.journal import Journal
from pipelines.logfile import Discretion, LogFile, warnings_to
from pipelines.summary import Tally

FAILED = 1
PACKAGES = ("dask", "librosa", "numba", "numpy", "pandas", "scipy", "yt-dlp")  # whose versions are told beside those of storage


@contextmanager
def running(
    command: str, catalog: Catalog, data: Path, log: Path | None = None, proxies: Iterable[str] = (), worker_root: str | None = None, **about: Any
) -> Iterator[Journal]:
    """Keep a journal while a command runs; at its end print the summary.

    Parameters
    ----------
    command : str
    catalog : Catalog
    data : Path
        Data root.
    log : Path, optional
        File that gets a JSON line an event.
    proxies : iterable of str
        Whose passwords must not get there.
    worker_root : str, optional
        Data root as workers see it.
    **about
        Further fields of the log's first line.

    Raises
    ------
    EnvironmentFault, CatalogError
        The log can't be written to.
    """
    started, tally, error = time.monotonic(), Tally(), None
    with ExitStack() as stack:
        journal = Journal(tally)
        if log is not None:
            file = LogFile(log, Discretion([str(data.absolute()), worker_root or ""], proxies))
            stack.callback(file.close)
            journal = Journal(tally, file)
            stack.enter_context(warnings_to(journal))
            journal.write("begin", command=command, **_about(catalog), data=str(data), **{name: str(one) for name, one in about.items() if one})
        try:
            yield journal
        except BaseException as caught:
            error = caught
            raise
        finally:
            seconds = time.monotonic() - started
            journal.write("end", **_outcome(error), seconds=round(seconds, 3), **tally.counts())
            for line in tally.lines(seconds):
                out.print(line)


def _about(catalog: Catalog) -> dict[str, Any]:
    who = {"host": socket.gethostname(), "pid": os.getpid(), "versions": environment.describe(PACKAGES)}
    return {"catalog": catalog.name, "fingerprint": catalog.fingerprint()} | who


def _outcome(error: BaseException | None) -> dict[str, Any]:
    """Exit code of a command that ends so, and the error's line."""
    match error:
        case None:
            return {"exit_code": 0}
        case typer.Exit():
            return {"exit_code": error.exit_code}
        case AudioDataError():
            return {"exit_code": BAD_INPUT, "error": explain(error)}
        case KeyboardInterrupt():
            return {"exit_code": INTERRUPTED, "error": "interrupted"}
    return {"exit_code": FAILED, "error": explain(error)}


def tell_cluster(client: Any, journal: Journal) -> None:
    """Say where the dashboard of the workers' scheduler is."""
    if client is None:
        return
    address = dashboard(client)
    journal.write("cluster", scheduler=client.scheduler.address, dashboard=address, workers=len(client.nthreads()))
    if address:
        out.print(f"dashboard: {address}")
