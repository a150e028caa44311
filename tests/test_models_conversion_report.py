"""The report of a conversion against the definitions of its figures, written out once more."""

import copy
import json

import numpy as np
import pytest
import torch
from convertible_networks import KINDS, dense, generator, made, sequence
from torch import nn

from models.chain import stages
from models.conversion_pictures import conversion_picture
from models.conversion_report import BINS, conversion_report, levels, markdown, table
from models.spiking_chain import SpikingNetwork
from models.tandem import convert


def neurons_of_three_inputs():
    """Weights 1 from each of three inputs to its own neuron, then a neuron that is excited by the first and inhibited by the second."""
    network = sequence(nn.Linear(3, 3, bias=False), nn.ReLU(), nn.Linear(3, 1, bias=False), nn.ReLU(), nn.Linear(1, 1))
    network.layers[0].weight.data = torch.eye(3)
    network.layers[2].weight.data = torch.tensor([[1.0, -1.0, 0.0]])
    return network


VALUES = torch.tensor([[0.5, 0.0, -1.0], [2.25, 3.0, 4.75], [9.0, 1.0, 0.25], [4.0, 0.0, 0.0]])


@pytest.fixture
def first_layer():
    """Thresholds 1 and 2, 4 time steps."""
    network = neurons_of_three_inputs()
    return conversion_report(network, SpikingNetwork(network, [1.0, 2.0], 4), VALUES)["layers"][0]


def test_figures_of_a_layer_are_what_one_counts_by_hand(first_layer):
    """Activations .5 0 0 | 2.25 3 4.75 | 9 1 .25 | 4 0 0 and counts 0 0 0 | 2 3 4 | 4 1 0 | 4 0 0."""
    assert (first_layer["layer"], first_layer["neurons"], first_layer["threshold"], first_layer["largest"]) == ("0", 3, 1.0, 4.0)
    assert first_layer["maximum"] == 9
    assert first_layer["saturated"] == pytest.approx(2 / 12)
    assert first_layer["silent"] == pytest.approx(6 / 12)
    assert first_layer["firing_rate"] == pytest.approx(18 / 12 / 4)
    error = (0.5 + 0.25 + 0.75 + 5 + 0.25) / 12
    for name in ("quantisation", "total"):
        assert first_layer["errors"][name]["mean"] == pytest.approx(-error)
        assert first_layer["errors"][name]["mean_absolute"] == pytest.approx(error)
    assert first_layer["errors"]["timing"] == {"mean": 0, "mean_absolute": 0, "in_thresholds": {"mean": 0, "mean_absolute": 0}}
    assert first_layer["histogram"]["zeros"] == 4
    assert sum(first_layer["histogram"]["values"]) == 8


def test_errors_in_thresholds_are_errors_in_units_of_the_threshold():
    network, values = made("convolution")
    for layer in conversion_report(network, convert(network, values, time_steps=6), values)["layers"]:
        for error in layer["errors"].values():
            for kind, value in error["in_thresholds"].items():
                assert value * layer["threshold"] == pytest.approx(error[kind])


def test_spikes_that_came_too_early_are_errors_of_timing():
    """2 x 2 - 6 is below 0, but at the first two steps there is 2 - 1 each."""
    network = neurons_of_three_inputs()
    network.layers[2].weight.data = torch.tensor([[2.0, -1.0, 0.0]])
    values = torch.tensor([[2.0, 6.0, 0.0]])
    spiking = SpikingNetwork(network, [1.0, 1.0], 8)
    second = conversion_report(network, spiking, values)["layers"][1]
    assert second["errors"]["quantisation"]["mean"] == 0
    assert second["errors"]["timing"]["mean"] == 2
    assert second["errors"]["total"]["mean"] == 2


@pytest.mark.parametrize("rounding", ["floor", "round"])
@pytest.mark.parametrize("coding", ["first_step", "constant"])
@pytest.mark.parametrize("kind", ["dense", "pool before", "dilated"])
def test_parts_add_up_and_totals_are_what_spikes_stand_for(kind, coding, rounding):
    network, values = made(kind, examples=40)
    spiking = convert(network, values, time_steps=7, percentile=98, coding=coding, rounding=rounding)
    found = conversion_report(network, spiking, values)
    analog = spikes = arriving = values
    for stage, layer, told in zip(stages(network.chain()), spiking.layers, found["layers"], strict=False):
        analog, spikes = stage.forward(analog), layer(spikes)
        counts, potential = spikes.sum(0), layer.synapses.aggregate(arriving)
        worth = counts * layer.threshold
        errors = told["errors"]
        assert errors["total"]["mean_absolute"] == pytest.approx((worth - analog).abs().mean().item(), rel=1e-4)
        assert errors["total"]["mean"] == pytest.approx((worth - analog).mean().item(), rel=1e-3, abs=1e-6)
        both = errors["quantisation"]["mean"] + errors["timing"]["mean"]
        assert both == pytest.approx((worth - potential.relu()).mean().item(), rel=1e-3, abs=1e-6)
        assert told["firing_rate"] == pytest.approx(spikes.mean().item(), rel=1e-5)
        arriving = counts
    expected, given = network(values), spiking(values)
    assert found["readout"]["mean_absolute"] == pytest.approx((given - expected).abs().mean().item(), rel=1e-4)
    assert found["readout"]["deviation"] == pytest.approx(expected.std(0, correction=0).mean().item(), rel=1e-4)


