"""What the networks on event recordings share: their neurons' settings and the weights that they start with.

The rectangular surrogate gradient is 0 where a potential is further from the threshold than half its width: a layer that is silent at the start has
neither spikes to send on nor a gradient that would wake it, and never learns. PyTorch's own initial weights leave networks on sparse events that
way, since they count on all inputs being about 1. `start_weights` counts on a share p of them being 1: a sum of n inputs of which each is 1 with
probability p, with independent weights of mean 0 and variance v, has the variance n p v. With v = v_th^2 / (n p) the current's deviation
is the threshold, and about one neuron in six fires at its first step.
"""

from pydantic import Field
from torch import nn

from audiodata.settings import Settings
from models.neurons import LIF
from models.surrogate import rectangular


class StbpConfig(Settings):
    """Neurons of spatio-temporal backpropagation (Wu et al. 2018) as Liu et al. (2022, section 3.2) set them, and how the weights start.

    ``decay``: share of the membrane potential left after a step. ``threshold``: potential from which on a neuron fires. ``surrogate_width``: a of
    the surrogate gradient 1/a where abs(u - v_th) < a/2 (Eq. 9). ``expected_activity``: the share of a layer's inputs that fire in a time step,
    on which the weights at the start count (`start_weights`).
    """

    decay: float = Field(default=0.2, ge=0.0, le=1.0)
    threshold: float = Field(default=0.5, gt=0.0)
    surrogate_width: float = Field(default=1.0, gt=0.0)
    expected_activity: float = Field(default=0.05, gt=0.0, le=1.0)

    def neuron(self) -> LIF:
        """Make one layer of these neurons."""
        return LIF.stbp(self.decay, threshold=self.threshold, surrogate=rectangular(self.surrogate_width))

    def start(self, *layers: nn.Linear | nn.Conv2d) -> None:
        """Give layers whose current goes to these neurons the weights of `start_weights`."""
        for layer in layers:
            start_weights(layer, self.threshold, self.expected_activity)


def start_weights(layer: nn.Linear | nn.Conv2d, threshold: float, activity: float) -> None:
    """Draw weights of mean 0 and variance ``threshold^2 / (inputs x activity)``, evenly distributed, and set the bias to 0.

    Parameters
    ----------
    layer : Linear or Conv2d
    threshold : float
        Of the neurons that take the current.
    activity : float
        Share of the inputs that are 1 in a time step.
    """
    inputs = layer.weight[0].numel()
    bound = threshold * (3 / (inputs * activity)) ** 0.5  # an even distribution over -bound to bound has the variance bound^2 / 3
    nn.init.uniform_(layer.weight, -bound, bound)
    nn.init.zeros_(layer.bias)
