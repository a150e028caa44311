"""Operations, energy and memory, counted by hand and spike by spike."""

import math

import pytest
import torch
from torch import nn

from models.accounting import (
    ADDITION_PJ_45NM,
    ENERGY_MODELS,
    MAC_PER_ADDITION_28NM,
    MAC_PJ_45NM,
    Storage,
    Work,
    account_dense,
    account_spiking,
    address_bits,
)
from models.chain import Sequence
from models.csnn import CNN, CSNN, CnnConfig, CsnnConfig
from models.metrics import Meter, cost_summary, record_spikes, twin_macs, weight_count
from models.tandem import convert


def test_energy_by_hand():
    work = Work({"conv2": 100.0, "fc": 20.0}, {"conv1": 30.0})
    assert work.energy(ENERGY_MODELS["28nm"]) == MAC_PER_ADDITION_28NM * 30 + 120 == 540
    assert work.energy(ENERGY_MODELS["45nm"]) == pytest.approx(MAC_PJ_45NM * 30 + ADDITION_PJ_45NM * 120)


def test_an_addition_at_the_same_count_costs_a_fourteenth():
    found = account_spiking(Work({"fc": 50.0}, {}), Storage(1, 1), Work({}, {"fc": 50.0}), Storage(1))
    assert found["operations"]["ratio"] == 1
    assert found["energy"]["28nm"]["ratio"] == pytest.approx(1 / 14)
    assert found["energy"]["45nm"]["ratio"] == pytest.approx(0.9 / 4.6)


def test_compute_counts_a_mac_as_a_multiplication_and_an_addition():
    assert Work({"fc": 5.0}, {"conv": 7.0}).compute() == {"multiplications": 7.0, "additions": 12.0}


def test_ratios_with_and_without_the_dense_layer_by_hand():
    work, twin = Work({"b": 30.0, "c": 10.0}, {"a": 200.0}), Work({}, {"a": 200.0, "b": 60.0, "c": 20.0})
    found = account_spiking(work, Storage(1, 1), twin, Storage(1))
    assert found["operations"]["ratio"] == 240 / 280
    assert found["operations"]["ratio_without_dense"] == 40 / 80
    assert found["operations"]["dense_layers"] == ["a"]
    assert found["operations"]["dense_macs"] == 200
    assert found["layers"]["a"] == {"macs": 200, "twin_macs": 200, "ratio": 1.0}
    assert found["layers"]["b"] == {"additions": 30, "twin_macs": 60, "ratio": 0.5}
    assert found["energy"]["28nm"]["ratio_without_dense"] == pytest.approx(40 / (14 * 80))


def test_a_twin_with_layers_of_other_names_has_no_ratio_without_the_dense_ones():
    found = account_spiking(Work({"b": 30.0}, {"a": 200.0}), Storage(1, 1), Work({}, {"first": 200.0, "b": 60.0}), Storage(1))
    assert found["operations"]["ratio"] == 230 / 260
    assert found["operations"]["ratio_without_dense"] is None
    assert found["energy"]["28nm"]["ratio_without_dense"] is None
    assert found["layers"]["a"]["ratio"] is None


def test_memory_by_hand():
    # 256 neurons have addresses of one byte
    assert Storage(100, 256, spikes=17).of_spiking() == {"weights": 400, "potentials": 1024, "spikes": 17, "total": 1441}
    assert Storage(100, activations=300).of_dense() == {"weights": 400, "activations": 1200, "total": 1600}
    assert Storage(100, weight_bits=4).of_dense()["weights"] == 50


def test_address_bits():
    assert [address_bits(n) for n in (0, 1, 2, 3, 256, 257)] == [1, 1, 1, 2, 8, 9]


def test_without_a_twin_there_is_nothing_to_compare():
    found = account_spiking(Work({"fc": 1.0}, {}), Storage(1, 1))
    assert "ratio" not in found["operations"]
    assert "ann" not in found["memory"]
    assert account_dense(Work({}, {"fc": 8.0}), Storage(8, activations=2))["operations"] == {"macs": 8.0}


def converted(*layers, features, **settings):
    torch.manual_seed(1)
    ann = Sequence(nn.Sequential(*layers))
    return ann, convert(ann, features, **settings)


