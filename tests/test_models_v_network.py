"""V-Network: sizes of the paper, its equations one neuron after the other, the unrolled graph, its start, learning."""

import pytest
import torch
import torch.nn.functional as F
from event_patterns import distance_to, learn, moving_bars

from audiodata.errors import AudioDataError
from models.metrics import Meter, parameter_count, record_spikes
from models.surrogate import spike
from models.v_network import VNetwork, VNetworkConfig

PAPER = (64, 1, 28, 28)
TINY = (5, 2, 6, 7)


def made(shape=TINY, classes=3, seed=1, **settings):
    torch.manual_seed(seed)
    settings = {"channels": (2, 3), "hidden": 4} | settings if shape == TINY else settings
    return VNetwork(VNetworkConfig(**settings), {"visual_frames": shape}, classes)


def frames(shape=TINY, count=2, share=0.2, seed=0):
    return {"visual_frames": (torch.rand(count, *shape, generator=torch.Generator().manual_seed(seed)) < share).float()}


def exact(network, scale=16):
    """Round weights to multiples of 1/scale, so that sums over spikes are exact in any order of addition."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_((parameter * scale).round() / scale)
    return network


@pytest.mark.parametrize(("padding", "flat"), [(1, 1568), (0, 800)])
def test_parameters_by_hand(padding, flat):
    network = made(PAPER, 10, padding=padding)
    assert parameter_count(network) == (9 * 32 + 32) + (9 * 32 * 32 + 32) + (flat * 128 + 128) + (128 * 10 + 10)


def neuron_by_hand(currents, decay, threshold=0.5):
    """Write Eq. 1 to 4 of Liu et al. (2022) for one neuron: the spikes that currents, one a time step, cause."""
    u, o, spikes = 0.0, 0.0, []
    for current in currents:
        f = decay if o == 0 else 0.0
        u = u * f + current
        o = 1.0 if u >= threshold else 0.0
        spikes.append(o)
    return spikes


def layer_by_hand(currents, decay):
    """Spikes ``[T][...]`` of neurons whose currents are a tensor ``[T, ...]``, one after the other."""
    flat = currents.flatten(1).T.tolist()
    return torch.tensor([neuron_by_hand(of_one, decay) for of_one in flat]).T.reshape(currents.shape)


def convolution_by_hand(maps, weight, bias, padding):
    """Sum over kernel and channels for each place, in four loops."""
    padded = F.pad(maps, (padding,) * 4)
    k, (height, width) = weight.shape[-1], (size + 2 * padding - weight.shape[-1] + 1 for size in maps.shape[-2:])
    found = torch.zeros(*maps.shape[:-3], len(weight), height, width)
    for c in range(len(weight)):
        for i in range(height):
            for j in range(width):
                found[..., c, i, j] = (padded[..., i : i + k, j : j + k] * weight[c]).sum((-1, -2, -3)) + bias[c]
    return found


def pooled_by_hand(spikes):
    height, width = (size // 2 for size in spikes.shape[-2:])
    found = torch.zeros(*spikes.shape[:-2], height, width)
    for i in range(height):
        for j in range(width):
            found[..., i, j] = spikes[..., 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].mean((-1, -2))
    return found


@pytest.mark.parametrize("padding", [0, 1])
def test_spikes_equal_the_equations_written_out(padding):
    shape = (5, 2, 10, 11) if padding == 0 else TINY
    network = exact(made(shape, decay=0.25, padding=padding, channels=(2, 3), hidden=4))
    given = frames(shape)
    maps = given["visual_frames"].transpose(0, 1)
    with torch.no_grad():
        for layer in (network.conv1, network.conv2):
            maps = pooled_by_hand(layer_by_hand(convolution_by_hand(maps, layer.weight, layer.bias, padding), 0.25))
        hidden = layer_by_hand(maps.flatten(2) @ network.fc1.weight.T + network.fc1.bias, 0.25)
        expected = layer_by_hand(hidden @ network.fc2.weight.T + network.fc2.bias, 0.25)
    assert 0 < maps.mean() < 1
    assert 0 < hidden.mean() < 1
    assert 0 < expected.mean() < 1
    votes = network(given)
    assert torch.equal(votes.answer, expected)
    assert (votes.visual, votes.auditory, votes.attention) == (None, None, None)


def unrolled(network, maps):
    """All layers in a loop over time, each operation one of plain autograd."""
    decay = network.config.decay
    potentials, spikes, votes = [0.0] * 4, [0.0] * 4, []

    def neurons(index, current):
        potentials[index] = decay * potentials[index] * (1 - spikes[index]) + current
        spikes[index] = spike(potentials[index] - 0.5, network.lif3.dynamics.surrogate, strict=False)
        return spikes[index]

    for step in maps.transpose(0, 1):
        pooled = F.avg_pool2d(neurons(0, F.conv2d(step, network.conv1.weight, network.conv1.bias, padding=1)), 2)
        pooled = F.avg_pool2d(neurons(1, F.conv2d(pooled, network.conv2.weight, network.conv2.bias, padding=1)), 2)
        hidden = neurons(2, F.linear(pooled.flatten(1), network.fc1.weight, network.fc1.bias))
        votes.append(neurons(3, F.linear(hidden, network.fc2.weight, network.fc2.bias)))
    return torch.stack(votes)


@pytest.mark.parametrize("width", [1.0, 0.4])
def test_gradients_equal_those_of_the_unrolled_graph(width):
    """To a millionth of the largest, in single precision: the fused route; the float64 test below has the rest of the digits."""
    network, given = exact(made(decay=0.25, surrogate_width=width)), frames()
    mine, expected = network(given).answer, unrolled(network, given["visual_frames"])
    assert torch.equal(mine, expected)
    gradients = [torch.autograd.grad(distance_to(votes, torch.tensor([0, 2])), list(network.parameters())) for votes in (mine, expected)]
    for found, wanted in zip(*gradients, strict=True):
        assert wanted.abs().sum() > 0
        assert (found - wanted).abs().max() <= 1e-6 * wanted.abs().max()


def test_gradients_in_double_precision():
    network, given = made().double(), {"visual_frames": frames()["visual_frames"].double()}
    gradients = [
        torch.autograd.grad(distance_to(votes, torch.tensor([0, 2])), list(network.parameters()))
        for votes in (network(given).answer, unrolled(network, given["visual_frames"]))
    ]
    for found, wanted in zip(*gradients, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("share", [0.005, 0.02, 0.1])
def test_every_layer_is_awake_at_the_start(share):
    """Sparse random events: spikes in every layer, and a gradient for every weight; with PyTorch's own weights the last layers are silent."""
    network, given = made(PAPER, 10), frames(PAPER, 4, share)
    meter = Meter(network)
    with meter.watching():
        network(given)
    rates = {name: meter.spikes[name] / meter.neuron_steps[name] for name in meter.spikes}
    assert all(1e-4 < rate < 0.5 for rate in rates.values()), rates
    distance_to(network(given).answer, torch.arange(4)).backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in network.parameters())
    for layer in (network.conv1, network.conv2, network.fc1, network.fc2):
        layer.reset_parameters()
    assert not network(given).answer.any()


