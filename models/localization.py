"""Where it is and what it is, one direction and one class per example: loss and decoding for training, and all that is measured afterwards."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from models.located import Located, circular_distance_deg, decode_azimuth
from models.losses import azimuth_error, class_error
from models.metrics import Score, class_summary, confusion_matrix
from models.training_config import LocalizationTraining

# Edges of the histogram of errors, in degrees.
ERROR_EDGES_DEG = np.arange(0, 181, 5)


class Localization:
    """What a localizing network is trained for.

    Parameters
    ----------
    doa_weight : float
        Share of the direction's loss in the whole one (SpikSLC-Net, Eq. 19). At 1 classes are neither learned nor measured, at 0 directions.
    sigma_deg : float
        Width of the curve that the outputs are to follow.
    over : str
        "mean" or "sum", see `models.losses.azimuth_error`.
    tolerance_deg : tuple of float
        Errors below which a direction counts as right; the scores while training take the first.
    """

    def __init__(self, doa_weight: float = 0.99, sigma_deg: float = 5.0, over: str = "mean", tolerance_deg: tuple[float, ...] = (2.5, 5.0)):
        self.doa_weight = doa_weight
        self.sigma_deg = sigma_deg
        self.over = over
        self.tolerance_deg = tolerance_deg

    @classmethod
    def of(cls, training: LocalizationTraining, network: nn.Module) -> "Localization":
        """Task that some settings describe; of a network that says it classifies not, the direction alone."""
        weight = training.doa_weight if getattr(network, "classifies", True) else 1.0
        return cls(weight, training.sigma_deg, training.doa_error, training.tolerance_deg)

    def loss(self, output: Located, targets: dict[str, Tensor]) -> Tensor:
        """Loss of a batch: weighted errors of direction and class, each its mean over the examples that have one."""
        azimuth = azimuth_error(output.azimuth, targets["azimuth_deg"], self.sigma_deg, self.over)
        return self.doa_weight * azimuth + (1 - self.doa_weight) * class_error(output.label, targets["label"])

    def scores(self, output: Located, targets: dict[str, Tensor]) -> dict[str, Score]:
        """Mean error in degrees, share of right directions and share of right classes of a batch, whatever of it is learned."""
        errors = circular_distance_deg(decode_azimuth(output.azimuth), targets["azimuth_deg"])
        errors = errors[~errors.isnan()]
        labelled = targets["label"] >= 0
        right = (output.label.argmax(-1) == targets["label"])[labelled]
        found = {"mae": errors, "doa_accuracy": (errors < self.tolerance_deg[0]).float()} if self.doa_weight > 0 else {}
        found |= {"accuracy": right.float()} if self.doa_weight < 1 else {}
        return {name: Score(values.mean(), len(values)) for name, values in found.items() if len(values)}

    def tally(self, classes: tuple[str, ...]) -> "LocalizationTally":
        """Begin to add up what is measured over a split."""
        return LocalizationTally(self, classes)


class LocalizationTally:
    """Adds up, batch by batch, what a localizing network gets right and wrong.

    Parameters
    ----------
    task : Localization
    classes : tuple of str
    """

    def __init__(self, task: Localization, classes: tuple[str, ...]):
        self.task = task
        self.classes = classes
        self._found: dict[str, list[Tensor]] = {name: [] for name in ("azimuth_deg", "predicted_deg", "label", "predicted_label")}
        self._errors = {"azimuth": 0.0, "class": 0.0}

    def add(self, output: Located, targets: dict[str, Tensor]) -> None:
        """Add a batch."""
        azimuth, label = targets["azimuth_deg"], targets["label"]
        parts = (azimuth, decode_azimuth(output.azimuth), label, output.label.argmax(-1))
        for values, part in zip(self._found.values(), parts, strict=True):
            values.append(part.cpu())
        located, labelled = int((~azimuth.isnan()).sum()), int((label >= 0).sum())
        self._errors["azimuth"] += azimuth_error(output.azimuth, azimuth, self.task.sigma_deg, self.task.over).item() * located
        self._errors["class"] += class_error(output.label, label).item() * labelled

    @property
    def examples(self) -> int:
        """How many there were."""
        return sum(map(len, self._found["label"]))

    def summary(self) -> dict[str, Any]:
        """Describe right and wrong answers: classes as for a classifying network, directions under ``doa``; what is not learned is None."""
        azimuth, predicted, label, predicted_label = (torch.cat(values) for values in self._found.values())
        known = label >= 0
        matrix = confusion_matrix(label[known], predicted_label[known], len(self.classes))
        classified, located = self.task.doa_weight < 1 and bool(known.any()), self.task.doa_weight > 0
        found = {"examples": self.examples} | class_summary(matrix, self.classes, self._loss(azimuth, known))
        if not classified:
            found |= dict.fromkeys(("accuracy", "recall", "confusion_matrix"))
        return found | {"doa": score(azimuth.numpy(), predicted.numpy(), self.task.tolerance_deg) if located else None}

    def predictions(self) -> dict[str, list]:
        """Give truth and answer for each example: azimuths in degrees (NaN for none) and names of classes (empty for none)."""
        azimuth, predicted, label, predicted_label = (torch.cat(values).tolist() for values in self._found.values())
        names = (*self.classes, "")  # -1 is the last one
        return {
            "azimuth_deg": azimuth,
            "predicted_azimuth_deg": predicted,
            "label": [names[index] for index in label],
            "predicted_label": [names[index] for index in predicted_label],
        }

    def _loss(self, azimuth: Tensor, labelled: Tensor) -> float:
        direction = self._errors["azimuth"] / max(int((~azimuth.isnan()).sum()), 1)
        named = self._errors["class"] / max(int(labelled.sum()), 1)
        return self.task.doa_weight * direction + (1 - self.task.doa_weight) * named


def score(azimuth_deg: np.ndarray, predicted_deg: np.ndarray, tolerance_deg: tuple[float, ...] = (2.5, 5.0)) -> dict[str, Any]:
    """Describe errors of directions, measured along the circle (SpikSLC-Net, Eq. 20).

    Parameters
    ----------
    azimuth_deg : array [example]
        True directions; NaN for an example without one, which is passed over.
    predicted_deg : array [example]
    tolerance_deg : tuple of float
        A direction is right if it is off by less than this.

    Returns
    -------
    dict
        ``examples`` (with a direction), ``mae_deg``, ``median_deg``, ``accuracy`` (share by tolerance), ``histogram`` (``edges_deg`` and
        ``counts``, the last bin with both its edges). Means are None without examples.

    Examples
    --------
    >>> score(np.array([359.0, 90.0]), np.array([1.0, 96.0]))["mae_deg"]
    4.0
    """
    errors = circular_distance_deg(torch.as_tensor(azimuth_deg).double(), torch.as_tensor(predicted_deg).double()).numpy()
    errors = errors[~np.isnan(errors)]
    some = len(errors) > 0
    return {
        "examples": len(errors),
        "mae_deg": float(errors.mean()) if some else None,
        "median_deg": float(np.median(errors)) if some else None,
        "accuracy": {f"{tolerance:g}": float((errors < tolerance).mean()) if some else None for tolerance in tolerance_deg},
        "histogram": {"edges_deg": ERROR_EDGES_DEG.tolist(), "counts": np.histogram(errors, ERROR_EDGES_DEG)[0].tolist()},
    }
