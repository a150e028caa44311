"""What a finished shard says of itself: its entry of the manifest, its fingerprint, its rows."""

from pathlib import Path

import h5py
import numpy as np

from audiodata.errors import CacheError
from audiodata.fingerprint import hash_file
from audiodata.shards.format import (
    ID_PATH,
    ShardRecord,
    content_hash,
    dataset_paths,
    hash_dataset,
    one_line,
    open_shard,
    read_ids,
    read_text,
)


def read_fingerprint(path: Path) -> str:
    """Return the fingerprint of a shard, without decoding anything.

    Raises
    ------
    CacheError
        Not a shard, or damaged.
    """
    with open_shard(path) as file:
        return read_text(file, "fingerprint")


def read_shard_record(path: Path) -> ShardRecord:
    """Decode a whole shard and return its entry of the manifest.

    Raises
    ------
    CacheError
        Not a shard; or damaged: the line names the data set whose content isn't what its writer noted.
    """
    return describe_shard(Path(path), Path(path))


def describe_shard(path: Path, known_as: Path) -> ShardRecord:
    """Return the record of the shard at `path`, which messages and the record name as `known_as`."""
    with open_shard(path) as file:
        datasets = {name: checked_hash(file, name, known_as) for name in dataset_paths(file)}
        fingerprint, split, examples = read_text(file, "fingerprint"), read_text(file, "split"), len(file[ID_PATH])
    return ShardRecord(
        known_as.name,
        split,
        examples,
        path.stat().st_size,
        hash_file(path),
        content_hash(datasets),
        datasets,
        fingerprint,
    )


def checked_hash(file: h5py.File, name: str, known_as: Path) -> str:
    """Decode one data set and return its SHA-256, which must be the one in its attributes."""
    try:
        found, noted = hash_dataset(file[name]), read_text(file[name], "sha256")
    except (KeyError, OSError, RuntimeError, ValueError) as error:
        raise CacheError(f"{known_as}: {name}: can't be decoded ({one_line(error)}); remove the shard and build again") from error
    if found != noted:
        raise CacheError(f"{known_as}: {name}: decoded content differs from what was written; remove the shard and build again")
    return found


def read_shard_rows(path: Path) -> dict[str, np.ndarray]:
    """Return the ids and small targets of a shard, by row.

    Returns
    -------
    dict
        ``example_id`` (str) and each target that is stored in one piece, all ``[example, ...]``.

    Raises
    ------
    CacheError
        Not a shard, or damaged.
    """
    with open_shard(path) as file:
        try:
            small = {name: dataset[:] for name, dataset in file["targets"].items() if dataset.chunks is None}
            return {"example_id": np.array(read_ids(file), dtype=object), **small}
        except (KeyError, OSError, RuntimeError, ValueError) as error:
            raise CacheError(f"{path}: ids or targets can't be read ({one_line(error)}); remove the shard and build again") from error
