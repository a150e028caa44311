"""Neurons against written-out trajectories and closed formulas, and the module's contract."""

import copy
import doctest
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audiodata.errors import AudioDataError
from models import neurons
from models.dynamics import Dynamics
from models.neurons import IF, LIF
from models.surrogate import fast_sigmoid

# Numbers are multiples of powers of two, so that every value below is exact in float32.
TRAJECTORIES = {
    # h = h/2 + I - 1 s_before, s = 1[h > 1]; 1.0 itself does not fire
    "snntorch": (
        lambda: LIF.snntorch(0.5),
        [0.75, 0.75, 0.75, 0.75, 2.5, 0.0, 0.0, 0.25, 0.8154296875, 0.5, 0.625],
        [0.75, 1.125, 0.3125, 0.90625, 2.953125, 0.4765625, 0.23828125, 0.369140625, 1.0, 1.0, 1.125],
        [0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1],
    ),
    # the last potential is forgotten where it fired: h = h/2 (1 - s_before) + I
    "snntorch, zero": (
        lambda: LIF.snntorch(0.5, reset="zero"),
        [0.75, 0.75, 0.75, 0.75, 0.75, 3.0, 0.25, 0.5, 1.0],
        [0.75, 1.125, 0.75, 1.125, 0.75, 3.375, 0.25, 0.625, 1.3125],
        [0, 1, 0, 1, 0, 1, 0, 0, 1],
    ),
    "snntorch, none": (
        lambda: LIF.snntorch(0.5, reset="none"),
        [0.75, 0.75, 0.75, 0.75, 0.0, 0.0, 2.0, 0.0],
        [0.75, 1.125, 1.3125, 1.40625, 0.703125, 0.3515625, 2.17578125, 1.087890625],
        [0, 1, 1, 1, 0, 0, 1, 1],
    ),
    # h = v + (I - v)/2, s = 1[h >= 1], v = 0 where s, else h: the potential shown is after the reset
    "spikingjelly": (
        LIF.spikingjelly,
        [1.0, 1.5, 4.0, 1.0, 1.0, 0.0, -1.0, 3.0, 0.0],
        [0.5, 0.0, 0.0, 0.5, 0.75, 0.375, -0.3125, 0.0, 0.0],
        [0, 1, 1, 0, 0, 0, 0, 1, 0],
    ),
    # h = v/2 + I, v = h - s
    "spikingjelly, soft": (
        lambda: LIF.spikingjelly(decay_input=False, v_reset=None),
        [0.5, 0.75, 2.5, 0.0, 0.0, 1.0, 0.5, 0.25],
        [0.5, 0.0, 1.5, 0.75, 0.375, 0.1875, 0.59375, 0.546875],
        [0, 1, 1, 0, 0, 1, 0, 0],
    ),
    # h = h/4 (1 - s_before) + I, s = 1[h >= 1/2]
    "stbp": (
        lambda: LIF.stbp(0.25),
        [0.25, 0.5, 0.25, 0.4375, 0.125, 0.25, 0.0, 0.5, -0.25],
        [0.25, 0.5625, 0.25, 0.5, 0.125, 0.28125, 0.0703125, 0.517578125, -0.25],
        [0, 1, 0, 1, 0, 0, 0, 1, 0],
    ),
    # h = h + I - s_before, s = 1[h >= 1]
    "if": (
        IF,
        [0.5, 0.5, 0.25, 1.5, 0.0, 0.0, -0.75, 0.25, 2.5, 0.0, 0.0],
        [0.5, 1.0, 0.25, 1.75, 0.75, 0.75, 0.0, 0.25, 2.75, 1.75, 0.75],
        [0, 1, 0, 1, 0, 0, 0, 0, 1, 1, 0],
    ),
}


