"""The spiking neurons: one module for the leaky integrate-and-fire family (`LIF`) and one without leak (`IF`).

Time comes first: current `[T, B, ...]` in, spikes `[T, B, ...]` out. All time steps of a layer are one call and one
operation of autograd. Nothing is remembered from call to call: each starts from rest, or from a state that the caller
hands in.

Written out for one neuron, with I the current, s = 1[h > v_th] (or >=) and what each work uses:

| neuron             | equation                                                            | used by                   |
|--------------------|---------------------------------------------------------------------|---------------------------|
| `LIF.snntorch`     | h[t] = decay h[t-1] + I[t] - v_th s[t-1], fires at h > v_th         | Courrege & Gandeel 2024   |
| `LIF.spikingjelly` | h[t] = v[t-1] + (I[t] - (v[t-1] - v_reset)) / tau, v = v_reset at s | SpikSLC-Net 2023, Eq. 2-4 |
| `LIF.stbp`         | h[t] = decay h[t-1] (1 - s[t-1]) + I[t], reset in the gradient      | Liu et al. 2022, Eq. 1-4  |
| `IF`               | h[t] = h[t-1] + I[t] - v_th s[t-1]                                  | Wu et al. 2021, Eq. 4-5   |

All but the first fire at h >= v_th. Works: Courrege & Gandeel, Sound Detection and Classification using Spiking
Neural Networks (2024, Eq. 2 and 3); Spiking Hybrid Attentive Mechanism with Decoupled Layer Normalization (2023,
anonymous; SpikSLC-Net); Liu et al., Event-based Multimodal Spiking Neural Network with Attention Mechanism (2022); Wu
et al., Progressive Tandem Learning for Pattern Recognition (2021).

The options are those of `models.dynamics.Dynamics`; any mixture is allowed.
"""

from dataclasses import fields, replace
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn

from audiodata.errors import AudioDataError
from models.dynamics import Dynamics, after_reset, fire, reset_signal, run_loop
from models.fused import FUSED_TYPES, run_fused
from models.surrogate import Surrogate

_HALF_TYPES = (torch.float16, torch.bfloat16)


class Response(NamedTuple):
    """What a layer of neurons answers.

    Attributes
    ----------
    spikes : Tensor
        0 and 1, `[T, B, ...]`.
    potential : Tensor or None
        Membrane potential at the end of each step, `[T, B, ...]`, where it was asked for: after the reset if that is
        in the same step, else before it (as snnTorch and SpikingJelly show theirs).
    state : Tensor
        `[B, ...]`, to go on from in a next call; the potential before the last reset.
    """

    spikes: Tensor
    potential: Tensor | None
    state: Tensor


