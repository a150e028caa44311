"""Small files of several channels, as collections of spatial sound publish theirs, and caches made from them."""

import numpy as np
import soundfile

from audiodata.catalog import parse_catalog
from audiodata.shards import open_cache, verify_cache
from pipelines import build

RATE = 16000
MEL = {"window_length": 512, "hop_length": 256, "n_mels": 8}


def sound(channels, seed, samples=1600):
    """Noise that differs from channel to channel, float32 [sample, channel]."""
    return (0.1 * np.random.default_rng(seed).standard_normal((samples, channels))).astype(np.float32)


def write(path, channels=4, seed=0, samples=1600, rate=RATE):
    """Write such noise and return it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    waveform = sound(channels, seed, samples)
    soundfile.write(path, waveform, rate, subtype="FLOAT")
    return waveform


def built(root, dataset, **tables):
    """Build a cache of log-mel levels of four channels, all of it for training unless `tables` say otherwise."""
    base = {
        "dataset": dataset,
        "split": {"fractions": {"train": 1.0, "val": 0.0, "test": 0.0}},
        "audio": {"sample_rate": RATE, "channels": 4},
        "segment": {"length_s": 0.1, "short": "repeat"},
        "features": {"log_mel": MEL},
    }
    build.build(parse_catalog(base | tables, "made", "made"), root, root / "cache")
    assert verify_cache(root / "cache") == []
    return open_cache(root / "cache")
