"""Small caches whose classes can be learned in seconds, for the tests of the networks."""

from pathlib import Path

import numpy as np
import pandas as pd

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

CLASSES = ["low", "middle", "high"]
MFCC = Layout((1, 24, 16), "float32", ("channel", "frame", "coefficient"), "dB")
IMAGE = Layout((1, 16, 16), "float32", ("channel", "row", "column"), "1")
TARGETS = {"label": Layout((), "int64"), "length": Layout((), "int32", (), "samples")}
SIZES = {"train": 24, "val": 9, "test": 12}


def features(label: int, seed: int, layout: Layout = MFCC) -> np.ndarray:
    """Noise with a bump in the part of the last axis that belongs to the class."""
    rng = np.random.default_rng(seed)
    scale, middle = (4.0, -30.0) if layout is MFCC else (0.1, 0.2)
    values = middle + scale * rng.normal(size=layout.shape)
    if label >= 0:
        values[..., 2 + 5 * label : 5 + 5 * label] += 6 * scale
    return values.astype(layout.dtype)


def build_cache(folder: Path, feature: str = "mfcc", sizes=None, unlabelled: int = 0, fingerprint: str = "c" * 64) -> Path:
    """Write a cache with one shard per split; `unlabelled` examples without a class come first in each."""
    folder.mkdir(parents=True, exist_ok=True)
    layout = IMAGE if feature == "image" else MFCC
    records, rows = [], []
    for number, (split, size) in enumerate((sizes or SIZES).items()):
        labels = [-1] * unlabelled + [row % len(CLASSES) for row in range(size)]
        name = f"{split}-00000.h5"
        with ShardWriter(folder / name, fingerprint=fingerprint, split=split, features={feature: layout}, targets=TARGETS) as writer:
            for row, label in enumerate(labels):
                clip = f"{split}{row:04d}"
                writer.add(f"{clip}#0", {feature: features(label, 1000 * number + row, layout)}, {"label": label, "length": 100})
                rows.append(example_row(clip, split, name, row, label))
        records.append(writer.record)
    write_tables(folder, pd.DataFrame(rows), records, {feature: layout}, fingerprint)
    return folder


def example_row(clip, split, shard, row, label):
    return {
        "example_id": f"{clip}#0", "clip_id": clip, "group_id": clip, "split": split, "shard": shard, "row": row, "start_s": 0.0,
        "duration_s": 1.0, "label": CLASSES[label] if label >= 0 else "", "label_index": label, "labels": "",
    }  # fmt: skip


def write_tables(folder, examples, records, layouts, fingerprint):
    ledger = pd.DataFrame({"clip_id": examples["clip_id"], "status": "ok", "reason": "", "detail": ""})
    write_examples(folder / EXAMPLES_FILE, examples)
    write_ledger(folder / LEDGER_FILE, ledger)
    manifest = {
        "format": CACHE_FORMAT,
        "format_version": CACHE_FORMAT_VERSION,
        "catalog": {"name": "made", "features": {"mfcc": {"n_mels": 40, "n_mfcc": 16}}},
        "catalog_fingerprint": fingerprint,
        "classes": CLASSES,
        "audio": {"sample_rate": 8000, "channels": 1, "segment_samples": 8000},
        "features": {name: layout.record() | {"version": 1} for name, layout in layouts.items()},
        "targets": {name: layout.record() for name, layout in TARGETS.items()},
        "splits": split_counts(examples, CLASSES),
        "shards": [record._asdict() for record in records],
        "versions": {},
        "counts": ledger_counts(ledger),
    }
    write_manifest(folder / MANIFEST_FILE, manifest)
