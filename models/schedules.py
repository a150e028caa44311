"""Courses of the learning rate, as the share of its first value in each epoch."""

import math
from collections.abc import Callable


def constant(_epoch: int, _epochs: int) -> float:
    """Return the whole rate in every epoch."""
    return 1.0


def cosine(epoch: int, epochs: int) -> float:
    """Fall from 1 along half a cosine to nearly 0 in the last epoch (Loshchilov & Hutter 2017, without restarts).

    Examples
    --------
    >>> [round(cosine(epoch, 4), 3) for epoch in range(4)]
    [1.0, 0.854, 0.5, 0.146]
    """
    return 0.5 * (1 + math.cos(math.pi * min(epoch, epochs) / epochs))


SCHEDULES: dict[str, Callable[[int, int], float]] = {"constant": constant, "cosine": cosine}
