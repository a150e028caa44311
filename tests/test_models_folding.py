"""Folded stages against the layers that they were folded from."""

import pytest
import torch
from convertible_networks import KINDS, generator, made, sequence
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from models.chain import stages
from models.constraints import Constraints, limit_fan_in, quantise
from models.folding import Affine, SumPool, apply, arrivals, folded, for_spikes, pooled_area, weighted_layer


@pytest.mark.parametrize("kind", KINDS)
def test_folded_and_unfolded_stages_agree(kind):
    network, values = made(kind)
    for stage in stages(network.chain()):
        expected = stage.forward(values)
        found = apply(stage, folded(stage), values)
        found = found.relu() if stage.rectified else found
        assert torch.allclose(found, expected, rtol=1e-5, atol=1e-5)
        values = expected


@pytest.mark.parametrize("kind", KINDS)
def test_scaled_weights_on_sums_are_the_stage_on_averages(kind):
    """Counts are values in units of the threshold before: scale and areas are in the weights, nothing else is left to do."""
    network, values = made(kind)
    for stage in stages(network.chain()):
        scale = 0.37
        affine = for_spikes(stage, scale, Constraints())
        counts = arrivals(stage)(values / scale)
        found = nn.Sequential(weighted_layer(stage, affine), *stage.after)(counts)
        assert torch.allclose(found, nn.Sequential(*stage.modules)(values), rtol=1e-5, atol=1e-5)
        values = stage.forward(values)


def test_what_is_learned_gets_a_gradient_through_folding():
    network = sequence(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(2, 1))
    stage, values = stages(network.chain())[0], torch.randn(4, 1, 3, 3, generator=generator())
    learned = list(nn.Sequential(*stage.modules).parameters())
    expected = torch.autograd.grad(stage.forward(values).square().sum(), learned)
    found = torch.autograd.grad(apply(stage, folded(stage), values).relu().square().sum(), learned)
    assert len(learned) == 4
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-5)


@given(st.sampled_from([1, 2, 3, 5]), st.sampled_from([1, 2, 3]), st.integers(0, 99))
def test_sum_pools_are_average_pools_times_their_area(rows, columns, seed):
    counts = torch.randint(0, 200, (3, 2, 15, 7), generator=generator(seed)).float()
    average = nn.AvgPool2d((rows, columns))
    found = SumPool(average)(counts)
    assert torch.allclose(found, average(counts) * rows * columns, rtol=1e-5)
    assert torch.equal(found, found.round())
    flat = nn.AvgPool1d(columns)
    assert torch.equal(SumPool(flat)(counts[:, :, 0]), SumPool(nn.AvgPool2d((1, columns)))(counts[:, :, :1])[:, :, 0])


def test_areas_of_pools_in_a_row_multiply():
    network = sequence(nn.AvgPool2d(2), nn.AvgPool2d((1, 3)), nn.Conv2d(1, 1, 1))
    (stage,) = stages(network.chain())
    assert pooled_area(stage) == 12
    counts = torch.randint(0, 9, (2, 1, 4, 12), generator=generator()).float()
    assert torch.equal(arrivals(stage)(counts), counts.unflatten(3, (2, 6)).unflatten(2, (2, 2)).sum((3, 5)))


def test_constraints_are_on_folded_weights():
    """Hardware holds what is left after folding; scale and area only change the unit."""
    network, _ = made("pool before")
    stage = stages(network.chain())[1]
    weight, bias = folded(stage)
    found = for_spikes(stage, 0.3, Constraints(weight_bits=4, fan_in=5))
    assert torch.allclose(found.weight, quantise(limit_fan_in(weight, 5), 4) * 0.3 / 6)
    assert torch.allclose(found.bias, quantise(bias, 4))
    assert len(found.weight.unique()) <= 15
    assert int((found.weight.flatten(1) != 0).sum(1).max()) <= 5


def test_a_layer_with_other_weights_is_a_copy():
    layer = nn.Linear(2, 3, bias=False)
    (stage,) = stages(sequence(layer).chain())
    before = layer.weight.clone()
    copied = weighted_layer(stage, Affine(torch.ones(3, 2), torch.arange(3.0)))
    assert copied(torch.ones(1, 2)).tolist() == [[2, 3, 4]]
    assert torch.equal(layer.weight, before)
    assert layer.bias is None
