"""Values between 0 and 1 to spike trains, time first: `[...]` in, `[T, ...]` out.

| name      | a value becomes                                          | source                                   |
|-----------|----------------------------------------------------------|------------------------------------------|
| `direct`  | itself, at every step (the first layer makes the spikes) | Rathi & Roy 2021; SpikSLC-Net 2023       |
| `rate`    | the probability of a spike at each step                  | Courrege & Gandeel 2024, section 2.1.1   |
| `latency` | the time of one spike, by the charging of a capacitor    | Eshraghian et al. 2021                   |
| `delta`   | spikes where it rises or falls (a signal over time)      | Eshraghian et al. 2021                   |
| `phase`   | its binary digits, one per phase of a clock              | Kim et al. 2018                          |
| `burst`   | a number of spikes, closer together the larger it is     | Guo et al. 2021, after Park et al. 2019  |
| `ttfs`    | the time at which a falling threshold reaches it         | Guo et al. 2021, after Rueckauer & Liu 2018 |

Guo et al. (2021), Neural Coding in Spiking Neural Networks, compares rate, ttfs, phase and burst.

Every function takes `(values, time_steps, generator)` and its own options, so that one can stand for another; only
`rate` draws random numbers, and only from the generator that it is given.
"""

import inspect
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from audiodata.errors import AudioDataError
from models import encoding_kernels
from models.temporal_encoding import burst, check_values, latency, over_time, phase, phase_weights, ttfs

__all__ = [
    "ENCODINGS",
    "burst",
    "delta",
    "direct",
    "encode",
    "latency",
    "phase",
    "phase_weights",
    "rate",
    "ttfs",
]


def encode(
    values: Tensor, name: str, time_steps: int, generator: torch.Generator | None = None, **options: object
) -> Tensor:
    """Spike trains of `values` by the encoding of that name.

    Parameters
    ----------
    values : Tensor
        `[...]`, floating point, 0 to 1 (`delta`: `[T, ...]`).
    name : str
        A key of `ENCODINGS`.
    time_steps : int
        T.
    generator : torch.Generator, optional
        Source of random numbers; `rate` needs one.
    **options
        Those of the encoding's function.

    Returns
    -------
    Tensor
        `[T, ...]` in the type of `values`.

    Raises
    ------
    AudioDataError
        For an unknown name or option, values outside 0..1 or not finite, no time step, or `rate` without a generator.
    """
    if name not in ENCODINGS:
        raise AudioDataError(f"encoding: expected one of {', '.join(ENCODINGS)}, got {name!r}")
    known = list(inspect.signature(ENCODINGS[name]).parameters)[3:]
    for option in options:
        if option not in known:
            raise AudioDataError(f"encoding {name}: unknown option {option!r}; known are {', '.join(known) or 'none'}")
    return ENCODINGS[name](values, time_steps, generator, **options)


def direct(values: Tensor, time_steps: int, generator: torch.Generator | None = None) -> Tensor:
    """Repeat the values at each step, without a copy: x[t] = value.

    Parameters
    ----------
    values, time_steps, generator
        See `encode`.

    Returns
    -------
    Tensor
        `[T, ...]`, a view of `values`; not spikes: the first layer of neurons turns them into spikes.
    """
    check_values(values, time_steps)
    return values.unsqueeze(0).expand(time_steps, *values.shape)


def rate(values: Tensor, time_steps: int, generator: torch.Generator | None = None, *, regular: bool = False) -> Tensor:
    """Spikes with probability `values` at each step, independent of each other: s[t] ~ Bernoulli(value).

    Parameters
    ----------
    values, time_steps
        See `encode`.
    generator : torch.Generator
        On the device of `values`; not needed with `regular`. The same seed gives the same spikes on the same kind of
        device.
    regular : bool
        No chance: evenly spaced spikes, round(T value) of them; s[t] = 1 where round((t + 1) value) > round(t value).

    Returns
    -------
    Tensor
        0 and 1, `[T, ...]`.
    """
    check_values(values, time_steps)
    if regular:
        return _regular_spikes(values, time_steps)
    if generator is None:
        raise AudioDataError(
            "encoding rate: it draws random numbers; give a torch.Generator with a seed (or regular=True)"
        )
    return _random_spikes(values, time_steps, generator)


def delta(
    values: Tensor,
    time_steps: int | None = None,
    generator: torch.Generator | None = None,
    *,
    threshold: float = 0.1,
    off_spikes: bool = False,
    padding: bool = False,
    track: bool = False,
) -> Tensor:
    """Spikes where a signal changes by at least `threshold`: +1 up, and with `off_spikes` -1 down.

    Against the step before (d[t] = x[t] - x[t-1], equals `snntorch.spikegen.delta`), or with `track` against the
    level that the spikes so far add up to, so that `threshold` times their running sum follows the signal (send on
    delta, as an event camera does).

    Parameters
    ----------
    values : Tensor
        Signal `[T, ...]` with time first.
    time_steps : int, optional
        T, to be checked.
    threshold : float
        Smallest change that counts; above 0.
    off_spikes : bool
        Mark falls, too.
    padding : bool
        Take the first value as the level before it, in place of 0.
    track : bool
        Compare with the tracked level.

    Returns
    -------
    Tensor
        -1, 0 and 1, `[T, ...]`.
    """
    check_values(values, values.shape[0] if time_steps is None and values.dim() else time_steps)
    if time_steps is not None and (values.dim() == 0 or values.shape[0] != time_steps):
        raise AudioDataError(
            f"encoding delta: expected values [T={time_steps}, ...], time first, got {list(values.shape)}"
        )
    if not threshold > 0:
        raise AudioDataError(f"encoding delta: threshold: expected above 0, got {threshold}")
    first = values[:1] if padding else torch.zeros_like(values[:1])
    if track:
        return _tracking_spikes(values, first[0], threshold, off_spikes)
    change = values - torch.cat([first, values[:-1]])
    return _signs(change, threshold, off_spikes)


ENCODINGS: dict[str, Callable[..., Tensor]] = {
    "direct": direct,
    "rate": rate,
    "latency": latency,
    "delta": delta,
    "phase": phase,
    "burst": burst,
    "ttfs": ttfs,
}


def _random_spikes(values: Tensor, time_steps: int, generator: torch.Generator) -> Tensor:
    if values.device.type != "cpu" or values.dtype not in (torch.float32, torch.float64):
        return torch.bernoulli(values.unsqueeze(0).expand(time_steps, *values.shape), generator=generator)
    spikes = values.new_empty((time_steps, *values.shape))
    key = torch.randint(2**63 - 1, (), generator=generator).item()
    flat = values.detach().contiguous().view(-1)
    encoding_kernels.bernoulli(flat.numpy(), spikes.view(time_steps, flat.numel()).numpy(), np.uint64(key))
    return spikes


def _regular_spikes(values: Tensor, time_steps: int) -> Tensor:
    step = over_time(torch.arange(time_steps + 1, device=values.device, dtype=values.dtype), values)
    total = (step * values + 0.5).floor()
    return total[1:] - total[:-1]


def _signs(change: Tensor, threshold: float, off_spikes: bool) -> Tensor:
    up = (change >= threshold).to(change.dtype)
    return up - (change <= -threshold).to(change.dtype) if off_spikes else up


def _tracking_spikes(values: Tensor, level: Tensor, threshold: float, off_spikes: bool) -> Tensor:
    spikes = []
    for now in values:
        fired = _signs(now - level, threshold, off_spikes)
        level = level + threshold * fired
        spikes.append(fired)
    return torch.stack(spikes)