def test_levels_are_rounded_where_neurons_begin_half_way():
    network = neurons_of_three_inputs()
    potentials = torch.tensor([-3.0, 0.4, 0.6, 1.5, 99.0])
    for rounding, expected in (("floor", [0, 0, 0, 1, 4]), ("round", [0, 0, 1, 2, 4])):
        layer = SpikingNetwork(network, [1.0, 1.0], 4, rounding=rounding).layers[0]
        assert levels(potentials, layer).tolist() == expected


@pytest.mark.parametrize("percentile", [20, 90, 99.9, 100])
def test_percentiles_are_read_to_within_a_bin(percentile):
    network, values = dense((6, 40, 40, 2), seed=4), torch.randn(200, 6, generator=generator())
    found = conversion_report(network, convert(network, values), values, percentile)
    active = values
    for stage, layer in zip(stages(network.chain()), found["layers"], strict=False):
        active = stage.forward(active)
        expected = np.percentile(active.detach().numpy(), percentile)
        assert layer["percentile"] == pytest.approx(expected, abs=1.01 * layer["maximum"] / BINS)


def test_the_report_does_not_depend_on_how_examples_are_divided(monkeypatch):
    network, values = made("pool after", examples=33)
    spiking = convert(network, values, time_steps=5)
    whole = conversion_report(network, spiking, values)
    monkeypatch.setattr("models.conversion_report.CHUNK", 4)
    divided = conversion_report(network, spiking, values)
    for one, other in zip(whole["layers"], divided["layers"], strict=True):
        assert one["histogram"] == other["histogram"]
        assert one["errors"]["total"]["mean_absolute"] == pytest.approx(other["errors"]["total"]["mean_absolute"], rel=1e-5)
    assert whole["readout"]["mean_absolute"] == pytest.approx(divided["readout"]["mean_absolute"], rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_report_leaves_both_networks_as_they_were(kind):
    network, values = made(kind)
    spiking = convert(network, values, time_steps=4)
    network.train()
    before = copy.deepcopy(network.state_dict())
    found = conversion_report(network, spiking, values)
    assert network.training
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in before.items())
    assert json.loads(json.dumps(found)) == found
    assert [layer["layer"] for layer in found["layers"]] == [stage.name for stage in stages(network.chain())[:-1]]


def test_the_table_has_a_row_a_layer_and_one_for_the_readout():
    network, values = made("maps")
    found = conversion_report(network, convert(network, values), values)
    columns, cells = table(found)
    assert [row[0] for row in cells] == ["0", "3", "7"]
    assert {len(row) for row in cells} == {len(columns)}
    assert cells[0][columns.index("Timing")] == f"{found['layers'][0]['errors']['timing']['in_thresholds']['mean_absolute']:.3f}"
    text = markdown(found)
    assert text.count("\n|") == 5
    assert "12 examples, 16 time steps" in text


def test_the_picture_shows_what_a_layer_can_count_to_beside_its_activations():
    network, values = made("convolution")
    found = conversion_report(network, convert(network, values, percentile=90), values, percentile=90)
    figure = conversion_picture(found)
    *activations, errors = figure.axes
    assert len(activations) == len(found["layers"])
    for axes, layer in zip(activations, found["layers"], strict=True):
        assert [line.get_xdata()[0] for line in axes.lines] == [layer["percentile"], layer["largest"]]
        assert axes.get_yscale() == "log"
        assert axes.patches[0].get_data().values.tolist() == layer["histogram"]["values"]
    assert [bar.get_width() for bar in errors.containers[2]] == [
        layer["errors"]["total"]["in_thresholds"]["mean_absolute"] for layer in found["layers"]
    ]
    assert len(errors.patches) == 3 * len(found["layers"])


def test_a_layer_that_the_ann_never_uses_is_told_as_silent():
    network = neurons_of_three_inputs()
    found = conversion_report(network, SpikingNetwork(network, [1.0, 1.0], 4), -torch.ones(3, 3))
    assert [layer["silent"] for layer in found["layers"]] == [1, 1]
    assert [layer["percentile"] for layer in found["layers"]] == [0, 0]
    assert table(found)[1][-1][-1] == "-"
    conversion_picture(found).canvas.draw()
