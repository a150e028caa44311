"""Convolution with pooling in blocks against PyTorch's convolution and pooling, and spans of work in threads."""

import threading

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from models import convolution
from models.convolution import POOLINGS, ConvPool2d
from models.threads import for_each_span


def reference(layer, maps):
    convolved = F.conv2d(maps, layer.weight, layer.bias, padding=layer.padding)
    pools = {"max": F.max_pool2d, "average": F.avg_pool2d, "none": lambda values, _: values}
    return pools[layer.pooling](convolved, 2)


def assert_equal_to_pytorch(layer, maps):
    ours, theirs = maps.clone().requires_grad_(), maps.clone().requires_grad_()
    pooled, expected = layer(ours), reference(layer, theirs)
    assert pooled.shape == expected.shape
    assert torch.allclose(pooled, expected, atol=1e-5)
    weights = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1))
    found = torch.autograd.grad((pooled * weights).sum(), (ours, layer.weight, layer.bias))
    wanted = torch.autograd.grad((expected * weights).sum(), (theirs, layer.weight, layer.bias))
    for one, other in zip(found, wanted, strict=True):
        assert torch.allclose(one, other, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("block_bytes", [1, 12 * 2**20], ids=["one map a block", "one block"])
def test_equals_pytorch(pooling, block_bytes, monkeypatch):
    monkeypatch.setattr(convolution, "BLOCK_BYTES", block_bytes)
    torch.manual_seed(0)
    assert_equal_to_pytorch(ConvPool2d(3, 8, 3, pooling=pooling, padding=1), torch.randn(5, 3, 9, 12))


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 3), st.integers(1, 6), st.sampled_from([1, 3, 5]), st.integers(0, 2), *[st.integers(7, 14)] * 2, st.integers(0, 99))
def test_equals_pytorch_for_drawn_shapes(channels, filters, kernel, padding, height, width, seed):
    torch.manual_seed(seed)
    layer = ConvPool2d(channels, filters, kernel, padding=padding)
    maps = torch.randn(4, channels, height, width)
    assert_equal_to_pytorch(layer, maps)
    assert layer.output_shape(height, width) == layer(maps).shape[1:]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_takes_any_layout_and_gives_channels_last(layout):
    layer = ConvPool2d(3, 4, 3)
    maps = torch.randn(2, 3, 8, 8).contiguous(memory_format=layout)
    pooled = layer(maps)
    assert pooled.is_contiguous(memory_format=torch.channels_last)
    assert torch.allclose(pooled, reference(layer, maps), atol=1e-6)


def test_of_several_maxima_the_first_gets_the_gradient():
    layer = ConvPool2d(1, 1, 1)
    with torch.no_grad():
        layer.weight.fill_(1)
        layer.bias.zero_()
    maps = torch.tensor([[[[2.0, 2.0], [2.0, 1.0]]]], requires_grad=True)
    layer(maps).sum().backward()
    assert maps.grad.tolist() == [[[[1.0, 0.0], [0.0, 0.0]]]]


def test_no_gradient_for_an_input_that_wants_none():
    layer = ConvPool2d(1, 2, 3)
    layer(torch.randn(2, 1, 6, 6)).sum().backward()
    assert layer.weight.grad.abs().sum() > 0


def test_double_precision_goes_the_plain_way():
    layer = ConvPool2d(1, 2, 3).double()
    maps = torch.randn(1, 1, 6, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer, (maps,))


@given(st.integers(0, 300), st.integers(1, 50))
def test_spans_cover_everything_once(total, grain):
    seen, lock = [0] * total, threading.Lock()

    def work(start, stop):
        with lock:
            for item in range(start, stop):
                seen[item] += 1

    for_each_span(work, total, grain)
    assert seen == [1] * total


def test_an_error_in_a_span_is_raised():
    def work(start, stop):
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        for_each_span(work, 100)