def test_synaptic_operations_count_every_spike_of_a_window():
    network, given = made(), frames()
    meter = Meter(network)
    with meter.watching():
        network(given)
    recorded = record_spikes(network, given)
    assert not meter.macs
    events = given["visual_frames"].transpose(0, 1)
    # an event in the middle leads to 9 places of 2 channels, at an edge to 6, in a corner to 4
    places = F.conv2d(torch.ones(1, 1, 6, 7), torch.ones(1, 1, 3, 3), padding=1)[0, 0] * 2
    assert meter.synaptic_operations["conv1"] == (events.sum((0, 1, 2)) * places).sum()
    # rows and columns that pooling leaves out lead nowhere; 7 columns give 3 windows, then 1
    heard = torch.from_numpy(recorded["lif2"]).float()[..., :2, :2].sum().item()
    one = Meter(network)
    with one.watching():
        network({"visual_frames": given["visual_frames"][:1]})
    assert one.synaptic_operations["fc1"] == heard * 4
    assert one.synaptic_operations["fc2"] == recorded["lif3"].sum() * 3


def test_being_watched_changes_no_spike():
    network, given = exact(made()), frames()
    expected = network(given).answer
    with Meter(network).watching():
        assert torch.equal(network(given).answer, expected)
    assert torch.equal(torch.from_numpy(record_spikes(network, given)["lif4"]).float(), expected[:, 0])


def test_same_seed_same_network_same_votes():
    assert torch.equal(made()(frames()).answer, made()(frames()).answer)
    network = made(dropout=0.5)
    given = frames(share=0.5)
    draws = [network(given, torch.Generator().manual_seed(seed)).answer for seed in (0, 0)]
    assert torch.equal(*draws)
    assert torch.equal(network.eval()(given).answer, made()(given).answer)


def test_frames_too_small_are_refused_in_one_line():
    with pytest.raises(AudioDataError, match="3 x 9 pixels are too few"):
        made((4, 1, 3, 9))


def test_learns_which_way_a_bar_moves():
    features, labels = moving_bars(24)
    network = made((12, 1, 8, 8), 2, channels=(8, 8), hidden=16)
    losses, share_right = learn(network, {"visual_frames": features}, labels, steps=25)
    assert losses[-1] < 0.5 * losses[0]
    assert share_right > 0.9
