"""Room for a shard while it is being written, apart from where it will lie: a worker's own disk, if it has one."""

import contextlib
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from audiodata.errors import ScratchFault

try:
    import fcntl
except ImportError:  # not on Windows: what is left behind there stays until somebody removes it
    fcntl = None

VARIABLE = "AUDIODATA_SCRATCH"
PREFIX, SUFFIX = "audiodata-", ".tmp"
ORPHAN_S = 60.0  # a file is locked right after it is made, not while

logger = logging.getLogger(__name__)


def find_scratch(wanted: str = "") -> Path | None:
    """Return the folder for files in the making; None: they are made where they will lie.

    Parameters
    ----------
    wanted : str
        A folder, with environment variables (``$TMPDIR``) as this worker has them; empty: what the variable `AUDIODATA_SCRATCH` says.
    """
    wanted = wanted or os.environ.get(VARIABLE, "")
    if not wanted:
        return None
    folder = Path(os.path.expandvars(wanted))
    if "$" in str(folder) or not folder.is_dir():
        logger.warning("scratch %s: no such folder here; shards are written where they will lie", folder)
        return None
    return folder


@contextmanager
def scratch_file(folder: Path) -> Iterator[Path]:
    """Give a file to write to that is gone when the block ends; one whose process was killed goes when the next is asked for.

    Raises
    ------
    ScratchFault
        There can't be one.
    """
    try:
        _remove_orphans(folder)
        file = tempfile.NamedTemporaryFile(dir=folder, prefix=PREFIX, suffix=SUFFIX)  # noqa: SIM115
    except OSError as error:
        raise scratch_fault(folder, error) from error
    with file:
        with contextlib.suppress(OSError):  # no locks here: then nobody takes the file for an orphan, as that takes a lock, too
            _lock(file)
        yield Path(file.name)


def _remove_orphans(folder: Path) -> None:
    """Remove files that no living process has locked: scratch is a disk of this machine's own, where locks work."""
    for path in folder.glob(f"{PREFIX}*{SUFFIX}"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > ORPHAN_S:
                with path.open("rb") as file:
                    _lock(file)
                    path.unlink()
                logger.info("removed %s, left by a worker that was killed", path)


def _lock(file: Any) -> None:
    """Lock a file, or raise `BlockingIOError`: the lock ends with the process."""
    if fcntl is not None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def scratch_fault(folder: Path, error: OSError) -> ScratchFault:
    """Explain an error of writing to scratch in one line."""
    return ScratchFault(f"scratch {folder}: can't be written to ({error.strerror or error}); make room there, or name another folder with --scratch")


def copy_out(source: Path, target: Path) -> None:
    """Copy a file out of scratch; the copy is a new file."""
    with source.open("rb") as read, target.open("xb") as write:
        shutil.copyfileobj(read, write, 1 << 20)
