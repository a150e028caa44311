"""Mixtures of utterances: several people speak at once, and what each of them says is known.

Pure functions of samples and of a `MixtureRecipe`, which a clip carries in its ``reader``; nothing is drawn here. Utterances are brought to one
length, each gets its gain, and their sum is the mixture. Scaling follows WSJ0-2mix (J. R. Hershey, Z. Chen, J. Le Roux, S. Watanabe, "Deep
clustering: discriminative embeddings for segmentation and separation", ICASSP 2016): a stated level in dB over the utterance's own, and one
common gain that takes the highest peak of all channels to 0.9 where it would be over full scale.

The level of an utterance is the RMS of what is heard of it in the mixture: of all samples ("rms"), or of those 20 ms blocks that are at most 40 dB
below the loudest one ("active"), so that pauses do not count.
"""

import json
from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from audiodata.errors import ClipError
from audiodata.fingerprint import canonical_json
from audiodata.settings import Settings, validated

MIXTURE_VERSION = 1
"""Raised when a recipe comes to other samples, so that shards are made again."""

PEAK = 0.9
BLOCKS_PER_SECOND = 50
ACTIVE_RANGE_DB = 40.0

Span = tuple[float, float | None]


class MixtureRecipe(Settings):
    """How a mixture is made; the clip's files are its utterances, in order.

    Attributes
    ----------
    format : str
        "mixture", which tells such a clip from one that is read as it is.
    version : int
        `MIXTURE_VERSION`.
    mode : str
        "min": all utterances are cut to the shortest; "max": silence is added up to the longest.
    spans : tuple of (float, float or None)
        Start and duration of each utterance in its file, in seconds; no duration: to the end.
    levels_db : tuple of float
        Level of each utterance in the mixture, before the common gain; their differences are the ratios in dB.
    level : str
        What counts as level: "active" or "rms".
    gains : tuple of float
        Instead of levels: a factor for each utterance as it is.
    """

    format: Literal["mixture"] = "mixture"
    version: int = MIXTURE_VERSION
    mode: Literal["min", "max"] = "min"
    spans: tuple[Span, ...] = Field(min_length=2)
    levels_db: tuple[float, ...] = ()
    level: Literal["active", "rms"] = "active"
    gains: tuple[float, ...] = ()

    @model_validator(mode="after")
    def _one_for_each(self) -> "MixtureRecipe":
        if bool(self.levels_db) == bool(self.gains) or len(self.levels_db or self.gains) != len(self.spans):
            raise ValueError(f"expected a level or a gain for each of {len(self.spans)} utterances")
        return self


def recipe_text(recipe: MixtureRecipe) -> str:
    """Write a recipe down, for the column ``reader`` of a clips table: equal recipes give equal text.

    Examples
    --------
    >>> read_recipe(recipe_text(MixtureRecipe(spans=((0, None), (0, 2.5)), gains=(1, 0.5)))).spans
    ((0.0, None), (0.0, 2.5))
    """
    return canonical_json(recipe.model_dump(mode="json"))


def read_recipe(text: str, where: str = "reader") -> MixtureRecipe:
    """Read what `recipe_text` wrote; raises `CatalogError` for anything else."""
    return validated(MixtureRecipe, json.loads(text), where)


def level_of(utterance: np.ndarray, sample_rate: int, level: str) -> float:
    """Level of an utterance as a factor of full scale.

    Parameters
    ----------
    utterance : array [sample]
    sample_rate : int
        In Hz.
    level : str
        "active" or "rms"; see the module.

    Returns
    -------
    float
        0.0 for silence.
    """
    squares = np.square(utterance, dtype=np.float64)
    power = squares.mean() if level == "rms" else _active_power(squares, max(1, sample_rate // BLOCKS_PER_SECOND))
    return float(np.sqrt(power))


def _active_power(squares: np.ndarray, block: int) -> float:
    whole = len(squares) // block
    if not whole:
        return float(squares.mean())
    powers = squares[: whole * block].reshape(whole, block).mean(axis=1)
    return float(powers[powers >= powers.max() * 10 ** (-ACTIVE_RANGE_DB / 10)].mean())


def mix(utterances: Sequence[np.ndarray], sample_rate: int, recipe: MixtureRecipe, names: Sequence[str] = ()) -> np.ndarray:
    """Mix utterances.

    Parameters
    ----------
    utterances : sequence of float32 [sample]
        Of any length.
    sample_rate : int
        In Hz, of all.
    recipe : MixtureRecipe
    names : sequence of str
        What messages call the utterances.

    Returns
    -------
    float32 [channel, sample]
        The mixture, then each utterance as it is in it: channel 0 is the sum of the others, rounded once. None is beyond full scale.

    Raises
    ------
    ClipError
        ``silent``: an utterance that is to have a level has none.
    """
    length = (min if recipe.mode == "min" else max)(len(utterance) for utterance in utterances)
    heard = [utterance[:length] for utterance in utterances]
    gains = recipe.gains or _level_gains(heard, sample_rate, recipe, names)
    sources = np.zeros((len(heard), length))
    for source, utterance, gain in zip(sources, heard, gains, strict=True):
        source[: len(utterance)] = utterance * np.float64(gain)
    peak = max(np.abs(sources).max(), np.abs(sources.sum(axis=0)).max())
    rounded = (sources * (PEAK / peak) if peak > 1.0 else sources).astype(np.float32)
    mixture = rounded.sum(axis=0, dtype=np.float64).astype(np.float32)
    return np.concatenate([mixture[np.newaxis], rounded])


def _level_gains(heard: Sequence[np.ndarray], sample_rate: int, recipe: MixtureRecipe, names: Sequence[str]) -> list[float]:
    gains = []
    for number, (utterance, level_db) in enumerate(zip(heard, recipe.levels_db, strict=True)):
        found = level_of(utterance, sample_rate, recipe.level)
        if not found:
            name = names[number] if names else f"utterance {number}"
            raise ClipError("silent", f"{name}: is silent where it is mixed, so it can't be set to a level; leave it out")
        gains.append(float(f"{10 ** (level_db / 20) / found:.9g}"))  # nine digits: the order in which a machine adds must not show
    return gains
