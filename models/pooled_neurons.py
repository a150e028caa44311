"""Convolution, spiking neurons and a count of the spikes in 2 x 2 windows, of all time steps, in one or two operations of autograd.

    maps [T, B, P, H, W] -> convolution -> neurons -> spikes per window, 0 to 4, [T, B, C, H' // 2, W' // 2]

An average pooling of spikes is such a count divided by 4. Counts are passed on instead: they are whole numbers, exact in any order of addition,
and each is the number of additions that its spikes cause in the next layer. The layer that takes them, `MeanConv2d` or `MeanLinear`, divides.

On the CPU the spikes themselves are never written (`models.strip_kernels`). Where somebody listens to the convolution or the neurons with a hook,
to count or to draw their spikes, and on other devices, the same is done one module after the other.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from models import strip_kernels
from models.dynamics import Dynamics
from models.fused import kernel_constants
from models.layers import MapLinear, MapNeurons, at_each_step
from models.threads import for_each_span

# Neurons in the window of a pooling.
WINDOW = 4


class MeanConv2d(nn.Conv2d):
    """Convolution of the means over windows, given the sums: stride 1, channels last in memory on the CPU."""

    def forward(self, sums: Tensor) -> Tensor:
        """Convolve ``[N, C, H, W]``, dividing the weights rather than the far larger maps."""
        weight = (self.weight / WINDOW).contiguous(memory_format=torch.channels_last)
        return F.conv2d(sums, weight, self.bias, padding=self.padding)


class MeanLinear(MapLinear):
    """Dense layer on the means over windows, given the sums."""

    def forward(self, sums: Tensor) -> Tensor:
        """Give ``[N, out_features]`` from ``[N, C, H, W]``."""
        return super().forward(sums / WINDOW)


def spike_sums(convolution: nn.Conv2d, neurons: MapNeurons, maps: Tensor) -> Tensor:
    """Count the spikes per window of neurons whose current is a convolution of maps.

    Parameters
    ----------
    convolution : Conv2d
        Stride 1.
    neurons : MapNeurons
        Without anything to learn.
    maps : Tensor [T, B, P, H, W]
        Of a layer of input (`torch.nn.Conv2d`) or sums over windows (`MeanConv2d`).

    Returns
    -------
    Tensor [T, B, C, H' // 2, W' // 2]
        0 to 4, with the channels last in memory.
    """
    if _listened_to(convolution, neurons) or maps.device.type != "cpu" or maps.dtype != torch.float32:
        spikes = neurons(at_each_step(convolution, maps))  # [T, B, C, H', W']
        return F.avg_pool2d(spikes.flatten(0, 1), 2, divisor_override=1).unflatten(0, maps.shape[:2])
    if isinstance(convolution, MeanConv2d) or maps.requires_grad:
        current = at_each_step(convolution, maps).movedim(2, -1)  # [T, B, H', W', C]
        sums = _PooledNeurons.apply(current.contiguous(), neurons.neuron.dynamics)
    else:
        maps = maps.movedim(2, -1).contiguous()  # [T, B, H, W, P]
        sums = _ConvolvedNeurons.apply(maps, convolution.weight, convolution.bias, convolution.padding[0], neurons.neuron.dynamics)
    return sums.movedim(-1, 2)


def _listened_to(*modules: nn.Module) -> bool:
    return any(module._forward_hooks or module._forward_pre_hooks for module in modules)


class _PooledNeurons(torch.autograd.Function):
    """Sums ``[T, B, H // 2, W // 2, C]`` of currents ``[T, B, H, W, C]``."""

    @staticmethod
    def forward(ctx, current, dynamics):
        steps, examples, height, width, channels = current.shape
        sums = current.new_empty((steps, examples, height // 2, width // 2, channels))
        ctx.save_for_backward(current)
        ctx.constants = _constants(dynamics)
        arrays = _rows(current), sums.numpy(), *ctx.constants
        for_each_span(lambda start, stop: strip_kernels.forward(*arrays, start, stop), examples * (height // 2))
        return sums

    @staticmethod
    @once_differentiable
    def backward(ctx, sums_grad):
        (current,) = ctx.saved_tensors
        current_grad = torch.empty_like(current)
        strips = sums_grad.shape[2]
        current_grad[:, :, 2 * strips :] = 0
        arrays = _rows(current), sums_grad.contiguous().numpy(), _rows(current_grad), *ctx.constants
        for_each_span(lambda start, stop: strip_kernels.backward(*arrays, start, stop), sums_grad.shape[1] * strips)
        return current_grad, None


class _ConvolvedNeurons(torch.autograd.Function):
    """Sums ``[T, B, H' // 2, W' // 2, C]`` of a convolution of maps ``[T, B, H, W, P]``, of which most entries are 0."""

    @staticmethod
    def forward(ctx, maps, weight, bias, padding, dynamics):
        steps, examples, height, width, _ = maps.shape
        height, width = (size + 2 * padding - weight.shape[-1] + 1 for size in (height, width))
        sums = maps.new_empty((steps, examples, height // 2, width // 2, len(weight)))
        ctx.save_for_backward(maps, weight, bias)
        ctx.given = padding, _constants(dynamics)
        arrays = *_arrays(maps, weight, bias), padding, sums.numpy(), *_constants(dynamics)
        for_each_span(lambda start, stop: strip_kernels.convolved_forward(*arrays, start, stop), examples * (height // 2))
        return sums

    @staticmethod
    @once_differentiable
    def backward(ctx, sums_grad):
        maps, weight, bias = ctx.saved_tensors
        padding, constants = ctx.given
        strips = sums_grad.shape[1] * sums_grad.shape[2]
        weight_grad = weight.new_zeros((strips, *_kernel_order(weight).shape))
        bias_grad = bias.new_zeros((strips, len(bias)))
        given = *_arrays(maps, weight, bias), padding, sums_grad.contiguous().numpy()
        arrays = *given, weight_grad.numpy(), bias_grad.numpy(), *constants
        for_each_span(lambda start, stop: strip_kernels.convolved_backward(*arrays, start, stop), strips)
        return None, weight_grad.sum(0).flip(2).permute(3, 0, 1, 2), bias_grad.sum(0), None, None


def _constants(dynamics: Dynamics) -> tuple:
    constants = kernel_constants(dynamics, torch.float32)
    return type(constants.decay)(dynamics.v_init), constants


def _kernel_order(weight: Tensor) -> Tensor:
    """Turn weights ``[C, P, k, k]`` into ``[P, k, k, C]``, the kernel's last column first."""
    return weight.detach().permute(1, 2, 3, 0).flip(2).contiguous()


def _arrays(maps: Tensor, weight: Tensor, bias: Tensor) -> tuple:
    return maps.detach().numpy(), _kernel_order(weight).numpy(), bias.detach().numpy()


def _rows(current: Tensor):
    """Memory of currents as ``[T, B, H, W * C]``."""
    return current.detach().flatten(3).numpy()
