"""Who is working on a folder: a small file beside it that one driver at a time holds, with no need of file locks.

Shared file systems often have no locks, or have them on one machine only. What all have is a link that fails when its name is taken: that
is how a lease is taken. While it is held its modification time is renewed; ages are measured by the file server's clock alone, so the
clocks of the machines don't matter. A holder that died is found at once on its own machine, and elsewhere by a lease that isn't renewed.
"""

import contextlib
import glob
import json
import logging
import os
import socket
import threading
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from audiodata.errors import CacheError, EnvironmentFault

RENEW_S = 30.0
STALE_S = 600.0  # many renewals, and longer than file attributes are cached by network file systems
TRIES, PAUSE_S = 5, 0.2
_PROC = Path("/proc")

logger = logging.getLogger(__name__)


class Holder(NamedTuple):
    """Who holds a lease.

    Attributes
    ----------
    token : str
        Another one for every lease.
    host : str
        Name of the machine.
    pid : int
    since : str
        UTC time by the holder's clock, for people.
    machine : str
        What tells this machine, since it was started, from others of its name.
    started : str
        What tells the process from others that get its pid later; empty where the system doesn't say.
    """

    token: str
    host: str
    pid: int
    since: str
    machine: str
    started: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.since}"


def this_process() -> Holder:
    """Describe this process as the holder of a new lease."""
    since = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return Holder(uuid.uuid4().hex, socket.gethostname(), os.getpid(), since, _machine(), _started(os.getpid()))


def _machine() -> str:
    """Name of the machine, of its run since it was switched on, and of the space of pids (a link to no path)."""
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        return f"{socket.gethostname()} {boot} {os.readlink(_PROC / 'self/ns/pid')}"  # noqa: PTH115
    except OSError:
        return socket.gethostname()


def _started(pid: int) -> str:
    """When a process was started, in the kernel's ticks; empty, too, for one that has ended and that nobody has taken note of."""
    try:
        stat = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        return "" if stat[0] in ("Z", "X") else stat[19]
    except (OSError, IndexError):
        return ""


