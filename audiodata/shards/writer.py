"""Write one shard, row by row, so that it appears complete and checked or not at all."""

import logging
import unicodedata
from collections.abc import Container, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np

from audiodata.errors import CacheError
from audiodata.fingerprint import hash_file
from audiodata.shards.atomic import Output, staged, sync, write_faults
from audiodata.shards.columns import annotate, feature_column, target_column
from audiodata.shards.format import (
    FORMAT,
    FORMAT_VERSION,
    GROUPS,
    ID_PATH,
    LIBVER,
    ContentHash,
    Layout,
    ShardRecord,
    content_hash,
    fixed_text,
)
from audiodata.shards.record import describe_shard
from audiodata.shards.scratch import copy_out, scratch_fault, scratch_file

logger = logging.getLogger(__name__)


class ShardWriter:
    """Context manager that writes one shard; it takes its final name when the block ends without an error.

    The rows go to a temporary file in the same folder, or in scratch, one at a time. At the end the file is closed, fsynced,
    opened again and decoded; only if its content has the hashes of what was added is it renamed, or, out of scratch, copied to
    a temporary file in the same folder, compared, fsynced and renamed. After an error, or a kill, there is nothing under the
    final name.

    Parameters
    ----------
    path : Path
        Final name, ``<cache>/<split>-<number>.h5``.
    fingerprint : str
        Hash of what the shard is made from.
    split : str
        The split of all its examples.
    features, targets : mapping of str to Layout
        What each example has.
    examples : int, optional
        How many rows there will be, where that is known: another number is an error at the end.
    scratch : Path, optional
        Folder for the file in the making; None: that of `path`.
    note : Path, optional
        A file that is there as long as the shard is wanted: if it is gone in the end, the shard does not take its name.

    Attributes
    ----------
    record : ShardRecord or None
        The shard's entry of the manifest, once the block has ended.

    Raises
    ------
    EnvironmentFault
        The disk is full, or the folder can't be written to.
    ScratchFault
        Scratch is full, or can't be written to.
    CacheError
        What was read back isn't what was written, or the note is gone.
    """

    def __init__(
        self,
        path: Path,
        *,
        fingerprint: str,
        split: str,
        features: Mapping[str, Layout],
        targets: Mapping[str, Layout],
        examples: int | None = None,
        scratch: Path | None = None,
        note: Path | None = None,
    ):
        self.path = Path(path)
        self._scratch, self._note = scratch, note
        self.record: ShardRecord | None = None
        if both := features.keys() & targets.keys():
            raise ValueError(f"{self.path}: {', '.join(sorted(both))} named as feature and as target")
        self._texts = {"format": FORMAT, "fingerprint": fingerprint, "split": split}
        self._expected = examples
        self._columns = {path: feature_column(path, features[name]) for name, path in _paths("features", features)}
        self._columns |= {path: target_column(path, targets[name]) for name, path in _paths("targets", targets)}
        self._ids: dict[str, None] = {}
        self._broken = False

    def __enter__(self) -> "ShardWriter":
        self._context = self._write()
        self._context.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._context.__exit__(kind, error, trace)

    def add(self, example_id: str, features: Mapping[str, np.ndarray], targets: Mapping[str, Any]) -> None:
        """Append one example.

        Parameters
        ----------
        example_id : str
            Unique in the shard, printable.
        features : mapping of str to ndarray
            Exactly the names, shapes and dtypes of the layouts.
        targets : mapping of str to array_like
            The names and shapes of the layouts, with values that their dtypes can hold.

        Raises
        ------
        ValueError
            An id, name, shape, dtype or value that doesn't fit; nothing was written.
        EnvironmentFault
            The disk is full.
        """
        _check_id(example_id, self._ids)
        given = {f"/features/{name}": value for name, value in features.items()}
        given |= {f"/targets/{name}": value for name, value in targets.items()}
        if given.keys() != self._columns.keys():
            raise ValueError(f"{example_id}: has {sorted(given)}, the shard has {sorted(self._columns)}")
        rows = [(column, column.accept(example_id, given[path])) for path, column in self._columns.items()]
        self._broken = True
        with self._writing():
            for column, row in rows:
                column.append(row)
        self._ids[example_id] = None
        self._broken = False

    @contextmanager
    def _write(self) -> Iterator[None]:
        with staged(self.path) as temporary, self._made_in(temporary) as draft:
            with self._faults():
                self._output = Output(draft)
            with self._output, self._new_file() as file:
                yield
                self._check_complete()
                with self._writing():
                    self._write_tail(file)
                    file.close()
                    self._output.close()
                    sync(draft)
            self.record = describe_shard(draft, self.path)
            if draft != temporary:
                self._copy(draft, temporary)
            self._check_wanted()

    def _check_wanted(self) -> None:
        """Make sure that whoever wanted the shard still does: of a run that was killed, a worker knows nothing, and the next may want another."""
        if self._note is None:
            return
        try:
            self._note.open().close()  # opened, as network file systems remember for a while what was there
        except OSError as error:
            raise CacheError(f"{self.path}: given up, as the run that wanted it has ended") from error

    def _made_in(self, temporary: Path) -> AbstractContextManager[Path]:
        return nullcontext(temporary) if self._scratch is None else scratch_file(self._scratch)

    def _copy(self, draft: Path, temporary: Path) -> None:
        with write_faults(self.path):
            copy_out(draft, temporary)
            sync(temporary)
        if hash_file(temporary) != self.record.sha256:
            raise CacheError(f"{self.path}: the copy differs from what was written in {self._scratch}; build again, and check the network's disk")

    @contextmanager
    def _faults(self) -> Iterator[None]:
        """Say of which disk it is that there is something wrong."""
        if self._scratch is None:
            with write_faults(self.path):
                yield
            return
        try:
            yield
        except OSError as error:
            raise scratch_fault(self._scratch, error) from error

    @contextmanager
    def _new_file(self) -> Iterator[h5py.File]:
        # No chunk cache: a chunk is written whole and once, and a full disk shows at the row that meets it.
        with self._writing():
            file = h5py.File(self._output, "w", libver=LIBVER, rdcc_nbytes=0, locking=False)
        try:
            with self._writing():
                self._create(file)
            yield file
        finally:
            _close_quietly(file)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Raise what went wrong in writing as an `EnvironmentFault`, rather than what HDF5 makes of it."""
        with self._faults():
            try:
                yield
            finally:
                self._output.check()

    def _create(self, file: h5py.File) -> None:
        for group in GROUPS:
            file.create_group(group)
        for column in self._columns.values():
            column.create(file)

    def _check_complete(self) -> None:
        if self._broken:
            raise ValueError(f"{self.path}: a row was written in part; the shard can't be kept")
        if self._expected not in (None, len(self._ids)):
            raise ValueError(f"{self.path}: {len(self._ids)} examples were added, {self._expected} were announced")

    def _write_tail(self, file: h5py.File) -> None:
        """Write what is known at the end only: small targets, ids, hashes."""
        hashes = {}
        for column in self._columns.values():
            hashes |= column.finish(file)
        digest = ContentHash(ID_PATH, "utf-8", ())
        digest.update_ids(identifier.encode("utf-8") for identifier in self._ids)
        hashes[ID_PATH] = digest.hexdigest()
        annotate(file.create_dataset(ID_PATH, data=fixed_text(self._ids)), ("example",), "", hashes[ID_PATH])
        file.attrs["format_version"] = np.int64(FORMAT_VERSION)
        for name, text in {**self._texts, "content_sha256": content_hash(hashes)}.items():
            file.attrs[name] = fixed_text(text)


def _close_quietly(file: h5py.File) -> None:
    """Close a file that may be closed or have failed already."""
    try:
        file.close()
    except (OSError, RuntimeError) as error:
        logger.warning("HDF5 could not close a file given up: %s", error)


def _paths(group: str, layouts: Mapping[str, Layout]) -> list[tuple[str, str]]:
    """Return (name, path inside the shard) of each layout, by name, so that their order in a mapping doesn't matter."""
    for name in layouts:
        if not name.isidentifier():
            raise ValueError(f"{group} named {name!r}: needs a Python identifier")
    return [(name, f"/{group}/{name}") for name in sorted(layouts)]


def _check_id(example_id: str, known: Container[str]) -> None:
    if example_id in known:
        raise ValueError(f"{example_id}: added twice")
    if not example_id or (not example_id.isprintable() and any(unicodedata.category(character) in ("Cc", "Cs") for character in example_id)):
        raise ValueError(f"{example_id!r}: an example id must be non-empty text without control characters")
