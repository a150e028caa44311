"""Spiking layers against the papers' equations: counts, thresholds, codings, and networks that convert without any error."""

import pytest
import torch
from convertible_networks import KINDS, dense, generator, made, sequence, whole_dense, whole_maps
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from models.chain import stages
from models.constraints import Constraints
from models.folding import Affine, folded, for_spikes
from models.neurons import IF
from models.spiking_chain import SpikingLayer, SpikingNetwork, Synapses, shell_of
from models.tandem import convert

STEPS = st.integers(1, 40)


def at_first_step(values, time_steps):
    current = torch.zeros(time_steps, *values.shape, dtype=values.dtype)
    current[0] = values
    return current


def clipped(counts, time_steps):
    return counts.clamp(0, time_steps)


@settings(max_examples=25)
@given(st.lists(st.integers(-(2**20), 2**20), min_size=1, max_size=30), st.integers(-6, 6), STEPS)
def test_count_is_the_rounded_potential_exactly(eighths, exponent, time_steps):
    """Thresholds that are powers of 2, potentials in steps of an eighth of them: no rounding of numbers is in the way."""
    threshold = 2.0**exponent
    ratio = torch.tensor(eighths) / 8
    current = at_first_step(ratio * threshold, time_steps)
    assert torch.equal(IF(threshold)(current).sum(0), clipped(ratio.floor(), time_steps))
    assert torch.equal(IF(threshold, v_init=threshold / 2)(current).sum(0), clipped((ratio + 0.5).floor(), time_steps))


@settings(max_examples=25)
@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=30), st.floats(1e-3, 1e3), STEPS)
def test_count_is_the_rounded_potential(potentials, threshold, time_steps):
    """Any numbers, but for potentials so near a multiple of the threshold that it is for their rounding to say on which side they lie."""
    current = torch.tensor(potentials, dtype=torch.float64)
    ratio = current / threshold
    for v_init, shift in ((0.0, 0.0), (threshold / 2, 0.5)):
        clear = ((ratio + shift) - (ratio + shift).round()).abs() > 1e-9
        clear |= (ratio < -1) | (ratio > time_steps + 1)
        found = IF(threshold, v_init=v_init)(at_first_step(current, time_steps)).sum(0)
        assert torch.equal(found[clear], clipped((ratio + shift).floor(), time_steps)[clear])


@pytest.mark.parametrize("rounding", ["floor", "round"])
@pytest.mark.parametrize("coding", ["first_step", "constant"])
def test_a_first_layer_without_bias_counts_what_its_potential_says(rounding, coding):
    (stage, _) = stages(sequence(nn.Linear(6, 40, bias=False), nn.ReLU(), nn.Linear(40, 1)).chain())
    values, threshold, time_steps = torch.randn(30, 6, generator=generator()), 0.07, 16
    layer = SpikingLayer(Synapses(stage, folded(stage), 1 / time_steps), threshold, time_steps, rounding, coding)
    potential = stage.forward(values) / threshold
    expected = clipped((potential + (0.5 if rounding == "round" else 0)).floor(), time_steps)
    counts = layer(values).sum(0)
    assert counts.max() == time_steps
    assert (counts == expected).float().mean() > 0.999  # all but those that lie on the edge of two counts
    assert torch.allclose(layer.synapses.aggregate(values).relu(), stage.forward(values), atol=1e-6)


def test_the_bias_comes_in_equal_parts():
    (stage, _) = stages(sequence(nn.Linear(1, 1), nn.ReLU(), nn.Linear(1, 1)).chain())
    synapses = Synapses(stage, Affine(torch.tensor([[1.0]]), torch.tensor([4.0])), 1 / 8)
    layer = SpikingLayer(synapses, 1.0, 8, coding="first_step")
    assert layer(torch.zeros(1, 1)).flatten().tolist() == [0, 1, 0, 1, 0, 1, 0, 1]
    assert layer(torch.full((1, 1), 1.5)).flatten().tolist() == [1, 1, 1, 0, 1, 0, 1, 0]
    assert layer(torch.full((1, 1), -2.5)).flatten().tolist() == [0, 0, 0, 0, 0, 0, 1, 0]
    constant = SpikingLayer(synapses, 1.0, 8, coding="constant")
    assert constant(torch.full((1, 1), 4.0)).flatten().tolist() == [1] * 8


@pytest.mark.parametrize("kind", KINDS)
def test_all_shares_of_the_bias_make_the_whole(kind):
    """Over all steps a layer's input adds up to the aggregate potential, whatever the layer."""
    network, values = made(kind)
    for stage in stages(network.chain())[:-1]:
        shares = Synapses(stage, for_spikes(stage, 1.0, Constraints()), 1 / 5)
        first = shares(values)
        total = first + 4 * shares.step_bias()
        assert torch.allclose(total, nn.Sequential(*stage.modules).eval()(values), atol=1e-5)
        assert torch.allclose(total, shares.aggregate(values), atol=1e-6)
        values = stage.forward(values)


