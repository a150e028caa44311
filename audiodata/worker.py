"""The one function that is sent to a Dask worker: it makes sure that the worker is fit for the work, then does the work.

What is to be done travels as a name and as pickled bytes, and is unpacked only after the check: a worker that lacks a package says which,
rather than failing to understand what it was sent. Imports nothing but the standard library at the top, for the same reason.
"""

import hashlib
import importlib
import logging
import os
import pickle
import socket
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from audiodata import environment
from audiodata.errors import AudioDataError, EnvironmentFault, ScratchFault

SAMPLE_BYTES = 65536
REFUSAL_PAUSE_S = 2.0  # a worker that refuses at once would draw all the work to itself


class FileSample(NamedTuple):
    """A file below the data root by which a worker shows that it sees the same data.

    Attributes
    ----------
    path : str
        POSIX, below the root.
    size : int
        In bytes.
    sha256 : str
        Of its first `SAMPLE_BYTES` bytes.
    """

    path: str
    size: int
    sha256: str


class Check(NamedTuple):
    """What a worker must have and see before it gets work.

    Attributes
    ----------
    environment : tuple of (str, str)
        The driver's own (`audiodata.environment.describe`).
    packages : tuple of str
        Distributions that the work needs beside those of storage.
    root, out : str
        Data root and cache as the worker sees them; empty: not looked at.
    samples : tuple of FileSample
        Files of the data root.
    note : tuple of (str, str)
        Name and text of a file in `out` that the driver wrote; empty: none.
    """

    environment: tuple[tuple[str, str], ...] = ()
    packages: tuple[str, ...] = ()
    root: str = ""
    out: str = ""
    samples: tuple[FileSample, ...] = ()
    note: tuple[str, str] = ("", "")


class Call(NamedTuple):
    """One piece of work.

    Attributes
    ----------
    module, name : str
        Of a function at the top of a module.
    task : bytes
        Its argument, pickled.
    check : Check or None
    """

    module: str
    name: str
    task: bytes
    check: Check | None = None


class Answer(NamedTuple):
    """What came of a `Call`.

    Attributes
    ----------
    result : object
        What the function returned.
    worker : str
        Who did it.
    seconds : float
        How long it took.
    warnings : tuple of str
        What the library had to say meanwhile.
    """

    result: Any
    worker: str
    seconds: float
    warnings: tuple[str, ...]


class UnfitWorker(EnvironmentFault):
    """A worker that can't do the work, though others may.

    Parameters
    ----------
    worker : str
        Its address.
    problems : tuple of str
        One line each.
    """

    def __init__(self, worker: str, problems: tuple[str, ...]):
        super().__init__(worker, problems)
        self.worker = worker
        self.problems = problems

    def __str__(self) -> str:
        more = f" (and {len(self.problems) - 1} more)" if len(self.problems) > 1 else ""
        return f"worker {self.worker}: {self.problems[0]}{more}"


class WorkerPaused(EnvironmentFault):
    """A worker that has no room for the work on its own disk, though others may.

    Parameters
    ----------
    worker : str
        Its name, which begins with its address.
    reason : str
        One line.
    """

    def __init__(self, worker: str, reason: str):
        super().__init__(worker, reason)
        self.worker = worker
        self.reason = reason

    def __str__(self) -> str:
        return f"worker {self.worker}: {self.reason}"


def call_of(function: Callable[[Any], Any], task: Any, check: Check | None = None) -> Call:
    """Pack a function and its argument for `perform`.

    Raises
    ------
    TypeError
        Not a function at the top of a module that a worker can import: a bug of the caller.
    """
    module, name = function.__module__, function.__qualname__
    if module == "__main__" or getattr(sys.modules[module], name, None) is not function:
        raise TypeError(f"{module}.{name} is not a function that a worker could import by its name")
    return Call(module, name, pickle.dumps(task, protocol=pickle.HIGHEST_PROTOCOL), check)


