"""A PyTorch data set over the shards of a cache; the only place in the library that imports torch."""

import difflib
import os
from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch.utils.data import Dataset

from audiodata.errors import CacheError
from audiodata.shards import Cache, open_cache


class Ragged(NamedTuple):
    """A batch of a ragged feature: the entries of all examples, and where those of each begin.

    Nothing is padded and nothing is lost. ``torch.tensor_split(values, offsets[1:-1])`` gives a tensor per example,
    ``torch.nested.nested_tensor_from_jagged(values, offsets)`` a nested tensor, and `example_index` what a scatter into
    dense frames wants. Entries of a shard lie in the same way.

    Attributes
    ----------
    values : Tensor [entry, ...]
        Those of the first example, then those of the second, and so on.
    offsets : Tensor [example + 1]
        int64; the entries of example ``i`` are ``values[offsets[i]:offsets[i + 1]]``.
    """

    values: torch.Tensor
    offsets: torch.Tensor

    @property
    def lengths(self) -> torch.Tensor:
        """Number of entries of each example, int64 ``[example]``."""
        return self.offsets.diff()

    @property
    def example_index(self) -> torch.Tensor:
        """Position in the batch of the example that each entry is of, int64 ``[entry]``."""
        return torch.repeat_interleave(self.lengths)


def collate_ragged(examples: Sequence[dict[str, torch.Tensor]], ragged: Collection[str]) -> dict[str, torch.Tensor | Ragged]:
    """Make a batch of examples of which some tensors have a length of their own.

    Parameters
    ----------
    examples : sequence of dict of str to Tensor
        As `ShardDataset` gives them; at least one.
    ragged : collection of str
        Names of the ragged features.

    Returns
    -------
    dict of str to Tensor or Ragged
        Ragged features by name as `Ragged`; all else stacked, ``[example, ...]``.
    """
    columns = {name: [example[name] for example in examples] for name in examples[0]}
    return {name: _joined(tensors) if name in ragged else torch.stack(tensors) for name, tensors in columns.items()}


def _joined(tensors: Sequence[torch.Tensor]) -> Ragged:
    lengths = torch.tensor([0, *(len(tensor) for tensor in tensors)])
    return Ragged(torch.cat(list(tensors)), lengths.cumsum(0))


def _tensors(values: np.ndarray | list[np.ndarray]) -> torch.Tensor | list[torch.Tensor]:
    """One tensor over all examples, or a list of one per example."""
    return [torch.from_numpy(array) for array in values] if isinstance(values, list) else torch.from_numpy(values)


class ShardDataset(Dataset):
    """The examples of one split as dictionaries of tensors.

    Shards are opened in the process that reads them, so it works with any number of `DataLoader` workers, forked or
    spawned. A `DataLoader` asks for whole batches (`__getitems__`), which are read shard by shard, rows ascending.

    An example of a ragged feature, such as the events of a sensor, is a tensor ``[entry, ...]`` of a length of its own.
    A `DataLoader` can't stack those: give it ``collate_fn=dataset.collate``, which makes a `Ragged` of them.

    Parameters
    ----------
    cache : path-like or Cache
        The folder that a build wrote, or the cache that `open_cache` gave.
    split : str
        One of the cache's splits.
    features : sequence of str, optional
        Which features to read; all by default.
    targets : sequence of str, optional
        Which targets to read; all by default.

    Attributes
    ----------
    cache : Cache
        The opened cache.
    split : str
        The split.
    features, targets : tuple of str
        The names read.
    classes : tuple of str
        Class names; a label is an index into them, or -1 for none.
    ragged : tuple of str
        Those of the features that have any number of entries per example.
    feature_shapes : dict of str to tuple of int
        Shape of each feature of one example; None is the first length of a ragged one.

    Raises
    ------
    CacheError
        Not a cache; or a split, feature or target that it doesn't have.
    """

    def __init__(
        self,
        cache: str | os.PathLike | Cache,
        split: str = "train",
        features: Sequence[str] | None = None,
        targets: Sequence[str] | None = None,
    ):
        self.cache = cache if isinstance(cache, Cache) else open_cache(cache)
        self.split = self._choose("split", [split], self.cache.manifest["splits"])[0]
        self.features = self._choose("feature", features, self.cache.features)
        self.targets = self._choose("target", targets, self.cache.targets)
        self.classes = tuple(self.cache.manifest["classes"])
        self.feature_shapes = {name: self.cache.features[name].shape for name in self.features}
        self.ragged = tuple(name for name in self.features if self.cache.features[name].ragged)
        table = self.cache.examples
        table = table[(table["split"] == split).to_numpy()]
        codes, shards = pd.factorize(table["shard"])
        self._shards = [str(name) for name in shards]
        self._codes = codes.astype(np.int32)
        self._rows = table["row"].to_numpy().astype(np.int32)
        self._labels = table["label_index"].to_numpy().astype(np.int64)

    def __repr__(self) -> str:
        names = ", ".join([*self.features, *self.targets])
        return f"ShardDataset({str(self.cache.path)!r}, split={self.split!r}, {len(self)} examples of {names})"

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        """Return one example by its position in the split; a negative one counts from the end.

        Returns
        -------
        dict of str to Tensor
            Features and targets by name, each in the shape and dtype of the manifest; ragged ones of any length.

        Raises
        ------
        IndexError
            Beyond the split.
        """
        arrays = self.cache.read_row(*self._place(index), (*self.features, *self.targets))
        return {name: torch.from_numpy(array) for name, array in arrays.items()}

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, torch.Tensor]]:
        """Return several examples, in the order asked for; each as `__getitem__` gives it."""
        places = [self._place(index) for index in indices]
        arrays = self.cache.read_rows(places, (*self.features, *self.targets))
        tensors = {name: _tensors(values) for name, values in arrays.items()}
        return [{name: tensor[position] for name, tensor in tensors.items()} for position in range(len(places))]

    def collate(self, examples: Sequence[dict[str, torch.Tensor]]) -> dict[str, "torch.Tensor | Ragged"]:
        """Make a batch of examples, for a `DataLoader`; see `collate_ragged`."""
        return collate_ragged(examples, self.ragged)

    @property
    def labels(self) -> torch.Tensor:
        """Class index of every example, int64 ``[example]``, from the table alone."""
        return torch.from_numpy(self._labels.copy())

    @property
    def example_ids(self) -> list[str]:
        """Id of every example, by position."""
        table = self.cache.examples
        return table["example_id"][(table["split"] == self.split).to_numpy()].tolist()

    def _place(self, index: int) -> tuple[str, int]:
        position = index + len(self) if index < 0 else index
        if not 0 <= position < len(self):
            raise IndexError(f"index {index} of a split with {len(self)} examples")
        return self._shards[self._codes[position]], int(self._rows[position])

    def _choose(self, kind: str, names: Sequence[str] | None, known: Sequence[str]) -> tuple[str, ...]:
        """Return the names asked for, or all; `CacheError` for one that the cache doesn't have."""
        chosen = tuple(known) if names is None else (names,) if isinstance(names, str) else tuple(names)
        for name in chosen:
            if name not in known:
                near = difflib.get_close_matches(str(name), list(known), n=1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                raise CacheError(f"{self.cache.path}: no {kind} {name!r}, it has {', '.join(known) or 'none'}{hint}")
        return chosen
