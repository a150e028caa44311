"""Networks as NIR graphs: the same spikes after writing and reading, what is in the file, and what is refused."""

import copy
import sys

import numpy as np
import pytest
import torch
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st
from torch import nn

nir = pytest.importorskip("nir")

from audiodata.errors import AudioDataError, EnvironmentFault  # noqa: E402
from models import MODELS  # noqa: E402
from models.a_network import ANetwork, ANetworkConfig  # noqa: E402
from models.chain import Sequence  # noqa: E402
from models.csnn import CNN, CSNN, CnnConfig, CsnnConfig  # noqa: E402
from models.feedforward import FeedforwardConfig, FeedforwardSNN  # noqa: E402
from models.nir_export import compare, export, export_run, graph_of, random_features, recording  # noqa: E402
from models.nir_graph import ungrouped  # noqa: E402
from models.nir_networks import CODINGS, describe  # noqa: E402
from models.nir_simulation import read, simulate  # noqa: E402
from models.runs import RunRecord, save_weights, write_record  # noqa: E402
from models.separator import Separator, SeparatorConfig  # noqa: E402
from models.tandem import ConversionConfig, conversion_record, convert  # noqa: E402
from models.v_network import VNetwork, VNetworkConfig  # noqa: E402

SHAPE = (1, 12, 14)
FRAMES = {"visual_frames": (6, 2, 11, 10)}


def csnn(seed=0, **options):
    torch.manual_seed(seed)
    given = {"channels": (3, 4), "kernels": (3, 3), "time_steps": 6, "pooling": "average", "threshold": 0.2} | options
    network = CSNN(CsnnConfig(**given), SHAPE, 5).eval()
    for norm in (layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)):
        norm.eps = 0.1
        nn.init.uniform_(norm.running_var, 0.1, 2)
        nn.init.normal_(norm.running_mean, std=0.1)
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias, std=0.1)
    network.scaling.set_range(torch.full((1, 12, 1), -2.0), torch.full((1, 12, 1), 3.0))
    return network


def v_network(**options):
    torch.manual_seed(0)
    return VNetwork(VNetworkConfig(channels=(4, 5), hidden=8, expected_activity=0.2, **options), FRAMES, 3).eval()


def same_spikes(network, shape, path, **options):
    """Export, read, simulate; all spikes of all layers have to be there, in double precision."""
    found = export(network, shape, path, **options)
    assert found.differing == 0
    assert found.spikes > 0, "a silent network proves nothing"
    assert compare(network, shape, read(path), examples=3, seed=5)[1] == 0
    return read(path)


ANNS = {
    "dense": (lambda: [nn.Linear(9, 8), nn.ReLU(), nn.Linear(8, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3)], (9,)),
    "no bias": (lambda: [nn.Linear(9, 8, bias=False), nn.ReLU(), nn.Linear(8, 3, bias=False)], (9,)),
    "maps": (
        lambda: [
            nn.Conv2d(1, 4, 3, padding=1, stride=2), nn.BatchNorm2d(4), nn.AvgPool2d(2), nn.ReLU(),
            nn.Conv2d(4, 6, 3, padding=2, dilation=2, groups=2), nn.ReLU(), nn.AvgPool2d(3), nn.Dropout(0.5), nn.Flatten(), nn.Linear(6, 3),
        ],
        (1, 16, 14),
    ),
    "sequence": (
        lambda: [
            nn.Conv1d(2, 4, 3, padding="same", dilation=2), nn.BatchNorm1d(4), nn.ReLU(), nn.AvgPool1d(3), nn.Conv1d(4, 5, 1), nn.ReLU(),
            nn.Conv1d(5, 3, 2),
        ],
        (2, 20),
    ),
    "pooled by the readout": (lambda: [nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.Conv2d(3, 4, 2), nn.AvgPool2d((2, 3))], (1, 7, 7)),
    "readout alone": (lambda: [nn.Flatten(), nn.Linear(12, 3)], (3, 4)),
}  # fmt: skip


def converted(name, **options):
    torch.manual_seed(0)
    layers, shape = ANNS[name]
    ann = Sequence(nn.Sequential(*layers()))
    ann.train()(torch.randn(40, *shape))  # normalisations learn their statistics
    return convert(ann.eval(), torch.randn(40, *shape), **{"time_steps": 8} | options), shape


