"""Normalisations against their equations, token by token; and what is left of them once they are folded."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from audiodata.errors import AudioDataError
from models.decoupled_norm import MOMENTUM, NORMS, BatchNorm, DecoupledNorm, LayerNorm, VariantLayerNorm, fold_into_next, fold_into_previous

STEPS, EXAMPLES, FRAMES, VALUES = 3, 4, 5, 8


def made_tokens(seed=0, shape=(STEPS, EXAMPLES, FRAMES, VALUES)):
    generator = torch.Generator().manual_seed(seed)
    strength = torch.rand(*shape[:-1], 1, generator=generator, dtype=torch.float64) * 3
    return strength * torch.randn(shape, generator=generator, dtype=torch.float64) + 2


def made_norm(norm, seed=1):
    """Give gains and biases other than 1 and 0."""
    generator = torch.Generator().manual_seed(seed)
    norm = norm.double()
    with torch.no_grad():
        norm.weight.copy_(torch.rand(norm.weight.shape, generator=generator) + 0.5)
        norm.bias.copy_(torch.randn(norm.bias.shape, generator=generator))
    return norm


def token_means(tokens):
    return [[[sum(token.tolist()) / len(token) for token in example] for example in step] for step in tokens]


def pooled_variance(tokens, kept):
    """Mean squared distance from the own token's mean, over all values whose place (t, b, f) `kept` accepts."""
    means, squares = token_means(tokens), []
    for t in range(tokens.shape[0]):
        for b in range(tokens.shape[1]):
            for f in range(tokens.shape[2]):
                if kept(b, f):
                    squares += [(x - means[t][b][f]) ** 2 for x in tokens[t, b, f].tolist()]
    return sum(squares) / len(squares)


def write_out(norm, tokens, variance_at):
    """Eq. 14, value by value."""
    means, found = token_means(tokens), torch.empty_like(tokens)
    for t, b, f, n in torch.cartesian_prod(*(torch.arange(size) for size in tokens.shape)).tolist():
        centred = tokens[t, b, f, n].item() - means[t][b][f]
        found[t, b, f, n] = centred / (variance_at(b, f) + norm.eps) ** 0.5 * norm.weight[n].item() + norm.bias[n].item()
    return found


SHARED_BY = {
    "layer": lambda b, f: lambda _b, _f: True,
    "frame": lambda b, f: lambda _b, other: other == f,
    "token": lambda b, f: lambda example, other: (example, other) == (b, f),
}


@pytest.mark.parametrize("variance", ["layer", "frame", "token"])
def test_training_equals_equation_14_token_by_token(variance):
    norm, tokens = made_norm(DecoupledNorm(VALUES, variance, FRAMES)), made_tokens()
    pooled = {(b, f): pooled_variance(tokens, SHARED_BY[variance](b, f)) for b in range(EXAMPLES) for f in range(FRAMES)}
    assert torch.allclose(norm(tokens), write_out(norm, tokens, lambda b, f: pooled[b, f]), atol=1e-12)


@pytest.mark.parametrize("variance", ["layer", "frame", "token"])
def test_evaluation_takes_the_mean_of_the_token_and_the_stored_variance(variance):
    norm, tokens = made_norm(DecoupledNorm(VALUES, variance, FRAMES)), made_tokens()
    norm(tokens)
    norm.eval()
    stored = norm.expected.clone()
    per_frame = [pooled_variance(tokens, lambda _b, f, frame=frame: f == frame) for frame in range(FRAMES)]
    expected = torch.tensor(per_frame, dtype=torch.float64).unsqueeze(-1) if variance == "frame" else torch.tensor(sum(per_frame) / FRAMES)
    assert torch.allclose(stored, expected.to(stored), atol=1e-12)
    others = made_tokens(seed=7, shape=(STEPS, 2, FRAMES, VALUES))
    found = norm(others)
    assert torch.allclose(found, write_out(norm, others, lambda _b, f: stored.expand(FRAMES, 1)[f].item()), atol=1e-12)
    assert torch.equal(norm.expected, stored)


@pytest.mark.parametrize("variance", ["layer", "frame", "token"])
def test_what_a_time_step_holds_shifts_its_mean_and_not_the_variance(variance):
    norm = made_norm(DecoupledNorm(VALUES, variance, FRAMES))
    tokens = made_tokens()
    shifted = tokens + torch.randn(STEPS, EXAMPLES, FRAMES, 1, generator=torch.Generator().manual_seed(2), dtype=torch.float64) * 10
    assert torch.allclose(norm(tokens), norm(shifted), atol=1e-12)


def test_trained_norm_lets_a_stronger_token_be_stronger_where_layer_norm_does_not():
    tokens = made_tokens()
    decoupled, plain = DecoupledNorm(VALUES).double().eval(), LayerNorm(VALUES, eps=1e-12).double().eval()
    assert torch.allclose(decoupled(3 * tokens), 3 * decoupled(tokens))
    assert torch.allclose(plain(3 * tokens), plain(tokens))


def test_expectation_is_the_mean_of_the_first_batches_and_then_forgets():
    norm = DecoupledNorm(VALUES).double()
    batches = [made_tokens(seed) * (1 + seed) for seed in range(14)]
    seen = [pooled_variance(batch, lambda *_: True) for batch in batches]
    expected = 0.0
    for number, (batch, variance) in enumerate(zip(batches, seen, strict=True), start=1):
        norm(batch)
        share = max(1 / number, MOMENTUM)
        expected = (1 - share) * expected + share * variance
        assert norm.expected.item() == pytest.approx(expected, rel=1e-6)
        if number <= 10:
            assert norm.expected.item() == pytest.approx(sum(seen[:number]) / number, rel=1e-6)


