"""Attention of spikes to spikes: no softmax, nothing but zeros, ones and small whole numbers.

Spiking self-attention (SSA; Zhou et al. 2022) and spiking cross-attention (SCA; SpikSLC-Net 2023, Eq. 8 to 10), independent at each time step:

    Q = SN(BN(Xa W_Q)),  K = SN(BN(Xb W_K)),  V = SN(BN(Xb W_V))                        Xa = Xb for self-attention
    attended = SN(s Q K^T V),  answer = SN(BN(Linear(attended)))

with SN a layer of neurons and s = 0.125. Each of `heads` parts of the values attends for itself; the parts are cut out of the spikes, after SN.
The neurons behind the product fire at half the threshold (as in the authors' code of SSA).

The parts that are not the same in a network without spikes are handed in (`Kit`), so that its twin is built of the same modules.

Axes: T time steps, B examples, F frames (the tokens), E values of a token, H heads of D = E / H values.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from audiodata.errors import AudioDataError
from models.decoupled_norm import BatchNorm, fold_into_previous


class Kit(NamedTuple):
    """What an attention network is made of besides its weights.

    Attributes
    ----------
    neurons : callable
        Makes the neurons behind a dense layer.
    projected : callable
        Makes those behind the projections to queries, keys and values.
    product : callable
        Makes the product of queries, keys and values, ``[T * B, H, F, D]`` each.
    attended : callable
        Makes the neurons behind that product.
    norm : callable
        Makes the normalisation of N values.
    """

    neurons: Callable[[], nn.Module]
    projected: Callable[[], nn.Module]
    product: Callable[[], nn.Module]
    attended: Callable[[], nn.Module]
    norm: Callable[[int], nn.Module]


class NormedLinear(nn.Module):
    """A dense layer with a normalisation behind it, which `fold` takes into its weights.

    Parameters
    ----------
    inputs : int
    norm : Module
        Of N values, as many as come out.
    outputs : int
    bias : bool
        Of the dense layer; a batch norm would take it off again.
    """

    def __init__(self, inputs: int, outputs: int, norm: nn.Module, bias: bool = False):
        super().__init__()
        self.linear = nn.Linear(inputs, outputs, bias=bias)
        self.norm = norm

    def forward(self, tokens: Tensor) -> Tensor:
        """Give ``[T, B, F, outputs]`` of ``[T, B, F, inputs]``."""
        return self.norm(self.linear(tokens))

    def fold(self) -> None:
        """Put the normalisation, as it is in evaluation, into the dense layer (Eq. 15)."""
        self.linear, self.norm = fold_into_previous(self.linear, self.norm), nn.Identity()


class SpikeProduct(nn.Module):
    """Product ``s Q K^T V`` of spikes, in the cheaper of its two orders.

    Sums of zeros and ones, and a scale that is a power of two: both orders give the same numbers to the last bit.

    Parameters
    ----------
    scale : float
        s.
    """

    def __init__(self, scale: float = 0.125):
        super().__init__()
        self.scale = scale

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Give ``[N, H, F, D]`` of spikes ``[N, H, F, D]``."""
        if _keys_meet_values_first(query, key):
            return query @ ((key.transpose(-1, -2) @ value) * self.scale)  # [F, D] by [D, D]
        return ((query @ key.transpose(-1, -2)) * self.scale) @ value  # [F, F] by [F, D]

    def operations(self, query: Tensor, key: Tensor, value: Tensor) -> float:
        """Count the additions that these spikes cause, in the order taken.

        Two spikes that meet add one to a table; a spike that meets the table adds a row of it. K^T V: pairs of a key's and a value's
        spike in one frame, then D for each query spike. Q K^T: pairs of a query's and a key's spike of one value, then F for each value spike.
        """
        if _keys_meet_values_first(query, key):
            return ((key.sum(-1) * value.sum(-1)).sum() + query.sum() * value.shape[-1]).item()
        return ((query.sum(-2) * key.sum(-2)).sum() + value.sum() * query.shape[-2]).item()


