"""Encodings in which time tells the value: latency, phase, burst and time to first spike.

See `models.encoding` for the table of all and for `encode`.
"""

import math

import torch
from torch import Tensor

from audiodata.errors import AudioDataError


def latency(
    values: Tensor,
    time_steps: int,
    generator: torch.Generator | None = None,
    *,
    tau: float = 1.0,
    threshold: float = 0.01,
    normalize: str = "range",
    linear: bool = False,
    clip: bool = False,
) -> Tensor:
    """One spike per value, the earlier the larger it is.

    At t = tau ln(value / (value - threshold)), the time that a capacitor takes to charge to `threshold`, or with
    `linear` at t = tau (1 - value) (Eshraghian et al. 2021); rounded to a step. Equals `snntorch.spikegen.latency`.

    Parameters
    ----------
    values, time_steps
        See `encode`.
    tau : float
        Time constant in time steps; without effect on normalized times.
    threshold : float
        Values below it spike last, or never with `clip`; between 0 and 1.
    normalize : {"range", "batch", "none"}
        Stretch the times to 0..T-1, so that the last step belongs to the slowest value there can be ("range": each
        value stands for itself), to the slowest of `values` ("batch": snnTorch's `normalize=True`, a value's time
        depends on all others); or leave them in units of a step ("none").
    linear : bool
        Times fall in a straight line with the value.
    clip : bool
        No spike for values below the threshold.

    Returns
    -------
    Tensor
        0 and 1, `[T, ...]`; one spike per value, at most.

    Raises
    ------
    AudioDataError
        If a spike falls behind the last step (only with "none").
    """
    check_values(values, time_steps)
    if normalize not in ("range", "batch", "none"):
        raise AudioDataError(f"encoding latency: normalize: expected range, batch or none, got {normalize!r}")
    if not (0 < threshold < 1 and tau > 0):
        raise AudioDataError(
            f"encoding latency: expected threshold within 0..1 and tau above 0, got {threshold} and {tau}"
        )
    if linear:
        times = _linear_times(values, time_steps, tau, threshold, normalize)
    else:
        times = _charging_times(values, time_steps, tau, threshold, normalize)
    spikes = _spikes_at(times.round().long(), time_steps, "latency")
    return torch.where(values < threshold, 0, spikes).to(values.dtype) if clip else spikes.to(values.dtype)


def phase(values: Tensor, time_steps: int, generator: torch.Generator | None = None, *, phases: int = 8) -> Tensor:
    """Binary digits of the values, the largest first, over and over.

    A spike at step t weighs w[t] = 2^-(1 + t mod k) (Kim et al. 2018), and the weights of one period of k = `phases`
    steps sum up to floor(2^k value) / 2^k; the value 1 becomes 1 - 2^-k.

    Parameters
    ----------
    values, time_steps
        See `encode`.
    phases : int
        k, 1 to 23: digits per value and steps per period.

    Returns
    -------
    Tensor
        0 and 1, `[T, ...]`; weights by `phase_weights`.
    """
    check_values(values, time_steps)
    if not 1 <= phases <= 23:
        raise AudioDataError(f"encoding phase: phases: expected 1 to 23, got {phases}")
    number = (values * 2**phases).floor().clamp(max=2**phases - 1).long()
    digit = over_time(phases - 1 - torch.arange(time_steps, device=values.device) % phases, values)
    return ((number.unsqueeze(0) >> digit) & 1).to(values.dtype)


def phase_weights(time_steps: int, phases: int = 8) -> Tensor:
    """Weight w[t] = 2^-(1 + t mod k) of a spike at each step, `[T]` (Kim et al. 2018)."""
    return 2.0 ** -(1 + torch.arange(time_steps) % phases)


def burst(
    values: Tensor,
    time_steps: int,
    generator: torch.Generator | None = None,
    *,
    max_spikes: int = 5,
    min_interval: int = 2,
    max_interval: int | None = None,
) -> Tensor:
    """Bursts from the first step on: more spikes, and closer together, for larger values.

    Number n = ceil(`max_spikes` value); distance ceil(max_interval - (max_interval - min_interval) value) steps from
    spike to spike (Guo et al. 2021, after Park et al. 2019).

    Parameters
    ----------
    values, time_steps
        See `encode`.
    max_spikes : int
        Spikes of the value 1.
    min_interval : int
        Distance of spikes at the value 1, in steps; at least 1.
    max_interval : int, optional
        Distance towards the value 0; the longest with which no burst loses a spike where left out.

    Returns
    -------
    Tensor
        0 and 1, `[T, ...]`.

    Raises
    ------
    AudioDataError
        If the burst of some value doesn't fit into T steps.
    """
    check_values(values, time_steps)
    if max_spikes < 1 or min_interval < 1:
        raise AudioDataError("encoding burst: expected max_spikes and min_interval of at least 1")
    longest = _longest_interval(time_steps, max_spikes, min_interval) if max_interval is None else max_interval
    counts = (max_spikes * values).ceil()
    intervals = (longest - (longest - min_interval) * values).ceil()
    last = int(((counts - 1) * intervals).max().item()) if values.numel() else 0
    if longest < min_interval or last >= time_steps:
        raise AudioDataError(
            f"encoding burst: {max_spikes} spikes at least {min_interval} steps apart need more than {time_steps} time "
            "steps; lower max_spikes or the intervals"
        )
    step = over_time(torch.arange(time_steps, device=values.device), values)
    return ((step % intervals == 0) & (step < counts * intervals)).to(values.dtype)


