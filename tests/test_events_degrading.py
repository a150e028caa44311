"""Degraded recordings: as much as was asked for, evenly over time and addresses, and nothing else changed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiodata.errors import FeatureError
from audiodata.events.degrading import add_noise, drop, jitter, silence
from audiodata.events.record import make_events

WINDOW_US = 50_000


def recording(count=400, sensor_size=(6, 5, 2), seed=0, window_us=WINDOW_US):
    rng = np.random.default_rng(seed)
    columns, rows, polarities = sensor_size
    y = rng.integers(0, rows, count) if rows > 1 else None
    t = np.sort(rng.integers(0, window_us, count))
    return make_events(t, rng.integers(0, columns, count), y, rng.integers(0, polarities, count), sensor_size)


SENSORS = st.sampled_from([(6, 5, 2), (9, 7, 1), (64, 1, 1), (64, 1, 2)])
RECORDINGS = st.builds(recording, st.integers(0, 60), SENSORS, st.integers(0, 99))
SEEDS = st.integers(0, 2**32 - 1)
WAYS = {
    "drop": lambda events, amount, rng: drop(events, amount, rng),
    "noise": lambda events, amount, rng: add_noise(events, 300 * amount, WINDOW_US, rng),
    "jitter": lambda events, amount, rng: jitter(events, 20_000 * amount, WINDOW_US, rng),
    "silence": lambda events, amount, rng: silence(events),
}


@pytest.mark.parametrize("way", WAYS)
@given(events=RECORDINGS, amount=st.floats(0, 1), seed=SEEDS)
def test_what_comes_out_is_a_recording_of_the_same_sensor(way, events, amount, seed):
    before = events.array.copy()
    found = WAYS[way](events, amount, np.random.default_rng(seed))
    assert found.sensor_size == events.sensor_size and found.array.dtype == events.array.dtype and found.sense == events.sense
    names = found.array.dtype.names
    make_events(*(found.array[name] if name in names else None for name in "txyp"), found.sensor_size)  # sorted, addresses inside
    assert len(found.array) == 0 or (found.array["t"][0] >= 0 and found.array["t"][-1] < WINDOW_US)
    np.testing.assert_array_equal(events.array, before)
    np.testing.assert_array_equal(found.array, WAYS[way](events, amount, np.random.default_rng(seed)).array)


@pytest.mark.parametrize("way", ["drop", "noise", "jitter"])
@given(events=RECORDINGS, seed=SEEDS)
def test_an_amount_of_zero_changes_nothing(way, events, seed):
    np.testing.assert_array_equal(WAYS[way](events, 0.0, np.random.default_rng(seed)).array, events.array)


@given(events=RECORDINGS, shares=st.tuples(st.floats(0, 1), st.floats(0, 1)).map(sorted), seed=SEEDS)
def test_what_a_larger_share_leaves_is_part_of_what_a_smaller_one_leaves(events, shares, seed):
    numbered = events._replace(array=events.array.copy())
    numbered.array["t"] = np.arange(len(events.array))
    more, fewer = (drop(numbered, share, np.random.default_rng(seed)).array["t"] for share in shares)
    assert set(fewer) <= set(more)


@given(events=RECORDINGS, std_us=st.floats(0, 1e6), seed=SEEDS)
def test_jitter_moves_times_alone(events, std_us, seed):
    found = jitter(events, std_us, WINDOW_US, np.random.default_rng(seed)).array
    addresses = [name for name in found.dtype.names if name != "t"]
    assert sorted(found[addresses].tolist()) == sorted(events.array[addresses].tolist())


def test_all_or_none():
    events, rng = recording(), np.random.default_rng(0)
    assert len(drop(events, 1.0, rng).array) == len(silence(events).array) == 0
    assert len(drop(events, 0.0, rng).array) == 400


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_share_of_the_events_is_lost_wherever_and_whenever_they_are(share):
    events = recording(200_000, window_us=10**6)
    left = drop(events, share, np.random.default_rng(1)).array
    deviation = np.sqrt(share * (1 - share))
    assert abs(len(left) / 200_000 - (1 - share)) < 5 * deviation / np.sqrt(200_000)
    for name, bins in (("t", 10), ("x", 6), ("y", 5), ("p", 2)):
        limits = np.histogram_bin_edges(events.array[name], bins)
        all_of, left_of = (np.histogram(array[name], limits)[0] for array in (events.array, left))
        assert np.all(np.abs(left_of / all_of - (1 - share)) < 5 * deviation / np.sqrt(all_of)), name


@pytest.mark.parametrize("sensor_size", [(6, 5, 2), (64, 1, 1)])
def test_noise_is_a_poisson_process_at_each_address(sensor_size):
    columns, rows, polarities = sensor_size
    rate_hz, window_us = 2000.0, 2_000_000
    added = add_noise(recording(0, sensor_size), rate_hz, window_us, np.random.default_rng(2)).array
    address = added["x"] + (columns * added["y"] if rows > 1 else 0)
    counts, expected = np.bincount(address, minlength=columns * rows), rate_hz * window_us / 1e6
    assert len(counts) == columns * rows and np.all(np.abs(counts - expected) < 5 * np.sqrt(expected))
    ms = [np.bincount(added["t"][address == one] // 1000, minlength=2000) for one in range(columns * rows)]
    assert np.var(ms) / np.mean(ms) == pytest.approx(1.0, abs=0.03)  # of a Poisson process 1
    gaps = np.diff(added["t"][address == 0])
    assert np.std(gaps) / np.mean(gaps) == pytest.approx(1.0, abs=0.08)  # of exponential intervals 1
    polarity = np.bincount(added["p"], minlength=polarities) / len(added)
    assert polarity == pytest.approx(1 / polarities, abs=0.02)


def test_recorded_events_stay_among_the_noise():
    events = recording()
    noisy = add_noise(events, 500.0, WINDOW_US, np.random.default_rng(3)).array
    left = noisy.tolist()
    for event in events.array.tolist():
        left.remove(event)
    assert len(left) == len(noisy) - 400 > 0


def test_jitter_has_the_deviation_that_was_asked_for():
    events, std_us = recording(50_000, window_us=10**9), 3000.0
    numbered = events._replace(array=events.array[np.arange(50_000)])
    numbered.array["x"] = np.arange(50_000) % 30_000
    order = np.argsort(numbered.array["t"], kind="stable")
    assert np.array_equal(order, np.arange(50_000))
    found = jitter(numbered._replace(array=numbered.array[:30_000]), std_us, 10**9, np.random.default_rng(4)).array
    shifts = np.empty(30_000)
    shifts[found["x"]] = found["t"]
    shifts -= numbered.array["t"][:30_000]
    assert np.std(shifts) == pytest.approx(std_us, rel=0.03) and abs(np.mean(shifts)) < 5 * std_us / np.sqrt(30_000)


@pytest.mark.parametrize("std_us", [100.0, 20_000.0, 1e6])
def test_what_was_spread_evenly_stays_so_up_to_the_edges(std_us):
    found = jitter(recording(100_000), std_us, WINDOW_US, np.random.default_rng(5)).array["t"]
    counts = np.bincount(found // 1000, minlength=50)
    assert len(counts) == 50 and np.all(np.abs(counts - 2000) < 5 * np.sqrt(2000))


@pytest.mark.parametrize(("call", "message"), [
    (lambda events, rng: drop(events, 1.5, rng), "share of events to drop is 1.5, expected 0 to 1"),
    (lambda events, rng: drop(events, float("nan"), rng), "share of events to drop is nan"),
    (lambda events, rng: add_noise(events, -1.0, 10, rng), "rate of noise events is -1 Hz"),
    (lambda events, rng: jitter(events, float("inf"), 10**6, rng), "deviation of the jitter is inf us"),
    (lambda events, rng: jitter(events, 1.0, 1000, rng), "do not lie in a window of 1000 us; cut them first"),
])
def test_wrong_amounts_are_one_clear_line(call, message):
    with pytest.raises(FeatureError, match=message) as caught:
        call(recording(), np.random.default_rng(0))
    assert "\n" not in str(caught.value)