def taps_of_spikes(layer, spikes):
    """Additions of a convolution that is given whole spikes: one output at a time, one tap at a time."""
    layer_sum = 0
    (ky, kx), (sy, sx), (py, px) = layer.kernel_size, layer.stride, layer.padding
    for count_maps in spikes:
        outputs = [(count_maps.shape[d + 1] + 2 * p - k) // s + 1 for d, (k, s, p) in enumerate(((ky, sy, py), (kx, sx, px)))]
        for y in range(outputs[0]):
            for x in range(outputs[1]):
                for j in range(ky):
                    for i in range(kx):
                        row, column = y * sy + j - py, x * sx + i - px
                        if 0 <= row < count_maps.shape[1] and 0 <= column < count_maps.shape[2]:
                            layer_sum += count_maps[:, row, column].sum().item() * layer.out_channels
    return layer_sum


def test_a_converted_network_counts_every_spike_at_every_tap():
    features = torch.rand(2, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    layers = nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2), nn.Conv2d(2, 3, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(27, 4)
    ann, network = converted(*layers, features=features, time_steps=4)
    meter = Meter(network)
    with meter.watching(), torch.no_grad():
        network(features)
    assert meter.macs == {"0": connections_of_first(features)}
    first, second = (record_all(network, features)[name] for name in ("0", "3"))
    pooled = nn.functional.avg_pool2d(first.flatten(0, 1), 2, divisor_override=1)  # whole spikes arrive
    assert meter.synaptic_operations["3"] == taps_of_spikes(ann.layers[3], pooled)
    assert meter.synaptic_operations["6"] == 4 * second.sum().item()
    assert meter.spikes_at_once == int((first.flatten(2).sum(2) + second.flatten(2).sum(2)).max())
    assert meter.neurons == {"0": 2 * 36, "3": 27}


def connections_of_first(features):
    # 3 x 3 taps on 6 x 6 places with zeros around: 4 corners lack 5 taps, 16 edges lack 3
    return len(features) * 2 * (36 * 9 - 4 * 5 - 16 * 3)


def record_all(network, features):
    """Spikes ``[T, B, ...]`` of every layer."""
    found, hooks = {}, []
    for name, layer in network.spiking_layers().items():
        hooks.append(layer.register_forward_hook(lambda _l, _i, spikes, name=name: found.update({name: spikes})))
    with torch.no_grad():
        network(features)
    for hook in hooks:
        hook.remove()
    return found


def test_memory_of_a_converted_network():
    features = torch.rand(5, 8)
    ann, network = converted(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3), features=features, time_steps=4)
    ann.spiking_layers = dict
    ann.weighted_layers = lambda: {n: layer._replace(takes_spikes=False, module=ann.layers[int(n)]) for n, layer in network.weighted_layers().items()}
    meter = Meter(network)
    with meter.watching(), torch.no_grad():
        network(features)
    found = cost_summary(network, meter, 5, ann, (8,), weight_bits=4)["accounting"]
    weights = 8 * 16 + 16 + 16 * 3 + 3
    assert found["memory"]["snn"]["weights"] == weights / 2
    assert found["memory"]["ann"] == {"weights": 4 * weights, "activations": 4 * 19, "total": 4 * (weights + 19)}
    assert found["memory"]["snn"]["potentials"] == 4 * (16 + 3), "the readout adds up potentials as well"
    assert found["memory"]["bits"]["spike"] == math.ceil(math.log2(19))
    assert found["operations"]["dense_layers"] == ["0"]
    assert found["operations"]["dense_macs"] == 8 * 16
    assert found["operations"]["ratio_without_dense"] == pytest.approx(sum(meter.synaptic_operations.values()) / 5 / 48)


def test_spikes_at_once_are_those_of_one_step_of_one_example():
    torch.manual_seed(0)
    network = CSNN(CsnnConfig(channels=(2, 3), kernels=(3, 3), time_steps=4, encoding="rate", threshold=0.1), (1, 12, 14), 5)
    features, meter = torch.rand(1, 1, 12, 14), Meter(network)
    with meter.watching(), torch.no_grad():
        network.eval()(features, torch.Generator().manual_seed(1))
    layers = record_spikes(network, features, torch.Generator().manual_seed(1))
    per_step = [sum(values[t].astype(int).sum() for values in layers.values()) for t in range(4)]
    assert meter.spikes_at_once == max(per_step) > 0
    assert meter.neurons["input"] == 0, "an encoding has no membrane"


def test_a_pass_does_not_add_to_the_next_one():
    torch.manual_seed(0)
    network = CSNN(CsnnConfig(channels=(2, 3), kernels=(3, 3), time_steps=3, threshold=0.1), (1, 12, 14), 5).eval()
    features, once, twice = torch.rand(2, 1, 12, 14), Meter(network), Meter(network)
    with torch.no_grad():
        with once.watching():
            network(features)
        with twice.watching():
            network(features[:1])
            network(features[1:])
    assert once.spikes_at_once == twice.spikes_at_once
    assert once.synaptic_operations == twice.synaptic_operations


def test_a_network_without_spikes_accounts_for_itself():
    network = CNN(CnnConfig(channels=(2, 3), kernels=(3, 3)), (1, 12, 14), 5).eval()
    meter = Meter(network)
    with meter.watching(), torch.no_grad():
        network(torch.rand(3, 1, 12, 14))
    found = cost_summary(network, meter, 3, None, (1, 12, 14))["accounting"]
    assert found["operations"]["macs"] == sum(twin_macs(network, (1, 12, 14)).values())
    assert found["memory"]["ann"]["weights"] == 4 * weight_count(network)
    assert found["memory"]["ann"]["activations"] == 4 * (2 * 5 * 6 + 3 * 1 * 2 + 5)
