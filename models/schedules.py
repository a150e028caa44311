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


def step(epoch: int, epochs: int) -> float:
    """Keep the rate for the first half of the epochs, and a tenth of it after (Wu et al. 2021, section 5.1).

    Examples
    --------
    >>> [step(epoch, 4) for epoch in range(4)]
    [1.0, 1.0, 0.1, 0.1]
    """
    return 1.0 if 2 * epoch < epochs else 0.1


SCHEDULES: dict[str, Callable[[int, int], float]] = {"constant": constant, "cosine": cosine, "step": step}
