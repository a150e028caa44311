"""Binning and denoising against tonic: equal where it is right, and what it gets wrong, which is why the project has its own.

A test that says what tonic gets wrong fails when a later version gets it right: then read its changes, and drop that half of the test.
"""

import numpy as np
import pytest

from audiodata.events.binning import frames
from audiodata.events.denoising import denoise
from audiodata.events.record import make_events

tonic_transforms = pytest.importorskip("tonic.transforms", reason="the extra 'events' is not installed")


def recording(count=5000, end=1_000_000, size=(20, 16, 2), seed=0, first=0):
    rng = np.random.default_rng(seed)
    t = np.sort(rng.integers(first, end, count))
    x, y, p = (rng.integers(0, length, count) for length in size)
    return make_events(t, x, y if size[1] > 1 else None, p, size)


def by_tonic(events, **settings):
    return tonic_transforms.ToFrame(sensor_size=events.sensor_size, **settings)(events.array.copy())


@pytest.mark.parametrize("size", [(20, 16, 2), (64, 1, 2), (20, 16, 1)])
@pytest.mark.parametrize("end", [1_000_000, 700_000])
def test_frames_equal_tonics_when_it_is_told_the_window(size, end):
    events = recording(size=size, end=end)
    theirs = by_tonic(events, time_window=15_625, start_time=0, end_time=1_000_000)
    np.testing.assert_array_equal(frames(events, 64, 1_000_000, values="count", polarity="both"), theirs)


def test_frames_equal_tonics_from_a_later_start():
    events = recording()
    theirs = by_tonic(events, time_window=10_000, start_time=200_000, end_time=600_000)
    np.testing.assert_array_equal(frames(events, 40, 400_000, values="count", polarity="both", start_us=200_000), theirs)


def test_tonic_loses_the_last_events_of_a_number_of_bins():
    events = recording()
    window_us = int(events.array["t"][-1]) + 1
    assert frames(events, 64, window_us, values="count", polarity="both").sum() == len(events.array)
    assert by_tonic(events, n_time_bins=64).sum() < len(events.array)


def test_tonic_loses_a_stream_shorter_than_its_bins():
    events = recording(count=30, end=40)
    assert frames(events, 64, 64, values="count", polarity="both").sum() == 30
    assert by_tonic(events, n_time_bins=64).sum() == 0


def test_tonic_takes_its_bins_from_the_first_event():
    events = recording(first=900_000, count=50)
    assert frames(events, 10, 1_000_000)[:9].sum() == 0
    assert by_tonic(events, time_window=100_000)[:9].sum() > 0


def test_tonic_overwrites_the_polarity_of_a_sensor_with_one():
    array = recording(count=50).array
    array["p"] = 1
    theirs = array.copy()
    tonic_transforms.ToFrame(sensor_size=(20, 16, 1), n_time_bins=4)(theirs)
    assert not theirs["p"].any()
    before = array.copy()
    frames(make_events(array["t"], array["x"], array["y"], array["p"], (20, 16, 2)), 4, 1_000_000)
    np.testing.assert_array_equal(array, before)


def test_denoising_equals_tonics_on_a_line_of_pixels():
    # One column has no diagonals; times are even and the limit is odd, so that "within" and "less than" are the same; nothing happens in the
    # first 1001 us.
    events = recording(count=400, end=60_000, size=(1, 40, 2))
    events.array["t"] = 2 * events.array["t"] + 2000
    theirs = tonic_transforms.Denoise(filter_time=1001)(events.array.copy())
    ours = denoise(events, 1001).array
    assert 10 < len(ours) < 390
    np.testing.assert_array_equal(ours, theirs)


def test_tonic_keeps_whatever_comes_first_and_knows_no_diagonals():
    alone = make_events(np.array([5]), np.array([3]), np.array([3]), np.array([0]), (8, 8, 2))
    assert len(denoise(alone, 1000).array) == 0
    padded = np.concatenate([alone.array, alone.array])
    padded["x"], padded["t"] = [3, 7], [5, 6]
    assert len(tonic_transforms.Denoise(filter_time=1000)(padded)) > 0
    diagonal = make_events(np.array([5000, 5001]), np.array([3, 4]), np.array([3, 4]), np.array([0, 0]), (8, 8, 2))
    assert denoise(diagonal, 100).array["t"].tolist() == [5001]
    assert len(tonic_transforms.Denoise(filter_time=100)(diagonal.array.copy())) == 0
