"""The networks that see and hear: Eq. 5 written out, the plain sum as a special case, its start, what is counted, learning."""

import pytest
import torch
from event_patterns import distance_to, learn, moving_bars, sweeps

from audiodata.errors import AudioDataError
from models.attention_fusion import Attention, fuse, weighted_sum
from models.metrics import Meter, parameter_count
from models.multimodal import Multimodal, MultimodalConfig, MultimodalFc, MultimodalFcConfig
from models.neurons import LIF

SHAPES = {"visual_frames": (6, 1, 8, 8), "auditory_frames": (6, 1, 5)}
PAPER = {"visual_frames": (64, 1, 28, 28), "auditory_frames": (64, 1, 64)}
SMALL = {"visual": {"channels": (3, 3), "hidden": 8}, "auditory": {"hidden": (8,)}, "fusion": 6}
KINDS = {"attention": (Multimodal, MultimodalConfig), "two layers": (MultimodalFc, MultimodalFcConfig)}


def made(kind="attention", shapes=SHAPES, classes=3, seed=1, **settings):
    torch.manual_seed(seed)
    network, config = KINDS[kind]
    return network(config.model_validate(settings if shapes is PAPER else SMALL | settings), shapes, classes)


def events(shapes=SHAPES, count=2, share=0.3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {name: (torch.rand(count, *shape, generator=generator) < share).float() for name, shape in shapes.items()}


def random_spikes(steps=9, examples=2, classes=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [(torch.rand(steps, examples, classes, generator=generator) < 0.4).float() for _ in range(2)]


def test_parameters_by_hand():
    senses = parameter_count(made(shapes=PAPER, classes=10).visual) + parameter_count(made(shapes=PAPER, classes=10).auditory)
    assert parameter_count(made("attention", PAPER, 10)) == senses + (20 * 64 + 64) + (64 * 2 + 2)
    assert parameter_count(made("two layers", PAPER, 10, fusion=32)) == senses + (20 * 32 + 32) + (32 * 10 + 10)


def test_defaults_are_those_of_the_paper():
    config = MultimodalConfig()
    assert (config.decay, config.visual.decay, config.auditory.decay) == (0.9, 0.2, 0.1)
    assert {part.threshold for part in (config, config.visual, config.auditory)} == {0.5}
    assert {part.surrogate_width for part in (config, config.visual, config.auditory)} == {1.0}
    assert (config.visual.channels, config.visual.hidden, config.auditory.hidden) == ((32, 32), 128, (512, 512, 512))
    assert config.weights == "raw"


@pytest.mark.parametrize("weights", ["raw", "softmax", "sigmoid"])
def test_fusion_equals_equation_5_written_out(weights):
    """One number after the other, in double precision; sigmoid and softmax only change what becomes of the last layer's two values."""
    network = made(weights=weights, fusion=5).double()
    votes = network({name: values.double() for name, values in events().items()})
    attention = network.attention
    for b in range(2):
        hidden, o_hidden, u_m, o_m = [0.0] * 5, [0.0] * 5, [0.0] * 3, [0.0] * 3
        for t in range(6):
            both = votes.visual[t, b].tolist() + votes.auditory[t, b].tolist()
            for i in range(5):
                given = sum(w * s for w, s in zip(attention.fc1.weight[i].tolist(), both, strict=True)) + attention.fc1.bias[i].item()
                hidden[i] = hidden[i] * 0.9 * (1 - o_hidden[i]) + given
            o_hidden = [float(u >= 0.5) for u in hidden]
            values = torch.tensor(
                [sum(w * s for w, s in zip(attention.fc2.weight[k].tolist(), o_hidden, strict=True)) + attention.fc2.bias[k].item() for k in (0, 1)],
                dtype=torch.float64,
            )
            values = {"raw": values, "softmax": values.exp() / values.exp().sum(), "sigmoid": 1 / (1 + (-values).exp())}[weights]
            torch.testing.assert_close(votes.attention[t, b], values, rtol=1e-12, atol=1e-14)
            for c in range(3):
                weighted = values[0] * votes.visual[t, b, c] + values[1] * votes.auditory[t, b, c]
                u_m[c] = u_m[c] * 0.9 * (1 - o_m[c]) + weighted.item()
            o_m = [float(u >= 0.5) for u in u_m]
            assert votes.answer[t, b].tolist() == o_m


def test_weights_of_one_are_the_plain_sum():
    visual, auditory = random_spikes()
    neurons, ones = LIF.stbp(0.9), torch.ones(9, 2, 2)
    assert torch.equal(weighted_sum(visual, auditory, ones), visual + auditory)
    assert torch.equal(fuse(visual, auditory, ones, neurons), neurons(visual + auditory))


def test_network_with_its_weights_fixed_to_one_is_the_plain_sum():
    network = made()
    with torch.no_grad():
        network.attention.fc2.weight.zero_()
        network.attention.fc2.bias.fill_(1.0)
    votes = network(events())
    assert torch.equal(votes.attention, torch.ones(6, 2, 2))
    assert torch.equal(votes.answer, LIF.stbp(0.9)(votes.visual + votes.auditory))


@pytest.mark.parametrize("sense", [0, 1])
def test_a_sense_without_weight_is_not_heard(sense):
    spikes, weights = random_spikes(), torch.eye(2)[sense].expand(9, 2, 2)
    assert torch.equal(fuse(*spikes, weights, LIF.stbp(0.9)), LIF.stbp(0.9)(spikes[sense]))


@pytest.mark.parametrize("squeeze", ["softmax", "sigmoid"])
def test_squeezed_weights_lie_in_0_to_1(squeeze):
    torch.manual_seed(0)
    weights = Attention(4, 8, LIF.stbp(0.9), squeeze)(*random_spikes())
    assert ((weights > 0) & (weights < 1)).all()
    if squeeze == "softmax":
        torch.testing.assert_close(weights.sum(-1), torch.ones(9, 2))


@pytest.mark.parametrize("squeeze", ["raw", "softmax", "sigmoid"])
def test_attention_starts_where_its_gradient_is(squeeze):
    """Near 0.5 for each sense: inside the surrogate's window, whose edges are 0 and 1."""
    torch.manual_seed(0)
    weights = Attention(10, 64, LIF.stbp(0.9), squeeze)(*random_spikes(classes=10))
    assert ((weights - 0.5).abs() < 0.3).all()


def test_one_sense_is_its_own_network():
    network, given = made(), events()
    votes = network(given)
    assert torch.equal(votes.visual, network.visual(given).answer)
    assert torch.equal(votes.auditory, network.auditory(given).answer)
    assert votes.answer.shape == (6, 2, 3)
    assert votes.attention.shape == (6, 2, 2)


def test_without_attention_there_is_none():
    network, given = made("two layers"), events()
    votes = network(given)
    both = torch.cat([votes.visual, votes.auditory], -1)
    assert votes.attention is None
    assert torch.equal(votes.answer, network.lif2(network.fc2(network.lif1(network.fc1(both)))))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.01, 0.1])
