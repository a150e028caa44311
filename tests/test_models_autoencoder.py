"""The autoencoder: the paper's sizes, what it computes written out, other features, the best that a narrow network can do."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audiodata.errors import AudioDataError
from audiodata.settings import validated
from models.autoencoder import Autoencoder, AutoencoderConfig
from models.chain import stages
from models.metrics import parameter_count, twin_macs
from models.reconstruction import Reconstructing
from models.tandem import convert


def made(shape=(1, 28, 28), **options):
    torch.manual_seed(0)
    return Autoencoder(AutoencoderConfig(**options), shape)


def images(*shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


def test_the_papers_sizes():
    network = made()
    dense = [layer.module for layer in network.weighted_layers().values()]
    assert [dense[0].in_features, *(layer.out_features for layer in dense)] == [784, 128, 64, 32, 64, 128, 784]
    pairs = 784 * 128 + 128 * 64 + 64 * 32 + 32 * 64 + 64 * 128 + 128 * 784
    assert sum(twin_macs(network, (1, 28, 28)).values()) == pairs
    assert parameter_count(network) == pairs + 784 + 2 * (128 + 64 + 32 + 64 + 128), "a bias for each pixel, gain and shift for each hidden unit"


def test_equals_its_layers_written_out():
    network = made(hidden=(7, 5)).eval()
    features = images(3, 1, 28, 28)
    layers = network.chain()
    values = features.flatten(1)
    for number in (1, 2):
        norm = layers[f"norm{number}"]
        norm.running_mean.uniform_(-0.1, 0.1)
        values = (values @ layers[f"fc{number}"].weight.T - norm.running_mean) / (norm.running_var + norm.eps).sqrt()
        values = values.relu()
    expected = 1 / (1 + (-(values @ layers["fc3"].weight.T + layers["fc3"].bias)).exp())
    output = network(features)
    assert torch.allclose(output.values.flatten(1), expected, atol=1e-6)
    assert torch.equal(output.wanted, features), "pixels keep their values"


@settings(max_examples=10)
@given(st.integers(1, 3), st.integers(1, 30), st.integers(1, 30), st.lists(st.integers(1, 9), min_size=1, max_size=4))
def test_answers_have_the_shape_of_the_features(channels, bands, frames, hidden):
    output = made((channels, bands, frames), hidden=tuple(hidden)).train()(images(2, channels, bands, frames))
    assert output.values.shape == output.wanted.shape == (2, channels, bands, frames)
    assert 0 <= output.values.min() <= output.values.max() <= 1


def test_wanted_is_what_the_network_scales_to():
    network = made((1, 4, 5), hidden=(3,))
    network.scaling.set_range(torch.full((1, 4, 1), -40.0), torch.full((1, 4, 1), 0.0))
    output = network.eval()(torch.full((1, 1, 4, 5), -10.0))
    assert output.wanted.unique().tolist() == [0.75]


def test_it_comes_near_the_best_that_its_bottleneck_allows():
    """Images of rank two: two units can hold them, so the error falls far below that of their mean; with one unit it can't."""
    torch.manual_seed(3)
    patterns = torch.rand(2, 36)
    features = (0.15 + 0.35 * torch.rand(200, 2) @ patterns).view(200, 1, 6, 6)
    best = {}
    for hidden in ((2,), (1,)):
        network, task = made((1, 6, 6), hidden=hidden), Reconstructing()
        optimizer = torch.optim.Adam(network.parameters(), 0.03)
        for _ in range(400):
            optimizer.zero_grad()
            task.loss(network(features), {}).backward()
            optimizer.step()
        best[hidden] = task.loss(network.eval()(features), {}).item()
    of_mean = features.var(0, correction=0).mean().item()
    assert best[2,] < 0.1 * of_mean
    assert best[1,] > 2 * best[2,]


def test_it_can_be_converted():
    network = made((1, 8, 8), hidden=(20, 8, 20))
    features = images(64, 1, 8, 8)
    for _ in range(30):
        network(features)
    found = stages(network.eval().chain())
    assert [stage.name for stage in found] == ["fc1", "fc2", "fc3", "fc4"]
    errors = []
    for time_steps in (4, 64):
        output = convert(network, features, time_steps=time_steps, percentile=100.0, coding="constant")(features)
        assert torch.equal(output.wanted, features)
        errors.append((output.values - network(features).values).abs().mean().item())
    assert errors[1] < errors[0] / 3


@pytest.mark.parametrize("hidden", [[], [0], [3, -1]])
def test_no_layers_are_refused(hidden):
    with pytest.raises(AudioDataError, match="hidden"):
        validated(AutoencoderConfig, {"hidden": hidden}, "--set")
