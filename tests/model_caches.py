"""Small caches whose classes can be learned in seconds, for the tests of the networks."""

from pathlib import Path

import numpy as np
import pandas as pd

from audiodata.geometry import pair_lags
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


# Four microphones in a square of 10 cm, whose lags at 16 kHz are up to 6.6 samples.
POSITIONS_M = [[0.05, 0.05, 0.0], [-0.05, 0.05, 0.0], [-0.05, -0.05, 0.0], [0.05, -0.05, 0.0]]
RATE, MAX_LAG = 16000, 8
LOCATED = {
    "gcc_phat": Layout((6, 4, 2 * MAX_LAG + 1), "float32", ("pair", "frame", "lag"), "1"),
    "log_mel": Layout((4, 4, 12), "float32", ("channel", "frame", "mel"), "dB"),
}
AZIMUTH = Layout((), "float32", (), "deg")
ARRAY = {"array": {"positions_m": POSITIONS_M, "speed_of_sound_m_s": 343.0}}


def located_features(label: int, azimuth_deg: float, seed: int) -> dict[str, np.ndarray]:
    """Cross-correlations with a peak at each pair's lag, and noise with a bump in the bands that belong to the class."""
    rng = np.random.default_rng(seed)
    lags = np.arange(-MAX_LAG, MAX_LAG + 1)
    peaks = np.zeros((6, 1, len(lags)))
    if not np.isnan(azimuth_deg):
        peaks = np.sinc(lags - pair_lags(POSITIONS_M, azimuth_deg, RATE)[:, None, None])
    gcc = 0.7 * peaks + 0.05 * rng.normal(size=LOCATED["gcc_phat"].shape)
    mel = -30 + 4 * rng.normal(size=LOCATED["log_mel"].shape)
    if label >= 0:
        mel[..., 4 * label : 3 + 4 * label] += 24
    return {"gcc_phat": gcc.astype(np.float32), "log_mel": mel.astype(np.float32)}


def build_located_cache(folder: Path, sizes=None, azimuths=None, labels=None, features=("gcc_phat", "log_mel"), targets=("azimuth_deg",)) -> Path:
    """Write a cache of sounds with directions: every 30 degrees unless `azimuths` says others, in turn, and so for `labels`."""
    folder.mkdir(parents=True, exist_ok=True)
    layouts = {name: LOCATED[name] for name in features}
    kept = TARGETS | dict.fromkeys(targets, AZIMUTH)
    azimuths, labels = azimuths or list(range(0, 360, 30)), labels or [0, 1, 2, 0, 2, 1, 1]
    records, rows = [], []
    for number, (split, size) in enumerate((sizes or {"train": 168, "val": 24, "test": 24}).items()):
        name = f"{split}-00000.h5"
        with ShardWriter(folder / name, fingerprint="e" * 64, split=split, features=layouts, targets=kept) as writer:
            for row in range(size):
                label, azimuth = labels[row % len(labels)], float(azimuths[row % len(azimuths)])
                made = located_features(label, azimuth, 1000 * number + row)
                values = {"label": label, "length": 100, "azimuth_deg": azimuth}
                writer.add(f"{split}{row:04d}#0", {key: made[key] for key in layouts}, {key: values[key] for key in kept})
                rows.append(example_row(f"{split}{row:04d}", split, name, row, label))
        records.append(writer.record)
    catalog = {"gcc_phat": {"max_lag": MAX_LAG, "interpolation": 1}, "log_mel": {"n_mels": 12}}
    write_tables(folder, pd.DataFrame(rows), records, layouts, "e" * 64, targets=kept, catalog=ARRAY | {"features": catalog}, rate=RATE)
    return folder


def example_row(clip, split, shard, row, label):
    return {
        "example_id": f"{clip}#0", "clip_id": clip, "group_id": clip, "split": split, "shard": shard, "row": row, "start_s": 0.0,
        "duration_s": 1.0, "label": CLASSES[label] if label >= 0 else "", "label_index": label, "labels": "",
    }  # fmt: skip


MFCC_CATALOG = {"features": {"mfcc": {"n_mels": 40, "n_mfcc": 16}}}


def write_tables(folder, examples, records, layouts, fingerprint, targets=TARGETS, catalog=MFCC_CATALOG, rate=8000):
    ledger = pd.DataFrame({"clip_id": examples["clip_id"], "status": "ok", "reason": "", "detail": ""})
    write_examples(folder / EXAMPLES_FILE, examples)
    write_ledger(folder / LEDGER_FILE, ledger)
    manifest = {
        "format": CACHE_FORMAT,
        "format_version": CACHE_FORMAT_VERSION,
        "catalog": {"name": "made"} | catalog,
        "catalog_fingerprint": fingerprint,
        "classes": CLASSES,
        "audio": {"sample_rate": rate, "channels": 1, "segment_samples": 8000},
        "features": {name: layout.record() | {"version": 1} for name, layout in layouts.items()},
        "targets": {name: layout.record() for name, layout in targets.items()},
        "splits": split_counts(examples, CLASSES),
        "shards": [record._asdict() for record in records],
        "versions": {},
        "counts": ledger_counts(ledger),
    }
    write_manifest(folder / MANIFEST_FILE, manifest)