def column(values, dtype=torch.float32):
    """A time series as [T, 1, 1]."""
    return torch.tensor(values, dtype=dtype).view(-1, 1, 1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("preset", TRAJECTORIES)
def test_written_out_trajectory(preset, dtype):
    make, current, potential, spikes = TRAJECTORIES[preset]
    response = make().run(column(current, dtype))
    assert response.potential.flatten().tolist() == potential
    assert response.spikes.flatten().tolist() == spikes
    assert response.spikes.dtype == dtype


def test_decay_without_input_is_a_power():
    start = torch.tensor([[0.9, -0.4, 0.1]], dtype=torch.float64)
    potential = LIF(0.83).run(torch.zeros(30, 1, 3, dtype=torch.float64), start).potential
    powers = 0.83 ** torch.arange(1, 31, dtype=torch.float64).view(-1, 1, 1)
    torch.testing.assert_close(potential, powers * start, rtol=1e-12, atol=0)


@settings(max_examples=60, deadline=None)
@given(decay=st.floats(0.05, 0.98), current=st.floats(0.05, 3.0), threshold=st.floats(0.2, 2.0))
def test_constant_current_has_the_analytic_interval(decay, current, threshold):
    """From 0, n steps lead to I (1 - decay^n) / (1 - decay): the interval is the first n above the threshold."""
    steps = 120
    lif = LIF(decay, threshold=threshold, reset="zero")
    times = lif(torch.full((steps, 1, 1), current, dtype=torch.float64)).flatten().nonzero().flatten()
    reachable = 1 - threshold * (1 - decay) / current
    if reachable <= 0:
        assert len(times) == 0
        return
    exact = math.log(reachable) / math.log(decay)
    if abs(exact - round(exact)) < 1e-6 or exact > steps - 1:
        return
    interval = math.ceil(exact)
    assert times.tolist() == list(range(interval - 1, steps, interval))


@pytest.mark.parametrize(("v_init", "rounding"), [(0.0, math.floor), (0.5, lambda x: math.floor(x + 0.5))])
def test_if_counts_the_current_in_units_of_the_threshold(v_init, rounding):
    theta, steps = 0.25, 16
    total = torch.linspace(-1, 6, 113)
    current = torch.zeros(steps, 1, 113)
    current[0] = total
    counts = IF(theta, v_init=v_init * theta)(current).sum(0).flatten()
    expected = [min(max(rounding(x / theta), 0), steps) for x in total.tolist()]
    assert counts.tolist() == expected


def test_zero_reset_gives_the_same_spikes_in_either_step():
    current = torch.randn(40, 3, 50, generator=torch.Generator().manual_seed(1)) + 0.3
    late, early = LIF(0.8, reset="zero"), LIF(0.8, reset="zero", reset_at="same_step")
    assert torch.equal(late(current), early(current))
    assert late.run(current).potential.max() > 1 >= early.run(current).potential.max()


@pytest.mark.parametrize("preset", [*TRAJECTORIES, "no delay"])
def test_two_halves_equal_the_whole(preset):
    lif = LIF.snntorch(0.9, reset_delay=False) if preset == "no delay" else TRAJECTORIES[preset][0]()
    current = torch.randn(24, 3, 11, generator=torch.Generator().manual_seed(5)) * 1.5
    whole = lif.run(current)
    first = lif.run(current[:9])
    second = lif.run(current[9:], first.state)
    assert torch.equal(torch.cat([first.spikes, second.spikes]), whole.spikes)
    assert torch.equal(torch.cat([first.potential, second.potential]), whole.potential)
    assert torch.equal(second.state, whole.state)


def test_gradient_goes_through_the_state():
    current = torch.randn(12, 2, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(2)).requires_grad_()
    lif = LIF.stbp(0.8)
    (whole,) = torch.autograd.grad(lif(current).square().sum(), current)
    first = lif.run(current[:5])
    second = lif(current[5:], first.state)
    (halves,) = torch.autograd.grad(first.spikes.square().sum() + second.square().sum(), current)
    torch.testing.assert_close(halves, whole, rtol=1e-12, atol=1e-14)
    assert halves[:5].abs().sum() > 0


def test_examples_in_docstrings_are_right():
    outcome = doctest.testmod(neurons)
    assert outcome.attempted > 0
    assert outcome.failed == 0


def test_nothing_is_remembered_between_calls():
    lif, current = LIF(0.99), torch.full((3, 2, 4), 0.4)
    assert torch.equal(lif(current), lif(current))


@pytest.mark.parametrize("learn", [False, True])
def test_constant_current_equals_the_repeated_one(learn):
    lif = LIF(0.7, surrogate=fast_sigmoid(5), learn_decay=learn)
    one = torch.randn(4, 3, 6, generator=torch.Generator().manual_seed(3)).requires_grad_()
    weight = torch.randn(10, 4, 3, 6)
    constant = lif.run(one, time_steps=10)
    (gradient,) = torch.autograd.grad((constant.spikes * weight).sum() + constant.potential.sum(), one)
    repeated = lif.run(one.expand(10, 4, 3, 6).contiguous())
    (expected,) = torch.autograd.grad((repeated.spikes * weight).sum() + repeated.potential.sum(), one)
    assert torch.equal(constant.spikes, repeated.spikes)
    torch.testing.assert_close(gradient, expected, rtol=1e-5, atol=1e-5)


def test_potential_can_be_left_out():
    response = LIF().run(torch.ones(5, 2, 3), potential=False)
    assert response.potential is None
    assert torch.equal(response.state, LIF().run(torch.ones(5, 2, 3)).potential[-1])


def test_learned_decay_has_the_analytic_gradient():
    """Without a reset, h[T] = sum over t of decay^(T - t) I[t]."""
    lif = LIF(0.8, reset="none", learn_decay=True)
    current = torch.randn(9, 1, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    lif.run(current).potential[-1].sum().backward()
    powers = torch.arange(8, -1, -1, dtype=torch.float64)
    decay = lif.decay.detach().double()
    expected = (powers * decay ** (powers - 1).clamp(min=0) * current.flatten()).sum().item()
    assert lif.decay.grad.item() == pytest.approx(expected, rel=1e-5)


def test_learned_decay_is_clamped_to_the_unit_interval():
    lif, current = LIF(0.5, learn_decay=True), torch.rand(8, 2, 3)
    with torch.no_grad():
        lif.decay.fill_(1.7)
    assert torch.equal(lif.run(current).potential, LIF(1.0).run(current).potential)


def test_learned_threshold_is_a_parameter_and_learns():
    lif = LIF(0.9, learn_threshold=True)
    assert [name for name, _ in lif.named_parameters()] == ["threshold"]
    lif(torch.rand(20, 4, 8)).sum().backward()
    assert lif.threshold.grad.item() < 0  # a higher threshold means fewer spikes
    assert not list(LIF().parameters())


def test_if_threshold_is_saved_with_the_weights():
    measured, fresh = IF(1.0), IF(1.0)
    measured.set_threshold(0.1234567890123, v_init=0.05)
    fresh.load_state_dict(copy.deepcopy(measured.state_dict()))
    assert fresh.dynamics == measured.dynamics
    assert fresh.dynamics.threshold == 0.1234567890123
    assert all(isinstance(value, torch.Tensor) for value in measured.state_dict().values())


def test_modules_copy_and_print_what_differs():
    lif = copy.deepcopy(LIF.stbp(0.1))
    assert lif.dynamics == Dynamics(
        decay=0.1, threshold=0.5, strict=False, reset="zero", detach_reset=False, surrogate="rectangular"
    )
    assert "decay=0.1" in repr(lif)
    assert "v_init" not in repr(lif)


@pytest.mark.parametrize("shape", [(1, 1), (5, 0, 3), (7,), (2, 3, 4, 5, 6)])
def test_any_shape_with_time_first(shape):
    current = torch.ones(shape, requires_grad=True)
    spikes = LIF(0.9)(current)
    assert spikes.shape == shape
    spikes.sum().backward()
    assert current.grad.shape == shape


BAD_OPTIONS = {
    "decay above 1": lambda: LIF(1.2),
    "decay nan": lambda: LIF(math.nan),
    "reset": lambda: LIF(reset="hard"),
    "reset_at": lambda: LIF(reset_at="now"),
    "threshold": lambda: LIF(threshold=math.inf),
    "no threshold": lambda: IF(0.0),
    "tau": lambda: LIF.spikingjelly(1.0),
    "v_reset without use": lambda: LIF(v_reset=0.3),
    "input_scale with tau": lambda: LIF(tau=2.0, input_scale=2.0),
    "detached snntorch": lambda: LIF(reset_at="snntorch_same_step"),
    "snntorch without reset": lambda: LIF(reset="none", reset_at="snntorch_same_step", detach_reset=False),
    "starts above threshold": lambda: LIF.spikingjelly(v_init=1.0),
    "unknown option": lambda: LIF(beta=0.9),
    "learned decay with tau": lambda: LIF(tau=2.0, learn_decay=True),
    "surrogate": lambda: LIF(surrogate="atan"),
}
BAD_CALLS = {
    "integers": lambda: LIF()(torch.ones(3, 2, dtype=torch.int64)),
    "no time": lambda: LIF()(torch.tensor(1.0)),
    "no steps": lambda: LIF()(torch.ones(0, 2)),
    "no constant steps": lambda: LIF()(torch.ones(2), time_steps=0),
    "state": lambda: LIF()(torch.ones(3, 2, 4), torch.zeros(4)),
}


@pytest.mark.parametrize("bad", [*BAD_OPTIONS.values(), *BAD_CALLS.values()], ids=[*BAD_OPTIONS, *BAD_CALLS])
def test_bad_use_is_explained_in_one_line(bad):
    with pytest.raises(AudioDataError) as caught:
        bad()
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) > 20
