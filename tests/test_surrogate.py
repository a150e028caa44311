"""Surrogate gradients: derivative of their own smoothed step, equal to snnTorch's, and only in the backward pass."""

import math

import pytest
import torch

from audiodata.errors import AudioDataError
from models.surrogate import NAMES, SURROGATES, Surrogate, as_surrogate, spike

SCALES = {
    "arctan": (2.0, 5.0),
    "fast_sigmoid": (25.0, 3.0),
    "sigmoid": (25.0, 4.0),
    "rectangular": (1.0, 0.4),
    "triangular": (1.0, 2.5),
}
EACH = [SURROGATES[name](scale) for name, scales in SCALES.items() for scale in scales]


def points():
    """Potentials around the threshold that hit no corner of the piecewise formulas."""
    return torch.linspace(-3.003, 3.001, 2411, dtype=torch.float64)


@pytest.mark.parametrize("surrogate", EACH, ids=str)
def test_gradient_is_the_derivative_of_the_smoothed_step(surrogate):
    x, h = points(), 1e-6
    slope = (surrogate.smooth_step(x + h) - surrogate.smooth_step(x - h)) / (2 * h)
    smooth = surrogate.gradient(x - h).sub(surrogate.gradient(x + h)).abs() < 1e-2
    assert smooth.float().mean() > 0.99
    torch.testing.assert_close(surrogate.gradient(x)[smooth], slope[smooth], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("surrogate", EACH, ids=str)
def test_integral_of_the_gradient_is_the_rise_of_the_step(surrogate):
    x = torch.linspace(-200, 200, 4_000_001, dtype=torch.float64)
    area = torch.trapezoid(surrogate.gradient(x), x).item()
    rise = (surrogate.smooth_step(x[-1:]) - surrogate.smooth_step(x[:1])).item()
    assert area == pytest.approx(rise, rel=1e-3)
    expected = 2 / surrogate.scale if surrogate.name == "fast_sigmoid" else 1.0
    assert rise == pytest.approx(expected, rel=1e-2)


@pytest.mark.parametrize("surrogate", EACH, ids=str)
def test_gradient_is_even_and_largest_at_the_threshold(surrogate):
    x = points()
    torch.testing.assert_close(surrogate.gradient(x), surrogate.gradient(-x))
    assert (surrogate.gradient(torch.zeros(1, dtype=torch.float64)) >= surrogate.gradient(x)).all()


def test_values_at_the_threshold_written_out():
    at = {s.name: s.gradient(torch.zeros(1)).item() for s in map(as_surrogate, NAMES)}
    assert at == {"arctan": 1.0, "fast_sigmoid": 1.0, "sigmoid": 6.25, "rectangular": 1.0, "triangular": 1.0}
    half = torch.tensor([0.5])
    assert SURROGATES["arctan"]().gradient(half).item() == pytest.approx(1 / (1 + (math.pi / 2) ** 2))
    assert SURROGATES["rectangular"](1.0).gradient(half).item() == 0  # |x| < a/2 is strict
    assert SURROGATES["triangular"](2.0).gradient(half).item() == pytest.approx(0.375)


@pytest.mark.parametrize(
    ("name", "peer"), [("arctan", "atan"), ("fast_sigmoid", "fast_sigmoid"), ("sigmoid", "sigmoid")]
)
def test_equal_to_snntorch_with_default_scales(name, peer):
    theirs = pytest.importorskip("snntorch.surrogate")
    x = torch.linspace(-2.5, 2.5, 1001).requires_grad_()
    weight = torch.linspace(-1, 2, 1001)
    (getattr(theirs, peer)()(x) * weight).sum().backward()
    expected, x.grad = x.grad, None
    (spike(x, name) * weight).sum().backward()
    torch.testing.assert_close(x.grad, expected, rtol=1e-6, atol=1e-6)


def test_sigmoid_stays_finite_far_from_the_threshold():
    assert SURROGATES["sigmoid"]().gradient(torch.tensor([-1e4, 1e4])).tolist() == [0.0, 0.0]


def test_forward_is_a_step_whatever_the_surrogate():
    x = torch.tensor([-1.0, -1e-7, 0.0, 1e-7, 1.0])
    for name in NAMES:
        assert spike(x, name).tolist() == [0, 0, 0, 1, 1]
        assert spike(x, name, strict=False).tolist() == [0, 0, 1, 1, 1]


def test_registry_names_match():
    assert tuple(SURROGATES) == NAMES
    for name, make in SURROGATES.items():
        assert make().name == name
        assert NAMES[make().code] == name
        assert as_surrogate(name) == make()


@pytest.mark.parametrize(
    "bad", [lambda: as_surrogate("atan"), lambda: Surrogate("sigmoid", 0.0), lambda: Surrogate("x", 1.0)]
)
def test_bad_surrogates_are_explained(bad):
    with pytest.raises(AudioDataError, match="surrogate"):
        bad()
