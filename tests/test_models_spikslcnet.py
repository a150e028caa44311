"""SpikSLC-Net against the paper's equations written as loops, its ablations, its twin, and that it learns."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from audiodata.errors import AudioDataError, CatalogError
from audiodata.settings import validated
from models.decoupled_norm import BatchNorm, TokenNorm
from models.located import azimuth_target, circular_distance_deg, decode_azimuth
from models.metrics import Meter, parameter_count
from models.spikslcnet import PRESETS, SLCNet, SlcNetConfig, SpikSLCNet, SpikSlcNetConfig

SHAPES = {"gcc_phat": (3, 7, 4), "log_mel": (2, 5, 4)}
CLASSES = 4
SMALL = {"blocks": 1, "width": 16, "heads": 4, "mlp_ratio": 2.0}


def made_features(seed=0, examples=3, frames=4, shapes=SHAPES):
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.rand(examples, *shape[:2], frames, generator=generator, dtype=torch.float64) for name, shape in shapes.items()}


def made_network(shapes=SHAPES, frames=4, **options):
    """Give gains and biases that make all layers fire, and statistics from some batches."""
    torch.manual_seed(5)
    network = SpikSLCNet(SpikSlcNetConfig(**{"time_steps": 3, "scale": 0.5} | SMALL | options), shapes, CLASSES).double()
    for norm in (layer for layer in network.modules() if isinstance(layer, BatchNorm | TokenNorm)):
        nn.init.uniform_(norm.weight, 2.0, 4.0)
        nn.init.uniform_(norm.bias, 0.5, 1.5)
    with torch.no_grad():
        for seed in range(100, 120):
            network(made_features(seed, frames=frames, shapes=shapes))
    return network


def spikes_of(network, features):
    """Outputs of all layers of neurons, by name."""
    found = {}
    layers = network.spiking_layers()
    hooks = [layer.register_forward_hook(lambda _l, _i, out, name=name: found.update({name: out})) for name, layer in layers.items()]
    with torch.no_grad():
        found["output"] = network(features)
    for hook in hooks:
        hook.remove()
    return found.pop("output"), found


# ---- the paper's equations


def test_neurons_follow_the_published_update_on_a_written_out_trajectory():
    """SpikingJelly, LIFNode: H = V + (X - V) / tau; S = H >= 1; V = 0 where S. Here tau = 2, and its ATan(2) in the backward pass."""
    current = torch.tensor([1.0, 1.5, 2.0, 2.0, 0.5, 1.75, 1.0, 0.25], dtype=torch.float64).view(8, 1).requires_grad_()
    neurons = SpikSlcNetConfig().neurons(1.0)
    response = neurons.run(current)
    charged = [0.5, 1.0, 1.0, 1.0, 0.25, 1.0, 0.5, 0.375]
    assert response.spikes.flatten().tolist() == [0, 1, 1, 1, 0, 1, 0, 0]
    left = [0.0 if h >= 1 else h for h in charged]
    assert response.potential.flatten().tolist() == left
    response.spikes[0].sum().backward()
    slope = 2 / 2 / (1 + (torch.pi / 2 * 2 * (0.5 - 1)) ** 2)
    assert current.grad[0].item() == pytest.approx(slope / 2)
    assert current.grad[1:].abs().sum() == 0


def literal_neurons(current, threshold=1.0):
    v, spikes = torch.zeros_like(current[0]), []
    for now in current:
        h = v + (now - v) / 2.0
        s = (h >= threshold).to(h.dtype)
        v = (1 - s) * h
        spikes.append(s)
    return torch.stack(spikes)


def literal_dsln(tokens, norm):
    """Eq. 14 in evaluation."""
    centred = tokens - tokens.sum(-1, keepdim=True) / tokens.shape[-1]
    return centred / torch.sqrt(norm.expected + norm.eps) * norm.weight + norm.bias


def literal_bn(tokens, norm):
    return (tokens - norm.running_mean) / torch.sqrt(norm.running_var + norm.eps) * norm.weight + norm.bias


def literal_encoder(features, network, name):
    """Direct encoding: the same frame vectors at each time step, each computed anew."""
    scaling, encoder = network.scaling[name], network.encoders[name]
    scaled = ((features - scaling.low) / (scaling.high - scaling.low)).clamp(0, 1)
    frames = torch.stack([scaled[..., frame].flatten(1) for frame in range(scaled.shape[-1])], 1)
    linear = encoder.dense.linear
    currents = [literal_dsln(frames @ linear.weight.T + linear.bias, encoder.dense.norm) for _ in range(network.time_steps)]
    return literal_neurons(torch.stack(currents))


def literal_attention(query, key, value, attending, scale):
    split = zip(*(tokens.chunk(attending.heads, -1) for tokens in (query, key, value)), strict=True)
    heads = [torch.einsum("tbid,tbjd->tbij", q, k) @ v * scale for q, k, v in split]
    attended = literal_neurons(torch.cat(heads, -1), 0.5)
    return literal_neurons(literal_bn(attended @ attending.dense.linear.weight.T, attending.dense.norm))


def literal_projections(tokens, dense, parts):
    return literal_neurons(literal_bn(tokens @ dense.linear.weight.T, dense.norm)).chunk(parts, -1)


def literal_fls(tokens, fls):
    """Eq. 12."""
    return literal_neurons(literal_dsln(tokens, fls.norm) @ fls.linear.weight.T + fls.linear.bias)


def literal_half(own, other, half, scale):
    """Eq. 11 and 13."""
    ssa = literal_attention(*literal_projections(own, half.ssa.query_key_value, 3), half.ssa.attending, scale)
    query = literal_projections(own, half.sca.query, 1)
    key_value = literal_projections(other, half.sca.key_value, 2)
    sca = literal_attention(*query, *key_value, half.sca.attending, scale)
    mixed = own + ssa + sca
    return mixed + literal_fls(literal_fls(mixed, half.fls1), half.fls2)


def literal_network(network, features):
    first, second = (literal_encoder(features[name], network, name) for name in ("gcc_phat", "log_mel"))
    for block in network.blocks:
        scale = network.config.scale
        first, second = literal_half(first, second, block.halves[0], scale), literal_half(second, first, block.halves[1], scale)
    accumulated = sum(torch.cat([a, b], -1) for a, b in zip(first, second, strict=True))
    pooled = accumulated.mean(1)
    return network.azimuth(pooled), network.label(pooled), (first, second)


@pytest.mark.parametrize(("blocks", "time_steps"), [(1, 2), (2, 3), (1, 1)])
def test_network_equals_the_papers_equations(blocks, time_steps):
    network, features = made_network(blocks=blocks, time_steps=time_steps, scale=2.0).eval(), made_features()
    with torch.no_grad():
        azimuth, label, streams = literal_network(network, features)
        found = network(features)
    assert torch.allclose(found.azimuth, azimuth, atol=1e-10)
    assert torch.allclose(found.label, label, atol=1e-10)
    assert all(stream.max() >= 2 for stream in streams)
    assert [name for name, spikes in spikes_of(network, features)[1].items() if not spikes.any()] == []


def test_spikes_are_zero_or_one_everywhere_and_streams_small_whole_numbers():
    network, streams = made_network(blocks=2), []
    for block in network.blocks:
        block.register_forward_hook(lambda _block, _inputs, out: streams.extend(out))
    _, spikes = spikes_of(network, made_features())
    assert len(spikes) == 2 + 2 * 2 * 9
    silent = [name for name, values in spikes.items() if set(values.unique().tolist()) != {0.0, 1.0}]
    assert silent == []
    for number, stream in enumerate(streams):
        assert torch.equal(stream, stream.round())
        assert stream.min() >= 0 and stream.max() <= 1 + 3 * (1 + number // 2)


def test_what_does_not_depend_on_time_is_computed_once():
    network, rows = made_network(time_steps=5), []
    for encoder in network.encoders.values():
        encoder.dense.register_forward_hook(lambda _layer, _inputs, out: rows.append(tuple(out.shape)))
    network(made_features())
    assert rows == [(1, 3, 4, 16)] * 2


@pytest.mark.parametrize("norm", ["dsln", "layer", "variant_layer", "batch"])
@pytest.mark.parametrize("variance", ["layer", "frame", "token"])
def test_gradients_reach_every_parameter(norm, variance):
    if norm != "dsln" and variance != "layer":
        return
    network = made_network(norm=norm, variance=variance)
    output = network(made_features())
    (output.azimuth.square().sum() + output.label.square().sum()).backward()
    assert [name for name, parameter in network.named_parameters() if not parameter.grad.abs().sum() > 0] == []


# ---- settings


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_are_those_of_the_tables_for_both_networks(preset):
    blocks, width = (int(part) for part in preset.split("-"))
    network = SpikSLCNet(SpikSlcNetConfig(**PRESETS[preset]), SHAPES, CLASSES)
    twin = SLCNet(SlcNetConfig(**PRESETS[preset]), SHAPES, CLASSES)
    assert (len(network.blocks), network.azimuth.in_features) == (blocks, 2 * width)
    assert network.time_steps == 2
    assert parameter_count(network) == parameter_count(twin)
    assert list(network.weighted_layers()) == list(twin.weighted_layers())


@pytest.mark.parametrize("frames", [1, 2, 9, 40])
@pytest.mark.parametrize("network", [made_network, lambda: SLCNet(SlcNetConfig(**SMALL), SHAPES, CLASSES).double()])
def test_any_number_of_frames(network, frames):
    output = network().eval()(made_features(frames=frames))
    assert output.azimuth.shape == (3, 360)
    assert output.label.shape == (3, CLASSES)


def test_same_seed_same_network_same_answer():
    features = made_features()
    first, second = made_network()(features), made_network()(features)
    assert torch.equal(first.azimuth, second.azimuth)
    assert torch.equal(first.label, second.label)


def test_range_of_the_training_split_scales_the_features():
    network, features = made_network().eval(), made_features()
    before = network(features)
    network.scaling["gcc_phat"].set_range(torch.tensor(-1.0), torch.tensor(3.0))
    network.scaling["log_mel"].set_range(torch.full((2, 5, 1), -80.0), torch.full((2, 5, 1), 20.0))
    after = network({"gcc_phat": features["gcc_phat"] * 4 - 1, "log_mel": features["log_mel"] * 100 - 80})
    assert torch.allclose(before.azimuth, after.azimuth, atol=1e-9)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"width": 100}, "`width` = 100 is no multiple of `heads` = 8"),
        ({"variance": "frame", "norm": "layer"}, '`variance` = "frame" needs `norm` = "dsln"'),
        ({"norm": "group"}, "`norm` = 'group'"),
        ({"time_step": 2}, "did you mean `time_steps`"),
        ({"time_steps": 0}, "`time_steps` = 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused_in_one_line(values, message):
    with pytest.raises(CatalogError) as error:
        validated(SpikSlcNetConfig, values, "network")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_features_that_do_not_fit_are_refused():
    network, features = made_network(), made_features()
    with pytest.raises(AudioDataError, match="expected gcc_phat and log_mel, got gcc_phat"):
        network({"gcc_phat": features["gcc_phat"]})
    with pytest.raises(AudioDataError, match="got 4 of gcc_phat and 6 of log_mel"):
        network(features | {"log_mel": made_features(frames=6)["log_mel"]})
    with pytest.raises(AudioDataError, match="expected two, such as gcc_phat and log_mel, got gcc_phat"):
        SpikSLCNet(SpikSlcNetConfig(), {"gcc_phat": (6, 51, 27)}, CLASSES)
    with pytest.raises(AudioDataError, match="expected 4 frames"):
        made_network(variance="frame")(made_features(frames=5))


# ---- the twin and the operations


def test_twin_is_the_network_of_rectifiers_and_softmax_attention():
    torch.manual_seed(0)
    twin, features = SLCNet(SlcNetConfig(**SMALL), SHAPES, CLASSES).double().eval(), made_features()
    streams = []
    for name, encoder in twin.encoders.items():
        frames = features[name].flatten(1, 2).transpose(1, 2)
        streams.append(F.layer_norm(encoder.dense.linear(frames), (16,), encoder.dense.norm.weight, encoder.dense.norm.bias).relu())
    halves = twin.blocks[0].halves
    streams = [literal_twin_half(*pair, half) for pair, half in zip((streams, streams[::-1]), halves, strict=True)]
    pooled = torch.cat(streams, -1).mean(1)
    assert torch.allclose(twin(features).azimuth, twin.azimuth(pooled), atol=1e-10)
    assert torch.allclose(twin(features).label, twin.label(pooled), atol=1e-10)


def literal_twin_half(own, other, half):
    def attention(query, key, value, attending):
        split = zip(*(tokens.chunk(4, -1) for tokens in (query, key, value)), strict=True)
        heads = [torch.softmax(q @ k.mT / q.shape[-1] ** 0.5, -1) @ v for q, k, v in split]
        return literal_bn(attending.dense.linear(torch.cat(heads, -1)), attending.dense.norm).relu()

    def project(tokens, dense, parts):
        return literal_bn(dense.linear(tokens), dense.norm).chunk(parts, -1)

    def fls(tokens, layer):
        return layer.linear(F.layer_norm(tokens, tokens.shape[-1:], layer.norm.weight, layer.norm.bias)).relu()

    ssa = attention(*project(own, half.ssa.query_key_value, 3), half.ssa.attending)
    sca = attention(*project(own, half.sca.query, 1), *project(other, half.sca.key_value, 2), half.sca.attending)
    mixed = own + ssa + sca
    return mixed + fls(fls(mixed, half.fls1), half.fls2)


def test_operations_are_counted_with_additions_where_spikes_arrive():
    network, twin = made_network().eval(), SLCNet(SlcNetConfig(**SMALL), SHAPES, CLASSES).double()
    folded, meters, arriving = network.fold(), {}, []
    folded.blocks[0].halves[0].fls1.linear.register_forward_pre_hook(lambda _layer, inputs: arriving.append(inputs[0].sum().item()))
    for name, counted in (("network", network), ("folded", folded), ("twin", twin)):
        meters[name] = Meter(counted)
        with meters[name].watching(), torch.no_grad():
            counted(made_features(examples=1))
    attention = "blocks.0.halves.0.ssa.query_key_value.linear"
    assert meters["twin"].macs[attention] == 4 * 16 * 48
    assert meters["network"].synaptic_operations[attention] > 0
    assert meters["network"].macs["encoders.gcc_phat.dense.linear"] == meters["twin"].macs["encoders.gcc_phat.dense.linear"] == 4 * 21 * 16
    dense = "blocks.0.halves.0.fls1.linear"
    assert meters["network"].macs[dense] == 3 * meters["twin"].macs[dense]
    assert meters["folded"].synaptic_operations[dense] == arriving[0] * 32 > 0
    assert dense not in meters["folded"].macs
    assert list(network.product_layers()) == [f"blocks.0.halves.{half}.{kind}.attending.product" for half in (0, 1) for kind in ("ssa", "sca")]
    assert list(twin.product_layers()) == list(network.product_layers())


# ---- learning


def made_task(examples, seed):
    """Two pairs of microphones at right angles: the peaks' lags are cosine and sine of the azimuth; the bands tell the class."""
    generator = torch.Generator().manual_seed(seed)
    azimuth, label = torch.randint(12, (examples,), generator=generator) * 30.0, torch.randint(3, (examples,), generator=generator)
    lag = 4 * torch.stack([azimuth.deg2rad().cos(), azimuth.deg2rad().sin()], 1)  # [B, pair]
    peaks = torch.exp(-((torch.arange(-5, 6.0).view(1, 1, 11, 1) - lag[:, :, None, None]) ** 2) / 2)
    bands = torch.eye(3).repeat_interleave(2, 1)[label].view(examples, 1, 6, 1)

    def noisy(values):
        return values + 0.1 * torch.randn(*values.shape[:3], 5, generator=generator)

    return {"gcc_phat": noisy(peaks), "log_mel": noisy(bands)}, azimuth, label


def test_learns_where_and_what_in_a_few_steps():
    torch.manual_seed(0)
    features, azimuth, label = made_task(384, 0)
    network = SpikSLCNet(SpikSlcNetConfig(blocks=1, width=32, heads=4), {name: values.shape[1:] for name, values in features.items()}, 3)
    optimizer, generator = torch.optim.AdamW(network.parameters(), 4e-3), torch.Generator().manual_seed(0)
    for _ in range(10):
        for rows in torch.randperm(384, generator=generator).split(48):
            output = network({name: values[rows] for name, values in features.items()})
            loss = 0.99 * F.mse_loss(output.azimuth, azimuth_target(azimuth[rows], 10.0)) + 0.01 * F.cross_entropy(output.label, label[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    unseen, azimuth, label = made_task(120, 1)
    with torch.no_grad():
        output = network.eval().fold()(unseen)
    error = circular_distance_deg(decode_azimuth(output.azimuth), azimuth)
    assert (error < 15).float().mean() > 0.9
    assert (output.label.argmax(1) == label).float().mean() > 0.9
