"""Connections of every kind of layer, counted one by one."""

from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from models.connections import connections, directions, fan_out


@st.composite
def convolutions(draw):
    """A small convolution, and the size of its input."""
    n = draw(st.integers(1, 2))
    each = lambda low, high: tuple(draw(st.integers(low, high)) for _ in range(n))  # noqa: E731
    groups = draw(st.integers(1, 3))
    kernel, stride, dilation = each(1, 3), each(1, 3), each(1, 3)
    padding = draw(st.sampled_from(["same", "valid", "zeros"]))
    padding = each(0, 2) if padding == "zeros" or (padding == "same" and set(stride) != {1}) else padding
    size = tuple(d * (k - 1) + 1 + draw(st.integers(0, 3)) for k, d in zip(kernel, dilation, strict=True))
    channels = groups * draw(st.integers(1, 2)), groups * draw(st.integers(1, 2))
    kind = (nn.Conv1d, nn.Conv2d)[n - 1]
    return kind(*channels, kernel, stride=stride, padding=padding, dilation=dilation, groups=groups), size


@st.composite
def transposed_convolutions(draw):
    n = draw(st.integers(1, 2))
    each = lambda low, high: tuple(draw(st.integers(low, high)) for _ in range(n))  # noqa: E731
    groups, kernel, stride, dilation = draw(st.integers(1, 2)), each(1, 3), each(1, 3), each(1, 2)
    padding = tuple(draw(st.integers(0, d * (k - 1) // 2)) for k, d in zip(kernel, dilation, strict=True))
    extra = tuple(draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation, strict=True))
    channels = groups * draw(st.integers(1, 2)), groups * draw(st.integers(1, 2))
    kind = (nn.ConvTranspose1d, nn.ConvTranspose2d)[n - 1]
    return kind(*channels, kernel, stride=stride, padding=padding, output_padding=extra, dilation=dilation, groups=groups), each(1, 4)


def taps(layer, place, output):
    """Taps of the kernel that lead from a place of the input to one of the output, tried one after the other."""
    before = [d * (k - 1) // 2 for d, k in zip(layer.dilation, layer.kernel_size, strict=True)] if layer.padding == "same" else layer.padding
    before = [0] * len(place) if layer.padding == "valid" else before
    fixed, moving = (place, output) if not isinstance(layer, nn.ConvTranspose1d | nn.ConvTranspose2d) else (output, place)
    found = 0
    for tap in product(*(range(k) for k in layer.kernel_size)):
        reached = (m * s + t * d - b for m, s, t, d, b in zip(moving, layer.stride, tap, layer.dilation, before, strict=True))
        found += all(r == f for r, f in zip(reached, fixed, strict=True))
    return found


def counted(layer, size):
    """Connections from each place of one input channel: a loop over outputs, channels of the group and taps."""
    outputs = layer(torch.zeros(1, layer.in_channels, *size)).shape[2:]
    result = torch.zeros(size, dtype=torch.float64)
    for place in product(*(range(length) for length in size)):
        for output in product(*(range(length) for length in outputs)):
            for _channel in range(layer.out_channels // layer.groups):
                result[place] += taps(layer, place, output)
    return result


@settings(max_examples=60, deadline=None)
@given(convolutions())
def test_fan_out_of_a_convolution_equals_the_loop_over_its_taps(case):
    layer, size = case
    assert torch.equal(fan_out(layer, *size), counted(layer, size))


@settings(max_examples=40, deadline=None)
@given(transposed_convolutions())
def test_fan_out_of_a_transposed_convolution_equals_the_loop_over_its_taps(case):
    layer, size = case
    assert torch.equal(fan_out(layer, *size), counted(layer, size))


@settings(max_examples=40, deadline=None)
@given(st.one_of(convolutions(), transposed_convolutions()), st.randoms(use_true_random=False))
def test_fan_out_equals_what_ones_for_weights_add_up_to(case, chance):
    # a spike's fan-out is the sum of the outputs that it alone causes
    layer, size = case
    layer = layer.double()
    nn.init.ones_(layer.weight)
    nn.init.zeros_(layer.bias)
    place, channel = tuple(chance.randrange(length) for length in size), chance.randrange(layer.in_channels)
    spike = torch.zeros(1, layer.in_channels, *size, dtype=torch.float64)
    spike[(0, channel, *place)] = 1
    assert layer(spike).sum().item() == fan_out(layer, *size)[place].item()


def test_macs_of_a_depthwise_convolution_by_hand():
    # 6 channels, each for itself: 6 x 4 x 5 places x 9 taps
    layer = nn.Conv2d(6, 6, 3, groups=6)
    assert connections(layer, torch.zeros(1, 6, 6, 7)) == 6 * 4 * 5 * 9
    assert connections(layer, torch.zeros(3, 6, 6, 7)) == 3 * 6 * 4 * 5 * 9


def test_macs_of_a_dense_layer_on_tokens_by_hand():
    assert connections(nn.Linear(4, 5), torch.zeros(2, 3, 4)) == 2 * 3 * 4 * 5


def test_places_that_a_stride_leaves_out_lead_nowhere():
    assert fan_out(nn.Conv1d(1, 2, 1, stride=2), 5).tolist() == [2, 0, 2, 0, 2]
    assert fan_out(nn.Conv1d(1, 1, 2, dilation=3), 5).tolist() == [1, 1, 0, 1, 1]


def test_directions():
    assert [directions(layer) for layer in (nn.Linear(1, 1), nn.Conv1d(1, 1, 1), nn.ConvTranspose2d(1, 1, 1))] == [0, 1, 2]


def test_what_cannot_be_counted_is_refused():
    with pytest.raises(TypeError, match="LSTM"):
        fan_out(nn.LSTM(2, 2))
    with pytest.raises(TypeError, match="padded by circular"):
        fan_out(nn.Conv1d(1, 1, 3, padding=1, padding_mode="circular"), 5)
    with pytest.raises(ValueError, match="expected 2 sizes"):
        fan_out(nn.Conv2d(1, 1, 3), 5)
