"""Small caches of events whose classes can be learned in seconds, and a tiny network that votes, for the tests of networks for events."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from model_caches import CLASSES, TARGETS, example_row, write_tables
from torch import nn

from audiodata.settings import Settings
from audiodata.shards import Layout, ShardWriter
from models import Model
from models.layers import WeightedLayer, at_each_step
from models.neurons import LIF
from models.votes import SENSES, Votes

TIME_STEPS = 8
FRAMES = {
    "visual_frames": Layout((TIME_STEPS, 1, 8, 8), "uint8", ("time", "polarity", "row", "column"), "events"),
    "auditory_frames": Layout((TIME_STEPS, 1, 12), "uint8", ("time", "polarity", "channel"), "events"),
}
SIZES = {"train": 48, "val": 12, "test": 12}


def event_frames(label: int, seed: int, noise: float = 0.03, clear: tuple[str, ...] = SENSES) -> dict[str, np.ndarray]:
    """Sparse noise, with many events in the rows or channels that belong to the class in those senses that are clear."""
    rng = np.random.default_rng(seed)
    found = {}
    for name, layout in FRAMES.items():
        chance = np.full(layout.shape, noise)
        if label >= 0 and name.removesuffix("_frames") in clear:
            places = slice(1 + 2 * label, 3 + 2 * label) if name == "visual_frames" else slice(4 * label, 4 * label + 3)
            axis = 2  # rows of [time, polarity, row, column], channels of [time, polarity, channel]
            chance[(slice(None),) * axis + (places,)] = 0.6
        found[name] = (rng.random(layout.shape) < chance).astype(np.uint8)
    return found


def build_event_cache(folder: Path, sizes=None, features=tuple(FRAMES), labels=None, unlabelled: int = 0, catalog=None, **frames) -> Path:
    """Write a cache of frames of events, classes in turn unless `labels` says others; `unlabelled` examples come first in each split."""
    folder.mkdir(parents=True, exist_ok=True)
    layouts = {name: FRAMES[name] for name in features}
    records, rows = [], []
    for number, (split, size) in enumerate((sizes or SIZES).items()):
        cycle = labels or range(len(CLASSES))
        name = f"{split}-00000.h5"
        with ShardWriter(folder / name, fingerprint="a" * 64, split=split, features=layouts, targets=TARGETS) as writer:
            for row, label in enumerate([-1] * unlabelled + [cycle[row % len(cycle)] for row in range(size)]):
                made = event_frames(label, 1000 * number + row, **frames)
                writer.add(f"{split}{row:04d}#0", {key: made[key] for key in layouts}, {"label": label, "length": 100})
                rows.append(example_row(f"{split}{row:04d}", split, name, row, label))
        records.append(writer.record)
    write_tables(folder, pd.DataFrame(rows), records, layouts, "a" * 64, catalog=catalog or {}, rate=1_000_000)
    return folder


class TinyVoterConfig(Settings):
    """Neurons of `TinyVoter`."""

    threshold: float = 0.5
    attention: bool = True


class TinyVoter(nn.Module):
    """One dense layer a sense, whose spikes are added up: all that the framework asks of a network with two senses, and no more."""

    structure = "10+10"

    def __init__(self, config: TinyVoterConfig, shapes: dict[str, tuple[int, ...]], classes: int):
        super().__init__()
        self.scaling = nn.ModuleDict()
        self.dense = nn.ModuleDict({name: nn.Linear(int(np.prod(shape[1:])), classes) for name, shape in shapes.items()})
        self.neurons = nn.ModuleDict({name: LIF(0.5, threshold=config.threshold) for name in (*shapes, "answer")})
        self.attention = config.attention

    def forward(self, features, generator=None):
        """Give votes of each sense and of both."""
        senses = {}
        for name, frames in features.items():
            flat = frames.flatten(2).movedim(1, 0)  # [T, B, input]
            senses[name.removesuffix("_frames")] = self.neurons[name](at_each_step(self.dense[name], flat))
        answer = self.neurons["answer"](sum(senses.values()))
        if len(senses) < 2:
            return Votes(answer)
        weights = torch.ones(*answer.shape[:2], 2) if self.attention else None
        return Votes(answer, **senses, attention=weights)

    def spiking_layers(self):
        """Neurons by name."""
        return dict(self.neurons)

    def weighted_layers(self):
        """Dense layers by name."""
        return {name: WeightedLayer(layer, takes_spikes=True) for name, layer in self.dense.items()}


def tiny_model(*senses: str) -> Model:
    """Entry of `models.MODELS` for a `TinyVoter`."""
    names = tuple(f"{sense}_frames" for sense in senses or SENSES)
    return Model(TinyVoterConfig, TinyVoter, "voting", "SNN", "for tests", "models.train_multimodal", features=names)
