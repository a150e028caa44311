"""Compiled 2 x 2 max-pooling over maps whose channels lie last in memory, forward and backward.

The place of each maximum is kept as one byte (0 to 3: upper left, upper right, lower left, lower right) where PyTorch keeps an 8-byte
index; on a CPU this pooling costs a part of the convolution before it, PyTorch's costs more than the convolution.
"""

import numba
import numpy as np

UPPER_RIGHT, LOWER_LEFT, LOWER_RIGHT = np.uint8(1), np.uint8(2), np.uint8(3)


@numba.njit(nogil=True, cache=True)
def max_pool(maps, pooled, place, start, stop):
    """Take the maximum of each 2 x 2 window of the maps `start` to `stop`; a last odd row or column is left out.

    Parameters
    ----------
    maps : float32 [N, H, W, C]
    pooled : float32 [N, H // 2, W // 2, C]
        Is written.
    place : uint8 [N, H // 2, W // 2, C]
        Is written: where in its window the maximum stands, the first one of several.
    start, stop : int
    """
    _, height, width, channels = pooled.shape
    for n in range(start, stop):
        for i in range(height):
            for j in range(width):
                for c in range(channels):
                    best, where = maps[n, 2 * i, 2 * j, c], np.uint8(0)
                    candidate = maps[n, 2 * i, 2 * j + 1, c]
                    if candidate > best:
                        best, where = candidate, UPPER_RIGHT
                    candidate = maps[n, 2 * i + 1, 2 * j, c]
                    if candidate > best:
                        best, where = candidate, LOWER_LEFT
                    candidate = maps[n, 2 * i + 1, 2 * j + 1, c]
                    if candidate > best:
                        best, where = candidate, LOWER_RIGHT
                    pooled[n, i, j, c] = best
                    place[n, i, j, c] = where


@numba.njit(nogil=True, cache=True)
def max_unpool(gradient, place, maps_gradient, start, stop):
    """Send each gradient to where its window's maximum stood, 0 to everything else, for the maps `start` to `stop`.

    Parameters
    ----------
    gradient : float32 [N, h, w, C]
    place : uint8 [N, h, w, C]
        From `max_pool`.
    maps_gradient : float32 [N, H, W, C]
        Is written.
    start, stop : int
    """
    _, height, width, channels = gradient.shape
    zero = np.float32(0)
    for n in range(start, stop):
        maps_gradient[n, 2 * height :] = zero
        maps_gradient[n, :, 2 * width :] = zero
        for i in range(height):
            for j in range(width):
                for c in range(channels):
                    value, where = gradient[n, i, j, c], place[n, i, j, c]
                    maps_gradient[n, 2 * i, 2 * j, c] = value if where == 0 else zero
                    maps_gradient[n, 2 * i, 2 * j + 1, c] = value if where == UPPER_RIGHT else zero
                    maps_gradient[n, 2 * i + 1, 2 * j, c] = value if where == LOWER_LEFT else zero
                    maps_gradient[n, 2 * i + 1, 2 * j + 1, c] = value if where == LOWER_RIGHT else zero
