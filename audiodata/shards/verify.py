"""Find out whether a cache is what its manifest says, and if not, where."""

import io
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd

from audiodata.errors import CacheError
from audiodata.fingerprint import hash_file, hash_json
from audiodata.shards.atomic import is_temporary
from audiodata.shards.bitshuffle import COMPRESSION
from audiodata.shards.cache import open_cache
from audiodata.shards.chunks import Grid
from audiodata.shards.format import (
    GROUPS,
    ID_PATH,
    OFFSETS_LAYOUT,
    Layout,
    content_hash,
    hash_dataset,
    one_line,
    open_shard,
    read_layout,
    read_text,
)
from audiodata.shards.manifest import (
    EXAMPLES_FILE,
    LEDGER_FILE,
    MANIFEST_FILE,
    ledger_counts,
    read_examples,
    read_ledger,
    split_counts,
)
from audiodata.shards.ragged import OFFSETS, entries_path, offsets_flaw, offsets_path
from audiodata.shards.record import read_shard_rows

# What reading a damaged HDF5 file may raise.
DAMAGE = (KeyError, OSError, RuntimeError, ValueError, TypeError, AttributeError, CacheError)


def verify_cache(path: Path, on_shard: Callable[[str], None] | None = None) -> list[str]:
    """Compare every byte of a cache with its manifest.

    Manifest: the catalog's fingerprint. Shards: size and hash of the file, decoded content of each data set, names, shapes, dtypes, axes, units,
    fingerprint. Tables: rows against shards, counts against the manifest, groups against splits. Folder: nothing
    missing and nothing more.

    Parameters
    ----------
    path : Path
        The cache.
    on_shard : callable, optional
        Called with the name of each shard when it has been checked, for a progress bar.

    Returns
    -------
    list of str
        One line per problem, ``<file>: <data set>: <what>``; empty for a sound cache.

    Raises
    ------
    CacheError
        Not a cache, or a manifest that can't be read.
    """
    cache = open_cache(path)
    problems = folder_problems(cache.path, cache.manifest)
    for shard in cache.manifest["shards"]:
        problems += shard_problems(cache.path, cache.manifest, shard)
        if on_shard is not None:
            on_shard(shard["file"])
    if hash_json(cache.manifest["catalog"]) != cache.manifest["catalog_fingerprint"]:
        problems.append(f"{MANIFEST_FILE}: catalog: isn't the one of `catalog_fingerprint`")
    return problems + table_problems(cache.path, cache.manifest)


def folder_problems(folder: Path, manifest: Mapping[str, Any]) -> list[str]:
    """Return a line for each file that the manifest doesn't name, and for each shard that it names twice."""
    shards = [shard["file"] for shard in manifest["shards"]]
    expected = {MANIFEST_FILE, EXAMPLES_FILE, LEDGER_FILE, *shards}
    problems = [f"{MANIFEST_FILE}: names {name} more than once" for name, times in Counter(shards).items() if times > 1]
    for name in sorted(entry.name for entry in folder.iterdir() if entry.name not in expected):
        what = "left by an interrupted build" if is_temporary(name) else "not named by the manifest"
        problems.append(f"{name}: {what}; remove it")
    return problems


def shard_problems(folder: Path, manifest: Mapping[str, Any], shard: Mapping[str, Any]) -> list[str]:
    """Return the problems of one shard.

    Parameters
    ----------
    folder : Path
        The cache.
    manifest : mapping
        The whole manifest.
    shard : mapping
        The shard's entry of it.

    Returns
    -------
    list of str
        One line per problem.
    """
    name, path = shard["file"], folder / shard["file"]
    entry = [f"{MANIFEST_FILE}: {name}: {problem}" for problem in _entry_problems(manifest, shard)]
    if not path.is_file():
        return [*entry, f"{name}: missing; run the build again, finished shards are kept"]
    size, sha256 = path.stat().st_size, hash_file(path)
    problems = [f"{name}: has {size} bytes, the manifest says {shard['bytes']}"] if size != shard["bytes"] else []
    intact = sha256 == shard["sha256"]
    problems += [f"{name}: {problem}" for problem in _content_problems(path, manifest, shard)]
    if not intact:
        problems += [f"{name}: is {twin}; were the files swapped?" for twin in _twins(manifest, name, sha256)]
    if not intact and not problems:
        problems = [f"{name}: {problem}" for problem in _hidden_problems(path, sha256, shard)]
    return [*entry, *problems]


