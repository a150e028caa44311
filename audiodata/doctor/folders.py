"""Whether folders hold what a build asks of them: reading, writing, renaming, syncing, room; and who is writing there."""

import contextlib
import os
import re
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from audiodata.doctor.finding import Finding
from audiodata.lease import Lease

LEAST_FREE = 1e9  # bytes
IN_MEMORY = ("tmpfs", "ramfs")
MOUNTS = Path("/proc/mounts")


class Probe(NamedTuple):
    """What could not be done in a folder; empty texts: it could.

    Attributes
    ----------
    write, rename, sync, link : str
        Why not.
    """

    write: str = ""
    rename: str = ""
    sync: str = ""
    link: str = ""


def examine_data(root: Path) -> list[Finding]:
    """Look at a data root: builds read it, downloads write to it."""
    if why := _unreadable(root):
        return [Finding("data", "problem", f"{root}: {why}")]
    findings = examine_folder("data", root, "it is gone when the machine stops")
    why = unwritable(root)
    can = f"can't be written to ({why}): good for builds, not for downloads" if why else "can be read and written to"
    findings.append(Finding("data", "note" if why else "ok", can))
    with contextlib.suppress(OSError):
        findings += [_held("data", Lease(path, path.name)) for path in sorted(root.glob("*.lease.json"))]
    return findings


def examine_cache(out: Path) -> list[Finding]:
    """Look at where a cache is or is going to be."""
    folder = next(parent for parent in (out.absolute(), *out.absolute().parents) if parent.exists())
    if not folder.is_dir():
        return [Finding("cache", "problem", f"{folder} is no folder")]
    findings = examine_folder("cache", folder, "it is gone when the machine stops")
    findings.append(_probed(probe(folder)))
    if out.is_dir() and (why := unwritable(out.absolute().parent)):
        findings.append(Finding("cache", "problem", f"{out.absolute().parent}: can't be written to ({why}); the lease lies beside the cache"))
    return [*findings, _held("cache", Lease.beside(out))]


def examine_folder(subject: str, folder: Path, in_memory: str) -> list[Finding]:
    """Look at the file system of a folder: kind and room.

    Parameters
    ----------
    subject : str
        What the folder is.
    folder : Path
        It is there.
    in_memory : str
        What it means if its files are in memory.
    """
    kind, free = file_system(folder), shutil.disk_usage(folder).free
    found = f"{folder}: {kind}, {free / 1e9:.1f} GB free"
    if kind in IN_MEMORY:
        return [Finding(subject, "note", f"{found}; in memory: {in_memory}")]
    return [Finding(subject, "note" if free < LEAST_FREE else "ok", found)]


def _unreadable(folder: Path) -> str:
    return _why_not(lambda: next(folder.iterdir(), None))


def unwritable(folder: Path) -> str:
    """Return why nothing can be written to a folder; empty: it can."""
    return probe(folder).write


def probe(folder: Path) -> Probe:
    """Try what making a shard takes, with a file of a few bytes that is gone afterwards."""
    token = f"{os.getpid()}-{uuid.uuid4().hex[:8]}"
    mine, other = (folder / f".{name}.{token}.tmp" for name in ("doctor", "doctor-2"))  # as `shards.atomic` names what may be removed
    try:
        if why := _why_not(lambda: mine.write_bytes(b"some bytes")):
            return Probe(write=why)
        sync, link = _why_not(lambda: _sync(mine, folder)), _why_not(lambda: os.link(mine, other))
        return Probe("", _why_not(lambda: mine.replace(other)), sync, link)
    finally:
        for path in (mine, other):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)


def _why_not(action: Callable[[], Any]) -> str:
    try:
        action()
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _sync(*paths: Path) -> None:
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _probed(found: Probe) -> Finding:
    """Say what a probe of the cache's folder found."""
    for what, why in (("be written to", found.write), ("have its files renamed", found.rename), ("have its files synced", found.sync)):
        if why:
            return Finding("cache", "problem", f"can't {what} ({why})")
    if found.link:
        return Finding("cache", "note", f"files can be written, renamed and synced, but not linked ({found.link}); builds do without")
    return Finding("cache", "ok", "files can be written, renamed, synced and linked")


def _held(subject: str, lease: Lease) -> Finding:
    """Say who is writing there."""
    holder = lease.holder_there()
    return Finding(subject, "note" if holder else "ok", f"{lease.path.name}: {f'held by {holder}' if holder else 'nobody holds it'}")


def file_system(folder: Path, mounts: str | None = None) -> str:
    """Return the kind of file system that a folder lies on, as the kernel names it.

    Parameters
    ----------
    folder : Path
    mounts : str, optional
        What ``/proc/mounts`` says; None: of this machine.
    """
    if mounts is None:
        mounts = MOUNTS.read_text(encoding="utf-8", errors="surrogateescape") if MOUNTS.exists() else ""
    folder = folder.resolve()
    kind, longest = "unknown file system", -1
    for line in mounts.splitlines():
        _, point, found, *_ = line.split(" ")
        point = Path(re.sub(r"\\(\d{3})", lambda match: chr(int(match[1], 8)), point))  # blanks are written as \040
        if len(point.parts) >= longest and folder.is_relative_to(point):
            kind, longest = found, len(point.parts)
    return kind
