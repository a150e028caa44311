"""When a stage of progressive training ends: after so many epochs in a row without a better value (Wu et al. 2021, Algorithm 1)."""

import math
from typing import Any, Literal

Verdict = Literal["better", "worse", "end of stage"]


class Patience:
    """The adaptive scheduler of one stage.

    A value that equals the best one is not better. The paper's text counts epochs from 0, its Algorithm 1 from 1; both come to the same, since
    the first epoch of a stage is always better than nothing, but for a period of 1, with which the algorithm would not train at all.

    Parameters
    ----------
    period : int
        T_p, epochs without a better value until the stage ends.
    better : str
        Which values are better, "lower" (losses) or "higher" (shares of right answers).

    Attributes
    ----------
    best : float
        Best value so far, infinitely bad at first.
    bad_epochs : int
        Epochs since then.

    Examples
    --------
    >>> patience = Patience(2)
    >>> [patience.update(loss) for loss in (0.5, 0.6, 0.4, 0.4, 0.7)]
    ['better', 'worse', 'better', 'worse', 'end of stage']
    """

    def __init__(self, period: int, better: Literal["lower", "higher"] = "lower"):
        self.period = period
        self.better = better
        self.best = math.inf if better == "lower" else -math.inf
        self.bad_epochs = 0

    @property
    def ended(self) -> bool:
        """Whether the stage has ended."""
        return self.bad_epochs >= self.period

    def update(self, value: float) -> Verdict:
        """Take the value of one more epoch; one that is not a number is worse than any."""
        if value < self.best if self.better == "lower" else value > self.best:
            self.best, self.bad_epochs = value, 0
            return "better"
        self.bad_epochs += 1
        return "end of stage" if self.ended else "worse"

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"best": self.best, "bad_epochs": self.bad_epochs}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what a checkpoint kept."""
        self.best, self.bad_epochs = state["best"], state["bad_epochs"]
