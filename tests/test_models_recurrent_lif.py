"""Neurons that hear potentials: the fused layer against its written-out equation, against autograd, and the bound on its feedback."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audiodata.errors import AudioDataError
from models.dynamics import Dynamics
from models.neurons import IF, LIF
from models.recurrent_lif import DiagonalFeedback, Feedback, RecurrentLIF, _Recurrent, recurrent_loop
from models.surrogate import SURROGATES

T, B, N = 13, 3, 7


def made_input(dtype=torch.float64, seed=0, shape=(T, B, N)):
    generator = torch.Generator().manual_seed(seed)
    numbers = [torch.randn(size, generator=generator, dtype=dtype) for size in (shape, shape[1:], shape, shape)]
    return numbers[0].requires_grad_(), (0.4 * numbers[1]).requires_grad_(), numbers[2], numbers[3]


def made_layer(recurrence="full", dtype=torch.float64, neuron=None, **options):
    torch.manual_seed(0)
    return RecurrentLIF(N, neuron or LIF.stbp(0.1), recurrence, **{"gain": 0.7, "limit": None} | options).to(dtype)


def by_hand(current, state, weight, decay=0.1, threshold=0.5):
    """Write Eq. 1 to 4 of Liu et al. (2022) and the recurrence of their section 2.2, one neuron after the other."""
    steps, examples, neurons = current.shape
    spikes, weights = torch.zeros_like(current), weight.tolist()
    for b in range(examples):
        u = [float(x) for x in state[b]]
        for t in range(steps):
            before = list(u)
            for i in range(neurons):
                fired = before[i] >= threshold
                heard = sum(weights[i][j] * before[j] for j in range(neurons))
                u[i] = before[i] * (0.0 if fired else decay) + float(current[t, b, i]) + heard
                spikes[t, b, i] = float(u[i] >= threshold)
    return spikes


@pytest.mark.parametrize("recurrence", ["full", "diagonal", "none"])
def test_spikes_equal_the_equations_written_out(recurrence):
    layer, (current, state, *_) = made_layer(recurrence), made_input()
    weight = {"full": lambda w: w, "diagonal": torch.diag}.get(recurrence, lambda _: torch.zeros(N, N))
    expected = by_hand(current.detach(), state.detach(), weight(getattr(layer.recurrence, "weight", None)))
    assert 0.1 < expected.mean() < 0.9
    assert torch.equal(layer(current, state), expected)


@pytest.mark.parametrize("limit", [None, 0.3])
@pytest.mark.parametrize("recurrence", ["full", "diagonal"])
def test_gradients_equal_those_of_the_unrolled_graph(recurrence, limit):
    layer, (current, state, on_spikes, on_potentials) = made_layer(recurrence, limit=limit), made_input()
    layer.eval()
    fused, unrolled = layer.run(current, state), recurrent_loop(current, state, layer.neuron.dynamics, layer.recurrence)
    assert torch.equal(fused.spikes, unrolled[0])
    torch.testing.assert_close(fused.potential, unrolled[1], rtol=1e-13, atol=1e-14)
    given = [current, state, layer.recurrence.weight]
    mine, expected = (
        torch.autograd.grad((spikes * on_spikes).sum() + (potentials * on_potentials).sum(), given) for spikes, potentials in (fused[:2], unrolled)
    )
    for found, wanted in zip(mine, expected, strict=True):
        assert wanted.abs().sum() > 0
        torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-12)


def test_single_precision_gradients_agree_to_a_millionth():
    layer, (current, state, on_spikes, _) = made_layer(dtype=torch.float32), made_input(torch.float32)
    given = [current, state, layer.recurrence.weight]
    mine = torch.autograd.grad((layer(current, state) * on_spikes).sum(), given)
    expected = torch.autograd.grad((recurrent_loop(current, state, layer.neuron.dynamics, layer.recurrence)[0] * on_spikes).sum(), given)
    for found, wanted in zip(mine, expected, strict=True):
        assert (found - wanted).abs().max() <= 1e-6 * wanted.abs().max()


DYNAMICS = {
    "subtract": Dynamics(0.7, threshold=0.6),
    "subtract, attached": Dynamics(0.7, threshold=0.6, detach_reset=False, reset_at="same_step"),
    "tau": Dynamics(tau=2.0, reset="zero", threshold=0.4, strict=False, detach_reset=False),
    "scaled": Dynamics(0.5, threshold=0.5, input_scale=0.5),
    "none": Dynamics(0.5, threshold=0.5, reset="none"),
}


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(sorted(DYNAMICS)), st.sampled_from(sorted(SURROGATES)), st.integers(0, 10_000), st.booleans())
def test_any_neuron_can_be_recurrent(name, surrogate, seed, diagonal):
    dynamics = Dynamics(**{**DYNAMICS[name].__dict__, "surrogate": SURROGATES[surrogate]()})
    current, state, on_spikes, on_potentials = made_input(seed=seed)
    weight = 0.3 * torch.randn((N,) if diagonal else (N, N), dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    weight.requires_grad_()
    expected = recurrent_loop(current, state, dynamics, (lambda h: h * weight) if diagonal else (lambda h: h @ weight.T))
    found = _Recurrent.apply(current, state, weight, dynamics)
    assert torch.equal(found[0], expected[0])
    gradients = (torch.autograd.grad((s * on_spikes).sum() + (u * on_potentials).sum(), [current, state, weight]) for s, u in (found, expected))
    for mine, wanted in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, wanted, rtol=1e-9, atol=1e-11)


def test_potentials_have_true_derivatives():
    """With spikes as constants in the reset, potentials are straight lines in the current and in R, whose slope finite differences know."""
    dynamics = Dynamics(0.6, threshold=0.5, reset="zero", detach_reset=True)
    current, state, *_ = made_input(shape=(4, 2, 3))
    weight = torch.tensor([[0.2, -0.3, 0.1], [0.4, 0.1, -0.2], [0.0, 0.3, 0.2]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda *given: _Recurrent.apply(*given, dynamics)[1], (current, state, weight))


@pytest.mark.parametrize("recurrence", ["full", "diagonal"])
def test_the_routes_with_and_without_compiled_code_agree(recurrence, monkeypatch):
    layer, (current, state, on_spikes, _) = made_layer(recurrence, torch.float32), made_input(torch.float32)
    expected = layer(current, state)
    monkeypatch.setattr("models.recurrent_lif._has_kernels", lambda _: False)
    found = layer(current, state)
    assert torch.equal(found, expected)
    given = [current, state, layer.recurrence.weight]
    for mine, wanted in zip(*(torch.autograd.grad((s * on_spikes).sum(), given) for s in (found, expected)), strict=True):
        torch.testing.assert_close(mine, wanted)


def test_two_halves_equal_the_whole():
    layer, (current, *_) = made_layer(), made_input()
    whole, first = layer.run(current), layer.run(current[:5])
    second = layer.run(current[5:], first.state)
    assert torch.equal(torch.cat([first.spikes, second.spikes]), whole.spikes)
    assert torch.equal(torch.cat([first.potential, second.potential]), whole.potential)
    assert torch.equal(second.state, whole.state)


def test_without_recurrence_it_is_the_plain_layer():
    layer, (current, *_) = made_layer("none"), made_input()
    assert not list(layer.parameters())
    assert torch.equal(layer(current), LIF.stbp(0.1)(current))


def test_listening_to_the_feedback_changes_no_spike():
    layer, (current, *_) = made_layer(dtype=torch.float32, limit=0.4), made_input(torch.float32)
    layer.eval()
    expected, heard = layer(current), []
    handle = layer.recurrence.register_forward_pre_hook(lambda _, inputs: heard.append(inputs[0].clone()))
    listened = layer.run(current)
    handle.remove()
    assert torch.equal(listened.spikes, expected)
    assert torch.equal(torch.stack(heard[1:]), listened.potential[:-1])
    assert not heard[0].any()  # at rest


def test_feedback_starts_orthogonal():
    weight = Feedback(40, 0.5, None).weight
    torch.testing.assert_close(weight @ weight.T, 0.25 * torch.eye(40), rtol=0, atol=1e-6)


def test_feedback_within_its_limit_is_left_alone():
    layer = Feedback(20, 0.5, 0.9)
    assert torch.equal(layer.bounded(), layer.weight)


def test_feedback_is_bounded_by_its_largest_singular_value():
    layer = Feedback(30, 0.5, 0.9)
    with torch.no_grad():
        layer.weight.add_(torch.randn(30, 30, generator=torch.Generator().manual_seed(0)))
    for _ in range(200):
        layer.follow()
    assert torch.linalg.matrix_norm(layer.weight, 2) > 5
    assert torch.linalg.matrix_norm(layer.bounded(), 2).item() == pytest.approx(0.9, rel=1e-3)
    diagonal = DiagonalFeedback(5, 2.0, 0.9)
    assert diagonal.bounded().tolist() == pytest.approx([0.9] * 5)


def test_two_calls_may_share_one_backward_pass():
    layer, (current, *_) = made_layer(limit=0.3), made_input()
    (layer(current) + layer(current)).sum().backward()
    assert layer.recurrence.weight.grad.abs().sum() > 0


def test_bounded_feedback_never_grows_without_input():
    """The norm of all potentials falls from step to step below the threshold, where decay + limit is below 1."""
    layer = made_layer(neuron=LIF.stbp(0.1, threshold=1e6), gain=3.0, limit=0.8)
    state = torch.randn(B, N, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    lengths = layer.eval().run(torch.zeros(T, B, N, dtype=torch.float64), state).potential.norm(dim=-1)
    assert (lengths[1:] <= 0.9000001 * lengths[:-1]).all()
    unbounded = made_layer(neuron=LIF.stbp(0.1, threshold=1e6), gain=3.0, limit=None)
    assert (unbounded.run(torch.zeros(T, B, N, dtype=torch.float64), state).potential[-1].norm() > 1000).all()


def test_gradient_of_bounded_feedback_is_the_true_one():
    """Where the direction is that of the largest singular value, the bound's gradient is the singular value's own (Miyato et al. 2018, Eq. 10)."""
    layer = Feedback(6, 0.5, 0.9).double()
    with torch.no_grad():
        layer.weight.copy_(torch.randn(6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(2)))
    for _ in range(3000):
        layer.follow()
    on_weight = torch.randn(6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    (found,) = torch.autograd.grad((layer.bounded() * on_weight).sum(), layer.weight)
    exact = layer.weight * 0.9 / torch.linalg.matrix_norm(layer.weight, 2)
    (expected,) = torch.autograd.grad((exact * on_weight).sum(), layer.weight)
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-9)


def test_half_precision_is_computed_in_single():
    layer, (current, *_) = made_layer(dtype=torch.float32), made_input(torch.float32)
    spikes = layer(current.detach().bfloat16())
    assert spikes.dtype == torch.bfloat16
    assert torch.equal(spikes.float(), layer(current.detach().bfloat16().float()))


BAD = {
    "no time": lambda: made_layer()(torch.zeros(B, N)),
    "no steps": lambda: made_layer()(torch.zeros(0, B, N)),
    "integers": lambda: made_layer()(torch.zeros(T, B, N, dtype=torch.int64)),
    "learned decay": lambda: RecurrentLIF(4, LIF(learn_decay=True)),
    "reset of snntorch": lambda: RecurrentLIF(4, LIF.snntorch(reset_delay=False)),
    "state": lambda: made_layer()(torch.zeros(T, B, N), torch.zeros(B, 1)),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=list(BAD))
def test_bad_use_is_explained_in_one_line(bad):
    with pytest.raises(AudioDataError) as caught:
        bad()
    assert "\n" not in str(caught.value)


def test_integrate_and_fire_neurons_can_be_recurrent():
    layer = RecurrentLIF(N, IF(0.5), gain=0.1)
    assert layer(torch.rand(T, B, N)).shape == (T, B, N)
