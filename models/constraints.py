"""What hardware asks of weights: few bits, few connections that lead to a neuron. Pure functions of the full-precision values."""

from pydantic import Field
from torch import Tensor

from audiodata.settings import Settings


class Constraints(Settings):
    """Constraints on weights (Wu et al. 2021, section 4.3).

    ``weight_bits``: of weights and biases, None for full precision. ``fan_in``: how many connections may lead to one neuron, None for no limit.
    """

    weight_bits: int | None = Field(default=None, ge=2, le=16)
    fan_in: int | None = Field(default=None, ge=1)

    @property
    def any(self) -> bool:
        """Whether there is one."""
        return self.weight_bits is not None or self.fan_in is not None

    def constrained(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """Weights and bias as the hardware can hold them."""
        if self.fan_in is not None:
            weight = limit_fan_in(weight, self.fan_in)
        if self.weight_bits is not None:
            weight, bias = quantise(weight, self.weight_bits), quantise(bias, self.weight_bits)
        return weight, bias


def quantise(values: Tensor, bits: int) -> Tensor:
    """Round values to ``2 ** bits - 1`` levels, symmetric around 0, the largest of which is their largest magnitude.

    The rounding of Wu et al. (2021, Eq. 8), for values of either sign; one scale for the whole tensor.

    Parameters
    ----------
    values : Tensor
    bits : int
        2 or more, the sign's included.

    Examples
    --------
    >>> import torch
    >>> quantise(torch.tensor([-1.0, -0.2, 0.0, 0.3, 1.0]), 3).mul(3).tolist()
    [-3.0, -1.0, 0.0, 1.0, 3.0]
    """
    levels = 2 ** (bits - 1) - 1
    largest = values.abs().max() if values.numel() else values.sum()
    if largest == 0:
        return values.clone()
    # first the largest, then the levels: of very small values the step between levels may be no number above 0
    return (values / largest * levels).round() * (largest / levels)


def limit_fan_in(weight: Tensor, most: int) -> Tensor:
    """Set to 0 all but the weights of the largest magnitude that lead to each neuron.

    Parameters
    ----------
    weight : Tensor [neuron or output channel, ...]
        All axes but the first lead to one neuron.
    most : int
        How many may stay; of equal ones the first.
    """
    flat = weight.flatten(1)
    if most >= flat.shape[1]:
        return weight.clone()
    magnitude = flat.abs()
    least = magnitude.kthvalue(flat.shape[1] - most + 1, dim=1, keepdim=True).values
    above, equal = magnitude > least, magnitude == least
    kept = above | (equal & (equal.cumsum(1) <= most - above.sum(1, keepdim=True)))
    return (flat * kept).view_as(weight)
