"""The spiking network on phase-coded spikes: sizes by hand, its equations as a loop over time, time steps of frames, learning from real codes."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from array_sounds import SAMPLE_RATE, UNEVEN, heard

from audiodata.errors import AudioDataError
from audiodata.features.mtpc import mtpc
from models.located import azimuth_target, circular_distance_deg, decode_azimuth
from models.metrics import Meter, parameter_count
from models.mtpc_csnn import MtpcCsnn, MtpcCsnnConfig

PUBLISHED = (6, 51 * 40, 27)
SMALL = (3, 10 * 9, 8)


def made(shape=SMALL, **settings):
    torch.manual_seed(0)
    settings = {"n_bands": 10, "channels": (4, 6)} | settings if shape == SMALL else settings
    return MtpcCsnn(MtpcCsnnConfig(**settings), {"mtpc": shape}, 5)


def spikes(shape=SMALL, count=3, share=0.3, seed=0):
    return {"mtpc": (torch.rand(count, *shape, generator=torch.Generator().manual_seed(seed)) < share).float()}


def test_parameters_by_hand():
    # 40 bands x 51 lags become 20 x 25, 10 x 12 and 5 x 6
    convolutions = 9 * (6 * 12 + 12 * 24 + 24 * 48) + (12 + 24 + 48)
    assert parameter_count(made(PUBLISHED)) == convolutions + 2 * (12 + 24 + 48) + 360 * (48 * 5 * 6 + 1)


@pytest.mark.parametrize(("frames", "steps"), [(27, 4), (4, 4), (9, 2), (5, 1)])
def test_frames_are_shared_out_in_order(frames, steps):
    network = made((1, 12, frames), n_bands=4, time_steps=steps, channels=(2,))
    values = torch.rand(2, 1, 12, frames)
    merged = network.steps(values)
    assert merged.shape == (steps, 2, 1, 4, 3)
    bounds = np.array_split(np.arange(frames), steps)
    for step, chosen in zip(merged, bounds, strict=True):
        torch.testing.assert_close(step.flatten(2), values[..., chosen].mean(-1))
    any_spike = made((1, 12, frames), n_bands=4, time_steps=steps, channels=(2,), spikes="any").steps(spikes((1, 12, frames))["mtpc"])
    assert set(any_spike.unique().tolist()) <= {0.0, 1.0}


def test_currents_equal_the_loop_over_time():
    """Layer by layer and step by step as written in the module's text, with the neuron of Wu et al. (2018)."""
    network = made(dropout=0.0, norm="none")
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(3)
    features = spikes()
    sequence = network.steps(features["mtpc"])
    for convolution in network.convolutions:
        potential, fired, found = 0.0, 0.0, []
        for step in sequence:
            current = F.max_pool2d(F.conv2d(step, convolution.weight, convolution.bias, padding=1), 2)
            potential = 0.2 * potential * (1 - fired) + current
            fired = (potential >= 0.5).float()
            found.append(fired)
        sequence = torch.stack(found)
        assert 0 < sequence.mean() < 1
    expected = torch.stack([F.linear(step.flatten(1), network.azimuth_head.weight, network.azimuth_head.bias) for step in sequence]).mean(0)
    torch.testing.assert_close(network(features).azimuth, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("surrogate", ["rectangular", "arctan"])
@pytest.mark.parametrize("norm", ["none", "batch"])
def test_gradients_reach_every_parameter(surrogate, norm):
    network = made(surrogate=surrogate, norm=norm, threshold=0.1)
    network(spikes()).azimuth.square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in network.parameters())


def test_hidden_layers_spike_and_operations_are_counted():
    network = made(spikes="any", dropout=0.0)
    meter = Meter(network)
    with meter.watching():
        network(spikes())
    assert set(meter.spikes) == {"lif1", "lif2"}
    assert all(0 < meter.spikes[name] < meter.neuron_steps[name] for name in meter.spikes)
    assert meter.synaptic_operations["azimuth_head"] == 360 * meter.spikes["lif2"]
    assert meter.macs == {}
    shares = Meter(made())
    assert set(shares.macs) == {"conv1"}


def test_localizes_only():
    network = made()
    assert not network.classifies
    assert torch.equal(network(spikes()).label, torch.zeros(3, 5))


@pytest.mark.parametrize(
    ("shape", "settings", "words"),
    [
        ((6, 2040, 27), {"n_bands": 50}, ["2040", "n_bands = 50"]),
        ((6, 2040, 3), {}, ["3 frames", "time_steps = 4"]),
        ((1, 40 * 5, 9), {}, ["40 bands x 5 lags", "3 poolings"]),
    ],
)
def test_shapes_that_do_not_fit_are_one_line(shape, settings, words):
    with pytest.raises(AudioDataError) as error:
        made(shape, **settings)
    assert "\n" not in str(error.value)
    assert all(word in str(error.value) for word in words)


def noises(azimuths, seed):
    rng = np.random.default_rng(seed)
    framing = {"sample_rate": SAMPLE_RATE, "window_length": 1024, "hop_length": 512, "max_lag": 10, "n_bands": 16}
    codes = [mtpc(heard(0.1 * rng.standard_normal(2048), UNEVEN, azimuth).astype(np.float32), **framing) for azimuth in azimuths]
    return {"mtpc": torch.from_numpy(np.stack(codes)).movedim(2, 3)}


def test_learns_directions_that_carry_over_to_other_sounds():
    azimuths = np.tile(np.arange(0.0, 360.0, 45.0), 4)
    coded, target = noises(azimuths, 0), azimuth_target(torch.tensor(azimuths, dtype=torch.float32))
    network = made(tuple(coded["mtpc"].shape[1:]), n_bands=16, channels=(8, 16), time_steps=2, dropout=0.0)
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    for _ in range(40):
        loss = (network(coded).azimuth - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    found = decode_azimuth(network.eval()(noises(azimuths, 1)).azimuth)
    assert (circular_distance_deg(found, torch.tensor(azimuths)) <= 5).float().mean() > 0.8
