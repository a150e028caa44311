"""Figures about events: counts, rates, intervals, the rate over time, against slow loops and by hand."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiodata.errors import AudioDataError
from audiodata.events.record import make_events
from audiodata.events.statistics import QUANTILES, address_counts, address_rates, intervals_us, rate_over_time, summarise

ONE_EVENT = st.tuples(st.integers(0, 5000), st.integers(0, 3), st.integers(0, 2), st.integers(0, 1))


def recording(rows, sensor_size=(4, 3, 2)):
    rows = np.asarray(sorted(rows, key=lambda row: row[0]), np.int64).reshape(-1, 4)
    return make_events(rows[:, 0], rows[:, 1], rows[:, 2], rows[:, 3], sensor_size)


def slow_intervals(events, by_polarity):
    series = {}
    for event in events.array:
        key = (event["y"], event["x"], event["p"] if by_polarity else 0)
        series.setdefault(key, []).append(int(event["t"]))
    return [later - earlier for _, times in sorted(series.items()) for earlier, later in itertools.pairwise(times)]


@given(st.lists(ONE_EVENT, max_size=60), st.booleans())
def test_intervals_are_those_of_a_slow_loop(rows, by_polarity):
    events = recording(rows)
    assert intervals_us(events, by_polarity).tolist() == slow_intervals(events, by_polarity)


@given(st.lists(ONE_EVENT, max_size=60), st.integers(1, 3000))
def test_no_event_is_lost_in_counts_and_bins(rows, bin_us):
    events = recording(rows)
    assert address_counts(events).sum() == len(rows)
    assert rate_over_time(events, bin_us).sum() * bin_us / 1e6 == pytest.approx(len(rows))


def test_counts_lie_at_row_and_column():
    counts = address_counts(recording([(0, 3, 1, 0), (5, 3, 1, 1), (9, 0, 2, 1)]))
    assert counts.shape == (3, 4)
    assert (counts[1, 3], counts[2, 0], counts.sum()) == (2, 1, 3)


def test_channels_make_one_axis():
    events = make_events(np.array([0, 10, 20]), np.array([5, 5, 63]), None, np.zeros(3, int), (64, 1, 1))
    assert address_counts(events).shape == (64,)
    assert intervals_us(events).tolist() == [10]


def test_rates_count_from_the_first_event_to_the_last_or_by_what_is_asked():
    events = recording([(1000, 0, 0, 1), (1999, 0, 0, 1)])
    assert address_rates(events)[0, 0] == pytest.approx(2000)
    assert address_rates(events, duration_us=1_000_000)[0, 0] == pytest.approx(2)


def test_rate_over_time_begins_at_the_first_event():
    events = recording([(70, 0, 0, 1), (79, 1, 0, 1), (80, 2, 0, 1), (105, 0, 0, 0)])
    assert (rate_over_time(events, 10) / 1e5).tolist() == [2, 1, 0, 1]


def test_summary_by_hand():
    first = recording([(0, 0, 0, 1), (100, 0, 0, 1), (400, 0, 0, 1), (999, 1, 0, 0)])
    second = recording([(0, 2, 2, 1), (999, 3, 2, 0)])
    summary = summarise([first, second], bin_us=500)
    assert (summary.recordings, summary.events, summary.on_share) == (2, 3.0, pytest.approx(4 / 6))
    assert summary.active_share == pytest.approx(2 / 12)
    assert summary.event_rate_hz == pytest.approx(3000)
    assert summary.rate_median_hz == pytest.approx(1000)
    assert summary.interval_median_us == pytest.approx(200)
    assert summary.rate_over_time_hz.tolist() == pytest.approx([4000, 2000])
    assert summary.interval_quantiles_us.shape == QUANTILES.shape


def test_silent_recordings_have_no_quantiles():
    summary = summarise([recording([])])
    assert (summary.events, summary.event_rate_hz) == (0, 0)
    assert np.isnan([summary.on_share, summary.rate_median_hz, summary.interval_median_us]).all()
    assert summary.rate_over_time_hz.size == 0


def test_one_polarity_has_no_share_of_on():
    assert np.isnan(summarise([recording([(0, 0, 0, 0)], (4, 3, 1))]).on_share)


def test_recordings_of_different_sensors_are_refused():
    with pytest.raises(AudioDataError, match="of one sensor"):
        summarise([recording([]), recording([], (5, 3, 2))])
    with pytest.raises(AudioDataError, match="0 of sensors"):
        summarise([])
    with pytest.raises(AudioDataError, match="bin_us"):
        rate_over_time(recording([]), 0)
