"""The loops behind the features, compiled with numba on the first call (and kept in numba's cache after that).

Every sum runs in one fixed order, and vectors run across frames, coefficients or samples, never along a sum. The
compiler is not allowed to reorder or to fuse, and no loop calls the system's mathematical library: the same input gives
the same bytes on every x86-64 processor, whatever its vector units.
"""

import math

import numpy as np

from audiodata.compilation import compiled

POWER_FLOOR = np.float32(1e-10)
DB_PER_OCTAVE = np.float32(10 * math.log10(2))
DB_PER_HALF_NEPER = np.float32(20 / math.log(10))
THIRD, FIFTH, SEVENTH, NINTH = (np.float32(1 / odd) for odd in (3, 5, 7, 9))
ONE = np.float32(1)
SQRT_HALF_BITS = np.int32(0x3F3504F3)  # of the float32 nearest to sqrt(1/2)
MANTISSA_BITS = np.int32(23)


@compiled
def fill_frames(waveform, window, frames, hop_length, out):
    """Write windowed frames, centred on ``frames * hop_length``, zero beyond the waveform's ends.

    Parameters
    ----------
    waveform : float32 [channel, sample]
    window : float32 or float64 [point]
    frames : int64 [frame]
    hop_length : int
    out : float32 or float64 [channel, frame, point]
    """
    points = window.size
    samples = waveform.shape[1]
    for channel in range(waveform.shape[0]):
        for row in range(frames.size):
            start = frames[row] * hop_length - points // 2
            first = min(max(0, -start), points)
            last = max(first, min(points, samples - start))
            out[channel, row, :first] = 0
            out[channel, row, last:] = 0
            source, weight, target = waveform[channel, start + first : start + last], window[first:last], out[channel, row, first:last]
            for point in range(target.size):
                target[point] = source[point] * weight[point]


@compiled
def fill_power(spectrum, power, total):
    """Write squared magnitudes, and per column their sum over the bins; tell whether all of it is finite.

    A column is one frame of one channel.

    Parameters
    ----------
    spectrum : complex [bin, column]
    power : float32 [bin, column]
    total : float32 [column]

    Returns
    -------
    bool
    """
    for row in range(power.shape[0]):
        values, squares = spectrum[row], power[row]
        for column in range(squares.size):
            value = values[column]
            squares[column] = value.real * value.real + value.imag * value.imag
    total[:] = 0
    for row in range(power.shape[0]):
        squares = power[row]
        for column in range(squares.size):
            total[column] += squares[column]
    return math.isfinite(total.sum())


@compiled
def fill_levels(power, total, bank, levels, doubtful):
    """Write the levels of bands of bins, and mark the columns that float32 is too coarse for.

    Level: 10 log10(max(P, 1e-10)) to 1e-5 dB. With P = m 2^e and m in [sqrt(1/2), sqrt(2)), read off the float's bits,
    ln m = 2 artanh s where s = (m - 1) / (m + 1), and five terms of artanh's series (|s| < 0.172) leave 1e-9.

    Parameters
    ----------
    power : float32 [bin, column]
    total : float32 [column]
        Sum of `power` over the bins.
    bank : FilterBank
        See `audiodata.features.mel.FilterBank`.
    levels : float32 [column, band]
        In dB.
    doubtful : bool [column]
        Set where some band holds less than its `doubtful_share` of the total.
    """
    band_power = np.empty((levels.shape[1], total.size), np.float32)
    for band in range(band_power.shape[0]):
        sums = band_power[band]
        sums[:] = 0
        for index in range(bank.offset[band], bank.offset[band + 1]):
            weight = bank.weight[index]
            row = power[bank.first_bin[band] + index - bank.offset[band]]
            for column in range(sums.size):
                sums[column] += weight * row[column]
        share = bank.doubtful_share[band]
        for column in range(sums.size):
            floored = max(sums[column], POWER_FLOOR)
            doubtful[column] |= floored < share * total[column]
            bits = np.float32(floored).view(np.int32)
            exponent = (bits - SQRT_HALF_BITS) >> MANTISSA_BITS
            mantissa = np.int32(bits - (exponent << MANTISSA_BITS)).view(np.float32)
            s = (mantissa - ONE) / (mantissa + ONE)
            z = s * s
            series = ONE + z * (THIRD + z * (FIFTH + z * (SEVENTH + z * NINTH)))
            sums[column] = DB_PER_HALF_NEPER * s * series + DB_PER_OCTAVE * np.float32(exponent)
    for column in range(levels.shape[0]):
        for band in range(levels.shape[1]):
            levels[column, band] = band_power[band, column]


@compiled
def fill_cepstra(levels, basis, cepstra):
    """Write the product of levels and basis, summed in float64: in float32, 128 times -100 dB is off by up to 0.004.

    Parameters
    ----------
    levels : float32 [frame, band]
    basis : float64 [band, coefficient]
    cepstra : float32 [frame, coefficient]
    """
    last = levels.shape[0] - 1
    sums = np.empty((4, basis.shape[1]))
    sums_0, sums_1, sums_2, sums_3 = sums[0], sums[1], sums[2], sums[3]
    for frame_0 in range(0, last + 1, 4):  # four frames a pass over the basis; past the last frame, that one again
        frame_1, frame_2, frame_3 = min(frame_0 + 1, last), min(frame_0 + 2, last), min(frame_0 + 3, last)
        sums[:] = 0
        for band in range(basis.shape[0]):
            weights = basis[band]
            level_0, level_1 = levels[frame_0, band], levels[frame_1, band]
            level_2, level_3 = levels[frame_2, band], levels[frame_3, band]
            for coefficient in range(weights.size):
                sums_0[coefficient] += level_0 * weights[coefficient]
                sums_1[coefficient] += level_1 * weights[coefficient]
                sums_2[coefficient] += level_2 * weights[coefficient]
                sums_3[coefficient] += level_3 * weights[coefficient]
        cepstra[frame_0], cepstra[frame_1], cepstra[frame_2], cepstra[frame_3] = sums_0, sums_1, sums_2, sums_3