class SpikingNeuron(nn.Module):
    """A layer of neurons that follow `dynamics`.

    Parameters
    ----------
    dynamics : Dynamics
        Equations and numbers.
    learn_decay, learn_threshold : bool
        Make the decay or the threshold a parameter, as one number for the layer. A learned decay counts as clamped to
        0..1. Learning takes the slower route through time (`models.dynamics.run_loop`).

    Raises
    ------
    AudioDataError
        If the decay is to be learned where `tau` is given.
    """

    def __init__(self, dynamics: Dynamics, learn_decay: bool = False, learn_threshold: bool = False):
        super().__init__()
        if learn_decay and dynamics.tau is not None:
            raise AudioDataError("learn_decay: the time constant tau is fixed; give decay = 1 - 1/tau instead of tau")
        self.dynamics = dynamics
        self.decay = nn.Parameter(torch.tensor(dynamics.decay)) if learn_decay else None
        self.threshold = nn.Parameter(torch.tensor(dynamics.threshold)) if learn_threshold else None

    def forward(self, current: Tensor, state: Tensor | None = None, time_steps: int | None = None) -> Tensor:
        """Spikes that a current causes.

        Parameters
        ----------
        current : Tensor
            `[T, B, ...]`, floating point. With `time_steps`, `[B, ...]`: the same current at every step (direct
            encoding), which is neither copied nor read again, and whose gradient is summed on the way.
        state : Tensor, optional
            `[B, ...]`, from an earlier `run`; at rest where left out.
        time_steps : int, optional
            T, where `current` has no time axis.

        Returns
        -------
        Tensor
            Spikes `[T, B, ...]` in the type of `current`.

        Raises
        ------
        AudioDataError
            For a current without time or of a type that is not floating point, or a state of another shape.
        """
        return self._respond(current, state, time_steps, keep=0)[0]

    def run(
        self, current: Tensor, state: Tensor | None = None, time_steps: int | None = None, potential: bool = True
    ) -> Response:
        """Spikes, membrane potentials and the state to go on from; all three can be part of a loss.

        Parameters
        ----------
        current, state, time_steps
            As in `forward`.
        potential : bool
            Keep the membrane potentials of all steps.

        Returns
        -------
        Response
            Named tuple of spikes, potential (or None) and state.

        Raises
        ------
        AudioDataError
            As in `forward`.
        """
        steps = _time_steps(current, time_steps)
        spikes, membranes = self._respond(current, state, time_steps, keep=steps if potential else 1)
        return Response(spikes, self._visible(membranes) if potential else None, membranes[-1])

    def rest(self, current: Tensor) -> Tensor:
        """State `[B, ...]` at rest for a current `[B, ...]`, float32 at least."""
        dtype = current.dtype if current.dtype in FUSED_TYPES else torch.float32
        return torch.full_like(current, self.dynamics.v_init, dtype=dtype, memory_format=torch.contiguous_format)

    def _respond(self, current, state, time_steps, keep):
        steps = _time_steps(current, time_steps)
        step_current = current if time_steps is not None else current[0]
        state = self.rest(step_current) if state is None else _checked_state(state, step_current)
        given = current.float() if current.dtype in _HALF_TYPES else current
        if self._needs_loop():
            given = given.expand(steps, *given.shape) if time_steps is not None else given
            spikes, membranes = run_loop(given, state, self.dynamics, self._learned_decay(), self.threshold)
            membranes = membranes[steps - keep :]
        else:
            spikes, membranes = run_fused(given, state.to(given.dtype), self.dynamics, time_steps, keep)
        return spikes.to(current.dtype), membranes

    def _needs_loop(self) -> bool:
        learned = self.decay is not None or self.threshold is not None
        return learned or self.dynamics.reset_at == "snntorch_same_step"

    def _learned_decay(self) -> Tensor | None:
        return None if self.decay is None else self.decay.clamp(0, 1)

    def _visible(self, membranes: Tensor) -> Tensor:
        if self.dynamics.reset_at != "same_step":
            return membranes
        threshold = self.dynamics.threshold if self.threshold is None else self.threshold
        fired = reset_signal(fire(membranes, self.dynamics, threshold), self.dynamics)
        return after_reset(membranes, fired, self.dynamics, threshold)

    def extra_repr(self) -> str:
        """Options that differ from their defaults, for printing."""
        given = (f"{f.name}={getattr(self.dynamics, f.name)!r}" for f in fields(Dynamics) if _differs(self.dynamics, f))
        return ", ".join(given)


