"""The compiled route through time against the plain loop and the route for other devices; threads, layouts, types."""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models import fused
from models.dynamics import Dynamics, run_loop
from models.neurons import LIF
from models.surrogate import NAMES, SURROGATES

DYNAMICS = {
    "snntorch": Dynamics(0.9),
    "zero": Dynamics(0.7, reset="zero"),
    "none": Dynamics(0.99, reset="none", surrogate="triangular"),
    "attached late": Dynamics(0.8, detach_reset=False, input_scale=0.6),
    "attached early": Dynamics(0.8, detach_reset=False, reset_at="same_step", threshold=0.4),
    "early": Dynamics(0.3, reset_at="same_step", strict=False),
    "to a value": Dynamics(0.6, reset="zero", v_reset=-0.3, detach_reset=False, v_init=0.2),
    "tau": Dynamics(tau=3.1, decay_input=False, reset="zero", v_reset=0.1, detach_reset=False, reset_at="same_step"),
    "tau and input": Dynamics(tau=1.7, reset="zero", strict=False, surrogate="sigmoid"),
    "tau, subtract": Dynamics(tau=5.3, threshold=0.3, reset_at="same_step", detach_reset=False),
    "tau, late": Dynamics(tau=2.0, decay_input=False, detach_reset=False),
    "stbp": Dynamics(0.2, 0.5, strict=False, reset="zero", detach_reset=False, surrogate="rectangular"),
    "if": Dynamics(1.0, 0.3, strict=False, v_init=0.15, surrogate="fast_sigmoid"),
}


def made_input(shape, dtype, seed=0):
    """Current, state and the two gradients that come back."""
    generator = torch.Generator().manual_seed(seed)
    current = (torch.randn(shape, generator=generator, dtype=dtype) + 0.2).requires_grad_()
    state = (0.5 * torch.randn(shape[1:], generator=generator, dtype=dtype)).requires_grad_()
    return current, state, *torch.randn((2, *shape), generator=generator, dtype=dtype)


def answer(route, current, state, weights):
    """Spikes, potentials and the gradients of a loss over both."""
    spikes, membranes = route(current, state)
    loss = (spikes * weights[0]).sum() + (membranes * weights[1][-len(membranes) :]).sum()
    return spikes, membranes, *torch.autograd.grad(loss, (current, state))


def routes(dynamics, keep):
    """The three ways through time."""
    return {
        "loop": lambda current, state: tuple(
            x[-n:] for x, n in zip(run_loop(current, state, dynamics), (0, keep), strict=True)
        ),
        "compiled": lambda current, state: fused.run_fused(current, state, dynamics, None, keep),
        "torch": lambda current, state: fused._TorchNeuron.apply(current, state, dynamics, None, keep),
    }


@pytest.mark.parametrize("name", DYNAMICS)
@pytest.mark.parametrize("keep", [1, 5, 13])
def test_the_routes_agree_in_double_precision(name, keep):
    current, state, *weights = made_input((13, 3, 71), torch.float64)
    answers = {route: answer(run, current, state, weights) for route, run in routes(DYNAMICS[name], keep).items()}
    assert answers["loop"][0].mean() > 0.02
    for route in ("compiled", "torch"):
        assert torch.equal(answers[route][0], answers["loop"][0])
        assert torch.equal(answers[route][1], answers["loop"][1])
        for mine, expected in zip(answers[route][2:], answers["loop"][2:], strict=True):
            torch.testing.assert_close(mine, expected, rtol=1e-11, atol=1e-13)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    shape=st.sampled_from([(1, 1), (9, 130), (30, 2, 2, 9), (4, 4100)]),
    name=st.sampled_from(sorted(DYNAMICS)),
    surrogate=st.sampled_from(NAMES),
    decay=st.floats(0, 1, width=32),
    threshold=st.floats(0.25, 2, width=32),
)
def test_spikes_equal_the_loops_bit_for_bit(seed, shape, name, surrogate, decay, threshold):
    given_options = {
        **DYNAMICS[name].__dict__,
        "decay": decay,
        "threshold": threshold,
        "surrogate": SURROGATES[surrogate](),
    }
    run = routes(Dynamics(**given_options), shape[0])
    current, state, *weights = made_input(shape, torch.float32, seed)
    expected = answer(run["loop"], current, state, weights)
    for route in ("compiled", "torch"):
        got = answer(run[route], current, state, weights)
        assert torch.equal(got[0], expected[0])
        assert torch.equal(got[1], expected[1])
        torch.testing.assert_close(got[2], expected[2], rtol=2e-5, atol=2e-6 * max(1.0, expected[2].abs().max().item()))


