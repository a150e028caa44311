"""Reference networks: the published sizes, features of any size, operations counted twice, one seed, no package, no trace."""

import json
import socket
import sys
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from model_caches import build_cache
from model_runs import door, refused
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from models import MODELS
from models.metrics import parameter_count, twin_macs
from models.reference_networks import ARCHITECTURES, ReferenceConfig, ReferenceNetwork, VggConfig

NAMES = tuple(ARCHITECTURES)
KINDS = tuple(name for name in NAMES if name != "resnet101")  # which has more of the same blocks as resnet50
SHAPE = (1, 20, 63)
IMAGE = (3, 224, 224)
# Parameters and GMACs of torchvision's networks, as its documentation lists them.
PUBLISHED = {
    "resnet50": (25_557_032, 4.09),
    "resnet101": (44_549_160, 7.80),
    "efficientnet_b0": (5_288_548, 0.39),
    "vgg16": (138_357_544, 15.47),
    "densenet121": (7_978_856, 2.83),
    "mobilenet_v2": (3_504_872, 0.30),
}


def made(name, shape=SHAPE, classes=10, device="cpu", **settings):
    pytest.importorskip("pytorchcv", reason="the package pytorchcv is not installed (extra `baselines`)")
    with torch.device(device):
        return ReferenceNetwork(name, MODELS[name].config(**settings), shape, classes)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def convolutions(network):
    return {name: layer for name, layer in network.named_modules() if isinstance(layer, nn.Conv2d)}


def pad(padding, _layer, inputs):
    return F.pad(inputs[0], (padding[1], padding[1], padding[0], padding[0]))


@pytest.mark.parametrize("name", NAMES)
def test_parameters_and_operations_are_the_published_ones(name):
    """Others count products with padded zeros as well: the same once the zeros are part of what a convolution is given."""
    network = made(name, IMAGE, 1000, "meta")  # which takes neither memory nor time
    assert parameter_count(network) == PUBLISHED[name][0]
    real = sum(twin_macs(network, IMAGE).values())
    for layer in convolutions(network).values():
        layer.register_forward_pre_hook(partial(pad, layer.padding))
        layer.padding = (0, 0)
    counter = FlopCounterMode(display=False)
    with counter:
        padded = sum(twin_macs(network, IMAGE).values())
    assert padded == counter.get_total_flops() / 2
    assert padded / 1e9 == pytest.approx(PUBLISHED[name][1], abs=0.0051)
    assert 0.9 * padded < real < padded


@pytest.fixture(scope="module", params=KINDS)
def network(request):
    torch.manual_seed(0)
    return made(request.param, dropout=0.0)


def test_operations_on_small_maps_equal_those_of_ones(network):
    """Convolve ones with ones: every product is a connection, those with padding are 0."""
    found = {}

    def count(name, layer, inputs):
        ones, kernel = torch.ones(1, 1, *inputs[0].shape[2:]), torch.ones(1, 1, *layer.kernel_size)
        places = F.conv2d(ones, kernel, stride=layer.stride, padding=layer.padding, dilation=layer.dilation).sum().item()
        found[name] = places * layer.out_channels * layer.in_channels // layer.groups

    hooks = [layer.register_forward_pre_hook(partial(count, name)) for name, layer in convolutions(network).items()]
    macs = twin_macs(network, SHAPE)
    for hook in hooks:
        hook.remove()
    dense = {name: layer.weight.numel() for name, layer in network.named_modules() if isinstance(layer, nn.Linear)}
    assert macs == found | dense


def test_maps_are_a_32nd_of_any_size_rounded_up(network):
    for rows, columns in ((1, 33), (28, 28), (20, 157)):
        with torch.no_grad():
            found = network.eval().maps(torch.zeros(2, 1, rows, columns)).shape
        assert tuple(found[2:]) == (-(-rows // 32), -(-columns // 32))


@pytest.mark.parametrize(("size", "places"), [((20, 63), (1, 2)), ((28, 28), (1, 1)), ((224, 224), (7, 7)), ((20, 805), (1, 7))])
def test_dense_layers_of_vgg16_have_no_more_weights_than_the_map_has_places(size, places):
    network = made("vgg16", (1, *size), device="meta")
    assert network.hidden[0].in_features == 512 * places[0] * places[1]
    assert network(torch.empty(2, 1, *size, device="meta")).spikes.shape == (1, 2, 10)


def test_runs_forward_and_reaches_all_weights_backward(network):
    features = torch.rand(3, *SHAPE, generator=generator())
    output = network.train()(features)
    assert output.spikes.shape == (1, 3, 10)
    assert output.spikes is output.potentials
    spread = output.spikes.std(1).mean().item()
    assert 1e-3 < spread < 1e3, "examples differ, values neither vanish nor explode"
    F.cross_entropy(output.spikes[0], torch.tensor([0, 1, 2])).backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in network.parameters())
    network.zero_grad()


def test_a_single_example_is_trained_on_with_the_running_statistics(network):
    features = torch.rand(1, *SHAPE, generator=generator(1))
    before = {name: value.clone() for name, value in network.named_buffers()}
    training = network.train()(features).spikes
    assert all(torch.equal(before[name], value) for name, value in network.named_buffers())
    assert all(layer.training for layer in network.modules())
    assert torch.equal(training, network.eval()(features).spikes)


def test_the_seed_alone_decides_the_first_weights():
    def weights(seed):
        torch.manual_seed(seed)
        return made("mobilenet_v2", (1, 8, 8), 3).state_dict()

    first, again, other = weights(1), weights(1), weights(2)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["output.weight"], other["output.weight"])
    kernels = torch.cat([value.flatten() * value[0].numel() ** 0.5 for value in first.values() if value.dim() == 4])
    assert kernels.std().item() == pytest.approx(2**0.5, rel=0.01), "He et al. (2015): variance 2 over the number of inputs"


