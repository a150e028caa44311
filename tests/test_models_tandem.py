"""Primitive conversion: thresholds, what stays unchanged, and how the error falls with the number of time steps."""

import copy

import numpy as np
import pytest
import torch
from convertible_networks import KINDS, dense, generator, made, sequence
from torch import nn

from audiodata.errors import AudioDataError, CatalogError
from models.chain import Sequence, stages
from models.csnn import CNN, CnnConfig
from models.tandem import ConversionConfig, conversion_record, convert, evaluating, measure_threshold, skeleton

STEPS = (4, 8, 16, 32, 64, 128, 256)


@pytest.mark.parametrize("percentile", [50, 99.9, 100])
def test_thresholds_are_percentiles_of_activations_over_the_time_steps(percentile):
    network = dense((6, 30, 3))
    values = torch.randn(100, 6, generator=generator())
    (threshold,) = convert(network, values, time_steps=8, percentile=percentile).thresholds
    active = stages(network.chain())[0].forward(values).detach().numpy()
    assert threshold == pytest.approx(np.percentile(active, percentile) / 8, rel=1e-6)


def test_later_thresholds_are_measured_on_the_spikes_that_arrive():
    network = dense((6, 30, 30, 3), seed=2)
    values = torch.randn(100, 6, generator=generator())
    config = ConversionConfig(time_steps=4, percentile=99)
    spiking = convert(network, values, config)
    (first, second, _), counts = stages(network.chain()), spiking.layers[0](values).sum(0)
    arrives = second.forward(counts * spiking.thresholds[0]).detach().numpy()
    meant = second.forward(first.forward(values)).detach().numpy()
    assert spiking.thresholds[1] == pytest.approx(np.percentile(arrives, 99) / 4, rel=1e-5)
    assert abs(spiking.thresholds[1] * 4 / np.percentile(meant, 99) - 1) > 0.01


def test_where_the_percentile_is_silent_the_largest_activation_counts():
    network = sequence(nn.Linear(1, 1, bias=False), nn.ReLU(), nn.Linear(1, 1))
    network.layers[0].weight.data.fill_(1)
    values = torch.tensor([[-1.0]] * 99 + [[8.0]])
    assert convert(network, values, time_steps=4, percentile=50).thresholds == [2]


def test_a_layer_that_is_never_active_is_named():
    network = sequence(nn.Linear(1, 1, bias=False), nn.ReLU(), nn.Linear(1, 1))
    network.layers[0].weight.data.fill_(1)
    with pytest.raises(AudioDataError, match="layer `0` is never active on 5 examples"):
        convert(network, -torch.ones(5, 1))


def test_thresholds_do_not_depend_on_how_examples_are_divided(monkeypatch):
    network, values = made("convolution", examples=20)
    whole = convert(network, values).thresholds
    monkeypatch.setattr("models.tandem.CHUNK", 3)
    assert convert(network, values).thresholds == pytest.approx(whole, rel=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_conversion_leaves_the_network_as_it_was(kind):
    network, values = made(kind)
    network.train()
    next(layer for layer in network.modules() if not list(layer.children())).eval()  # as frozen layers are
    before, modes = copy.deepcopy(network.state_dict()), [layer.training for layer in network.modules()]
    spiking = convert(network, values, time_steps=4, weight_bits=4, fan_in=3)
    for parameter in spiking.parameters():
        parameter.fill_(9)
    assert [layer.training for layer in network.modules()] == modes
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in before.items())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in network.parameters())


def test_modes_come_back_after_an_error():
    network = sequence(nn.Linear(1, 1)).train()
    with pytest.raises(ZeroDivisionError), evaluating(network):
        assert not network.training
        1 / 0  # noqa: B018
    assert network.training
    assert network.layers[0].training


@pytest.mark.parametrize("kind", KINDS)
def test_dropout_does_not_reach_the_measurement(kind):
    network, values = made(kind)
    assert convert(network.train(), values).thresholds == convert(network.eval(), values).thresholds


def mean_error(network, values, **settings):
    """Mean distance from the ANN's output, in standard deviations of that output over the examples."""
    expected = network(values)
    return ((convert(network, values, percentile=100, **settings)(values) - expected).abs().mean() / expected.std(0).mean()).item()


def mean_errors(widths, *, seeds=2, bias_std=0.3, **settings):
    """Over networks and time steps."""
    values = torch.rand(64, widths[0], generator=generator(5))
    networks = [dense(widths, seed, bias_std) for seed in range(seeds)]
    return np.array([np.mean([mean_error(network, values, time_steps=steps, **settings) for network in networks]) for steps in STEPS])


