"""SHA-256 of files, of arrays and of canonical JSON: what the cache uses to know whether anything has changed."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from audiodata.errors import CacheError

_BLOCK_BYTES = 1 << 16  # memory for larger ones is asked of the system and given back to it each time


def canonical_json(value: Any) -> str:
    """JSON with sorted keys, no spaces and no NaN: equal values give equal text, whatever order they were built in."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def hash_json(value: Any) -> str:
    """SHA-256 (hex) of the canonical JSON of a value."""
    return hash_bytes(canonical_json(value).encode("utf-8"))


def hash_bytes(data: bytes) -> str:
    """SHA-256 (hex) of bytes."""
    return hashlib.sha256(data).hexdigest()


def hash_file(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes, read in blocks.

    Raises
    ------
    CacheError
        The file can't be read.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb", buffering=0) as file:
            while block := file.read(_BLOCK_BYTES):
                digest.update(block)
    except OSError as error:
        raise CacheError(f"{path}: can't be read ({error.strerror}); check the path and its permissions") from error
    return digest.hexdigest()


def hash_arrays(arrays: Iterable[tuple[str, np.ndarray]]) -> str:
    """SHA-256 (hex) of named arrays: name, dtype, shape and little-endian bytes of each, in the order given."""
    digest = hashlib.sha256()
    for name, array in arrays:
        little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
        digest.update(canonical_json([name, little.dtype.str, list(little.shape)]).encode("utf-8"))
        digest.update(little.data.cast("B") if little.size and little.ndim else little.tobytes())
    return digest.hexdigest()


def unit_hash(seed: int, *words: str) -> float:
    """A number in [0, 1) that depends on the seed and the words alone: the same on every machine, whatever else is in a table.

    Parameters
    ----------
    seed : int
        From the catalog.
    words : str
        What the number is for, e.g. ``"split", group_id``.
    """
    digest = hashlib.sha256("\x1f".join([str(int(seed)), *words]).encode("utf-8")).digest()
    return int.from_bytes(digest[:7], "big") / 2**56
