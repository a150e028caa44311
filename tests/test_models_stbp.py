"""The start of networks on events: alive whatever share of the inputs fires, and the same for the same examples."""

import pytest
import torch
from torch import nn

from models import MODELS
from models.data import evenly_spaced
from models.stbp import Driven, StbpConfig, fit_start, start_weights

SHAPES = {"visual_frames": (6, 1, 28, 28), "auditory_frames": (6, 1, 32)}
NETWORKS = ("v_network", "a_network", "multimodal", "multimodal_fc")


def frames(share, examples=8, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {name: (torch.rand(examples, *shape, generator=generator) < share).float() for name, shape in SHAPES.items()}


def made(name, seed=1):
    torch.manual_seed(seed)
    model = MODELS[name]
    return model.build(model.config(), {key: SHAPES[key] for key in model.features}, 10)


def currents(network, features):
    """Return the currents [neuron, ...] that each driven layer sends out, and where an input spike had a part in them."""
    found, handles = {}, []
    for name, (layer, _) in network.driven_layers().items():
        def listen(module, given, out, name=name):
            channel = 1 if isinstance(module, nn.Conv2d) else -1
            values = out.movedim(channel, 0).flatten(1)
            found[name] = values, (values - module.bias.unsqueeze(1)).abs() > 1e-6

        handles.append(layer.register_forward_hook(listen))
    with torch.no_grad():
        network(features)
    for handle in handles:
        handle.remove()
    return found


@pytest.mark.parametrize("share", [0.003, 0.03, 0.3, 0.8])
@pytest.mark.parametrize("name", NETWORKS)
def test_currents_are_centred_and_deviate_by_the_threshold(name, share):
    network, features = made(name), frames(share)
    fit_start(network, features)
    for layer, (values, reached) in currents(network, features).items():
        threshold = network.driven_layers()[layer].threshold
        assert values.mean(1).abs().max() < 1e-4 * threshold, layer
        assert values[reached].square().mean().sqrt().item() == pytest.approx(threshold, rel=1e-3), layer


@pytest.mark.parametrize("share", [0.003, 0.3, 0.8])
@pytest.mark.parametrize("name", ["v_network", "a_network"])
def test_every_output_neuron_can_learn(name, share):
    """With the surrogate's window 0 to 2 thresholds wide, an output that is beyond it at all steps of all examples never changes."""
    network, features = made(name), frames(share, examples=32)
    fit_start(network, features)
    votes = network(features).answer.mean(0)
    (votes.sum()).backward()
    last = list(network.driven_layers().values())[-1].layer
    assert (last.weight.grad.abs().sum(1) > 0).all()


def test_the_start_is_decided_by_the_examples_alone():
    first, again = made("v_network"), made("v_network")
    for network in (first, again):
        fit_start(network, frames(0.1))
    for one, other in zip(first.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)


def test_what_no_spike_reaches_keeps_its_weights():
    network = made("a_network")
    before = {name: values.clone() for name, values in network.state_dict().items()}
    fit_start(network, {name: torch.zeros_like(values) for name, values in frames(0.1).items()})
    for name, values in network.state_dict().items():
        assert torch.equal(values, before[name]), name


def test_the_network_stays_in_training_mode_and_no_listener_is_left():
    network = made("multimodal").train()
    fit_start(network, frames(0.1))
    assert network.training
    assert not any(module._forward_hooks for module in network.modules())


def test_expected_activity_gives_the_stated_deviation():
    torch.manual_seed(0)
    layer = nn.Linear(400, 2000)
    start_weights(layer, threshold=0.5, activity=0.1)
    spikes = (torch.rand(200, 400) < 0.1).float()
    assert layer(spikes).std().item() == pytest.approx(0.5, rel=0.03)
    assert StbpConfig().driven({"fc": layer}) == {"fc": Driven(layer, 0.5)}


def test_examples_are_spread_over_the_split():
    assert evenly_spaced(10, 4) == [0, 3, 6, 9] and evenly_spaced(3, 32) == [0, 1, 2]
