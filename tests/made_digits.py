"""A small root with something to see and something to hear of each of three classes: bars of three slants, tones of three heights."""

import numpy as np
import soundfile
from test_build_images import write_idx

SAMPLE_RATE = 8000
SPEAKERS = ("ann", "bob", "cem")
JOINT = {
    "dataset": {
        "name": "joint_events",
        "visual": {
            "name": "simulated_events", "sensor": "retina", "source": {"name": "idx_images", "path": "images"},
            "split": {"scheme": "stratified", "fractions": {"train": 0.7, "val": 0.0, "test": 0.3}},
        },
        "auditory": {
            "name": "simulated_events", "sensor": "cochlea",
            "source": {"name": "folder", "path": "voices", "pattern": "(?P<class>[0-9])_(?P<group>[a-z]+)_[0-9]+[.]wav"},
            "split": {"scheme": "held_out", "held_out": {"test": ["cem"]}},
        },
    },
    "split": {"scheme": "published"},
    "segment": {"length_s": 0.3, "short": "repeat"},
    "features": {"visual_frames": {"time_steps": 12}, "auditory_frames": {"time_steps": 12}},
    "shards": {"examples": 8},
}


def draw(label, rng):
    rows, columns = np.mgrid[:28, :28] - 13.5
    angle = label * np.pi / 3 + rng.uniform(-0.1, 0.1)
    across = rows * np.cos(angle) + columns * np.sin(angle)
    return np.where((np.abs(across) < 2) & (np.hypot(rows, columns) < 11), rng.integers(180, 256), 0).astype(np.uint8)


def sound(label, rng):
    time = np.arange(int(SAMPLE_RATE * rng.uniform(0.15, 0.25))) / SAMPLE_RATE
    return 0.4 * np.sin(2 * np.pi * 300 * 2.2**label * rng.uniform(0.97, 1.03) * time) * np.hanning(len(time))


def write_digits(root, images=10, voices=2):
    """Write `images` images of each class and `voices` sounds of each class and speaker."""
    rng = np.random.default_rng(5)
    for folder in ("images", "voices"):
        (root / folder).mkdir(parents=True)
    labels = np.repeat(np.arange(3, dtype=np.uint8), images)
    write_idx(root / "images", np.stack([draw(label, rng) for label in labels]), labels)
    for label in range(3):
        for speaker in SPEAKERS:
            for number in range(voices):
                soundfile.write(root / "voices" / f"{label}_{speaker}_{number}.wav", sound(label, rng), SAMPLE_RATE)
    return root
