"""Compiled walk of a block of neurons through all time steps, forward and backward.

A block is so small that its membrane potentials stay in the cache while time runs, so the input is read once and the
spikes are written once. The backward pass keeps nothing but the input: it computes the block's potentials again, in
the cache, and walks back through time.

Forward (`models.dynamics` in other words), with u = h[t-1] and f = 1[u > fire_above], the last spike:

    v    = v_reset where u > set_above, else u - f early
    h[t] = leak(v) + input - f late
    s[t] = 1[h[t] > fire_above]

`set_above` is `fire_above` for a reset to a value, else infinite; `early` and `late` are v_th or 0. Backward, with g
the surrogate's gradient at h[t] - v_th and c[t] = dL/dh[t]:

    c[t] = dL/ds[t] g[t] + A[t] c[t+1]
    A[t] = dh[t+1]/dh[t] = keep (0 where h[t] > set_above) + g[t] (offset + slope h[t])
    dL/dcurrent[t] = gain c[t]

`offset` and `slope` are 0 where the reset is left out of the gradient.

Floating-point order matters: fastmath is off and no multiply-add may be fused, so that spikes equal those of the plain
torch loop bit for bit. Compiling takes about 5 s of one core per number type, once: the code is cached beside this
file, or in the user's cache folder where that can't be written.
"""

from math import factorial
from typing import NamedTuple

import numpy as np
from numba import njit

# How the potential decays: by a factor, or by a time constant, without and with the current.
FACTOR, TAU, TAU_INPUT = range(3)
# The order of `models.surrogate.NAMES`.
ARCTAN, FAST_SIGMOID, SIGMOID, RECTANGULAR, TRIANGULAR = range(5)

# For e^x in single precision out of vector instructions; the C library's, a number at a time, takes four times as long.
_ONE, _HALF, _PER_LN2 = np.float32(1), np.float32(0.5), np.float32(1 / np.log(2))
# ln 2 = a part whose multiples by small whole numbers are exact, and the rest.
_LN2_COARSE, _LN2_REST = np.float32(0.693359375), np.float32(np.log(2) - 0.693359375)
_T3, _T4, _T5, _T6, _T7 = (np.float32(1 / factorial(k)) for k in range(3, 8))
_EXPONENT_BIAS, _EXPONENT_UNIT = np.float32(127), np.float32(2**23)


class Constants(NamedTuple):
    """The numbers of one neuron, in the type of its input (see the equations above)."""

    leak: int
    decay: np.floating
    input_scale: np.floating
    tau: np.floating
    v_reset: np.floating
    fire_above: np.floating
    set_above: np.floating
    early: np.floating
    late: np.floating
    surrogate: int
    threshold: np.floating
    scale: np.floating
    keep: np.floating
    offset: np.floating
    slope: np.floating
    gain: np.floating


_compiled = njit(cache=True, nogil=True, error_model="numpy")


@_compiled
def _after_spike(u, k):
    zero = type(u)(0)
    v = u - (k.early if u > k.fire_above else zero)
    return k.v_reset if u > k.set_above else v


@_compiled
def _late_reset(u, k):
    return k.late if u > k.fire_above else type(u)(0)


@_compiled
def _step_factor(before, current, h, k):
    for i in range(h.size):
        v = _after_spike(before[i], k)
        h[i] = k.decay * v + k.input_scale * current[i] - _late_reset(before[i], k)


@_compiled
def _step_tau(before, current, h, k):
    for i in range(h.size):
        v = _after_spike(before[i], k)
        h[i] = v - (v - k.v_reset) / k.tau + current[i] - _late_reset(before[i], k)


@_compiled
def _step_tau_input(before, current, h, k):
    for i in range(h.size):
        v = _after_spike(before[i], k)
        h[i] = v + (current[i] - (v - k.v_reset)) / k.tau - _late_reset(before[i], k)


@_compiled
def step(before, current, h, k):
    """Fill `h` with the potentials of the step after `before`."""
    if k.leak == FACTOR:
        _step_factor(before, current, h, k)
    elif k.leak == TAU:
        _step_tau(before, current, h, k)
    else:
        _step_tau_input(before, current, h, k)


@_compiled
def _fire(h, spikes, k):
    one, zero = h.dtype.type(1), h.dtype.type(0)
    for i in range(h.size):
        spikes[i] = one if h[i] > k.fire_above else zero


@_compiled
def _exp_single(x):
    """Value of e^x for x in -80..0 to 1e-7 of itself: 2^n e^r with x = n ln 2 + r, and Taylor's series for e^r."""
    n = np.floor(x * _PER_LN2 + _HALF)
    r = (x - n * _LN2_COARSE) - n * _LN2_REST
    series = _T6 + r * _T7
    series = _T3 + r * (_T4 + r * (_T5 + r * series))
    # The bits of a float32 power of two are its exponent, shifted.
    power = np.int32((n + _EXPONENT_BIAS) * _EXPONENT_UNIT).view(np.float32)
    return power * (_ONE + r * (_ONE + r * (_HALF + r * series)))


@_compiled
def _sigmoid(h, g, k):
    # Under e^-40 the gradient is 0 for every purpose, and far smaller numbers (denormal ones) slow the processor down.
    one, lowest = h.dtype.type(1), h.dtype.type(-40)
    if h.itemsize == 4:
        for i in range(h.size):
            tail = _exp_single(np.float32(max(-k.scale * abs(h[i] - k.threshold), lowest)))
            g[i] = k.scale * tail / ((one + tail) * (one + tail))
    else:
        for i in range(h.size):
            tail = np.exp(max(-k.scale * abs(h[i] - k.threshold), lowest))
            g[i] = k.scale * tail / ((one + tail) * (one + tail))


