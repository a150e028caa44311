"""Make small caches for the tests of the shard format and its readers."""

from pathlib import Path

import numpy as np
import pandas as pd

from audiodata.fingerprint import hash_json
from audiodata.shards import (
    CACHE_FORMAT,
    CACHE_FORMAT_VERSION,
    EXAMPLES_FILE,
    LEDGER_FILE,
    MANIFEST_FILE,
    Layout,
    ShardWriter,
    ledger_counts,
    split_counts,
    write_examples,
    write_ledger,
    write_manifest,
)
from audiodata.shards.manifest import EXAMPLE_COLUMNS

FEATURES = {
    "mfcc": Layout((1, 31, 20), "float32", ("channel", "frame", "coefficient"), "dB"),
    "log_mel": Layout((1, 31, 40), "float32", ("channel", "frame", "mel"), "dB"),
}
TARGETS = {"label": Layout((), "int64"), "length": Layout((), "int32", (), "samples")}
CLASSES = ["bark", "rain", "tick"]


def example(seed: int, features=FEATURES) -> dict[str, np.ndarray]:
    """Features like those of a recording: smooth over frames, some of it constant."""
    rng = np.random.default_rng(seed)
    arrays = {}
    for name, layout in features.items():
        walk = np.cumsum(rng.normal(size=layout.shape), axis=-2 if len(layout.shape) > 1 else 0) - 40
        arrays[name] = np.maximum(walk, -42).astype(layout.dtype)
    return arrays


def targets(seed: int) -> dict[str, int]:
    return {"label": seed % len(CLASSES), "length": 8000 + seed}


def write_shard(path: Path, seeds, split="train", fingerprint="a" * 64):
    """Write a shard of made-up examples; return its record."""
    layouts = {"features": FEATURES, "targets": TARGETS}
    with ShardWriter(path, fingerprint=fingerprint, split=split, examples=len(seeds), **layouts) as writer:
        for seed in seeds:
            writer.add(f"clip{seed:04d}#0", example(seed), targets(seed))
    return writer.record


def example_rows(name, split, seeds):
    return [
        {
            "example_id": f"clip{seed:04d}#0",
            "clip_id": f"clip{seed:04d}",
            "group_id": f"group{seed:04d}",
            "split": split,
            "shard": name,
            "row": row,
            "start_s": 0.0,
            "duration_s": (8000 + seed) / 16000,
            "label": CLASSES[seed % len(CLASSES)],
            "label_index": seed % len(CLASSES),
            "labels": "",
        }
        for row, seed in enumerate(seeds)
    ]


def build_cache(folder: Path, per_shard: int = 6) -> Path:
    """Write a whole cache: two shards of ``train``, one of ``val`` and one of ``test``."""
    folder.mkdir(parents=True, exist_ok=True)
    records, rows = [], []
    for number, (split, name) in enumerate(
        [("train", "train-0000.h5"), ("train", "train-0001.h5"), ("val", "val-0000.h5"), ("test", "test-0000.h5")]
    ):
        seeds = range(number * per_shard, (number + 1) * per_shard)
        records.append(write_shard(folder / name, seeds, split, hash_json([split, number])))
        rows += example_rows(name, split, seeds)
    examples = pd.DataFrame(rows, columns=[*EXAMPLE_COLUMNS])
    ledger = pd.DataFrame({"clip_id": examples["clip_id"], "status": "ok", "reason": "", "detail": ""})
    tables = {
        EXAMPLES_FILE: write_examples(folder / EXAMPLES_FILE, examples),
        LEDGER_FILE: write_ledger(folder / LEDGER_FILE, ledger),
    }
    write_manifest(folder / MANIFEST_FILE, manifest_of(examples, ledger, records, tables))
    return folder


def manifest_of(examples, ledger, records, tables):
    return {
        "format": CACHE_FORMAT,
        "format_version": CACHE_FORMAT_VERSION,
        "catalog": {"name": "made up"},
        "catalog_fingerprint": hash_json({"name": "made up"}),
        "classes": CLASSES,
        "audio": {"sample_rate": 16000, "channels": 1},
        "features": {name: {**layout.record(), "version": 1} for name, layout in FEATURES.items()},
        "targets": {name: layout.record() for name, layout in TARGETS.items()},
        "splits": split_counts(examples, CLASSES),
        "shards": [record._asdict() for record in records],
        "versions": {},
        "counts": ledger_counts(ledger),
        "tables": tables,
    }
