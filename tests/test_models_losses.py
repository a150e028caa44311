"""Losses against snnTorch's and against numbers worked out by hand; decoding with its ties."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.decoding import DECODINGS, by_first_spike, by_rate
from models.losses import LOSSES, ce_count, ce_temporal, first_spike_times, mse_count, mse_membrane

PEERS = {
    "ce_rate": "ce_rate_loss",
    "ce_count": "ce_count_loss",
    "mse_count": "mse_count_loss",
    "ce_max_membrane": "ce_max_membrane_loss",
    "mse_membrane": "mse_membrane_loss",
    "ce_temporal": "ce_temporal_loss",
}


def made_outputs(name, seed, steps=7, examples=5, classes=4):
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(steps, examples, classes, generator=generator)
    labels = torch.randint(classes, (examples,), generator=generator)
    return (values if LOSSES[name].reads == "potentials" else (values > 0.5).float()), labels


def peer_loss(name):
    functional = pytest.importorskip("snntorch.functional")
    options = {"correct_rate": 0.8, "incorrect_rate": 0.2} if name == "mse_count" else {}
    return getattr(functional, PEERS[name])(**options)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("seed", range(3))
def test_losses_and_gradients_equal_snntorch(name, seed):
    peer = peer_loss(name)
    output, labels = made_outputs(name, seed)
    ours, theirs = output.clone().requires_grad_(), output.clone().requires_grad_()
    loss, expected = LOSSES[name].function(ours, labels), peer(theirs, labels.clone())
    assert loss.item() == pytest.approx(expected.item(), abs=1e-6)
    loss.backward()
    expected.sum().backward()
    assert torch.allclose(ours.grad, theirs.grad, atol=1e-6)


def test_count_loss_by_hand():
    # counts 3 and 1: softmax gives e^2 / (e^2 + 1) to the first
    spikes = torch.tensor([[[1.0, 0.0]], [[1.0, 1.0]], [[1.0, 0.0]]])
    assert ce_count(spikes, torch.tensor([0])).item() == pytest.approx(-math.log(math.e**2 / (math.e**2 + 1)), abs=1e-6)


def test_count_error_by_hand():
    # T = 10 aims at 8 and 2; counts 10 and 0 miss both by 2: mean square 4, over T = 10
    spikes = torch.zeros(10, 1, 2)
    spikes[:, 0, 0] = 1
    assert mse_count(spikes, torch.tensor([0])).item() == pytest.approx(0.4)
    assert mse_count(spikes, torch.tensor([0]), correct_rate=1.0, incorrect_rate=0.0).item() == 0


def test_membrane_error_is_zero_on_target():
    potentials = torch.tensor([[[1.0, 0.0]]]).expand(5, 1, 2)
    assert mse_membrane(potentials, torch.tensor([0])).item() == 0
    assert mse_membrane(potentials, torch.tensor([1])).item() == 1


def test_first_spike_times_by_hand():
    spikes = torch.tensor([[0.0, 1.0, 0.0], [1.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    assert first_spike_times(spikes).tolist() == [1.0, 0.0, 2.0]


def test_earlier_right_spike_lowers_the_temporal_loss():
    early, late = torch.zeros(6, 1, 2), torch.zeros(6, 1, 2)
    early[1, 0, 0] = late[4, 0, 0] = 1
    early[3, 0, 1] = late[3, 0, 1] = 1
    label = torch.tensor([0])
    assert ce_temporal(early, label) < ce_temporal(late, label)


def test_most_spikes_win():
    spikes = torch.tensor([[[1.0, 0.0, 0.0]], [[0.0, 1.0, 0.0]], [[0.0, 1.0, 0.0]]])
    assert by_rate(spikes).tolist() == [1]


def test_ties_of_counts_go_to_the_highest_potential_then_to_the_lowest_index():
    spikes = torch.tensor([[[1.0, 1.0, 0.0]]])
    assert by_rate(spikes).tolist() == [0]
    assert by_rate(spikes, torch.tensor([[[0.2, 0.7, 0.9]]])).tolist() == [1]
    assert by_rate(spikes, torch.tensor([[[0.7, 0.7, 0.9]]])).tolist() == [0]


def test_first_spike_wins_whatever_comes_later():
    spikes = torch.tensor([[[0.0, 0.0, 1.0]], [[1.0, 1.0, 0.0]], [[1.0, 1.0, 0.0]]])
    assert by_first_spike(spikes).tolist() == [2]


def test_ties_of_first_spikes_go_to_the_potential_at_that_step():
    spikes = torch.tensor([[[0.0, 0.0]], [[1.0, 1.0]]])
    potentials = torch.tensor([[[9.0, 0.0]], [[1.1, 1.4]]])
    assert by_first_spike(spikes).tolist() == [0]
    assert by_first_spike(spikes, potentials).tolist() == [1]


def test_silence_is_decided_by_the_highest_potential():
    spikes = torch.zeros(3, 1, 3)
    potentials = torch.tensor([[[0.3, 0.2, 0.0]], [[0.1, 0.8, 0.0]], [[0.5, 0.2, 0.7]]])
    assert by_first_spike(spikes, potentials).tolist() == [1]
    assert by_first_spike(spikes).tolist() == [0]


@pytest.mark.parametrize("decode", DECODINGS.values(), ids=list(DECODINGS))
def test_potentials_that_are_not_numbers_hide_no_class(decode):
    spikes = torch.tensor([[[0.0, 1.0, 1.0]]])
    assert decode(spikes, torch.full((1, 1, 3), torch.nan)).tolist() == [1]


@given(st.integers(0, 2**31), st.integers(1, 6), st.integers(1, 5))
def test_decoding_agrees_with_snntorch_where_there_is_no_tie(seed, steps, classes):
    accuracy = pytest.importorskip("snntorch.functional.acc")
    generator = torch.Generator().manual_seed(seed)
    spikes = (torch.rand(steps, 3, classes, generator=generator) > 0.5).float()
    assert accuracy.accuracy_rate(spikes, by_rate(spikes)) == 1
    # snnTorch counts a neuron that never fires as firing at the last step
    spikes[-1] = 1
    assert accuracy.accuracy_temporal(spikes, by_first_spike(spikes)) == 1
