"""Compiled spiking neurons on maps of which only the number of spikes in each 2 x 2 window is wanted, forward and backward.

Two rows of a map, a strip, lie together in memory and make one row of windows. A strip walks through all time steps while its potentials stay in
the cache; neither its spikes nor, where the current comes from a convolution of events, its currents are ever written to memory. Neurons in a
last odd row or column are in no window: nobody hears them.

`convolved_forward` and `convolved_backward` compute the current from the maps' entries that are not 0, one after the other. On maps of events, of
which few per cent are not 0, that is a small part of the work of an ordinary convolution.

Currents are ``[T, B, H, W, C]``, channels last. Work is numbered ``example * strips + strip``.
"""

import numpy as np
from numba import njit

from models.lif_kernels import clear, step, step_back, surrogate

_compiled = njit(cache=True, nogil=True, error_model="numpy")


@_compiled
def _count(h, sums, columns, channels, k):
    """Fill `sums` ``[W // 2 * C]`` with the spikes per window of a strip's potentials `h` ``[2 * W * C]``."""
    one, zero = h.dtype.type(1), h.dtype.type(0)
    row = columns * channels
    for j in range(columns // 2):
        upper = 2 * j * channels
        lower, out = row + upper, j * channels
        for c in range(channels):
            spikes = one if h[upper + c] > k.fire_above else zero
            spikes += one if h[upper + channels + c] > k.fire_above else zero
            spikes += one if h[lower + c] > k.fire_above else zero
            spikes += one if h[lower + channels + c] > k.fire_above else zero
            sums[out + c] = spikes


@_compiled
def _spread(gradient, spike_grad, columns, channels):
    """Give each neuron of a strip, `spike_grad` ``[2 * W * C]``, the gradient of its window; those in no window keep theirs."""
    row = columns * channels
    for j in range(columns // 2):
        upper = 2 * j * channels
        lower, given = row + upper, j * channels
        for c in range(channels):
            value = gradient[given + c]
            spike_grad[upper + c] = value
            spike_grad[upper + channels + c] = value
            spike_grad[lower + c] = value
            spike_grad[lower + channels + c] = value


@_compiled
def _copy(row, out):
    for i in range(out.size):
        out[i] = row[i]


@_compiled
def _fill(out, value):
    for i in range(out.size):
        out[i] = value


@_compiled
def _back(membranes, t, sums_grad, work, out, columns, channels, k):
    """Turn the gradient of one time step's sums into `out`, that of the strip's current; `work` holds g, the carry and the spikes' gradient."""
    g, carry, spike_grad = work[0], work[1], work[2]
    _spread(sums_grad, spike_grad, columns, channels)
    surrogate(membranes[t + 1], g, k)
    step_back(membranes[t + 1], g, spike_grad, carry, out, k, k.gain)


@_compiled
def forward(current, sums, v_init, k, start, stop):
    """Count the spikes of the strips `start` to `stop`.

    Parameters
    ----------
    current : array [T, B, H, W * C]
    sums : array [T, B, H // 2, W // 2, C]
        Is written.
    v_init : number
        Membrane potential before the first step.
    k : models.lif_kernels.Constants
    start, stop : int
    """
    steps, _, strips, _, channels = sums.shape
    size = 2 * current.shape[3]
    columns = current.shape[3] // channels
    h = np.empty((2, size), current.dtype)
    for item in range(start, stop):
        example, strip = item // strips, item % strips
        _fill(h[0], v_init)
        for t in range(steps):
            step(h[t % 2], current[t, example, 2 * strip : 2 * strip + 2].reshape(size), h[(t + 1) % 2], k)
            _count(h[(t + 1) % 2], sums[t, example, strip].reshape(columns // 2 * channels), columns, channels, k)


@_compiled
def backward(current, sums_grad, current_grad, v_init, k, start, stop):
    """Compute the gradients of the currents of the strips `start` to `stop`.

    Parameters
    ----------
    current, v_init, k, start, stop
        As in `forward`.
    sums_grad : array [T, B, H // 2, W // 2, C]
    current_grad : array [T, B, H, W * C]
        Is written, but for a last odd row.
    """
    steps, _, strips, _, channels = sums_grad.shape
    size = 2 * current.shape[3]
    columns = current.shape[3] // channels
    membranes, work = np.empty((steps + 1, size), current.dtype), np.zeros((3, size), current.dtype)
    _fill(membranes[0], v_init)
    for item in range(start, stop):
        example, strip = item // strips, item % strips
        clear(work[1])
        for t in range(steps):
            step(membranes[t], current[t, example, 2 * strip : 2 * strip + 2].reshape(size), membranes[t + 1], k)
        for t in range(steps - 1, -1, -1):
            given, out = sums_grad[t, example, strip].reshape(columns // 2 * channels), current_grad[t, example, 2 * strip : 2 * strip + 2]
            _back(membranes, t, given, work, out.reshape(size), columns, channels, k)


@_compiled
def _add_product(total, row, factor):
    for i in range(total.size):
        total[i] += factor * row[i]


@_compiled
def _rows_heard(first_row, padding, kernel, height):
    """Give the first row of the maps that reaches a strip, and the one after the last."""
    return max(first_row - padding, 0), min(first_row + 1 - padding + kernel, height)


@_compiled
def _columns_reached(x, padding, kernel, columns):
    """Give the first column that an entry in column `x` of the maps reaches, which may be outside, and which of the kernel's are inside."""
    first = x + padding - kernel + 1
    return first, max(0, -first), min(kernel, columns - first)


@_compiled
def _convolve(maps, weight, first_row, padding, current, columns):
    """Add to a strip's currents ``[2 * W' * C]`` a convolution of `maps` ``[H, W, P]`` with `weight` ``[P, k, k, C]``, last column first.

    What an entry adds to one row of the strip lies together: k columns of C numbers.
    """
    height, width, kinds = maps.shape
    kernel, channels = weight.shape[1], weight.shape[3]
    low, high = _rows_heard(first_row, padding, kernel, height)
    for y in range(low, high):
        for x in range(width):
            for p in range(kinds):
                if maps[y, x, p] != 0:
                    first, start, stop = _columns_reached(x, padding, kernel, columns)
                    for r in range(2):
                        ky = y - first_row - r + padding
                        if 0 <= ky < kernel:
                            place = (r * columns + first) * channels
                            reached = current[place + start * channels : place + stop * channels]
                            _add_product(reached, weight[p, ky, start:stop].reshape((stop - start) * channels), maps[y, x, p])


@_compiled
def _correlate(maps, first_row, padding, gradient, weight_grad, columns):
    """Add what a strip's gradient ``[2 * W' * C]`` gives to that of the weights ``[P, k, k, C]``, last column first."""
    height, width, kinds = maps.shape
    kernel, channels = weight_grad.shape[1], weight_grad.shape[3]
    low, high = _rows_heard(first_row, padding, kernel, height)
    for y in range(low, high):
        for x in range(width):
            for p in range(kinds):
                if maps[y, x, p] != 0:
                    first, start, stop = _columns_reached(x, padding, kernel, columns)
                    for r in range(2):
                        ky = y - first_row - r + padding
                        if 0 <= ky < kernel:
                            place = (r * columns + first) * channels
                            reached = gradient[place + start * channels : place + stop * channels]
                            _add_product(weight_grad[p, ky, start:stop].reshape((stop - start) * channels), reached, maps[y, x, p])


@_compiled
def _repeat(bias, row):
    """Fill a strip ``[2 * W' * C]`` with the bias ``[C]``."""
    for i in range(row.size):
        row[i] = bias[i % bias.size]


@_compiled
def convolved_forward(maps, weight, bias, padding, sums, v_init, k, start, stop):
    """Count the spikes of the strips `start` to `stop` of neurons whose current is a convolution of `maps`.

    Parameters
    ----------
    maps : array [T, B, H, W, P]
    weight : array [P, k, k, C]
        The kernel's last column first.
    bias : array [C]
    padding : int
        Rows and columns of 0 on each side of the maps.
    sums : array [T, B, H' // 2, W' // 2, C]
        Is written; H' = H + 2 padding - k + 1, W' likewise.
    v_init, k, start, stop
        As in `forward`.
    """
    steps, _, strips, _, channels = sums.shape
    columns = maps.shape[3] + 2 * padding - weight.shape[1] + 1
    size = 2 * columns * channels
    h, current, silent = np.empty((2, size), maps.dtype), np.empty(size, maps.dtype), np.empty(size, maps.dtype)
    _repeat(bias, silent)
    for item in range(start, stop):
        example, strip = item // strips, item % strips
        _fill(h[0], v_init)
        for t in range(steps):
            _copy(silent, current)
            _convolve(maps[t, example], weight, 2 * strip, padding, current, columns)
            step(h[t % 2], current, h[(t + 1) % 2], k)
            _count(h[(t + 1) % 2], sums[t, example, strip].reshape(columns // 2 * channels), columns, channels, k)


@_compiled
def convolved_backward(maps, weight, bias, padding, sums_grad, weight_grad, bias_grad, v_init, k, start, stop):
    """Compute the gradients of weights and bias that come from the strips `start` to `stop`.

    Parameters
    ----------
    maps, weight, bias, padding, v_init, k, start, stop
        As in `convolved_forward`.
    sums_grad : array [T, B, H' // 2, W' // 2, C]
    weight_grad : array [B * strips, P, k, k, C]
        Is added to; one entry a strip, so that their sum does not depend on who worked on which.
    bias_grad : array [B * strips, C]
        Is added to.
    """
    steps, _, strips, _, channels = sums_grad.shape
    columns = maps.shape[3] + 2 * padding - weight.shape[1] + 1
    size, one = 2 * columns * channels, maps.dtype.type(1)
    membranes, work = np.empty((steps + 1, size), maps.dtype), np.zeros((3, size), maps.dtype)
    current, silent, total = np.empty(size, maps.dtype), np.empty(size, maps.dtype), np.empty(size, maps.dtype)
    _repeat(bias, silent)
    _fill(membranes[0], v_init)
    for item in range(start, stop):
        example, strip = item // strips, item % strips
        clear(work[1])
        clear(total)
        for t in range(steps):
            _copy(silent, current)
            _convolve(maps[t, example], weight, 2 * strip, padding, current, columns)
            step(membranes[t], current, membranes[t + 1], k)
        for t in range(steps - 1, -1, -1):
            _back(membranes, t, sums_grad[t, example, strip].reshape(columns // 2 * channels), work, current, columns, channels, k)
            _correlate(maps[t, example], 2 * strip, padding, current, weight_grad[item], columns)
            _add_product(total, current, one)
        for i in range(size):
            bias_grad[item, i % channels] += total[i]
