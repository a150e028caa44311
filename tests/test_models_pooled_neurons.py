"""Convolution, neurons and counts of spikes in one operation: equal to the three modules one after the other, in spikes, gradients and bytes."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from models import pooled_neurons
from models.layers import MapNeurons, at_each_step
from models.neurons import LIF
from models.pooled_neurons import MeanConv2d, MeanLinear, spike_sums
from models.surrogate import SURROGATES


def events(shape, share=0.2, seed=0):
    return (torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < share).float()


def exact(layer, scale=32):
    """Round weights to multiples of 1/scale, so that sums over spikes are exact in any order of addition."""
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_((parameter * 4 * scale).round() / scale)
    return layer


def one_by_one(convolution, neuron, maps):
    """Convolution, neurons and sums over 2 x 2 windows as they are written."""
    spikes = neuron(at_each_step(convolution, maps))
    return F.avg_pool2d(spikes.flatten(0, 1), 2, divisor_override=1).unflatten(0, maps.shape[:2])


def answers(run, convolution, maps, weight):
    sums = run()
    given_maps = [maps] if maps.requires_grad else []
    return sums, torch.autograd.grad((sums * weight).sum(), [convolution.weight, convolution.bias, *given_maps])


def assert_same(found, expected, tolerance=1e-6):
    assert torch.equal(found[0], expected[0])
    for mine, wanted in zip(found[1], expected[1], strict=True):
        assert (mine - wanted).abs().max() <= tolerance * max(wanted.abs().max().item(), 1e-3)


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.tuples(st.integers(1, 6), st.integers(1, 3), st.integers(1, 2), st.integers(5, 11), st.integers(5, 9)),
    channels=st.integers(1, 9),
    kernel=st.sampled_from([1, 3, 4]),
    padding=st.integers(0, 2),
    surrogate=st.sampled_from(sorted(SURROGATES)),
)
def test_convolution_of_events_equals_the_modules(sizes, channels, kernel, padding, surrogate):
    torch.manual_seed(0)
    convolution, neurons = exact(nn.Conv2d(sizes[2], channels, kernel, padding=padding)), MapNeurons(LIF.stbp(0.25, surrogate=surrogate))
    maps = events(sizes)
    expected = one_by_one(convolution, neurons, maps)
    weight = torch.randn(expected.shape)
    # A surrogate as wide as the potentials has gradients that differ in their last digits; the sums over them in the last but one.
    assert_same(
        answers(lambda: spike_sums(convolution, neurons, maps), convolution, maps, weight),
        answers(lambda: one_by_one(convolution, neurons, maps), convolution, maps, weight),
        tolerance=2e-5,
    )


@settings(max_examples=25, deadline=None)
@given(
    sizes=st.tuples(st.integers(1, 6), st.integers(1, 3), st.integers(1, 4), st.integers(4, 9), st.integers(4, 11)),
    channels=st.integers(1, 9),
    padding=st.integers(0, 1),
)
def test_convolution_of_sums_equals_that_of_means(sizes, channels, padding):
    torch.manual_seed(0)
    convolution, neurons = exact(MeanConv2d(sizes[2], channels, 3, padding=padding)), MapNeurons(LIF.stbp(0.25))
    plain = nn.Conv2d(sizes[2], channels, 3, padding=padding)
    plain.weight, plain.bias = convolution.weight, convolution.bias
    sums = torch.randint(5, sizes, generator=torch.Generator().manual_seed(1)).float().requires_grad_()
    weight = torch.randn(one_by_one(convolution, neurons, sums).shape)
    assert_same(
        answers(lambda: spike_sums(convolution, neurons, sums), convolution, sums, weight),
        answers(lambda: one_by_one(plain, neurons, sums / 4), convolution, sums, weight),
        tolerance=1e-5,
    )


def test_counts_need_not_be_binary_nor_positive():
    convolution, neurons = exact(nn.Conv2d(1, 4, 3, padding=1)), MapNeurons(LIF.stbp(0.25))
    maps = torch.randint(-2, 4, (5, 2, 1, 8, 8), generator=torch.Generator().manual_seed(0)).float()
    assert torch.equal(spike_sums(convolution, neurons, maps), one_by_one(convolution, neurons, maps))


def test_maps_that_want_a_gradient_get_one():
    convolution, neurons, maps = nn.Conv2d(1, 4, 3, padding=1), MapNeurons(LIF.stbp()), events((5, 2, 1, 8, 8)).requires_grad_()
    (found,) = torch.autograd.grad(spike_sums(convolution, neurons, maps).square().sum(), maps)
    (expected,) = torch.autograd.grad(one_by_one(convolution, neurons, maps).square().sum(), maps)
    assert expected.abs().sum() > 0
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_double_precision_takes_the_modules_and_agrees():
    convolution, neurons, maps = exact(nn.Conv2d(1, 4, 3)), MapNeurons(LIF.stbp(0.25)), events((5, 2, 1, 8, 8))
    single = spike_sums(convolution, neurons, maps)
    assert torch.equal(spike_sums(convolution.double(), neurons, maps.double()), single.double())


@pytest.mark.parametrize("kind", [nn.Conv2d, MeanConv2d])
def test_whoever_listens_gets_to_hear_the_spikes(kind):
    convolution, neurons, maps, heard = exact(kind(1, 4, 3, padding=1)), MapNeurons(LIF.stbp(0.25)), events((5, 2, 1, 8, 8)), []
    expected = spike_sums(convolution, neurons, maps)
    handle = neurons.register_forward_hook(lambda _m, _i, spikes: heard.append(spikes))
    assert torch.equal(spike_sums(convolution, neurons, maps), expected)
    handle.remove()
    assert heard[0].shape == (5, 2, 4, 8, 8)
    assert heard[0].sum() == expected.sum()


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("kind", [nn.Conv2d, MeanConv2d])
def test_any_number_of_threads_gives_the_same_bytes(threads, kind, monkeypatch):
    torch.manual_seed(0)
    convolution, neurons, maps = kind(2, 8, 3, padding=1), MapNeurons(LIF.stbp()), events((6, 5, 2, 13, 10))
    weight = torch.randn(6, 5, 8, 6, 5)
    run = lambda: answers(lambda: spike_sums(convolution, neurons, maps), convolution, maps, weight)  # noqa: E731
    expected = run()
    monkeypatch.setattr("models.threads.torch.get_num_threads", lambda: threads)
    found = run()
    assert torch.equal(found[0], expected[0])
    assert all(torch.equal(mine, wanted) for mine, wanted in zip(found[1], expected[1], strict=True))


def test_neither_spikes_nor_currents_of_the_first_layer_are_kept():
    convolution, maps, kept = nn.Conv2d(1, 16, 3, padding=1), events((6, 2, 1, 8, 8)), []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: (kept.append(x.numel()), x)[1], lambda x: x):
        spike_sums(convolution, MapNeurons(LIF.stbp()), maps)
    assert max(kept) == maps.numel()


def test_sums_lie_in_memory_as_the_next_convolution_wants_them():
    sums = spike_sums(nn.Conv2d(1, 16, 3, padding=1), MapNeurons(LIF.stbp()), events((6, 2, 1, 8, 8)))
    assert sums.flatten(0, 1).is_contiguous(memory_format=torch.channels_last)


def test_dense_layer_on_sums_takes_their_means():
    layer, sums = MeanLinear((3, 4, 5), 2), torch.randint(5, (6, 3, 4, 5)).float()
    torch.testing.assert_close(layer(sums), F.linear((sums / pooled_neurons.WINDOW).flatten(1), layer.weight, layer.bias))
