"""The two loops of the cochlea: a bank of filters, and the modulator behind each of them.

Vectors run across channels, never along time, and nothing is reordered or fused: the same input gives the same bytes everywhere.
"""

import math

from audiodata.compilation import compiled


@compiled
def fill_between(samples, weights, between):
    """Write weighted sums of neighbours.

    Parameters
    ----------
    samples : float64 [sample + neighbour - 1]
    weights : float64 [phase, neighbour]
        The earliest neighbour first.
    between : float64 [phase, sample]
    """
    neighbours = weights.shape[1]
    for first in range(0, between.shape[1], 1024):  # a length that stays in the cache
        for phase in range(between.shape[0]):
            out = between[phase, first : first + 1024]
            out[:] = 0
            for neighbour in range(neighbours):
                weight, heard = weights[phase, neighbour], samples[first + neighbour : first + neighbour + out.size]
                for at in range(out.size):
                    out[at] += weight * heard[at]


@compiled
def fill_bands(samples, gain, coefficients, share, full_wave, state, bands, moved):
    """Write what the modulators hear: band-passed, rectified, smoothed.

    Each second-order section in transposed direct form II; its numerator is b (1 - z^-2). The first order behind the rectifier
    is w += share (y - w).

    Parameters
    ----------
    samples : float64 [sample]
    gain : float64 [channel]
        Before the filters; the bands are in units of the threshold where it is divided by it.
    coefficients : float64 [coefficient, channel]
        b, a1, a2 of the sections, which are equal.
    share : float
        Of the smoothing; 1 for none.
    full_wave : bool
        Whether negative values are mirrored; otherwise they become 0.
    state : float64 [5, channel]
        Two of each section, one of the smoothing; left as the next samples need it.
    bands : float64 [sample, channel]
    moved : float64 [channel]
        How far each band went up and down is added to it.
    """
    b, a1, a2 = coefficients[0], coefficients[1], coefficients[2]
    first_1, first_2, second_1, second_2, smooth = state[0], state[1], state[2], state[3], state[4]
    signed = 0.0 if full_wave else 0.5
    for at in range(samples.size):
        row = bands[at]
        for channel in range(row.size):
            driven = b[channel] * (gain[channel] * samples[at])
            middle = driven + first_1[channel]
            first_1[channel] = first_2[channel] - a1[channel] * middle
            first_2[channel] = -driven - a2[channel] * middle
            driven = b[channel] * middle
            value = driven + second_1[channel]
            second_1[channel] = second_2[channel] - a1[channel] * value
            second_2[channel] = -driven - a2[channel] * value
            rectified = signed * value + (1.0 - signed) * abs(value)
            step = share * (rectified - smooth[channel])
            moved[channel] += abs(step)
            smooth[channel] += step
            row[channel] = smooth[channel]


@compiled
def modulate(bands, first, step_us, refractory_us, state, t, x, p):
    """Write the events of asynchronous delta modulators, channel by channel within each interval between two samples.

    Between samples the signal is taken as straight. A modulator speaks when the signal is 1 above (ON) or below (OFF) its reference,
    moves the reference by 1, and is deaf for the refractory time; an event's time is rounded down to the microsecond. References are
    whole numbers, so nothing drifts.

    Parameters
    ----------
    bands : float64 [sample, channel]
        In units of the channel's threshold.
    first : int
        Number of the first of these samples, counted from the recording's start.
    step_us : float
        Between samples.
    refractory_us : int
    state : float64 [3, channel]
        Reference, last value, and the time in microseconds from which the modulator listens; left as the next samples need it.
    t, x, p : int64, int16, int8 [event]
        With room for all events: no more than the ways of all channels, up and down, from the reference to the last sample. For an
        event takes 1 off the distance between signal and reference, which grows by no more than the signal moves.

    Returns
    -------
    int
        Events written.
    """
    reference, last, listens_us = state[0], state[1], state[2]
    count, steps_per_us = 0, 1 / step_us
    for at in range(bands.shape[0]):
        row, end_us, start_us = bands[at], (first + at) * step_us, (first + at - 1) * step_us
        away = 0
        for channel in range(row.size):
            away |= abs(row[channel] - reference[channel]) >= 1
            away |= abs(last[channel] - reference[channel]) >= 1
        for channel in range(row.size if away else 0):
            if abs(row[channel] - reference[channel]) < 1 and abs(last[channel] - reference[channel]) < 1:
                continue
            now_us, rise = max(start_us, listens_us[channel]), row[channel] - last[channel]
            while now_us < end_us:
                gap = last[channel] + rise * ((now_us - start_us) * steps_per_us) - reference[channel]
                if abs(gap) < 1:  # it has to get there first
                    gap = row[channel] - reference[channel]
                    if abs(gap) < 1:
                        break
                    now_us = min(end_us, start_us + step_us * ((reference[channel] + math.copysign(1, gap) - last[channel]) / rise))
                t[count], x[count], p[count] = max(0, math.floor(now_us)), channel, gap > 0
                reference[channel] += math.copysign(1, gap)
                now_us = max(now_us, t[count] + refractory_us)
                listens_us[channel] = now_us
                count += 1
        last = row
    state[1] = last
    return count