def test_every_layer_is_awake_at_the_start(kind, share):
    network, given = made(kind, PAPER, 10, auditory={"hidden": (128, 128, 128)}), events(PAPER, 3, share)
    meter = Meter(network)
    with meter.watching():
        network(given)
    rates = {name: meter.spikes[name] / meter.neuron_steps[name] for name in meter.spikes}
    assert all(1e-3 < rate < 0.5 for rate in rates.values()), rates
    votes = network(given)
    distance_to(votes.answer, torch.arange(3)).backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in network.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_counted(kind):
    network, given = made(kind), events(count=1)
    meter = Meter(network)
    with meter.watching():
        votes = network(given)
    arriving = (votes.visual.sum() + votes.auditory.sum()).item()
    if kind == "attention":
        assert meter.synaptic_operations["attention.fc1"] == 6 * arriving
        assert meter.synaptic_operations["attention.fc2"] == 2 * meter.spikes["attention.lif"]
        assert meter.synaptic_operations["fuse"] == arriving
        assert meter.spikes["lif"] == votes.answer.sum()
    else:
        assert meter.synaptic_operations["fc1"] == 6 * arriving
        assert meter.spikes["lif2"] == votes.answer.sum()
    assert {"visual.lif1", "auditory.lif1"} <= set(meter.spikes)
    assert set(meter.macs) == {"auditory.recurrence1", "auditory.recurrence2"}


@pytest.mark.parametrize("kind", KINDS)
def test_same_seed_same_network_same_votes(kind):
    one, other = (made(kind)(events()) for _ in range(2))
    assert torch.equal(one.answer, other.answer)
    network = made(kind, visual=SMALL["visual"] | {"dropout": 0.5}, auditory=SMALL["auditory"] | {"dropout": 0.5})
    draws = [network(events(share=0.5), torch.Generator().manual_seed(0)) for _ in range(2)]
    assert torch.equal(draws[0].answer, draws[1].answer)


def test_recordings_of_different_length_are_refused_in_one_line():
    with pytest.raises(AudioDataError, match=r"visual_frames has 6 time steps and auditory_frames 7; give both .* the same `time_steps`"):
        made(shapes=SHAPES | {"auditory_frames": (7, 1, 5)})


@pytest.mark.parametrize("kind", KINDS)
def test_learns_from_both_senses(kind):
    (seen, labels), (heard, _) = moving_bars(24), sweeps(24)
    shapes = {"visual_frames": (12, 1, 8, 8), "auditory_frames": (12, 1, 16)}
    small = {"visual": {"channels": (8, 8), "hidden": 16}, "auditory": {"hidden": (32,)}, "fusion": 16}
    network = made(kind, shapes, 2, **small)
    losses, share_right = learn(network, {"visual_frames": seen, "auditory_frames": heard}, labels, steps=25)
    assert losses[-1] < 0.6 * losses[0]
    assert share_right > 0.9
