"""The loops behind binning and denoising, in integers throughout."""

import numpy as np

from audiodata.compilation import compiled

FULL = 255  # a count stays here


@compiled
def fill_steps(t, x, y, p, edges, channels, counting, out):
    """Add events to the frame of their time step.

    Only an event outside the step of the one before it needs a search: a guess in floating point, set right by the edges, which are whole numbers.

    Parameters
    ----------
    t : int64 [event]
    x, y, p : int [event]
    edges : int64 [time + 1]
        First microsecond of each step, and the one after the last; events before and after are left out.
    channels : int8 [polarity]
        Channel of each polarity, negative for one that is dropped.
    counting : bool
        Whether a cell counts to 255, or says whether there was an event.
    out : uint8 [time, polarity, row, column]
        Zeros.

    Returns
    -------
    int
        Events whose address is none of the sensor's; they are left out.
    """
    steps, rows, columns = out.shape[0], out.shape[2], out.shape[3]
    area = out.shape[1] * rows * columns
    cells = out.reshape(steps * area)
    start, end = edges[0], edges[steps]
    steps_per_us = steps / (end - start)
    step, first, last, strange = 0, end, end, 0
    for event in range(t.size):
        time = t[event]
        if time < start or time >= end:
            continue
        if time < first or time >= last:
            step = min(int((time - start) * steps_per_us), steps - 1)
            while time < edges[step]:
                step -= 1
            while time >= edges[step + 1]:
                step += 1
            first, last = edges[step], edges[step + 1]
        row, column, polarity = np.uint32(y[event]), np.uint32(x[event]), np.uint32(p[event])  # what is negative becomes large
        if row >= rows or column >= columns or polarity >= channels.size:
            strange += 1
            continue
        channel = channels[polarity]
        if channel < 0:
            continue
        cell = np.uint64(step * area + (channel * rows + row) * columns + column)
        if not counting:
            cells[cell] = 1
        elif cells[cell] < FULL:
            cells[cell] += 1
    return strange


@compiled
def mark_supported(t, x, y, within, latest, kept):
    """Mark the events that follow one of a neighbour, and note the latest event of each address.

    Parameters
    ----------
    t : int64 [event]
        Ascending.
    x, y : int [event]
    within : int
        Longest time since the neighbour's event.
    latest : int64 [row + 2, column + 2]
        Times before all that count; there is a border of one around the sensor.
    kept : bool [event]
        False.

    Returns
    -------
    int
        Events whose address is none of the sensor's; they are not marked.
    """
    rows, columns = latest.shape[0] - 2, latest.shape[1] - 2
    strange = 0
    for event in range(t.size):
        row, column, earliest = y[event], x[event], t[event] - within
        if row < 0 or row >= rows or column < 0 or column >= columns:
            strange += 1
            continue
        for down in range(3):
            for right in range(3):
                if (down != 1 or right != 1) and latest[row + down, column + right] >= earliest:
                    kept[event] = True
        latest[row + 1, column + 1] = t[event]
    return strange
