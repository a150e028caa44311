"""SI-SDR by the physics of signals made with known ratios; the order of sources against all permutations."""

from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.si_sdr import best_si_sdr, matching, ordered, si_sdr, sounding

SAMPLES = 4000


def orthogonal(count, seed=0, samples=SAMPLES):
    """Signals of energy 1 without a mean, exactly at right angles to each other: float64 [signal, sample]."""
    values = np.random.default_rng(seed).normal(size=(samples, count))
    basis, _ = np.linalg.qr(values - values.mean(0))
    return torch.from_numpy((basis - basis.mean(0)).T.copy())


@given(ratio=st.floats(1e-4, 1e4), scale=st.floats(0.05, 50))
def test_orthogonal_noise_gives_its_ratio_of_energies(ratio, scale):
    source, noise = orthogonal(2)
    estimate = scale * (source + noise / ratio**0.5)
    assert si_sdr(estimate, source).item() == pytest.approx(10 * np.log10(ratio), abs=1e-3)


@pytest.mark.parametrize("scale", [-3.0, 0.01, 1.0, 20.0])
def test_a_scaled_copy_is_as_good_as_can_be(scale):
    source = orthogonal(1)[0]
    assert si_sdr(scale * source, source).item() > 90
    assert si_sdr((scale * source).float(), source.float()).item() > 90


@given(st.integers(0, 1000), st.sampled_from([1e-2, 0.3, 7.0, -2.0]), st.sampled_from([-0.5, 0.0, 3.0]), st.sampled_from([0.1, 5.0]))
def test_level_sign_and_offset_of_either_do_not_matter(seed, scale, offset, source_scale):
    estimate, source = torch.from_numpy(np.random.default_rng(seed).normal(size=(2, 300)))
    changed = si_sdr(scale * estimate + offset, source_scale * source - offset)
    assert changed.item() == pytest.approx(si_sdr(estimate, source).item(), abs=1e-5)


def test_the_division_by_the_energy_that_the_paper_leaves_out_is_there():
    source, noise = orthogonal(2)
    loud = 30 * source
    assert si_sdr(loud + 3 * noise, loud).item() == pytest.approx(20.0, abs=1e-4)


def test_values_stay_within_100_db():
    source, other = orthogonal(2)
    assert si_sdr(source, source).item() == pytest.approx(100, abs=0.01)
    assert si_sdr(other, source).item() == pytest.approx(-100, abs=0.01)


@pytest.mark.parametrize(("estimate_level", "source_level"), [(1.0, 0.0), (0.0, 1.0), (0.0, 0.0), (1e-30, 1.0), (1.0, 1e-30)])
def test_silence_has_a_finite_value_and_gradient(estimate_level, source_level):
    source, other = orthogonal(2)
    estimate = (estimate_level * (source + other)).float().requires_grad_()
    value = si_sdr(estimate, (source_level * source).float())
    value.backward()
    assert value.isfinite() and estimate.grad.isfinite().all() and -101 < value.item() < 101
    if source_level == 0:
        assert not estimate.grad.any()


def test_gradient_is_that_of_the_definition():
    torch.manual_seed(0)
    estimate, source = torch.randn(2, 3, 40, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda values: si_sdr(values, source), estimate.requires_grad_(), eps=1e-7, atol=1e-5)


@given(st.permutations(range(4)), st.integers(0, 50))
def test_a_permutation_is_found_and_undone(order, seed):
    sources = orthogonal(4, seed, 200)[None]
    noise = 0.1 * torch.from_numpy(np.random.default_rng(seed + 1).normal(size=sources.shape)) / 200**0.5
    estimates = (sources + noise)[:, list(order)]
    found = matching(estimates, sources)
    assert torch.equal(ordered(estimates, found), sources + noise)
    assert torch.allclose(best_si_sdr(estimates, sources), si_sdr(sources + noise, sources))


@given(st.integers(2, 5), st.integers(0, 1000))
def test_the_assignment_is_the_best_of_all_permutations(count, seed):
    generator = np.random.default_rng(seed)
    estimates, sources = torch.from_numpy(generator.normal(size=(2, 3, count, 30)))
    best = [
        max(si_sdr(estimate[list(order)], source).mean().item() for order in permutations(range(count)))
        for estimate, source in zip(estimates, sources, strict=True)
    ]
    assert best_si_sdr(estimates, sources).mean(1).tolist() == pytest.approx(best)


def test_each_example_has_an_order_of_its_own():
    sources = torch.stack([orthogonal(2, 0), orthogonal(2, 1)])
    estimates = torch.stack([sources[0], sources[1].flip(0)])
    assert matching(estimates, sources).tolist() == [[0, 1], [1, 0]]


def test_a_constant_is_silence():
    source, other = orthogonal(2)
    sources = torch.stack([torch.stack([source, other]), torch.stack([source, torch.ones_like(source)])])
    assert sounding(sources).tolist() == [True, False]
