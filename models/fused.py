"""One spiking neuron over all time steps as a single operation of autograd.

`run_fused` is the entry: on the CPU it runs the compiled kernels of `models.lif_kernels` with threads over blocks of
neurons, on any other device the same equations with torch operations and a backward pass written by hand. Both keep
only one tensor of the input's size for the backward pass and equal `models.dynamics.run_loop` in spikes, bit for bit,
and in gradients.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import count

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from models import lif_kernels
from models.dynamics import Dynamics, after_reset, leak

FUSED_TYPES = (torch.float32, torch.float64)
_NUMPY_TYPES = {torch.float32: np.float32, torch.float64: np.float64}

# A block's potentials over all steps stay in the level-2 cache; under 64 neurons a row no longer fills the vector
# units.
_BLOCK_BYTES = 512 * 1024
_BLOCK_NEURONS = (64, 2048)
# With less work for each, a second thread costs more than it saves: it has to be woken, and right after a matrix
# product or a convolution it shares its core with that library's waiting thread (measured on two cores: slower at 1
# million in all, faster at 4).
_NEURON_STEPS_PER_THREAD = 2_000_000


def run_fused(
    current: Tensor, state: Tensor, dynamics: Dynamics, time_steps: int | None = None, keep: int = 0
) -> tuple[Tensor, Tensor]:
    """Spikes and the last membrane potentials of one layer of neurons.

    Parameters
    ----------
    current : Tensor
        Input `[T, ...]`, float32 or float64; with `time_steps`, `[...]`: the same at every step.
    state : Tensor
        Membrane potential `[...]` before the first step.
    dynamics : Dynamics
        Equations and numbers; any but "snntorch_same_step".
    time_steps : int, optional
        T, where `current` has no time axis.
    keep : int
        How many of the last potentials to return, 0 to T.

    Returns
    -------
    tuple of Tensor
        Spikes `[T, ...]`, membrane potentials `[keep, ...]` (those that fired, before a reset in the same step).
    """
    function = _CompiledNeuron if current.device.type == "cpu" else _TorchNeuron
    return function.apply(current, state, dynamics, time_steps, keep)


class _CompiledNeuron(torch.autograd.Function):
    @staticmethod
    def forward(ctx, current, state, dynamics, time_steps, keep):
        shape = current.shape[1:] if time_steps is None else current.shape
        steps = current.shape[0] if time_steps is None else time_steps
        spikes = current.new_empty((steps, *shape))
        membranes = current.new_empty((keep, *shape))
        rows, start = _input_rows(current, time_steps), _row(state)
        arrays = rows, start, _rows(spikes), _rows(membranes)
        constants = kernel_constants(dynamics, current.dtype)
        _for_each_span(lif_kernels.forward, arrays, constants, steps)
        ctx.save_for_backward(current, state)
        ctx.options = dynamics, time_steps
        return spikes, membranes

    @staticmethod
    @once_differentiable
    def backward(ctx, spike_grad, membrane_grad):
        current, state = ctx.saved_tensors
        dynamics, time_steps = ctx.options
        current_grad = torch.empty_like(current, memory_format=torch.contiguous_format)
        state_grad = torch.empty_like(state, memory_format=torch.contiguous_format)
        out = current_grad.unsqueeze(0) if time_steps is not None else current_grad
        arrays = (
            _input_rows(current, time_steps),
            _row(state),
            _rows(spike_grad.contiguous()),
            _rows(membrane_grad.contiguous()),
            _rows(out),
            _row(state_grad),
        )
        _for_each_span(lif_kernels.backward, arrays, kernel_constants(dynamics, current.dtype), spike_grad.shape[0])
        return current_grad, state_grad, None, None, None


class _TorchNeuron(torch.autograd.Function):
    @staticmethod
    def forward(ctx, current, state, dynamics, time_steps, keep):
        steps = current.shape[0] if time_steps is None else time_steps
        h = current.new_empty((steps, *state.shape))
        for t in range(steps):
            before = h[t - 1] if t else state
            h[t] = next_membrane(before, current if time_steps is not None else current[t], dynamics)
        ctx.save_for_backward(h, state)
        ctx.options = dynamics, time_steps, keep
        return spikes_of(h, dynamics), h[steps - keep :].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx, spike_grad, membrane_grad):
        h, state = ctx.saved_tensors
        dynamics, time_steps, keep = ctx.options
        carry = spike_grad * dynamics.surrogate.gradient(h - dynamics.threshold)
        carry[len(h) - keep :] += membrane_grad
        back = transition(h, dynamics)
        for t in range(len(h) - 2, -1, -1):
            carry[t].addcmul_(back[t], carry[t + 1])
        state_grad = transition(state, dynamics) * carry[0]
        gain = derivatives(dynamics)["gain"]
        return gain * (carry if time_steps is None else carry.sum(0)), state_grad, None, None, None


def spikes_of(h: Tensor, dynamics: Dynamics) -> Tensor:
    """Spikes (0 or 1) of membrane potentials `h`; same shape, without a gradient."""
    return (h > dynamics.threshold if dynamics.strict else h >= dynamics.threshold).to(h.dtype)


def next_membrane(h: Tensor, current: Tensor, dynamics: Dynamics) -> Tensor:
    """Potentials of the step after `h`, without a gradient; same shape."""
    fired = spikes_of(h, dynamics)
    if dynamics.reset == "subtract" and dynamics.reset_at == "next_step":
        return leak(h, current, dynamics, dynamics.decay) - fired * dynamics.threshold
    return leak(after_reset(h, fired, dynamics, dynamics.threshold), current, dynamics, dynamics.decay)


def transition(h: Tensor, dynamics: Dynamics) -> Tensor:
    """Value of dh[t+1]/dh[t], A in `models.lif_kernels`."""
    k = derivatives(dynamics)
    kept = k["keep"] * (1 - spikes_of(h, dynamics)) if dynamics.reset == "zero" else k["keep"]
    if dynamics.detach_reset or dynamics.reset == "none":
        return kept + torch.zeros_like(h)
    gradient = dynamics.surrogate.gradient(h - dynamics.threshold)
    return kept + gradient * (k["offset"] + k["slope"] * h)


def derivatives(dynamics: Dynamics) -> dict[str, float]:
    """Numbers of the backward pass: the leak's slope `keep`, the current's `gain`, the reset's `offset` and `slope`.

    A reset that takes part in the gradient adds g (offset + slope h) to dh[t+1]/dh[t], with g the surrogate's gradient:
    -keep v_th g if v_th is taken off before the leak, -v_th g after it, keep (v_reset - h) g for setting to v_reset.
    """
    keep = dynamics.decay if dynamics.tau is None else 1 - 1 / dynamics.tau
    gain = dynamics.input_scale
    if dynamics.tau is not None:
        gain = 1 / dynamics.tau if dynamics.decay_input else 1.0
    offset = slope = 0.0
    if not dynamics.detach_reset and dynamics.reset == "subtract":
        offset = -dynamics.threshold * (1.0 if dynamics.reset_at == "next_step" else keep)
    elif not dynamics.detach_reset and dynamics.reset == "zero":
        offset, slope = keep * dynamics.v_reset, -keep
    return {"keep": keep, "gain": gain, "offset": offset, "slope": slope}


@lru_cache(maxsize=256)
def kernel_constants(dynamics: Dynamics, dtype: torch.dtype) -> lif_kernels.Constants:
    """Numbers of a neuron as the kernels want them, rounded to `dtype`."""
    number = _NUMPY_TYPES[dtype]
    threshold = number(dynamics.threshold)
    # x >= v_th is the same as x > the next number below v_th.
    fire_above = threshold if dynamics.strict else np.nextafter(threshold, number(-np.inf))
    subtracted = dynamics.threshold if dynamics.reset == "subtract" else 0.0
    late = dynamics.reset_at == "next_step"
    return lif_kernels.Constants(
        leak=_leak_kind(dynamics),
        decay=number(dynamics.decay),
        input_scale=number(dynamics.input_scale),
        tau=number(dynamics.tau or 1.0),
        v_reset=number(dynamics.v_reset),
        fire_above=fire_above,
        set_above=fire_above if dynamics.reset == "zero" else number(np.inf),
        early=number(0.0 if late else subtracted),
        late=number(subtracted if late else 0.0),
        surrogate=dynamics.surrogate.code,
        threshold=threshold,
        scale=number(dynamics.surrogate.scale),
        **{name: number(value) for name, value in derivatives(dynamics).items()},
    )


def _leak_kind(dynamics: Dynamics) -> int:
    if dynamics.tau is None:
        return lif_kernels.FACTOR
    return lif_kernels.TAU_INPUT if dynamics.decay_input else lif_kernels.TAU


def _input_rows(current: Tensor, time_steps: int | None) -> np.ndarray:
    if time_steps is not None:
        return _rows(current.unsqueeze(0))
    if current.stride(0) == 0 and current.shape[0] > 1:
        # An input that was repeated without a copy is read from its one row, again and again.
        return _rows(current[:1])
    return _rows(current)


def _rows(tensor: Tensor) -> np.ndarray:
    """Memory of a tensor as `[rows, N]`, its first axis by all others."""
    return tensor.detach().contiguous().reshape(tensor.shape[0], -1 if tensor.numel() else 0).numpy()


def _row(tensor: Tensor) -> np.ndarray:
    return tensor.detach().contiguous().reshape(-1).numpy()


def _for_each_span(kernel: Callable, arrays: tuple, constants: lif_kernels.Constants, steps: int) -> None:
    """Run `kernel` over all neurons, in a few spans per thread so that one late thread doesn't hold up the rest."""
    neurons = arrays[1].size
    block = _block_size(steps, arrays[1].itemsize)
    threads = min(torch.get_num_threads(), neurons * steps // _NEURON_STEPS_PER_THREAD, neurons // block)
    if threads <= 1:
        kernel(*arrays, constants, 0, neurons, min(block, max(neurons, 1)))
        return
    span = block * max(1, neurons // (4 * threads * block))
    turns = count()

    def work() -> None:
        for start in _starts(turns, span, neurons):
            kernel(*arrays, constants, start, min(start + span, neurons), block)

    helpers = [_pool(threads - 1).submit(work) for _ in range(threads - 1)]
    work()
    for helper in helpers:
        helper.result()


def _starts(turns: Iterator[int], span: int, neurons: int) -> Iterator[int]:
    # next() of one shared counter is atomic, so no two threads get the same span.
    while (start := next(turns) * span) < neurons:
        yield start


def _block_size(steps: int, item_bytes: int) -> int:
    low, high = _BLOCK_NEURONS
    return min(max(_BLOCK_BYTES // (item_bytes * (steps + 1)) // low * low, low), high)


@lru_cache(maxsize=1)
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="neuron")


# A forked process (a data loader's worker) has none of its parent's threads: it makes its own pool when it needs one.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)
