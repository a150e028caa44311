"""The loops behind the features of pairs of channels; what `kernels` says of sums and bytes holds here too."""

import math

import numpy as np

from audiodata.compilation import compiled

TINY_POWER = 1e-25  # the power of a frame under which single squares begin to leave float32's range
CERTAIN_SHARE = 1e-10  # of the mean power of bins: real bins above it have the right sign in float32
ATAN_SERIES = tuple((-1) ** n / (2 * n + 1) for n in range(9))  # leaves 3e-15 at a sixteenth of a turn's half


@compiled
def fill_phases(spectra, first_bin, floor_share, rough, real, imag, doubtful):
    """Write the phases of a band of bins as points on the unit circle, 0 where there is nothing to have a phase.

    A column is one frame of one channel. Its roughness, mean power over the bins times the sum over the band of 1 / power, tells what its
    phases make of small errors in the spectrum. Real bins don't count, unless they are so small that their sign is uncertain.

    Parameters
    ----------
    spectra : complex [bin, column]
    first_bin : int
        Of the band.
    floor_share : float32 or float64
        Bins of no more than this share of their column's power count as 0.
    rough : float
        Roughness above which a column is doubtful.
    real, imag : float32 [band's bin, column]
        To fill.
    doubtful : bool [column]
        To fill: set too where a column is too quiet to square in float32.

    Returns
    -------
    bool
        Whether the columns' power is finite.
    """
    zero = floor_share - floor_share
    total = np.full(spectra.shape[1], zero)  # in the precision of the spectra, and so is all that follows
    one, certain_share = total.dtype.type(1), total.dtype.type(CERTAIN_SHARE / spectra.shape[0])
    for row in range(spectra.shape[0]):
        values = spectra[row]
        for column in range(total.size):
            value = values[column]
            total[column] += value.real * value.real + value.imag * value.imag
    floor, certain = floor_share * total, certain_share * total
    inverses = np.full(total.size, zero)
    for row in range(real.shape[0]):
        values, cosines, sines = spectra[first_bin + row], real[row], imag[row]
        for column in range(total.size):
            value = values[column]
            power = value.real * value.real + value.imag * value.imag
            inverse = one / power
            inverses[column] += zero if value.imag == 0 and power > certain[column] else inverse
            scale = np.sqrt(inverse) if power > floor[column] else zero
            cosines[column] = value.real * scale
            sines[column] = value.imag * scale
    for column in range(total.size):
        doubtful[column] = np.float64(total[column]) / spectra.shape[0] * inverses[column] > rough
        if total[column] < TINY_POWER:
            doubtful[column] = np.any(spectra[:, column] != 0)
    return math.isfinite(total.sum())


@compiled
def fill_products(real, imag, channels, out):
    """Write the product of each pair's first channel with the conjugate of its second.

    Pairs of channels that are equally far apart come one after the other, nearest first, so that each distance is one run of columns.

    Parameters
    ----------
    real, imag : float32 [bin, channel * frame]
    channels : int
    out : float32 [2, bins or more, pair * frame]
        To fill with real and imaginary parts, and with 0 beyond the bins.
    """
    frames = real.shape[1] // channels
    out[:, real.shape[0] :] = 0
    for row in range(real.shape[0]):
        end = 0
        for distance in range(1, channels):
            shift, size = distance * frames, (channels - distance) * frames
            first_real, first_imag = real[row, :size], imag[row, :size]
            second_real, second_imag = real[row, shift:], imag[row, shift:]
            product_real, product_imag = out[0, row, end : end + size], out[1, row, end : end + size]
            for column in range(size):
                a, b, c, d = first_real[column], first_imag[column], second_real[column], second_imag[column]
                product_real[column] = a * c + b * d
                product_imag[column] = b * c - a * d
            end += size


@compiled
def fill_folded_products(real, imag, channels, out):
    """Write sums and differences of what `fill_products` has at bins that lie equally far from both ends.

    Parameters
    ----------
    real, imag : float32 [bin, channel * frame]
    channels : int
    out : float32 [4, lower half of the bins or more, pair * frame]
        To fill with the real parts' sums and differences, and the imaginary parts' differences and sums, and with 0 beyond the bins.
    """
    frames = real.shape[1] // channels
    half = (real.shape[0] + 1) // 2
    out[:, half:] = 0
    for row in range(half):
        mirrored = real.shape[0] - 1 - row
        end = 0
        for distance in range(1, channels):
            shift, size = distance * frames, (channels - distance) * frames
            low_real, low_imag, high_real, high_imag = real[row], imag[row], real[mirrored], imag[mirrored]
            real_sum, real_difference = out[0, row, end : end + size], out[1, row, end : end + size]
            imag_difference, imag_sum = out[2, row, end : end + size], out[3, row, end : end + size]
            for column in range(size):
                a, b, c, d = low_real[column], low_imag[column], low_real[shift + column], low_imag[shift + column]
                low_product_real, low_product_imag = a * c + b * d, b * c - a * d
                a, b, c, d = high_real[column], high_imag[column], high_real[shift + column], high_imag[shift + column]
                high_product_real, high_product_imag = a * c + b * d, b * c - a * d
                real_sum[column] = low_product_real + high_product_real
                real_difference[column] = low_product_real - high_product_real
                imag_difference[column] = low_product_imag - high_product_imag
                imag_sum[column] = low_product_imag + high_product_imag
            end += size


