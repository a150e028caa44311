"""What a network that localizes puts out, and how a direction becomes a curve over all azimuths and back.

Azimuths are degrees counter-clockwise from the front, bins 0 to 359. The curve is that of SpikSLC-Net (2023, Eq. 16, after Adavanne
et al. 2018), whose bins 1 to 360 are these, with 360 as 0. Its distance is measured along the circle, so that a sound at 359 degrees is
next to one at 0.
"""

from typing import NamedTuple

import torch
from torch import Tensor

AZIMUTHS = 360


class Located(NamedTuple):
    """What a localizing network puts out.

    Attributes
    ----------
    azimuth : Tensor [B, 360]
        Likelihood of a sound at each azimuth, aimed at 1 where the sound is and 0 far from it; not normalised.
    label : Tensor [B, C]
        Class values; their softmax gives probabilities.
    """

    azimuth: Tensor
    label: Tensor


def azimuth_target(azimuth_deg: Tensor, sigma_deg: float = 5.0) -> Tensor:
    """Give the curve that the outputs for a sound are to follow, ``exp(-d^2 / sigma^2)`` at distance d along the circle.

    Parameters
    ----------
    azimuth_deg : Tensor [B]
        Any angles; NaN gives NaN at every bin.
    sigma_deg : float
        Width: the curve falls to 1/e at this distance.

    Returns
    -------
    Tensor [B, 360]

    Examples
    --------
    >>> azimuth_target(torch.tensor([0.0]))[0, [0, 5, 355, 180]].tolist()
    [1.0, 0.3678794503211975, 0.3678794503211975, 0.0]
    """
    bins = torch.arange(AZIMUTHS, dtype=azimuth_deg.dtype, device=azimuth_deg.device)
    return torch.exp(-((circular_distance_deg(azimuth_deg.unsqueeze(-1), bins) / sigma_deg) ** 2))


def circular_distance_deg(one: Tensor, other: Tensor) -> Tensor:
    """Absolute difference along the circle, 0 to 180 degrees; NaN where either is NaN."""
    apart = torch.remainder(one - other, AZIMUTHS)
    return torch.minimum(apart, AZIMUTHS - apart)


def decode_azimuth(scores: Tensor) -> Tensor:
    """Azimuth of the highest score: float degrees ``[B]`` from ``[B, 360]``; the lowest of equally high ones."""
    highest = scores >= scores.amax(-1, keepdim=True)
    return highest.to(torch.uint8).argmax(-1).float()