@pytest.mark.parametrize("options", [{}, {"coding": "constant", "rounding": "round", "weight_bits": 4}], ids=["first step", "constant"])
@pytest.mark.parametrize("name", [name for name in ANNS if name != "readout alone"])
def test_converted_networks_fire_the_same_spikes(tmp_path, name, options):
    network, shape = converted(name, **options)
    graph = same_spikes(network, shape, tmp_path / "a.nir")
    values = torch.randn(3, *shape, dtype=torch.float64)
    (potentials,) = simulate(graph, values).potentials.values()
    assert torch.allclose(potentials, copy.deepcopy(network).double()(values), rtol=1e-12, atol=1e-12)


def test_a_readout_alone_adds_up_its_potential(tmp_path):
    network, shape = converted("readout alone")
    export(network, shape, tmp_path / "a.nir")
    values = torch.randn(3, *shape)
    (potentials,) = simulate(read(tmp_path / "a.nir"), values).potentials.values()
    assert torch.allclose(potentials.float(), network(values), atol=1e-6)


def test_the_twin_of_csnn_after_conversion(tmp_path):
    torch.manual_seed(0)
    ann = CNN(CnnConfig(channels=(3, 4), kernels=(3, 3), pooling="average", norm="batch"), SHAPE, 5).eval()
    ann.scaling.set_range(torch.full((1, 12, 1), -1.0), torch.full((1, 12, 1), 2.0))
    network = convert(ann, torch.rand(40, *SHAPE) * 3 - 1, time_steps=8)
    graph = same_spikes(network, SHAPE, tmp_path / "a.nir")
    assert graph.metadata["scaling_low"].shape == (1, 12, 1)


def test_a_converted_separator_exports_what_estimates_its_masks(tmp_path):
    torch.manual_seed(0)
    ann = Separator(SeparatorConfig(filters=8, channels=6, dilated_layers=3, filter_length=8, stride=4)).eval()
    network = convert(ann, torch.randn(20, 1, 80), time_steps=4)
    graph = same_spikes(network, (1, 80), tmp_path / "a.nir")
    assert "finish" in graph.metadata["about_output"]


@settings(max_examples=10, deadline=None)
@drawn(st.integers(1, 12), st.integers(0, 1000), st.sampled_from(["first_step", "constant"]), st.sampled_from(["floor", "round"]))
def test_counts_of_any_converted_layer_are_the_clipped_quotient(steps, seed, coding, rounding):
    # the first layer's count is known without any simulation, where all of its current comes at once and none by and by
    torch.manual_seed(seed)
    ann = Sequence(nn.Sequential(nn.Linear(5, 7, bias=False), nn.ReLU(), nn.Linear(7, 2)))
    network = convert(ann, torch.randn(30, 5), time_steps=steps, coding=coding, rounding=rounding)
    values = torch.randn(4, 5, dtype=torch.float64)
    counts = simulate(graph_of(network, (5,)), values).spikes["layer0_if"].sum(0).double()
    quotient = values @ ann.layers[0].weight.double().T / network.thresholds[0]
    expected = (quotient + (0.5 if rounding == "round" else 0)).floor().clamp(0, steps)
    # equal parts that begin below zero never fall behind: the potential only grows, so the count is the same
    assert torch.equal(counts, expected)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"norm": "batch"},
        {"encoding": "rate"},
        {"encoding": "latency"},
        {"reset": "zero"},
        {"reset": "none"},
        {"reset_at": "same_step", "strict": False},
        {"decay": 1.0},
        {"decay": 0.0},
        {"learn_decay": True, "learn_threshold": True},
        {"padding": 1},
    ],
    ids=str,
)
def test_csnn_fires_the_same_spikes(tmp_path, options):
    assert same_spikes(csnn(**options), SHAPE, tmp_path / "a.nir").check_types()


def test_v_network_fires_the_same_spikes(tmp_path):
    graph = same_spikes(v_network(), FRAMES, tmp_path / "a.nir")
    lif = graph.nodes["lif1"]
    assert (lif.metadata["reset"], lif.metadata["comparison"]) == ("zero", ">=")
    assert lif.v_threshold.shape == (4, 11, 10)
    # decay 0.2 = 1 - dt / tau, and a current counts in full: R dt / tau = 1
    dt = graph.metadata["time_step_s"]
    assert np.allclose(1 - dt / lif.tau, 0.2)
    assert np.allclose(lif.r * dt / lif.tau, 1)


@pytest.mark.parametrize("options", [{}, {"encoding": "rate"}, {"over": "frames"}, {"over": "frames", "encoding": "delta"}], ids=str)
def test_feedforward_fires_the_same_spikes(tmp_path, options):
    torch.manual_seed(0)
    network = FeedforwardSNN(FeedforwardConfig(time_steps=6, hidden=9, threshold=0.1, **options), SHAPE, 4).eval()
    assert same_spikes(network, SHAPE, tmp_path / "a.nir").check_types()


