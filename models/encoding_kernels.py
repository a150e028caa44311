"""Compiled random spikes for rate coding.

`torch.bernoulli` draws its numbers one after the other (8 to 30 ns each), which would cost as much as a layer of the
network. Here each spike has its own number, made from a key and its place: SplitMix64 (Steele, Lea & Flood 2014),
whose n-th output is a hash of key + n gamma.
"""

import numpy as np
from numba import njit

_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)
# The 24 highest bits: as fine as float32 between 1/2 and 1.
_DROPPED_BITS = np.uint64(40)
_LEVELS = 2.0**24


@njit(cache=True, nogil=True)
def bernoulli(values, spikes, key):
    """Fill `spikes` `[T, N]`: 1 where a uniform number in [0, 1) lies below `values` `[N]`; `key` is a uint64."""
    steps, n = spikes.shape
    levels = values.dtype.type(_LEVELS)
    for t in range(steps):
        start = key + np.uint64(t) * np.uint64(n) * _GAMMA
        for i in range(n):
            mixed = start + np.uint64(i) * _GAMMA
            mixed = (mixed ^ (mixed >> np.uint64(30))) * _FIRST
            mixed = (mixed ^ (mixed >> np.uint64(27))) * _SECOND
            mixed = (mixed ^ (mixed >> np.uint64(31))) >> _DROPPED_BITS
            spikes[t, i] = values.dtype.type(mixed) < values[i] * levels
