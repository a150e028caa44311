"""Every event inside the window lands in exactly one step; nothing is rounded, lost or modified."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiodata.errors import ClipError, FeatureError
from audiodata.events.binning import OUTSIDE, frames, frames_shape, step_indices
from audiodata.events.polarities import choose_polarity
from audiodata.events.record import EVENT_1D, EVENT_2D, Events, make_events

ABSOLUTE_US = 1_605_537_493_718_345  # a clock that counts from 1970


def recording(t, size=(5, 4, 2), seed=0):
    """Events at these times and random addresses; a size of one row makes a line of channels."""
    t = np.asarray(t, np.int64)
    x, y, p = (np.random.default_rng(seed).integers(0, end, len(t)) for end in size)
    return make_events(t, x, y if size[1] > 1 else None, p, size)


def random_times(count, end, seed=0):
    return np.sort(np.random.default_rng(seed).integers(0, end, count))


windows = st.tuples(st.integers(1, 70), st.integers(1, 3_000_000), st.integers(-(10**6), 10**16))


@given(windows, st.lists(st.integers(-50, 4_000_000), max_size=60), st.sampled_from([(5, 4, 2), (7, 1, 2), (5, 4, 1)]))
def test_every_event_inside_the_window_lands_in_exactly_one_step(window, elapsed, size):
    time_steps, window_us, start_us = window
    t = np.sort(np.array(elapsed, np.int64)) + start_us
    events = recording(t, size)
    before = events.array.copy()
    made = frames(events, time_steps, window_us, values="count", polarity="both", start_us=start_us)
    inside = [time - start_us for time in t.tolist() if 0 <= time - start_us < window_us]
    assert made.sum() == len(inside)
    expected = Counter(time * time_steps // window_us for time in inside)
    assert {step: int(frame.sum()) for step, frame in enumerate(made) if frame.any()} == expected
    np.testing.assert_array_equal(events.array, before)


@given(windows, st.lists(st.integers(-50, 4_000_000), max_size=40))
def test_step_indices_are_exact(window, elapsed):
    time_steps, window_us, start_us = window
    found = step_indices(np.array(elapsed, np.int64) + start_us, time_steps, window_us, start_us)
    assert found.tolist() == [time * time_steps // window_us if 0 <= time < window_us else OUTSIDE for time in elapsed]


lengths = st.one_of(st.integers(1, 3_000_000), st.integers(2**50, 2**56))  # the second: finer than floating point


@given(st.integers(1, 70), lengths)
def test_a_step_begins_where_the_one_before_ends(time_steps, window_us):
    first = [-(-step * window_us // time_steps) for step in range(time_steps + 1)]  # ceil
    for before in (0, 1):  # the first microsecond of each step, then the last: each is the first event that its step meets
        times = [edge - before for edge in first if 0 <= edge - before < window_us]
        counted = frames(recording(sorted(set(times))), time_steps, window_us, values="count").sum(axis=(1, 2, 3))
        assert counted.tolist() == [sum(start <= time < end for time in set(times)) for start, end in pairwise(first)]


@pytest.mark.parametrize("size", [(5, 4, 2), (64, 1, 2), (64, 1, 1)])
def test_the_order_of_events_makes_no_difference(size):
    events = recording(random_times(3000, 1000), size)
    shuffled = Events(np.random.default_rng(1).permutation(events.array), size)
    for values in ("binary", "count"):
        np.testing.assert_array_equal(frames(shuffled, 16, 1000, values=values), frames(events, 16, 1000, values=values))


@pytest.mark.parametrize("size", [(5, 4, 2), (64, 1, 2)])
def test_counts_equal_a_histogram(size):
    events = recording(random_times(20_000, 2_100_000), size)
    array = events.array[events.array["t"] < 2_000_000]
    axes = [step_indices(array["t"], 64, 2_000_000), array["p"], *([array["y"]] if size[1] > 1 else []), array["x"]]
    lengths = [64, 2, *([size[1]] if size[1] > 1 else []), size[0]]
    expected, _ = np.histogramdd(np.stack(axes, 1), bins=[np.arange(length + 1) for length in lengths])
    np.testing.assert_array_equal(frames(events, 64, 2_000_000, values="count", polarity="both"), expected)


def test_the_first_and_the_last_microsecond_belong_to_the_window():
    made = frames(recording([-1, 0, 99, 100]), 2, 100, values="count")
    assert made.sum(axis=(1, 2, 3)).tolist() == [1, 1]
    late = frames(recording(np.array([-1, 0, 99, 100]) + ABSOLUTE_US), 2, 100, values="count", start_us=ABSOLUTE_US)
    np.testing.assert_array_equal(late, made)


def test_counts_stay_at_255_and_binary_at_1():
    for count in (254, 255, 256, 1000):
        array = np.zeros(count, EVENT_2D)
        events = Events(array, (1, 1, 1))
        assert frames(events, 1, 10, values="count").item() == min(count, 255)
        assert frames(events, 1, 10).item() == 1


def test_binary_says_where_counts_are_not_zero():
    events = recording(random_times(500, 1000))
    np.testing.assert_array_equal(frames(events, 8, 1000), frames(events, 8, 1000, values="count") > 0)


def test_polarities_are_off_then_on_and_merge_to_their_sum():
    events = recording(random_times(500, 1000))
    made = {polarity: frames(events, 8, 1000, values="count", polarity=polarity) for polarity in ("merged", "both", "on", "off")}
    np.testing.assert_array_equal(made["both"][:, :1], made["off"])
    np.testing.assert_array_equal(made["both"][:, 1:], made["on"])
    np.testing.assert_array_equal(made["merged"], made["on"] + made["off"])
    assert made["on"].sum() == (events.array["p"] == 1).sum()
    for polarity, expected in made.items():
        chosen = choose_polarity(events, polarity)
        np.testing.assert_array_equal(frames(chosen, 8, 1000, values="count", polarity="both"), expected)
        assert frames_shape(events.sensor_size, 8, polarity) == expected.shape


def test_a_sensor_with_one_polarity_gives_one_channel():
    events = recording([1, 2, 3], (64, 1, 1))
    assert frames(events, 4, 10, polarity="both").shape == frames(events, 4, 10).shape == (4, 1, 64)
    for call in (lambda: frames(events, 4, 10, polarity="on"), lambda: choose_polarity(events, "off")):
        with pytest.raises(FeatureError, match="one polarity"):
            call()


def test_no_event_gives_zeros():
    for dtype, size, shape in ((EVENT_2D, (5, 4, 2), (3, 1, 4, 5)), (EVENT_1D, (64, 1, 1), (3, 1, 64))):
        made = frames(Events(np.zeros(0, dtype), size), 3, 10)
        assert made.shape == shape
        assert not made.any()


@pytest.mark.parametrize(("field", "value"), [("x", 5), ("x", -1), ("y", 4), ("y", -1), ("p", 2), ("p", -1)])
def test_an_address_outside_the_sensor_is_refused(field, value):
    events = recording([1, 2, 3])
    events.array[field][1] = value
    with pytest.raises(ClipError, match="1 of 3 have an address outside"):
        frames(events, 4, 10)


@pytest.mark.parametrize(
    ("time_steps", "window_us", "words"), [(0, 10, "at least 1 time step"), (1, 0, "at least 1 us"), (2**20, 2**44, "64 bits")]
)
def test_windows_that_cannot_be_are_refused(time_steps, window_us, words):
    for call in (lambda: frames(recording([1]), time_steps, window_us), lambda: step_indices(np.array([1]), time_steps, window_us)):
        with pytest.raises(FeatureError, match=words):
            call()


def digits(folder, count):
    """Recorded digits, read here byte by byte: x, y, then polarity and time of 23 bits."""
    for path in sorted((folder / "events" / "nmnist").rglob("*.bs2"))[:count]:
        raw = np.frombuffer(path.read_bytes(), np.uint8).reshape(-1, 5).astype(np.int64)
        t = (raw[:, 2] & 127) << 16 | raw[:, 3] << 8 | raw[:, 4]
        yield make_events(t, raw[:, 0], raw[:, 1], raw[:, 2] >> 7, (34, 34, 2))


def test_recorded_digits_lose_nothing(shared_data):
    for events in digits(shared_data, 20):
        window_us = int(events.array["t"][-1]) + 1
        made = frames(events, 64, window_us, values="count", polarity="both")
        assert made.sum() == len(events.array) > 1000
        assert made.sum((0, 2, 3)).tolist() == np.bincount(events.array["p"]).tolist()
        np.testing.assert_array_equal(made.sum((0, 1)), np.histogram2d(events.array["y"], events.array["x"], [np.arange(35)] * 2)[0])
