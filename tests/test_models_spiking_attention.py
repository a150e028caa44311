"""Attention of spikes against its equations, written as loops over time steps, heads and frames."""

import math

import pytest
import torch
from torch import nn

from audiodata.errors import AudioDataError
from models.decoupled_norm import BatchNorm, LayerNorm
from models.neurons import LIF
from models.spiking_attention import CrossAttention, Kit, NormedLinear, SelfAttention, SoftmaxProduct, SpikeProduct

STEPS, EXAMPLES, WIDTH, HEADS = 3, 2, 12, 3
SCALE = 0.5  # with few frames, 0.125 would let nothing fire


def neurons(threshold=1.0):
    return lambda: LIF.spikingjelly(2.0, threshold=threshold, detach_reset=True)


KIT = Kit(neurons(), neurons(), lambda: SpikeProduct(SCALE), neurons(0.5), LayerNorm)


def made_spikes(seed=0, rate=0.4, shape=(STEPS, EXAMPLES, 5, WIDTH)):
    return (torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < rate).double()


def made_attention(kind):
    """Give weights and norms, with statistics taken from some batches, that make all layers fire."""
    torch.manual_seed(3)
    attention = kind(WIDTH, HEADS, KIT).double()
    for norm in (layer for layer in attention.modules() if isinstance(layer, BatchNorm)):
        nn.init.uniform_(norm.weight, 1.0, 3.0)
        nn.init.uniform_(norm.bias, 0.0, 1.0)
    with torch.no_grad():
        for seed in range(30):
            attention(*(made_spikes(seed + other) for other in range(1 if kind is SelfAttention else 2)))
    return attention


def literal_neurons(current, threshold):
    """SpikingJelly's update, decay of the input included: charge, fire, hard reset."""
    v, spikes = torch.zeros_like(current[0]), []
    for now in current:
        h = v + (now - v) / 2.0
        s = (h >= threshold).to(h.dtype)
        v = (1 - s) * h
        spikes.append(s)
    return torch.stack(spikes)


def literal_batch_norm(tokens, norm, training, columns):
    """BN over time steps, examples and frames, each value for itself; of the norm's `columns`."""
    gain, bias = norm.weight[columns], norm.bias[columns]
    if training:
        mean, variance = tokens.mean((0, 1, 2)), tokens.var((0, 1, 2), unbiased=False)
    else:
        mean, variance = norm.running_mean[columns], norm.running_var[columns]
    return (tokens - mean) / torch.sqrt(variance + norm.eps) * gain + bias


def literal_projection(tokens, dense, part, training):
    """Eq. 8 with the one matrix W_Q, W_K or W_V that is rows `part` of a dense layer."""
    columns = slice(part * WIDTH, (part + 1) * WIDTH)
    return literal_neurons(literal_batch_norm(tokens @ dense.linear.weight[columns].T, dense.norm, training, columns), 1.0)


def literal_attention(query, key, value, attending, training):
    """Eq. 9 and 10, one time step, example, head and pair of frames after the other."""
    product, size = torch.zeros_like(query), WIDTH // HEADS
    for t in range(query.shape[0]):
        for b in range(query.shape[1]):
            for head in range(HEADS):
                part = slice(head * size, (head + 1) * size)
                for i in range(query.shape[2]):
                    for j in range(key.shape[2]):
                        meeting = float(query[t, b, i, part] @ key[t, b, j, part])
                        product[t, b, i, part] += meeting * value[t, b, j, part] * SCALE
    attended = literal_neurons(product, 0.5)
    dense = attending.dense
    return literal_neurons(literal_batch_norm(attended @ dense.linear.weight.T, dense.norm, training, slice(None)), 1.0)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("frames", [3, 6])  # both orders of the product: Q K^T first, K^T V first
def test_self_attention_equals_its_equations(training, frames):
    attention = made_attention(SelfAttention).train(training)
    stream = made_spikes(shape=(STEPS, EXAMPLES, frames, WIDTH)) + made_spikes(1, shape=(STEPS, EXAMPLES, frames, WIDTH))
    with torch.no_grad():
        parts = [literal_projection(stream, attention.query_key_value, part, training) for part in range(3)]
        expected = literal_attention(*parts, attention.attending, training)
        found = attention(stream)
    assert torch.equal(found, expected)
    assert 0 < found.mean() < 1


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("frames", [3, 6])
def test_cross_attention_equals_its_equations(training, frames):
    attention = made_attention(CrossAttention).train(training)
    shape = (STEPS, EXAMPLES, frames, WIDTH)
    stream, other = made_spikes(shape=shape), made_spikes(1, 0.5, shape)
    with torch.no_grad():
        query = literal_projection(stream, attention.query, 0, training)
        key, value = (literal_projection(other, attention.key_value, part, training) for part in range(2))
        expected = literal_attention(query, key, value, attention.attending, training)
        found = attention(stream, other)
    assert torch.equal(found, expected)
    assert 0 < found.mean() < 1


