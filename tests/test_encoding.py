"""Encodings: what a decoder can read back, closed formulas, and snnTorch's spike generators where there are any."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audiodata.errors import AudioDataError
from models import encoding_kernels
from models.encoding import ENCODINGS, burst, delta, direct, encode, latency, phase, phase_weights, rate, ttfs

OF_VALUES = sorted(set(ENCODINGS) - {"delta"})
VALUES = st.lists(st.floats(0, 1, width=32), min_size=1, max_size=30).map(torch.tensor)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def first_spike(spikes):
    """Step of the first spike, T where there is none."""
    steps = torch.arange(len(spikes)).view(-1, *[1] * (spikes.dim() - 1))
    return torch.where(spikes > 0, steps, len(spikes)).amin(0)


@pytest.mark.parametrize("name", OF_VALUES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_encoding_puts_time_first(name, dtype):
    values = torch.rand(4, 3, 5, generator=seeded(), dtype=dtype)
    spikes = encode(values, name, 16, seeded())
    assert spikes.shape == (16, 4, 3, 5)
    assert spikes.dtype == dtype
    assert name == "direct" or set(spikes.unique().tolist()) == {0.0, 1.0}


@pytest.mark.parametrize("name", OF_VALUES)
def test_an_example_doesnt_depend_on_its_batch(name):
    if name == "rate":
        pytest.skip("rate draws for the batch as a whole")
    values = torch.rand(6, 20, generator=seeded(3))
    assert torch.equal(encode(values, name, 12)[:, 2:3], encode(values[2:3], name, 12))


@pytest.mark.parametrize("name", sorted(ENCODINGS))
def test_no_values_and_one_step(name):
    assert (
        encode(
            torch.zeros(1, 0), name, 1, seeded(), **({"max_spikes": 1, "min_interval": 1} if name == "burst" else {})
        ).numel()
        == 0
    )


def test_direct_repeats_without_a_copy():
    values = torch.rand(3, 4, requires_grad=True)
    repeated = direct(values, 7)
    assert repeated.data_ptr() == values.data_ptr()
    assert repeated.stride(0) == 0
    repeated.sum().backward()
    assert values.grad.unique().tolist() == [7.0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_rate_means_the_value(dtype):
    """5 standard deviations of a binomial: over 101 values a fair coder fails once in 17,000 seeds."""
    steps, values = 4000, torch.linspace(0, 1, 101).to(dtype)
    mean = rate(values, steps, seeded(1)).double().mean(0)
    p = values.double()
    assert ((mean - p).abs() <= 5 * (p * (1 - p) / steps).sqrt()).all()
    assert (mean[0], mean[-1]) == (0, 1)


def test_rate_draws_independently_over_time_and_place():
    spikes = rate(torch.full((300,), 0.4), 2000, seeded(2)) - 0.4
    bound = 5 * 0.24 / math.sqrt(spikes.numel())
    for shifted in ((spikes[1:] * spikes[:-1]), (spikes[:, 1:] * spikes[:, :-1]), (spikes[1:, 1:] * spikes[:-1, :-1])):
        assert abs(shifted.mean().item()) < 1.1 * bound
    counts = spikes.add(0.4).sum(0)
    assert counts.var().item() == pytest.approx(2000 * 0.24, rel=0.4)


def splitmix64(number):
    """Hash of SplitMix64 (Steele, Lea & Flood 2014) in whole numbers of Python."""
    number = (number ^ (number >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    number = (number ^ (number >> 27)) * 0x94D049BB133111EB % 2**64
    return number ^ (number >> 31)


def test_rate_draws_from_splitmix64():
    gamma, seed = 0x9E3779B97F4A7C15, 1234567
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    assert [splitmix64((seed + n * gamma) % 2**64) for n in range(1, 5)] == published
    values, spikes = np.linspace(0.1, 0.9, 40), np.empty((25, 40))
    encoding_kernels.bernoulli(values, spikes, np.uint64(2**64 - 12345))
    place = range(25 * 40)
    uniform = [(splitmix64((2**64 - 12345 + n * gamma) % 2**64) >> 40) / 2**24 for n in place]
    assert np.array_equal(spikes, np.reshape(uniform, (25, 40)) < values)


@pytest.mark.parametrize("name", ["rate"])
def test_same_seed_same_spikes(name):
    values = torch.rand(50, generator=seeded(4))
    generator = seeded(9)
    first, second = encode(values, name, 30, generator), encode(values, name, 30, generator)
    assert torch.equal(first, encode(values, name, 30, seeded(9)))
    assert not torch.equal(first, second)
    assert not torch.equal(first, encode(values, name, 30, seeded(10)))


def test_rate_leaves_the_global_generator_alone():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    rate(torch.rand(10, generator=seeded()), 5, seeded())
    assert torch.equal(torch.get_rng_state(), before)


@settings(max_examples=60, deadline=None)
@given(values=VALUES, steps=st.integers(1, 60))
def test_regular_rate_is_as_even_as_can_be(values, steps):
    values = values.double()
    spikes = rate(values, steps, regular=True)
    so_far = spikes.cumsum(0)
    ideal = values * torch.arange(1, steps + 1, dtype=torch.float64).unsqueeze(1)
    assert ((so_far - ideal).abs() <= 0.5 + 1e-9).all()
    assert set(spikes.unique().tolist()) <= {0.0, 1.0}


@settings(max_examples=60, deadline=None)
@given(
    values=VALUES,
    steps=st.integers(2, 60),
    threshold=st.sampled_from([0.01, 0.2, 0.5]),
    tau=st.sampled_from([1.0, 0.4, 5.0]),
    batch=st.booleans(),
    linear=st.booleans(),
    clip=st.booleans(),
)
def test_latency_equals_snntorch(values, steps, threshold, tau, batch, linear, clip):
    spikegen = pytest.importorskip("snntorch.spikegen")
    wanted = {"tau": tau, "threshold": threshold, "linear": linear, "clip": clip}
    try:
        expected = spikegen.latency(values, num_steps=steps, normalize=batch, **wanted)
    except Exception as error:  # theirs raises plain Exceptions
        assert "out of bounds" in str(error)
        with pytest.raises(AudioDataError, match="behind the last"):
            latency(values, steps, normalize="none", **wanted)
        return
    assert torch.equal(latency(values, steps, normalize="batch" if batch else "none", **wanted), expected)


@pytest.mark.parametrize("linear", [False, True])
def test_latency_is_earlier_for_brighter_and_exact(linear):
    values = torch.linspace(0, 1, 201, dtype=torch.float64)
    spikes = latency(values, 50, linear=linear)
    assert (spikes.sum(0) == 1).all()
    times = first_spike(spikes)
    assert (times.diff() <= 0).all()
    assert times[0] == 49
    assert times[-1] == 0
    slowest = math.log((0.01 + 1e-7) / 1e-7)
    for value, time in zip(values.tolist()[4:], times.tolist()[4:], strict=True):
        exact = 49 * (1 - value) if linear else 49 * math.log(value / (value - 0.01)) / slowest
        assert abs(time - exact) <= 0.5 + 1e-9


def test_latency_below_threshold_is_last_or_clipped():
    values = torch.tensor([0.0, 0.05, 0.3])
    assert first_spike(latency(values, 10, threshold=0.1))[:2].tolist() == [9, 9]
    assert latency(values, 10, threshold=0.1, clip=True).sum(0).tolist() == [0, 0, 1]


@pytest.mark.parametrize("options", [{}, {"off_spike": True}, {"padding": True}, {"off_spike": True, "padding": True}])
def test_delta_equals_snntorch(options):
    spikegen = pytest.importorskip("snntorch.spikegen")
    signal = torch.rand(40, 3, 5, generator=seeded(6))
    expected = spikegen.delta(signal, threshold=0.2, **options)
    ours = {"off_spikes": options.get("off_spike", False), "padding": options.get("padding", False)}
    assert torch.equal(encode(signal, "delta", 40, threshold=0.2, **ours), expected)


@pytest.mark.parametrize("track", [False, True])
def test_delta_rebuilds_a_staircase(track):
    stairs = torch.tensor([0, 0, 1, 2, 2, 3, 2, 1, 1, 0, 1, 1]) * 0.25
    spikes = delta(stairs.unsqueeze(1), threshold=0.25, off_spikes=True, track=track)
    assert torch.equal(0.25 * spikes.cumsum(0).flatten(), stairs)


def test_tracking_delta_follows_a_slow_signal():
    time = torch.linspace(0, 6.28, 400, dtype=torch.float64)
    signal = 0.5 - 0.4 * torch.cos(time).unsqueeze(1)
    spikes = delta(signal, threshold=0.02, off_spikes=True, padding=True, track=True)
    rebuilt = signal[0] + 0.02 * spikes.cumsum(0)
    assert (rebuilt - signal).abs().max() < 0.02 + 1e-9
    assert delta(signal, threshold=0.02, off_spikes=True, padding=True).abs().sum() == 0  # no single step is that high


@settings(max_examples=60, deadline=None)
@given(values=VALUES, digits=st.integers(1, 23), periods=st.integers(1, 3))
def test_phase_rebuilds_the_value(values, digits, periods):
    spikes = phase(values.double(), digits * periods, phases=digits)
    weights = phase_weights(digits * periods, digits).double().unsqueeze(1)
    rebuilt = (weights * spikes).sum(0) / periods
    error = values.double() - rebuilt
    assert (error >= 0).all()
    assert (error <= 2.0**-digits).all()
    assert torch.equal(rebuilt, (values.double() * 2**digits).floor().clamp(max=2**digits - 1) / 2**digits)


def test_phase_written_out():
    assert phase(torch.tensor([0.8125]), 6, phases=4).flatten().tolist() == [1, 1, 0, 1, 1, 1]
    assert phase_weights(6, 4).tolist() == [0.5, 0.25, 0.125, 0.0625, 0.5, 0.25]


@settings(max_examples=80, deadline=None)
@given(values=VALUES, steps=st.integers(9, 60), max_spikes=st.integers(1, 5), min_interval=st.integers(1, 2))
def test_burst_has_as_many_spikes_as_the_value_says(values, steps, max_spikes, min_interval):
    spikes = burst(values, steps, max_spikes=max_spikes, min_interval=min_interval)
    assert torch.equal(spikes.sum(0), (max_spikes * values).ceil())
    for train in spikes.T:
        gaps = train.nonzero().flatten().diff()
        assert gaps.numel() == 0 or (gaps.min() == gaps.max() and gaps.min() >= min_interval)


def test_burst_written_out():
    values = torch.tensor([0.0, 0.2, 0.5, 1.0])
    spikes = burst(values, 10, max_spikes=4, min_interval=1, max_interval=3)
    # intervals: 2 for 0.5 (3 - 2 x 0.5), 1 for 1
    assert [train.nonzero().flatten().tolist() for train in spikes.T] == [[], [0], [0, 2], [0, 1, 2, 3]]


@settings(max_examples=60, deadline=None)
@given(values=VALUES, steps=st.integers(1, 60), tau=st.sampled_from([None, 3.0, 10.0]))
def test_ttfs_is_the_crossing_time(values, steps, tau):
    values = values.double()
    spikes = ttfs(values, steps, tau=tau)
    constant = tau or max(steps - 1, 1) / math.log(100)
    for value, train in zip(values.tolist(), spikes.T, strict=True):
        crossed = [t for t in range(steps) if value >= math.exp(-t / constant) + 1e-12]
        near = any(abs(value - math.exp(-t / constant)) <= 1e-12 for t in range(steps))
        if not near:
            assert train.nonzero().flatten().tolist() == crossed[:1]


def test_ttfs_spikes_exactly_once_and_brighter_is_earlier():
    values = torch.linspace(0.011, 1, 150)
    for spikes in (ttfs(values, 32), ttfs(torch.linspace(0, 1, 150), 32, linear=True)):
        assert (spikes.sum(0) == 1).all()
        assert (first_spike(spikes).diff() <= 0).all()
        assert first_spike(spikes)[-1] == 0
    assert ttfs(torch.zeros(3), 32).sum() == 0


BAD = {
    "unknown name": lambda: encode(torch.rand(3), "poisson", 5),
    "unknown option": lambda: encode(torch.rand(3), "latency", 5, beta=1.0),
    "too large": lambda: encode(torch.tensor([0.5, 1.5]), "direct", 5),
    "negative": lambda: encode(torch.tensor([-0.1]), "rate", 5, seeded()),
    "nan": lambda: encode(torch.tensor([0.1, math.nan]), "ttfs", 5),
    "integers": lambda: encode(torch.tensor([1]), "phase", 5),
    "no step": lambda: encode(torch.rand(3), "burst", 0),
    "no generator": lambda: encode(torch.rand(3), "rate", 5),
    "late spike": lambda: latency(torch.tensor([0.0]), 5, normalize="none"),
    "normalize": lambda: latency(torch.rand(3), 5, normalize="yes"),
    "threshold": lambda: latency(torch.rand(3), 5, threshold=0.0),
    "delta steps": lambda: delta(torch.rand(4, 2), 5),
    "delta scalar": lambda: delta(torch.tensor(0.5)),
    "delta threshold": lambda: delta(torch.rand(4, 2), threshold=0.0),
    "phases": lambda: phase(torch.rand(3), 5, phases=0),
    "burst too long": lambda: burst(torch.ones(1), 5),
    "burst numbers": lambda: burst(torch.ones(1), 50, min_interval=0),
    "ttfs numbers": lambda: ttfs(torch.ones(1), 5, tau=0.0),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_bad_use_is_explained_in_one_line(bad):
    with pytest.raises(AudioDataError) as caught:
        bad()
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) > 20