def test_expectation_is_saved_with_the_weights():
    norm, other = DecoupledNorm(VALUES), DecoupledNorm(VALUES)
    norm(made_tokens().float())
    other.load_state_dict(norm.state_dict())
    assert torch.equal(other.expected, norm.expected) and other.expected != 1


@pytest.mark.parametrize("variance", ["layer", "frame", "token"])
def test_gradients_of_training_are_those_of_the_equation(variance):
    norm = made_norm(DecoupledNorm(3, variance, 2))
    tokens = made_tokens(shape=(2, 2, 2, 3)).requires_grad_()
    assert torch.autograd.gradcheck(norm, (tokens,))


def test_layer_norm_is_torchs():
    norm, tokens = made_norm(LayerNorm(VALUES)), made_tokens()
    peer = nn.LayerNorm(VALUES).double()
    peer.load_state_dict(norm.state_dict())
    assert torch.allclose(norm(tokens), peer(tokens), atol=1e-12)


def test_variant_layer_norm_multiplies_by_the_deviation():
    norm, tokens = made_norm(VariantLayerNorm(VALUES)), made_tokens()
    token = tokens[1, 2, 3]
    deviation = (((token - token.mean()) ** 2).sum() / VALUES + norm.eps) ** 0.5
    expected = (token - token.mean()) * deviation * norm.weight + norm.bias
    assert torch.allclose(norm(tokens)[1, 2, 3], expected, atol=1e-12)


def test_batch_norm_takes_each_value_over_steps_examples_and_frames():
    norm, tokens = made_norm(BatchNorm(VALUES)), made_tokens()
    everything = tokens.flatten(0, 2)
    expected = (everything - everything.mean(0)) / (everything.var(0, unbiased=False) + norm.eps).sqrt() * norm.weight + norm.bias
    assert torch.allclose(norm(tokens).flatten(0, 2), expected, atol=1e-12)


def trained(norm):
    for seed in range(3):
        norm(made_tokens(seed, (STEPS, EXAMPLES, FRAMES, norm.weight.shape[0])))
    return norm.eval()


sizes = st.integers(1, 9)


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(["dsln", "batch"]), sizes, sizes, st.booleans())
def test_folding_into_the_previous_layer_changes_nothing(name, inputs, outputs, bias):
    linear, norm = nn.Linear(inputs, outputs, bias=bias).double(), trained(made_norm(NORMS[name](outputs)))
    tokens = made_tokens(shape=(2, 3, 4, inputs))
    assert torch.allclose(fold_into_previous(linear, norm)(tokens), norm(linear(tokens)), atol=1e-9)


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(["dsln", "batch"]), sizes, sizes, st.booleans())
def test_folding_into_the_next_layer_changes_nothing(name, inputs, outputs, bias):
    linear, norm = nn.Linear(inputs, outputs, bias=bias).double(), trained(made_norm(NORMS[name](inputs)))
    tokens = made_tokens(shape=(2, 3, 4, inputs))
    assert torch.allclose(fold_into_next(norm, linear)(tokens), linear(norm(tokens)), atol=1e-9)


def test_folded_weights_are_those_of_equation_15():
    linear, norm = nn.Linear(3, 4).double(), trained(made_norm(DecoupledNorm(4)))
    gain = norm.weight / (norm.expected + norm.eps).sqrt()
    folded = fold_into_previous(linear, norm)
    for i in range(4):
        assert torch.allclose(folded.weight[i], gain[i] * (linear.weight[i] - linear.weight.mean(0)))
        assert torch.allclose(folded.bias[i], gain[i] * (linear.bias[i] - linear.bias.mean()) + norm.bias[i])


def test_folding_computes_in_double_precision_and_keeps_the_layers_own():
    linear, norm = nn.Linear(5, VALUES), made_norm(DecoupledNorm(VALUES)).float()
    folded = fold_into_previous(linear, norm)
    exact = fold_into_previous(linear.double(), norm.double())
    assert folded.weight.dtype == torch.float32
    assert torch.equal(folded.weight, exact.weight.float())


@pytest.mark.parametrize("norm", [LayerNorm(4), VariantLayerNorm(4), DecoupledNorm(4, "frame", 3)])
def test_what_depends_on_the_token_is_refused_with_the_reason(norm):
    for fold in (lambda: fold_into_previous(nn.Linear(4, 4), norm), lambda: fold_into_next(norm, nn.Linear(4, 4))):
        with pytest.raises(AudioDataError, match=r"can't be folded: it.* variance .*norm 'dsln'"):
            fold()


def test_variance_of_each_frame_fixes_their_number():
    with pytest.raises(AudioDataError, match="expected 3 frames, each of which has its variance, got 5"):
        DecoupledNorm(VALUES, "frame", 3)(made_tokens().float())


def test_functional_layer_norm_would_fail_the_transcription():
    """The decoupled norm is no layer norm: its variance is shared, so the two differ on tokens of different strength."""
    norm, tokens = made_norm(DecoupledNorm(VALUES)), made_tokens()
    assert not torch.allclose(norm(tokens), F.layer_norm(tokens, (VALUES,), norm.weight, norm.bias), atol=0.1)
