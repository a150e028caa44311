"""Spiking neurons that hear their own layer's membrane potentials, over all time steps as one operation of autograd.

    h[t] = decay h[t-1] (1 - s[t-1]) + I[t] + R h[t-1],   s[t] = 1[h[t] >= v_th]

is the recurrent layer of Liu et al. (2022, section 2.2), written here for any `models.dynamics.Dynamics` whose current is I[t] + R h[t-1]. What
comes back are potentials, not spikes, as they are before the reset; the leak stays. With c[t] = dL/dh[t], g the surrogate's gradient and A[t] the
neuron's own dh[t+1]/dh[t], the gradients are

    c[t] = dL/ds[t] g[t] + A[t] c[t+1] + gain R' c[t+1]      dL/dI[t] = gain c[t]      dL/dR = gain sum over t of c[t] h[t-1]'

with the `gain` of the current (1 for Liu et al.). Potentials that feed back are a linear system: where R + decay has an eigenvalue of a magnitude
above 1, they grow from step to step without end. Liu et al. do not speak of it; training does lead there (seen at a learning rate of 5e-3: potentials
of 1e28 after 240 steps, and nothing learned). `Feedback` therefore keeps R's largest singular value below a limit.
"""

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from audiodata.errors import AudioDataError
from models import lif_kernels
from models.dynamics import Dynamics, run_loop
from models.fused import FUSED_TYPES, derivatives, kernel_constants, next_membrane, spikes_of, transition
from models.neurons import LIF, Response

Recurrence = Literal["full", "diagonal", "none"]


class Feedback(nn.Linear):
    """R, from each neuron of a layer to each: a dense layer ``[..., N]`` without bias whose weights never stretch a vector beyond a limit.

    Parameters
    ----------
    neurons : int
        N.
    gain : float
        The weights start as a random orthogonal matrix times this.
    limit : float, optional
        Largest singular value; weights beyond it count as scaled down to it. None: whatever they become.

    Notes
    -----
    The singular value is followed from call to call by power iteration, one step each while training (Miyato et al. 2018): weights change little
    between two calls. The vector that it goes on from is saved with the weights.
    """

    def __init__(self, neurons: int, gain: float, limit: float | None):
        super().__init__(neurons, neurons, bias=False)
        nn.init.orthogonal_(self.weight, gain)
        self.limit = limit
        self.register_buffer("direction", F.normalize(torch.randn(neurons), dim=0))

    def follow(self) -> None:
        """Take a step of power iteration towards the direction that the weights stretch most."""
        # A new tensor each time: the graph of an earlier call may still need the old one.
        with torch.no_grad():
            self.direction = F.normalize(self.weight.T @ (self.weight @ self.direction), dim=0)

    def bounded(self) -> Tensor:
        """Give the weights ``[N, N]``, scaled down if need be."""
        if self.limit is None:
            return self.weight
        stretch = torch.linalg.vector_norm(self.weight @ self.direction)
        return self.weight * _scale(self.limit, stretch)

    def forward(self, potentials: Tensor) -> Tensor:
        """Weigh potentials."""
        return F.linear(potentials, self.bounded())


class DiagonalFeedback(nn.Module):
    """R with weights on its diagonal alone, each neuron's to itself; see `Feedback`. All start as `gain`; the largest is the singular value."""

    def __init__(self, neurons: int, gain: float, limit: float | None):
        super().__init__()
        self.weight = nn.Parameter(torch.full((neurons,), float(gain)))
        self.limit = limit

    def bounded(self) -> Tensor:
        """Give the weights ``[N]``, scaled down if need be."""
        return self.weight if self.limit is None else self.weight * _scale(self.limit, self.weight.abs().max())

    def forward(self, potentials: Tensor) -> Tensor:
        """Weigh potentials."""
        return potentials * self.bounded()


def _scale(limit: float, stretch: Tensor) -> Tensor:
    return (limit / stretch.clamp(min=torch.finfo(stretch.dtype).tiny)).clamp(max=1)


