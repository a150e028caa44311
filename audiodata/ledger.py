"""The ledger: one row per clip asked for, with what became of it and why, in one SQLite file.

The driver alone writes. Every change is a transaction in write-ahead-log mode, so a killed driver leaves the last
finished change and nothing half done; others may read meanwhile. A second driver is turned away by a lock that ends
with the process that holds it.
"""

import contextlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from audiodata.database import lock_for_writing, open_database
from audiodata.errors import CacheError, EnvironmentFault, MetadataError
from audiodata.reasons import REASONS, STATUSES
from audiodata.records import ClipRow
from audiodata.settings import nearest

FORMAT_VERSION = 1
APPLICATION_ID = 0x41554C47  # marks the file as ours (SQLite's own field for it)
NEW_REASON = "not_downloaded"

_SCHEMA = f"""
CREATE TABLE clips (
    clip_id TEXT PRIMARY KEY, status TEXT NOT NULL DEFAULT 'pending', reason TEXT NOT NULL DEFAULT '{NEW_REASON}',
    detail TEXT NOT NULL DEFAULT '', path TEXT NOT NULL DEFAULT '', sha256 TEXT NOT NULL DEFAULT '',
    content_sha256 TEXT NOT NULL DEFAULT '', measured TEXT NOT NULL DEFAULT '{{}}', attempts INTEGER NOT NULL DEFAULT 0,
    updated TEXT NOT NULL DEFAULT ''
) WITHOUT ROWID;
CREATE INDEX clips_by_reason ON clips (status, reason);
-- Counting two million rows takes a good part of a second, so the counts are kept up to date with every change.
-- (Not by a trigger for added rows as well: that makes adding two million rows five times slower.)
CREATE TABLE tally (status TEXT, reason TEXT, clips INTEGER NOT NULL, PRIMARY KEY (status, reason));
CREATE TRIGGER clip_changed AFTER UPDATE OF status, reason ON clips BEGIN
    UPDATE tally SET clips = clips - 1 WHERE status = old.status AND reason = old.reason;
    INSERT INTO tally VALUES (new.status, new.reason, 1) ON CONFLICT DO UPDATE SET clips = clips + 1;
END;
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {FORMAT_VERSION};
"""
_NOTES = "CREATE TABLE IF NOT EXISTS notes (name TEXT PRIMARY KEY, text TEXT NOT NULL) WITHOUT ROWID"
_INSPECTIONS = "CREATE TABLE IF NOT EXISTS inspections (number INTEGER PRIMARY KEY, version INTEGER NOT NULL, batch BLOB NOT NULL)"
_ADD = "INSERT OR IGNORE INTO clips (clip_id) VALUES "
_ROWS_PER_STATEMENT = 500  # a third of the time of one row per statement
_ROWS_PER_FETCH = 20_000
_COUNT_ADDED = f"""
INSERT INTO tally VALUES ('pending', '{NEW_REASON}', ?) ON CONFLICT DO UPDATE SET clips = clips + excluded.clips
"""
_SETTLE = """
UPDATE clips SET status = ?1, reason = ?2, detail = ?3, updated = ?4
    WHERE clip_id = ?5 AND (status, reason, detail) IS NOT (?1, ?2, ?3)
"""
_RECORD = """
UPDATE clips SET status = ?, reason = ?, detail = ?, path = ?, sha256 = ?, content_sha256 = ?, measured = ?,
    attempts = attempts + ?, updated = ? WHERE clip_id = ?
"""


