"""What a cochlea's channels hear: centre frequencies, the filters' coefficients, and samples close enough to rectify."""

import math

import numpy as np

from audiodata.events.cochlea_kernels import fill_between

SAMPLES_PER_PERIOD = 6
"""Of the highest centre frequency, so many at least: a rectifier's harmonics fold back from beyond half the rate."""

_HALF_WIDTH = 32  # input samples on each side that an interpolated one hears
_KAISER = 8.0  # side lobes 80 dB down
_STEP = 2.0**-40  # of coefficients, so that they don't depend on the last bit of a sine


def centre_frequencies_hz(channels: int, f_min_hz: float, f_max_hz: float) -> np.ndarray:
    """Space frequencies evenly in their logarithm, both ends included.

    Returns
    -------
    float64 [channel]
        Rising.

    Examples
    --------
    >>> centre_frequencies_hz(3, 100.0, 10_000.0).round().tolist()
    [100.0, 1000.0, 10000.0]
    """
    return np.geomspace(f_min_hz, f_max_hz, channels)


def band_pass(frequencies_hz: np.ndarray, quality: float, sample_rate: int) -> np.ndarray:
    """Coefficients of second-order band-passes with gain 1 at their centre.

    H(s) = (s w / Q) / (s^2 + s w / Q + w^2) by the bilinear transform, warped so that the centre stays where it is:
    with W = 2 pi f / rate and A = sin(W) / 2Q,
    H(z) = A / (1 + A) * (1 - z^-2) / (1 - 2 cos(W) / (1 + A) z^-1 + (1 - A) / (1 + A) z^-2).

    Parameters
    ----------
    frequencies_hz : float64 [channel]
    quality : float
        Q: centre frequency over bandwidth at -3 dB, of one section.
    sample_rate : int
        In Hz.

    Returns
    -------
    float64 [coefficient, channel]
        Of z^0 above; of z^-1 and z^-2 below. In steps of 2^-40.
    """
    turn = 2 * np.pi * frequencies_hz / sample_rate
    narrow = np.sin(turn) / (2 * quality)
    exact = np.stack([narrow, -2 * np.cos(turn), 1 - narrow]) / (1 + narrow)
    return np.round(exact / _STEP) * _STEP


def smoothing_share(cutoff_hz: float | None, sample_rate: int) -> float:
    """How much of a new value a first-order low-pass takes in: 1 - exp(-2 pi f / rate); 1 without one."""
    exact = 1.0 if cutoff_hz is None else -math.expm1(-2 * math.pi * cutoff_hz / sample_rate)
    return round(exact / _STEP) * _STEP


def interpolation(sample_rate: int, f_max_hz: float) -> int:
    """Samples to make of one, so that a period of the highest centre frequency has `SAMPLES_PER_PERIOD`.

    Examples
    --------
    >>> interpolation(8000, 3600.0), interpolation(16000, 7200.0), interpolation(44100, 8000.0)
    (3, 3, 2)
    """
    return max(1, math.ceil(SAMPLES_PER_PERIOD * f_max_hz / sample_rate))


def interpolate(samples: np.ndarray, factor: int) -> np.ndarray:
    """Put samples between samples, band-limited and without delay; every `factor`-th is one that was there.

    With a sinc under a Kaiser window of 65 samples: flat to 0.46 times the rate, images 80 dB down from 0.54 times on.

    Parameters
    ----------
    samples : float64 [sample]
        0 before and after.
    factor : int

    Returns
    -------
    float64 [sample]
        `factor` times as many.
    """
    if factor == 1:
        return samples
    later = np.arange(1, factor)[:, None] / factor - np.arange(1 - _HALF_WIDTH, _HALF_WIDTH + 1)  # of a sample after the one it stems from
    weights = np.round(np.sinc(later) * _kaiser(later / _HALF_WIDTH) / _STEP) * _STEP
    padded = np.pad(samples, (_HALF_WIDTH - 1, _HALF_WIDTH))
    finer = np.empty((factor, samples.size))
    finer[0] = samples
    fill_between(padded, weights, finer[1:])
    return finer.T.ravel()


def _kaiser(place: np.ndarray) -> np.ndarray:
    return np.i0(_KAISER * np.sqrt(np.maximum(0, 1 - place**2))) / np.i0(_KAISER)