@_compiled
def surrogate(h, g, k):
    """Fill `g` with the surrogate's gradient at h - v_th; the formulas of `models.surrogate`."""
    one, zero, half, scale = h.dtype.type(1), h.dtype.type(0), h.dtype.type(0.5), k.scale
    if k.surrogate == ARCTAN:
        factor, top = h.dtype.type(np.pi / 2) * scale, half * scale
        for i in range(h.size):
            y = factor * (h[i] - k.threshold)
            g[i] = top / (one + y * y)
    elif k.surrogate == FAST_SIGMOID:
        for i in range(h.size):
            y = one + scale * abs(h[i] - k.threshold)
            g[i] = one / (y * y)
    elif k.surrogate == SIGMOID:
        _sigmoid(h, g, k)
    elif k.surrogate == RECTANGULAR:
        for i in range(h.size):
            g[i] = one / scale if abs(h[i] - k.threshold) < half * scale else zero
    else:
        for i in range(h.size):
            g[i] = max(one - abs(h[i] - k.threshold) / scale, zero) / scale


@_compiled
def step_back(h, g, spike_grad, carry, out, k, gain):
    """Turn dL/dh[t+1] in `carry` into dL/dh[t]; `out` gets `gain` times that."""
    zero = h.dtype.type(0)
    for i in range(h.size):
        kept = zero if h[i] > k.set_above else k.keep
        back = kept + g[i] * (k.offset + k.slope * h[i])
        carry[i] = spike_grad[i] * g[i] + back * carry[i]
        out[i] = gain * carry[i]


# Loops rather than slices on the left side of an assignment, which take numba seconds to compile.
@_compiled
def _copy(row, out):
    for i in range(out.size):
        out[i] = row[i]


@_compiled
def clear(out):
    """Set every number of a row to 0."""
    for i in range(out.size):
        out[i] = 0


@_compiled
def _add(total, row, factor):
    for i in range(total.size):
        total[i] += factor * row[i]


@_compiled
def forward(current, state, spikes, membranes, k, start, stop, block):
    """Spikes of the neurons `start` to `stop`.

    Parameters
    ----------
    current : array [T or 1, N]
        One row stands for the same input at every step.
    state : array [N]
        Membrane potential before the first step.
    spikes : array [T, N]
        Written.
    membranes : array [K, N]
        Written with the potentials of the last K steps.
    k : Constants
        Numbers of the neuron.
    start, stop, block : int
        Span of neurons, and how many walk through time together.
    """
    steps, rows = spikes.shape[0], current.shape[0]
    first_kept = steps - membranes.shape[0]
    scratch = np.empty((2, block), current.dtype)
    for low in range(start, stop, block):
        high = min(low + block, stop)
        n = high - low
        _copy(state[low:high], scratch[0, :n])
        for t in range(steps):
            h = scratch[(t + 1) % 2, :n]
            step(scratch[t % 2, :n], current[min(t, rows - 1), low:high], h, k)
            _fire(h, spikes[t, low:high], k)
            if t >= first_kept:
                _copy(h, membranes[t - first_kept, low:high])


@_compiled
def backward(current, state, spike_grad, membrane_grad, current_grad, state_grad, k, start, stop, block):
    """Gradients of the neurons `start` to `stop`.

    Parameters
    ----------
    current, state
        As in `forward`.
    spike_grad : array [T, N]
        dL/ds.
    membrane_grad : array [K, N]
        dL/dh of the last K steps.
    current_grad : array [T or 1, N]
        Written with dL/dcurrent; with one row, with its sum over time.
    state_grad : array [N]
        Written with dL/dstate.
    k, start, stop, block
        As in `forward`.
    """
    steps, rows, summed = spike_grad.shape[0], current.shape[0], current_grad.shape[0] == 1
    first_kept = steps - membrane_grad.shape[0]
    one = current.dtype.type(1)
    membranes = np.empty((steps + 1, block), current.dtype)
    scratch = np.empty((3, block), current.dtype)
    for low in range(start, stop, block):
        high = min(low + block, stop)
        # Rows are cut out one by one: a cut through all rows at once would lose the contiguous layout, and with it
        # the vector units.
        n = high - low
        g, carry, spare = scratch[0, :n], scratch[1, :n], scratch[2, :n]
        _copy(state[low:high], membranes[0, :n])
        for t in range(steps):
            step(membranes[t, :n], current[min(t, rows - 1), low:high], membranes[t + 1, :n], k)
        clear(carry)
        clear(current_grad[0, low:high])
        for t in range(steps - 1, -1, -1):
            h, out = membranes[t + 1, :n], spare if summed else current_grad[t, low:high]
            surrogate(h, g, k)
            step_back(h, g, spike_grad[t, low:high], carry, out, k, k.gain)
            if t >= first_kept:
                _add(carry, membrane_grad[t - first_kept, low:high], one)
                _add(out, membrane_grad[t - first_kept, low:high], k.gain)
            if summed:
                _add(current_grad[0, low:high], spare, one)
        clear(spare)
        surrogate(membranes[0, :n], g, k)
        step_back(membranes[0, :n], g, spare, carry, state_grad[low:high], k, one)