def perform(call: Call) -> Answer:
    """Do one piece of work, on a worker that is fit for it.

    Raises
    ------
    UnfitWorker
        This one is not.
    WorkerPaused
        It has no room.
    """
    if call.check is not None and call.check not in _PASSED:
        _pass_check(call.check)
    function = getattr(importlib.import_module(call.module), call.name)
    started = time.monotonic()
    with _heard() as warnings:
        try:
            result = function(pickle.loads(call.task))
        except ScratchFault as error:
            raise WorkerPaused(own_name(), str(error)) from error
    return Answer(result, own_name(), time.monotonic() - started, tuple(warnings))


_PASSED: set[Check] = set()


def _pass_check(check: Check) -> None:
    found = problems(check)
    if found:
        time.sleep(REFUSAL_PAUSE_S)
        raise UnfitWorker(own_name(), found)
    _PASSED.add(check)


def problems(check: Check) -> tuple[str, ...]:
    """Return what this worker lacks, one line each: packages, or a sight of the data root and of the cache."""
    found = environment.differences(dict(check.environment), environment.describe(check.packages)) if check.environment else []
    lines = [_mismatch(found)] if found else []
    return (*lines, *_root_problems(check), *_out_problems(check))


def _mismatch(found: list[str]) -> str:
    hint = "install the same versions there"
    if found[0].startswith(environment.CODE):
        hint = "build a wheel of the driver's checkout and install it there"
    return f"{'; '.join(found[:3])}{f'; and {len(found) - 3} more' if len(found) > 3 else ''} ({hint})"


def _root_problems(check: Check) -> Iterator[str]:
    if check.root and not Path(check.root).is_dir():
        yield f"the data root {check.root} isn't there (--worker-root says where workers see it)"
        return
    for sample in check.samples:
        if (problem := _sample_problem(check.root, sample)) is not None:
            yield f"{problem}, so {check.root} isn't the driver's data root (--worker-root says where workers see it)"
            return


def _sample_problem(root: str, sample: FileSample) -> str | None:
    try:
        found = take_sample(Path(root), sample.path)
    except OSError as error:
        return f"{sample.path} can't be read there ({error.strerror})"
    return None if found == sample else f"{sample.path} has other content there"


def take_sample(root: Path, path: str) -> FileSample:
    """Look at one file below the data root.

    Raises
    ------
    OSError
        It can't be read.
    """
    with (root / path).open("rb") as file:
        return FileSample(path, os.fstat(file.fileno()).st_size, hashlib.sha256(file.read(SAMPLE_BYTES)).hexdigest())


def _out_problems(check: Check) -> Iterator[str]:
    name, text = check.note
    if not name:
        return
    where = "(--worker-out says where workers see it)"
    try:
        found = (Path(check.out) / name).read_text(encoding="utf-8")
    except OSError as error:
        yield f"the cache {check.out} isn't the driver's: no {name} in it ({error.strerror}) {where}"
        return
    if found != text:
        yield f"the cache {check.out} isn't the driver's: {name} says something else there {where}"
    elif (problem := _unwritable(Path(check.out))) is not None:
        yield f"the cache {check.out} can't be written to ({problem})"


def _unwritable(folder: Path) -> str | None:
    mine = folder / f".worker-check.{os.getpid()}-{uuid.uuid4().hex[:8]}.tmp"  # as `shards.atomic` names what may be removed
    try:
        mine.write_bytes(b"")
        mine.unlink()
    except OSError as error:
        return error.strerror
    return None


def own_name() -> str:
    """Name of this worker: its Dask address and host."""
    distributed = sys.modules.get("distributed")
    try:
        address = distributed.get_worker().address
    except (AttributeError, ValueError):  # no Dask in this process, or not inside a task of its
        address = f"process {os.getpid()}"
    return f"{address} on {socket.gethostname()}"


class _Listener(logging.Handler):
    def __init__(self, lines: list[str]):
        super().__init__(logging.WARNING)
        self.lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@contextmanager
def _heard() -> Iterator[list[str]]:
    """Collect the warnings of this package meanwhile, so that the driver can show them."""
    lines: list[str] = []
    library, listener = logging.getLogger("audiodata"), _Listener(lines)
    library.addHandler(listener)
    try:
        yield lines
    finally:
        library.removeHandler(listener)


def explain(error: BaseException) -> str:
    """Return an error as one line, with its type where it is none of ours."""
    text = " ".join(str(error).split())
    return text if isinstance(error, AudioDataError) else f"{type(error).__name__}: {text}"
