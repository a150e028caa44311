"""The loops of the retina: what the pixels see, its logarithm, and the comparator of each pixel.

Nothing is reordered or fused and no loop calls the system's mathematical library: the same image gives the same bytes on
every x86-64 processor.
"""

import math

import numpy as np

from audiodata.compilation import compiled

LN_2 = math.log(2)
SQRT_HALF_BITS = np.int64(0x3FE6A09E667F3BCD)  # of the float64 nearest to sqrt(1/2)
MANTISSA_BITS = np.int64(52)


@compiled
def fill_logarithms(values):
    """Replace positive numbers by their natural logarithms, to 2e-9.

    With v = m 2^e and m in [sqrt(1/2), sqrt(2)), read off the number's bits, ln m = 2 artanh s where s = (m - 1) / (m + 1),
    |s| < 0.172; five terms of artanh's series.

    Parameters
    ----------
    values : float64 [row, column]
    """
    for row in range(values.shape[0]):
        line = values[row]
        bits = line.view(np.int64)
        for column in range(line.size):
            exponent = (bits[column] - SQRT_HALF_BITS) >> MANTISSA_BITS
            bits[column] -= exponent << MANTISSA_BITS
            s = (line[column] - 1.0) / (line[column] + 1.0)
            z = s * s
            series = 1.0 + z * (1 / 3 + z * (1 / 5 + z * (1 / 7 + z * (1 / 9))))
            line[column] = 2.0 * s * series + LN_2 * exponent


@compiled
def find_changing(picture, first_x, last_x, first_y, last_y, changing):
    """Mark the pixels of the sensor over which something other than one shade of the picture moves.

    Parameters
    ----------
    picture : float64 [row, column]
    first_x, last_x, first_y, last_y : int
        Range of picture columns that column 0 of the sensor sees during the motion, and of rows that row 0 sees.
    changing : bool [row, column]
        Of the sensor.
    """
    rows, columns = picture.shape
    for row in range(changing.shape[0]):
        top, bottom = min(max(row + first_y, 0), rows - 1), min(max(row + last_y, 0), rows - 1)
        for column in range(changing.shape[1]):
            left, right = min(max(column + first_x, 0), columns - 1), min(max(column + last_x, 0), columns - 1)
            shade = picture[top, left]
            found = False
            for seen_row in range(top, bottom + 1):
                for seen in range(left, right + 1):
                    found |= picture[seen_row, seen] != shade
            changing[row, column] = found


@compiled
def fill_luminance(picture, whole_x, part_x, whole_y, part_y, pixels, columns, luminance):
    """Write what pixels see while a picture moves, by bilinear interpolation.

    Pixel (column, row) sees the picture at (column + whole_x + part_x, row + whole_y + part_y); beyond its edge the picture goes on
    as it is there.

    Parameters
    ----------
    picture : float64 [row, column]
    whole_x, whole_y : int64 [step]
    part_x, part_y : float64 [step]
        From 0 to less than 1.
    pixels : int64 [pixel]
        row * columns + column, of those asked for.
    columns : int
        Of the sensor.
    luminance : float64 [pixel, step]
    """
    last_row, last_column = picture.shape[0] - 1, picture.shape[1] - 1
    for index in range(pixels.size):
        row, column = pixels[index] // columns, pixels[index] % columns
        line = luminance[index]
        for step in range(line.size):
            y, x = row + whole_y[step], column + whole_x[step]
            upper, lower = min(max(y, 0), last_row), min(max(y + 1, 0), last_row)
            left, right = min(max(x, 0), last_column), min(max(x + 1, 0), last_column)
            over_y, over_x = part_y[step], part_x[step]
            above = picture[upper, left] + over_x * (picture[upper, right] - picture[upper, left])
            below = picture[lower, left] + over_x * (picture[lower, right] - picture[lower, left])
            line[step] = above + over_y * (below - above)


@compiled
def smooth(signal, share):
    """Low-pass each pixel's signal in place: v += share (signal - v), from rest at its first value.

    Parameters
    ----------
    signal : float64 [pixel, step]
    share : float64 [step]
        How far a step goes; that of the first one is not used.
    """
    for index in range(signal.shape[0]):
        line = signal[index]
        value = line[0]
        for step in range(1, line.size):
            value += share[step] * (line[step] - value)
            line[step] = value


@compiled
def compare(
    signal, time_us, threshold_on, threshold_off, refractory_us, noise_first, noise_last, noise_time_us, noise_on,
    found_index, found_time_us, found_on,
):
    """Find the events of pixels; write as many as there is room for.

    A pixel remembers its signal as it was at its last event, and for `refractory_us` after that follows it. An event comes where the
    signal, a straight line between two steps, has moved from the memory by a threshold, or where there is a noise event.

    Parameters
    ----------
    signal : float64 [pixel, step]
    time_us : float64 [step]
    threshold_on, threshold_off : float64 [pixel]
    refractory_us : float
    noise_first, noise_last : int64 [pixel]
        Where each pixel's noise events begin, and where they are over.
    noise_time_us : float64 [noise event]
        Rising within a pixel; those in a refractory time are lost.
    noise_on : bool [noise event]
    found_index : int64 [room]
        Pixel of each event, in the order of `signal`.
    found_time_us : float64 [room]
    found_on : bool [room]

    Returns
    -------
    int
        How many events there are.
    """
    count = 0
    for index in range(signal.shape[0]):
        line, noise, noise_end = signal[index], noise_first[index], noise_last[index]
        on, off = threshold_on[index], threshold_off[index]
        memory, held, free_us = line[0], False, time_us[0]
        for step in range(1, time_us.size):
            start_us, end_us, here, there = time_us[step - 1], time_us[step], line[step - 1], line[step]
            quiet = noise == noise_end or noise_time_us[noise] >= end_us
            if quiet and not held and memory - off < there < memory + on:
                continue
            slope = (there - here) / (end_us - start_us)
            begin_us = start_us
            while True:
                if held:
                    if free_us >= end_us:
                        break
                    held, begin_us = False, free_us
                    memory = here + slope * (free_us - start_us)
                    while noise < noise_end and noise_time_us[noise] < free_us:
                        noise += 1
                event_us, target, brighter = math.inf, memory, there >= memory + on
                if brighter or there <= memory - off:
                    target = memory + on if brighter else memory - off
                    event_us = min(max(start_us + (target - here) / slope, begin_us), end_us)
                if noise < noise_end and noise_time_us[noise] < min(event_us, end_us):
                    event_us, brighter = noise_time_us[noise], noise_on[noise]
                    target = here + slope * (event_us - start_us)
                    noise += 1
                if event_us > end_us:
                    break
                if count < found_index.size:
                    found_index[count], found_time_us[count], found_on[count] = index, event_us, brighter
                count += 1
                begin_us, memory, held, free_us = event_us, target, refractory_us > 0, event_us + refractory_us
    return count