def ttfs(
    values: Tensor,
    time_steps: int,
    generator: torch.Generator | None = None,
    *,
    theta: float = 1.0,
    tau: float | None = None,
    linear: bool = False,
) -> Tensor:
    """One spike, when a falling threshold comes down to the value: the first t with value >= theta e^(-t / tau).

    Time to first spike, Guo et al. (2021, after Rueckauer & Liu 2018).

    Parameters
    ----------
    values, time_steps
        See `encode`.
    theta : float
        Threshold at the first step, above 0.
    tau : float, optional
        Its time constant in time steps; where left out, such that it ends at theta/100 with the last step.
    linear : bool
        A threshold that falls in a straight line from theta to 0 at the last step, so that each value has its spike.

    Returns
    -------
    Tensor
        0 and 1, `[T, ...]`: one spike per value, none where the threshold stays above it.
    """
    check_values(values, time_steps)
    if not theta > 0 or (tau is not None and not tau > 0):
        raise AudioDataError(f"encoding ttfs: expected theta and tau above 0, got {theta} and {tau}")
    step = torch.arange(time_steps, device=values.device, dtype=values.dtype)
    last = max(time_steps - 1, 1)
    falling = theta * (1 - step / last) if linear else theta * torch.exp(-step / (tau or last / math.log(100)))
    reached = values.unsqueeze(0) >= over_time(falling, values)
    before = torch.cat([torch.zeros_like(reached[:1]), reached[:-1]])
    return (reached & ~before).to(values.dtype)


def check_values(values: Tensor, time_steps: int) -> None:
    """Raise AudioDataError unless `values` are floating point within 0..1 and there is at least one time step."""
    if not values.is_floating_point():
        raise AudioDataError(f"encoding: expected floating-point values from 0 to 1, got {values.dtype}")
    if time_steps is None or time_steps < 1:
        raise AudioDataError(f"encoding: expected at least one time step, got {time_steps}")
    if values.numel() and not (values.min() >= 0 and values.max() <= 1):
        low, high = values.min().item(), values.max().item()
        raise AudioDataError(f"encoding: expected values from 0 to 1, got {low:g} to {high:g}; scale them first")


def over_time(sequence: Tensor, values: Tensor) -> Tensor:
    """`[T]` as `[T, 1, ..., 1]`, to stand against `values`."""
    return sequence.view(-1, *[1] * values.dim())


def _spikes_at(steps: Tensor, time_steps: int, name: str) -> Tensor:
    """One spike each at `steps` `[...]`: `[T, ...]`."""
    last = steps.max().item() if steps.numel() else 0
    if last >= time_steps:
        raise AudioDataError(
            f"encoding {name}: a spike falls at step {last}, behind the last of {time_steps}; lower tau or normalize"
        )
    return over_time(torch.arange(time_steps, device=steps.device), steps) == steps


def _charging_times(values, time_steps, tau, threshold, normalize):
    # The smallest distance from the threshold, as in snnTorch: ln(x / (x - threshold)) has no bound.
    margin = 1e-7
    lowest = values.new_tensor(threshold + margin)
    charged = torch.maximum(values, lowest)
    times = tau * torch.log(charged / (charged - threshold))
    if normalize == "none" or not values.numel():
        return times
    slowest = times.max() if normalize == "batch" else tau * torch.log(lowest / (lowest - threshold))
    return times * (time_steps - 1) / slowest


def _linear_times(values, time_steps, tau, threshold, normalize):
    scale = tau if normalize == "none" else time_steps - 1
    return (-scale * (values - 1)).clamp(max=-scale * (threshold - 1))


def _longest_interval(time_steps: int, max_spikes: int, min_interval: int) -> int:
    """Largest `max_interval` with which every burst of 1 to `max_spikes` spikes fits into T steps."""
    longest = max(time_steps - 1, min_interval)
    while longest >= min_interval and _burst_end(longest, max_spikes, min_interval) >= time_steps:
        longest -= 1
    return longest


def _burst_end(longest: int, max_spikes: int, min_interval: int) -> int:
    """Last step of the longest burst: the smallest value with n spikes has the widest distance of them."""
    ends = []
    for n in range(2, max_spikes + 1):
        smallest = (n - 1) / max_spikes
        ends.append((n - 1) * math.ceil(longest - (longest - min_interval) * smallest))
    return max(ends, default=0)
