"""The shard format: write atomically, read by row, verify; the manifest and the tables of a cache.

A cache is a folder of HDF5 shards, two Parquet tables and ``manifest.json``, which is written last. `ShardWriter`
writes one shard, `open_cache` reads any example of a finished cache, `verify_cache` says what is wrong with one. The
format itself, with the exact definition of the content hashes, is described in `audiodata.shards.format`.
"""

import importlib
from typing import TYPE_CHECKING, Any

from audiodata.shards.atomic import remove_stale_temporaries, replacing
from audiodata.shards.format import FORMAT, FORMAT_VERSION, Layout, ShardRecord
from audiodata.shards.record import read_fingerprint, read_shard_record, read_shard_rows
from audiodata.shards.writer import ShardWriter

if TYPE_CHECKING:
    from audiodata.shards.cache import Cache, open_cache
    from audiodata.shards.manifest import (
        CACHE_FORMAT,
        CACHE_FORMAT_VERSION,
        EXAMPLES_FILE,
        LEDGER_FILE,
        MANIFEST_FILE,
        ledger_counts,
        read_examples,
        read_ledger,
        read_manifest,
        split_counts,
        write_examples,
        write_ledger,
        write_manifest,
    )
    from audiodata.shards.verify import verify_cache

__all__ = [
    "CACHE_FORMAT",
    "CACHE_FORMAT_VERSION",
    "EXAMPLES_FILE",
    "FORMAT",
    "FORMAT_VERSION",
    "LEDGER_FILE",
    "MANIFEST_FILE",
    "Cache",
    "Layout",
    "ShardRecord",
    "ShardWriter",
    "ledger_counts",
    "open_cache",
    "read_examples",
    "read_fingerprint",
    "read_ledger",
    "read_manifest",
    "read_shard_record",
    "read_shard_rows",
    "remove_stale_temporaries",
    "replacing",
    "split_counts",
    "verify_cache",
    "write_examples",
    "write_ledger",
    "write_manifest",
]

# What works on tables is imported when it is asked for: a worker that makes shards needs no pandas.
_WITH_TABLES = {
    "cache": ("Cache", "open_cache"),
    "manifest": (
        *("CACHE_FORMAT", "CACHE_FORMAT_VERSION", "EXAMPLES_FILE", "LEDGER_FILE", "MANIFEST_FILE"),
        *("ledger_counts", "read_examples", "read_ledger", "read_manifest", "split_counts", "write_examples", "write_ledger", "write_manifest"),
    ),
    "verify": ("verify_cache",),
}
_MODULE_OF = {name: f"{__name__}.{module}" for module, names in _WITH_TABLES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULE_OF[name]), name)