class RecurrentLIF(nn.Module):
    """A layer of neurons that hear the membrane potentials of their layer; see the module's text.

    Parameters
    ----------
    neurons : int
        N.
    neuron : LIF
        Their equations, without anything to learn.
    recurrence : {"full", "diagonal", "none"}
        R: every neuron hears all, each itself alone, or none any.
    gain : float
        R starts as a random orthogonal matrix times this, or as this on the diagonal.
    limit : float, optional
        R never stretches potentials more than this (`Feedback`). With ``decay + limit <= 1`` no potential grows without input.

    Raises
    ------
    AudioDataError
        A neuron that learns its decay or threshold, or whose reset depends on more than its potential ("snntorch_same_step").

    Notes
    -----
    Whoever listens to ``recurrence`` with a hook gets to hear the potentials step by step; this takes the route of `recurrent_loop`.
    """

    def __init__(self, neurons: int, neuron: LIF, recurrence: Recurrence = "full", gain: float = 0.5, limit: float | None = 0.9):
        super().__init__()
        if neuron.decay is not None or neuron.threshold is not None or neuron.dynamics.reset_at == "snntorch_same_step":
            raise AudioDataError("recurrence: needs neurons with a given decay and threshold and a reset at the next or the same step")
        self.neuron = neuron
        kinds = {"full": Feedback, "diagonal": DiagonalFeedback}
        self.recurrence = None if recurrence == "none" else kinds[recurrence](neurons, gain, limit)

    def forward(self, current: Tensor, state: Tensor | None = None) -> Tensor:
        """Spikes ``[T, B, N]`` that a current ``[T, B, N]`` causes, from the potentials `state` ``[B, N]`` on, or from rest."""
        return self.run(current, state).spikes

    def run(self, current: Tensor, state: Tensor | None = None) -> Response:
        """Spikes, membrane potentials before the reset and the state to go on from; all three can be part of a loss.

        Parameters
        ----------
        current : Tensor [T, B, N]
        state : Tensor [B, N], optional
            At rest where left out.

        Raises
        ------
        AudioDataError
            For a current of another form or without a time step, or a state of another shape.
        """
        if current.dim() != 3 or not len(current) or not current.is_floating_point():
            raise AudioDataError(f"current: expected numbers [T, B, N] with a time step at least, got {current.dtype} {list(current.shape)}")
        given = current if current.dtype in FUSED_TYPES else current.float()
        state = self.neuron.rest(given[0]) if state is None else state
        if state.shape != current.shape[1:]:
            raise AudioDataError(f"state: expected the shape of one time step {list(current.shape[1:])}, got {list(state.shape)}")
        spikes, membranes = self._respond(given, state.to(given.dtype))
        return Response(spikes.to(current.dtype), membranes, membranes[-1])

    def _respond(self, current: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        dynamics = self.neuron.dynamics
        if self.recurrence is None:
            response = self.neuron.run(current, state)
            return response.spikes, response.potential
        if self.training and isinstance(self.recurrence, Feedback):
            self.recurrence.follow()
        if self.recurrence._forward_hooks or self.recurrence._forward_pre_hooks:
            return recurrent_loop(current, state, dynamics, self.recurrence)
        return _Recurrent.apply(current, state, self.recurrence.bounded().to(current.dtype), dynamics)


def recurrent_loop(current: Tensor, state: Tensor, dynamics: Dynamics, feedback: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    """Walk through all time steps in plain torch, differentiable by autograd: the reference.

    Parameters
    ----------
    current : Tensor [T, B, N]
    state : Tensor [B, N]
        Potentials before the first step.
    dynamics : Dynamics
    feedback : callable
        Potentials ``[B, N]`` to the current ``[B, N]`` that they add in the next step.

    Returns
    -------
    tuple of Tensor
        Spikes and membrane potentials ``[T, B, N]``.
    """
    spikes, membranes = [], []
    for now in current:
        fired, potential = run_loop((now + feedback(state)).unsqueeze(0), state, dynamics)
        state = potential[0]
        spikes.append(fired[0])
        membranes.append(state)
    return torch.stack(spikes), torch.stack(membranes)


class _Recurrent(torch.autograd.Function):
    """Spikes and potentials ``[T, B, N]``; `weight` is R, ``[N, N]`` or its diagonal ``[N]``."""

    @staticmethod
    def forward(ctx, current, state, weight, dynamics):
        h = torch.empty_like(current, memory_format=torch.contiguous_format)
        heard = torch.empty_like(h[0])
        before = state.contiguous()
        for now, after in zip(current, h, strict=True):
            _feed_back(before, weight, heard)
            heard += now
            _step(before, heard, after, dynamics)
            before = after
        ctx.save_for_backward(h, state, weight)
        ctx.dynamics = dynamics
        return spikes_of(h, dynamics), h

    @staticmethod
    @once_differentiable
    def backward(ctx, spike_grad, membrane_grad):
        h, state, weight = ctx.saved_tensors
        dynamics, gain = ctx.dynamics, derivatives(ctx.dynamics)["gain"]
        carry = (spike_grad * dynamics.surrogate.gradient(h - dynamics.threshold)).add_(membrane_grad)
        back, to_potentials = transition(h, dynamics), weight * gain
        for t in range(len(h) - 2, -1, -1):
            _pass_back(carry[t + 1], back[t], to_potentials, carry[t])
        state_grad = torch.zeros_like(state)
        _pass_back(carry[0], transition(state, dynamics), to_potentials, state_grad)
        current_grad = carry if gain == 1 else gain * carry
        return current_grad, state_grad, _weight_grad(current_grad, state, h, weight), None


def _feed_back(potentials: Tensor, weight: Tensor, out: Tensor) -> None:
    """Write R h for every example."""
    if weight.dim() == 1:
        torch.mul(potentials, weight, out=out)
    else:
        torch.mm(potentials, weight.T, out=out)


def _step(before: Tensor, current: Tensor, after: Tensor, dynamics: Dynamics) -> None:
    """Write the potentials of the next step; all are contiguous."""
    if _has_kernels(before):
        lif_kernels.step(*(row.detach().view(-1).numpy() for row in (before, current, after)), kernel_constants(dynamics, before.dtype))
    else:
        after.copy_(next_membrane(before, current, dynamics))


def _has_kernels(potentials: Tensor) -> bool:
    return potentials.device.type == "cpu"


def _pass_back(later: Tensor, back: Tensor, weight: Tensor, out: Tensor) -> None:
    """Add to a step's gradient what comes from the next: through the neuron itself, `back`, and through R, `weight`."""
    out.addcmul_(back, later)
    if weight.dim() == 1:
        out.addcmul_(later, weight)
    else:
        out.addmm_(later, weight)


def _weight_grad(current_grad: Tensor, state: Tensor, h: Tensor, weight: Tensor) -> Tensor:
    """Gradient of R: products of each step's gradient and the potentials before it."""
    before = torch.cat([state.unsqueeze(0), h[:-1]]).flatten(0, 1)  # [T * B, N]
    gradient = current_grad.flatten(0, 1)
    return (gradient * before).sum(0) if weight.dim() == 1 else gradient.T @ before
