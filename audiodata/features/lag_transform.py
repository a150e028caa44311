"""From cross-phases to a few lags of their correlation: the part of an inverse real FFT that is wanted, as small matrices."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from audiodata.features import spatial_kernels


class LagTransform(NamedTuple):
    """Matrices from the real and imaginary parts of cross-phases to the even and the odd part of their correlation.

    With whole lags and all bins of an even FFT the bins k and N / 2 - k are taken together, for half the work: at even lags their
    cosines are equal and their sines opposite, at odd lags the other way round.

    Attributes
    ----------
    matrices : float32 [part, row, bin]
        Two: cosines and negative sines, a lag a row, from 0. Or, folded, four: the cosines of even lags, those of odd lags, and so the sines,
        over the lower half of the bins. Filled up with zeros to a multiple of 8 bins.
    """

    matrices: np.ndarray

    def correlate(self, real: np.ndarray, imag: np.ndarray, channels: int, out: np.ndarray) -> None:
        """Correlate channels from their phases.

        Parameters
        ----------
        real, imag : float32 [bin, channel * frame]
            Cosines and sines of the phases.
        channels : int
        out : float32 [pair, frame, lag]
            To fill.
        """
        count, rows, bins = self.matrices.shape
        columns = np.empty((count, bins, out.shape[0] * out.shape[1]), np.float32)
        fill = spatial_kernels.fill_folded_products if count == 4 else spatial_kernels.fill_products
        fill(real, imag, channels, columns)
        parts = np.empty((count, rows, columns.shape[2]), np.float32)
        spatial_kernels.fill_transform(self.matrices, columns, parts)
        spatial_kernels.fill_lags(parts, channels, out)


@lru_cache(maxsize=32)
def lag_transform(n_fft: int, max_lag: int, interpolation: int, first_bin: int, end_bin: int) -> LagTransform:
    """Build the matrices, scaled so that phases that differ by a delay alone correlate to 1 there.

    A bin stands for its negative frequency too, so it counts twice; frequency 0 and, where `n_fft` is even, the Nyquist frequency count
    once. Between whole lags the Nyquist bin is taken as half at each sign of its frequency, that is as a cosine of the lag.

    Parameters
    ----------
    n_fft : int
        Points of the FFT.
    max_lag : int
        Largest lag, in samples.
    interpolation : int
        Values per sample of lag.
    first_bin, end_bin : int
        The bins that count, without `end_bin`.
    """
    bins = np.arange(first_bin, end_bin)
    once = (bins == 0) | (2 * bins == n_fft)
    weight = np.where(once, 1, 2) / np.where(once, 1, 2).sum()
    points = n_fft * interpolation
    radians = 2 * np.pi * (np.outer(np.arange(max_lag * interpolation + 1), bins) % points) / points
    cosines = (weight * np.cos(radians)).astype(np.float32)
    sines = (np.where(once, 0, -weight) * np.sin(radians)).astype(np.float32)
    if interpolation > 1 or n_fft % 2 or bins.size <= n_fft // 2:
        return LagTransform(_filled_up(np.stack([cosines, sines])))
    return LagTransform(_filled_up(_folded(np.stack([cosines, sines]))))


def _filled_up(matrices: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.pad(matrices, ((0, 0), (0, 0), (0, -matrices.shape[2] % 8))))


def _folded(matrices: np.ndarray) -> np.ndarray:
    """Even and odd lags apart, float32 [part, row, lower half of the bins]; where the odd ones are fewer, a row of zeros at their end."""
    count, rows, bins = matrices.shape
    padded = np.zeros((count, rows + rows % 2, (bins + 1) // 2), np.float32)
    padded[:, :rows] = matrices[:, :, : padded.shape[2]]
    if bins % 2:
        padded[:, :, -1] /= 2  # the bin in the middle is its own mirror image
    return np.concatenate([padded[:, 0::2], padded[:, 1::2]], axis=1).reshape(2 * count, -1, padded.shape[2])
