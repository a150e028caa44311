"""Sounds taken out of their mixture: loss for training, and all that is measured afterwards (Wu et al. 2021, section 6.3.2)."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from models.metrics import Score
from models.si_sdr import best_si_sdr, matching, ordered, si_sdr, sounding
from models.speech_quality import BANDS, measurable, pesq, require
from models.training_config import SeparationTraining


class Separated(NamedTuple):
    """What a separating network puts out.

    Attributes
    ----------
    sources : Tensor [B, source, sample]
        The sounds that it finds, in an order of its own.
    mixture : Tensor [B, sample]
        What it was given.
    """

    sources: Tensor
    mixture: Tensor


class Separation:
    """What a separating network is trained for: the highest SI-SDR, whichever of its outputs belongs to which source.

    An example with a silent source has no SI-SDR and counts for nothing.

    Parameters
    ----------
    sample_rate : int, optional
        Of the sounds, Hz.
    pesq_examples : int
        Of so many examples PESQ is measured, 0 for none.
    """

    def __init__(self, sample_rate: int | None = None, pesq_examples: int = 0):
        self.sample_rate = sample_rate
        self.pesq_examples = pesq_examples

    @classmethod
    def of(cls, training: SeparationTraining, network: nn.Module) -> "Separation":
        """Task that some settings describe, for the rate of a network's sounds.

        Raises
        ------
        AudioDataError
            PESQ is asked for and not defined at this rate.
        EnvironmentFault
            PESQ is asked for and the package that measures it isn't there.
        """
        rate = getattr(network, "shell", network).config.sample_rate  # a converted network keeps its ANN's outside as its shell
        if training.pesq == "on":
            require(rate)
        wanted = training.pesq == "on" or (training.pesq == "auto" and measurable(rate))
        return cls(rate, training.pesq_examples if wanted else 0)

    def loss(self, output: Separated, targets: dict[str, Tensor]) -> Tensor:
        """Loss of a batch: minus the mean SI-SDR of all sources in dB, each with its own estimate; 0 if no example counts."""
        counted = sounding(targets["sources"])
        if not counted.any():
            return 0.0 * output.sources.sum()
        return -best_si_sdr(output.sources[counted], targets["sources"][counted]).mean()

    def scores(self, output: Separated, targets: dict[str, Tensor]) -> dict[str, Score]:
        """SI-SDR of a batch and how much of it the network gained over the mixture, in dB."""
        counted = sounding(targets["sources"])
        if not counted.any():
            return {}
        found = measured(Separated(*(values[counted] for values in output)), targets["sources"][counted])
        examples = int(counted.sum())
        gained = found.si_sdr - found.mixture_si_sdr
        return {"si_sdr": Score(found.si_sdr.mean(), examples), "si_sdr_improvement": Score(gained.mean(), examples)}

    def tally(self, classes: tuple[str, ...] = ()) -> "SeparationTally":
        """Begin to add up what is measured over a split."""
        return SeparationTally(self)


class Measured(NamedTuple):
    """SI-SDR of the examples of a batch, in dB.

    Attributes
    ----------
    si_sdr : Tensor [B, source]
        Of each source's estimate.
    mixture_si_sdr : Tensor [B, source]
        Of the mixture, taken for the source.
    estimates : Tensor [B, source, sample]
        In the order of the sources.
    """

    si_sdr: Tensor
    mixture_si_sdr: Tensor
    estimates: Tensor


def measured(output: Separated, sources: Tensor) -> Measured:
    """Measure what a network found against the sources ``[B, source, sample]``."""
    estimates = ordered(output.sources, matching(output.sources, sources))
    return Measured(si_sdr(estimates, sources), si_sdr(output.mixture.unsqueeze(1), sources), estimates)


class SeparationTally:
    """Adds up, batch by batch, how well sounds were separated.

    Parameters
    ----------
    task : Separation

    Attributes
    ----------
    rows : list of dict
        One an example: ``si_sdr`` and ``si_sdr_improvement``, means over its sources, and the SI-SDR of each source; in dB, none for an example
        with a silent source. ``pesq`` and ``pesq_mixture``: means over the sources that PESQ did not refuse, none where it was not measured.
    """

    def __init__(self, task: Separation):
        self.task = task
        self.rows: list[dict[str, float | None]] = []
        self._quality = {"pesq": _Mean(), "pesq_mixture": _Mean()}

    def add(self, output: Separated, targets: dict[str, Tensor]) -> None:
        """Add a batch."""
        sources = targets["sources"]
        found, counted = measured(output, sources), sounding(sources).tolist()
        for place, counts in enumerate(counted):
            row = _decibels(found.si_sdr[place], found.mixture_si_sdr[place]) if counts else _nothing(sources.shape[1])
            self.rows.append(row | self._measure_quality(sources[place], found.estimates[place], output.mixture[place]))

    @property
    def examples(self) -> int:
        """How many there were."""
        return len(self.rows)

    def summary(self) -> dict[str, Any]:
        """Describe how well sounds were separated.

        Returns
        -------
        dict
            ``examples``, ``silent`` (of these, those with a silent source, which count for nothing), ``loss``, ``si_sdr`` and
            ``si_sdr_improvement`` in dB; ``pesq``, none where it was not measured: its ``band``, the means over all ``sources`` of the
            ``examples`` it was measured of, and how many sources it ``refused``, of the estimates and of the mixtures.
        """
        found = {name: _mean([row[name] for row in self.rows]) for name in ("si_sdr", "si_sdr_improvement")}
        silent = sum(row["si_sdr"] is None for row in self.rows)
        loss = None if found["si_sdr"] is None else -found["si_sdr"]
        return {"examples": self.examples, "silent": silent, "loss": loss} | found | {"pesq": self._quality_summary()}

    def predictions(self) -> dict[str, list]:
        """Give what was measured of each example."""
        return {name: [_shown(row[name]) for row in self.rows] for name in self.rows[0]} if self.rows else {}

    def by_group(self, groups: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Give the means over each group of examples.

        Parameters
        ----------
        groups : sequence of str
            Of each example, for instance whether its speakers are of the same sex; an empty one is left out.
        """
        found = {}
        for group in sorted(set(groups) - {""}):
            rows = [row for row, its in zip(self.rows, groups, strict=True) if its == group]
            names = ("si_sdr", "si_sdr_improvement", *self._quality) if self.task.pesq_examples else ("si_sdr", "si_sdr_improvement")
            found[group] = {"examples": len(rows)} | {name: _mean([row[name] for row in rows]) for name in names}
        return found

    def _measure_quality(self, sources: Tensor, estimates: Tensor, mixture: Tensor) -> dict[str, float | None]:
        if not self.task.pesq_examples:
            return {}
        if len(self.rows) >= self.task.pesq_examples:
            return dict.fromkeys(self._quality)
        heard = {"pesq": estimates, "pesq_mixture": mixture.expand_as(sources)}
        found = {}
        for name, sounds in heard.items():
            pairs = zip(sounds.cpu().numpy(), sources.cpu().numpy(), strict=True)
            scores = [pesq(sound, source, self.task.sample_rate) for sound, source in pairs]
            self._quality[name].add(scores)
            found[name] = _mean(scores)
        return found

    def _quality_summary(self) -> dict[str, Any] | None:
        if not self.task.pesq_examples:
            return None
        means = {("estimates" if name == "pesq" else "mixtures"): mean for name, mean in self._quality.items()}
        found = {name: mean.value for name, mean in means.items()}
        refused = {name: mean.missing for name, mean in means.items()}
        examples = min(self.examples, self.task.pesq_examples)
        return {"band": BANDS[self.task.sample_rate]} | found | {"examples": examples, "sources": means["estimates"].all, "refused": refused}


