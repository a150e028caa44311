"""One class per example, by the votes of output neurons over time: loss and decoding for training, and all that is measured afterwards."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.decoding import by_rate
from models.metrics import Score, class_summary, confusion_matrix
from models.training_config import VotingTraining
from models.votes import SENSES, Votes


def vote_error(spikes: Tensor, labels: Tensor) -> Tensor:
    """Squared distance between the mean vote over time and the right one, mean over the examples (Liu et al. 2022, Eq. 7).

    Parameters
    ----------
    spikes : Tensor [T, B, C]
    labels : Tensor [B]
        int64 class indices.
    """
    wanted = F.one_hot(labels, spikes.shape[-1]).to(spikes.dtype)
    return (wanted - spikes.mean(0)).square().sum(-1).mean()


class Voting:
    """What a voting network is trained for: the right neuron fires at every time step, the others never, in each of its parts.

    Parameters
    ----------
    answer_weight, visual_weight, auditory_weight : float
        Of the losses of the network's own votes and of those of its sub-networks; all 1 in Eq. 6.
    """

    def __init__(self, answer_weight: float = 1.0, visual_weight: float = 1.0, auditory_weight: float = 1.0):
        self.weights = {"answer": answer_weight, "visual": visual_weight, "auditory": auditory_weight}

    @classmethod
    def of(cls, training: VotingTraining, network: nn.Module) -> "Voting":
        """Task that some settings describe, whatever the network."""
        return cls(training.answer_weight, training.visual_weight, training.auditory_weight)

    def loss(self, output: Votes, targets: dict[str, Tensor]) -> Tensor:
        """Loss of a batch, its mean over the examples: the weighted errors of all votes that there are (Liu et al. 2022, Eq. 6)."""
        votes = {"answer": output.answer} | output.senses
        return sum(self.weights[name] * vote_error(spikes, targets["label"]) for name, spikes in votes.items())

    def scores(self, output: Votes, targets: dict[str, Tensor]) -> dict[str, Score]:
        """Share of a batch that is right: of the network, and of each sub-network."""
        named = {"accuracy": output.answer} | {f"{sense}_accuracy": spikes for sense, spikes in output.senses.items()}
        label = targets["label"]
        return {name: Score((by_rate(spikes) == label).float().mean(), len(label)) for name, spikes in named.items()}

    def predict(self, output: Votes) -> Tensor:
        """Class of each example, int64 ``[B]``: that with the most votes, of equally many the one with the lowest index."""
        return by_rate(output.answer)

    def tally(self, classes: tuple[str, ...]) -> "VotingTally":
        """Begin to add up what is measured over a split."""
        return VotingTally(self, classes)


class VotingTally:
    """Adds up, batch by batch, what a voting network gets right and wrong.

    Parameters
    ----------
    task : Voting
    classes : tuple of str

    Attributes
    ----------
    found : dict of str to list of Tensor [B]
        Batch by batch: ``label``, ``predicted_label``, and ``predicted_visual`` and ``predicted_auditory`` where there are sub-networks.
    """

    def __init__(self, task: Voting, classes: tuple[str, ...]):
        self.task = task
        self.classes = classes
        self.found: dict[str, list[Tensor]] = {"label": [], "predicted_label": []}
        self._silent: list[Tensor] = []
        self._tied: list[Tensor] = []
        self._attention: list[Tensor] = []
        self._loss = 0.0

    def add(self, output: Votes, targets: dict[str, Tensor]) -> None:
        """Add a batch."""
        named = {"label": targets["label"], "predicted_label": self.task.predict(output)}
        named |= {f"predicted_{sense}": by_rate(spikes) for sense, spikes in output.senses.items()}
        for name, values in named.items():
            self.found.setdefault(name, []).append(values.cpu())
        self._loss += self.task.loss(output, targets).item() * len(targets["label"])
        self._count_doubts(output.answer.sum(0))
        if output.attention is not None:
            self._attention.append(output.attention.mean(0).cpu())

    @property
    def examples(self) -> int:
        """How many there were."""
        return sum(map(len, self.found["label"]))

    def summary(self) -> dict[str, Any]:
        """Describe right and wrong answers.

        Returns
        -------
        dict
            As for a classifying network, and ``senses``: accuracy of each sub-network, by sense; ``silent``: share of the examples for which no
            output neuron fires, so that the first class is taken; ``tied``: share of them for which several fire equally often, and most often;
            ``attention``: mean weight of each sense, none for a network without.
        """
        label, predicted = self.indices("label"), self.indices("predicted_label")
        matrix = confusion_matrix(label, predicted, len(self.classes))
        found = {"examples": self.examples} | class_summary(matrix, self.classes, self._loss / max(self.examples, 1))
        senses = [sense for sense in SENSES if f"predicted_{sense}" in self.found]
        found["senses"] = {sense: (self.indices(f"predicted_{sense}") == label).double().mean().item() for sense in senses}
        found |= {name: torch.cat(values).double().mean().item() for name, values in (("silent", self._silent), ("tied", self._tied))}
        weights = torch.cat(self._attention).double().mean(0).tolist() if self._attention else None
        return found | {"attention": weights and dict(zip(SENSES, weights, strict=True))}

    def predictions(self) -> dict[str, list]:
        """Give truth and answers for each example, as names of classes."""
        return {name: [self.classes[index] for index in self.indices(name).tolist()] for name in self.found}

    def indices(self, name: str) -> Tensor:
        """Class indices of all examples so far, by their name in `found`."""
        return torch.cat(self.found[name])

    def _count_doubts(self, counts: Tensor) -> None:
        most = counts.amax(-1)
        self._silent.append((most == 0).cpu())
        self._tied.append(((counts == most.unsqueeze(-1)).sum(-1) > 1).logical_and(most > 0).cpu())
