"""The manifest and the tables of a cache: what a build wrote, the same bytes for the same content."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from audiodata.errors import CacheError
from audiodata.fingerprint import hash_file
from audiodata.shards.atomic import replacing
from audiodata.shards.format import GROUPS, Layout, ShardRecord, check_format, one_line

CACHE_FORMAT = "audiodata-cache"
CACHE_FORMAT_VERSION = 1
MANIFEST_FILE = "manifest.json"
EXAMPLES_FILE = "examples.parquet"
LEDGER_FILE = "ledger.parquet"

MANIFEST_KEYS: dict[str, type] = {
    "format": str,
    "format_version": int,
    "catalog": dict,
    "catalog_fingerprint": str,
    "classes": list,
    "audio": dict,
    "features": dict,
    "targets": dict,
    "splits": dict,
    "shards": list,
    "versions": dict,
    "counts": dict,
}
EXAMPLE_COLUMNS = {
    "example_id": pa.string(),
    "clip_id": pa.string(),
    "group_id": pa.string(),
    "split": pa.string(),
    "shard": pa.string(),
    "row": pa.int64(),
    "start_s": pa.float64(),
    "duration_s": pa.float64(),
    "label": pa.string(),
    "label_index": pa.int64(),
    "labels": pa.string(),
}
LEDGER_COLUMNS = {"clip_id": pa.string(), "status": pa.string(), "reason": pa.string(), "detail": pa.string()}
ROWS_PER_GROUP = 1 << 17


def write_manifest(path: Path, manifest: Mapping[str, Any]) -> None:
    """Write ``manifest.json``: keys sorted, indented by 2, one line feed at the end; complete or not at all.

    Parameters
    ----------
    path : Path
        The file, ``<cache>/manifest.json``.
    manifest : mapping
        With at least the keys of `MANIFEST_KEYS`.

    Raises
    ------
    CacheError
        A key is missing or of the wrong type.
    EnvironmentFault
        The disk is full or can't be written to.
    """
    path = Path(path)
    check_manifest(path, manifest)
    text = json.dumps(manifest, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    with replacing(path) as temporary:
        temporary.write_bytes(text.encode("utf-8"))


def read_manifest(path: Path) -> dict[str, Any]:
    """Read and check ``manifest.json``.

    Raises
    ------
    CacheError
        Not there, not JSON, of a newer version, or with a key that is missing, of the wrong type or a path where a name
        belongs.
    """
    path = Path(path)
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CacheError(f"{path}: can't be read ({error.strerror}); is the build finished?") from error
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise CacheError(f"{path}: isn't JSON ({one_line(error)}); remove it and run the build again, finished shards are kept") from error
    check_manifest(path, manifest)
    return manifest


def check_manifest(path: Path, manifest: Any) -> None:
    """Raise a `CacheError` where a manifest lacks something or has something of another kind than it should."""
    if not isinstance(manifest, Mapping) or "format" not in manifest:
        raise CacheError(f"{path}: isn't the manifest of a cache (no `format`)")
    _check_keys(path, "", manifest, MANIFEST_KEYS)
    check_format(path, manifest["format"], manifest["format_version"], CACHE_FORMAT, CACHE_FORMAT_VERSION)
    for position, shard in enumerate(manifest["shards"]):
        _check_keys(path, f"shards[{position}].", shard, ShardRecord.__annotations__)
        _check_name(path, f"shards[{position}].file", shard["file"])
    for kind in GROUPS:
        for name, entry in manifest[kind].items():
            _check_layout(path, f"{kind}.{name}", entry)
    for name in manifest["features"].keys() & manifest["targets"].keys():
        raise CacheError(f"{path}: {name!r} is both a feature and a target")


def _check_keys(path: Path, where: str, found: Any, expected: Mapping[str, Any]) -> None:
    if not isinstance(found, Mapping):
        raise CacheError(f"{path}: {where.rstrip('.')} is {type(found).__name__}, expected an object")
    for key, kind in expected.items():
        kind = getattr(kind, "__origin__", kind)
        if key not in found:
            raise CacheError(f"{path}: `{where}{key}` is missing")
        if not isinstance(found[key], kind) or isinstance(found[key], bool):
            raise CacheError(f"{path}: `{where}{key}` is {type(found[key]).__name__}, expected {kind.__name__}")


def _check_name(path: Path, where: str, name: str) -> None:
    """Refuse a file name that would lead out of the cache."""
    if PurePosixPath(name).name != name or "\\" in name or name.startswith(".") or not name.endswith(".h5"):
        raise CacheError(f"{path}: `{where}` = {name!r} isn't the plain name of a shard")


def _check_layout(path: Path, where: str, entry: Any) -> None:
    try:
        layout = Layout.from_record(entry)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CacheError(f"{path}: `{where}` isn't a layout with shape, dtype, axes and unit ({one_line(error)})") from error
    if layout.ragged and where.startswith("targets."):
        raise CacheError(f"{path}: `{where}` has the shape {entry['shape']}: only features may be ragged")


def split_counts(examples: pd.DataFrame, classes: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the manifest's ``splits``: examples, clips and groups of each split, and its examples of each class.

    Parameters
    ----------
    examples : DataFrame
        The table of examples.
    classes : sequence of str
        All classes; one without examples counts 0.
    """
    counts = {}
    for split, rows in examples.groupby("split", sort=True):
        of_class = rows["label"].value_counts()
        counts[str(split)] = {
            "examples": len(rows),
            "clips": int(rows["clip_id"].nunique()),
            "groups": int(rows["group_id"].nunique()),
            "classes": {name: int(of_class.get(name, 0)) for name in classes},
        }
    return counts


