"""The SLoClas authors' network: its 618 inputs, its sizes by hand, scaling per frame and part, sub-frames, learning."""

import pytest
import torch

from audiodata.errors import AudioDataError
from models.located import azimuth_target, decode_azimuth
from models.metrics import Meter, parameter_count
from models.sloclas_slcnet import SloclasSlcnet, SloclasSlcnetConfig

PUBLISHED = {"gcc_phat": (6, 51, 27), "mfcc": (1, 39, 8 * 27)}


def made(shapes=PUBLISHED, classes=10, **settings):
    torch.manual_seed(0)
    return SloclasSlcnet(SloclasSlcnetConfig(**settings), shapes, classes)


def examples(shapes, count=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(count, *shape, generator=generator) for name, shape in shapes.items()}


def test_the_published_input_has_618_values_and_the_parameters_are_those_of_618_1024_1024():
    network = made()
    assert network.dense1.in_features == 618
    assert parameter_count(network) == (618 * 1024 + 1024) + (1024 * 1024 + 1024) + 2 * 2 * 1024 + 1025 * (360 + 10)


def test_operations_by_hand():
    shapes = {"gcc_phat": (1, 3, 4), "log_mel": (2, 5, 4)}
    network = made(shapes, 2, hidden=6)
    meter = Meter(network)
    with meter.watching():
        network.eval()(examples(shapes, 2))
    assert meter.macs == {"dense1": 2 * 4 * 8 * 6, "dense2": 2 * 4 * 6 * 6, "azimuth_head": 2 * 6 * 360, "label_head": 2 * 6 * 2}


def test_each_frame_and_each_part_is_scaled_by_itself():
    shapes = {"gcc_phat": (2, 3, 2), "log_mel": (2, 4, 2)}
    network, features = made(shapes), examples(shapes)
    vectors = network.vectors(features)
    assert vectors.shape == (3, 2, 6 + 4)
    for part in (vectors[..., :6], vectors[..., 6:]):
        assert part.amin(-1).eq(0).all()
        assert part.amax(-1).eq(1).all()
    by_hand = features["gcc_phat"][1, :, :, 1].flatten()
    torch.testing.assert_close(vectors[1, 1, :6], (by_hand - by_hand.min()) / (by_hand.max() - by_hand.min()))
    louder = {"gcc_phat": features["gcc_phat"] * 3, "log_mel": features["log_mel"] + 20}
    torch.testing.assert_close(network.vectors(louder), vectors)


def test_a_frame_without_differences_is_0():
    shapes = {"gcc_phat": (2, 3, 2), "log_mel": (1, 4, 2)}
    silent = {name: torch.full((1, *shape), -100.0) for name, shape in shapes.items()}
    assert not made(shapes).vectors(silent).any()


def test_only_the_first_channel_and_mfcc_before_log_mel():
    shapes = {"gcc_phat": (1, 3, 2), "log_mel": (2, 7, 2), "mfcc": (2, 4, 2)}
    network, features = made(shapes).eval(), examples(shapes)
    before = network(features)
    features["log_mel"] += 1
    features["mfcc"][:, 1] = 5.0
    assert torch.equal(network(features).label, before.label)
    features["mfcc"][:, 0, 0] = 5.0
    assert not torch.equal(network(features).label, before.label)


@pytest.mark.parametrize(("frames", "sub_frames"), [(4, 1), (5, 2), (8, 2), (25, 7), (32, 8)])
def test_sub_frames_stay_in_order_and_the_last_ones_are_repeated(frames, sub_frames):
    shapes = {"gcc_phat": (1, 3, 4), "mfcc": (1, 1, frames)}
    network = made(shapes)
    assert network.dense1.in_features == 3 + sub_frames
    steps = torch.arange(frames, dtype=torch.float32)
    seen = network.vectors({"gcc_phat": torch.zeros(1, 1, 3, 4), "mfcc": steps.reshape(1, 1, 1, -1)})[0, :, 3:]
    whole = steps.clone().tolist() + [frames - 1.0] * (4 * sub_frames - frames)
    expected = torch.tensor(whole).reshape(4, sub_frames)
    low, high = expected.aminmax(dim=1, keepdim=True)
    torch.testing.assert_close(seen, (expected - low) / (high - low).clamp_min(1e-9))


def test_gradients_reach_every_parameter():
    network = made(hidden=32)
    output = network(examples(PUBLISHED))
    (output.azimuth.square().sum() + output.label.square().sum()).backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in network.parameters())


def test_dropout_follows_its_generator():
    network, features = made(hidden=32, dropout=0.5), examples(PUBLISHED)
    first, again, other = (network(features, torch.Generator().manual_seed(seed)).label for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        ({"gcc_phat": (6, 51, 27)}, ["mfcc", "log_mel"]),
        ({"gcc_phat": (6, 51, 27), "log_mel": (4, 51, 14)}, ["14 and 27", "hop_length"]),
    ],
)
def test_features_that_do_not_fit_are_one_line(shapes, words):
    with pytest.raises(AudioDataError) as error:
        made(shapes)
    assert "\n" not in str(error.value)
    assert all(word in str(error.value) for word in words)


def test_learns_directions_and_classes():
    shapes = {"gcc_phat": (1, 12, 3), "log_mel": (1, 6, 3)}
    lag = torch.arange(12).repeat(2)
    band = (torch.arange(24) * 5) % 6
    features = {name: 0.3 * values for name, values in examples(shapes, 24).items()}
    features["gcc_phat"][torch.arange(24), 0, lag] += 2
    features["log_mel"][torch.arange(24), 0, band] += 2
    network = made(shapes, 6, hidden=64, dropout=0.0)
    optimizer, azimuth = torch.optim.Adam(network.parameters(), 3e-3), 30.0 * lag
    for _ in range(150):
        output = network(features)
        loss = (output.azimuth - azimuth_target(azimuth)).square().sum(1).mean() + torch.nn.functional.cross_entropy(output.label, band)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    output = network.eval()(features)
    assert (decode_azimuth(output.azimuth) == azimuth).float().mean() > 0.9
    assert (output.label.argmax(1) == band).float().mean() > 0.9
