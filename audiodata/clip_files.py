"""The files that a clip lies in: their paths, stamps and hashes."""

import os
import re
from functools import lru_cache
from pathlib import Path

from audiodata.errors import ClipError
from audiodata.fingerprint import hash_file, hash_json
from audiodata.records import ClipSpan

# absolute, leading out, of another system, or not normal: such a path must never reach the file system
UNSAFE_PATH = r"^/|^[A-Za-z]:/|\\|(^|/)\.{1,2}(/|$)|//|/$"
CONTROL = r"[\x00-\x1f\x7f]"
_UNSAFE = re.compile(f"{UNSAFE_PATH}|{CONTROL}")


def is_safe_path(path: str) -> bool:
    """Whether a path is relative, stays below its root and is written in the normal form, with forward slashes."""
    return bool(path) and not _UNSAFE.search(path)


def clip_path(root: Path, path: str) -> Path:
    """Path of a clip's file; a path that leaves the root is a bad table, not a file."""
    if path.startswith("/") or ".." in path.split("/"):
        raise ClipError("missing_file", f"{path}: leaves the data root; paths must be relative and below it")
    return Path(root, path)


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
    return "+".join([file_stamp(f"{root}/{path}") for path in paths])


def files_hash(root: Path, clip: ClipSpan) -> str:
    """Hash of a clip's file, or of the hashes of its files."""
    files = [clip_path(root, path) for path in clip.paths]
    hashes = [_file_hash(path, file_stamp(path)) for path in files]
    return hashes[0] if len(hashes) == 1 else hash_json(hashes)


@lru_cache(maxsize=64)
def _file_hash(path: Path, stamp: str) -> str:
    """Hash a long recording once, however many clips are cut from it."""
    return hash_file(path)
