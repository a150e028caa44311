"""Delays by fractions of a sample: impulses that lie between two samples."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy

HALF_WIDTH = 128
"""Samples on either side of an impulse: what lies further from it is 0."""

_KAISER_BETA = 10.0


class Responses(NamedTuple):
    """Impulse responses from one source to every microphone.

    Attributes
    ----------
    taps : float64 [channel, tap]
    lead : int
        Taps before time 0, which is when the source emits: an impulse between two samples begins before it is there.
    """

    taps: np.ndarray
    lead: int


def delayed_impulses(delays: Sequence[float] | np.ndarray, gains: Sequence[float] | np.ndarray, longest: float = 0.0) -> Responses:
    """Impulses at any times, as a sinc in a Kaiser window of `HALF_WIDTH` samples on either side.

    Up to 0.95 of half the sample rate a tone comes out right to 1e-4 of its amplitude, so its delay is right to 1e-4 samples or better;
    above, the amplitude falls, to one half at half the sample rate.

    Parameters
    ----------
    delays : array [channel]
        In samples, at least 0.
    gains : array [channel]
        Amplitudes.
    longest : float
        A delay for which there is to be room too: responses of several directions come out equally long.

    Returns
    -------
    Responses

    References
    ----------
    T. I. Laakso et al., "Splitting the unit delay", IEEE Signal Processing Magazine 13 (1996).
    """
    delays = np.asarray(delays, dtype=np.float64)[:, np.newaxis]
    times = np.arange(int(np.ceil(max(delays.max(), longest))) + 2 * HALF_WIDTH + 1) - HALF_WIDTH - delays
    inside = np.maximum(1 - np.square(times / HALF_WIDTH), 0.0)
    window = np.where(np.abs(times) < HALF_WIDTH, scipy.special.i0(_KAISER_BETA * np.sqrt(inside)) / scipy.special.i0(_KAISER_BETA), 0.0)
    return Responses(np.asarray(gains, dtype=np.float64)[:, np.newaxis] * np.sinc(times) * window, HALF_WIDTH)