class Ledger:
    """Open a ledger, making it if it is not there; a context manager.

    Parameters
    ----------
    path : path
        The SQLite file.
    read_only : bool
        Only look: takes no lock, and the file must exist.

    Raises
    ------
    CacheError
        The file is damaged, belongs to another program or version, or another driver is writing to it.
    EnvironmentFault
        No space or no permission.
    """

    def __init__(self, path: str | Path, *, read_only: bool = False):
        self.path = Path(path)
        with self._explained():
            self._lock = None if read_only else lock_for_writing(self.path)
            try:
                self._connection = self._open(read_only)
            except BaseException:
                self._release_lock()
                raise

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file and let the next driver in."""
        self._connection.close()
        self._release_lock()

    def add(self, clip_ids: Iterable[str]) -> int:
        """Add clips that are not in the ledger yet as pending; return how many were new."""
        with self._transaction() as connection:
            return self._add(connection, clip_ids)

    @staticmethod
    def _add(connection: sqlite3.Connection, clip_ids: Iterable[str]) -> int:
        ordered = sorted(clip_ids.tolist() if isinstance(clip_ids, pd.Series) else map(str, clip_ids))  # so that the tree of ids grows at its end
        added = 0
        for at in range(0, len(ordered), _ROWS_PER_STATEMENT):
            some = ordered[at : at + _ROWS_PER_STATEMENT]
            added += connection.execute(_ADD + ",".join(["(?)"] * len(some)), some).rowcount
        if added:
            connection.execute(_COUNT_ADDED, [added])
        return added

    def record(self, rows: Iterable[ClipRow]) -> None:
        """Write what became of clips, all or none of them; clips that were never added are.

        Raises
        ------
        ValueError
            A status or reason that is not in the closed lists (a bug, not bad input).
        """
        values = [_values(row) for row in rows]
        with self._transaction() as connection:
            unknown = [value for value in values if connection.execute(_RECORD, value).rowcount == 0]
            if unknown:
                self._add(connection, (value[-1] for value in unknown))
                connection.executemany(_RECORD, unknown)

    def settle(self, verdicts: Iterable[tuple[str, str, str, str]]) -> None:
        """Write ``clip_id, status, reason, detail`` of clips that are in the ledger, where it is news; others are passed over.

        Raises
        ------
        ValueError
            As `record`.
        """
        with self._transaction() as connection:
            self._settle(connection, verdicts)

    @staticmethod
    def _settle(connection: sqlite3.Connection, verdicts: Iterable[tuple[str, str, str, str]]) -> None:
        now = _now()
        rows = ((*_closed(clip_id, status, reason), detail, now, clip_id) for clip_id, status, reason, detail in verdicts)
        connection.executemany(_SETTLE, rows)

    def remember(self, verdicts: Sequence[tuple[str, str, str, str]], version: int, batch: bytes) -> None:
        """Write down what inspection found of some clips, all or nothing of it.

        Parameters
        ----------
        verdicts : sequence of tuple
            As of `settle`; clips that were never added are.
        version : int
            Of the way in which the batch is written.
        batch : bytes
            What was found, to be read with `inspections`.
        """
        with self._transaction() as connection:
            self._add(connection, (clip_id for clip_id, *_ in verdicts))
            self._settle(connection, verdicts)
            connection.execute("INSERT INTO inspections (version, batch) VALUES (?, ?)", [version, batch])

    def inspections(self, version: int) -> Iterator[bytes]:
        """Yield the batches of a version that were written down with `remember`, the oldest first."""
        with self._explained():
            found = self._connection.execute("SELECT batch FROM inspections WHERE version = ? ORDER BY number", [version])
            yield from (batch for batch, in found)

    def note(self, name: str, text: str) -> None:
        """Write down a text that concerns no clip, in the place of what was written under that name before."""
        with self._transaction() as connection:
            connection.execute("INSERT INTO notes VALUES (?, ?) ON CONFLICT DO UPDATE SET text = excluded.text", [name, text])

    def notes(self) -> dict[str, str]:
        """Return all that was written down with `note`, by name."""
        with self._explained():
            return dict(self._connection.execute("SELECT name, text FROM notes").fetchall())

    def retry(self, reasons: Iterable[str]) -> int:
        """Set failed clips back to pending, and return how many.

        Parameters
        ----------
        reasons : iterable of str
            Reasons, or kinds of reason ("transient", "permanent", "identity", "environment").
        """
        chosen = known_reasons(reasons)
        marks = ",".join("?" * len(chosen))
        with self._transaction() as connection:
            changed = connection.execute(
                f"UPDATE clips SET status = 'pending', updated = ? WHERE status = 'failed' AND reason IN ({marks})",
                [_now(), *chosen],
            )
            return changed.rowcount

    def rows(self, status: str | None = None, reason: str | None = None) -> list[ClipRow]:
        """Return rows in the order of their ids, all or those of one status and reason."""
        found = self._select(ClipRow._fields, status, reason)
        return [ClipRow(*row[:7], json.loads(row[7]), *row[8:]) for row in found]

    def between(self, columns: Iterable[str], first: str, last: str) -> list[tuple]:
        """Return columns of the rows whose ids lie between two (both included), in the order of the ids."""
        query = f"SELECT {', '.join(_checked(columns))} FROM clips WHERE clip_id BETWEEN ? AND ? ORDER BY clip_id"
        with self._explained():
            return self._connection.execute(query, [first, last]).fetchall()

    def clip_ids(self, status: str | None = None, reason: str | None = None) -> list[str]:
        """Return ids in order, all or those of one status and reason."""
        return [clip_id for clip_id, in self._select(["clip_id"], status, reason)]

    def counts(self) -> dict[tuple[str, str], int]:
        """Return the number of clips per ``(status, reason)``."""
        with self._explained():
            query = "SELECT status, reason, clips FROM tally WHERE clips > 0 ORDER BY status, reason"
            found = self._connection.execute(query).fetchall()
        return {(status, reason): clips for status, reason, clips in found}

    def table(self, columns: Iterable[str] = ClipRow._fields, states: Iterable[tuple[str, str]] | None = None) -> pd.DataFrame:
        """Return the ledger, or some of it; ``measured`` stays JSON text.

        Parameters
        ----------
        columns : iterable of str
        states : iterable of (str, str), optional
            Only the rows of these statuses and reasons, one state after the other (what `counts` has: all). Ids, statuses and reasons are
            then found without a look at the rest of the rows, which is several times as much. By default all rows, in the order of their ids.
        """
        names = _checked(columns)
        schema = pa.schema([(name, pa.int64() if name == "attempts" else pa.large_string()) for name in names])
        batches = []
        for count, found in self._batches(names, states):  # a row of Python's own objects is ten times as large as Arrow's
            values = [_column(found[field.name], field.type, count) for field in schema]
            batches.append(pa.record_batch(values, schema))
        return pa.Table.from_batches(batches, schema).to_pandas()

    def _batches(self, names: list[str], states: Iterable[tuple[str, str]] | None) -> Iterator[tuple[int, dict[str, Any]]]:
        """Numbers of rows, some at a time, and their columns by name: a text where it is the same in all."""
        for state in [()] if states is None else states:
            known = dict(zip(("status", "reason"), state, strict=False))
            wanted = [name for name in names if name not in known] or ["clip_id"]
            where = "WHERE status = ? AND reason = ?" if state else "ORDER BY clip_id"
            with self._explained():
                cursor = self._connection.execute(f"SELECT {', '.join(wanted)} FROM clips {where}", state)
                while rows := cursor.fetchmany(_ROWS_PER_FETCH):
                    yield len(rows), known | dict(zip(wanted, zip(*rows, strict=True), strict=True))

    def attrition(self, classes: Mapping[str, str] | pd.Series) -> pd.DataFrame:
        """Return what was asked for and what was lost, per class and reason.

        Parameters
        ----------
        classes : mapping or Series
            Class name by clip id; clips of the ledger that are not in it are not counted.

        Returns
        -------
        DataFrame
            One row a class and a last row ``all``; columns ``asked, ok, pending``, one per reason of loss (the
            commonest first) and ``lost_share`` (of the clips that are no longer pending; NaN while all are).
        """
        return attrition(self.table(["clip_id", "status", "reason"], self.counts()), classes)

    def _select(self, columns: Iterable[str], status: str | None = None, reason: str | None = None) -> list[tuple]:
        wanted = {"status": status, "reason": reason}
        wanted = {column: value for column, value in wanted.items() if value is not None}
        where = " AND ".join(f"{column} = ?" for column in wanted) or "1"
        with self._explained():
            return self._connection.execute(
                f"SELECT {', '.join(columns)} FROM clips WHERE {where} ORDER BY clip_id", list(wanted.values())
            ).fetchall()

    def _open(self, read_only: bool) -> sqlite3.Connection:
        if read_only and not self.path.is_file():
            raise CacheError(f"{self.path}: there is no ledger here; run the download first")
        connection = open_database(self.path, read_only)
        try:
            self._prepare(connection, read_only)
        except BaseException:
            connection.close()
            raise
        return connection

    def _prepare(self, connection: sqlite3.Connection, read_only: bool) -> None:
        is_new = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
        if is_new and read_only:
            raise CacheError(f"{self.path}: there is nothing in this ledger yet; wait for the download that is beginning, or run it")
        if is_new:
            connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
        application = connection.execute("PRAGMA application_id").fetchone()[0]
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if application != APPLICATION_ID:
            raise CacheError(f"{self.path}: a database of another program; move it away or choose another data root")
        if version != FORMAT_VERSION:
            known = f"this version reads {FORMAT_VERSION}"
            raise CacheError(f"{self.path}: ledger of format {version}, {known}; use the version that wrote it")
        if not read_only:
            connection.execute(_NOTES)  # ledgers of earlier versions have neither
            connection.execute(_INSPECTIONS)

    def _release_lock(self) -> None:
        if self._lock is not None:
            self._lock.close()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """All of the block or none of it."""
        with self._explained():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:  # a full disk rolls back by itself
                    self._connection.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn SQLite's errors into one line."""
        try:
            yield
        except sqlite3.OperationalError as error:
            advice = "check space, permissions and the file system"
            raise EnvironmentFault(f"{self.path}: can't be written or read ({error}); {advice}") from error
        except sqlite3.DatabaseError as error:
            advice = "restore it or move it away: files that are there are taken in again"
            raise CacheError(f"{self.path}: damaged or not a ledger ({error}); {advice}") from error


