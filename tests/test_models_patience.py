"""The scheduler of a stage against Algorithm 1 of Wu et al. (2021), written down a second time."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.patience import Patience


def algorithm(losses, period):
    """Epochs that the loop of Algorithm 1 takes and the epoch that is loaded again; t starts at 1, as it does there."""
    t, best, loaded, epochs = 1, math.inf, None, 0
    while t < period and epochs < len(losses):
        loss = losses[epochs]
        epochs += 1
        if loss < best:
            t, best, loaded = 0, loss, epochs
        else:
            t += 1
    return epochs, loaded


def walk(losses, period, better="lower"):
    patience, loaded = Patience(period, better), None
    for epoch, loss in enumerate(losses, 1):
        verdict = patience.update(loss)
        loaded = epoch if verdict == "better" else loaded
        if verdict == "end of stage":
            assert patience.ended
            return epoch, loaded
        assert not patience.ended
    return len(losses), loaded


@given(st.lists(st.sampled_from([0.1, 0.2, 0.3, 0.4]), min_size=1, max_size=30), st.integers(2, 6))
def test_walks_as_algorithm_1_does(losses, period):
    assert walk(losses, period) == algorithm(losses, period)


@pytest.mark.parametrize(("losses", "period", "epochs", "loaded"), [
    ([0.5, 0.4, 0.6, 0.7, 0.1], 2, 4, 2),
    ([0.5, 0.5, 0.5], 2, 3, 1),  # as good is not better
    ([0.5, 0.6, 0.4, 0.5, 0.3, 0.4, 0.4], 2, 7, 5),  # a better one gives the whole patience back
    ([0.5, 0.6], 1, 2, 1),  # a patience of 1 trains, too
    ([0.5, math.nan, math.nan], 2, 3, 1),
])  # fmt: skip
def test_scripted_losses(losses, period, epochs, loaded):
    assert walk(losses, period) == (epochs, loaded)


def test_higher_values_can_be_the_better_ones():
    scores = [0.5, 0.6, 0.6, 0.7, 0.1, 0.2]
    assert walk(scores, 2, "higher") == walk([-score for score in scores], 2) == (6, 4)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=20), st.integers(1, 4), st.data())
def test_goes_on_from_a_checkpoint(losses, period, data):
    cut = data.draw(st.integers(0, len(losses)))
    whole, first, second = Patience(period), Patience(period), Patience(period)
    expected = [whole.update(loss) for loss in losses]
    found = [first.update(loss) for loss in losses[:cut]]
    second.load_state_dict(first.state_dict())
    assert found + [second.update(loss) for loss in losses[cut:]] == expected
