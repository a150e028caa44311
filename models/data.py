"""From a cache to batches: which feature, turned which way, augmented how, in which order.

Networks see ``[B, channel, band, frame]``: a band is a mel band, a cepstral coefficient or an image's row; a frame is a point in time or an
image's column.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Generator, Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate

from audiodata.errors import CacheError
from audiodata.settings import nearest
from audiodata.shards import Cache, open_cache
from audiodata.torch_dataset import ShardDataset
from models.augment import Augmentation, AugmentConfig, change_gain_log_mel, change_gain_mfcc
from models.seeds import derived_generator
from models.training_config import TrainingConfig

PREFERRED = ("mfcc", "log_mel", "image")
# A split whose features are smaller than this is read once and held in memory.
HELD_BYTES = 2 * 2**30
# Ranges are measured on so many examples at most, evenly spaced over the training split.
MEASURED_EXAMPLES = 1024

Augment = Callable[[Tensor, Generator], Tensor]


class Batch(NamedTuple):
    """What the networks are trained on.

    Attributes
    ----------
    features : Tensor [B, channel, band, frame]
    targets : dict of str to Tensor [B]
        ``label`` (int64 class index) and whatever else the cache holds.
    """

    features: Tensor
    targets: dict[str, Tensor]


class Source(NamedTuple):
    """One feature of one cache, as the networks see it.

    Attributes
    ----------
    cache : Cache
    feature : str
    order : tuple of int
        How the cached axes ``[example, ...]`` become ``[example, channel, band, frame]``.
    shape : tuple of int
        ``(channel, band, frame)``.
    has_time : bool
        Whether the last axis is time.
    """

    cache: Cache
    feature: str
    order: tuple[int, ...]
    shape: tuple[int, int, int]
    has_time: bool

    def identity(self) -> dict[str, str]:
        """Which cache this is: the catalog's name and fingerprint."""
        return {"catalog": self.cache.manifest["catalog"]["name"], "catalog_fingerprint": self.cache.manifest["catalog_fingerprint"]}

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of their indices."""
        return tuple(self.cache.manifest["classes"])

    def examples_in(self, split: str) -> int:
        """Number of examples with a class in a split, 0 where there is none."""
        counts = self.cache.manifest["splits"].get(split, {}).get("classes", {})
        return sum(counts.get(name, 0) for name in self.classes)


def open_source(path: str | Path, feature: str | None = None) -> Source:
    """Open a cache and choose one of its features.

    Parameters
    ----------
    path : path
    feature : str, optional
        Default: the first that the cache has of `PREFERRED`.

    Raises
    ------
    CacheError
        Not a cache, no such feature, a feature of another kind, or fewer than two classes.
    """
    cache = open_cache(path)
    name = feature or next((name for name in PREFERRED if name in cache.features), None)
    if name not in cache.features:
        found = list(cache.features)
        wanted = f"no feature `{feature}`{nearest(feature, found)}" if feature else f"none of {', '.join(PREFERRED)}; it has {', '.join(found)}"
        raise CacheError(f"{path}: {wanted}")
    layout = cache.features[name]
    if len(layout.shape) != 3:
        raise CacheError(f"{path}: feature `{name}` has the axes {', '.join(layout.axes)}; expected three: channel, band and frame")
    if len(cache.manifest["classes"]) < 2:
        raise CacheError(f"{path}: has {len(cache.manifest['classes'])} classes; a classifier needs at least 2")
    has_time = "frame" in layout.axes
    last = layout.axes.index("frame") + 1 if has_time else 3
    order = (0, *(axis for axis in (1, 2, 3) if axis != last), last)
    return Source(cache, name, order, tuple(layout.shape[axis - 1] for axis in order[1:]), has_time)


def gain_function(source: Source) -> Callable[[Tensor, float], Tensor]:
    """Return what a gain in dB does to this feature.

    Raises
    ------
    CacheError
        The feature is not a level in dB.
    """
    if source.feature == "log_mel":
        return change_gain_log_mel
    if source.feature == "mfcc":
        return partial(change_gain_mfcc, n_mels=source.cache.manifest["catalog"]["features"]["mfcc"]["n_mels"])
    raise CacheError(f"{source.cache.path}: feature `{source.feature}` can't be augmented (only mfcc and log_mel can); set augment.on=false")


class Examples(Dataset):
    """Examples of one split that have a class, as a map-style data set.

    It is asked for ``(epoch, position)`` and not only for a position, so that the random changes of an example depend on the seed, the epoch
    and the position alone, whichever process makes them.

    Parameters
    ----------
    source : Source
    split : str
    seed : int
        The run's.
    augment : callable, optional
        ``(features [channel, band, frame], generator) -> features``.

    Raises
    ------
    CacheError
        The split has no example with a class.
    """

    def __init__(self, source: Source, split: str, *, seed: int = 0, augment: Augment | None = None):
        self.source = source
        self.seed = seed
        self.augment = augment
        self._dataset = ShardDataset(source.cache, split=split, features=[source.feature])
        self.rows = np.flatnonzero(self._dataset.labels.numpy() >= 0)
        if not len(self.rows):
            raise CacheError(f"{source.cache.path}: split `{split}` has no example with a class")
        self._held = self._read(range(len(self.rows))) if self._bytes() <= HELD_BYTES else None

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: tuple[int, int]) -> Batch:
        return self.__getitems__([key])

    def __getitems__(self, keys: Sequence[tuple[int, int]]) -> Batch:
        """Read several examples, given as ``(epoch, position)``, as one batch."""
        positions = [position for _, position in keys]
        batch = self.read(positions)
        if self.augment is None:
            return batch
        generators = (derived_generator(self.seed, "augment", *key) for key in keys)
        changed = [self.augment(features, generator) for features, generator in zip(batch.features, generators, strict=True)]
        return Batch(torch.stack(changed), batch.targets)

    def augmented(self, augment: Augment | None) -> "Examples":
        """Return the same examples, not read again, with random changes."""
        other = copy.copy(self)
        other.augment = augment
        return other

    def read(self, positions: Sequence[int]) -> Batch:
        """Read several examples as they are in the cache."""
        if self._held is None:
            return self._read(positions)
        chosen = torch.as_tensor(positions)
        return Batch(self._held.features[chosen], {name: values[chosen] for name, values in self._held.targets.items()})

    def example_id(self, position: int) -> str:
        """Id of one example in the cache."""
        return self._dataset.example_ids[self.rows[position]]

    def _bytes(self) -> int:
        return len(self.rows) * self.source.cache.features[self.source.feature].row_bytes

    def _read(self, positions: Sequence[int]) -> Batch:
        values = default_collate(self._dataset.__getitems__(self.rows[list(positions)].tolist()))
        features = values.pop(self.source.feature).permute(self.source.order).float().contiguous()
        return Batch(features, values)


class EpochSampler(Sampler):
    """All positions once per epoch as ``(epoch, position)``, in an order that depends on the seed and the epoch alone.

    Parameters
    ----------
    length : int
    seed : int
    shuffle : bool
        Otherwise from first to last.
    """

    def __init__(self, length: int, seed: int, shuffle: bool):
        self.length = length
        self.seed = seed
        self.shuffle = shuffle
        self.epoch = 0

    def __len__(self) -> int:
        return self.length

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch comes next; the trainer does."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[tuple[int, int]]:
        order = range(self.length)
        if self.shuffle:
            order = torch.randperm(self.length, generator=derived_generator(self.seed, "order", self.epoch)).tolist()
        return iter([(self.epoch, position) for position in order])


def make_loader(examples: Examples, batch_size: int, *, shuffle: bool = False, workers: int = 0) -> DataLoader:
    """Batches of a split; the same ones for the same seed and epoch, whatever the number of workers."""
    sampler = EpochSampler(len(examples), examples.seed, shuffle)
    return DataLoader(examples, batch_size, sampler=sampler, num_workers=workers, collate_fn=_already_a_batch)


def _already_a_batch(batch: Batch) -> Batch:
    return batch


class Ranges(NamedTuple):
    """What was measured of the features of a training split, each ``[channel, band, 1]``."""

    low: Tensor
    high: Tensor
    mean: Tensor


def measure_ranges(examples: Examples, cut_share: float) -> Ranges:
    """Measure the values between which a feature lies.

    Parameters
    ----------
    examples : Examples
        The training split, without augmentation.
    cut_share : float
        Share of the values (0 to 0.5) left out at either end, so that single extreme values do not squeeze all others.

    Returns
    -------
    Ranges
        Over all examples and frames; separate for each band of a sound, one for all bands of an image.
    """
    count = min(len(examples), MEASURED_EXAMPLES)
    positions = np.linspace(0, len(examples) - 1, count).round().astype(int)
    features = examples.read(positions.tolist()).features.numpy()
    over = (0, 3) if examples.source.has_time else (0, 2, 3)
    low, high = np.quantile(features, [cut_share, 1 - cut_share], axis=over, keepdims=True)
    measured = (low, high, features.mean(axis=over, keepdims=True, dtype=np.float64))
    shape = (features.shape[1], features.shape[2], 1)
    return Ranges(*(torch.as_tensor(np.broadcast_to(value[0], shape).astype(np.float32).copy()) for value in measured))


class Data(NamedTuple):
    """What a training needs of a cache.

    Attributes
    ----------
    source : Source
    train : DataLoader
    val : DataLoader or None
        None where the cache has no such split.
    ranges : Ranges
        Of the training split.
    """

    source: Source
    train: DataLoader
    val: DataLoader | None
    ranges: Ranges


def load_data(cache: Path, config: TrainingConfig) -> Data:
    """Open a cache for training.

    Raises
    ------
    CacheError
        Not a cache, or one without the feature asked for, classes or a training split.
    """
    source = open_source(cache, config.feature)
    plain = Examples(source, "train", seed=config.seed)
    ranges = measure_ranges(plain, config.cut_share)
    train = plain.augmented(make_augmentation(config.augment, source, ranges))
    val = Examples(source, "val", seed=config.seed) if source.examples_in("val") else None
    batches = partial(make_loader, batch_size=config.batch_size, workers=config.workers)
    return Data(source, batches(train, shuffle=True), batches(val) if val else None, ranges)


def make_augmentation(config: AugmentConfig, source: Source, ranges: Ranges) -> Augmentation | None:
    """Return the random changes for a feature; none where they are off, and none for an image unless its settings ask for some.

    Raises
    ------
    CacheError
        Changes were asked for that this feature can't have.
    """
    if not config.any or (not source.has_time and config == AugmentConfig()):
        return None
    return Augmentation(config, ranges.mean, gain_function(source))