class _Mean:
    """Mean of the numbers among many, and how many were none."""

    def __init__(self) -> None:
        self.numbers: list[float] = []
        self.missing = 0

    def add(self, values: Sequence[float | None]) -> None:
        """Add some."""
        self.numbers += [value for value in values if value is not None]
        self.missing += sum(value is None for value in values)

    @property
    def value(self) -> float | None:
        """The mean, none of none."""
        return _mean(self.numbers)

    @property
    def all(self) -> int:
        """How many there were."""
        return len(self.numbers) + self.missing


def _shown(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _mean(values: Sequence[float | None]) -> float | None:
    numbers = [value for value in values if value is not None]
    return sum(numbers) / len(numbers) if numbers else None


def _decibels(estimates: Tensor, mixture: Tensor) -> dict[str, float]:
    """Row of one example, from the SI-SDR ``[source]`` of its estimates and of the mixture."""
    gained = torch.stack([estimates.double(), (estimates - mixture).double()]).mean(1).tolist()
    found = dict(zip(("si_sdr", "si_sdr_improvement"), gained, strict=True))
    return found | {f"si_sdr_{number}": value for number, value in enumerate(estimates.tolist(), 1)}


def _nothing(sources: int) -> dict[str, None]:
    return dict.fromkeys(("si_sdr", "si_sdr_improvement", *(f"si_sdr_{number}" for number in range(1, sources + 1))))
