"""Examples for progressive training, each with its place in the split, so that what is known of it already can be looked up."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from audiodata.errors import AudioDataError
from models.data import Batch, make_loader
from models.views import Features


class ExampleSet(Protocol):
    """What progressive training wants of the examples of a split; `models.data.Examples` has it.

    Attributes
    ----------
    seed : int
        Of their order.
    """

    seed: int

    def __len__(self) -> int:
        """How many there are."""

    def __getitems__(self, keys: Sequence[tuple[int, int]]) -> Batch:
        """Read several, given as ``(epoch, position)``."""

    def read(self, positions: Sequence[int]) -> Batch:
        """Read several, unchanged."""


class TensorExamples:
    """Examples that are at hand as tensors, without a cache.

    Parameters
    ----------
    features : Tensor [example, ...]
    targets : dict of str to Tensor [example]
        For instance ``{"label": ...}``, int64 class indices.
    seed : int
        Of their order.

    Raises
    ------
    AudioDataError
        Not as many targets as features, or none at all.
    """

    def __init__(self, features: Tensor, targets: dict[str, Tensor], seed: int = 0):
        wrong = next((name for name, values in targets.items() if len(values) != len(features)), None)
        if wrong is not None or not len(features):
            raise AudioDataError(f"examples: {len(features)} features, target `{wrong}` of {len(targets.get(wrong, []))}; expected as many, and some")
        self.seed = seed
        self._features = features
        self._targets = targets

    def __len__(self) -> int:
        return len(self._features)

    def __getitems__(self, keys: Sequence[tuple[int, int]]) -> Batch:
        """Read several, given as ``(epoch, position)``."""
        return self.read([position for _, position in keys])

    def read(self, positions: Sequence[int]) -> Batch:
        """Read several."""
        chosen = torch.as_tensor(positions)
        return Batch(self._features[chosen], {name: values[chosen] for name, values in self._targets.items()})


class NumberedBatch(NamedTuple):
    """A batch and where its examples stand in their split.

    Attributes
    ----------
    positions : list of int
    features : Tensor [B, ...] or dict
    targets : dict of str to Tensor [B]
    """

    positions: list[int]
    features: Features
    targets: dict[str, Tensor]


class _Numbered(Dataset):
    def __init__(self, examples: ExampleSet):
        self.examples = examples
        self.seed = examples.seed

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, key: tuple[int, int]) -> NumberedBatch:
        return self.__getitems__([key])

    def __getitems__(self, keys: Sequence[tuple[int, int]]) -> NumberedBatch:
        return NumberedBatch([position for _, position in keys], *self.examples.__getitems__(keys))


def numbered_loader(examples: ExampleSet, batch_size: int, *, shuffle: bool = False, workers: int = 0) -> DataLoader:
    """Give batches as `models.data.make_loader` does, each a `NumberedBatch`."""
    return make_loader(_Numbered(examples), batch_size, shuffle=shuffle, workers=workers)
