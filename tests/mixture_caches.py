"""Small caches of mixtures whose sources can be told apart: each speaker is a band of noise that comes and goes."""

import numpy as np
import pandas as pd
from model_caches import TARGETS, write_tables
from scipy.signal import butter, sosfilt

from audiodata.shards import Layout, ShardWriter

RATE, SAMPLES = 8000, 4000
# Speaker to the band that it speaks in, Hz.
BANDS = {"anna": (300, 500), "bert": (1400, 1800), "carl": (2600, 3000), "dora": (3300, 3700)}
SPLITS = {"train": ("anna", "bert", "carl", "dora"), "val": ("anna", "carl"), "test": ("bert", "dora")}


def utterance(speaker, seed, samples=SAMPLES):
    """Noise in the speaker's band, louder and softer several times a second: float32 [sample], RMS 0.1."""
    rng = np.random.default_rng([seed, list(BANDS).index(speaker)])
    sound = sosfilt(butter(4, BANDS[speaker], "bandpass", fs=RATE, output="sos"), rng.normal(size=samples))
    sound *= 1.1 + np.sin(2 * np.pi * rng.uniform(2, 4) * np.arange(samples) / RATE + rng.uniform(0, 6))
    return (0.1 * sound / sound.std()).astype(np.float32)


def mixture(speakers, seed, samples=SAMPLES):
    """Mixture and its sources, float32 [1 + source, sample]."""
    sources = np.stack([utterance(speaker, seed, samples) for speaker in speakers])
    return np.concatenate([sources.sum(0, keepdims=True), sources])


def build_mixtures(folder, sizes=None, speakers=2, silent=()):
    """Write a cache of mixtures with one shard a split; `silent` examples of each split have no second source."""
    folder.mkdir(parents=True, exist_ok=True)
    layouts = {"waveform": Layout((1 + speakers, SAMPLES), "float32", ("channel", "sample"), "full scale")}
    records, rows = [], []
    for number, (split, size) in enumerate((sizes or {"train": 12, "val": 4, "test": 4}).items()):
        name = f"{split}-00000.h5"
        with ShardWriter(folder / name, fingerprint="d" * 64, split=split, features=layouts, targets=TARGETS) as writer:
            for row in range(size):
                names = [SPLITS[split][(row + place) % len(SPLITS[split])] for place in range(speakers)]
                made = mixture(names, 1000 * number + row)
                made[2:] *= row not in silent
                made[0] = made[1:].sum(0)
                writer.add(f"{split}{row:04d}#0", {"waveform": made}, {"label": -1, "length": SAMPLES})
                rows.append(example_row(split, name, row, names))
        records.append(writer.record)
    catalog = {"name": "made", "features": {"waveform": {}}}
    write_tables(folder, pd.DataFrame(rows), records, layouts, "d" * 64, catalog=catalog, rate=RATE)
    return folder


def example_row(split, shard, row, names):
    clip = f"{split}{row:04d}"
    return {
        "example_id": f"{clip}#0", "clip_id": clip, "group_id": "-".join(names), "split": split, "shard": shard, "row": row, "start_s": 0.0,
        "duration_s": SAMPLES / RATE, "label": "", "label_index": -1, "labels": ";".join(names),
    }  # fmt: skip