class LIF(SpikingNeuron):
    """Leaky integrate-and-fire neurons.

    Without further words it is snnTorch's (>= 0.8): h[t] = decay h[t-1] + I[t] - v_th s[t-1], s[t] = 1[h[t] > v_th].

    Parameters
    ----------
    decay : float
        Share of the membrane potential left after one step, 0 to 1.
    learn_decay, learn_threshold : bool
        See `SpikingNeuron`.
    **options
        Fields of `models.dynamics.Dynamics`: threshold, strict, reset, reset_at, detach_reset, v_reset, v_init, tau,
        decay_input, input_scale, surrogate.

    Examples
    --------
    >>> lif = LIF(decay=0.5)
    >>> lif(torch.full((5, 1, 1), 0.75)).flatten().tolist()
    [0.0, 1.0, 0.0, 0.0, 1.0]
    """

    def __init__(self, decay: float = 0.9, *, learn_decay: bool = False, learn_threshold: bool = False, **options):
        super().__init__(_dynamics(decay=decay, **options), learn_decay, learn_threshold)

    @classmethod
    def snntorch(
        cls, decay: float = 0.9, *, threshold: float = 1.0, reset: str = "subtract", reset_delay: bool = True, **options
    ) -> Self:
        """Neuron of snnTorch 0.8 and later, `Leaky(beta=decay, reset_mechanism=reset, ...)`, spike for spike."""
        if not reset_delay and reset != "none":
            options = {"reset_at": "snntorch_same_step", "detach_reset": False, **options}
        return cls(decay, threshold=threshold, reset=reset, **options)

    @classmethod
    def spikingjelly(
        cls,
        tau: float = 2.0,
        *,
        decay_input: bool = True,
        threshold: float = 1.0,
        v_reset: float | None = 0.0,
        detach_reset: bool = False,
        **options,
    ) -> Self:
        """Neuron of SpikingJelly, `neuron.LIFNode`; with tau 2 that of SpikSLC-Net (2023, Eq. 2 to 4).

        It starts from `v_reset`; `v_reset=None` subtracts the threshold and starts from 0.
        """
        reset = {"reset": "subtract"} if v_reset is None else {"reset": "zero", "v_reset": v_reset, "v_init": v_reset}
        given = {"tau": tau, "decay_input": decay_input, "threshold": threshold, "detach_reset": detach_reset}
        return cls(**{"strict": False, "reset_at": "same_step", **reset, **given, **options})

    @classmethod
    def stbp(
        cls,
        decay: float = 0.2,
        *,
        threshold: float = 0.5,
        strict: bool = False,
        detach_reset: bool = False,
        surrogate: str | Surrogate = "rectangular",
        **options,
    ) -> Self:
        """Neuron of spatio-temporal backpropagation (Wu et al. 2018), with the numbers of Liu et al. (2022, section 3).

        h[t] = decay h[t-1] (1 - s[t-1]) + I[t] and s = 1[h >= v_th]; the factor (1 - s) takes part in the gradient.
        """
        given = {"threshold": threshold, "strict": strict, "detach_reset": detach_reset, "surrogate": surrogate}
        return cls(decay, reset="zero", **given, **options)


class IF(SpikingNeuron):
    """Integrate-and-fire neurons: h[t] = h[t-1] + I[t] - v_th s[t-1], s[t] = 1[h[t] >= v_th].

    The neuron of progressive tandem learning (Wu et al. 2021, Eq. 4 and 5).
    With all of the current in the first step, the spike count over T steps is floor(I / v_th) within 0..T; with
    `v_init` = v_th / 2 it is rounded instead (their Eq. 10).

    Parameters
    ----------
    threshold : float
        v_th.
    v_init : float
        Membrane potential before the first step.
    **options
        Fields of `models.dynamics.Dynamics`: strict, detach_reset, surrogate, ...
    """

    def __init__(self, threshold: float = 1.0, *, v_init: float = 0.0, **options):
        super().__init__(
            _dynamics(**{"strict": False, **options, "decay": 1.0, "threshold": threshold, "v_init": v_init})
        )

    def set_threshold(self, threshold: float, v_init: float = 0.0) -> None:
        """Put another threshold in place, as measured (Wu et al. 2021, section 3.3); it is saved with the weights."""
        self.dynamics = replace(self.dynamics, threshold=float(threshold), v_init=float(v_init))

    def get_extra_state(self) -> Tensor:
        """Threshold and initial potential as a tensor, for `state_dict`."""
        return torch.tensor([self.dynamics.threshold, self.dynamics.v_init], dtype=torch.float64)

    def set_extra_state(self, state: Tensor) -> None:
        """Take threshold and initial potential out of a `state_dict`."""
        self.set_threshold(*state.tolist())


def _dynamics(**options) -> Dynamics:
    known = [field.name for field in fields(Dynamics)]
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise AudioDataError(f"neuron: unknown option {unknown[0]!r}; known are {', '.join(known)}")
    return Dynamics(**options)


def _differs(dynamics: Dynamics, field) -> bool:
    return getattr(dynamics, field.name) != getattr(Dynamics(), field.name)


def _time_steps(current: Tensor, time_steps: int | None) -> int:
    if not current.is_floating_point():
        raise AudioDataError(f"current: expected floating point, got {current.dtype}; convert it with .float()")
    if time_steps is None and current.dim() == 0:
        raise AudioDataError(
            "current: expected [T, B, ...], got a single number; say time_steps for a constant current"
        )
    steps = current.shape[0] if time_steps is None else time_steps
    if steps < 1:
        raise AudioDataError(f"current: expected at least one time step, got {steps}")
    return steps


def _checked_state(state: Tensor, step_current: Tensor) -> Tensor:
    if state.shape != step_current.shape:
        expected, got = list(step_current.shape), list(state.shape)
        raise AudioDataError(f"state: expected the shape of one time step {expected}, got {got}")
    return state
