"""The equations of the spiking neurons, written once in plain torch.

One time step is three parts, and each neuron of the literature is a choice in each of them:

    integrate   h[t] = leak(v[t-1]) + current[t]      membrane potential with the new input
    fire        s[t] = 1[h[t] > v_th]                 (or >=)
    reset       v[t] = h[t], less or set back where s[t] = 1

`Dynamics` holds the choice; `run_loop` walks through time with it and is differentiable by autograd in everything,
the decay and the threshold included. It is the reference that the compiled route (`models.fused`) is checked against,
and the route that learns decays.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from audiodata.errors import AudioDataError
from models.surrogate import Surrogate, as_surrogate, spike

RESETS = ("subtract", "zero", "none")
RESET_TIMES = ("next_step", "same_step", "snntorch_same_step")


@dataclass(frozen=True)
class Dynamics:
    """What one spiking neuron does in a time step.

    Parameters
    ----------
    decay : float
        Share of the membrane potential that is left after one step, 0 to 1: leak(v) = decay v. Not used where `tau`
        is given.
    threshold : float
        v_th, above 0.
    strict : bool
        Fire at h > v_th (snnTorch); otherwise at h >= v_th (SpikingJelly, and the papers' equations).
    reset : {"subtract", "zero", "none"}
        Take v_th off, set to `v_reset`, or leave the membrane potential as it is.
    reset_at : {"next_step", "same_step", "snntorch_same_step"}
        When. Next step, after the leak: h[t] = leak(h[t-1]) + current[t] - v_th s[t-1] (snnTorch; IF neuron). Same
        step, before the next leak: h[t] = leak(h[t-1] - v_th s[t-1]) + current[t] (SpikingJelly). For "zero" both
        give the same spikes. The third is what snnTorch does with `reset_delay=False`: as the same step, but a neuron
        that is still above threshold after its reset counts as about to be reset again, which can hold back its next
        spike.
    detach_reset : bool
        Leave the reset out of the gradient: s[t-1] is a constant in the equation of h[t].
    v_reset : float
        Where "zero" puts the membrane potential, and with `tau` also where it decays to.
    v_init : float
        Membrane potential before the first step.
    tau : float, optional
        Time constant in time steps, above 1: leak(v) = v - (v - v_reset) / tau, in place of `decay`.
    decay_input : bool
        With `tau`: divide the current by tau as well.
    input_scale : float
        With `decay`: factor on the current.
    surrogate : str or Surrogate
        Gradient of the spike.

    Raises
    ------
    AudioDataError
        For a value out of range or a combination without meaning.
    """

    decay: float = 0.9
    threshold: float = 1.0
    strict: bool = True
    reset: str = "subtract"
    reset_at: str = "next_step"
    detach_reset: bool = True
    v_reset: float = 0.0
    v_init: float = 0.0
    tau: float | None = None
    decay_input: bool = True
    input_scale: float = 1.0
    surrogate: Surrogate | str = "arctan"

    def __post_init__(self):
        object.__setattr__(self, "surrogate", as_surrogate(self.surrogate))
        self._check_choices()
        self._check_numbers()
        self._check_combinations()

    def _check_choices(self):
        for name, choices in (("reset", RESETS), ("reset_at", RESET_TIMES)):
            value = getattr(self, name)
            _require(value in choices, f"{name}: expected one of {', '.join(choices)}, got {value!r}")

    def _check_numbers(self):
        for name in ("decay", "threshold", "v_reset", "v_init", "input_scale"):
            value = getattr(self, name)
            _require(math.isfinite(value), f"{name}: expected a finite number, got {value}")
        _require(self.threshold > 0, f"threshold: expected above 0, got {self.threshold}")
        _require(0 <= self.decay <= 1, f"decay: expected 0 to 1 (the share left after one time step), got {self.decay}")
        good_tau = self.tau is None or (math.isfinite(self.tau) and self.tau > 1)
        _require(good_tau, f"tau: expected a time constant above 1 time step, got {self.tau}")

    def _check_combinations(self):
        used = self.v_reset == 0 or self.reset == "zero" or self.tau is not None
        _require(used, f"v_reset={self.v_reset} has no effect with reset={self.reset!r}; use reset='zero' or tau")
        _require(
            self.tau is None or self.input_scale == 1,
            f"input_scale={self.input_scale} goes with decay; with tau use decay_input",
        )
        _require(
            self.reset_at != "snntorch_same_step" or not self.detach_reset,
            "reset_at='snntorch_same_step' has its reset in the gradient; say detach_reset=False",
        )
        _require(
            self.reset_at != "snntorch_same_step" or self.reset != "none",
            "reset_at='snntorch_same_step' needs a reset; with reset='none' say reset_at='next_step'",
        )
        at_rest = self.reset_at == "next_step" or self.reset == "none" or not self.fires(self.v_init)
        _require(at_rest, f"v_init={self.v_init} is above the threshold {self.threshold}; start below it")

    def fires(self, membrane: float) -> bool:
        """Whether a membrane potential is above the threshold."""
        return membrane > self.threshold if self.strict else membrane >= self.threshold


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise AudioDataError(message)


def leak(v: Tensor, current: Tensor, dynamics: Dynamics, decay: Tensor | float) -> Tensor:
    """Membrane potential after decay and input, before any reset: `[...]` from `v` and `current` of that shape."""
    if dynamics.tau is None:
        return decay * v + (current if dynamics.input_scale == 1 else dynamics.input_scale * current)
    if dynamics.decay_input:
        return v + (current - (v - dynamics.v_reset)) / dynamics.tau
    return v - (v - dynamics.v_reset) / dynamics.tau + current


def after_reset(h: Tensor, fired: Tensor, dynamics: Dynamics, threshold: Tensor | float) -> Tensor:
    """Membrane potential once the neurons with `fired` = 1 are reset; same shape as `h`."""
    if dynamics.reset == "subtract":
        return h - fired * threshold
    if dynamics.reset == "zero":
        return (1 - fired) * h + fired * dynamics.v_reset
    return h


def fire(h: Tensor, dynamics: Dynamics, threshold: Tensor | float) -> Tensor:
    """Spikes (0 or 1) of membrane potentials `h`, with the surrogate's gradient; same shape."""
    return spike(h - threshold, dynamics.surrogate, dynamics.strict)


def reset_signal(fired: Tensor, dynamics: Dynamics) -> Tensor:
    """Spikes as the reset sees them: constants where the reset is left out of the gradient."""
    return fired.detach() if dynamics.detach_reset else fired


def run_loop(
    current: Tensor,
    state: Tensor,
    dynamics: Dynamics,
    decay: Tensor | float | None = None,
    threshold: Tensor | float | None = None,
) -> tuple[Tensor, Tensor]:
    """Walk through all time steps, one after the other.

    Parameters
    ----------
    current : Tensor
        Input `[T, ...]`, time first.
    state : Tensor
        Membrane potential `[...]` before the first step, as the second result has it.
    dynamics : Dynamics
        Equations and numbers.
    decay, threshold : Tensor or float, optional
        In place of those of `dynamics`: learned, or one per neuron; they broadcast against `[...]`.

    Returns
    -------
    tuple of Tensor
        Spikes `[T, ...]` and membrane potentials `[T, ...]`: those that fired, before a reset in the same step; after
        it for "snntorch_same_step". The last potential is the state to go on from.
    """
    decay = dynamics.decay if decay is None else decay
    threshold = dynamics.threshold if threshold is None else threshold
    step = _snntorch_step if dynamics.reset_at == "snntorch_same_step" else _step
    spikes, membranes = [], []
    fired = fire(state, dynamics, threshold)
    for now in current:
        fired, state = step(now, state, fired, dynamics, decay, threshold)
        spikes.append(fired)
        membranes.append(state)
    return torch.stack(spikes), torch.stack(membranes)


def _step(current, h, fired, dynamics, decay, threshold):
    signal = reset_signal(fired, dynamics)
    if dynamics.reset == "subtract" and dynamics.reset_at == "next_step":
        h = leak(h, current, dynamics, decay) - signal * threshold
    else:
        h = leak(after_reset(h, signal, dynamics, threshold), current, dynamics, decay)
    return fire(h, dynamics, threshold), h


def _snntorch_step(current, v, _, dynamics, decay, threshold):
    # v is the potential after the last reset; `pending` is 1 where it is above threshold all the same.
    pending = fire(v, dynamics, threshold).detach()
    if dynamics.reset == "subtract":
        h = leak(v, current, dynamics, decay) - pending * threshold
    else:
        h = leak(after_reset(v, pending, dynamics, threshold), current, dynamics, decay)
    fired = fire(h, dynamics, threshold)
    step_back = threshold if dynamics.reset == "subtract" else h - dynamics.v_reset
    return fired, h - (fired - pending) * step_back
