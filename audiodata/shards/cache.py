"""Read a finished cache: any example by its id or by shard and row, from any process."""

import difflib
import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from audiodata.errors import CacheError
from audiodata.shards.format import Layout
from audiodata.shards.manifest import (
    EXAMPLES_FILE,
    LEDGER_FILE,
    MANIFEST_FILE,
    read_examples,
    read_ledger,
    read_manifest,
)
from audiodata.shards.reader import Handle, ShardIndex

MAX_OPEN = 64
FEW = 32  # examples
SEARCHED_FOR_NEAREST = 20_000


def open_cache(path: str | os.PathLike) -> "Cache":
    """Open a finished cache.

    Parameters
    ----------
    path : path-like
        The folder that a build wrote.

    Returns
    -------
    Cache

    Raises
    ------
    CacheError
        No such folder, not a cache, an unfinished build, a newer format, or a damaged manifest.
    """
    folder = Path(path)
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise CacheError(f"{folder}: {what}; expected the folder that a build wrote")
    if not (folder / MANIFEST_FILE).is_file():
        begun = any(folder.glob("*.h5")) or any(folder.glob(".*.tmp"))
        what = "the build isn't finished, run it again" if begun else "not a cache, expected the folder that a build wrote"
        raise CacheError(f"{folder}: no {MANIFEST_FILE} here: {what}")
    return Cache(folder)


