"""Events that no neighbour supports go; a second, slow route agrees on which."""

import numpy as np
import pytest

from audiodata.errors import ClipError, FeatureError
from audiodata.events.denoising import denoise
from audiodata.events.record import EVENT_2D, Events, make_events


def recording(count, size, seed=0, first=0):
    rng = np.random.default_rng(seed)
    x, y, p = (rng.integers(0, end, count) for end in size)
    return make_events(np.sort(rng.integers(0, 100_000, count)) + first, x, y if size[1] > 1 else None, p, size)


def by_hand(events, within_us):
    """All pairs of events."""
    array = events.array
    y = array["y"] if events.sense == "visual" else np.zeros(len(array), int)
    places = list(zip(array["t"].tolist(), array["x"].tolist(), y.tolist(), strict=True))
    return [
        any(t - before <= within_us and (x, y) != (column, row) and max(abs(x - column), abs(y - row)) == 1 for before, column, row in places[:index])
        for index, (t, x, y) in enumerate(places)
    ]


@pytest.mark.parametrize("size", [(12, 9, 2), (64, 1, 2), (64, 1, 1), (1, 9, 1), (1, 1, 1)])
@pytest.mark.parametrize("within_us", [0, 300, 5000])
@pytest.mark.parametrize("first", [0, -50_000, 1_605_537_493_718_345])
def test_it_keeps_what_a_neighbour_supports(size, within_us, first):
    events = recording(300, size, first=first)
    before = events.array.copy()
    kept = denoise(events, within_us)
    np.testing.assert_array_equal(kept.array, events.array[by_hand(events, within_us)])
    assert kept.sensor_size == size
    np.testing.assert_array_equal(events.array, before)


def test_within_holds_the_limit_itself():
    pair = make_events(np.array([100, 150]), np.array([3, 4]), np.array([3, 4]), np.array([0, 1]), (9, 9, 2))
    assert denoise(pair, 50).array["t"].tolist() == [150]
    assert denoise(pair, 49).array["t"].tolist() == []


def test_one_pixel_alone_is_dropped_however_often_it_fires():
    hot = make_events(np.arange(100), np.full(100, 4), np.full(100, 4), np.zeros(100, int), (9, 9, 2))
    assert len(denoise(hot, 1000).array) == 0


def test_an_edge_goes_through_and_noise_does_not():
    rng = np.random.default_rng(0)
    t = np.repeat(np.arange(60) * 1000, 60)  # a line of 60 pixels that moves one column every millisecond
    edge = make_events(t, t // 1000, np.tile(np.arange(60), 60), np.ones(t.size, int), (64, 64, 2))
    noise = make_events(np.sort(rng.integers(0, 60_000, 200)), rng.integers(0, 64, 200), rng.integers(0, 64, 200), np.zeros(200, int), (64, 64, 2))
    both = np.concatenate([edge.array, noise.array])
    kept = denoise(Events(both[np.argsort(both["t"], kind="stable")], (64, 64, 2)), 500).array
    assert (kept["p"] == 1).mean() > 0.95
    assert (kept["p"] == 1).sum() > 0.95 * 3600
    assert (kept["p"] == 0).sum() < 40


def test_no_event_is_no_event():
    assert len(denoise(Events(np.zeros(0, EVENT_2D), (4, 4, 2)), 10).array) == 0


def test_a_negative_time_and_an_address_outside_the_sensor_are_refused():
    events = recording(5, (12, 9, 2))
    with pytest.raises(FeatureError, match="got -1 us"):
        denoise(events, -1)
    events.array["x"][2] = 12
    with pytest.raises(ClipError, match="1 of 5"):
        denoise(events, 10)
