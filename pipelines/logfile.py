"""A run's events as a file of JSON lines that is whole at every moment, whenever a run is killed."""

import errno
import json
import logging
import os
import re
import stat
import threading
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from audiodata.errors import CatalogError, EnvironmentFault
from pipelines.journal import Journal

BEGINNING = b'{"time": "'  # of every line
BLOCK = 65536
PACKAGES = ("audiodata", "pipelines")
_USER = re.compile(r"(\w://)[^/\s]+@")
_QUERY = re.compile(r"(https?://[^\s?]+)\?[^\s'\"]+")  # addresses of media are signed

logger = logging.getLogger(__name__)


class Discretion:
    """Make texts fit for a log: paths below the data root are told from there, and what only the user may know is hidden.

    Parameters
    ----------
    roots : iterable of str
        Folders, as driver and workers see the data root.
    proxies : iterable of str
        Addresses of proxies, with user and password.
    """

    def __init__(self, roots: Iterable[str] = (), proxies: Iterable[str] = ()):
        names = sorted({root.rstrip("/") for root in roots if root.startswith("/")} - {""}, key=len, reverse=True)
        self._roots = re.compile(rf"(?<![\w./-])(?:{'|'.join(map(re.escape, names))})/") if names else None
        users = [proxy.rpartition("@")[0].rpartition("://")[2] for proxy in proxies]
        secrets = (secret for user in users for secret in (user, user.partition(":")[2]))
        self._secrets = [secret for written in secrets for secret in (written, unquote(written)) if secret]

    def __call__(self, value: Any) -> Any:
        """Return a value with every text in it made fit."""
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, Mapping):
            return {self._text(str(name)): self(one) for name, one in value.items()}
        if isinstance(value, (list, tuple)):
            return [self(one) for one in value]
        return value

    def _text(self, text: str) -> str:
        text = self._roots.sub("", text) if self._roots else text
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return _QUERY.sub(r"\1?***", _USER.sub(r"\1***@", text))


class LogFile:
    """Append events to a file, a line each, at once; it listens to a `pipelines.journal.Journal`.

    Parameters
    ----------
    path : Path
        Its folder is made. Lines of earlier runs stay; one that was torn by a kill becomes a line of its own, event ``torn``.
    discretion : callable, optional
        See `Discretion`.

    Attributes
    ----------
    run : str
        What tells the lines of this run from others.

    Raises
    ------
    EnvironmentFault
        It can't be written to.
    CatalogError
        There is something else in it.
    """

    def __init__(self, path: Path, discretion: Discretion | None = None):
        self.path, self.run = Path(path), uuid.uuid4().hex[:8]
        self._discretion = discretion or Discretion()
        self._lock, self._torn, self._told = threading.RLock(), False, False
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("ab+" if self._is_plain() else "wb", buffering=0)
            self._check_ours()
            self._mend()
        except OSError as error:
            raise EnvironmentFault(f"--log {self.path}: can't be written to ({error.strerror or error})") from error

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __call__(self, event: str, fields: Mapping[str, Any]) -> None:
        """Write an event; a run goes on where its log can't be."""
        with self._lock:
            try:
                if self._torn:
                    self._mend()
                self._append(event, fields)
                self._torn = False
            except OSError as error:
                self._torn = True
                self._tell(error)

    def _is_plain(self) -> bool:
        return not self.path.exists() or stat.S_ISREG(self.path.stat().st_mode)

    def _check_ours(self) -> None:
        if not self._file.readable():
            return
        self._file.seek(0)
        head = self._file.read(len(BEGINNING))
        if not BEGINNING.startswith(head):
            raise CatalogError(f"--log {self.path}: there is something else in this file; name another")

    def _append(self, event: str, fields: Mapping[str, Any]) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        entry = {"time": now, "event": event, "run": self.run} | self._discretion(fields)
        line = f"{json.dumps(entry, default=_plain)}\n".encode()
        if self._file.write(line) != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _mend(self) -> None:
        if self._file.readable() and (torn := self._torn_line()):
            self._file.truncate(self._file.seek(0, os.SEEK_END) - len(torn))
            self._append("torn", {"text": torn.decode("utf-8", "replace")})

    def _torn_line(self) -> bytes:
        """What stands after the last end of a line."""
        size = self._file.seek(0, os.SEEK_END)
        start, tail = size, b""
        while start and b"\n" not in tail:
            start = max(start - BLOCK, 0)
            self._file.seek(start)
            tail = self._file.read(size - start)
        return tail.rpartition(b"\n")[2]

    def _tell(self, error: OSError) -> None:
        if not self._told:
            self._told = True
            logger.warning("--log %s: can't be written to (%s); the run goes on", self.path, error.strerror or error)


def _plain(value: Any) -> Any:
    """Turn a number of numpy's into Python's; anything else is told as text."""
    return value.item() if hasattr(value, "item") else str(value)


class _Warnings(logging.Handler):
    def __init__(self, journal: Journal):
        super().__init__(logging.WARNING)
        self._journal = journal

    def emit(self, record: logging.LogRecord) -> None:
        self._journal.write("warning", logger=record.name, text=record.getMessage())


@contextmanager
def warnings_to(journal: Journal) -> Iterator[None]:
    """Tell a journal what this project's loggers warn of meanwhile; it is still shown as it would be without."""
    handlers = [_Warnings(journal)]
    if not logging.getLogger().handlers and logging.lastResort:  # Python shows warnings itself only where nobody handles them
        handlers.append(logging.lastResort)
    pairs = [(logging.getLogger(name), handler) for name in PACKAGES for handler in handlers]
    for library, handler in pairs:
        library.addHandler(handler)
    try:
        yield
    finally:
        for library, handler in pairs:
            library.removeHandler(handler)