@compiled
def fill_transform(matrices, columns, out):
    """Write the products of small matrices, each with many columns of its own, summed eight bins at a time in ascending order.

    Parameters
    ----------
    matrices : float32 [part, row, bin]
        The number of bins is a multiple of 8.
    columns : float32 [part, bin, column]
    out : float32 [part, row, column]
        To fill.
    """
    out[:] = 0
    for part in range(out.shape[0]):
        for first in range(0, columns.shape[1], 8):
            values = columns[part, first : first + 8]
            c0, c1, c2, c3, c4, c5, c6, c7 = values[0], values[1], values[2], values[3], values[4], values[5], values[6], values[7]
            for row in range(out.shape[1]):
                weights, target = matrices[part, row, first : first + 8], out[part, row]
                w0, w1, w2, w3 = weights[0], weights[1], weights[2], weights[3]
                w4, w5, w6, w7 = weights[4], weights[5], weights[6], weights[7]
                for column in range(target.size):
                    low = (w0 * c0[column] + w1 * c1[column]) + (w2 * c2[column] + w3 * c3[column])
                    high = (w4 * c4[column] + w5 * c5[column]) + (w6 * c6[column] + w7 * c7[column])
                    target[column] += low + high


@compiled
def fill_lags(parts, channels, out):
    """Write a function of the lag from its even and its odd part: their sum at positive lags, the difference at negative ones.

    Parameters
    ----------
    parts : float32 [part, row, pair * frame]
        The first half of the parts is the even function, the other half the odd one. Of n parts in a half, part i has in row r
        the lag ``n * r + i``. Pairs in the order of `fill_products`.
    channels : int
    out : float32 [pair, frame, lag]
        To fill; pairs in the order of `itertools.combinations`.
    """
    zero_lag = out.shape[2] // 2
    stride = parts.shape[0] // 2
    pair = 0
    for one in range(channels):
        for other in range(one + 1, channels):
            distance = other - one
            nearer = (distance - 1) * channels - distance * (distance - 1) // 2  # pairs whose channels are nearer to each other
            first = (nearer + one) * out.shape[1]
            for frame in range(out.shape[1]):
                target = out[pair, frame]
                for lag in range(zero_lag + 1):
                    part, row = lag % stride, lag // stride
                    even, odd = parts[part, row, first + frame], parts[stride + part, row, first + frame]
                    target[zero_lag + lag] = even + odd
                    target[zero_lag - lag] = even - odd
            pair += 1


@compiled
def fill_bands(power, bank, out):
    """Write the powers of mel bands.

    Parameters
    ----------
    power : float32 [bin, frame]
    bank : FilterBank
        See `audiodata.features.mel.FilterBank`.
    out : float32 [band, frame]
        To fill.
    """
    out[:] = 0
    for band in range(out.shape[0]):
        sums = out[band]
        for index in range(bank.offset[band], bank.offset[band + 1]):
            weight = bank.weight[index]
            values = power[bank.first_bin[band] + index - bank.offset[band]]
            for frame in range(sums.size):
                sums[frame] += weight * values[frame]


@compiled
def fill_cross_bands(first, second, bank, real, imag):
    """Write cross spectra in mel bands: the first times the conjugate of the second, weighted and summed.

    Parameters
    ----------
    first, second : complex [bin, frame]
    bank : FilterBank
        See `audiodata.features.mel.FilterBank`.
    real, imag : float32 or float64 [band, frame]
        To fill.
    """
    real[:] = 0
    imag[:] = 0
    for band in range(real.shape[0]):
        cosines, sines = real[band], imag[band]
        for index in range(bank.offset[band], bank.offset[band + 1]):
            row = bank.first_bin[band] + index - bank.offset[band]
            weight, heard_first, heard_second = bank.weight[index], first[row], second[row]
            for frame in range(cosines.size):
                a, b = heard_first[frame], heard_second[frame]
                cosines[frame] += weight * (a.real * b.real + a.imag * b.imag)
                sines[frame] += weight * (a.imag * b.real - a.real * b.imag)


@compiled
def fill_angles(real, imag, out):
    """Write the angles of complex numbers in (-pi, pi], 0 for 0, without the system's arctangent.

    The angle of (x, y) is twice that of (r + |x|, y), and arctan(t) = 2 arctan(t / (1 + sqrt(1 + t^2))): twice more, and
    nine terms of arctan's series leave 3e-15.

    Parameters
    ----------
    real, imag : float32 or float64 [band, frame]
    out : float32 [frame, band]
        To fill, in rad.
    """
    for frame in range(out.shape[0]):
        for band in range(out.shape[1]):
            x, y = np.float64(real[band, frame]), np.float64(imag[band, frame])
            t = y / (math.sqrt(x * x + y * y) + abs(x))
            t = t / (1 + math.sqrt(1 + t * t))
            t = t / (1 + math.sqrt(1 + t * t))
            series = 0.0
            for term in range(len(ATAN_SERIES) - 1, -1, -1):
                series = series * (t * t) + ATAN_SERIES[term]
            angle = 8 * t * series
            if x < 0:
                angle = (math.pi if y >= 0 else -math.pi) - angle
            out[frame, band] = angle if x != 0 or y != 0 else 0.0
