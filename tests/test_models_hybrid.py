"""The network in the middle of its conversion: what the tandem layer gives forward and backward, and what stays as it is."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from models.chain import Sequence
from models.constraints import limit_fan_in, quantise
from models.hybrid import HybridNetwork
from models.tandem import ConversionConfig, assemble

STEPS = 5
THRESHOLDS = [0.2, 0.15]


def layers():
    """Convolution, dense layer and readout; the first two with batch normalisations that are far from doing nothing."""
    torch.manual_seed(3)
    network = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(),
        nn.AvgPool2d(2), nn.Flatten(), nn.Linear(4 * 3 * 3, 7), nn.BatchNorm1d(7), nn.ReLU(),
        nn.Linear(7, 3),
    )  # fmt: skip
    for norm in (network[1], network[6]):
        norm.running_mean.uniform_(-0.3, 0.3)
        norm.running_var.uniform_(0.3, 2)
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.uniform_(norm.bias, 0, 0.5)
    return network


@pytest.fixture
def network():
    return Sequence(layers())


@pytest.fixture
def features():
    return torch.rand(6, 2, 6, 6, generator=torch.Generator().manual_seed(1))


def normalised(values, norm):
    shape = (1, -1, *[1] * (values.dim() - 2))
    scaled = (values - norm.running_mean.view(shape)) / (norm.running_var.view(shape) + norm.eps).sqrt()
    return scaled * norm.weight.view(shape) + norm.bias.view(shape)


def batch_normalised(values, norm):
    over = [axis for axis in range(values.dim()) if axis != 1]
    shape = (1, -1, *[1] * (values.dim() - 2))
    scaled = (values - values.mean(over).view(shape)) / (values.var(over, correction=0).view(shape) + norm.eps).sqrt()
    return scaled * norm.weight.view(shape) + norm.bias.view(shape)


def first(parts, values, norm=normalised):
    return norm(F.conv2d(values, parts[0].weight, parts[0].bias, padding=1), parts[1]).relu()


def second(parts, values, norm=normalised):
    return norm(F.avg_pool2d(values, 2).flatten(1) @ parts[5].weight.T + parts[5].bias, parts[6]).relu()


def third(parts, values):
    return values @ parts[8].weight.T + parts[8].bias


def fire(currents, threshold):
    """Spikes of integrate-and-fire neurons, step by step."""
    potential, spikes = torch.zeros_like(currents[0]), []
    for current in currents:
        potential = potential + current
        spikes.append((potential >= threshold).float())
        potential = potential - threshold * spikes[-1]
    return torch.stack(spikes)


def first_spikes(parts, values):
    """Spikes of the first layer: the values arrive at the first step, a share of the bias at each."""
    zero = torch.zeros_like(values)
    gain = parts[1].weight / (parts[1].running_var + parts[1].eps).sqrt()
    bias = ((parts[0].bias - parts[1].running_mean) * gain + parts[1].bias).view(1, -1, 1, 1)
    weight = parts[0].weight * gain.view(-1, 1, 1, 1)
    return fire([F.conv2d(values if step == 0 else zero, weight, padding=1) + bias / STEPS for step in range(STEPS)], THRESHOLDS[0])


def second_spikes(parts, spikes):
    gain = parts[6].weight / (parts[6].running_var + parts[6].eps).sqrt()
    bias = (parts[5].bias - parts[6].running_mean) * gain + parts[6].bias
    weight = parts[5].weight * gain.unsqueeze(1)
    return fire([F.avg_pool2d(THRESHOLDS[0] * now, 2).flatten(1) @ weight.T + bias / STEPS for now in spikes], THRESHOLDS[1])


def gradients(network, output):
    weights = torch.linspace(-1, 1, output.numel()).view_as(output)
    network.zero_grad()
    (output * weights).sum().backward()
    return {name: parameter.grad for name, parameter in network.named_parameters()}


def expected_gradients(parts, stage, rest, arriving, value):
    """Gradient of the ANN's layer at what arrives, for the gradient that what follows it has at the spiking layer's value."""
    value = value.clone().requires_grad_()
    output = rest(value)
    weights = torch.linspace(-1, 1, output.numel()).view_as(output)
    own = [parameter for parameter in parts.parameters() if parameter.requires_grad]
    behind = torch.autograd.grad((output * weights).sum(), [value, *own], allow_unused=True, retain_graph=True)
    before = torch.autograd.grad(stage(arriving), own, behind[0], allow_unused=True)
    added = (_added(one, other) for one, other in zip(before, behind[1:], strict=True))
    return output, dict(zip([f"layers.{name}" for name, _ in parts.named_parameters()], added, strict=True))


def _added(one, other):
    return other if one is None else one if other is None else one + other


def assert_same_gradients(found, expected):
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        assert (found[name] is None) == (gradient is None), name
        if gradient is not None:
            assert torch.allclose(found[name], gradient, rtol=1e-4, atol=1e-5), name


def test_first_stage_counts_forward_and_is_the_ann_backward(network, features):
    parts = layers()
    value = THRESHOLDS[0] * first_spikes(parts, features).sum(0)

    def rest(values):
        return third(parts, second(parts, values, batch_normalised))

    output, expected = expected_gradients(parts, lambda values: first(parts, values), rest, features, value)
    hybrid = HybridNetwork(network, 0, THRESHOLDS, ConversionConfig(time_steps=STEPS)).train()
    found = hybrid(features)
    assert torch.allclose(found, output, atol=1e-5)
    assert_same_gradients(gradients(network, found), expected)


def test_second_stage_takes_spikes_forward_and_counts_backward(network, features):
    parts = layers()
    spikes = first_spikes(parts, features)
    value = THRESHOLDS[1] * second_spikes(parts, spikes).sum(0)
    arriving = THRESHOLDS[0] * spikes.sum(0)
    output, expected = expected_gradients(parts, lambda values: second(parts, values), lambda values: third(parts, values), arriving, value)
    hybrid = HybridNetwork(network, 1, THRESHOLDS, ConversionConfig(time_steps=STEPS)).train()
    found = hybrid(features)
    assert torch.allclose(found, output, atol=1e-5)
    found = gradients(network, found)
    assert_same_gradients(found, expected)
    assert found["layers.0.weight"] is None  # frozen
    assert found["layers.5.weight"].abs().max() > 0


def test_constrained_weights_forward_full_precision_backward(network, features):
    hybrid = HybridNetwork(network, 1, THRESHOLDS, ConversionConfig(time_steps=STEPS, weight_bits=4)).train()
    plain = HybridNetwork(Sequence(layers()), 1, THRESHOLDS, ConversionConfig(time_steps=STEPS)).train()
    spikes = plain.arrivals(features)
    found, other = hybrid(features, arriving=spikes), plain(features, arriving=spikes)
    assert not torch.allclose(found, other)
    # the gradient depends on the analog layer alone where all that follows is linear
    for name, gradient in gradients(network, found).items():
        if name.startswith(("layers.5", "layers.6")):
            assert torch.allclose(gradient, gradients(plain.network, plain(features, arriving=spikes))[name], rtol=1e-5), name
    weight = hybrid.tandem.synapses.weighted.weight
    assert len(weight.unique()) <= 15


def test_readout_is_constrained_in_a_stage_of_its_own(network, features):
    config = ConversionConfig(time_steps=STEPS, weight_bits=3)
    hybrid = HybridNetwork(network, 2, THRESHOLDS, config).train()
    spikes = hybrid.arrivals(features)
    counts = THRESHOLDS[1] * spikes.sum(0)
    readout = network.layers[8]
    found = hybrid(features)
    assert torch.allclose(found, counts @ quantise(readout.weight, 3).T + quantise(readout.bias, 3), atol=1e-5)
    weights = torch.linspace(-1, 1, found.numel()).view_as(found)
    taken = gradients(network, found)
    assert torch.allclose(taken["layers.8.weight"], weights.T @ counts, atol=1e-5)
    assert [name for name, gradient in taken.items() if gradient is not None] == ["layers.8.weight", "layers.8.bias"]


def test_fan_in_is_limited_forward(network, features):
    hybrid = HybridNetwork(network, 1, THRESHOLDS, ConversionConfig(time_steps=STEPS, fan_in=4))
    hybrid(features)
    assert (hybrid.tandem.synapses.weighted.weight != 0).sum(1).tolist() == [4] * 7
    assert (limit_fan_in(hybrid.frozen[0].synapses.weighted.weight, 4) == hybrid.frozen[0].synapses.weighted.weight).all()


def test_only_layers_behind_the_stage_move(network, features):
    hybrid = HybridNetwork(network, 0, THRESHOLDS, ConversionConfig(time_steps=STEPS)).train()
    hybrid(features)
    assert [int(network.layers[place].num_batches_tracked) for place in (1, 6)] == [0, 1]
    assert hybrid.training and not hybrid.frozen.training and not network.layers[1].training and network.layers[6].training
    hybrid.eval()(features)
    assert int(network.layers[6].num_batches_tracked) == 1


def test_what_is_trained(network):
    named = {id(parameter): name for name, parameter in network.named_parameters()}
    trained = [
        {named[id(parameter)].split(".")[1] for parameter in HybridNetwork(network, place, THRESHOLDS, ConversionConfig()).trained_parameters()}
        for place in (0, 1, 2)
    ]
    assert trained == [{"0", "1", "5", "6", "8"}, {"5", "6", "8"}, {"8"}]


@pytest.mark.parametrize("change", [{}, {"weight_bits": 4}, {"fan_in": 5}, {"coding": "constant"}, {"rounding": "round"}], ids=str)
def test_last_stage_is_the_spiking_network(network, features, change):
    config = ConversionConfig(time_steps=STEPS, **change)
    last = 2 if config.any else 1
    hybrid = HybridNetwork(network, last, THRESHOLDS, config).eval()
    with torch.no_grad():
        found = hybrid(features)
    assert torch.allclose(found, assemble(network, THRESHOLDS, config)(features), rtol=1e-5, atol=1e-6)


def test_arrivals_can_be_given(network, features):
    hybrid = HybridNetwork(network, 1, THRESHOLDS, ConversionConfig(time_steps=STEPS)).eval()
    assert torch.equal(hybrid(features), hybrid(features, arriving=hybrid.arrivals(features)))
    assert hybrid.arrivals(features).shape == (STEPS, 6, 4, 6, 6)