class Cache:
    """A finished cache, opened by `open_cache`.

    Shards are opened when they are first read, at most `MAX_OPEN` at a time. It can be pickled and used after a fork;
    several threads may read at once.

    Parameters
    ----------
    path : Path
        The folder.

    Attributes
    ----------
    path : Path
        The folder.
    manifest : dict
        What the build wrote, see ``manifest.json``.
    features, targets : dict of str to Layout
        What each example has.
    """

    def __init__(self, path: Path):
        self.path = Path(path)
        self.manifest: dict[str, Any] = read_manifest(self.path / MANIFEST_FILE)
        self.features = {name: Layout.from_record(entry) for name, entry in self.manifest["features"].items()}
        self.targets = {name: Layout.from_record(entry) for name, entry in self.manifest["targets"].items()}
        self._layouts = self.features | self.targets
        self._paths = {name: f"/features/{name}" for name in self.features}
        self._paths |= {name: f"/targets/{name}" for name in self.targets}
        self._shards = {shard["file"]: shard["examples"] for shard in self.manifest["shards"]}
        self._indexes: dict[str, ShardIndex] = {}
        self._looked_up = 0
        self.close()

    def __repr__(self) -> str:
        return f"Cache({str(self.path)!r}, {sum(self._shards.values())} examples in {len(self._shards)} shards)"

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["path"])

    @cached_property
    def examples(self) -> pd.DataFrame:
        """The table of examples: one row each, in the order of shards and rows."""
        return read_examples(self.path / EXAMPLES_FILE)

    @cached_property
    def ledger(self) -> pd.DataFrame:
        """The table of input clips: ``clip_id, status, reason, detail``."""
        return read_ledger(self.path / LEDGER_FILE)

    def read(self, example_id: str) -> dict[str, np.ndarray]:
        """Read all features and targets of one example.

        Parameters
        ----------
        example_id : str
            As in the table of examples.

        Returns
        -------
        dict of str to ndarray
            By name, each of the shape and dtype that the manifest gives; a first length of null there is any here.

        Raises
        ------
        CacheError
            No such example, or its shard is missing or damaged.
        """
        position = self._position(str(example_id))
        if position is None:
            raise CacheError(f"{self.path}: no example {example_id!r}{self._nearest_id(str(example_id))}")
        return self.read_row(*self.place(position))

    def place(self, position: int) -> tuple[str, int]:
        """Return shard and row of an example, given its position in the table of examples."""
        codes, names, rows = self._places
        return names[codes[position]], int(rows[position])

    def read_row(self, shard: str, row: int, names: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        """Read one row of a shard.

        Parameters
        ----------
        shard : str
            File name, as in the manifest.
        row : int
            From 0.
        names : sequence of str, optional
            Features and targets; all by default.

        Returns
        -------
        dict of str to ndarray
            By name.

        Raises
        ------
        CacheError
            No such shard, row or name, or the shard is missing or damaged.
        """
        names = self._paths if names is None else self._known(names)
        index, handle = self._open(shard)
        self._check_row(shard, row)
        return {name: index.read(handle, row, self._paths[name]) for name in names}

    def read_rows(
        self, places: Sequence[tuple[str, int]], names: Sequence[str] | None = None
    ) -> dict[str, np.ndarray | list[np.ndarray]]:
        """Read several rows, going through the shards in their order.

        Parameters
        ----------
        places : sequence of (str, int)
            Shard and row of each example.
        names : sequence of str, optional
            Features and targets; all by default.

        Returns
        -------
        dict of str to ndarray or list of ndarray
            By name, ``[example, ...]`` in the order of `places`; of a ragged feature a list of one array an example.

        Raises
        ------
        CacheError
            As `read_row`.
        """
        names = self._paths if names is None else self._known(names)
        found = {name: _memory(self._layouts[name], len(places)) for name in names}
        for position in sorted(range(len(places)), key=places.__getitem__):
            shard, row = places[position]
            index, handle = self._open(shard)
            self._check_row(shard, row)
            for name, values in found.items():
                if isinstance(values, list):
                    values[position] = index.read(handle, row, self._paths[name])
                else:
                    index.read_into(handle, row, self._paths[name], values[position, ...])
        return found

    def close(self) -> None:
        """Let go of all open files; the next read opens what it needs."""
        self._lock = threading.Lock()
        self._handles: OrderedDict[str, Handle] = OrderedDict()
        self._pid = os.getpid()

    def _position(self, example_id: str) -> int | None:
        """Look an example up: the first few by looking through all, as a table of two million by their ids takes seconds to make."""
        self._looked_up += 1
        if self._looked_up > FEW:
            return self._positions.get(example_id)
        position = pc.index(pa.array(self.examples["example_id"], pa.large_string()), example_id).as_py()
        return None if position < 0 else position

    @cached_property
    def _positions(self) -> dict[str, int]:
        return {identifier: position for position, identifier in enumerate(self.examples["example_id"])}

    @cached_property
    def _places(self) -> tuple[np.ndarray, list[str], np.ndarray]:
        codes, names = pd.factorize(self.examples["shard"])
        return codes, list(names), self.examples["row"].to_numpy()

    def _open(self, shard: str) -> tuple[ShardIndex, Handle]:
        """Return a shard's index and an open handle, which the caller keeps open for as long as it holds it."""
        if self._pid != os.getpid():
            self.close()
        with self._lock:
            index = self._indexes.get(shard) or self._index(shard)
            handle = self._handles.get(shard)
            if handle is None:
                handle = self._handles[shard] = index.open()
                if len(self._handles) > MAX_OPEN:
                    self._handles.popitem(last=False)
            else:
                self._handles.move_to_end(shard)
        return index, handle

    def _index(self, shard: str) -> ShardIndex:
        if shard not in self._shards:
            raise CacheError(f"{self.path}: no shard {shard!r}; the manifest names {len(self._shards)} others")
        index = ShardIndex(self.path / shard)
        expected = {self._paths[name]: (layout.shape, layout.dtype) for name, layout in self._layouts.items()}
        found = {path: (column.shape, column.dtype.name) for path, column in index.columns.items()}
        if found != expected or index.examples != self._shards[shard]:
            raise CacheError(f"{self.path / shard}: structure: differs from the manifest; run verify on the cache")
        self._indexes[shard] = index
        return index

    def _check_row(self, shard: str, row: int) -> None:
        if not 0 <= row < self._shards[shard]:
            raise CacheError(f"{self.path / shard}: no row {row}; it has {self._shards[shard]}")

    def _known(self, names: Sequence[str]) -> Sequence[str]:
        for name in names:
            if name not in self._paths:
                raise CacheError(f"{self.path}: no feature or target {name!r}; it has {', '.join(self._paths)}")
        return names

    def _nearest_id(self, example_id: str) -> str:
        """Return the tail of a message that names the most similar id: one of the same clip, or by its letters."""
        clip = example_id.rpartition("#")[0] or example_id
        table = self.examples
        same_clip = table["example_id"][(table["clip_id"] == clip).to_numpy()].tolist()
        some = table["example_id"].head(SEARCHED_FOR_NEAREST).tolist()
        near = same_clip or difflib.get_close_matches(example_id, some, n=1)
        return f"; did you mean {near[0]!r}?" if near else "; the table of examples lists them all"


def _memory(layout: Layout, examples: int) -> np.ndarray | list[Any]:
    """Return what so many rows are read into: one array, or a list where each row has a size of its own."""
    return [None] * examples if layout.ragged else np.empty((examples, *layout.shape), layout.dtype)
