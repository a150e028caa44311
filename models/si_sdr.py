"""Scale-invariant signal-to-distortion ratio of separated sounds, in dB, and which of them belongs to which source.

    SI-SDR = 10 log10(|a s|^2 / |a s - s'|^2),  a = <s', s> / |s|^2

for an estimate s' of a source s, both without their mean (Le Roux et al. 2019, Eq. 2-3). Eq. 14 of Wu et al. (2021) leaves out the division by
|s|^2, without which the ratio would depend on the source's level.

`FLOOR` keeps all values within +-100 dB, whatever the levels, and `SILENCE` keeps gradients finite for sounds without any energy. A silent source
has no SI-SDR: its value is the lowest, with a gradient of 0, and `sounding` tells which examples have a value that means something.
"""

import torch
from torch import Tensor

# Share of an estimate's energy that both energies of the ratio are raised by: what float32 can tell apart, and no more.
FLOOR = 1e-10
# Sum of squares that counts as nothing, for a full scale of 1: the rounding to 16 bits alone leaves more than that in 200 samples.
SILENCE = 1e-8


def si_sdr(estimate: Tensor, source: Tensor) -> Tensor:
    """Ratio of what an estimate has of a source to all else that it has.

    Parameters
    ----------
    estimate, source : Tensor [..., sample]
        Of shapes that fit each other.

    Returns
    -------
    Tensor [...]
        In dB, from -100 to 100; does not depend on the level of either or on a constant added to them.

    Examples
    --------
    >>> source = torch.tensor([1.0, 1.0, -1.0, -1.0])
    >>> si_sdr(5 * source + torch.tensor([0.5, -0.5, 0.5, -0.5]), source).item()
    20.0
    """
    estimate, source = (values - values.mean(-1, keepdim=True) for values in (estimate, source))
    share = (estimate * source).sum(-1, keepdim=True) / (source.square().sum(-1, keepdim=True) + SILENCE)
    wanted = share * source
    floor = FLOOR * estimate.square().sum(-1) + FLOOR * SILENCE
    return 10 * ((wanted.square().sum(-1) + floor) / ((estimate - wanted).square().sum(-1) + floor)).log10()


def matching(estimates: Tensor, sources: Tensor) -> Tensor:
    """Find which estimate belongs to which source: the assignment with the highest mean SI-SDR.

    It is found as an assignment problem (Kuhn 1955), for any number of sources, and not by trying all permutations.

    Parameters
    ----------
    estimates, sources : Tensor [B, source, sample]

    Returns
    -------
    Tensor [B, source]
        int64: of each source, the number of its estimate.
    """
    from scipy.optimize import linear_sum_assignment  # takes longer to load than all the rest of a network

    with torch.no_grad():
        pairs = si_sdr(estimates.unsqueeze(1), sources.unsqueeze(2)).cpu().numpy()  # [B, source, estimate]
    return torch.as_tensor([linear_sum_assignment(each, maximize=True)[1].tolist() for each in pairs], device=estimates.device)


def ordered(estimates: Tensor, order: Tensor) -> Tensor:
    """Put estimates ``[B, source, sample]`` into the order of the sources that `matching` found."""
    return estimates.gather(1, order.unsqueeze(-1).expand_as(estimates))


def best_si_sdr(estimates: Tensor, sources: Tensor) -> Tensor:
    """SI-SDR of each source with the estimate that belongs to it, ``[B, source]``, whatever the estimates' order (Kolbæk et al. 2017)."""
    return si_sdr(ordered(estimates, matching(estimates, sources)), sources)


def sounding(sources: Tensor) -> Tensor:
    """Tell which examples have a sound in each of their sources ``[B, source, sample]``: bool ``[B]``."""
    return ((sources - sources.mean(-1, keepdim=True)).square().sum(-1) > SILENCE).all(1)
