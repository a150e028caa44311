"""Re-parameterization of SpikSLC-Net: the same spikes and outputs without any normalisation."""

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from audiodata.errors import AudioDataError
from models.decoupled_norm import BatchNorm, TokenNorm
from models.layers import Scaling
from models.spikslcnet import FLS, PRESETS, SLCNet, SlcNetConfig, SpikSLCNet, SpikSlcNetConfig

SHAPES = {"gcc_phat": (3, 7, 6), "log_mel": (2, 5, 6)}
CLASSES = 4
# What a normalisation is computed with, in training or evaluation.
NORMALISING = ("mean", "var", "std", "norm", "div", "sqrt", "rsqrt", "reciprocal", "softmax")


def made_features(seed, examples, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return {name: (torch.rand(examples, *shape, generator=generator, dtype=torch.float64) * 60 - 40).to(dtype) for name, shape in SHAPES.items()}


def trained(**options):
    """Give weights, gains, biases, ranges and running statistics that are none of them what a new network has."""
    torch.manual_seed(5)
    network = SpikSLCNet(SpikSlcNetConfig(**options), SHAPES, CLASSES).double()
    for norm in (layer for layer in network.modules() if isinstance(layer, BatchNorm | TokenNorm)):
        nn.init.uniform_(norm.weight, 1.0, 3.0)
        nn.init.uniform_(norm.bias, 0.0, 1.0)
    for scaling in network.scaling.values():
        scaling.set_range(torch.full_like(scaling.low, -41.0), torch.full_like(scaling.high, 23.0))
    with torch.no_grad():
        for seed in range(100, 110):
            network(made_features(seed, 8))
    return network.eval()


def spikes_of(network, features):
    found = []
    hooks = [layer.register_forward_hook(lambda _layer, _inputs, out: found.append(out)) for layer in network.spiking_layers().values()]
    with torch.no_grad():
        output = network(features)
    for hook in hooks:
        hook.remove()
    return output, found


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_has_the_same_spikes_and_outputs_when_folded(preset):
    network = trained(**PRESETS[preset])
    folded, count = network.fold(), 0
    for seed in range(3):
        features = made_features(seed, 4)
        (before, spikes), (after, same) = spikes_of(network, features), spikes_of(folded, features)
        assert (before.azimuth - after.azimuth).abs().max() < 1e-5
        assert (before.label - after.label).abs().max() < 1e-5
        assert len(spikes) == len(same) == 2 + 18 * network.config.blocks
        assert all(torch.equal(one, other) for one, other in zip(spikes, same, strict=True))
        count += sum(one.sum() for one in spikes)
    assert count > 1000


@pytest.mark.parametrize(
    "options",
    [
        {"norm": "batch"},
        {"variance": "token"},
        {"time_steps": 1},
        {"time_steps": 6},
        {"heads": 1, "mlp_ratio": 1.0},
        {"detach_reset": False, "surrogate": "rectangular"},
    ],
)
def test_settings_fold_as_well(options):
    network, features = trained(**{"blocks": 1, "width": 16} | options), made_features(1, 6)
    (before, spikes), (after, same) = spikes_of(network, features), spikes_of(network.fold(), features)
    assert torch.allclose(before.azimuth, after.azimuth, atol=1e-5)
    assert all(torch.equal(one, other) for one, other in zip(spikes, same, strict=True))


def test_in_single_precision_only_neurons_at_their_threshold_differ():
    """Folding changes the rounding: a potential within it of the threshold may fall to the other side, and what follows may then differ."""
    network = trained(blocks=2, width=64).float()
    features = made_features(3, 200, torch.float32)
    (before, spikes), (after, same) = spikes_of(network, features), spikes_of(network.fold(), features)
    moved = torch.stack([(one != other).transpose(0, 1).flatten(1).any(1) for one, other in zip(spikes, same, strict=True)]).any(0)
    assert moved.float().mean() < 0.1
    assert (before.azimuth - after.azimuth)[~moved].abs().max() < 1e-5
    assert (before.label - after.label)[~moved].abs().max() < 1e-5


class Operations(TorchDispatchMode):
    """Names of all operations of a forward pass."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.names.add(function.overloadpacket.__name__)
        return function(*args, **kwargs or {})


def operations(network):
    with Operations() as seen, torch.no_grad():
        network(made_features(0, 2))
    return {name for name in seen.names if any(part in name for part in NORMALISING)}


def test_nothing_of_a_normalisation_is_left():
    network = trained(blocks=2, width=16)
    folded = network.fold()
    assert {"mean", "rsqrt", "native_batch_norm", "div"} <= operations(network)
    assert operations(folded) == set()
    left = [name for name, layer in folded.named_modules() if isinstance(layer, BatchNorm | TokenNorm | nn.LayerNorm | Scaling)]
    assert left == []
    assert [name for name, _ in folded.named_buffers() if "scaling" not in name] == []


def test_folding_leaves_the_network_as_it_was():
    network = trained(blocks=1, width=16).train()
    before = {name: values.clone() for name, values in network.state_dict().items()}
    folded = network.fold()
    assert network.training and not folded.training
    assert all(torch.equal(values, before[name]) for name, values in network.state_dict().items())
    assert any(isinstance(layer, TokenNorm) for layer in network.modules())
    with torch.no_grad():
        folded.azimuth.weight.zero_()
    assert torch.equal(network.azimuth.weight, before["azimuth.weight"])


def test_folded_layers_take_spikes_alone():
    network = trained(blocks=1, width=16)
    takes_spikes = {name: layer.takes_spikes for name, layer in network.weighted_layers().items()}
    folded = {name: layer.takes_spikes for name, layer in network.fold().weighted_layers().items()}
    assert [name for name in folded if folded[name] != takes_spikes[name]] == [
        f"blocks.0.halves.{half}.{fls}.linear" for half in (0, 1) for fls in ("fls1", "fls2")
    ]
    assert [name for name in folded if not folded[name]] == [f"encoders.{name}.dense.linear" for name in SHAPES] + ["azimuth", "label"]


def test_folded_network_is_saved_and_read_back():
    folded, other = (trained(blocks=1, width=16).fold() for _ in range(2))
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    other.load_state_dict(folded.state_dict())
    features = made_features(0, 2)
    assert torch.equal(folded(features).azimuth, other(features).azimuth)


@pytest.mark.parametrize("options", [{"norm": "layer"}, {"norm": "variant_layer"}, {"variance": "frame"}])
def test_normalisations_that_depend_on_the_token_are_refused_with_the_reason(options):
    with pytest.raises(AudioDataError, match="can't be folded: it") as error:
        trained(blocks=1, width=16, **options).fold()
    assert "\n" not in str(error.value)


def test_twin_has_layer_norms_so_it_has_no_folding():
    twin = SLCNet(SlcNetConfig(blocks=1, width=16), SHAPES, CLASSES)
    assert not hasattr(twin, "fold")
    assert sum(isinstance(layer, FLS) for layer in twin.modules()) == 4