def test_dropout_follows_the_generator_and_is_off_outside_training():
    network, features = made("vgg16", (1, 8, 8), 3), torch.rand(4, 1, 8, 8, generator=generator())
    assert network.dropout.share == VggConfig().dropout == 0.5
    values = [network.train()(features, generator(seed)).spikes for seed in (1, 1, 2)]
    assert torch.equal(values[0], values[1])
    assert not torch.allclose(values[0], values[2])
    assert torch.equal(network.eval()(features, generator(1)).spikes, network(features).spikes)


def test_dropout_is_before_the_output_where_no_other_dense_layer_is():
    network = made("mobilenet_v2", (1, 8, 8), 3, dropout=0.5).eval()
    seen = []
    network.output.register_forward_pre_hook(lambda _, inputs: seen.append((inputs[0] == 0).float().mean().item()))
    features = torch.rand(8, 1, 8, 8, generator=generator())
    network(features)
    network.dropout.train()
    network(features, generator())
    assert seen[1] == pytest.approx(seen[0] + 0.5 * (1 - seen[0]), abs=0.03)


def test_building_leaves_no_trace_and_asks_no_network(tmp_path, monkeypatch):
    def no_network(*_):
        raise AssertionError("a network was asked for something")

    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(socket, "socket", no_network)
    for name in ("mobilenet_v2", "vgg16"):
        made(name, (1, 8, 8), 3, "meta")
    assert list(tmp_path.rglob("*")) == []


SIZES = {"train": 17, "val": 6, "test": 6}  # batches of 8 leave one example for the last


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    pytest.importorskip("pytorchcv", reason="the package pytorchcv is not installed (extra `baselines`)")
    folder = tmp_path_factory.mktemp("compared")
    cache = build_cache(folder / "cache", sizes=SIZES)
    words = ("--cache", cache, "--out", folder / "out", "--epochs", "1", "--set", "batch_size=8", "--set", "augment.on=false")
    assert door("compare", "mobilenet_v2", "mlp", *words) == 0
    return folder


def test_compared_with_others_it_says_what_it_costs(compared):
    row, other = json.loads((compared / "out" / "comparison.json").read_text())["rows"]
    assert (row["method"], row["type"], row["time_steps"], other["type"]) == ("mobilenet_v2", "ANN", 1, "ANN")
    network = made("mobilenet_v2", (1, 16, 24), 3, "meta")
    assert row["parameters"] == parameter_count(network)
    assert row["macs"] == sum(twin_macs(network, (1, 16, 24)).values())
    assert row["synaptic_operations"] == 0


def test_same_seed_same_weights_and_curves(compared, tmp_path):
    words = ("--cache", compared / "cache", "--epochs", "1", "--set", "batch_size=8", "--set", "augment.on=false")
    assert door("train", "mobilenet_v2", *words, "--out", tmp_path / "run") == 0
    for name in ("weights.safetensors", "curves.csv", "metrics.json"):
        assert (tmp_path / "run" / name).read_bytes() == (compared / "out" / "mobilenet_v2" / name).read_bytes(), name


def test_what_was_trained_is_measured_again_to_the_same_bytes(compared):
    metrics = compared / "out" / "mobilenet_v2" / "metrics.json"
    before = metrics.read_bytes()
    assert door("evaluate", metrics.parent, "--cache", compared / "cache") == 0
    assert metrics.read_bytes() == before


def test_learns_a_batch_by_heart():
    torch.manual_seed(0)
    network = made("mobilenet_v2", (1, 8, 8), 2)
    features, labels = torch.rand(8, 1, 8, 8, generator=generator()), torch.arange(8) % 2
    optimizer, losses = torch.optim.Adam(network.parameters(), 1e-3), []
    for _ in range(12):
        optimizer.zero_grad()
        losses.append(F.cross_entropy(network(features).spikes.sum(0), labels))
        losses[-1].backward()
        optimizer.step()
    assert min(losses[-3:]) < 0.5 * losses[0]


def test_without_the_package_nothing_is_trained(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "pytorchcv.models.mobilenetv2", None)
    cache = build_cache(tmp_path / "cache", sizes={"train": 6, "test": 3})
    for command in (("compare", "mlp", "mobilenet_v2"), ("repeat", "mlp", "mobilenet_v2"), ("train", "mobilenet_v2")):
        line = refused(capsys, *command, "--cache", cache, "--out", tmp_path / "out", "--epochs", "1")
        assert "`mobilenet_v2`" in line
        assert "pip install 'audiodata[baselines]'" in line
        assert not (tmp_path / "out").exists()


def test_a_batch_of_one_is_refused_as_a_setting(tmp_path, capsys):
    pytest.importorskip("pytorchcv", reason="the package pytorchcv is not installed (extra `baselines`)")
    cache = build_cache(tmp_path / "cache", sizes={"train": 6, "test": 3})
    assert "batch_size" in refused(capsys, "train", "mobilenet_v2", "--cache", cache, "--out", tmp_path / "out", "--set", "batch_size=1")
    assert not (tmp_path / "out").exists()


def test_settings_of_all_networks_are_the_same_but_for_their_defaults():
    for name in NAMES:
        assert issubclass(MODELS[name].config, ReferenceConfig)
        assert (MODELS[name].kind, MODELS[name].twin, MODELS[name].features) == ("ANN", "", ())
