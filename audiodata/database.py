"""SQLite files on whatever file system a cluster has: some know no file locks, and SQLite takes those for granted."""

import errno
import os
import sqlite3
import tempfile
from pathlib import Path

from audiodata.errors import CacheError

try:
    import fcntl
except ImportError:  # not on Windows, where locks always work
    fcntl = None

WITHOUT_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)  # what Lustre without `flock` and NFS without its lock daemon say
TIMEOUT_S = 30.0


def open_database(path: Path, read_only: bool) -> sqlite3.Connection:
    """Open a SQLite file in write-ahead-log mode, made if it is not there and may be written.

    Where there are no locks, what keeps a second writer away is the lease (`audiodata.lease`), and a reader had better wait until the
    writer has ended.
    """
    writable, locks = os.access(path.parent, os.W_OK), locks_work(path.parent)
    mode = "mode=ro" if read_only else "mode=rwc"
    if read_only and not writable:
        mode = "immutable=1"  # SQLite could not make the files by which readers and a writer come to terms
    address = f"{path.absolute().as_uri()}?{mode}{'' if locks else '&vfs=unix-none'}"
    connection = sqlite3.connect(address, uri=True, timeout=TIMEOUT_S, isolation_level=None)
    try:
        if not locks:
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")  # else SQLite wants memory that processes share, which needs locks
        if not read_only:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
    except BaseException:
        connection.close()
        raise
    return connection


def locks_work(folder: Path) -> bool:
    """Whether files in a folder can be locked; where none can be made there, nobody can tell, and nobody writes."""
    if fcntl is None:
        return True
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in WITHOUT_LOCKS
    return True


def lock_for_writing(path: Path) -> sqlite3.Connection | None:
    """Hold SQLite's lock on an empty file beside a database: works where the database does, ends with the process.

    Returns
    -------
    Connection or None
        Closing it gives the lock back; None: there are no locks here.

    Raises
    ------
    CacheError
        Another process holds it.
    """
    if not locks_work(path.parent):
        return None
    lock = sqlite3.connect(path.with_name(f"{path.name}.lock"), timeout=0, isolation_level=None)
    try:
        lock.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError as error:
        lock.close()
        if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
            raise CacheError(f"{path}: another run is writing to this ledger; wait until it ends or stop it") from None
        raise
    return lock
