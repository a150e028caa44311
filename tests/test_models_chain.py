"""Chains of layers read as stages: what belongs to which, what is refused and with which words."""

import pytest
import torch
from convertible_networks import KINDS, made
from torch import nn

from audiodata.errors import AudioDataError
from models.chain import INSTEAD, Sequence, check_convertible, run, stages
from models.convolution import ConvPool2d
from models.csnn import CNN, CSNN, CnnConfig, CsnnConfig
from models.layers import MapLinear
from models.spikslcnet import SpikSLCNet, SpikSlcNetConfig


def read(*layers):
    return stages(Sequence(nn.Sequential(*layers)).chain())


def test_stages_hold_what_belongs_to_their_weights():
    conv, norm, pool, flatten, fc = nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(2, 3)
    first, last = read(conv, norm, nn.ReLU(), pool, flatten, nn.Identity(), fc)
    assert (first.name, first.before, first.weighted, first.norm, first.after, first.rectified) == ("0", (), conv, norm, (), True)
    assert (last.name, last.before, last.weighted, last.norm, last.after, last.rectified) == ("6", (pool, flatten), fc, None, (), False)


@pytest.mark.parametrize("kind", KINDS)
def test_the_stages_one_after_another_are_the_network(kind):
    network, values = made(kind)
    expected = network(values)
    for stage in stages(network.chain()):
        values = stage.forward(values)
    assert torch.equal(values, expected)


def test_while_training_pooling_and_normalisation_keep_their_order():
    """The variance after pooling is not the one before."""
    layers = nn.Sequential(nn.Conv2d(1, 2, 3), nn.AvgPool2d(2), nn.BatchNorm2d(2), nn.ReLU(), nn.Conv2d(2, 1, 1))
    network, values = Sequence(layers).train(), torch.randn(5, 1, 8, 8)
    expected, running = network(values), layers[2].running_var.clone()
    layers[2].reset_running_stats()
    found = values
    for stage in stages(network.chain()):
        found = stage.forward(found)
    assert torch.equal(found, expected)
    assert torch.equal(layers[2].running_var, running)


def test_a_layer_that_is_there_twice_counts_twice():
    rectifier, pool, conv = nn.ReLU(), nn.AvgPool2d(2), nn.Conv2d(1, 1, 3, padding=1)
    network = Sequence(nn.Sequential(conv, rectifier, pool, conv, rectifier, pool, nn.Flatten(), nn.Linear(4, 2)))
    assert [(stage.name, stage.before) for stage in stages(network.chain())][:2] == [("0", ()), ("3", (pool,))]
    values = torch.randn(3, 1, 8, 8)
    assert torch.equal(run(network.chain().values(), values), network(values))


def test_sequences_inside_a_sequence_are_taken_apart():
    network = Sequence(nn.Sequential(nn.Sequential(nn.Linear(2, 3), nn.ReLU()), nn.Linear(3, 1)))
    assert list(network.chain()) == ["0.0", "0.1", "1"]


def test_names_of_layers_are_kept():
    class Block(nn.Sequential):
        """As people name their parts."""

    layers = nn.Sequential()
    layers.add_module("hidden", Block(nn.Linear(2, 3), nn.ReLU()))
    layers.add_module("readout", nn.Linear(3, 1))
    assert [stage.name for stage in stages(Sequence(layers).chain())] == ["hidden.0", "readout"]


UNSUPPORTED = {
    "MaxPool": [nn.MaxPool1d(2), nn.MaxPool2d(2)],
    "AdaptiveAvgPool": [nn.AdaptiveAvgPool1d(1), nn.AdaptiveAvgPool2d(1)],
    "ConvTranspose": [nn.ConvTranspose1d(2, 2, 3), nn.ConvTranspose2d(2, 2, 3)],
    "LayerNorm": [nn.LayerNorm(3)],
    "GroupNorm": [nn.GroupNorm(1, 2)],
    "InstanceNorm": [nn.InstanceNorm1d(2), nn.InstanceNorm2d(2)],
    "ReLU6": [nn.ReLU6()],
    "LeakyReLU": [nn.LeakyReLU()],
    "PReLU": [nn.PReLU()],
    "ELU": [nn.ELU()],
    "CELU": [nn.CELU()],
    "SELU": [nn.SELU()],
    "GELU": [nn.GELU()],
    "SiLU": [nn.SiLU()],
    "Tanh": [nn.Tanh()],
    "Sigmoid": [nn.Sigmoid()],
    "Softmax": [nn.Softmax(1), nn.Softmax2d()],
    "": [nn.Conv3d(2, 2, 3), nn.BatchNorm3d(2), nn.LSTM(3, 3), nn.Bilinear(2, 2, 2), nn.Upsample(2), nn.MultiheadAttention(2, 1), nn.Hardtanh()],
}


def test_every_word_of_advice_is_tried():
    assert set(UNSUPPORTED) - {""} == set(INSTEAD)


