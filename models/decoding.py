"""From the output neurons' spikes to one class per example (Courregé and Gandeel 2024, section 2.1.3)."""

from collections.abc import Callable

import torch
from torch import Tensor


def by_rate(spikes: Tensor, potentials: Tensor | None = None) -> Tensor:
    """Class whose neuron fired most often.

    Parameters
    ----------
    spikes : Tensor [T, B, C]
    potentials : Tensor [T, B, C], optional
        Membrane potentials. Of several neurons with the same number of spikes, the one with the highest potential after the last step
        is taken: it is nearest to one more spike. Without potentials, or if these are equal too, the one with the lowest index.

    Returns
    -------
    Tensor [B]
        int64.
    """
    counts = spikes.sum(0)
    last = torch.zeros_like(counts) if potentials is None else potentials[-1]
    return _best_of(last, counts == counts.amax(-1, keepdim=True))


def by_first_spike(spikes: Tensor, potentials: Tensor | None = None) -> Tensor:
    """Class whose neuron fired first.

    Of several that fired first at the same step, the one with the highest membrane potential at that step is taken; if none fired at
    all, the one with the highest potential at any step; else the one with the lowest index. Shapes as in `by_rate`.
    """
    time_steps = len(spikes)
    fired = spikes > 0
    times = torch.where(fired.any(0), fired.to(torch.uint8).argmax(0), time_steps)
    first = times.amin(-1, keepdim=True)
    if potentials is None:
        return _best_of(torch.zeros_like(spikes[0]), times == first)
    then = potentials.gather(0, first.clamp(max=time_steps - 1).expand_as(times).unsqueeze(0)).squeeze(0)
    return _best_of(torch.where(first < time_steps, then, potentials.amax(0)), times == first)


def _best_of(values: Tensor, candidates: Tensor) -> Tensor:
    """Index along the last axis of the highest value among `candidates`, the first of equal ones."""
    allowed = values.masked_fill(~candidates, float("-inf"))
    # A value that is not finite must not hide every candidate: then the first candidate is taken.
    best = candidates & (allowed == allowed.amax(-1, keepdim=True))
    return torch.where(best.any(-1, keepdim=True), best, candidates).to(torch.uint8).argmax(-1)


DECODINGS: dict[str, Callable[[Tensor, Tensor | None], Tensor]] = {"rate": by_rate, "first_spike": by_first_spike}
