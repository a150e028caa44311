"""Image networks: the paper's sizes, what they compute written out, two ways to shrink maps, and that they can be converted."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from audiodata.errors import AudioDataError
from models.chain import stages
from models.chain_network import DenseNorm, MapNorm
from models.image_networks import AlexnetLike, ImageNetworkConfig, MnistCnn, Vgg11Like, Vgg16Like, VggLikeConfig
from models.metrics import parameter_count, twin_macs
from models.schedules import step
from models.tandem import convert

BUILDS = {
    "mnist_cnn": (ImageNetworkConfig, MnistCnn), "alexnet_like": (ImageNetworkConfig, AlexnetLike),
    "vgg11_like": (VggLikeConfig, Vgg11Like), "vgg16_like": (VggLikeConfig, Vgg16Like),
}  # fmt: skip


def made(name, shape=(1, 28, 28), classes=10, **options):
    torch.manual_seed(0)
    config, build = BUILDS[name]
    return build(config(**({"width": 0.1} | options)), shape, classes)


def images(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def weighted(network):
    return [layer.module for layer in network.weighted_layers().values()]


def test_the_papers_network_for_mnist():
    conv1, conv2, conv3, conv4, fc1, fc2 = weighted(made("mnist_cnn", width=1))
    found = [(layer.in_channels, layer.out_channels, layer.stride[0]) for layer in (conv1, conv2, conv3, conv4)]
    assert found == [(1, 16, 1), (16, 32, 2), (32, 32, 1), (32, 64, 2)]
    assert (fc1.in_features, fc1.out_features, fc2.in_features, fc2.out_features) == (7 * 7 * 64, 800, 800, 10)
    # MACs by hand; at the edges of a map the kernel has fewer inputs: 82 of 84 along each side, with a stride 41 of 42 and 20 of 21
    macs = twin_macs(made("mnist_cnn", width=1), (1, 28, 28))
    assert macs["conv1"] == 82**2 * 16
    assert macs["conv2"] == 41**2 * 16 * 32
    assert macs["conv3"] == 40**2 * 32 * 32
    assert macs["conv4"] == 20**2 * 32 * 64
    assert (macs["fc1"], macs["fc2"]) == (3136 * 800, 800 * 10)


@pytest.mark.parametrize(("name", "convolutions", "dense"), [("alexnet_like", 5, 2), ("vgg11_like", 8, 3), ("vgg16_like", 13, 3)])
def test_layers_of_the_larger_ones(name, convolutions, dense):
    network = made(name, shape=(3, 32, 32))
    kinds = [type(layer) for layer in weighted(network)]
    assert kinds == [nn.Conv2d] * convolutions + [nn.Linear] * dense
    assert all(layer.kernel_size == (3, 3) and layer.padding == (1, 1) for layer in weighted(network)[:convolutions])
    assert network(images(2, 3, 32, 32)).spikes.shape == (1, 2, 10)


def test_published_sizes_at_full_width():
    with torch.device("meta"):
        alexnet, vgg = (build(config(), (3, 32, 32), 10) for config, build in (BUILDS["alexnet_like"], BUILDS["vgg16_like"]))
    assert [layer.out_channels for layer in weighted(alexnet)[:5]] == [96, 256, 384, 384, 256]
    assert weighted(alexnet)[5].out_features == 2048
    # configuration D has 14,710,464 weights in its convolutions without their biases
    assert sum(layer.weight.numel() for layer in weighted(vgg)[:13]) == 14_710_464
    assert [layer.out_features for layer in weighted(vgg)[13:]] == [4096, 4096, 10]


def test_equals_its_layers_written_out():
    network = made("mnist_cnn", width=0.5).eval()
    with torch.no_grad():
        for norm in (layer for layer in network.modules() if isinstance(layer, (MapNorm, DenseNorm))):
            norm.running_mean.uniform_(-0.1, 0.1)
            norm.running_var.uniform_(0.5, 2)
    layers = network.chain()
    features = images(3, 1, 28, 28)
    values = features
    for number, stride in enumerate((1, 2, 1, 2), 1):
        values = F.conv2d(values, layers[f"conv{number}"].weight, stride=stride, padding=1)
        norm = layers[f"conv{number}_norm"]
        values = ((values - norm.running_mean[:, None, None]) / (norm.running_var[:, None, None] + norm.eps).sqrt()).relu()
    norm = layers["fc1_norm"]
    hidden = values.flatten(1) @ layers["fc1"].weight.T
    hidden = ((hidden - norm.running_mean) / (norm.running_var + norm.eps).sqrt()).relu()
    expected = hidden @ layers["fc2"].weight.T + layers["fc2"].bias
    output = network(features)
    assert torch.allclose(output.spikes[0], expected, atol=1e-5)
    assert torch.equal(output.spikes, output.potentials)


def test_strides_and_averages_make_maps_of_the_same_size_where_they_can_be_halved():
    features = images(2, 1, 32, 64)
    strided, averaged = (made("vgg11_like", (1, 32, 64), downsampling=how) for how in ("stride", "average"))
    assert parameter_count(strided) == parameter_count(averaged)
    assert not any(isinstance(layer, nn.AvgPool2d) for layer in strided.modules())
    assert sum(isinstance(layer, nn.AvgPool2d) for layer in averaged.modules()) == 5
    assert strided(features).spikes.shape == averaged(features).spikes.shape == (1, 2, 10)
    macs = [sum(twin_macs(network, (1, 32, 64)).values()) for network in (strided, averaged)]
    assert macs[0] < 0.6 * macs[1], "a stride leaves out three of four places of the convolution"


@settings(max_examples=15)
@given(st.sampled_from(["mnist_cnn", "alexnet_like", "vgg11_like"]), st.integers(1, 3), st.integers(17, 45), st.integers(17, 45))
def test_sizes_follow_from_the_features(name, channels, bands, frames):
    assert made(name, (channels, bands, frames), 4, width=0.03)(images(2, channels, bands, frames)).spikes.shape == (1, 2, 4)


@pytest.mark.parametrize(("name", "options", "smallest"), [
    ("mnist_cnn", {}, 3), ("alexnet_like", {}, 5), ("vgg11_like", {}, 17), ("vgg11_like", {"downsampling": "average"}, 32),
])  # fmt: skip
def test_features_that_are_too_small_are_refused(name, options, smallest):
    made(name, (1, smallest, smallest), width=0.03, **options)(images(2, 1, smallest, smallest))
    with pytest.raises(AudioDataError, match=f"features of {smallest - 1} bands x 40 frames .* at least {smallest} x {smallest}"):
        made(name, (1, smallest - 1, 40), width=0.03, **options)


@pytest.mark.parametrize("name", BUILDS)
def test_every_one_can_be_converted(name):
    network = made(name, (1, 20, 20), 3, width=0.05)
    found = stages(network.chain())
    assert [stage.weighted for stage in found] == weighted(network)
    assert all(stage.norm is not None for stage in found[:-1])
    assert not found[-1].rectified
    features = images(8, 1, 20, 20)
    for _ in range(30):
        network(features)  # normalisations come to fit what arrives
    errors = []
    for time_steps in (4, 64):
        spiking = convert(network.eval(), features, time_steps=time_steps, percentile=100.0, coding="constant")
        with torch.no_grad():
            errors.append((network(features).spikes - spiking(features).spikes).abs().mean())
    assert errors[1] < errors[0] / 3, "many time steps come near the network"


@pytest.mark.parametrize("norm", [MapNorm(3), DenseNorm(3)])
def test_a_batch_of_one_value_a_channel_is_normalised_by_the_running_statistics(norm):
    norm.running_mean.copy_(torch.tensor([1.0, 2.0, 3.0]))
    single = torch.tensor([[2.0, 2.0, 2.0]]).view(1, 3, *[1] * (2 if isinstance(norm, MapNorm) else 0))
    found = norm.train()(single).flatten()
    assert torch.allclose(found, torch.tensor([1.0, 0.0, -1.0]), atol=1e-4)
    assert norm.running_mean.tolist() == [1, 2, 3]
    norm(torch.cat([single, single + 1]))
    assert norm.running_mean.tolist() != [1, 2, 3], "two examples have statistics of their own"


def test_the_rate_falls_to_a_tenth_in_the_middle():
    assert [step(epoch, 100) for epoch in (0, 49, 50, 99)] == [1.0, 1.0, 0.1, 0.1]
    assert [step(epoch, 3) for epoch in range(3)] == [1.0, 1.0, 0.1]


def test_a_deep_one_learns_with_a_last_batch_of_one():
    network = made("vgg11_like", (1, 20, 20), 3, width=0.1)
    labels = torch.arange(25) % 3
    features = 0.1 * images(25, 1, 20, 20) + (torch.arange(20) // 7 == labels[:, None])[:, None, None, :] * 0.8
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    for _ in range(12):
        for rows in torch.arange(25).split(8):
            optimizer.zero_grad()
            F.cross_entropy(network(features[rows]).spikes[0], labels[rows]).backward()
            optimizer.step()
    right = network.eval()(features).spikes[0].argmax(-1) == labels
    assert right.float().mean() > 0.8
