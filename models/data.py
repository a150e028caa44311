"""From a cache to batches: in which order, augmented how, and over which values the features range."""

import copy
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Generator, Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate

from audiodata.errors import CacheError
from audiodata.torch_dataset import ShardDataset
from models.augment import Augmentation, AugmentConfig, change_gain_log_mel, change_gain_mfcc
from models.event_augment import EventAugmentation
from models.seeds import derived_generator
from models.training_config import ClassificationTraining, SeparationTraining, TrainingConfig, VotingTraining
from models.views import Features, Source, View, each_of

# A split whose features are smaller than this is read once and held in memory.
HELD_BYTES = 2 * 2**30
# Ranges are measured on so many examples at most, evenly spaced over the training split.
MEASURED_EXAMPLES = 1024

Augment = Callable[[Features, Generator], Features]


class Batch(NamedTuple):
    """What the networks are trained on.

    Attributes
    ----------
    features : Tensor [B, channel, band, frame] or dict of str to Tensor
        The one feature that the network takes, or several by name; frames of events ``[B, time, ...]``, mixtures ``[B, 1, sample]``. All float32.
    targets : dict of str to Tensor [B]
        ``label`` (int64 class index, -1 for none) and whatever else the cache holds; of mixtures their parts, ``sources`` ``[B, source, sample]``.
    """

    features: Features
    targets: dict[str, Tensor]

    @property
    def examples(self) -> int:
        """How many there are."""
        return len(self.targets["label"])


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
    """Examples of one split from which something can be learned, as a map-style data set.

    Those are the ones with a class and, where directions are sought, those with a direction; all where classes do not matter. It is asked
    for ``(epoch, position)`` and not only for a position, so that the random changes of an example depend on the seed, the epoch and the
    position alone, whichever process makes them.

    Parameters
    ----------
    source : Source
    split : str
    seed : int
        The run's.
    augment : callable, optional
        ``(features of one example, generator) -> features``, by name where the network takes them by name.

    Raises
    ------
    CacheError
        The split has no such example, or no direction where directions are sought.
    """

    def __init__(self, source: Source, split: str, *, seed: int = 0, augment: Augment | None = None):
        self.source = source
        self.seed = seed
        self.augment = augment
        self._dataset = ShardDataset(source.cache, split=split, features=list(source.views))
        self.rows = np.flatnonzero(self._useful(split))
        if not len(self.rows):
            raise CacheError(f"{source.cache.path}: split `{split}` has no example{' with a class' if source.labelled else ''}")
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
        changed = [self.augment(features, generator) for features, generator in zip(each_of(batch.features), generators, strict=True)]
        return Batch(default_collate(changed), batch.targets)

    def augmented(self, augment: Augment | None) -> "Examples":
        """Return the same examples, not read again, with random changes."""
        other = copy.copy(self)
        other.augment = augment
        return other

    def read(self, positions: Sequence[int]) -> Batch:
        """Read several examples as they are in the cache."""
        features, targets = self.tables(positions)
        return Batch(self.source.given(features), self.source.wanted(features, targets))

    def tables(self, positions: Sequence[int]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Read the features, turned but not yet float32, and the targets of several examples, both by name."""
        if self._held is None:
            return self._read(positions)
        chosen = torch.as_tensor(positions)
        # for bytes several times as fast as values[chosen]
        return tuple({name: values.index_select(0, chosen) for name, values in held.items()} for held in self._held)

    def example_id(self, position: int) -> str:
        """Id of one example in the cache."""
        return self._dataset.example_ids[self.rows[position]]

    def example_ids(self) -> list[str]:
        """Ids of all examples in the cache, in order."""
        ids = self._dataset.example_ids
        return [ids[row] for row in self.rows]

    def column(self, name: str) -> list[str]:
        """Text of one column of the cache's table of examples, of all examples in order."""
        table = self.source.cache.examples.set_index("example_id")[name]
        return table.loc[self.example_ids()].tolist()

    def _useful(self, split: str) -> np.ndarray:
        labelled = self._dataset.labels.numpy() >= 0
        if not self.source.labelled:
            return np.ones(len(labelled), dtype=bool)
        if not self.source.located:
            return labelled
        azimuths = ShardDataset(self.source.cache, split=split, features=[], targets=["azimuth_deg"])
        located = np.array([~example["azimuth_deg"].isnan() for example in azimuths.__getitems__(range(len(azimuths)))], dtype=bool)
        if not located.any():
            raise CacheError(f"{self.source.cache.path}: split `{split}` has no example with a direction")
        return labelled | located

    def _bytes(self) -> int:
        return len(self.rows) * sum(view.example_bytes for view in self.source.views.values())

    def _read(self, positions: Sequence[int]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        values = default_collate(self._dataset.__getitems__(self.rows[list(positions)].tolist()))
        return {name: view.turned(values.pop(name)) for name, view in self.source.views.items()}, values


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


def measure_ranges(examples: Examples, cut_share: float, names: Collection[str] | None = None) -> dict[str, Ranges]:
    """Measure the values between which each feature lies.

    Parameters
    ----------
    examples : Examples
        The training split, without augmentation.
    cut_share : float
        Share (0 to 0.5) left out at either end, so that single extreme values do not squeeze all others.
    names : collection of str, optional
        Of which features; default all.

    Returns
    -------
    dict of str to Ranges
        By feature; see `range_of`.
    """
    if names is not None and not names:
        return {}
    features, _ = examples.tables(evenly_spaced(len(examples), MEASURED_EXAMPLES))
    views = examples.source.views
    return {name: range_of(views[name], features[name].numpy(), cut_share) for name in views if names is None or name in names}


def range_of(view: View, values: np.ndarray, cut_share: float) -> Ranges:
    """Measure the values between which one feature lies.

    Parameters
    ----------
    view : View
    values : array [example, channel, band, frame]
    cut_share : float
        Left out at either end: a share of the values or, where one range holds for all bands, of the frames' lowest and highest values. Of
        51 lags one or two hold the peak, of which a cut of 1 % of all values would take the top half, and with it where between two lags
        it lies.

    Returns
    -------
    Ranges
        Over all examples and frames; separate for each band of a sound, one for all bands of an image's channel, one for all channels and
        bands of the features in `models.views.ONE_RANGE`.
    """
    over = {"band": (0, 3), "channel": (0, 2, 3), "all": (0, 1, 2, 3)}[view.shared_range]
    lowest, highest = (values.min(2, keepdims=True), values.max(2, keepdims=True)) if view.shared_range == "all" else (values, values)
    low = np.quantile(lowest, cut_share, axis=over, keepdims=True)
    high = np.quantile(highest, 1 - cut_share, axis=over, keepdims=True)
    measured = (low, high, values.mean(axis=over, keepdims=True, dtype=np.float64))
    shape = (values.shape[1], values.shape[2], 1)
    return Ranges(*(torch.as_tensor(np.broadcast_to(value[0], shape).astype(np.float32).copy()) for value in measured))


class Data(NamedTuple):
    """What a training needs of a cache.

    Attributes
    ----------
    source : Source
    train : DataLoader
    val : DataLoader or None
        None where the cache has no such split.
    ranges : dict of str to Ranges
        Of the training split, by feature that the network scales.
    """

    source: Source
    train: DataLoader
    val: DataLoader | None
    ranges: dict[str, Ranges]

    def some(self, count: int) -> Batch:
        """Read at most so many training examples, evenly spaced over the split and unchanged."""
        return self.train.dataset.read(evenly_spaced(len(self.train.dataset), count))


def evenly_spaced(examples: int, count: int) -> list[int]:
    """Positions of at most `count` examples, from the first to the last."""
    return np.linspace(0, examples - 1, min(examples, count)).round().astype(int).tolist()


def load_data(source: Source, config: TrainingConfig, scaled: Collection[str] | None = None) -> Data:
    """Make what a training needs of a cache.

    Parameters
    ----------
    source : Source
    config : TrainingConfig
    scaled : collection of str, optional
        Features whose ranges are wanted; default all.

    Raises
    ------
    CacheError
        The cache has no training split, or a feature that can't be augmented as asked for.
    """
    plain = Examples(source, "train", seed=config.seed)
    ranges = measure_ranges(plain, config.cut_share, scaled)
    train = changing(plain, config, ranges)
    val = Examples(source, "val", seed=config.seed) if source.examples_in("val") else None
    batches = partial(make_loader, batch_size=config.batch_size, workers=config.workers)
    return Data(source, batches(train, shuffle=True), batches(val) if val else None, ranges)


def changing(plain: Examples, config: TrainingConfig, ranges: dict[str, Ranges]) -> Dataset:
    """Return training examples with the random changes that the settings ask for, or mixtures made anew of their sources; raises as `load_data`."""
    if isinstance(config, SeparationTraining) and config.mixing == "dynamic":
        from models.dynamic_mixing import DynamicMixing, speakers_in  # which builds on this module

        return DynamicMixing(plain, speakers_in(plain), config.snr_db)
    return plain.augmented(augmentation_of(config, plain.source, ranges))


def augmentation_of(config: TrainingConfig, source: Source, ranges: dict[str, Ranges]) -> Augment | None:
    """Return the random changes that the settings of a training ask for; raises as `make_augmentation`."""
    if isinstance(config, ClassificationTraining):
        return make_augmentation(config.augment, source, ranges)
    return EventAugmentation(config.augment) if isinstance(config, VotingTraining) and config.augment.any else None


def make_augmentation(config: AugmentConfig, source: Source, ranges: dict[str, Ranges]) -> Augmentation | None:
    """Return the random changes for a feature; none where they are off, and none for an image unless its settings ask for some.

    Raises
    ------
    CacheError
        Changes were asked for that this feature can't have.
    """
    if not config.any or (not source.views[source.feature].has_time and config == AugmentConfig()):
        return None
    return Augmentation(config, ranges[source.feature].mean, gain_function(source))
