"""The separating network: lengths, levels, what belongs to its chain, and that it learns to take two voices apart."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mixture_caches import RATE, mixture

from models import MODELS
from models.chain import stages
from models.separation import Separated, Separation
from models.separator import Separator, SeparatorConfig
from models.tandem import convert

SMALL = {"filters": 12, "channels": 8, "dilated_layers": 3, "sample_rate": RATE}


def network(seed=0, **settings):
    torch.manual_seed(seed)
    return Separator(SeparatorConfig(**SMALL | settings)).eval()


@pytest.mark.parametrize("samples", [20, 200, 4000, 32000])
def test_frames_are_as_many_as_the_paper_says(samples):
    frames, context = network().prepare(torch.zeros(1, 1, samples))
    assert frames.shape == (1, 12, 2 * (samples - 20) // 20 + 1) and context.frames.shape == frames.shape


@given(st.integers(1, 150), st.sampled_from([(20, 10), (16, 8), (7, 3), (4, 4)]))
def test_sources_are_exactly_as_long_as_the_mixture(samples, lengths):
    net = network(filter_length=lengths[0], stride=lengths[1], speakers=3)
    mixtures = torch.randn(2, 1, samples)
    found = net(mixtures)
    assert found.sources.shape == (2, 3, samples)
    assert torch.equal(found.mixture, mixtures[:, 0])


def test_every_sample_is_seen_and_made():
    net = network()
    sounds = torch.randn(1, 1, 203, requires_grad=True)
    found = net(sounds).sources
    (gradient,) = torch.autograd.grad(found.square().sum(), sounds)
    assert (gradient != 0).all() and (found != 0).all()


def test_encoder_and_decoder_are_the_convolutions_of_the_definition():
    net = network()
    sounds = torch.randn(1, 1, 60)
    _, context = net.prepare(sounds)
    windows = sounds[0, 0].unfold(0, 20, 10)  # [K, L]
    assert torch.allclose(context.frames[0].T, (windows @ net.encoder.weight[:, 0].T).relu(), atol=1e-6)
    made = torch.zeros(60)
    for number, frame in enumerate(context.frames[0].T):
        made[10 * number : 10 * number + 20] += frame @ net.decoder.weight[:, 0]
    open_masks = torch.full((1, 24, 5), 40.0)
    assert torch.allclose(net.finish(open_masks, context).sources[0], made.expand(2, -1), atol=1e-6)


def test_frames_are_normalised_over_their_channels():
    net = network()
    frames, context = net.prepare(0.01 * torch.randn(2, 1, 400))
    loud = context.frames.square().mean(1) > 1e-8
    assert frames.mean(1)[loud].abs().max() < 1e-5 and (frames.std(1, unbiased=False)[loud] - 1).abs().max() < 1e-3


@pytest.mark.parametrize("level", [0.01, 30.0])
def test_masks_do_not_depend_on_the_level(level):
    net = network()
    sounds = 0.1 * torch.randn(1, 1, 800)
    assert torch.allclose(net(level * sounds).sources, level * net(sounds).sources, rtol=1e-3, atol=1e-5 * level)


def test_the_paper_network_has_its_layers():
    net = Separator(SeparatorConfig())
    convolutions = [layer for layer in net.chain().values() if isinstance(layer, torch.nn.Conv1d)]
    assert [layer.dilation[0] for layer in convolutions] == [1, *(2**power for power in range(10)), 1]
    assert [layer.kernel_size[0] for layer in convolutions] == [1] + 10 * [3] + [1]
    assert (convolutions[0].in_channels, convolutions[-1].out_channels) == (512, 1024)
    found = stages(net.chain())
    assert [stage.rectified for stage in found] == 11 * [True] + [False] and all(stage.norm for stage in found[:-1])
    assert list(net.weighted_layers()) == ["encoder", "entry", *(f"dilated{number}" for number in range(1, 11)), "masks", "decoder"]


def test_frames_stay_in_their_place():
    net = network(dilated_layers=4)
    values = torch.zeros(1, 12, 101)
    changed = values.clone()
    changed[..., 50] = 1
    before, after = (torch.nn.Sequential(*net.chain().values())(each) for each in (values, changed))
    reached = (before != after).any(1)[0].nonzero().flatten()
    assert reached.min() == 50 - 15 and reached.max() == 50 + 15  # 1 + 2 + 4 + 8


@pytest.mark.parametrize("settings", [{"kernel": 2}, {"stride": 21}, {"speakers": 1}])
def test_settings_that_make_no_sense_are_refused(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        SeparatorConfig(**settings)


def test_it_can_be_converted_and_with_many_steps_does_the_same():
    net = network()
    sounds = 0.1 * torch.randn(3, 1, 400)
    wanted = net(sounds).sources
    errors = [(convert(net, sounds, time_steps=steps, percentile=100.0)(sounds).sources - wanted).norm() / wanted.norm() for steps in (4, 64, 1024)]
    assert errors[0] > errors[1] > errors[2] and errors[2] < 0.01


def test_it_learns_to_take_two_mixtures_apart():
    made = torch.from_numpy(mixture(("anna", "carl"), 0)), torch.from_numpy(mixture(("bert", "dora"), 1))
    batch = torch.stack(made)
    features, targets = batch[:, :1], {"sources": batch[:, 1:]}
    net, task = network(filters=32, channels=24).train(), Separation()
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        task.loss(net(features), targets).backward()
        optimizer.step()
    with torch.no_grad():
        scores = task.scores(net(features), targets)
    assert scores["si_sdr_improvement"].value > 6


def test_it_is_registered():
    model = MODELS["separator"]
    found = model.build(model.config(**SMALL), (1, 4000), 0)(torch.zeros(1, 1, 4000))
    assert isinstance(found, Separated) and model.task == "separation" and model.kind == "ANN"