class Lease:
    """Hold a lease while a block runs; a context manager.

    Parameters
    ----------
    path : Path
        The lease's file; its folder is made.
    subject : str
        What is held, for messages.
    renew_s, stale_s : float
        How often it is renewed, and how long after the last time it counts as left behind.

    Raises
    ------
    CacheError
        Another driver holds it; the line says which.
    EnvironmentFault
        The file can't be written.
    """

    def __init__(self, path: Path, subject: str, renew_s: float = RENEW_S, stale_s: float = STALE_S):
        self.path, self.subject, self.renew_s, self.stale_s = Path(path), subject, renew_s, stale_s
        self.holder = this_process()
        self._taken_away = False
        self._end = threading.Event()

    @classmethod
    def beside(cls, cache: Path) -> "Lease":
        """Return the lease of a cache, ``<cache>.lease.json`` beside it."""
        cache = Path(cache).resolve()
        return cls(cache.with_name(f"{cache.name}.lease.json"), str(cache))

    def __enter__(self) -> "Lease":
        with self._explained():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._take()
            self._remove_left_behind()
        self._renewal = threading.Thread(target=self._keep_renewing, name="lease", daemon=True)
        self._renewal.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._end.set()
        self._renewal.join()
        with contextlib.suppress(OSError):
            if not self._lost():
                self.path.unlink()

    def check(self) -> None:
        """Make sure that the lease is still held.

        Raises
        ------
        CacheError
            Another driver has taken it, as this process did not renew it for too long (it was stopped, or cut off).
        """
        if self._taken_away:
            raise CacheError(f"{self.subject}: this run was silent for so long that another took its place (see {self.path.name}); run it again")

    def holder_there(self) -> str:
        """Say who holds a lease that is not this one's, and how that is known; empty where nobody does, or a run died and left it."""
        try:
            holder = _read(self.path)
            why = self._alive(holder, self.path)
        except OSError:
            return ""
        return f"{holder or 'unknown'} ({why})" if why else ""

    def _take(self) -> None:
        for _ in range(TRIES):
            if self._create():
                return
            with contextlib.suppress(FileNotFoundError):  # it ends meanwhile
                holder = _read(self.path)
                if why := self._alive(holder, self.path):
                    raise CacheError(f"{self.subject}: another run is writing to it ({holder or 'unknown'}; {why}); wait until it ends or stop it")
                if self._replace(holder):
                    logger.warning("%s: took over from %s, which ended without giving it back", self.subject, holder or "a run")
                    return
            time.sleep(PAUSE_S)
        raise CacheError(f"{self.subject}: several runs are trying to begin at once; wait until one has ended")

    def _draft(self) -> Path:
        draft = self.path.with_name(f".{self.path.name}.{self.holder.token}")
        draft.write_text(json.dumps(self.holder._asdict()), encoding="utf-8")
        return draft

    def _create(self) -> bool:
        draft = self._draft()
        try:
            return _link(draft, self.path)
        finally:
            draft.unlink()

    def _replace(self, holder: Holder | None) -> bool:
        """Take the place of a lease that was left behind; of several that try, one alone may."""
        right = self.path.with_name(f".{self.path.name}.after-{holder.token if holder else 'unknown'}")
        if not self._create_right(right):
            return False
        try:
            if _read(self.path) != holder:
                return False
            self._draft().replace(self.path)
            return True
        finally:
            right.unlink(missing_ok=True)

    def _create_right(self, right: Path) -> bool:
        self._remove_if_dead(right)  # of a driver that died in the middle of this
        draft = self._draft()
        try:
            return _link(draft, right)
        finally:
            draft.unlink()

    def _remove_left_behind(self) -> None:
        """Remove what drivers have left that were killed while they took the lease or gave way."""
        for path in self.path.parent.glob(f".{glob.escape(self.path.name)}.*"):
            self._remove_if_dead(path)

    def _remove_if_dead(self, path: Path) -> None:
        with contextlib.suppress(FileNotFoundError):
            if not self._alive(_read(path), path):
                path.unlink()

    def _alive(self, holder: Holder | None, path: Path) -> str:
        """Say why the holder of a file counts as alive; empty where it doesn't."""
        if holder and holder.machine == self.holder.machine:
            return "it is running" if _is_running(holder) else ""
        draft = self._draft()
        try:
            age_s = _age_s(path, draft)
        finally:
            draft.unlink()
        return "" if age_s > self.stale_s else f"last sign of life {age_s:.0f} s ago; one that is silent for {self.stale_s:.0f} s counts as dead"

    def _keep_renewing(self) -> None:
        while not self._end.wait(self.renew_s):
            try:
                self._taken_away = self._lost()
                if not self._taken_away:
                    os.utime(self.path)
            except OSError as error:  # a file server that is away for a moment
                logger.warning("%s: can't be renewed (%s)", self.path, error.strerror)

    def _lost(self) -> bool:
        try:
            return _read(self.path) != self.holder
        except FileNotFoundError:
            return True

    @contextlib.contextmanager
    def _explained(self) -> Any:
        try:
            yield
        except OSError as error:
            raise EnvironmentFault(f"{self.path}: can't be written ({error.strerror}); check that the folder exists and may be written to") from error


def _link(source: Path, target: Path) -> bool:
    """Give a file a second name unless that is taken; where a file system has no links, a new file does the same."""
    try:
        os.link(source, target)
    except FileExistsError:
        return source.stat().st_nlink > 1  # a file server may do it and lose the answer, and is then asked again
    except OSError:
        return _create_exclusively(target, source.read_bytes())
    return True


def _create_exclusively(target: Path, content: bytes) -> bool:
    try:
        with target.open("xb") as file:
            file.write(content)
    except FileExistsError:
        return False
    return True


def _read(path: Path) -> Holder | None:
    """Return who holds a lease; None where that can't be read."""
    try:
        return Holder(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError):
        return None


def _age_s(path: Path, fresh: Path) -> float:
    """Time since a file was renewed, by the clock of the file system: that of a file renewed just now."""
    os.utime(fresh)
    return fresh.stat().st_mtime - path.stat().st_mtime


def _is_running(holder: Holder) -> bool:
    try:
        os.kill(holder.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return _started(holder.pid) == holder.started
