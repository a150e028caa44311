"""Spans of event recordings: nothing is moved to another place, and nothing is lost inside a span."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiodata.errors import ClipError
from audiodata.events.record import Events, make_events
from audiodata.events.spans import by_sense, cut, flat_sizes, from_start, repeat, sensors_of

TIMES = st.lists(st.integers(0, 5000), max_size=60).map(sorted)


def heard(times, offset=0):
    t = np.array(times, dtype=np.int64) + offset
    return make_events(t, np.arange(len(t)) % 8, None, np.zeros(len(t), int), (8, 1, 1))


def seen(times):
    t = np.array(times, dtype=np.int64)
    return make_events(t, t % 4, t % 3, t % 2, (4, 3, 2))


@given(TIMES, st.integers(0, 2**41))
def test_the_clock_does_not_matter(times, offset):
    assert from_start(heard(times, offset)).array.tolist() == from_start(heard(times)).array.tolist()


@given(TIMES, st.integers(1, 700))
def test_cuts_share_all_events_among_them(times, length):
    events = heard(times)
    parts = [cut(events, start, length) for start in range(0, 5001, length)]
    assert sum(len(part.array) for part in parts) == len(times)
    joined = [time + length * number for number, part in enumerate(parts) for time in part.array["t"].tolist()]
    assert joined == times
    assert events.array["t"].tolist() == times, "the input stays as it is"


@given(TIMES.filter(bool), st.integers(1, 9000))
def test_a_repeated_recording_is_a_periodic_one(times, length):
    events = from_start(heard(times))
    period = events.duration_us
    again = repeat(events, period, length)
    expected = sorted(time + turn * period for turn in range(-(-length // period)) for time in events.array["t"].tolist())
    assert again.array["t"].tolist() == [time for time in expected if time < length]


def test_duration_counts_both_ends():
    assert [heard(times).duration_us for times in ([], [7], [7, 9])] == [0, 1, 3]


def test_a_pair_is_one_of_each_sense():
    pair = by_sense([heard([1]), seen([2])])
    assert list(pair) == ["visual", "auditory"]
    assert sensors_of(flat_sizes(pair)) == {"visual": (4, 3, 2), "auditory": (8, 1, 1)}
    with pytest.raises(ClipError, match="one visual and one auditory"):
        by_sense([heard([1]), heard([2])])


@pytest.mark.parametrize(("columns", "complaint"), [
    (([2, 1], [0, 0], None, [0, 0]), "time runs backward at event 1"),
    (([1], [8], None, [0]), "x runs from 8 to 8, the sensor has 0 to 7"),
    (([1], [0], None, [1]), "p runs from 1 to 1"),
    (([1, 2], [0], None, [0]), "different lengths"),
])
def test_columns_that_are_no_recording(columns, complaint):
    with pytest.raises(ClipError, match=complaint):
        make_events(*[None if values is None else np.array(values) for values in columns], (8, 1, 1))


def test_events_know_their_sense():
    assert (heard([1]).sense, seen([1]).sense) == ("auditory", "visual")
    assert isinstance(heard([1]), Events)