def test_a_network_without_recurrence_fires_the_same_spikes(tmp_path):
    torch.manual_seed(0)
    shapes = {"auditory_frames": (6, 2, 16)}
    network = ANetwork(ANetworkConfig(hidden=(8, 7), recurrence="none", expected_activity=0.2), shapes, 3).eval()
    assert same_spikes(network, shapes, tmp_path / "a.nir").check_types()


def test_single_precision_differs_in_no_more_than_a_few_places(tmp_path):
    network = csnn()
    features = random_features(network, SHAPE, 4).float()
    with torch.no_grad(), recording(network) as fired:
        network(features)
    simulated = simulate(graph_of(network, SHAPE), describe(network, SHAPE).given(features, None), dtype=torch.float32)
    differing = sum(int((fired[name] != spikes).sum()) for name, spikes in simulated.spikes.items())
    assert differing <= 1e-3 * sum(int(spikes.sum()) for spikes in fired.values())


def test_the_graph_is_the_network_s_in_order(tmp_path):
    found = export(csnn(), SHAPE, tmp_path / "a.nir", {"network": "csnn", "classes": "a\nb"})
    kinds = "Input Conv2d AvgPool2d LIF Conv2d AvgPool2d LIF Flatten Affine LIF Output"
    assert list(found.nodes.values()) == kinds.split()
    graph = nir.read(tmp_path / "a.nir")
    assert graph.check_types()
    assert graph.metadata["network"] == "csnn"
    assert graph.metadata["input_coding"] in CODINGS
    assert int(graph.metadata["time_steps"]) == found.time_steps == 6
    assert [int(size) for size in graph.nodes["conv1"].input_type["input"]] == list(SHAPE)
    assert graph.nodes["lif1"].metadata == {"reset": "subtract", "reset_at": "next_step", "comparison": ">", "v_init": 0.0, "layer": "lif1"}


def test_weights_are_those_of_the_network(tmp_path):
    network = csnn()
    export(network, SHAPE, tmp_path / "a.nir")
    graph = read(tmp_path / "a.nir")
    assert graph.nodes["conv1"].weight.dtype == np.float32
    assert np.array_equal(graph.nodes["conv1"].weight, network.conv1.weight.detach().numpy())
    assert np.array_equal(graph.nodes["fc"].bias, network.fc.bias.detach().numpy())


@pytest.mark.parametrize("groups", [1, 2, 6])
def test_groups_written_out_give_the_same_maps(groups):
    layer, maps = nn.Conv2d(6, 12, 3, groups=groups).double(), torch.randn(2, 6, 7, 7, dtype=torch.float64)
    assert torch.allclose(nn.functional.conv2d(maps, ungrouped(layer.weight, groups), layer.bias), layer(maps), rtol=0, atol=1e-12)


def test_quantised_weights_stay_on_their_levels(tmp_path):
    network, shape = converted("dense", weight_bits=4)
    export(network, shape, tmp_path / "a.nir")
    weight = read(tmp_path / "a.nir").nodes["layer0"].weight
    assert len(np.unique(weight)) <= 15


def test_a_changed_weight_is_noticed():
    network = csnn()
    graph = graph_of(network, SHAPE)
    assert compare(network, SHAPE, graph)[1] == 0
    graph.nodes["conv1"].weight = graph.nodes["conv1"].weight * 1.01
    assert compare(network, SHAPE, graph)[1] > 0


def test_a_graph_that_fires_otherwise_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr("models.nir_export.compare", lambda *_: (1000, 5))
    with pytest.raises(AudioDataError, match="5 of 1000 spikes"):
        export(csnn(), SHAPE, tmp_path / "a.nir")
    assert list(tmp_path.iterdir()) == []


def test_the_same_network_gives_the_same_file(tmp_path):
    for name in ("a.nir", "b.nir"):
        export(csnn(), SHAPE, tmp_path / name)
    assert (tmp_path / "a.nir").read_bytes() == (tmp_path / "b.nir").read_bytes()


