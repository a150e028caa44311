"""Rounding has one home; these are the values that a person would write down."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiodata.timing import (
    frame_count,
    resampled_length,
    samples_to_seconds,
    seconds_to_milliseconds,
    seconds_to_samples,
    segment_count,
)


@pytest.mark.parametrize(
    ("seconds", "rate", "samples"), [(0.0005, 1000, 1), (0.1, 44100, 4410), (0.3, 10, 3), (1.0005, 1000, 1001), (10.0, 16000, 160000)]
)
def test_seconds_round_half_up_on_the_decimal_that_was_written(seconds, rate, samples):
    assert seconds_to_samples(seconds, rate) == samples


@given(st.integers(0, 10**8), st.sampled_from([8000, 16000, 22050, 44100, 48000]))
def test_samples_survive_the_way_to_seconds_and_back(samples, rate):
    assert seconds_to_samples(samples_to_seconds(samples, rate), rate) == samples


def test_milliseconds_are_those_of_segment_ids():
    assert seconds_to_milliseconds(30.0) == 30000
    assert seconds_to_milliseconds(1.0005) == 1001


@given(st.integers(1, 10**6), st.sampled_from([8000, 16000, 44100]), st.sampled_from([8000, 16000, 48000]))
def test_resampling_keeps_the_duration_to_half_a_sample(samples, from_rate, to_rate):
    assert abs(resampled_length(samples, from_rate, to_rate) / to_rate - samples / from_rate) <= 0.5 / to_rate + 1e-12


def test_centred_frames_start_at_sample_zero_and_stay_inside():
    assert [frame_count(samples, 512) for samples in (0, 511, 512, 160000)] == [1, 1, 2, 313]


@given(st.integers(0, 5000), st.integers(1, 400), st.integers(1, 400), st.floats(0, 0.99))
def test_segments_are_those_of_a_loop(samples, length, hop, min_fill):
    starts = [start for start in range(0, samples, hop) if start == 0 or samples - start >= min_fill * length]
    assert int(segment_count(samples, length, hop, min_fill)) == len(starts)


@given(st.integers(0, 5000), st.integers(1, 400))
def test_full_segments_only(samples, length):
    assert int(segment_count(np.array([samples]), length, length, 1.0)[0]) == samples // length