def attrition(table: pd.DataFrame, classes: Mapping[str, str] | pd.Series) -> pd.DataFrame:
    """Return `Ledger.attrition` of a table with ``clip_id, status, reason``."""
    class_of = pd.Series(classes, dtype=object).astype("category").reindex(table["clip_id"])  # NaN: not in `classes`
    outcome = table["reason"].where(~table["status"].isin(["ok", "pending"]), table["status"]).astype("category")
    pairs = pd.DataFrame({"class": class_of.array, "outcome": outcome.array})
    counted = pairs.value_counts().reset_index().query("count > 0")
    counted = counted.astype({"class": object, "outcome": object})  # plain labels can grow by a row
    counted = counted.pivot_table(index="class", columns="outcome", values="count", aggfunc="sum", fill_value=0)
    counted.loc["all"] = counted.sum()
    lost = counted.drop(columns=["ok", "pending"], errors="ignore")
    lost = lost[lost.loc["all"].sort_values(ascending=False, kind="stable").index]
    ok, pending = (counted.get(name, pd.Series(0, counted.index)) for name in ("ok", "pending"))
    result = pd.DataFrame({"asked": counted.sum(axis=1), "ok": ok, "pending": pending}).join(lost)
    result["lost_share"] = lost.sum(axis=1) / (result["asked"] - pending).where(lambda settled: settled > 0)
    return result.rename_axis("class")


