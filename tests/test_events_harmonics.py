"""A train of events that a screen modulates loses that modulation, and nothing but its times."""

import numpy as np
import pytest

from audiodata.events.harmonics import remove_harmonics
from audiodata.events.record import make_events

LCD_HZ = 75.0
DURATION_US = 2_000_000


def flickering(count=20_000, seed=0):
    """Events whose rate follows 1 + cos(2 pi 75 t), drawn by rejection."""
    rng = np.random.default_rng(seed)
    t = rng.uniform(0, DURATION_US, 4 * count)
    t = np.sort(t[rng.uniform(0, 2, t.size) < 1 + np.cos(2 * np.pi * LCD_HZ * t / 1e6)][:count])
    x, y, p = (rng.integers(0, end, t.size) for end in (128, 128, 2))
    return make_events(t.astype(np.int64), x, y, p, (128, 128, 2))


def power(events, frequency_hz):
    """Power of the train at a frequency, 1 for events at random."""
    phase = 2 * np.pi * frequency_hz * events.array["t"] / 1e6
    return abs(np.exp(-1j * phase).sum()) ** 2 / len(phase)


def cleaned(events, seed=0):
    return remove_harmonics(events, np.random.default_rng(seed))


def test_the_screens_frequency_goes():
    before = flickering()
    after = cleaned(before)
    assert power(before, LCD_HZ) > 1000
    around = [power(after, LCD_HZ + offset) for offset in np.arange(-5, 5.5, 0.5)]
    assert max(around) < 50
    assert power(after, LCD_HZ) < power(before, LCD_HZ) / 50


def test_count_order_addresses_and_span_stay():
    before = flickering()
    copy = before.array.copy()
    after = cleaned(before)
    for field in ("x", "y", "p"):
        np.testing.assert_array_equal(after.array[field], before.array[field])
    assert (np.diff(after.array["t"]) >= 0).all()
    assert (after.array["t"][0], after.array["t"][-1]) == (before.array["t"][0], before.array["t"][-1])
    np.testing.assert_array_equal(before.array, copy)


def test_the_new_rate_is_even():
    counts = np.histogram(cleaned(flickering()).array["t"], bins=10, range=(0, DURATION_US))[0]
    np.testing.assert_allclose(counts, 2000, rtol=0.2)


def test_the_seed_decides():
    events = flickering(500)
    np.testing.assert_array_equal(cleaned(events, 3).array, cleaned(events, 3).array)
    assert (cleaned(events, 3).array["t"] != cleaned(events, 4).array["t"]).any()


@pytest.mark.parametrize("count", [0, 1, 2])
def test_there_is_nothing_to_do_for_fewer_than_three_events(count):
    events = flickering(500)
    events = events._replace(array=events.array[:count])
    np.testing.assert_array_equal(cleaned(events).array, events.array)


def test_events_at_one_time_stay_there():
    events = flickering(500)
    events.array["t"] = 7
    assert set(cleaned(events).array["t"].tolist()) == {7}
