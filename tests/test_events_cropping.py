"""Cutting squares out of sensors and taking pixels together: which pixels, and that all their events come along."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiodata.errors import FeatureError
from audiodata.events.cropping import crop, crop_corner, downsample, downsampled_size
from audiodata.events.record import make_events


def every_pixel(columns, rows=None):
    """One event at each address, ten microseconds apart."""
    y, x = np.divmod(np.arange(columns * (rows or 1)), columns)
    return make_events(10 * np.arange(x.size), x, None if rows is None else y, x % 2, (columns, rows or 1, 2))


@pytest.mark.parametrize(
    ("columns", "size", "centre", "first", "last"),
    [
        (128, 28, (63, 63), 49, 76),
        (34, 28, None, 3, 30),
        (128, 28, None, 50, 77),
        (34, 27, None, 3, 29),
        (128, 27, (63, 63), 50, 76),
        (34, 34, None, 0, 33),
        (34, 34, (17, 17), 0, 33),
        (34, 1, (33, 33), 33, 33),
    ],
)
def test_which_pixels_a_crop_holds(columns, size, centre, first, last):
    whole = every_pixel(columns, columns)
    before = whole.array.copy()
    cut = crop(whole, size, centre)
    inside = whole.array[(np.minimum(before["x"], before["y"]) >= first) & (np.maximum(before["x"], before["y"]) <= last)]
    assert crop_corner(whole.sensor_size, size, centre) == (first, first)
    assert cut.sensor_size == (size, size, 2)
    np.testing.assert_array_equal(cut.array["t"], inside["t"])
    np.testing.assert_array_equal(cut.array["x"], inside["x"] - first)
    np.testing.assert_array_equal(cut.array["y"], inside["y"] - first)
    np.testing.assert_array_equal(cut.array["p"], inside["p"])
    np.testing.assert_array_equal(whole.array, before)


def test_column_and_row_are_not_mixed_up():
    cut = crop(every_pixel(20, 10), 4, (15, 5))
    assert crop_corner((20, 10, 2), 4, (15, 5)) == (13, 3)
    x, y = cut.array["x"], cut.array["y"]
    np.testing.assert_array_equal(cut.array["t"], 10 * ((y + 3) * 20 + x + 13))


@pytest.mark.parametrize(("size", "centre"), [(35, None), (28, (13, 17)), (28, (17, 21)), (28, (0, 0))])
def test_a_crop_beyond_the_sensor_is_refused(size, centre):
    with pytest.raises(FeatureError, match="beyond the sensor of 34 x 34") as error:
        crop(every_pixel(34, 34), size, centre)
    assert "\n" not in str(error.value)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 50))
def test_downsampling_drops_nothing_and_stays_on_the_sensor(columns, rows, factor):
    whole = every_pixel(columns, rows)
    smaller = downsample(whole, factor)
    assert smaller.sensor_size == downsampled_size(whole.sensor_size, factor)
    assert (smaller.array["x"].max() + 1, smaller.array["y"].max() + 1) == smaller.sensor_size[:2]
    np.testing.assert_array_equal(smaller.array["x"], whole.array["x"] // factor)
    np.testing.assert_array_equal(smaller.array["y"], whole.array["y"] // factor)
    np.testing.assert_array_equal(smaller.array["t"], whole.array["t"])


def test_channels_are_taken_together():
    smaller = downsample(every_pixel(64), 4)
    assert smaller.sensor_size == (16, 1, 2)
    assert np.bincount(smaller.array["x"]).tolist() == [4] * 16


def test_scale_sixteen_is_scale_four_after_downsampling():
    dot = make_events(np.arange(16), np.repeat(np.arange(60, 64), 4), np.tile(np.arange(60, 64), 4), np.zeros(16, int), (128, 128, 2))
    assert set(downsample(dot, 4).array[["x", "y"]].tolist()) == {(15, 15)}