def _entry_problems(manifest: Mapping[str, Any], shard: Mapping[str, Any]) -> Iterator[str]:
    """Yield where the manifest contradicts itself."""
    if content_hash(shard["datasets"]) != shard["content_sha256"]:
        yield "`content_sha256` isn't that of its data sets"
    expected, found = set(_layouts(manifest)), set(shard["datasets"])
    if expected != found:
        yield f"`datasets` names {', '.join(sorted(expected ^ found))} on one side alone"


def _layouts(manifest: Mapping[str, Any]) -> dict[str, Layout | None]:
    """Return the layout of each data set that a shard should have; None for the ids."""
    layouts = {f"/{group}/{name}": Layout.from_record(entry) for group in GROUPS for name, entry in manifest[group].items()}
    offsets = {offsets_path(path): OFFSETS_LAYOUT for path, layout in layouts.items() if layout.ragged}
    return {**layouts, **offsets, ID_PATH: None}


def _twins(manifest: Mapping[str, Any], name: str, sha256: str) -> list[str]:
    return [shard["file"] for shard in manifest["shards"] if shard["sha256"] == sha256 and shard["file"] != name]


def _content_problems(path: Path, manifest: Mapping[str, Any], shard: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong inside a shard; nothing in it is taken for granted."""
    layouts = _layouts(manifest)
    try:
        with open_shard(path) as file:
            yield from _attribute_problems(file, shard)
            yield from (f"structure: unexpected data set {name}" for name in _members(file) if name not in layouts)
            for name, layout in layouts.items():
                yield from (f"{name}: {problem}" for problem in _dataset_problems(file, name, layout, shard))
    except CacheError as error:
        yield str(error).removeprefix(f"{path}: ")


def _members(file: h5py.File) -> list[str]:
    """Return the paths of the data sets that are there, as far as they can be listed."""
    groups = (*GROUPS, OFFSETS)
    members = [f"/{name}" for name in file if name not in groups]
    for group in groups:
        with suppress(*DAMAGE):
            members += [f"/{group}/{name}" for name in file[group]]
    return members


def _attribute_problems(file: h5py.File, shard: Mapping[str, Any]) -> Iterator[str]:
    for name in ("fingerprint", "split", "content_sha256"):
        try:
            found = read_text(file, name)
        except DAMAGE as error:
            yield f"structure: `{name}` can't be read ({one_line(error)})"
        else:
            if found != shard[name]:
                yield f"structure: `{name}` is {found!r}, the manifest says {shard[name]!r}"


def _dataset_problems(file: h5py.File, name: str, layout: Layout | None, shard: Mapping[str, Any]) -> Iterator[str]:
    try:
        dataset = file[name]
        yield from _length_problems(file, name, layout, shard["examples"])
        if layout is not None and read_layout(dataset) != layout:
            yield f"is {read_layout(dataset).record()}, the manifest says {layout.record()}"
        if hash_dataset(dataset) != shard["datasets"].get(name):
            yield "decoded content differs from the manifest; remove the shard and run the build again"
    except DAMAGE as error:
        yield f"can't be decoded ({one_line(error)}); remove the shard and run the build again"


def _length_problems(file: h5py.File, name: str, layout: Layout | None, examples: int) -> Iterator[str]:
    """Yield where a data set has not a row for each example, or offsets don't share out the entries among the examples."""
    if name.startswith(f"/{OFFSETS}/"):
        flaw = offsets_flaw(file[name][:], examples, len(file[entries_path(name)]))
        yield from [flaw] if flaw else []
    elif (layout is None or not layout.ragged) and len(file[name]) != examples:
        yield f"has {len(file[name])} examples, the manifest says {examples}"


def _hidden_problems(path: Path, sha256: str, shard: Mapping[str, Any]) -> list[str]:
    """Explain bytes that differ although all content is right: packed otherwise, or in a place that nothing reads."""
    with open_shard(path) as file:
        rows = {name: repacked_rows(file[name]) for name in shard["datasets"]}
        chunks = {name: file[name].id.get_num_chunks() if found else 0 for name, found in rows.items()}
    if any(len(found) == chunks[name] > 1 for name, found in rows.items()):
        found = ["packing or structure: bytes differ, though all content is as recorded"]
    else:
        found = [f"{name}: row {r[0]}: bytes differ, though they decode to what is recorded" for name, r in rows.items() if r]
    found = found or ["outside any data set: bytes differ, though all content is as recorded"]
    return [f"{problem} (SHA-256 {sha256}, the manifest says {shard['sha256']})" for problem in found]


def repacked_rows(dataset: h5py.Dataset) -> list[int]:
    """Return the rows whose chunk isn't what packing their content again gives.

    Parameters
    ----------
    dataset : Dataset
        In chunks; of any other there are none.

    Returns
    -------
    list of int
        The first row of each such chunk: all chunks, where another version of the library did the packing.
    """
    if dataset.chunks is None:
        return []
    rows = []
    with h5py.File(io.BytesIO(), "w", rdcc_nbytes=0) as memory:
        again = memory.create_dataset("chunk", dataset.chunks, dataset.dtype, chunks=dataset.chunks, **COMPRESSION)
        for corner in Grid.of(dataset).corners(0, len(dataset)):
            again[...] = _whole_chunk(dataset, corner)
            if again.id.read_direct_chunk((0,) * dataset.ndim)[1] != dataset.id.read_direct_chunk(corner)[1]:
                rows.append(corner[0])
    return rows


def _whole_chunk(dataset: h5py.Dataset, corner: tuple[int, ...]) -> np.ndarray:
    """Decode one chunk; beyond the end of the data set it holds 0."""
    found = dataset[tuple(slice(start, start + length) for start, length in zip(corner, dataset.chunks, strict=True))]
    whole = np.zeros(dataset.chunks, dataset.dtype)
    whole[tuple(map(slice, found.shape))] = found
    return whole


def table_problems(folder: Path, manifest: Mapping[str, Any]) -> list[str]:
    """Return the problems of the two tables: against their hashes, the shards, the manifest's counts and each other."""
    problems = _table_hash_problems(folder, manifest)
    try:
        examples = read_examples(folder / EXAMPLES_FILE)
    except CacheError as error:
        problems.append(str(error).removeprefix(f"{folder}{os.sep}"))
    else:
        problems += _count_problems(EXAMPLES_FILE, split_counts(examples, manifest["classes"]), manifest["splits"])
        problems += [f"{EXAMPLES_FILE}: {problem}" for problem in _example_problems(folder, manifest, examples)]
    try:
        ledger = read_ledger(folder / LEDGER_FILE)
    except CacheError as error:
        problems.append(str(error).removeprefix(f"{folder}{os.sep}"))
    else:
        problems += _count_problems(LEDGER_FILE, ledger_counts(ledger), manifest["counts"])
    return problems


def _count_problems(file: str, found: Mapping[str, Any], expected: Mapping[str, Any]) -> list[str]:
    return [
        f"{file}: {key}: counts {found.get(key)}, the manifest says {expected.get(key)}"
        for key in sorted(found.keys() | expected.keys())
        if found.get(key) != expected.get(key)
    ]


def _table_hash_problems(folder: Path, manifest: Mapping[str, Any]) -> list[str]:
    problems = []
    for name, entry in manifest.get("tables", {}).items():
        if (folder / name).is_file() and hash_file(folder / name) != entry["sha256"]:
            problems.append(f"{name}: bytes differ from the manifest; run the build again, finished shards are kept")
    return problems


def _example_problems(folder: Path, manifest: Mapping[str, Any], examples: pd.DataFrame) -> Iterator[str]:
    for identifier in examples["example_id"][examples["example_id"].duplicated()].head(1):
        yield f"{identifier!r} is there more than once"
    sides = examples.groupby("group_id")["split"].nunique()
    for group in sides.index[sides > 1][:1]:
        yield f"group {group!r} is in more than one split"
    by_shard = dict(iter(examples.groupby("shard")))
    for shard in manifest["shards"]:
        yield from _row_problems(folder, shard, by_shard.pop(shard["file"], examples.head(0)))
    yield from (f"names {name}, which the manifest doesn't" for name in by_shard)


def _row_problems(folder: Path, shard: Mapping[str, Any], rows: pd.DataFrame) -> Iterator[str]:
    """Yield where the table differs from what a shard holds; an unreadable shard has been reported before."""
    try:
        held = read_shard_rows(folder / shard["file"])
    except CacheError:
        return
    rows = rows.sort_values("row")
    if rows["row"].tolist() != list(range(len(held["example_id"]))):
        yield f"has {len(rows)} rows for {shard['file']}, which has {len(held['example_id'])}"
        return
    pairs = [
        ("example_id", held["example_id"]),
        ("split", [shard["split"]] * len(rows)),
        ("label_index", held.get("label")),
    ]
    for column, values in pairs:
        different = [] if values is None else np.flatnonzero(rows[column].to_numpy() != np.asarray(values))
        if len(different):
            row = different[0]
            table, shards = rows[column].iloc[row], values[row]
            yield f"{column} of row {row} of {shard['file']} is {table!r}, the shard says {shards!r}"
