"""Mel scales and the bank of triangular filters on them."""

import math
import warnings
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np

MelScale = Literal["slaney", "htk"]

SLANEY_HZ_PER_MEL = 200 / 3  # below 1 kHz
SLANEY_CORNER_HZ = 1000.0
SLANEY_CORNER_MEL = SLANEY_CORNER_HZ / SLANEY_HZ_PER_MEL
SLANEY_LOG_STEP = math.log(6.4) / 27  # above 1 kHz: 27 mels to 6.4 kHz
WEIGHT_MIN = 1e-12  # what float64 leaves where a filter's edge meets a bin; the filters' peaks are near 1

# Float32 is too coarse for a band whose power, over its filter's peak weight, is less than this share of the frame's
# mean power per bin. Over tones, chirps, steps, square waves, filtered and coloured noise, real recordings, and FFTs of
# 64 to 16384 points, primes among them, a band at share r is off by at most 5e-6 dB / sqrt(r): 5e-4 dB here.
FLOAT32_SHARE = 1e-4


class FilterBank(NamedTuple):
    """Triangular filters, each a run of neighbouring bins.

    Attributes
    ----------
    first_bin : int64 [mel]
    offset : int64 [mel + 1]
        Filter m has the weights ``weight[offset[m] : offset[m + 1]]``.
    weight : float32 [all filters' bins]
        In 1/Hz: every filter has unit area.
    doubtful_share : float32 [mel]
        Share of a frame's total power under which a filter's output needs more than float32.
    """

    first_bin: np.ndarray
    offset: np.ndarray
    weight: np.ndarray
    doubtful_share: np.ndarray


def hz_to_mel(frequency_hz: float, scale: MelScale) -> float:
    """Frequency in Hz to mel.

    "htk" is 2595 log10(1 + f / 700) (O'Shaughnessy 1987); "slaney" (Auditory Toolbox, Slaney 1998) is linear up to
    1 kHz and logarithmic above.
    """
    if scale == "htk":
        return 2595 * math.log10(1 + frequency_hz / 700)
    if frequency_hz < SLANEY_CORNER_HZ:
        return frequency_hz / SLANEY_HZ_PER_MEL
    return SLANEY_CORNER_MEL + math.log(frequency_hz / SLANEY_CORNER_HZ) / SLANEY_LOG_STEP


def mel_to_hz(mel: float, scale: MelScale) -> float:
    """Mel to frequency in Hz, the inverse of `hz_to_mel`."""
    if scale == "htk":
        return 700 * (10 ** (mel / 2595) - 1)
    if mel < SLANEY_CORNER_MEL:
        return mel * SLANEY_HZ_PER_MEL
    return SLANEY_CORNER_HZ * math.exp(SLANEY_LOG_STEP * (mel - SLANEY_CORNER_MEL))


def mel_edges_hz(n_mels: int, f_min_hz: float, f_max_hz: float, scale: MelScale) -> np.ndarray:
    """Frequencies evenly spaced in mel, float64 [n_mels + 2]; filter m rises from edge m and falls to edge m + 2."""
    mels = np.linspace(hz_to_mel(f_min_hz, scale), hz_to_mel(f_max_hz, scale), n_mels + 2)
    return np.array([mel_to_hz(mel, scale) for mel in mels])


@lru_cache(maxsize=64)
def filter_bank(sample_rate: int, n_fft: int, n_mels: int, f_min_hz: float, f_max_hz: float, scale: MelScale) -> FilterBank:
    """Build the filters over the bins of an FFT; warn where one lies between two bins and hears nothing.

    Parameters
    ----------
    sample_rate, f_min_hz, f_max_hz
        In Hz.
    n_fft : int
        Points of the FFT.
    n_mels : int
        Number of filters.
    scale : str
        ``"slaney"`` or ``"htk"``.
    """
    edges = mel_edges_hz(n_mels, f_min_hz, f_max_hz, scale)
    weights = _triangles(edges, np.arange(n_fft // 2 + 1) * (sample_rate / n_fft))
    _warn_of_deaf(weights)
    count = np.count_nonzero(weights, axis=1)
    peak = weights.max(axis=1)
    return FilterBank(
        first_bin=np.argmax(weights > 0, axis=1),
        offset=np.concatenate([[0], np.cumsum(count)]),
        weight=weights[weights > 0],
        doubtful_share=(FLOAT32_SHARE * 2 / n_fft * peak).astype(np.float32),
    )


def _triangles(edges_hz: np.ndarray, bins_hz: np.ndarray) -> np.ndarray:
    """Triangles of unit area, float32 [mel, bin]; rounding hides how libraries differ in float64's last bit."""
    low, centre, high = edges_hz[:-2, None], edges_hz[1:-1, None], edges_hz[2:, None]
    height = np.minimum((bins_hz - low) / (centre - low), (high - bins_hz) / (high - centre))
    return np.where(height > WEIGHT_MIN, height * 2 / (high - low), 0).astype(np.float32)


def _warn_of_deaf(weights: np.ndarray) -> None:
    deaf = np.flatnonzero(~weights.any(axis=1))
    if deaf.size:
        warnings.warn(
            f"{deaf.size} of {len(weights)} mel filters (the first is number {deaf[0]}) lie between two FFT bins "
            "and stay at -100 dB; use fewer n_mels or a longer n_fft",
            stacklevel=2,
        )
