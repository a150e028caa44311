"""Files that appear under their final name complete or not at all."""

import errno
import io
import logging
import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from audiodata.errors import EnvironmentFault

logger = logging.getLogger(__name__)

TEMPORARY_PATTERN = re.compile(r"\..+\.\d+-[0-9a-f]{8}\.tmp")
FULL_ERRNOS = {errno.ENOSPC, errno.EDQUOT}


def temporary_name(path: Path) -> Path:
    """Return a hidden name in the same folder, ``.<name>.<pid>-<random>.tmp``.

    The random part keeps apart two processes that have the same pid on two machines of a cluster.
    """
    return path.with_name(f".{path.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}.tmp")


def is_temporary(name: str) -> bool:
    """Whether a file name is one that `temporary_name` gives."""
    return TEMPORARY_PATTERN.fullmatch(name) is not None


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path to write to; it takes the final name, fsynced, when the block ends without an error.

    Parameters
    ----------
    path : Path
        The final name; an existing file is replaced in one step.

    Yields
    ------
    Path
        The temporary path, in the same folder. It is removed if the block fails in any way.

    Raises
    ------
    EnvironmentFault
        The disk is full or can't be written to: for every `OSError` of the block, which should do nothing but write.
    """
    with write_faults(Path(path)), staged(Path(path)) as temporary:
        yield temporary


@contextmanager
def staged(path: Path) -> Iterator[Path]:
    """Do as `replacing` does, but let all errors of the block pass as they are."""
    temporary = temporary_name(path)
    try:
        yield temporary
        with write_faults(path):
            sync(temporary)
            temporary.replace(path)
            sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def write_faults(path: Path) -> Iterator[None]:
    """Turn an `OSError` of a write into an `EnvironmentFault` of one line that names `path`."""
    try:
        yield
    except OSError as error:
        raise write_fault(path, error) from error


def write_fault(path: Path, error: OSError) -> EnvironmentFault:
    """Explain an error of writing in one line."""
    cause = error.strerror or " ".join(str(error).split())
    if error.errno in FULL_ERRNOS:
        return EnvironmentFault(f"{path}: the disk is full ({cause}); free some space and run the same command again")
    return EnvironmentFault(f"{path}: can't be written ({cause}); check that the folder exists and may be written to")


class Output(io.FileIO):
    """A new file for a library that can't cope with a full disk, as HDF5 can't: it is never told.

    After the first error nothing more is written, and the library may finish what it is doing, close its objects and be
    used again; `check` then raises the error.

    Parameters
    ----------
    path : Path
        The file to create.

    Attributes
    ----------
    fault : OSError or None
        The first error of writing.
    """

    def __init__(self, path: Path):
        super().__init__(path, "w+")
        self.fault: OSError | None = None

    def check(self) -> None:
        """Raise the first error of writing, if there was one."""
        if self.fault is not None:
            raise self.fault

    def write(self, data: bytes | memoryview) -> int:
        """Write all of the data; once an error has occurred, drop it."""
        remaining = memoryview(data)
        size = remaining.nbytes
        while remaining and self.fault is None:
            try:
                remaining = remaining[super().write(remaining) :]
            except OSError as error:
                self.fault = error
        return size

    def truncate(self, size: int | None = None) -> int:
        """Set the size; once an error has occurred, leave it."""
        if self.fault is None:
            try:
                return super().truncate(size)
            except OSError as error:
                self.fault = error
        return size or 0


def sync(path: Path) -> None:
    """Flush a file, or a folder's list of names, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_stale_temporaries(folder: Path) -> list[str]:
    """Remove what interrupted writers left in a folder; only for when nobody writes there.

    Returns
    -------
    list of str
        The names removed, sorted.
    """
    names = sorted(entry.name for entry in Path(folder).iterdir() if is_temporary(entry.name))
    for name in names:
        (Path(folder) / name).unlink(missing_ok=True)
        logger.info("removed %s, left by an interrupted build", name)
    return names
