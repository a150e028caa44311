"""What a network of event recordings puts out: spikes that vote for classes, its own and those of its senses."""

from typing import NamedTuple

from torch import Tensor

# Names of the two senses, in the order of the attention's last axis.
SENSES = ("visual", "auditory")


class Votes(NamedTuple):
    """Spikes that vote for classes, one neuron a class.

    Attributes
    ----------
    answer : Tensor [T, B, C]
        Spikes of the network's output neurons, 0 or 1.
    visual, auditory : Tensor [T, B, C], optional
        Spikes of the output neurons of the sub-networks for one sense each; none in a network of a single sense, whose answer they are.
    attention : Tensor [T, B, 2], optional
        Weights of the visual and of the auditory sense; none in a network without attention.
    """

    answer: Tensor
    visual: Tensor | None = None
    auditory: Tensor | None = None
    attention: Tensor | None = None

    @property
    def senses(self) -> dict[str, Tensor]:
        """Spikes of the sub-networks that there are, by sense."""
        return {name: spikes for name in SENSES if (spikes := getattr(self, name)) is not None}
