"""The convolutional network on cross-correlations: sizes and operations by hand, any input size, gradients, learning."""

import numpy as np
import pytest
import torch
from array_sounds import UNEVEN, correlations, heard

from models.gcc_phat_cnn import GccPhatCnn, GccPhatCnnConfig
from models.located import azimuth_target, circular_distance_deg, decode_azimuth
from models.metrics import Meter, parameter_count


def made(shape=(6, 51, 27), classes=10, **settings):
    torch.manual_seed(0)
    return GccPhatCnn(GccPhatCnnConfig(**settings), {"gcc_phat": shape}, classes)


def test_parameters_by_hand():
    # 51 lags become 26, 13 and 7
    convolutions = 9 * (6 * 32 + 32 * 64 + 64 * 128) + 2 * (32 + 64 + 128)
    dense = 7 * 128 * 256 + 2 * 256
    heads = 257 * (360 + 10)
    assert parameter_count(made()) == convolutions + dense + heads


def test_operations_by_hand():
    network = made((1, 4, 3), 2, channels=(2,), hidden=5)
    meter = Meter(network)
    with meter.watching():
        network.eval()({"gcc_phat": torch.rand(1, 1, 4, 3)})
    # kernel places inside the map, for 2 rows of outputs: over lags 2 + 3 rows of 3, over frames 2 + 3 + 2
    assert meter.macs == {"conv1": 2 * (2 + 3) * (2 + 3 + 2), "dense": 3 * 2 * 2 * 5, "azimuth_head": 5 * 360, "label_head": 5 * 2}
    assert meter.spikes == {}


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 51, 27), (3, 7, 2), (15, 401, 5)])
def test_any_number_of_pairs_lags_and_frames(shape):
    output = made(shape, 4).eval()({"gcc_phat": torch.rand(3, *shape)})
    assert (output.azimuth.shape, output.label.shape) == ((3, 360), (3, 4))
    assert output.azimuth.isfinite().all()


def test_gradients_reach_every_parameter():
    network = made()
    output = network({"gcc_phat": torch.rand(4, 6, 51, 27)})
    (output.azimuth.square().sum() + output.label.square().sum()).backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in network.parameters())


def test_dropout_follows_its_generator():
    network, gcc = made(dropout=0.5), {"gcc_phat": torch.rand(4, 6, 51, 27)}
    first, again, other = (network(gcc, torch.Generator().manual_seed(seed)).azimuth for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def noises(azimuths, seed):
    rng = np.random.default_rng(seed)
    return torch.from_numpy(np.stack([correlations(heard(rng.standard_normal(1024), UNEVEN, azimuth)) for azimuth in azimuths]))[..., None]


def test_learns_directions_that_carry_over_to_other_sounds():
    azimuths = np.tile(np.arange(0.0, 360.0, 30.0), 2)
    network = made((6, 51, 1), 2, channels=(8, 16), hidden=64, dropout=0.0)
    gcc, target = noises(azimuths, 0), azimuth_target(torch.tensor(azimuths, dtype=torch.float32))
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    for _ in range(60):
        loss = (network({"gcc_phat": gcc}).azimuth - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    found = decode_azimuth(network.eval()({"gcc_phat": noises(azimuths, 1)}).azimuth)
    assert (circular_distance_deg(found, torch.tensor(azimuths)) <= 5).float().mean() > 0.9
