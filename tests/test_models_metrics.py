"""Confusion, spikes and operations, counted by hand on small networks."""

import pytest
import torch
from torch import nn

from models.csnn import CNN, CSNN, CnnConfig, CsnnConfig
from models.layers import WeightedLayer
from models.metrics import Meter, accuracy, confusion_matrix, fan_out, parameter_count, recalls, record_spikes, twin_macs


def test_confusion_by_hand():
    matrix = confusion_matrix(torch.tensor([0, 0, 1, 1, 1]), torch.tensor([0, 1, 1, 1, 0]), 3)
    assert matrix.tolist() == [[1, 1, 0], [1, 2, 0], [0, 0, 0]]
    assert accuracy(matrix) == 0.6
    assert recalls(matrix) == [0.5, pytest.approx(2 / 3), None]


def test_confusion_agrees_with_torchmetrics():
    metrics = pytest.importorskip("torchmetrics.functional.classification")
    generator = torch.Generator().manual_seed(0)
    labels, predictions = (torch.randint(5, (200,), generator=generator) for _ in range(2))
    matrix = confusion_matrix(labels, predictions, 5)
    assert torch.equal(matrix, metrics.multiclass_confusion_matrix(predictions, labels, 5))
    assert accuracy(matrix) == pytest.approx(metrics.multiclass_accuracy(predictions, labels, 5, average="micro").item())
    assert recalls(matrix) == pytest.approx(metrics.multiclass_recall(predictions, labels, 5, average="none").tolist())


def test_fan_out_by_hand():
    # a 2 x 2 kernel over 3 x 3 places fits 2 x 2 times: corners are in one, edges in two, the middle in four
    assert fan_out(nn.Conv2d(1, 1, 2), 3, 3).tolist() == [[1, 2, 1], [2, 4, 2], [1, 2, 1]]
    assert fan_out(nn.Conv2d(4, 5, 2), 3, 3)[1, 1] == 20
    assert fan_out(nn.Conv2d(4, 6, 2, groups=2), 3, 3)[1, 1] == 12
    assert fan_out(nn.Linear(7, 3)).item() == 3
    with pytest.raises(TypeError, match="BatchNorm2d"):
        fan_out(nn.BatchNorm2d(3))


@pytest.mark.parametrize(("kernel", "stride", "padding"), [(3, 1, 0), (3, 1, 1), (5, 2, 2), (2, 2, 0), (3, 2, 0)])
def test_fan_out_equals_the_connections_that_exist(kernel, stride, padding):
    layer = nn.Conv2d(1, 1, kernel, stride=stride, padding=padding, bias=False)
    nn.init.ones_(layer.weight)
    maps = torch.ones(1, 1, 8, 7, requires_grad=True)
    layer(maps).sum().backward()
    assert torch.equal(fan_out(layer, 8, 7), maps.grad[0, 0].double())


class TwoLayers(nn.Module):
    """Two dense layers, 3-2-1, the second one fed with spikes that are given."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.fire = nn.Linear(3, 2), nn.Linear(2, 1), nn.Identity()

    def forward(self, features, generator=None):
        self.first(features)
        spikes = self.fire(torch.tensor([[[1.0, 0.0]], [[1.0, 1.0]]]))
        return self.second(spikes)

    def spiking_layers(self):
        return {"fire": self.fire}

    def weighted_layers(self):
        return {"first": WeightedLayer(self.first, False), "second": WeightedLayer(self.second, True)}


def test_operations_by_hand():
    meter = Meter(TwoLayers())
    with meter.watching() as watched:
        watched.network(torch.randn(1, 3))
        watched.network(torch.randn(1, 3))
    assert meter.spikes == {"fire": 6.0}
    assert meter.neuron_steps == {"fire": 8}
    assert meter.macs == {"first": 12.0}
    assert meter.synaptic_operations == {"second": 6.0}
    meter.network(torch.randn(1, 3))
    assert meter.spikes == {"fire": 6.0}, "counted after the block"


def made_network(**settings):
    torch.manual_seed(0)
    return CSNN(CsnnConfig(channels=(2, 3), kernels=(3, 3), time_steps=4, **settings), (1, 12, 14), 5)


def test_operations_equal_those_of_a_dense_count_over_spikes():
    network = made_network(encoding="rate", threshold=0.1)
    features = torch.rand(3, 1, 12, 14)
    meter = Meter(network)
    with meter.watching():
        network(features, torch.Generator().manual_seed(1))
    # the operations of a layer are the sum of its outputs if every weight is 1 and every spike counts 1
    with torch.no_grad():
        spikes = network.encoder(network.scaling(features), torch.Generator().manual_seed(1))
        ones = nn.functional.conv2d(spikes.flatten(0, 1), torch.ones(2, 1, 3, 3))
    assert meter.synaptic_operations["conv1"] == ones.sum().item()
    assert meter.spikes["input"] == spikes.sum().item()
    assert meter.synaptic_operations["fc"] == 5 * meter.spikes["lif2"]
    assert meter.macs == {}


def test_first_layer_of_direct_encoding_counts_once_as_macs():
    network, features = made_network(), torch.rand(3, 1, 12, 14)
    meter = Meter(network)
    with meter.watching():
        network(features)
    assert meter.macs == {"conv1": 3 * 2 * 10 * 12 * 9}
    assert set(meter.synaptic_operations) == {"conv2", "fc"}


def test_macs_of_the_twin_by_hand():
    twin = CNN(CnnConfig(channels=(2, 3), kernels=(3, 3)), (1, 12, 14), 5)
    # 12 x 14 -> conv 10 x 12 -> pool 5 x 6 -> conv 3 x 4 -> pool 1 x 2
    assert twin_macs(twin, (1, 12, 14)) == {"conv1": 2 * 10 * 12 * 9, "conv2": 3 * 3 * 4 * 2 * 9, "fc": 3 * 1 * 2 * 5}
    assert parameter_count(twin) == (2 * 9 + 2) + (3 * 2 * 9 + 3) + (6 * 5 + 5)


def test_spikes_of_one_example_are_recorded_in_order():
    network = made_network(encoding="rate")
    found = record_spikes(network, torch.rand(1, 1, 12, 14), torch.Generator().manual_seed(1))
    assert {name: values.shape for name, values in found.items()} == {
        "input": (4, 1, 12, 14), "lif1": (4, 2, 5, 6), "lif2": (4, 3, 1, 2), "lif3": (4, 5),
    }  # fmt: skip
    assert list(found) == ["input", "lif1", "lif2", "lif3"]
    assert set(found["input"].ravel().tolist()) == {0, 1}