@pytest.mark.parametrize(
    ("advice", "layer"), [(key, layer) for key, layers in UNSUPPORTED.items() for layer in layers], ids=lambda case: str(case)[:30]
)
def test_an_unsupported_layer_is_named_with_what_to_use_instead(advice, layer):
    with pytest.raises(AudioDataError) as refusal:
        read(nn.Linear(2, 2), layer, nn.Linear(2, 2))
    message = str(refusal.value)
    assert message.startswith(f"layer `1` ({type(layer).__name__})")
    assert (INSTEAD[advice] if advice else "supported are Linear") in message
    assert "\n" not in message


MISPLACED = {
    "no readout": ([nn.Linear(2, 2), nn.ReLU()], "must end with a readout"),
    "empty": ([], "must end with a readout"),
    "two in a row": ([nn.Linear(2, 2), nn.Linear(2, 2)], "layer `1`: follows `0` without a ReLU"),
    "rectifier alone": ([nn.ReLU(), nn.Linear(2, 2)], "layer `0` (ReLU): no layer with weights"),
    "two rectifiers": ([nn.Linear(2, 2), nn.ReLU(), nn.ReLU(), nn.Linear(2, 2)], "layer `2` (ReLU): no layer with weights"),
    "norm first": ([nn.BatchNorm1d(2), nn.Linear(2, 2)], "layer `0` (BatchNorm): must follow"),
    "norm after ReLU": ([nn.Linear(2, 2), nn.ReLU(), nn.BatchNorm1d(2), nn.Linear(2, 2)], "layer `2` (BatchNorm): must follow"),
    "two norms": ([nn.Linear(2, 2), nn.BatchNorm1d(2), nn.BatchNorm1d(2)], "layer `2` (BatchNorm): must follow"),
    "norm without statistics": ([nn.Linear(2, 2), nn.BatchNorm1d(2, track_running_stats=False)], "track_running_stats=True"),
    "norm over frames": ([nn.Linear(2, 2), nn.BatchNorm1d(5)], "layer `1` (BatchNorm): normalises 5 channels, but `0` has 2 outputs"),
    "flattened too early": ([nn.Conv2d(1, 1, 1), nn.Flatten(), nn.ReLU(), nn.Linear(2, 2)], "layer `1` (Flatten): stands between"),
    "flattened at the end": ([nn.Conv2d(1, 1, 1), nn.Flatten()], "after the readout leave it out"),
    "dropped before ReLU": ([nn.Linear(2, 2), nn.Dropout(), nn.ReLU(), nn.Linear(2, 2)], "layer `1` (Dropout): stands between"),
    "pooled behind a dense layer": ([nn.Linear(2, 2), nn.AvgPool1d(2), nn.ReLU(), nn.Linear(1, 2)], "layer `1` (AvgPool1d): stands between"),
    "overlapping": ([nn.AvgPool2d(3, stride=1), nn.Conv2d(1, 1, 1)], "layer `0` (average pooling)"),
    "padded": ([nn.AvgPool1d(2, padding=1), nn.Conv1d(1, 1, 1)], "layer `0` (average pooling)"),
    "ceiling": ([nn.AvgPool2d(2, ceil_mode=True), nn.Conv2d(1, 1, 1)], "layer `0` (average pooling)"),
    "other divisor": ([nn.AvgPool2d(2, divisor_override=3), nn.Conv2d(1, 1, 1)], "layer `0` (average pooling)"),
    "maximum inside": ([ConvPool2d(1, 1, 3, pooling="max"), nn.ReLU(), MapLinear((1, 1, 1), 2)], "layer `0` pools by the maximum"),
}


@pytest.mark.parametrize("case", MISPLACED)
def test_a_layer_in_the_wrong_place_is_named(case):
    layers, words = MISPLACED[case]
    with pytest.raises(AudioDataError) as refusal:
        read(*layers)
    assert words in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_networks_of_the_zoo_that_are_no_chain_are_refused():
    csnn = CSNN(CsnnConfig(time_steps=2), (1, 20, 20), 3)
    spikslcnet = SpikSLCNet(SpikSlcNetConfig(), {"gcc_phat": (6, 51, 12), "log_mel": (4, 51, 12)}, 3)
    for name, network in (("csnn", csnn), ("spikslcnet", spikslcnet)):
        with pytest.raises(AudioDataError, match=f"`{name}` can't be converted: it is not a chain"):
            check_convertible(network, name)


def test_the_zoos_cnn_needs_average_pooling():
    with pytest.raises(AudioDataError, match=r"layer `conv1` pools by the maximum.*--set pooling=average"):
        check_convertible(CNN(CnnConfig(pooling="max"), (1, 20, 20), 3), "cnn")
    check_convertible(CNN(CnnConfig(pooling="average", norm="batch", dropout=0.2), (1, 20, 20), 3), "cnn")