def slope(errors):
    """Of the error over the time steps, the last ones of `STEPS`, both in logarithms."""
    return np.polyfit(np.log(STEPS[-len(errors) :]), np.log(errors), 1)[0]


@pytest.mark.parametrize("rounding", ["floor", "round"])
@pytest.mark.parametrize("widths", [(20, 50, 5), (20, 50, 50, 50, 5)], ids=["shallow", "deep"])
def test_with_values_at_every_step_errors_fall_with_the_time_steps(widths, rounding):
    errors = mean_errors(widths, coding="constant", rounding=rounding)
    assert -1.2 < slope(errors) < -0.8
    assert errors[-1] < 0.05


def test_with_values_at_the_first_step_alone_errors_stay_in_deep_networks():
    """Early spikes are not taken back by inhibition that comes later: more time steps make finer counts, but of the wrong number."""
    errors = mean_errors((20, 50, 50, 50, 5), coding="first_step")
    assert slope(errors[-4:]) > -0.2
    assert errors[-1] > 0.1


def test_with_values_at_the_first_step_alone_one_layer_without_bias_converges():
    assert -1.2 < slope(mean_errors((20, 50, 5), coding="first_step", bias_std=0.0)) < -0.8


def test_with_values_at_the_first_step_alone_a_spread_bias_keeps_errors_even_in_one_layer():
    errors = mean_errors((20, 50, 5), coding="first_step")
    assert slope(errors[-4:]) > -0.2
    assert errors[-1] > 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_layer_converges(kind):
    network, values = made(kind)
    expected = network(values)
    found = convert(network, values, time_steps=512, percentile=100, coding="constant")(values)
    assert (found - expected).abs().mean() < 0.02 * expected.std()


def test_the_twin_of_the_convolutional_network_converts():
    torch.manual_seed(0)
    network = CNN(CnnConfig(pooling="average", norm="batch", dropout=0.3), (1, 16, 20), 4).eval()
    network.scaling.set_range(torch.full((1, 16, 1), -1.0), torch.full((1, 16, 1), 2.0))
    features = torch.randn(10, 1, 16, 20, generator=generator())
    expected, found = network(features), convert(network, features, time_steps=512, percentile=100, coding="constant")(features)
    assert found.spikes.shape == expected.spikes.shape
    assert (found.spikes - expected.spikes).abs().mean() < 0.05 * expected.spikes.std()


@pytest.mark.parametrize("settings", [{}, {"coding": "constant", "rounding": "round", "weight_bits": 4, "fan_in": 6, "percentile": 99}], ids=str)
def test_a_record_and_weights_make_the_same_network_again(settings):
    network, values = made("pool after")
    config = ConversionConfig(time_steps=6, **settings)
    spiking = convert(network, values, config)
    record = conversion_record(config, spiking, "primitive", note="of a test")
    assert (record["method"], record["note"], record["thresholds"]) == ("primitive", "of a test", spiking.thresholds)
    other, _ = made("pool after", seed=99)
    loaded = skeleton(other, record)
    assert not torch.equal(loaded(values), spiking(values))
    loaded.load_state_dict(spiking.state_dict())
    assert torch.equal(loaded(values), spiking(values))


def test_constraints_hold_in_every_layer():
    network, values = made("pool before")
    spiking = convert(network, values, weight_bits=4, fan_in=5)
    for synapses in [*(layer.synapses for layer in spiking.layers), spiking.readout]:
        assert len(synapses.weighted.weight.unique()) <= 15
        assert len(synapses.weighted.bias.unique()) <= 15
        assert int((synapses.weighted.weight.flatten(1) != 0).sum(1).max()) <= 5


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"time_step": 4}, "time_step"), ({"time_steps": 0}, "time_steps"), ({"percentile": 101}, "percentile"), ({"coding": "rate"}, "coding")],
    ids=lambda case: str(case),
)
def test_bad_settings_are_named(settings, words):
    with pytest.raises(CatalogError, match=words):
        convert(dense((2, 3, 1)), torch.rand(4, 2), **settings)


def test_refusals_come_before_anything_is_measured():
    class Unconvertible(Sequence):
        def chain(self):
            return {"soft": nn.Tanh()}

        def prepare(self, features):
            raise AssertionError("measured")

    layers = nn.Sequential(nn.Linear(2, 2))
    network = Sequence(layers)
    network.__class__ = Unconvertible
    with pytest.raises(AudioDataError, match="layer `soft`"):
        convert(network, torch.rand(4, 2))


def test_a_threshold_can_be_measured_by_itself():
    network = dense((3, 4, 2))
    values = torch.rand(10, 3, generator=generator())
    config = ConversionConfig(time_steps=5)
    assert measure_threshold(stages(network.chain())[0], [], values, config) == convert(network, values, config).thresholds[0]