def _keys_meet_values_first(query: Tensor, key: Tensor) -> bool:
    queries, keys, size = query.shape[-2], key.shape[-2], query.shape[-1]
    return size * (queries + keys) < 2 * queries * keys


class SoftmaxProduct(nn.Module):
    """Product ``softmax(Q K^T / sqrt(D)) V`` (Vaswani et al. 2017, Eq. 1)."""

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Give ``[N, H, F, D]`` of ``[N, H, F, D]``."""
        return F.scaled_dot_product_attention(query, key, value)

    def operations(self, query: Tensor, key: Tensor, value: Tensor) -> float:
        """Count the multiplications of both products; those of the softmax are left out."""
        return 2.0 * query.numel() * key.shape[-2]


class Attending(nn.Module):
    """What self- and cross-attention share: the product of the heads and the layer behind it (Eq. 9 and 10).

    Parameters
    ----------
    width : int
        E.
    heads : int
        H, which has to divide E.
    kit : Kit

    Raises
    ------
    AudioDataError
        The heads don't divide the width.
    """

    def __init__(self, width: int, heads: int, kit: Kit):
        super().__init__()
        if width % heads:
            raise AudioDataError(f"width: expected a multiple of the {heads} heads, got {width}")
        self.heads = heads
        self.product = kit.product()
        self.attended = kit.attended()
        self.dense = NormedLinear(width, width, BatchNorm(width))
        self.neurons = kit.neurons()

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Give ``[T, B, F, E]`` of queries, keys and values ``[T, B, F, E]``."""
        product = self.product(self._split(query), self._split(key), self._split(value))  # [T * B, H, F, D]
        merged = product.transpose(1, 2).reshape(query.shape)
        return self.neurons(self.dense(self.attended(merged)))

    def _split(self, tokens: Tensor) -> Tensor:
        parts = tokens.flatten(0, 1).unflatten(-1, (self.heads, -1))  # [T * B, F, H, D]
        return parts.transpose(1, 2)


class SelfAttention(nn.Module):
    """Self-attention: the frames of one stream attend to each other.

    With neurons in the kit it is spiking self-attention, SSA (Zhou et al. 2022). Queries, keys and values are one dense layer.

    Parameters
    ----------
    width, heads, kit
        See `Attending`.
    """

    def __init__(self, width: int, heads: int, kit: Kit):
        super().__init__()
        self.query_key_value = NormedLinear(width, 3 * width, BatchNorm(3 * width))
        self.projected = kit.projected()
        self.attending = Attending(width, heads, kit)

    def forward(self, tokens: Tensor) -> Tensor:
        """Give ``[T, B, F, E]`` of a stream ``[T, B, F, E]``."""
        return self.attending(*self.projected(self.query_key_value(tokens)).chunk(3, -1))


class CrossAttention(nn.Module):
    """Cross-attention: the frames of one stream attend to those of another.

    With neurons in the kit it is spiking cross-attention, SCA (Eq. 8 to 10).

    Parameters
    ----------
    width, heads, kit
        See `Attending`.
    """

    def __init__(self, width: int, heads: int, kit: Kit):
        super().__init__()
        self.query = NormedLinear(width, width, BatchNorm(width))
        self.queries = kit.projected()
        self.key_value = NormedLinear(width, 2 * width, BatchNorm(2 * width))
        self.keys_values = kit.projected()
        self.attending = Attending(width, heads, kit)

    def forward(self, tokens: Tensor, others: Tensor) -> Tensor:
        """Give ``[T, B, F, E]``: queries of the stream `tokens`, keys and values of `others`, both ``[T, B, F, E]``."""
        query = self.queries(self.query(tokens))
        return self.attending(query, *self.keys_values(self.key_value(others)).chunk(2, -1))
