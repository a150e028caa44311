"""The files that a clip lies in: their paths, stamps and hashes."""

import itertools
import os
import re
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

from audiodata.errors import ClipError
from audiodata.fingerprint import hash_file, hash_json
from audiodata.records import ClipSpan

LOOKS_AT_ONCE = 16  # a shared file system takes its time for one look, and hardly more for many at once
CLIPS_PER_LOOK = 250
LOOKS_TIMED, SLOW_S = 250, 1e-4  # how long a look takes
# absolute, leading out, of another system, or not normal: such a path must never reach the file system
UNSAFE_PATH = r"^/|^[A-Za-z]:/|\\|(^|/)\.{1,2}(/|$)|//|/$"
CONTROL = r"[\x00-\x1f\x7f]"
_UNSAFE = re.compile(f"{UNSAFE_PATH}|{CONTROL}")


def is_safe_path(path: str) -> bool:
    """Whether a path is relative, stays below its root and is written in the normal form, with forward slashes."""
    return bool(path) and not _UNSAFE.search(path)


def clip_path(root: Path, path: str) -> Path:
    """Path of a clip's file; a path that leaves the root is a bad table, not a file."""
    if path.startswith("/") or ".." in Path(path).parts:
        raise ClipError("missing_file", f"{path}: leaves the data root; paths must be relative and below it")
    return Path(root) / path


def file_stamp(path: str | Path) -> str:
    """Size and modification time of a file, or an empty text where there is none."""
    try:
        status = os.stat(path)  # noqa: PTH116 - a Path made for each of two million files takes longer than the look at it
    except OSError:
        return ""
    return f"{status.st_size}-{status.st_mtime_ns}"


def clip_stamp(root: Path, clip: ClipSpan) -> str:
    """Stamps of all files of a clip."""
    return _stamp(str(root), clip.paths)


def _stamp(root: str, paths: tuple[str, ...]) -> str:
    if len(paths) == 1:
        return file_stamp(f"{root}/{paths[0]}")
    return "+".join([file_stamp(f"{root}/{path}") for path in paths])


class FileStamps:
    """Stamps of the files of many clips; a context manager.

    A file system that answers at once is asked by this thread, as others would only get into its way; one that takes its time, as those
    that machines share, is asked by several.

    Parameters
    ----------
    root : path
        The data root.
    """

    def __init__(self, root: Path):
        self._root = str(root)
        self._pool = ThreadPoolExecutor(LOOKS_AT_ONCE, "look at files")
        self._is_slow: bool | None = None

    def __enter__(self) -> "FileStamps":
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def of(self, files: Sequence[tuple[str, ...]]) -> list[str]:
        """Look at the files of clips.

        Parameters
        ----------
        files : sequence of tuple of str
            `ClipSpan.paths` of each clip.

        Returns
        -------
        list of str
            `clip_stamp` of each clip.
        """
        different = list(dict.fromkeys(files))  # many clips may lie in one recording
        if self._is_slow is None and different:
            self._is_slow = statistics.median(map(self._time, different[:LOOKS_TIMED])) > SLOW_S
        parts = [different[at : at + CLIPS_PER_LOOK] for at in range(0, len(different), CLIPS_PER_LOOK)]
        looks = self._pool.map(self._look, parts) if self._is_slow else map(self._look, parts)
        found = dict(zip(different, itertools.chain.from_iterable(looks), strict=True))
        return [found[paths] for paths in files]

    def _time(self, paths: tuple[str, ...]) -> float:
        started = time.perf_counter()
        _stamp(self._root, paths)
        return time.perf_counter() - started

    def _look(self, files: Sequence[tuple[str, ...]]) -> list[str]:
        return [_stamp(self._root, paths) for paths in files]


def files_hash(root: Path, clip: ClipSpan) -> str:
    """Hash of a clip's file, or of the hashes of its files."""
    files = [clip_path(root, path) for path in clip.paths]
    hashes = [_file_hash(str(path), file_stamp(path)) for path in files]
    return hashes[0] if len(hashes) == 1 else hash_json(hashes)


@lru_cache(maxsize=64)
def _file_hash(path: str, stamp: str) -> str:
    """Hash a long recording once, however many clips are cut from it."""
    return hash_file(Path(path))