@pytest.mark.parametrize("name", ["snntorch", "none", "early", "tau"])
def test_gradients_of_the_potential_are_true_derivatives(name):
    """Where spikes are constants, potentials are straight lines in the current; finite differences know their slope."""
    dynamics = Dynamics(**{**DYNAMICS[name].__dict__, "detach_reset": True})
    current, state, *_ = made_input((6, 4), torch.float64, seed=3)
    assert torch.autograd.gradcheck(lambda *x: fused.run_fused(*x, dynamics, None, 6)[1], (current, state))
    assert torch.autograd.gradcheck(lambda *x: fused._TorchNeuron.apply(*x, dynamics, None, 6)[1], (current, state))


def test_single_precision_exponential():
    x = np.linspace(-80, 0, 200_001, dtype=np.float32)
    values = np.array([fused.lif_kernels._exp_single(number) for number in x[::40]])
    exact = np.exp(x[::40].astype(np.float64))
    assert np.abs(values / exact - 1).max() < 1.2e-7
    assert values[-1] == 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_constant_current_agrees_between_devices_routes(dtype):
    current, state, *weights = made_input((9, 300), dtype)
    one = current[0].detach().requires_grad_()
    dynamics = DYNAMICS["attached late"]
    compiled = answer(lambda *x: fused.run_fused(*x, dynamics, 9, 9), one, state, weights)
    other = answer(lambda *x: fused._TorchNeuron.apply(*x, dynamics, 9, 9), one, state, weights)
    assert torch.equal(compiled[0], other[0])
    torch.testing.assert_close(compiled[2:], other[2:], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_any_number_of_threads_gives_the_same_bytes(threads, monkeypatch):
    monkeypatch.setattr(fused, "_NEURON_STEPS_PER_THREAD", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    spans = []
    kernel = fused.lif_kernels.forward
    monkeypatch.setattr(fused.lif_kernels, "forward", lambda *a: (spans.append(a[-3:-1]), kernel(*a)))
    current, state, *weights = made_input((5, 30_001), torch.float32)
    lif = LIF(0.9)
    spikes = lif(current, state)
    assert (len(spans) > 1) == (threads > 1)
    assert sum(stop - start for start, stop in spans) == 30_001
    monkeypatch.undo()
    torch.set_num_threads(torch.get_num_threads())
    assert torch.equal(spikes, lif(current, state))
    gradient = torch.autograd.grad((spikes * weights[0]).sum(), current)[0]
    assert torch.equal(gradient, torch.autograd.grad((lif(current, state) * weights[0]).sum(), current)[0])


def test_layers_may_run_in_threads_of_the_caller(monkeypatch):
    monkeypatch.setattr(fused, "_NEURON_STEPS_PER_THREAD", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    current, *_ = made_input((6, 9000), torch.float32)
    expected = LIF(0.9)(current)
    with ThreadPoolExecutor(4) as callers:
        answers = list(callers.map(lambda _: LIF(0.9)(current), range(12)))
    assert all(torch.equal(spikes, expected) for spikes in answers)


class NeuronsInWorkers(torch.utils.data.Dataset):
    """Examples that run a layer of neurons themselves, with threads.

    They are so small that torch uses no threads of its own, which a forked process would wait for without end.
    """

    def __len__(self):
        return 2

    def __getitem__(self, index):
        fused._NEURON_STEPS_PER_THREAD = 1
        torch.set_num_threads(2)
        return LIF(0.9)(torch.full((6, 5000), 0.3 + index))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system doesn't fork its workers")
@pytest.mark.timeout(120)
def test_forked_workers_make_their_own_threads(monkeypatch):
    monkeypatch.setattr(fused, "_NEURON_STEPS_PER_THREAD", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    expected = [LIF(0.9)(torch.full((6, 5000), 0.3 + index)) for index in range(2)]
    assert fused._pool.cache_info().currsize == 1  # the parent's threads, which a forked child doesn't have
    loader = torch.utils.data.DataLoader(
        NeuronsInWorkers(), batch_size=None, num_workers=1, multiprocessing_context="fork"
    )
    for spikes, wanted in zip(loader, expected, strict=True):
        assert torch.equal(spikes, wanted)


def test_any_memory_layout_gives_the_same():
    lif, plain = LIF(0.8), torch.randn(7, 4, 3, 6, 5, generator=torch.Generator().manual_seed(1))
    expected = lif(plain)
    weight = torch.randn_like(plain)
    leaf = plain.clone().requires_grad_()
    (wanted,) = torch.autograd.grad((lif(leaf) * weight).sum(), leaf)
    for layout in (
        plain.transpose(1, 3).contiguous().transpose(1, 3),
        plain.permute(1, 2, 3, 4, 0).contiguous().permute(4, 0, 1, 2, 3),
        plain.flatten(0, 1).contiguous(memory_format=torch.channels_last).view(7, 4, 3, 6, 5),
        torch.stack([plain, plain], -1)[..., 0],
    ):
        assert not layout.is_contiguous()
        layout.requires_grad_()
        spikes = lif(layout)
        assert torch.equal(spikes, expected)
        (gradient,) = torch.autograd.grad((spikes * weight).sum(), layout)
        assert torch.equal(gradient, wanted)


def test_a_current_repeated_without_a_copy_is_read_in_place():
    one = torch.randn(3, 50, generator=torch.Generator().manual_seed(1)).requires_grad_()
    repeated = one.unsqueeze(0).expand(12, 3, 50)
    assert fused._input_rows(repeated, None).shape == (1, 150)
    spikes, weight = LIF(0.9)(repeated), torch.randn(12, 3, 50)
    assert torch.equal(spikes, LIF(0.9)(repeated.contiguous()))
    (gradient,) = torch.autograd.grad((spikes * weight).sum(), one)
    (expected,) = torch.autograd.grad((LIF(0.9)(repeated.contiguous()) * weight).sum(), one)
    torch.testing.assert_close(gradient, expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_single(dtype):
    current = torch.randn(8, 2, 30, generator=torch.Generator().manual_seed(1)).to(dtype).requires_grad_()
    spikes = LIF(0.9)(current)
    assert spikes.dtype == dtype
    assert torch.equal(spikes.float(), LIF(0.9)(current.float()))
    spikes.sum().backward()
    assert current.grad.dtype == dtype


def test_works_under_autocast():
    linear, lif = torch.nn.Linear(10, 20), LIF(0.9)
    with torch.autocast("cpu", torch.bfloat16):
        spikes = lif(linear(torch.rand(5, 3, 10)))
    assert spikes.dtype == torch.bfloat16
    spikes.float().sum().backward()
    assert torch.isfinite(linear.weight.grad).all()


def test_nothing_is_kept_without_gradients():
    current = torch.randn(5, 40, requires_grad=True)
    with torch.no_grad():
        spikes = LIF(0.9)(current)
    assert spikes.grad_fn is None
    assert torch.equal(spikes, LIF(0.9)(current))


def test_only_the_input_is_kept_for_the_backward_pass():
    current = torch.randn(50, 400, requires_grad=True)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: (kept.append(x), x)[1], lambda x: x):
        LIF(0.9)(current)
    assert sorted(x.numel() for x in kept) == [400, 20_000]
    assert any(x.data_ptr() == current.data_ptr() for x in kept)


@settings(max_examples=50, deadline=None)
@given(steps=st.integers(1, 5000), item_bytes=st.sampled_from([4, 8]))
def test_blocks_fit_the_cache(steps, item_bytes):
    block = fused._block_size(steps, item_bytes)
    assert block % 64 == 0
    assert 64 <= block <= 2048
    assert block == 64 or block * (steps + 1) * item_bytes <= fused._BLOCK_BYTES