def test_a_failure_leaves_the_file_that_was_there(tmp_path, monkeypatch):
    (tmp_path / "a.nir").write_bytes(b"old")
    monkeypatch.setattr(nir, "write", lambda path, graph: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(EnvironmentFault):
        export(csnn(), SHAPE, tmp_path / "a.nir")
    assert (tmp_path / "a.nir").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.nir"]


SHAPES = {
    "frames": {"visual_frames": (4, 1, 12, 12), "auditory_frames": (4, 1, 16)},
    "located": {"gcc_phat": (6, 51, 8), "log_mel": (4, 51, 8)},
}


@pytest.mark.parametrize(
    ("name", "shape", "reason"),
    [
        ("csnn", SHAPE, "--set pooling=average"),
        ("a_network", SHAPES["frames"], "potentials"),
        ("multimodal", SHAPES["frames"], "multiplies"),
        ("multimodal_fc", SHAPES["frames"], "potentials"),
        ("spikslcnet", SHAPES["located"], "multiplies spikes by spikes"),
        ("mtpc_csnn", {"mtpc": (6, 2040, 8)}, "maximum"),
        ("gcc_phat_cnn", {"gcc_phat": (6, 51, 8)}, "no spikes; convert it"),
        ("cnn", SHAPE, "no spikes; convert it"),
        ("mlp", SHAPE, "no spikes; convert it"),
    ],
)
def test_what_nir_cannot_express_is_refused_before_anything_is_written(tmp_path, name, shape, reason):
    network = MODELS[name].build(MODELS[name].config(), shape, 3).eval()
    with pytest.raises(AudioDataError, match=reason):
        export(network, shape, tmp_path / "made" / "a.nir")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("layers", "shape", "reason"),
    [
        ([nn.Conv2d(1, 2, (3, 5)), nn.ReLU(), nn.Flatten(), nn.Linear(2 * 6 * 4, 2)], (1, 8, 8), "square"),
        ([nn.Conv1d(1, 2, 2, padding="same"), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2)], (1, 8), "odd kernel"),
        ([nn.Conv1d(1, 2, 3, padding=1, padding_mode="circular"), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2)], (1, 8), "circular"),
        ([nn.Linear(8, 8), nn.ReLU(), nn.Flatten(), nn.Linear(24, 2)], (3, 8), "vectors"),
    ],
    ids=["kernel", "padding", "circular", "dense on maps"],
)
def test_layers_that_nir_cannot_express_are_named(tmp_path, layers, shape, reason):
    with torch.no_grad():
        for layer in layers:
            for values in layer.parameters():
                values.abs_()  # active on whatever comes, as a layer must be that is converted
    network = convert(Sequence(nn.Sequential(*layers)), torch.rand(10, *shape), time_steps=4)
    with pytest.raises(AudioDataError, match=f"layer `layer0`.*{reason}"):
        export(network, shape, tmp_path / "a.nir")


def test_neurons_without_words_for_them_are_refused(tmp_path):
    network = csnn()
    dynamics = network.lif1.neuron.dynamics
    network.lif1.neuron.dynamics = type(dynamics)(reset_at="snntorch_same_step", detach_reset=False)
    with pytest.raises(AudioDataError, match=r"`lif1`.*snntorch_same_step"):
        export(network, SHAPE, tmp_path / "a.nir")


def test_without_the_package_there_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "nir", None)
    with pytest.raises(EnvironmentFault, match=r"pip install 'audiodata\[export\]'"):
        export(csnn(), SHAPE, tmp_path / "a.nir")


def test_a_run_becomes_a_file(tmp_path):
    network = csnn()
    settings = network.config.model_dump(mode="json")
    classes = ("a", "b", "c", "d", "e")
    fields = {"network": "csnn", "network_settings": settings, "training_settings": {}, "shape": SHAPE, "classes": classes, "cache": {"catalog": "x"}}
    write_record(tmp_path / "run", RunRecord(**fields))
    save_weights(tmp_path / "run", network)
    found = export_run(tmp_path / "run", tmp_path / "a.nir")
    graph = read(found.path)
    assert found.differing == 0
    assert graph.metadata["classes"].split("\n") == list(classes)
    assert graph.metadata["catalog"] == "x"


def test_a_converted_run_becomes_a_file(tmp_path):
    torch.manual_seed(0)
    config = CnnConfig(channels=(3, 4), kernels=(3, 3), pooling="average")
    ann, conversion = CNN(config, SHAPE, 5).eval(), ConversionConfig(time_steps=4)
    network = convert(ann, torch.rand(40, *SHAPE), conversion)
    fields = {"network": "cnn", "network_settings": config.model_dump(mode="json"), "training_settings": {}, "shape": SHAPE}
    given = {"classes": tuple("abcde"), "cache": {"catalog": "x"}, "conversion": conversion_record(conversion, network, "primitive")}
    write_record(tmp_path / "run", RunRecord(**fields, **given))
    save_weights(tmp_path / "run", network)
    found = export_run(tmp_path / "run", tmp_path / "a.nir")
    assert found.differing == 0 < found.spikes
    assert "I" in found.nodes.values()
    assert found.time_steps == 4