def ledger_counts(ledger: pd.DataFrame) -> dict[str, dict[str, int]]:
    """Return the manifest's ``counts``: clips per ``status`` and per ``reason``, the empty reason included."""
    return {
        column: {str(value): int(number) for value, number in ledger[column].value_counts().sort_index().items()}
        for column in ("status", "reason")
    }


def write_examples(path: Path, examples: pd.DataFrame) -> dict[str, Any]:
    """Write ``examples.parquet``, sorted by shard and row.

    Parameters
    ----------
    path : Path
        The file, ``<cache>/examples.parquet``.
    examples : DataFrame
        One row an example, with at least the columns of `EXAMPLE_COLUMNS`; further columns follow those, by name.

    Returns
    -------
    dict
        ``rows``, ``bytes`` and ``sha256`` of the file, for the manifest's ``tables``.

    Raises
    ------
    ValueError
        A column is missing.
    EnvironmentFault
        The disk is full or can't be written to.
    """
    return _write_table(Path(path), examples, EXAMPLE_COLUMNS, ["shard", "row"])


def write_ledger(path: Path, ledger: pd.DataFrame) -> dict[str, Any]:
    """Write ``ledger.parquet``, sorted by clip id, with the columns of `LEDGER_COLUMNS`; see `write_examples`."""
    return _write_table(Path(path), ledger, LEDGER_COLUMNS, ["clip_id"])


def _write_table(path: Path, frame: pd.DataFrame, columns: Mapping[str, pa.DataType], order: list[str]) -> dict[str, Any]:
    """Write a table whose bytes depend on its values and the version of pyarrow alone."""
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise ValueError(f"{path}: the table lacks {', '.join(missing)}")
    names = [*columns, *sorted(name for name in frame.columns if name not in columns)]
    frame = _sorted(frame, order)
    table = pa.table({name: _to_arrow(frame[name], columns.get(name)) for name in names})
    with replacing(path) as temporary:
        pq.write_table(
            table,
            temporary,
            version="2.6",
            compression="zstd",
            compression_level=3,
            row_group_size=ROWS_PER_GROUP,
            store_schema=False,
            write_page_checksum=True,
        )
    return {"rows": table.num_rows, "bytes": path.stat().st_size, "sha256": hash_file(path)}


def _sorted(frame: pd.DataFrame, order: list[str]) -> pd.DataFrame:
    """Sort rows, texts by their bytes; a table that is in order is not copied."""
    keys = pa.table({name: pa.array(frame[name], from_pandas=True) for name in order})
    rows = pc.sort_indices(keys, [(name, "ascending") for name in order]).to_numpy()
    return frame if (rows[1:] > rows[:-1]).all() else frame.take(rows)


def _to_arrow(column: pd.Series, kind: pa.DataType | None) -> pa.Array:
    array = pa.array(column, from_pandas=True)
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    if kind is None:
        kind = pa.string() if pa.types.is_large_string(array.type) or pa.types.is_null(array.type) else array.type
    return array.cast(kind)


def read_examples(path: Path) -> pd.DataFrame:
    """Read ``examples.parquet``, one row an example, in the order of shards and rows.

    Raises
    ------
    CacheError
        Not there, damaged, or without a column that it must have.
    """
    return _read_table(Path(path), EXAMPLE_COLUMNS)


def read_ledger(path: Path, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Read ``ledger.parquet`` or some columns of it, one row an input clip; raises as `read_examples` does."""
    wanted = LEDGER_COLUMNS if columns is None else {name: LEDGER_COLUMNS[name] for name in columns}
    return _read_table(Path(path), wanted, columns)


def _read_table(path: Path, columns: Mapping[str, pa.DataType], wanted: Sequence[str] | None = None) -> pd.DataFrame:
    try:
        table = pq.ParquetFile(path, page_checksum_verification=True).read(wanted)
    except (OSError, pa.ArrowException) as error:
        raise CacheError(f"{path}: can't be read ({one_line(error)}); run the build again, finished shards are kept") from error
    missing = [name for name in columns if name not in table.column_names]
    if missing:
        raise CacheError(f"{path}: lacks the column(s) {', '.join(missing)}; run the build again, finished shards are kept")
    return table.to_pandas()
