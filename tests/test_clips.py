"""The clips table: defaults, what it refuses, and choices that do not depend on the order of the rows."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audiodata import clips
from audiodata.clip_files import is_safe_path
from audiodata.clips import COLUMNS, class_names, clips_table, limit_clips, sample_per_class, validate
from audiodata.errors import MetadataError


def made(count, labels=("a", "b"), **columns):
    ids = [f"c{number:04d}" for number in range(count)]
    return clips_table(
        {"clip_id": ids, "path": [f"{i}.wav" for i in ids], "label": [labels[n % len(labels)] for n in range(count)]}
        | columns
    )


def test_two_columns_are_enough_and_the_rest_has_its_defaults():
    table = clips_table({"clip_id": ["x", "y"], "path": ["a/x.wav", "y.wav"]})
    assert list(table.columns) == list(COLUMNS)
    assert table["recording_id"].tolist() == table["group_id"].tolist() == ["x", "y"]
    assert table["start_s"].tolist() == [0.0, 0.0]
    assert table["duration_s"].isna().all()
    assert (table["reason"] == "").all()


def test_a_group_is_the_recording_unless_said_otherwise():
    table = clips_table({"clip_id": ["x", "y"], "path": ["r.wav", "r.wav"], "recording_id": ["r", "r"]})
    assert table["group_id"].tolist() == ["r", "r"]


def test_dtypes_are_those_of_the_columns():
    table = made(3, index=[0, 1, 2], start_s=[0, 1, 2])
    assert table["index"].dtype == np.int64
    assert table["start_s"].dtype == np.float64
    assert all(pd.api.types.is_string_dtype(table[name]) for name, column in COLUMNS.items() if column.dtype == "str")


@pytest.mark.parametrize(
    ("column", "value", "complaint"),
    [
        ("clip_id", "", "clip_id = '' is empty"),
        ("clip_id", "c0000", "stands on an earlier row too"),
        ("clip_id", "a\nb", "control characters"),
        ("path", "../x.wav", "must be relative"),
        ("path", "a/../../x.wav", "must be relative"),
        ("path", "/etc/passwd", "must be relative"),
        ("path", "C:/x.wav", "must be relative"),
        ("path", "a\\x.wav", "must be relative"),
        ("path", "a//x.wav", "must be relative"),
        ("path", "./x.wav", "must be relative"),
        ("path", "a\0.wav", "control characters"),
        ("group_id", "", "group_id = '' is empty"),
        ("group_id", "a\x7fb", "control characters"),
        ("labels", "a\tb", "control characters"),
        ("label", None, "is missing"),
        ("start_s", -1.0, "at least 0 s"),
        ("start_s", float("nan"), "at least 0 s"),
        ("file_start_s", float("inf"), "at least 0 s"),
        ("duration_s", 0.0, "over 0 s"),
        ("duration_s", float("inf"), "over 0 s"),
        ("index", -1, "at least 0"),
        ("reason", "silent", "no reason of choice"),
        ("reason", "bored", "no reason of choice"),
    ],
)
def test_a_bad_row_is_named(column, value, complaint):
    table = made(4)
    table.loc[2, column] = value
    with pytest.raises(MetadataError, match=complaint) as caught:
        validate(table, "made table")
    assert str(caught.value).startswith("made table: row 2")
    assert "\n" not in str(caught.value)


def test_the_clip_of_a_bad_row_is_named_and_others_are_counted():
    with pytest.raises(MetadataError, match=r"row 1 \(clip 'c0001'\).*\(1 more rows like it\)"):
        made(4, path=["a.wav", "../b.wav", "/c.wav", "d.wav"])


def test_a_missing_column_is_named():
    with pytest.raises(MetadataError, match="no column `group_id`"):
        validate(made(2).drop(columns="group_id"))


def test_a_column_that_no_table_has_is_a_bug():
    with pytest.raises(TypeError, match="lable"):
        clips_table({"clip_id": ["a"], "path": ["a"], "lable": ["x"]})


def test_tables_glued_together_are_checked_whole():
    good, bad = made(2), made(2).assign(clip_id=["x", "y"], path=["fine.wav", "../not"])
    with pytest.raises(MetadataError, match=r"row 3 \(clip 'y'\)"):
        validate(pd.concat([good, bad], ignore_index=True))
    validate(pd.concat([good, bad.assign(path="fine.wav")], ignore_index=True))


@pytest.mark.parametrize("path", ["a.wav", "a/b.wav", "..a/b..c.wav", "a b/ü.wav", ".hid", "a:b.wav", "...", "-x"])
def test_unusual_paths_below_the_root_are_safe(path):
    assert is_safe_path(path)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(["a", "..", ".", "", "ü", "a.b", "...", "c:", "\\", " "]), min_size=1, max_size=4))
def test_a_safe_path_never_leaves_its_root(parts):
    path = "/".join(parts)
    if is_safe_path(path):
        assert ".." not in path.split("/")
        assert not path.startswith("/") and "\\" not in path
    else:
        assert {"..", ".", "", "\\"} & set(parts) or path.startswith("c:/")


def test_class_names_keep_the_order_of_the_catalog():
    table = made(4, labels=("b", "a"))
    assert class_names(table, ("b", "z", "a")) == ("b", "z", "a")
    assert class_names(table) == ("a", "b")
    assert class_names(table.assign(reason=["over_per_class", "", "", ""])) == ("a", "b")
    assert class_names(table.assign(label=["", "b", "", "b"])) == ("b",)


def kept(table):
    return set(table.loc[table["reason"] == "", "clip_id"])


def test_so_many_of_each_class_are_kept_and_the_others_marked():
    table = sample_per_class(made(50, labels=("a", "b", "b", "b", "b")), 12, seed=3)
    assert table["reason"].value_counts().to_dict() == {"over_per_class": 28, "": 22}
    assert table.loc[table["reason"] == "", "label"].value_counts().to_dict() == {"b": 12, "a": 10}
    assert len(table) == 50


def test_the_choice_does_not_depend_on_the_order_of_the_rows():
    table = made(200)
    shuffled = table.sample(frac=1, random_state=1).reset_index(drop=True)
    assert kept(sample_per_class(table, 30, 7)) == kept(sample_per_class(shuffled, 30, 7))
    assert kept(limit_clips(table, 31, 7)) == kept(limit_clips(shuffled, 31, 7))


def test_equal_draws_do_not_bring_the_order_of_the_rows_back(monkeypatch):
    monkeypatch.setattr(clips, "unit_hashes", lambda seed, purpose, words: np.zeros(len(words)))
    table = made(20)
    assert kept(sample_per_class(table, 5, 0)) == kept(sample_per_class(table[::-1].reset_index(drop=True), 5, 0))


def test_the_choice_depends_on_the_seed():
    table = made(200)
    assert kept(sample_per_class(table, 30, 0)) != kept(sample_per_class(table, 30, 1))


@pytest.mark.parametrize("number", range(5))
def test_one_clip_less_changes_at_most_one_other(number):
    table = made(100, labels=("a",))
    less = table.drop(index=number * 17).reset_index(drop=True)
    before, after = kept(sample_per_class(table, 20, 5)), kept(sample_per_class(less, 20, 5))
    assert len(after - before) <= 1
    assert len(before - after) <= 1


def test_rows_that_were_left_out_stay_so():
    reasons = ["other_class" if number % 3 else "" for number in range(30)]
    table = sample_per_class(made(30, reason=reasons), 2, seed=0)
    assert (table["reason"] == "other_class").sum() == 20
    assert (table["reason"] == "").sum() == 4


def test_a_limit_is_balanced_over_splits_and_classes():
    table = made(120, labels=("a", "a", "a", "b")).assign(split=["train", "train", "test"] * 40)
    limited = limit_clips(table, 8, seed=0)
    fine = limited[limited["reason"] == ""]
    assert fine.groupby(["split", "label"]).size().tolist() == [2, 2, 2, 2]
    assert (limited.loc[limited["reason"] != "", "split"] == "").all()
    assert set(limited["reason"]) == {"", "over_limit"}


def test_a_limit_beyond_the_table_keeps_it_all():
    assert kept(limit_clips(made(5), 100, 0)) == kept(made(5))
