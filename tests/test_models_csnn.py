"""The convolutional spiking network: the report's sizes, its equations written as a loop over time, its twin."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from audiodata.errors import AudioDataError
from models.chain import run, stages
from models.csnn import CNN, CSNN, CnnConfig, CsnnConfig, report_network
from models.layers import MapLinear, Scaling, TimeDropout
from models.metrics import parameter_count

SHAPE = (1, 20, 40)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def exact(network, scale=64):
    """Round weights to multiples of 1/scale, so that sums over spikes are exact in any order of addition."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_((parameter * scale).round() / scale)
    return network


def made_network(shape=SHAPE, classes=4, **options):
    torch.manual_seed(1)
    return exact(CSNN(CsnnConfig(**{"time_steps": 6, "threshold": 0.25, "channels": (4, 6)} | options), shape, classes))


def test_the_report_flattens_to_38208():
    network = report_network()
    assert network.fc.in_features == 38208
    assert network.fc.out_features == 3
    assert network.fc.shape == (64, 3, 199)


def loop_over_time(network, spikes_in):
    """Write figure 24 of Courregé and Gandeel (2024) as it stands: one time step after the other, LIF by Eq. 2 and 3."""
    config = network.config
    potentials = [0.0, 0.0, 0.0]
    fired = [0.0, 0.0, 0.0]
    spikes_out, potentials_out, hidden = [], [], [[], []]

    def neurons(index, current):
        potentials[index] = config.decay * potentials[index] + current - fired[index] * config.threshold
        fired[index] = (potentials[index] > config.threshold).float()
        return fired[index]

    for step in spikes_in:
        first = neurons(0, F.max_pool2d(F.conv2d(step, network.conv1.weight, network.conv1.bias), 2))
        second = neurons(1, F.max_pool2d(F.conv2d(first, network.conv2.weight, network.conv2.bias), 2))
        last = neurons(2, F.linear(second.flatten(1), network.fc.weight, network.fc.bias))
        spikes_out.append(last)
        potentials_out.append(potentials[2])
        hidden[0].append(first)
        hidden[1].append(second)
    return torch.stack(spikes_out), torch.stack(potentials_out), [torch.stack(layer) for layer in hidden]


@pytest.mark.parametrize("encoding", ["direct", "rate"])
def test_spikes_equal_the_loop_over_time(encoding):
    network = made_network(encoding=encoding, decay=0.5)
    features = (torch.rand(3, *SHAPE, generator=generator()) * 16).round() / 16
    output = network(features, generator(2))
    encoded = features.expand(6, 3, *SHAPE) if encoding == "direct" else network.encoder(features, generator(2))
    spikes, potentials, hidden = loop_over_time(network, encoded)
    assert torch.equal(output.spikes, spikes)
    assert torch.allclose(output.potentials, potentials, atol=1e-6)
    assert [0 < layer.mean() < 1 for layer in (*hidden, spikes)] == [True] * 3


