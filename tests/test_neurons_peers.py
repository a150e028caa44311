"""Spikes equal snnTorch's and SpikingJelly's bit for bit, gradients to 1e-6."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.neurons import LIF
from models.surrogate import SURROGATES

SHAPES = st.sampled_from([(1, 1, 1), (8, 3, 5), (25, 2, 70), (12, 4, 3, 7, 5)])
SEEDS = st.integers(0, 2**31 - 1)


def random_input(shape, seed, dtype=torch.float32):
    """A current that makes neurons fire now and then, and the gradients that come back."""
    generator = torch.Generator().manual_seed(seed)
    current = torch.randn(shape, generator=generator, dtype=dtype) + 0.3
    return current.requires_grad_(), *torch.randn((2, *shape), generator=generator, dtype=dtype)


def walk(step, current):
    """Spikes and potentials of a peer's neuron, step by step."""
    state, spikes, potentials = torch.zeros_like(current[0]), [], []
    for now in current:
        fired, state = step(now, state)
        spikes.append(fired)
        potentials.append(state)
    return torch.stack(spikes), torch.stack(potentials)


def gradients(spikes, potentials, inputs, weights):
    loss = (spikes * weights[0]).sum() + (potentials * weights[1]).sum()
    return torch.autograd.grad(loss, inputs)


def gradient(spikes, potentials, current, weights):
    return gradients(spikes, potentials, [current], weights)[0]


@settings(max_examples=60, deadline=None)
@given(
    shape=SHAPES,
    seed=SEEDS,
    beta=st.floats(0, 1, width=32),
    threshold=st.sampled_from([1.0, 0.5, 1.3, 0.1]),
    reset=st.sampled_from(["subtract", "zero", "none"]),
    delay=st.booleans(),
)
def test_spikes_and_potentials_equal_snntorch(shape, seed, beta, threshold, reset, delay):
    snntorch = pytest.importorskip("snntorch")
    current, *_ = random_input(shape, seed)
    peer = snntorch.Leaky(beta=beta, threshold=threshold, reset_mechanism=reset, reset_delay=delay)
    spikes, potentials = walk(peer, current)
    ours = LIF.snntorch(beta, threshold=threshold, reset=reset, reset_delay=delay).run(current)
    assert torch.equal(ours.spikes, spikes)
    assert torch.equal(ours.potential, potentials)


@pytest.mark.parametrize("reset", ["subtract", "zero", "none"])
@pytest.mark.parametrize("delay", [True, False])
@pytest.mark.parametrize(("name", "peer_name"), [("arctan", "atan"), ("fast_sigmoid",) * 2, ("sigmoid",) * 2])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_equal_snntorch(name, peer_name, reset, delay, dtype):
    snntorch = pytest.importorskip("snntorch")
    scale = {"sigmoid": 6.0}.get(name, SURROGATES[name]().scale)  # theirs overflows with 25 in float32
    current, *weights = random_input((20, 3, 40), 7, dtype)
    surrogate = getattr(snntorch.surrogate, peer_name)(scale)
    beta = torch.tensor(0.85, dtype=dtype)
    peer = snntorch.Leaky(beta=beta, spike_grad=surrogate, reset_mechanism=reset, reset_delay=delay).to(dtype)
    spikes, potentials = walk(peer, current)
    expected = gradient(spikes, potentials, current, weights)
    ours = LIF.snntorch(0.85, reset=reset, reset_delay=delay, surrogate=SURROGATES[name](scale)).run(current)
    got = gradient(ours.spikes, ours.potential, current, weights)
    assert torch.equal(ours.spikes, spikes.to(dtype))
    # Their spikes are float32 whatever the input, and so are the gradients that come through them.
    torch.testing.assert_close(got, expected, rtol=1e-6, atol=1e-6 * expected.abs().max().item())


@pytest.mark.parametrize("reset", ["subtract", "zero"])
def test_learned_decay_and_threshold_have_snntorchs_gradients(reset):
    snntorch = pytest.importorskip("snntorch")
    current, *weights = random_input((20, 3, 40), 9)
    peer = snntorch.Leaky(beta=0.85, threshold=0.7, learn_beta=True, learn_threshold=True, reset_mechanism=reset)
    ours = LIF.snntorch(0.85, threshold=0.7, reset=reset, learn_decay=True, learn_threshold=True)
    spikes, potentials = walk(peer, current)
    response = ours.run(current)
    assert torch.equal(response.spikes, spikes)
    expected = gradients(spikes, potentials, [current, peer.beta, peer.threshold], weights)
    got = gradients(response.spikes, response.potential, [current, ours.decay, ours.threshold], weights)
    for mine, theirs in zip(got, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=1e-6 * theirs.abs().max().item())


@settings(max_examples=40, deadline=None)
@given(
    shape=SHAPES,
    seed=SEEDS,
    tau=st.sampled_from([2.0, 1.5, 3.0, 7.3]),
    decay_input=st.booleans(),
    v_reset=st.sampled_from([0.0, None, -0.25]),
    detach=st.booleans(),
    name=st.sampled_from(["arctan", "sigmoid"]),
)
def test_equal_to_spikingjelly(shape, seed, tau, decay_input, v_reset, detach, name):
    activation = pytest.importorskip(
        "spikingjelly.activation_based", reason="spikingjelly is not installed (extra bench)"
    )
    from spikingjelly.activation_based import neuron, surrogate

    current, *weights = random_input(shape, seed)
    current = (current.detach() * 1.7).requires_grad_()
    peer = neuron.LIFNode(
        tau=tau,
        decay_input=decay_input,
        v_reset=v_reset,
        detach_reset=detach,
        surrogate_function=surrogate.ATan(2.0) if name == "arctan" else surrogate.Sigmoid(4.0),
        step_mode="m",
        store_v_seq=True,
    )
    activation.functional.reset_net(peer)
    spikes = peer(current)
    expected = gradient(spikes, peer.v_seq, current, weights)
    ours = LIF.spikingjelly(
        tau,
        decay_input=decay_input,
        v_reset=v_reset,
        detach_reset=detach,
        surrogate=SURROGATES[name](2.0 if name == "arctan" else 4.0),
    ).run(current)
    assert torch.equal(ours.spikes, spikes)
    torch.testing.assert_close(ours.potential, peer.v_seq, rtol=0, atol=0)
    got = gradient(ours.spikes, ours.potential, current, weights)
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-6 * max(1.0, expected.abs().max().item()))
