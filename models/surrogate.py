"""Surrogate gradients: smooth stand-ins for the derivative of the spike function.

A spike is a step, s = 1[x > 0] with x = membrane potential - threshold; its derivative is zero almost everywhere, so
nothing could be learned through it. In the backward pass (and only there) the derivative is replaced by one of the
bumps below (Neftci, Mostafa & Zenke, 2019). Each has a name and one scale; the default scales are those of snnTorch,
and Liu et al. (2022) for `rectangular`.

| name           | scale   | default | gradient g(x)                    | smoothed step S(x), g = dS/dx         |
|----------------|---------|---------|----------------------------------|---------------------------------------|
| `arctan`       | alpha   | 2       | alpha/2 / (1 + (pi/2 alpha x)^2) | atan(pi/2 alpha x)/pi + 1/2           |
| `fast_sigmoid` | slope k | 25      | 1 / (1 + k |x|)^2                | x / (1 + k |x|) + 1/k                 |
| `sigmoid`      | slope k | 25      | k e^(-kx) / (1 + e^(-kx))^2      | 1 / (1 + e^(-kx))                     |
| `rectangular`  | width a | 1       | 1/a where |x| < a/2, else 0      | clip(x/a + 1/2, 0, 1)                 |
| `triangular`   | width w | 1       | y/w with y = max(0, 1 - |x|/w)   | 1/2 + sign(x) (1 - y^2)/2             |

Sources: `arctan` Fang et al. (2021), and with alpha 2 SpikSLC-Net (2023, Eq. 23); `fast_sigmoid` and `sigmoid` Zenke
& Ganguli (2018); `rectangular` Wu et al. (2018) and Liu et al. (2022, Eq. 9); `triangular` Esser et al. (2016) and
Bellec et al. (2018). The step of `fast_sigmoid` rises by 2/k, not by 1: its gradient is 1 at the threshold whatever
the slope.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from audiodata.errors import AudioDataError

# The kernels know a surrogate by its place in this tuple.
NAMES = ("arctan", "fast_sigmoid", "sigmoid", "rectangular", "triangular")


@dataclass(frozen=True)
class Surrogate:
    """One surrogate gradient: which formula, and its scale.

    Parameters
    ----------
    name : str
        A key of `SURROGATES`.
    scale : float
        The formula's only parameter (see the table at the top of this module); larger than 0.

    Raises
    ------
    AudioDataError
        For an unknown name or a scale that is not a positive number.
    """

    name: str
    scale: float

    def __post_init__(self):
        if self.name not in NAMES:
            raise AudioDataError(f"surrogate: expected one of {', '.join(NAMES)}, got {self.name!r}")
        if not (math.isfinite(self.scale) and self.scale > 0):
            raise AudioDataError(f"surrogate {self.name}: expected a scale above 0, got {self.scale}")

    @property
    def code(self) -> int:
        """The number by which compiled code knows the formula."""
        return NAMES.index(self.name)

    def gradient(self, x: Tensor) -> Tensor:
        """Value of g at `x` = membrane potential - threshold; same shape."""
        return _GRADIENTS[self.name](x, self.scale)

    def smooth_step(self, x: Tensor) -> Tensor:
        """Value of S at `x`, whose derivative is `gradient`; same shape."""
        return _STEPS[self.name](x, self.scale)


def arctan(alpha: float = 2.0) -> Surrogate:
    """Arctangent surrogate (Fang et al. 2021); with alpha 2 it is Eq. 23 of SpikSLC-Net (2023)."""
    return Surrogate("arctan", float(alpha))


def fast_sigmoid(slope: float = 25.0) -> Surrogate:
    """Fast-sigmoid surrogate (Zenke & Ganguli 2018)."""
    return Surrogate("fast_sigmoid", float(slope))


def sigmoid(slope: float = 25.0) -> Surrogate:
    """Logistic surrogate (Zenke & Ganguli 2018)."""
    return Surrogate("sigmoid", float(slope))


def rectangular(width: float = 1.0) -> Surrogate:
    """Rectangular window (Wu et al. 2018; Liu et al. 2022, Eq. 9, a = width)."""
    return Surrogate("rectangular", float(width))


def triangular(width: float = 1.0) -> Surrogate:
    """Triangle that reaches 0 at `width` from the threshold (Esser et al. 2016; Bellec et al. 2018)."""
    return Surrogate("triangular", float(width))


SURROGATES: dict[str, Callable[..., Surrogate]] = {
    "arctan": arctan,
    "fast_sigmoid": fast_sigmoid,
    "sigmoid": sigmoid,
    "rectangular": rectangular,
    "triangular": triangular,
}


def as_surrogate(surrogate: str | Surrogate) -> Surrogate:
    """Surrogate of that name with its default scale; a `Surrogate` passes through."""
    if isinstance(surrogate, Surrogate):
        return surrogate
    if surrogate not in SURROGATES:
        raise AudioDataError(f"surrogate: expected one of {', '.join(SURROGATES)}, got {surrogate!r}")
    return SURROGATES[surrogate]()


def spike(x: Tensor, surrogate: str | Surrogate = "arctan", strict: bool = True) -> Tensor:
    """Step forward, surrogate gradient backward.

    Parameters
    ----------
    x : Tensor
        Membrane potential - threshold, any shape.
    surrogate : str or Surrogate
        Formula of the backward pass.
    strict : bool
        1 where x > 0; otherwise 1 where x >= 0.

    Returns
    -------
    Tensor
        0 and 1 in the shape and type of `x`.
    """
    return _Spike.apply(x, as_surrogate(surrogate), strict)


class _Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, surrogate, strict):
        ctx.save_for_backward(x)
        ctx.surrogate = surrogate
        return (x > 0 if strict else x >= 0).to(x.dtype)

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return gradient * ctx.surrogate.gradient(x), None, None


def _arctan_gradient(x: Tensor, alpha: float) -> Tensor:
    return alpha / 2 / (1 + (math.pi / 2 * alpha * x) ** 2)


def _arctan_step(x: Tensor, alpha: float) -> Tensor:
    return torch.atan(math.pi / 2 * alpha * x) / math.pi + 0.5


def _fast_sigmoid_gradient(x: Tensor, slope: float) -> Tensor:
    return 1 / (1 + slope * x.abs()) ** 2


def _fast_sigmoid_step(x: Tensor, slope: float) -> Tensor:
    return x / (1 + slope * x.abs()) + 1 / slope


def _sigmoid_gradient(x: Tensor, slope: float) -> Tensor:
    # g is even; the exponential of -|kx| can't overflow.
    tail = torch.exp(-slope * x.abs())
    return slope * tail / (1 + tail) ** 2


def _sigmoid_step(x: Tensor, slope: float) -> Tensor:
    return torch.sigmoid(slope * x)


def _rectangular_gradient(x: Tensor, width: float) -> Tensor:
    return (x.abs() < width / 2).to(x.dtype) / width


def _rectangular_step(x: Tensor, width: float) -> Tensor:
    return (x / width + 0.5).clamp(0, 1)


def _triangular_gradient(x: Tensor, width: float) -> Tensor:
    return (1 - x.abs() / width).clamp(min=0) / width


def _triangular_step(x: Tensor, width: float) -> Tensor:
    y = (1 - x.abs() / width).clamp(min=0)
    return 0.5 + x.sign() * (1 - y * y) / 2


_GRADIENTS = {
    "arctan": _arctan_gradient,
    "fast_sigmoid": _fast_sigmoid_gradient,
    "sigmoid": _sigmoid_gradient,
    "rectangular": _rectangular_gradient,
    "triangular": _triangular_gradient,
}
_STEPS = {
    "arctan": _arctan_step,
    "fast_sigmoid": _fast_sigmoid_step,
    "sigmoid": _sigmoid_step,
    "rectangular": _rectangular_step,
    "triangular": _triangular_step,
}
