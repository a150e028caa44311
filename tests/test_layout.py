"""Where examples go: by hash, never by order."""

import hashlib

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from audiodata.layout import clip_hashes, cut_segments, place, shard_count, shard_numbers
from audiodata.timing import segment_spans


def clips_table(count, samples=(16000,), splits=("train",)):
    return pd.DataFrame({
        "clip_id": [f"clip{number}" for number in range(count)],
        "start_s": [30.0] * count,
        "samples": [samples[number % len(samples)] for number in range(count)],
        "split": [splits[number % len(splits)] for number in range(count)],
    })


def cut(clips, **changes):
    return cut_segments(clips, **{"length": 16000, "hop": 16000, "min_fill": 0.5, "sample_rate": 16000} | changes)


def test_a_clip_is_cut_where_a_ruler_would():
    examples = cut(clips_table(1, samples=(40000,)))
    assert examples["example_id"].tolist() == ["clip0#0", "clip0#1", "clip0#2"]
    assert examples["start_sample"].tolist() == [0, 16000, 32000]
    assert examples["valid"].tolist() == [16000, 16000, 8000]
    assert examples["start_s"].tolist() == [30.0, 31.0, 32.0]
    assert examples["duration_s"].tolist() == [1.0, 1.0, 0.5]


def test_a_tail_of_a_millisecond_makes_no_example():
    assert len(cut(clips_table(1, samples=(16016,)))) == 1
    assert len(cut(clips_table(1, samples=(100,)))) == 1  # but a short clip is not lost
    assert len(cut(clips_table(1, samples=(15999,)), min_fill=1.0)) == 0


@given(st.integers(1, 10**7), st.integers(1, 4096))
def test_shards_are_near_the_size_aimed_at(examples, aimed):
    count = shard_count(examples, aimed)
    assert count & (count - 1) == 0
    assert examples / count < aimed * 1.42
    assert count == 1 or examples / count > aimed * 0.7


@given(st.permutations(range(40)))
@settings(max_examples=20)
def test_order_does_not_matter(order):
    examples = cut(clips_table(40, samples=(16000, 50000), splits=("train", "test")))
    shuffled = examples.iloc[list(order)]
    pd.testing.assert_frame_equal(place(examples.iloc[:40], 4), place(shuffled, 4))


def test_a_new_clip_touches_one_shard():
    before = place(cut(clips_table(1000)), 100)
    after = place(cut(clips_table(1001)), 100)
    members = [table.groupby("shard")["example_id"].agg(tuple) for table in (before, after)]
    assert (members[0] != members[1]).sum() == 1


def test_doubling_the_shards_cuts_each_in_two():
    hashes = clip_hashes([f"clip{number}" for number in range(500)])
    for count in (1, 2, 4, 64):
        np.testing.assert_array_equal(shard_numbers(hashes, 2 * count) // 2, shard_numbers(hashes, count))
    assert set(shard_numbers(hashes, 4)) == {0, 1, 2, 3}


@given(st.lists(st.sampled_from(["train", "val"]), min_size=1, max_size=30), st.integers(1, 3), st.booleans())
def test_the_order_is_that_of_splits_hashes_and_times_whatever_it_was(splits, segments, alike):
    labels = ["a" if alike else f"{row % 3}" for row in range(len(splits))]
    clips = clips_table(len(splits), samples=(16000 * segments,)).assign(split=splits, label=labels)
    examples = cut(clips).sample(frac=1, random_state=0)
    first_bytes = examples["clip_id"].map(lambda text: hashlib.sha256(text.encode()).digest())
    expected = examples.assign(hash=first_bytes).sort_values(["split", "hash", "start_sample"]).drop(columns="hash").reset_index(drop=True)
    pd.testing.assert_frame_equal(place(examples, 4)[expected.columns.tolist()], expected)


def test_segments_of_a_clip_stay_together_and_rows_count_from_zero():
    placed = place(cut(clips_table(200, samples=(80000,))), 64)
    assert placed.groupby("clip_id")["shard"].nunique().max() == 1
    for _, rows in placed.groupby("shard"):
        assert rows["row"].tolist() == list(range(len(rows)))
        assert rows.groupby("clip_id", sort=False)["start_sample"].apply(lambda times: times.is_monotonic_increasing).all()
        assert (rows["clip_id"] != rows["clip_id"].shift()).sum() == rows["clip_id"].nunique()  # a clip's segments follow each other


@given(st.integers(0, 100_000), st.integers(100, 20_000), st.integers(100, 20_000), st.sampled_from([0.0, 0.5, 1.0]))
def test_one_clip_is_cut_as_a_table_is(samples, length, hop, min_fill):
    examples = cut(clips_table(1, samples=(samples,)), length=length, hop=hop, min_fill=min_fill)
    assert segment_spans(samples, length, hop, min_fill) == tuple(zip(examples["start_sample"], examples["valid"], strict=True))
