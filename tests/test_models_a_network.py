"""A-Network: sizes of the paper, its equations one neuron after the other, the unrolled graph, its start, stability over 64 steps, learning."""

import pytest
import torch
from event_patterns import distance_to, learn, sweeps

from models.a_network import ANetwork, ANetworkConfig
from models.metrics import Meter, parameter_count, record_spikes
from models.recurrent_lif import recurrent_loop

PAPER = (64, 1, 64)
TINY = (6, 2, 5)


def made(shape=TINY, classes=3, seed=1, **settings):
    torch.manual_seed(seed)
    settings = {"hidden": (4, 6)} | settings if shape == TINY else settings
    return ANetwork(ANetworkConfig(**settings), {"auditory_frames": shape}, classes)


def frames(shape=TINY, count=2, share=0.3, seed=0):
    return {"auditory_frames": (torch.rand(count, *shape, generator=torch.Generator().manual_seed(seed)) < share).float()}


@pytest.mark.parametrize(("recurrence", "of_each"), [("full", lambda n: n * n), ("diagonal", lambda n: n), ("none", lambda n: 0)])
def test_parameters_by_hand(recurrence, of_each):
    network = made(PAPER, 10, recurrence=recurrence)
    dense = (64 * 512 + 512) + 2 * (512 * 512 + 512) + (512 * 10 + 10)
    assert parameter_count(network) == dense + 3 * of_each(512) + of_each(10)


def layer_by_hand(spikes_in, weight, bias, feedback, decay, threshold=0.5):
    """Write section 2.2 of Liu et al. (2022) for a layer: lists ``[T][N]`` of spikes in, of spikes out."""
    neurons = range(len(bias))
    u, o, spikes = [0.0] * len(bias), [0.0] * len(bias), []
    for arriving in spikes_in:
        before = list(u)
        for i in neurons:
            heard = sum(w * s for w, s in zip(weight[i], arriving, strict=True)) + bias[i]
            fed_back = sum(feedback[i][j] * before[j] for j in neurons)
            u[i] = before[i] * (decay if o[i] == 0 else 0.0) + heard + fed_back
        o = [1.0 if u[i] >= threshold else 0.0 for i in neurons]
        spikes.append(o)
    return spikes


@pytest.mark.parametrize("recurrence", ["full", "diagonal", "none"])
def test_spikes_equal_the_equations_written_out(recurrence):
    network, given = made(recurrence=recurrence, expected_activity=0.1).double(), frames(share=0.5)
    votes = network({"auditory_frames": given["auditory_frames"].double()}).answer
    for example, events in enumerate(given["auditory_frames"]):
        spikes = events.flatten(1).tolist()
        for dense, neurons in zip(network.dense, network.neurons, strict=True):
            size = dense.out_features
            feedback = torch.zeros(size, size) if neurons.recurrence is None else neurons.recurrence.weight
            feedback = torch.diag(feedback) if feedback.dim() == 1 else feedback
            spikes = layer_by_hand(spikes, dense.weight.tolist(), dense.bias.tolist(), feedback.tolist(), 0.1)
            assert 0 < sum(map(sum, spikes)) < len(spikes) * size
        assert votes[:, example].tolist() == spikes


def unrolled(network, events):
    """Each layer in a loop over time in plain autograd."""
    spikes = events.transpose(0, 1).flatten(2)
    for dense, neurons in zip(network.dense, network.neurons, strict=True):
        current = torch.stack([dense(step) for step in spikes])
        spikes, _ = recurrent_loop(current, torch.zeros_like(current[0]), neurons.neuron.dynamics, neurons.recurrence)
    return spikes


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-12)])
@pytest.mark.parametrize("recurrence", ["full", "diagonal"])
def test_gradients_equal_those_of_the_unrolled_graph(recurrence, dtype, tolerance):
    network, events = made(recurrence=recurrence, expected_activity=0.3).to(dtype), frames()["auditory_frames"].to(dtype)
    votes, parameters = [network({"auditory_frames": events}).answer, unrolled(network, events)], list(network.parameters())
    assert torch.equal(*votes)
    gradients = [torch.autograd.grad(distance_to(each, torch.tensor([0, 2])), parameters) for each in votes]
    for found, wanted in zip(*gradients, strict=True):
        assert wanted.abs().sum() > 0
        assert (found - wanted).abs().max() <= tolerance * wanted.abs().max()