@pytest.mark.parametrize("kind", [SelfAttention, CrossAttention])
def test_everything_but_the_stream_is_zero_or_one(kind):
    attention, seen = made_attention(kind), []
    for layer in attention.modules():
        if isinstance(layer, LIF):
            layer.register_forward_hook(lambda _layer, _inputs, spikes: seen.append(spikes))
    streams = [made_spikes(seed) + made_spikes(seed + 9) for seed in range(1 if kind is SelfAttention else 2)]
    attention(*streams)
    assert len(seen) == (3 if kind is SelfAttention else 4)
    for spikes in seen:
        assert set(spikes.unique().tolist()) == {0.0, 1.0}


def test_cross_attention_of_a_stream_with_itself_is_self_attention():
    cross, alone = made_attention(CrossAttention).eval(), made_attention(SelfAttention).eval()
    with torch.no_grad():
        for target, *sources in (
            (alone.query_key_value.linear.weight, cross.query.linear.weight, cross.key_value.linear.weight),
            (alone.query_key_value.norm.weight, cross.query.norm.weight, cross.key_value.norm.weight),
            (alone.query_key_value.norm.bias, cross.query.norm.bias, cross.key_value.norm.bias),
        ):
            target.copy_(torch.cat(sources))
    alone.attending.load_state_dict(cross.attending.state_dict())
    stream = made_spikes()
    assert torch.equal(alone(stream), cross(stream, stream))


def test_time_steps_and_examples_attend_for_themselves():
    attention = made_attention(SelfAttention).eval()
    attention.projected = attention.attending.attended = attention.attending.neurons = nn.Identity()
    stream = made_spikes()
    changed = stream.clone()
    changed[1, 0] = 1 - changed[1, 0]
    same = (attention(stream) == attention(changed)).flatten(2).all(-1)
    assert same.tolist() == [[True, True], [False, True], [True, True]]


def test_both_orders_of_the_product_are_equal_to_the_last_bit():
    product = SpikeProduct(SCALE)
    for frames, size in ((3, 8), (20, 4), (27, 16)):
        query, key, value = (made_spikes(seed, shape=(4, 2, frames, size)).float() for seed in range(3))
        found = product(query, key, value)
        assert torch.equal(found, (query @ key.transpose(-1, -2)) @ value * SCALE)
        assert torch.equal(found, query @ (key.transpose(-1, -2) @ value) * SCALE)


def counted(query, key, value):
    """Additions of the cheaper order, each counted on its own."""
    frames, size = query.shape[-2:]
    tables_first = 2 * size * frames < 2 * frames * frames
    total = 0
    for q, k, v in zip(query.flatten(0, 1), key.flatten(0, 1), value.flatten(0, 1), strict=True):
        if tables_first:
            total += sum(1 for j in range(frames) for d in range(size) for e in range(size) if k[j, d] and v[j, e])
            total += sum(size for i in range(frames) for d in range(size) if q[i, d])
        else:
            total += sum(1 for i in range(frames) for j in range(frames) for d in range(size) if q[i, d] and k[j, d])
            total += sum(frames for j in range(frames) for e in range(size) if v[j, e])
    return total


@pytest.mark.parametrize(("frames", "size"), [(3, 6), (6, 3)])
def test_operations_of_a_product_are_its_additions(frames, size):
    spikes = [made_spikes(seed, shape=(2, 2, frames, size)) for seed in range(3)]
    assert SpikeProduct().operations(*spikes) == counted(*spikes)
    assert SoftmaxProduct().operations(*spikes) == 2 * 2 * 2 * frames * frames * size


def test_softmax_product_is_that_of_vaswani():
    query, key, value = (torch.randn(2, 3, 5, 4, generator=torch.Generator().manual_seed(seed)) for seed in range(3))
    weights = torch.softmax(query @ key.transpose(-1, -2) / math.sqrt(4), -1)
    assert torch.allclose(SoftmaxProduct()(query, key, value), weights @ value, atol=1e-6)


@pytest.mark.parametrize("kind", [SelfAttention, CrossAttention])
def test_gradients_reach_every_weight(kind):
    attention = made_attention(kind)
    streams = [made_spikes(seed).requires_grad_() for seed in range(1 if kind is SelfAttention else 2)]
    attention(*streams).square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in attention.parameters())
    assert all(stream.grad.abs().sum() > 0 for stream in streams)


def test_folded_dense_layer_gives_the_same_without_its_norm():
    layer = NormedLinear(WIDTH, 7, BatchNorm(7)).double()
    layer(made_spikes())
    layer.eval()
    expected = layer(made_spikes(5))
    layer.fold()
    assert isinstance(layer.norm, nn.Identity)
    assert torch.allclose(layer(made_spikes(5)), expected, atol=1e-12)


def test_heads_that_do_not_divide_the_width_are_refused():
    with pytest.raises(AudioDataError, match="multiple of the 5 heads, got 12"):
        SelfAttention(WIDTH, 5, KIT)
