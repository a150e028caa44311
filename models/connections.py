"""How many connections lead on from each input of a layer with weights: what one spike there costs, and what real numbers cost in MACs.

A convolution treats each direction (row, column) for itself, so the places that an input takes part in are counted per direction and multiplied.
At the edge of a map there are fewer of them than the kernel has taps, with a stride or a dilation some places take part in none.
"""

import math
from functools import lru_cache

import torch
from torch import Tensor, nn

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d)


def fan_out(layer: nn.Module, *size: int) -> Tensor:
    """Connections that lead on from each input of a layer.

    Parameters
    ----------
    layer : Module
        Dense (`torch.nn.Linear`) or a convolution in one or two directions, transposed or not, with any stride, padding with zeros,
        dilation and groups.
    *size : int
        Of the input of a convolution: its length, or height and width. A dense layer needs none; what is given is ignored.

    Returns
    -------
    Tensor
        float64: ``[L]`` or ``[H, W]`` for a convolution, the same for each channel; ``[]`` for a dense layer.

    Raises
    ------
    TypeError
        Another kind of layer, or a convolution whose padding is not zeros.
    ValueError
        Not as many sizes as the convolution has directions.
    """
    if isinstance(layer, nn.Linear):
        return torch.tensor(layer.out_features, dtype=torch.float64)
    if not isinstance(layer, _CONVOLUTIONS + _TRANSPOSED) or layer.padding_mode != "zeros":
        padding = getattr(layer, "padding_mode", "zeros")
        raise TypeError(f"connections of a {type(layer).__name__}{'' if padding == 'zeros' else f' padded by {padding}'} can't be counted")
    if len(size) != len(layer.kernel_size):
        raise ValueError(f"{type(layer).__name__}: expected {len(layer.kernel_size)} sizes of the input, got {len(size)}")
    places = [_reached(layer, direction, length) for direction, length in enumerate(size)]
    return layer.out_channels // layer.groups * _product(places)


def directions(layer: nn.Module) -> int:
    """Number of directions in which a layer is the same everywhere: 2 for maps, 1 for sequences, 0 for a dense layer."""
    return len(layer.kernel_size) if isinstance(layer, _CONVOLUTIONS + _TRANSPOSED) else 0


def connections(layer: nn.Module, inputs: Tensor) -> float:
    """Count the MACs of a layer that is given real numbers ``[N, ...]``: one for each connection of each."""
    size = inputs.shape[inputs.dim() - directions(layer) :]
    return fan_out(layer, *size).sum().item() * (inputs.numel() // math.prod(size))


def _product(places: list[Tensor]) -> Tensor:
    """Outer product of the counts of each direction."""
    return places[0] if len(places) == 1 else torch.outer(*places)


def _reached(layer: nn.Module, direction: int, length: int) -> Tensor:
    """How many places of the output each place of the input takes part in along one direction, ``[length]``."""
    options = layer.kernel_size[direction], layer.stride[direction], layer.dilation[direction]
    if isinstance(layer, _TRANSPOSED):
        return _spread(length, *options, layer.padding[direction], layer.output_padding[direction])
    return _gathered(length, *options, *_padding(layer, direction))


def _padding(layer: nn.Module, direction: int) -> tuple[int, int]:
    """Zeros before and after the input of a convolution."""
    if layer.padding == "same":
        whole = layer.dilation[direction] * (layer.kernel_size[direction] - 1)
        return whole // 2, whole - whole // 2
    return (0, 0) if layer.padding == "valid" else (layer.padding[direction],) * 2


@lru_cache(maxsize=256)
def _gathered(length: int, kernel: int, stride: int, dilation: int, before: int, after: int) -> Tensor:
    """For a convolution: place o of the output takes place ``o stride + k dilation - before`` of the input for each tap k."""
    outputs = (length + before + after - dilation * (kernel - 1) - 1) // stride + 1
    taken = stride * torch.arange(outputs)[:, None] + dilation * torch.arange(kernel) - before
    return torch.bincount(taken[(taken >= 0) & (taken < length)], minlength=length).double()


@lru_cache(maxsize=256)
def _spread(length: int, kernel: int, stride: int, dilation: int, padding: int, output_padding: int) -> Tensor:
    """For a transposed convolution: place i of the input goes to place ``i stride + k dilation - padding`` of the output for each tap k."""
    outputs = (length - 1) * stride - 2 * padding + dilation * (kernel - 1) + output_padding + 1
    given = stride * torch.arange(length)[:, None] + dilation * torch.arange(kernel) - padding
    return ((given >= 0) & (given < outputs)).sum(1).double()
