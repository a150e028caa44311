"""The feed-forward spiking network: the report's sizes, its equations as a loop over time, frames as time steps, its twin."""

import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError

from audiodata.errors import AudioDataError
from models.chain import run, stages
from models.feedforward import MLP, FeedforwardConfig, FeedforwardSNN, MlpConfig, report_network
from models.metrics import Meter, parameter_count

SHAPE = (1, 6, 5)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def made_network(**options):
    torch.manual_seed(0)
    return FeedforwardSNN(FeedforwardConfig(**{"time_steps": 8, "hidden": 12, "threshold": 0.3} | options), SHAPE, 3)


def test_the_report_is_784_1000_10():
    network = report_network()
    assert (network.fc1.in_features, network.fc1.out_features, network.fc2.out_features) == (784, 1000, 10)
    assert parameter_count(network) == 784 * 1000 + 1000 + 1000 * 10 + 10
    assert network.config.decay == 0.99


@pytest.mark.parametrize("encoding", ["direct", "rate"])
def test_spikes_equal_the_loop_over_time(encoding):
    network = made_network(encoding=encoding)
    features = torch.rand(4, *SHAPE, generator=generator())
    values = features.flatten(1)
    encoded = values.expand(8, *values.shape) if encoding == "direct" else network.encoder(values, generator(1))
    output = network(features, generator(1))
    v1, s1, v2, s2 = 0.0, 0.0, 0.0, 0.0
    for step, spikes in zip(encoded, output.spikes, strict=True):
        v1 = 0.9 * v1 + F.linear(step, network.fc1.weight, network.fc1.bias) - 0.3 * s1
        s1 = (v1 > 0.3).float()
        v2 = 0.9 * v2 + F.linear(s1, network.fc2.weight, network.fc2.bias) - 0.3 * s2
        s2 = (v2 > 0.3).float()
        assert torch.equal(spikes, s2)
    assert 0 < output.spikes.mean() < 1


def test_with_frames_as_steps_each_step_sees_one_frame():
    network = made_network(over="frames")
    features = torch.rand(4, *SHAPE, generator=generator())
    output = network(features)
    assert output.spikes.shape == (5, 4, 3)
    assert network.fc1.in_features == 6
    # a change of the last frame can't reach what came before it
    changed = features.clone()
    changed[..., -1] = 0
    assert torch.equal(network(changed).potentials[:-1], output.potentials[:-1])
    assert not torch.equal(network(changed).potentials[-1], output.potentials[-1])


def test_delta_encoding_answers_to_changes_alone():
    network = made_network(over="frames", encoding="delta")
    meter = Meter(network)
    with meter.watching():
        network(torch.full((1, *SHAPE), 0.5))
    # one rise from 0 in the first frame, then nothing
    assert meter.spikes["input"] == 6


@pytest.mark.parametrize("wrong", [{"encoding": "delta"}, {"over": "frames", "encoding": "rate"}])
def test_encodings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValidationError, match="frames"):
        FeedforwardConfig(**wrong)


@pytest.mark.parametrize("over", ["whole", "frames"])
def test_twin_has_as_many_parameters_and_takes_the_same_weights(over):
    network, twin = made_network(over=over), MLP(MlpConfig(hidden=12, over=over), SHAPE, 3)
    assert parameter_count(network) == parameter_count(twin)
    twin.load_state_dict(network.state_dict())
    assert twin(torch.rand(2, *SHAPE)).spikes.shape == (1, 2, 3)


def test_operations_by_hand():
    network = made_network()
    meter = Meter(network)
    with meter.watching():
        network(torch.rand(2, *SHAPE))
    assert meter.macs == {"fc1": 2 * 30 * 12}
    assert meter.synaptic_operations == {"fc2": 3 * meter.spikes["lif1"]}


def test_the_twin_is_a_chain_of_layers():
    network = MLP(MlpConfig(hidden=7, dropout=0.3), SHAPE, 3).eval()
    assert [stage.name for stage in stages(network.chain())] == ["fc1", "fc2"]
    features = torch.rand(4, *SHAPE, generator=generator())
    values, context = network.prepare(features)
    output = network.finish(run(network.chain().values(), values), context)
    assert torch.allclose(output.spikes, network(features).spikes, atol=1e-6)


def test_the_twin_over_frames_is_refused_as_a_chain():
    with pytest.raises(AudioDataError, match=r"a mean over the frames.*--set over=whole"):
        MLP(MlpConfig(over="frames"), SHAPE, 3).chain()
