"""What arrives at the stage in training: the layers before it are frozen, so the same example always sends the same spikes.

They are computed once a stage and held, one bit for each neuron and time step. Where they would take more memory than allowed, or where
examples change from epoch to epoch, they are computed anew for each batch; the results are the same.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

BITS = 8


class HeldSpikes:
    """Spikes of one layer for many examples, packed.

    Parameters
    ----------
    time_steps : int
    examples : int
    shape : tuple of int
        Of the layer, without time steps and examples.

    Examples
    --------
    >>> held = HeldSpikes(2, 10, (3,))
    >>> held.put([4, 7], torch.tensor([[[1.0, 0, 1], [0, 0, 0]], [[0, 0, 1], [0, 1, 0]]]))
    >>> held.take([7]).tolist()
    [[[0.0, 0.0, 0.0]], [[0.0, 1.0, 0.0]]]
    """

    def __init__(self, time_steps: int, examples: int, shape: Sequence[int]):
        self.shape = tuple(shape)
        self.neurons = int(np.prod(shape))
        self._packed = np.empty((time_steps, examples, row_bytes(self.neurons)), dtype=np.uint8)

    @property
    def bytes(self) -> int:
        """Memory that they take."""
        return self._packed.nbytes

    def put(self, positions: Sequence[int], spikes: Tensor) -> None:
        """Keep spikes ``[T, B, ...]`` of the examples at some positions."""
        self._packed[:, list(positions)] = np.packbits(spikes.flatten(2).bool().cpu().numpy(), axis=-1)

    def take(self, positions: Sequence[int], device: torch.device | str = "cpu") -> Tensor:
        """Give the spikes ``[T, B, ...]`` of the examples at some positions."""
        bits = np.unpackbits(self._packed[:, list(positions)], axis=-1, count=self.neurons)
        return torch.from_numpy(bits).to(device).float().unflatten(2, self.shape)


def row_bytes(neurons: int) -> int:
    """Bytes that one time step of one example takes."""
    return -(-neurons // BITS)


def hold(run: Callable[[Sequence[int]], Tensor], examples: int, batch_size: int, limit: int) -> HeldSpikes | None:
    """Compute the spikes of all examples, unless they take too much memory.

    Parameters
    ----------
    run : callable
        From positions to spikes ``[T, B, ...]``.
    examples : int
        How many there are.
    batch_size : int
        Examples that are run together.
    limit : int
        Bytes that may be held.

    Returns
    -------
    HeldSpikes or None
        None where they take more than that.
    """
    held = None
    for first in range(0, examples, batch_size):
        positions = range(first, min(first + batch_size, examples))
        spikes = run(positions)
        if held is None:
            time_steps, _, *shape = spikes.shape
            if time_steps * examples * row_bytes(int(np.prod(shape))) > limit:
                return None
            held = HeldSpikes(time_steps, examples, shape)
        held.put(positions, spikes)
    return held
