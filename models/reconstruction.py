"""Examples given back as they were: loss for training, and all that is measured afterwards."""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.metrics import Score
from models.training_config import TrainingConfig


class Reconstruction(NamedTuple):
    """What a network puts out that gives back what it is given.

    Attributes
    ----------
    values : Tensor [B, ...]
    wanted : Tensor [B, ...]
        What they are to be, in the same units: the features as the network scales them, 0 to 1.
    """

    values: Tensor
    wanted: Tensor


class Reconstructing:
    """What a reconstructing network is trained for: the smallest squared error, mean over all values (Wu et al. 2021, section 6.3.1)."""

    @classmethod
    def of(cls, training: TrainingConfig, network: nn.Module) -> "Reconstructing":
        """Task, the same whatever the settings and the network."""
        return cls()

    def loss(self, output: Reconstruction, targets: dict[str, Tensor]) -> Tensor:
        """Loss of a batch, its mean over the examples; what is wanted is a part of the output, so `targets` are not looked at."""
        return F.mse_loss(output.values, output.wanted)

    def scores(self, output: Reconstruction, targets: dict[str, Tensor]) -> dict[str, Score]:
        """Mean squared error of a batch."""
        return {"mse": Score(self.loss(output, targets), len(output.values))}

    def tally(self, classes: tuple[str, ...]) -> "ReconstructionTally":
        """Begin to add up what is measured over a split."""
        return ReconstructionTally()


class ReconstructionTally:
    """Adds up, batch by batch, how far a network's answers are from what it was given."""

    def __init__(self) -> None:
        self._errors: list[Tensor] = []
        self._sum: Tensor | float = 0.0
        self._squares: Tensor | float = 0.0

    def add(self, output: Reconstruction, targets: dict[str, Tensor]) -> None:
        """Add a batch."""
        values, wanted = (part.detach().flatten(1).double().cpu() for part in output)
        self._errors.append((values - wanted).square().mean(1))
        self._sum = self._sum + wanted.sum(0)
        self._squares = self._squares + wanted.square().sum(0)

    @property
    def examples(self) -> int:
        """How many there were."""
        return sum(map(len, self._errors))

    def summary(self) -> dict[str, Any]:
        """Describe the errors.

        Returns
        -------
        dict
            ``examples``; ``mse``: squared error, mean over values and examples; ``loss``: the same; ``mse_of_mean``: that of answering with the
            mean of the split's examples whatever is given, which a network must stay below to have learned anything of single examples.
        """
        mse = torch.cat(self._errors).mean().item()
        mean = self._sum / self.examples
        return {"examples": self.examples, "mse": mse, "loss": mse, "mse_of_mean": (self._squares / self.examples - mean.square()).mean().item()}

    def predictions(self) -> dict[str, list]:
        """Give the squared error of each example, mean over its values."""
        return {"mse": torch.cat(self._errors).tolist()}
