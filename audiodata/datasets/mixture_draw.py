"""Which utterances are mixed with which: drawn by seeded hash, always of different speakers, no mixture twice."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from audiodata.errors import CatalogError
from audiodata.fingerprint import unit_hash
from audiodata.text_hashes import unit_hashes

SNR_DECIMALS = 6


def draw_mixtures(ids: Sequence[str], speakers: Sequence[str], count: int, voices: int, seed: int) -> list[tuple[int, ...]]:
    """Draw the utterances of each mixture.

    Every utterance is the first of a mixture as often as any other, or once more, as far as it has companions for different mixtures; these
    are drawn from all utterances of other speakers, each as likely as any other.

    Parameters
    ----------
    ids : sequence of str
        Of the utterances; what is drawn depends on them and not on their order.
    speakers : sequence of str
        Who speaks each.
    count : int
        Mixtures wanted.
    voices : int
        Utterances in a mixture, 2 or 3.
    seed : int

    Returns
    -------
    list of tuple of int
        Numbers of the utterances of each mixture; the order within a mixture matters, since the first one is the louder.

    Raises
    ------
    CatalogError
        There are not so many different mixtures.
    """
    order = np.lexsort((ids, unit_hashes(seed, "first", ids))).tolist()
    by_id = sorted(range(len(ids)), key=ids.__getitem__)
    sizes = Counter(speakers)
    uses = _shared_out(count, [_companies(sizes, speakers[first], voices) for first in order])
    return [one for first, times in zip(order, uses, strict=True) for one in _of_first(first, times, ids, speakers, by_id, voices, seed)]


def _shared_out(count: int, most: Sequence[int]) -> list[int]:
    """Share a number out evenly, to none more than it can take."""
    if count > sum(most):
        raise CatalogError(
            f"[dataset] {count} mixtures were asked for, {len(most)} utterances make {sum(most)}; lower `per_split` or `per_utterance`"
        )
    shares = [0] * len(most)
    left = count
    while left:
        open_places = [place for place, share in enumerate(shares) if share < most[place]][:left]
        for place in open_places:
            shares[place] += 1
        left -= len(open_places)
    return shares


def available_mixtures(speakers: Sequence[str], voices: int, per_utterance: int) -> int:
    """How many mixtures there are if each utterance is first in so many, or in as many as its companions allow.

    Parameters
    ----------
    speakers : sequence of str
        Who speaks each utterance.
    voices : int
        Utterances in a mixture.
    per_utterance : int

    Examples
    --------
    >>> available_mixtures(["anna", "anna", "bert"], 2, 5)
    4
    """
    sizes = Counter(speakers)
    return sum(size * min(per_utterance, _companies(sizes, speaker, voices)) for speaker, size in sizes.items())


def _companies(sizes: Counter, speaker: str, voices: int) -> int:
    """How many ways there are to choose companions, in order, for one utterance of a speaker."""
    others = [size for name, size in sizes.items() if name != speaker]
    if voices == 2:
        return sum(others)
    return sum(size * (sum(others) - size) for size in others)


def _of_first(
    first: int, uses: int, ids: Sequence[str], speakers: Sequence[str], by_id: Sequence[int], voices: int, seed: int
) -> list[tuple[int, ...]]:
    """Draw different mixtures with one first utterance."""
    drawn: dict[tuple[int, ...], None] = {}
    chosen, attempt = [first], 0
    while len(drawn) < uses:
        candidate = by_id[int(unit_hash(seed, "companion", ids[first], str(attempt)) * len(ids))]
        attempt += 1
        if all(speakers[candidate] != speakers[one] for one in chosen):
            chosen.append(candidate)
        if len(chosen) == voices:
            drawn.setdefault(tuple(chosen))
            chosen = [first]
    return list(drawn)


def draw_levels_db(seed: int, clip_id: str, low_db: float, high_db: float, voices: int) -> tuple[float, ...]:
    """Draw the levels of a mixture.

    Parameters
    ----------
    seed : int
    clip_id : str
        Of the mixture.
    low_db, high_db : float
        Between these the ratio of the first utterance to the second is drawn, evenly.
    voices : int

    Returns
    -------
    tuple of float
        In dB: half the ratio above, half below, and a third utterance at 0.
    """
    snr_db = round(low_db + (high_db - low_db) * unit_hash(seed, "mixture level", clip_id), SNR_DECIMALS)
    return (snr_db / 2, -snr_db / 2, 0.0)[:voices]
