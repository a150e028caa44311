"""The shard format: write atomically, read by row, verify; the manifest and the tables of a cache.

A cache is a folder of HDF5 shards, two Parquet tables and ``manifest.json``, which is written last. `ShardWriter`
writes one shard, `open_cache` reads any example of a finished cache, `verify_cache` says what is wrong with one. The
format itself, with the exact definition of the content hashes, is described in `audiodata.shards.format`.
"""

from audiodata.shards.atomic import remove_stale_temporaries, replacing
from audiodata.shards.cache import Cache, open_cache
from audiodata.shards.format import FORMAT, FORMAT_VERSION, Layout, ShardRecord
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
from audiodata.shards.record import read_fingerprint, read_shard_record, read_shard_rows
from audiodata.shards.verify import verify_cache
from audiodata.shards.writer import ShardWriter

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