@pytest.mark.parametrize("share", [0.005, 0.02, 0.1])
def test_every_layer_is_awake_at_the_start(share):
    """Sparse random events: spikes in every layer, and a gradient for every weight; with PyTorch's own weights the last layers are silent."""
    network, given = made(PAPER, 10, hidden=(128, 128, 128)), frames(PAPER, 4, share)
    meter = Meter(network)
    with meter.watching():
        network(given)
    rates = {name: meter.spikes[name] / meter.neuron_steps[name] for name in meter.spikes}
    assert all(1e-3 < rate < 0.5 for rate in rates.values()), rates
    distance_to(network(given).answer, torch.arange(4)).backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in network.parameters())
    for dense in network.dense:
        dense.reset_parameters()
    assert not network(given).answer.any()


def largest_potentials(network, events):
    """Largest potential of each layer, in magnitude."""
    spikes, found = events.transpose(0, 1).flatten(2), []
    for dense, neurons in zip(network.dense, network.neurons, strict=True):
        response = neurons.run(dense(spikes))
        found.append(response.potential.abs().max().item())
        spikes = response.spikes
    return found


@pytest.mark.parametrize("limit", [0.9, None])
def test_feedback_that_grew_too_strong_is_held_back(limit):
    """R six times too large, where training at a high rate leads to: over 64 steps, potentials grow beyond measure unless they are limited."""
    network, events = made(PAPER, 10, hidden=(32, 32), recurrent_limit=limit), frames(PAPER)["auditory_frames"]
    with torch.no_grad():
        for neurons in network.neurons:
            neurons.recurrence.weight.mul_(12)
    assert (max(largest_potentials(network, events)) < 100) == (limit is not None)


def test_training_at_a_high_rate_stays_finite():
    events, labels = sweeps(8, 64, 50)
    network = made((64, 1, 64), 2, hidden=(32, 32, 32))
    losses, _ = learn(network, {"auditory_frames": torch.cat([events, events], 1)[:, :64]}, labels, steps=12, rate=2e-2)
    assert all(loss < 4 for loss in losses)
    assert max(largest_potentials(network, events)) < 1000


def test_operations_are_spikes_and_potentials():
    network, given = made(expected_activity=0.3), frames()
    meter = Meter(network)
    with meter.watching():
        network(given)
    recorded = record_spikes(network, {"auditory_frames": given["auditory_frames"][:1]})
    assert meter.synaptic_operations["fc1"] == given["auditory_frames"].sum() * 4
    assert meter.macs == {f"recurrence{number}": 2 * 6 * size**2 for number, size in ((1, 4), (2, 6), (3, 3))}
    one = Meter(network)
    with one.watching():
        network({"auditory_frames": given["auditory_frames"][:1]})
    assert one.synaptic_operations["fc3"] == recorded["lif2"].sum() * 3


@pytest.mark.parametrize("recurrence", ["full", "diagonal", "none"])
def test_being_watched_changes_no_spike(recurrence):
    network, given = made(recurrence=recurrence), frames()
    network.eval()
    expected = network(given).answer
    with Meter(network).watching():
        assert torch.equal(network(given).answer, expected)


def test_same_seed_same_network_same_votes():
    assert torch.equal(made()(frames()).answer, made()(frames()).answer)
    network, given = made(dropout=0.5, expected_activity=0.3), frames(share=0.5)
    assert torch.equal(*(network(given, torch.Generator().manual_seed(0)).answer for _ in range(2)))


def test_learns_which_way_a_tone_moves():
    events, labels = sweeps(24)
    network = made((12, 1, 16), 2, hidden=(32, 32))
    losses, share_right = learn(network, {"auditory_frames": events}, labels, steps=25)
    assert losses[-1] < 0.5 * losses[0]
    assert share_right > 0.9
