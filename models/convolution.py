"""Convolution and pooling of all time steps as one operation that never holds all of its maps.

A convolution over T x B maps followed by 2 x 2 pooling makes an intermediate result four times as large as what is kept. Here both are
done for a block of maps that fits the processor's cache, forward and backward, so that the large result is never written to memory:
the backward pass of a convolution needs its input and its weights, the pooling's only the place of each maximum. Maps are held with the
channels last in memory, the layout in which convolutions on a CPU are fastest.
"""

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.pool_kernels import max_pool, max_unpool
from models.threads import for_each_span

POOLINGS = ("max", "average", "none")

# Bytes of convolution output that are worked on at a time. Measured on 2 cores with 2 MiB second-level cache each: 4 to 24 MiB make no
# difference; above 32 MiB each block is fresh memory from the system, which costs more than the convolution.
BLOCK_BYTES = 12 * 2**20


class ConvPool2d(nn.Conv2d):
    """Convolution and 2 x 2 pooling: ``pool(convolution(maps))``.

    Parameters
    ----------
    in_channels, out_channels, kernel_size : int
        As in `torch.nn.Conv2d`; stride 1, zero padding by `padding` on each side.
    pooling : str
        "max", "average" or "none".
    padding : int

    Notes
    -----
    Input ``[N, C, H, W]``, output ``[N, C', (H + 2 padding - k + 1) // 2, (W + 2 padding - k + 1) // 2]`` with the channels last in memory.
    Weights, their names and initial values are those of `torch.nn.Conv2d`.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, *, pooling: str = "max", padding: int = 0):
        super().__init__(in_channels, out_channels, kernel_size, padding=padding)
        self.pooling = pooling

    def forward(self, maps: Tensor) -> Tensor:
        """Convolve and pool; see the class for the shapes."""
        if self.pooling == "max" and maps.device.type == "cpu" and maps.dtype == torch.float32:
            return _ConvMaxPool.apply(maps, self.weight, self.bias, self.padding[0])
        convolved = _convolve(maps, self.weight, self.bias, self.padding[0])
        if self.pooling == "none":
            return convolved
        return F.max_pool2d(convolved, 2) if self.pooling == "max" else F.avg_pool2d(convolved, 2)

    def output_shape(self, height: int, width: int) -> tuple[int, int, int]:
        """Shape ``[C', H', W']`` of the output for input maps of that size; H' or W' is below 1 where the maps are too small."""
        window = 1 if self.pooling == "none" else 2
        height, width = (size + 2 * self.padding[0] - self.kernel_size[0] + 1 for size in (height, width))
        return self.out_channels, height // window, width // window


class _ConvMaxPool(torch.autograd.Function):
    @staticmethod
    def forward(ctx, maps, weight, bias, padding):
        height, width = (size + 2 * padding - weight.shape[-1] + 1 for size in maps.shape[-2:])
        pooled = maps.new_empty((len(maps), height // 2, width // 2, len(weight)))
        place = torch.empty_like(pooled, dtype=torch.uint8)
        for span in _blocks(len(maps), height * width * len(weight)):
            convolved = _channels_last(_convolve(maps[span], weight, bias, padding))
            _over_maps(max_pool, convolved, pooled[span], place[span])
        ctx.save_for_backward(maps, weight, place)
        ctx.padding, ctx.convolved_size = padding, (height, width)
        return pooled.permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx, gradient):
        maps, weight, place = ctx.saved_tensors
        gradient = _channels_last(gradient)
        wants_maps = ctx.needs_input_grad[0]
        weight_gradient = torch.zeros_like(weight)
        maps_gradient = torch.empty_like(maps, memory_format=torch.channels_last) if wants_maps else None
        for span in _blocks(len(maps), ctx.convolved_size[0] * ctx.convolved_size[1] * len(weight)):
            full = gradient.new_empty((span.stop - span.start, *ctx.convolved_size, len(weight)))
            _over_maps(max_unpool, gradient[span], place[span], full)
            to_maps, to_weight, _ = torch.ops.aten.convolution_backward(
                full.permute(0, 3, 1, 2), _layout(maps[span]), _layout(weight), None,
                [1, 1], [ctx.padding] * 2, [1, 1], False, [0, 0], 1, [wants_maps, True, False],
            )  # fmt: skip
            weight_gradient += to_weight
            if wants_maps:
                maps_gradient[span] = to_maps
        # Every pooled gradient reaches exactly one place of the maps, so the bias's gradient needs no unpooling.
        return maps_gradient, weight_gradient, gradient.sum((0, 1, 2)), None


def _blocks(count: int, floats_per_map: int) -> Iterator[slice]:
    step = max(1, BLOCK_BYTES // (4 * max(floats_per_map, 1)))
    return (slice(first, min(first + step, count)) for first in range(0, count, step))


def _over_maps(kernel: Callable, *tensors: Tensor) -> None:
    """Run a compiled kernel on all maps; the tensors are contiguous ``[n, H, W, C]``."""
    arrays = [tensor.detach().numpy() for tensor in tensors]
    for_each_span(lambda start, stop: kernel(*arrays, start, stop), len(arrays[0]))


def _convolve(maps: Tensor, weight: Tensor, bias: Tensor | None, padding: int) -> Tensor:
    return F.conv2d(_layout(maps), _layout(weight), bias, padding=padding)


def _channels_last(maps: Tensor) -> Tensor:
    """Turn ``[N, C, H, W]`` into contiguous ``[N, H, W, C]``; no copy where the channels are last in memory already."""
    return maps.permute(0, 2, 3, 1).contiguous()


def _layout(maps: Tensor) -> Tensor:
    """Put the channels last in memory, in a form that the convolution recognises also for one channel, where strides are ambiguous."""
    maps = maps.contiguous(memory_format=torch.channels_last)
    n, channels, height, width = maps.shape
    return maps.as_strided((n, channels, height, width), (height * width * channels, 1, width * channels, channels))
