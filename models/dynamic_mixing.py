"""Training mixtures made anew in each epoch out of the sources that a cache holds: with another partner, at another ratio of levels.

Each example gives one of its sources; the others are drawn from all of the training split, each from another speaker. What is drawn depends on the
seed, the epoch and the example's position alone, whichever process mixes.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Generator, Tensor
from torch.utils.data import Dataset

from audiodata.errors import CacheError
from models.seeds import derived_generator
from models.views import Source

if TYPE_CHECKING:
    from models.data import Batch, Examples

# RMS below which a source is not brought to the level of another.
QUIET_RMS = 1e-6


class DynamicMixing(Dataset):
    """Mixtures of the sources of one split, other ones in each epoch; asked for ``(epoch, position)`` as `models.data.Examples` are.

    Parameters
    ----------
    examples : Examples
        Of the training split; no others are ever mixed in.
    speakers : sequence of sequence of str
        Of each source of each example, in order; see `speakers_in`.
    snr_db : tuple of float
        Lowest and highest ratio of the levels of an example's own source and of each of the others, dB; either may be the louder one.

    Raises
    ------
    CacheError
        There are fewer speakers than a mixture needs.
    """

    def __init__(self, examples: "Examples", speakers: Sequence[Sequence[str]], snr_db: tuple[float, float]):
        self.examples = examples
        self.snr_db = snr_db
        names = sorted({name for each in speakers for name in each})
        self.sources_in_each = len(speakers[0])
        if len(names) < self.sources_in_each:
            path = examples.source.cache.path
            raise CacheError(f"{path}: mixing=dynamic needs at least {self.sources_in_each} speakers in the training split, found {len(names)}")
        self.speakers = torch.tensor([[names.index(name) for name in each] for each in speakers])  # [example, source]

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, key: tuple[int, int]) -> "Batch":
        return self.__getitems__([key])

    def __getitems__(self, keys: Sequence[tuple[int, int]]) -> "Batch":
        """Mix several examples, given as ``(epoch, position)``, as one batch."""
        drawn = [self.draw(*key) for key in keys]
        own = self.examples.read([position for _, position in keys])
        read = self.examples.read([example for chosen, _ in drawn for example, _ in chosen]).targets["sources"]  # [B * S, source, sample]
        places = torch.tensor([place for chosen, _ in drawn for _, place in chosen])
        sources = read[torch.arange(len(read)), places].unflatten(0, (len(keys), -1))
        mixtures, sources = mixed(sources, torch.stack([ratios_db for _, ratios_db in drawn]))
        return own._replace(features=mixtures, targets=own.targets | {"sources": sources})

    @property
    def source(self) -> Source:
        """Where the examples come from."""
        return self.examples.source

    @property
    def seed(self) -> int:
        """The run's."""
        return self.examples.seed

    def read(self, positions: Sequence[int]) -> "Batch":
        """Read several examples as they are in the cache."""
        return self.examples.read(positions)

    def draw(self, epoch: int, position: int) -> tuple[list[tuple[int, int]], Tensor]:
        """Choose what is mixed.

        Returns
        -------
        chosen : list of (int, int)
            Position of an example and number of its source, for each part of the mixture; the first is of the example asked for.
        ratios_db : Tensor [source]
            Level of the first above each of them, dB; the first is 0.
        """
        generator = derived_generator(self.seed, "augment", epoch, position)
        chosen = [(position, _below(self.sources_in_each, generator))]
        while len(chosen) < self.sources_in_each:
            chosen.append(self._partner(chosen, generator))
        low, high = self.snr_db
        ratios_db = low + (high - low) * torch.rand(len(chosen), generator=generator)
        ratios_db *= torch.randint(0, 2, (len(chosen),), generator=generator) * 2 - 1
        return chosen, torch.cat([torch.zeros(1), ratios_db[1:]])

    def _partner(self, chosen: list[tuple[int, int]], generator: Generator) -> tuple[int, int]:
        taken = torch.stack([self.speakers[place] for place in chosen])
        others = torch.isin(self.speakers, taken, invert=True).nonzero()
        example, place = others[_below(len(others), generator)].tolist()
        return example, place


def speakers_in(examples: "Examples") -> list[list[str]]:
    """Who speaks in each source of each example, as the cache's table of examples says in its column ``labels``.

    Raises
    ------
    CacheError
        The table does not say it of an example, or not of each source.
    """
    sources = examples.source.cache.features[examples.source.feature].shape[0] - 1
    found = [labels.split(";") for labels in examples.column("labels")]
    for name, speakers in zip(examples.example_ids(), found, strict=True):
        if len(speakers) != sources or not all(speakers):
            told = ";".join(speakers) or "nothing"
            raise CacheError(
                f"{examples.source.cache.path}: example {name} has {sources} sources, its `labels` say {told}; mixing=dynamic needs each "
                "one's speaker, set mixing=cached"
            )
    return found


def mixed(sources: Tensor, ratios_db: Tensor) -> tuple[Tensor, Tensor]:
    """Mix sources at given ratios of their levels.

    Parameters
    ----------
    sources : Tensor [B, source, sample]
    ratios_db : Tensor [B, source]
        RMS of the first source above that of each, dB.

    Returns
    -------
    mixtures : Tensor [B, 1, sample]
        Where the sum would go beyond full scale, it and its sources are brought down together.
    sources : Tensor [B, source, sample]
        As they are in the mixtures: these are exactly their sums.
    """
    rms = sources.square().mean(-1).sqrt()  # [B, source]
    gain = torch.where(rms > QUIET_RMS, rms[:, :1].clamp_min(QUIET_RMS) / rms, 1.0) * 10 ** (-ratios_db / 20)
    scaled = sources * gain.unsqueeze(-1)
    peak = scaled.sum(1, keepdim=True).abs().amax(-1, keepdim=True)
    scaled = scaled / peak.clamp_min(1.0)
    return scaled.sum(1, keepdim=True), scaled


def _below(count: int, generator: Generator) -> int:
    return int(torch.randint(count, (), generator=generator))
