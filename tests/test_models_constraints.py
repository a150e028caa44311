"""What hardware asks of weights: levels, symmetry, errors of rounding; the largest connections stay."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.constraints import Constraints, limit_fan_in, quantise

FLOATS = st.floats(-1e6, 1e6, width=32)
BITS = st.integers(2, 8)


def tensors(least=1):
    return st.lists(FLOATS, min_size=least, max_size=40).map(torch.tensor)


def step_of(values, bits):
    return values.abs().max().double() / (2 ** (bits - 1) - 1)


@settings(max_examples=40)
@given(tensors(), BITS)
def test_levels_are_few_and_errors_at_most_half_a_step(values, bits):
    found, step = quantise(values, bits), step_of(values, bits)
    assert len(found.unique()) <= 2**bits - 1
    assert ((found - values).abs().double() <= step / 2 + 1e-5 * values.abs().max()).all()
    if step > 1e-30:
        levels = found.double() / step
        assert torch.allclose(levels, levels.round(), atol=1e-4)


@settings(max_examples=40)
@given(tensors(), BITS)
def test_signs_are_treated_alike_and_zero_stays_zero(values, bits):
    assert torch.equal(quantise(-values, bits), -quantise(values, bits))
    assert (quantise(torch.cat([values, torch.zeros(1)]), bits)[-1] == 0).all()


@settings(max_examples=40)
@given(tensors(), BITS)
def test_quantised_values_stay_as_they_are(values, bits):
    once = quantise(values, bits)
    assert torch.allclose(quantise(once, bits), once, rtol=1e-6, atol=1e-37)


@settings(max_examples=40)
@given(tensors(), BITS, st.floats(1e-3, 1e3))
def test_levels_grow_with_the_values(values, bits, factor):
    """The number of the level does not depend on the unit, but where a value lies right between two of them."""
    numbers = values.double() / step_of(values, bits).clamp(min=1e-300)
    clear = ((numbers - numbers.floor()) - 0.5).abs() > 1e-4
    found, scaled = quantise(values, bits)[clear], quantise(values * factor, bits)[clear]
    assert torch.allclose(scaled, found * factor, rtol=1e-5, atol=1e-36)


@pytest.mark.parametrize("values", [torch.zeros(3), torch.zeros(0), torch.tensor([1e-44, -3e-45]), torch.zeros(2, 0)])
def test_nothing_to_tell_apart_gives_numbers(values):
    found = quantise(values, 8)
    assert found.shape == values.shape
    assert found.isfinite().all()


def test_two_bits_are_three_levels():
    assert quantise(torch.tensor([-2.0, -0.9, 0.4, 1.1, 2.0]), 2).tolist() == [-2, 0, 0, 2, 2]


@settings(max_examples=40)
@given(st.integers(1, 6), st.integers(1, 12), st.integers(1, 14), st.integers(0, 1000))
def test_the_largest_connections_stay(neurons, connections, most, seed):
    weight = torch.randn(neurons, connections, generator=torch.Generator().manual_seed(seed))
    found = limit_fan_in(weight, most)
    for before, after in zip(weight, found, strict=True):
        kept = after != 0
        assert int(kept.sum()) == min(most, connections)
        assert torch.equal(after[kept], before[kept])
        assert not (~kept).any() or before[kept].abs().min() >= before[~kept].abs().max()


def test_of_equal_connections_the_first_stay():
    assert limit_fan_in(torch.tensor([[1.0, -1, 1, 1], [0, 2, 0, -2]]), 2).tolist() == [[1, -1, 0, 0], [0, 2, 0, -2]]


def test_all_that_leads_to_a_channel_counts_together():
    weight = torch.arange(1.0, 37).view(2, 2, 3, 3)
    found = limit_fan_in(weight, 3)
    assert found.shape == weight.shape
    assert found[0].nonzero().tolist() == [[1, 2, 0], [1, 2, 1], [1, 2, 2]]


def test_neither_changes_what_it_is_given():
    weight = torch.tensor([[0.3, -1.0]])
    for found in (quantise(weight, 2), quantise(torch.zeros(2), 2), limit_fan_in(weight, 1), limit_fan_in(weight, 5)):
        found.fill_(7)
    assert weight.tolist() == [[pytest.approx(0.3), -1.0]]


def test_both_constraints_together_keep_few_weights_of_few_levels():
    weight, bias = torch.tensor([[0.5, 1.0, -0.2], [0.3, -0.1, 0.6]]), torch.tensor([0.31, -0.9])
    constraints = Constraints(weight_bits=3, fan_in=2)
    found, found_bias = constraints.constrained(weight, bias)
    assert torch.allclose(found, torch.tensor([[2, 3, 0], [1, 0, 2]]) / 3)
    assert torch.allclose(found_bias, torch.tensor([1, -3]) * 0.3)
    assert constraints.any
    assert not Constraints().any
    assert all(found is given for found, given in zip(Constraints().constrained(weight, bias), (weight, bias), strict=True))
