"""Normalisation of token vectors, and how it disappears into the layers beside it once a network is trained.

Decoupled spiking layer normalization (DSLN; SpikSLC-Net 2023, section 4.3) is a layer norm whose mean belongs to each token and time step and
whose variance does not: while training it is pooled over all time steps and tokens, afterwards it is one stored number. What is left is
affine, and an affine map is no layer of its own beside a dense one:

    DSLN(x) = A C x + beta,  A = diag(gamma / sqrt(variance + eps)),  C = I - 1 1^T / n                                (Eq. 14, 15)
    DSLN(W o + b) = (A C W) o + (A C b + beta)        folded into the layer before it                                  (Eq. 15)
    W DSLN(x) + b = (W A C) x + (W beta + b)          folded into the layer after it, where the order is that of Eq. 12

Taking the mean off is part of the matrix. The other normalisations of Table 4 stand here as well, under their names in `NORMS`.

Tokens are ``[T, B, F, N]``: time steps, examples, frames (the places of the tokens), values.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audiodata.errors import AudioDataError

# Share of a new batch in the stored variance, as in batch normalization.
MOMENTUM = 0.1


class Affine(NamedTuple):
    """The map ``x -> matrix x + offset`` that a trained normalisation is.

    Attributes
    ----------
    matrix : Tensor [N, N]
        float64.
    offset : Tensor [N]
        float64.
    """

    matrix: Tensor
    offset: Tensor


class TokenNorm(nn.Module):
    """What all normalisations of tokens have: a gain gamma and a bias beta for each of N values.

    Parameters
    ----------
    values : int
        N.
    eps : float
        Added to the variance.
    """

    def __init__(self, values: int, eps: float = 1e-5):
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(values))
        self.bias = nn.Parameter(torch.zeros(values))

    def as_affine(self) -> Affine:
        """Give the map that this normalisation is in evaluation.

        Raises
        ------
        AudioDataError
            It is not affine: what it divides by depends on the token.
        """
        raise AudioDataError(f"{type(self).__name__} can't be folded: {self.not_affine}; train with norm 'dsln' or 'batch' to fold it")

    not_affine = "its variance is computed from each token while the network runs"

    def extra_repr(self) -> str:
        """Sizes, for printing."""
        return f"{len(self.weight)}, eps={self.eps}"


class DecoupledNorm(TokenNorm):
    """Decoupled spiking layer normalization (SpikSLC-Net 2023, Eq. 14).

    The mean is that of each token at each time step. While training, the variance about it is pooled over all time steps and, by choice,

    - "layer": over all tokens of the batch, into one number;
    - "frame": over the batch, into one number for each frame i, the paper's sigma_i. It fixes the number of frames and can't be folded;
    - "token": over nothing else; each token is divided by its own deviation.

    In evaluation the expectation of that variance takes its place; for "token" it is one number. Then "token" divides by something else
    than it did in training wherever tokens differ in strength, as silent frames do from loud ones; "layer" does not.

    Parameters
    ----------
    values : int
        N.
    variance : {"layer", "frame", "token"}
        What shares a variance.
    frames : int
        F, for "frame".
    eps : float
        Added to the variance.

    Attributes
    ----------
    expected : Tensor [] or [F, 1]
        The expectation of the variance: the mean over the first batches, later one that forgets (`MOMENTUM`).
    """

    not_affine = "it has a variance for each frame, so each frame would need weights of its own"

    def __init__(self, values: int, variance: str = "layer", frames: int = 1, eps: float = 1e-5):
        super().__init__(values, eps)
        self.variance = variance
        self.register_buffer("expected", torch.ones(frames, 1) if variance == "frame" else torch.ones(()))
        self.register_buffer("batches", torch.zeros(()))

    def forward(self, tokens: Tensor) -> Tensor:
        """Normalise ``[T, B, F, N]``.

        Raises
        ------
        AudioDataError
            Not the number of frames that variances are kept for.
        """
        self._check_frames(tokens.shape[2])
        centred = tokens - tokens.mean(-1, keepdim=True)
        variance = self._pooled(centred) if self.training else self.expected
        return torch.addcmul(self.bias, centred, self.weight * (variance + self.eps).rsqrt())

    def _check_frames(self, frames: int) -> None:
        if self.variance == "frame" and frames != len(self.expected):
            raise AudioDataError(
                f"expected {len(self.expected)} frames, each of which has its variance, got {frames}; "
                'use `variance` = "layer" for any number of frames'
            )

    def _pooled(self, centred: Tensor) -> Tensor:
        """Variance ``[]``, ``[F, 1]`` or ``[B, F, 1]`` of a batch, which enters the expectation."""
        axes = {"layer": (0, 1, 2, 3), "frame": (0, 1, 3), "token": (0, 3)}[self.variance]
        variance = centred.square().mean(axes)
        variance = variance if self.variance == "layer" else variance.unsqueeze(-1)
        seen = variance.detach().mean() if self.variance == "token" else variance.detach()
        self.batches += 1
        self.expected.lerp_(seen, (1 / self.batches).clamp(min=MOMENTUM))
        return variance

    def as_affine(self) -> Affine:
        """Give ``A C`` and ``beta`` (see the top of this module)."""
        if self.variance == "frame":
            return super().as_affine()
        gain = self.weight.detach().double() / (self.expected.double() + self.eps).sqrt()
        centring = torch.eye(len(gain), dtype=gain.dtype, device=gain.device) - 1 / len(gain)
        return Affine(gain.unsqueeze(1) * centring, self.bias.detach().double())

    def extra_repr(self) -> str:
        """Sizes, for printing."""
        return f"{super().extra_repr()}, variance={self.variance!r}"


class LayerNorm(TokenNorm):
    """Layer normalization as it is (Ba et al. 2016; SpikSLC-Net 2023, Eq. 5 and 6): mean and variance of each token at each time step."""

    def forward(self, tokens: Tensor) -> Tensor:
        """Normalise ``[T, B, F, N]``."""
        return F.layer_norm(tokens, self.weight.shape, self.weight, self.bias, self.eps)


class VariantLayerNorm(TokenNorm):
    """Layer normalization that multiplies by the deviation where Eq. 5 divides by it ("variant LN" of Table 4).

    ``(x - mean) sqrt(variance + eps) gamma + beta``: the paper moves the variance from the denominator to the numerator, which saves the
    division.
    """

    def forward(self, tokens: Tensor) -> Tensor:
        """Normalise ``[T, B, F, N]``."""
        centred = tokens - tokens.mean(-1, keepdim=True)
        deviation = (centred.square().mean(-1, keepdim=True) + self.eps).sqrt()
        return torch.addcmul(self.bias, centred * deviation, self.weight)


class BatchNorm(nn.BatchNorm1d):
    """Batch normalization of each of N values over time steps, examples and frames (BN of Eq. 8 and 10, "BN1d" of Table 4)."""

    def forward(self, tokens: Tensor) -> Tensor:
        """Normalise ``[T, B, F, N]``."""
        return super().forward(tokens.flatten(0, -2)).view(tokens.shape)

    def as_affine(self) -> Affine:
        """Give the map that this normalisation is in evaluation."""
        gain = self.weight.detach().double() / (self.running_var.double() + self.eps).sqrt()
        return Affine(gain.diag(), self.bias.detach().double() - gain * self.running_mean.double())


NORMS: dict[str, Callable[[int], nn.Module]] = {
    "dsln": DecoupledNorm,
    "layer": LayerNorm,
    "variant_layer": VariantLayerNorm,
    "batch": BatchNorm,
}


def fold_into_previous(linear: nn.Linear, norm: DecoupledNorm | BatchNorm) -> nn.Linear:
    """Give the dense layer that equals `linear` followed by `norm` in evaluation (Eq. 15).

    Raises
    ------
    AudioDataError
        `norm` is not affine.
    """
    affine = norm.as_affine()
    return _linear(affine.matrix @ linear.weight.detach().double(), affine.matrix @ _bias(linear) + affine.offset, linear)


def fold_into_next(norm: DecoupledNorm | BatchNorm, linear: nn.Linear) -> nn.Linear:
    """Give the dense layer that equals `norm` in evaluation followed by `linear`, the order of Eq. 12.

    Raises
    ------
    AudioDataError
        `norm` is not affine.
    """
    affine, weight = norm.as_affine(), linear.weight.detach().double()
    return _linear(weight @ affine.matrix, weight @ affine.offset + _bias(linear), linear)


def _bias(linear: nn.Linear) -> Tensor:
    return linear.weight.new_zeros(linear.out_features, dtype=torch.float64) if linear.bias is None else linear.bias.detach().double()


def _linear(weight: Tensor, bias: Tensor, like: nn.Linear) -> nn.Linear:
    made = nn.Linear(like.in_features, like.out_features, device=like.weight.device, dtype=like.weight.dtype)
    with torch.no_grad():
        made.weight.copy_(weight)
        made.bias.copy_(bias)
    return made