def steps_carrying_thresholds(network, thresholds, values, time_steps, coding):
    """Run a network with the ANN's own weights, every spike worth the threshold of the layer that fired it; loops over time."""
    *hidden, last = stages(network.chain())
    arriving = None
    for stage, threshold in zip(hidden, thresholds, strict=True):
        rested = nn.Sequential(*stage.modules)
        bias = rested(torch.zeros_like(values if arriving is None else arriving[0]))
        if arriving is None:
            parts = [values / time_steps] * time_steps if coding == "constant" else [values, *[torch.zeros_like(values)] * (time_steps - 1)]
        else:
            parts = arriving
        membrane, arriving = torch.zeros_like(bias), []
        for part in parts:
            membrane = membrane + (rested(part) - bias) + bias / time_steps
            spikes = (membrane >= threshold).to(membrane.dtype)
            membrane = membrane - threshold * spikes
            arriving.append(threshold * spikes)
    return nn.Sequential(*last.modules)(sum(arriving))


@pytest.mark.parametrize("coding", ["first_step", "constant"])
@pytest.mark.parametrize("kind", KINDS)
def test_folded_thresholds_are_thresholds_carried_along(kind, coding):
    network, values = made(kind)
    network, values = network.double(), values.double()
    spiking = convert(network, values, time_steps=12, percentile=99, coding=coding)
    expected = steps_carrying_thresholds(network, spiking.thresholds, values, 12, coding)
    assert torch.allclose(spiking(values), expected, rtol=1e-9, atol=1e-9)


def with_sentinel(shape, time_steps, examples, random):
    """Few whole numbers; channel 0 is silent but in example 0, where it is as many as there are time steps and all else is silent."""
    values = torch.randint(1, 4, (examples, *shape), generator=random) * (torch.rand(examples, *shape, generator=random) < 0.1).float()
    values[:, 0] = 0
    values[0] = 0
    values[0, 0] = time_steps
    return values


WHOLE = {"dense": (whole_dense, (6,), [1, 1, 1]), "maps": (whole_maps, (2, 4, 4), [1, 0.5])}


@pytest.mark.parametrize("kind", WHOLE)
@settings(max_examples=10)
@given(seed=st.integers(0, 10_000))
def test_networks_of_whole_numbers_convert_without_error(kind, seed):
    """Every count is a whole activation: the first layer and the readout with weights of either sign, between them weights that only add.

    What only adds up can't fire too early, so that the timing of spikes leaves the counts alone.
    """
    (build, shape, thresholds), random = WHOLE[kind], generator(seed)
    network, values = build(random), with_sentinel(shape, 256, 6, random)
    spiking = convert(network, values, time_steps=256, percentile=100)
    assert spiking.thresholds == thresholds
    assert torch.equal(spiking(values), network(values))


def test_inhibition_that_comes_late_can_not_take_spikes_back():
    """Why "first_step" does not converge: 1 - 1 is 1 where the first 1 arrives in the first half and the other in the second."""
    (stage, _) = stages(sequence(nn.Linear(2, 1, bias=False), nn.ReLU(), nn.Linear(1, 1)).chain())
    layer = SpikingLayer(Synapses(stage, Affine(torch.tensor([[1.0, -1.0]]), torch.zeros(1)), 1 / 8), 1.0, 8)
    excited, inhibited = torch.tensor([1.0] * 4 + [0.0] * 4), torch.tensor([0.0] * 4 + [1.0] * 4)
    assert layer(torch.stack([excited, inhibited], -1).unsqueeze(1)).sum() == 4
    assert layer(torch.stack([excited, excited], -1).unsqueeze(1)).sum() == 0


def test_the_shell_holds_no_weights_of_the_chain():
    shared = nn.Linear(3, 3)
    network = sequence(shared, nn.ReLU(), nn.Sequential(shared, nn.ReLU()), nn.Linear(3, 2))
    assert not list(shell_of(network).parameters())
    assert len(list(network.parameters())) == 4
    assert network.layers[2][0] is shared


def test_a_network_without_hidden_layers_is_its_readout():
    network = sequence(nn.Flatten(), nn.Linear(4, 2))
    values = torch.randn(3, 2, 2, generator=generator())
    assert torch.allclose(SpikingNetwork(network, [], 4)(values), network(values))


def test_layers_are_named_and_counted_as_in_the_ann():
    network, values = made("pool before")
    spiking = convert(network, values, time_steps=4)
    assert list(spiking.spiking_layers()) == ["0", "3"]
    assert {name: layer.takes_spikes for name, layer in spiking.weighted_layers().items()} == {"0": False, "3": True, "7": True}
    spikes = spiking.layers[0](values)
    assert spikes.shape[:2] == (4, len(values))
    assert set(spikes.unique().tolist()) == {0, 1}


def test_nothing_is_learned_any_more():
    spiking = convert(dense((4, 6, 2)), torch.rand(9, 4), time_steps=4)
    assert not any(parameter.requires_grad for parameter in spiking.parameters())
    assert not spiking.training