@pytest.mark.parametrize("encoding", ["direct", "rate"])
def test_equals_snntorch_in_spikes_and_gradients(encoding):
    snntorch = pytest.importorskip("snntorch")
    network = made_network(encoding=encoding, decay=0.5)
    features = (torch.rand(3, *SHAPE, generator=generator()) * 16).round() / 16
    encoded = features.expand(6, 3, *SHAPE) if encoding == "direct" else network.encoder(features, generator(2))
    copies = [parameter.detach().clone().requires_grad_() for parameter in network.parameters()]
    w1, b1, w2, b2, w3, b3 = copies
    leaky = [snntorch.Leaky(beta=0.5, threshold=0.25) for _ in range(3)]
    states, out = [layer.init_leaky() for layer in leaky], []
    for step in encoded:
        first, states[0] = leaky[0](F.max_pool2d(F.conv2d(step, w1, b1), 2), states[0])
        second, states[1] = leaky[1](F.max_pool2d(F.conv2d(first, w2, b2), 2), states[1])
        last, states[2] = leaky[2](F.linear(second.flatten(1), w3, b3), states[2])
        out.append(last)
    expected = torch.stack(out)
    found = network(features, generator(2)).spikes
    assert torch.equal(found, expected)
    labels = torch.tensor([0, 1, 2])
    F.cross_entropy(found.sum(0), labels).backward()
    F.cross_entropy(expected.sum(0), labels).backward()
    for ours, theirs in zip(network.parameters(), copies, strict=True):
        assert torch.allclose(ours.grad, theirs.grad, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("norm", ["none", "batch"])
@pytest.mark.parametrize("pooling", ["max", "average"])
def test_twin_has_as_many_parameters_and_takes_the_same_weights(norm, pooling):
    options = {"norm": norm, "pooling": pooling, "channels": (5, 7)}
    network, twin = CSNN(CsnnConfig(**options), SHAPE, 4), CNN(CnnConfig(**options), SHAPE, 4)
    assert parameter_count(network) == parameter_count(twin)
    twin.load_state_dict(network.state_dict())


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_the_twin_is_a_chain_of_layers_where_it_pools_by_averages(norm):
    network = CNN(CnnConfig(norm=norm, pooling="average", channels=(3, 5), dropout=0.2), SHAPE, 4).eval()
    features = torch.rand(2, *SHAPE, generator=generator())
    found = stages(network.chain())
    assert [(stage.name, stage.norm is not None, stage.rectified) for stage in found] == [
        ("conv1", norm == "batch", True), ("conv2", norm == "batch", True), ("fc", False, False),
    ]  # fmt: skip
    values, context = network.prepare(features)
    output = network.finish(run(network.chain().values(), values), context)
    assert torch.allclose(output.spikes, network(features).spikes, atol=1e-6)
    assert not any("relu" in name for name in network.state_dict())


def test_the_twin_is_refused_as_a_chain_where_it_pools_by_maxima():
    with pytest.raises(AudioDataError, match=r"`conv1` pools by the maximum: .*--set pooling=average"):
        stages(CNN(CnnConfig(pooling="max"), SHAPE, 4).chain())


def test_more_input_makes_more_spikes():
    network = made_network(encoding="rate")
    with torch.no_grad():
        network.conv1.weight.abs_()
    rates = [network._first_spikes(torch.full((1, *SHAPE), level), generator()).mean() for level in (0.1, 0.5, 0.9)]
    assert rates == sorted(rates)
    assert rates[0] < rates[2]


def test_rate_encoding_needs_and_follows_its_generator():
    network, features = made_network(encoding="rate"), torch.rand(2, *SHAPE, generator=generator())
    assert torch.equal(network(features, generator(1)).spikes, network(features, generator(1)).spikes)
    assert not torch.equal(network(features, generator(1)).potentials, network(features, generator(2)).potentials)
    with pytest.raises(AudioDataError, match=r"torch.Generator"):
        network(features)


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 2), st.integers(14, 30), st.integers(14, 40), st.integers(1, 5), st.sampled_from(["max", "average"]))
def test_sizes_follow_from_the_features(channels, bands, frames, steps, pooling):
    network = CSNN(CsnnConfig(time_steps=steps, channels=(2, 3), pooling=pooling), (channels, bands, frames), 3)
    assert network(torch.rand(2, channels, bands, frames)).spikes.shape == (steps, 2, 3)


def test_features_that_are_too_small_are_refused_in_one_line():
    with pytest.raises(AudioDataError, match="10 bands x 5 frames are too small"):
        CSNN(CsnnConfig(), (1, 10, 5), 3)


@pytest.mark.parametrize("encoding", ["direct", "rate", "latency", "phase", "burst", "ttfs"])
def test_every_encoding_runs_and_reaches_all_weights_with_its_gradient(encoding):
    network = made_network(encoding=encoding, time_steps=12)
    output = network(torch.rand(2, *SHAPE, generator=generator()), generator())
    output.potentials.square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in network.parameters())


def test_scaling_maps_its_range_to_0_and_1_and_cuts_off_beyond():
    scaling = Scaling(1, 2)
    scaling.set_range(torch.tensor([[[-10.0], [5.0]]]), torch.tensor([[[10.0], [5.0]]]))
    scaled = scaling(torch.tensor([[[[-20.0, -10.0, 0.0, 10.0, 20.0], [4.0, 5.0, 5.0, 5.0, 5.0]]]]))
    assert scaled[0, 0, 0].tolist() == [0.0, 0.0, 0.5, 1.0, 1.0]
    assert scaled[0, 0, 1].tolist() == [0.0] * 5


def test_ranges_are_saved_with_the_weights():
    network, other = made_network(), made_network()
    network.scaling.set_range(torch.full((1, 20, 1), -3.0), torch.full((1, 20, 1), 7.0))
    other.load_state_dict(network.state_dict())
    assert torch.equal(other.scaling.low, network.scaling.low)


def test_dropout_silences_the_same_neurons_at_all_steps_and_keeps_the_mean():
    dropout, spikes = TimeDropout(0.4), torch.ones(5, 10, 1000)
    dropped = dropout(spikes, generator())
    assert torch.equal(dropped, dropped[:1].expand_as(dropped))
    assert (dropped == 0).float().mean().item() == pytest.approx(0.4, abs=0.02)
    assert dropped.mean().item() == pytest.approx(1.0, abs=0.03)
    assert torch.equal(dropout.eval()(spikes), spikes)


def test_dense_layer_on_maps_equals_the_plain_one():
    layer = MapLinear((3, 4, 5), 2)
    maps = torch.randn(6, 3, 4, 5).contiguous(memory_format=torch.channels_last)
    assert torch.allclose(layer(maps), F.linear(maps.flatten(1), layer.weight, layer.bias), atol=1e-6)