def known_reasons(words: Iterable[str]) -> list[str]:
    """Return the reasons that words stand for (reasons, or kinds of reason), sorted.

    Raises
    ------
    MetadataError
        A word that is neither; names the nearest that is.
    """
    return sorted(set().union(*(_reasons_of(word) for word in words)))


def _reasons_of(word: str) -> set[str]:
    kinds = ("transient", "permanent", "identity", "environment")
    of_failure = {key: reason.kind for key, reason in REASONS.items() if reason.kind in kinds}
    if word in kinds:
        return {key for key, kind in of_failure.items() if kind == word}
    if word in of_failure:
        return {word}
    raise MetadataError(f"`{word}` is not a reason that a clip can fail for{nearest(word, [*kinds, *of_failure])}")


def _column(values: str | tuple, kind: pa.DataType, count: int) -> pa.Array:
    return pa.repeat(pa.scalar(values, kind), count) if isinstance(values, str) else pa.array(values, kind)


def _checked(columns: Iterable[str]) -> list[str]:
    names = list(columns)
    if unknown := set(names) - set(ClipRow._fields):
        raise ValueError(f"the ledger has no column {sorted(unknown)}")
    return names


def _closed(clip_id: str, status: str, reason: str) -> tuple[str, str]:
    if status not in STATUSES or reason not in REASONS:
        raise ValueError(f"{clip_id}: {(status, reason)} is not in the closed lists of audiodata.reasons")
    return status, reason


def _values(row: ClipRow) -> tuple:
    _closed(row.clip_id, row.status, row.reason)
    measured = json.dumps(dict(row.measured), sort_keys=True, allow_nan=False)
    return (*row[1:7], measured, row.attempts, _now(), row.clip_id)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
