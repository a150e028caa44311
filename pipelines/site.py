"""Where the work of a build is done: by whom, where they see its files, and what they could not do."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from audiodata.catalog import Catalog
from audiodata.errors import AudioDataError
from audiodata.lease import Lease
from audiodata.shards import remove_stale_temporaries
from audiodata.worker import Check
from pipelines.cluster import is_local
from pipelines.crew import SetAside, run_all
from pipelines.journal import SILENT, Journal
from pipelines.pauses import Pauses
from pipelines.workers import FILES_TRIED, Places, fitness


class UnfinishedBuild(AudioDataError):
    """A build of which a part was set aside.

    Parameters
    ----------
    aside : dict of str to SetAside
        Names of shards and clips, and why.
    """

    def __init__(self, aside: dict[str, SetAside]):
        super().__init__(aside)
        self.aside = aside

    def __str__(self) -> str:
        name, first = next(iter(self.aside.items()))
        more = f" (and {len(self.aside) - 1} more)" if len(self.aside) > 1 else ""
        return (
            f"{name} failed {first.tries} times and was set aside: {first.reason}{more}; the rest is done, but there is no manifest: "
            "the same command tries again what was set aside"
        )


class Site:
    """Who works, where they see the files, what they need, and what was set aside.

    Parameters
    ----------
    root, out : Path
        Data root and cache, as the driver sees them.
    client : distributed.Client or None
        None = this process.
    places : Places, optional
        Where the workers see them.
    lease : Lease, optional
        The driver's right to write to the cache.
    journal : Journal
        Told of every piece of work.

    Attributes
    ----------
    aside : dict of str to SetAside
        By the name of the shard, or the id of the clip.
    check : Check or None
        What a worker needs.
    """

    def __init__(
        self, root: Path, out: Path | None = None, client: Any = None, places: Places | None = None, lease: Lease | None = None,
        journal: Journal = SILENT,
    ):
        self.out, self.client, self.journal = out, client, journal
        self.places = places or Places(str(root), str(out or ""))
        self.check: Check | None = None
        self.aside: dict[str, SetAside] = {}
        self._lease, self._has_room, self._pauses = lease, False, Pauses()

    @property
    def note(self) -> str:
        """Name of the file in the cache that is there as long as this driver is; empty where its workers end with it."""
        return self.check.note[0] if self.check else ""

    def run(self, function: Callable[[Any], Any], tasks: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
        """Run a function over tasks, as `pipelines.crew.run_all`, while the cache is this driver's."""
        for done in run_all(self.client, function, tasks, self.check, self.journal, self._pauses):
            if self._lease is not None:
                self._lease.check()
            yield done

    def make_room(self) -> None:
        """Make the cache's folder and remove what an interrupted build left there, once."""
        if not self._has_room:
            self.out.mkdir(parents=True, exist_ok=True)
            remove_stale_temporaries(self.out)
            self._has_room = True

    def tidy(self) -> None:
        """Remove what workers that were lost left in the cache; one that is cut off and still at it can't finish its file then."""
        remove_stale_temporaries(self.out)

    def check_finished(self) -> None:
        """Make sure that the cache is still this driver's and nothing was set aside.

        Raises
        ------
        CacheError
            Another driver has taken over.
        UnfinishedBuild
            Something was set aside.
        """
        if self._lease is not None:
            self._lease.check()
        if self.aside:
            raise UnfinishedBuild(self.aside)


@contextlib.contextmanager
def prepare_site(
    catalog: Catalog, table: pd.DataFrame, root: Path, out: Path, client: Any = None, places: Places | None = None, dry_run: bool = False,
    journal: Journal = SILENT,
) -> Iterator[Site]:
    """Take the cache for this driver, and make sure that the workers are fit for the build.

    Parameters
    ----------
    catalog : Catalog
    table : DataFrame
        The clips table.
    root, out : Path
        Data root and cache, as the driver sees them.
    client : distributed.Client or None
        None = this process.
    places : Places, optional
        Where the workers see them; None: where the driver does.
    dry_run : bool
        Nothing is going to be written to the cache.
    journal : Journal

    Raises
    ------
    CacheError
        Another driver has the cache; the line says who.
    UnfitWorker
        A worker lacks a package, or does not see the data root or the cache.
    """
    with Lease.beside(out) as lease, contextlib.ExitStack() as stack:
        places = places or (None if is_local(client) else Places(str(root.absolute()), str(out.absolute())))
        site = Site(root, out, client, places, lease, journal)
        if not is_local(client):
            if not dry_run:
                site.make_room()
            paths = table.loc[table["reason"] == "", "path"].drop_duplicates().head(FILES_TRIED)
            site.check = stack.enter_context(fitness(client, catalog, root, paths, None if dry_run else out, site.places))
        yield site
