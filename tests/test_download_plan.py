"""What is asked for, and in which order: a pure function of table, ledger and files."""

import numpy as np
import pandas as pd
import pytest

from audiodata.clips import clips_table, limit_clips
from audiodata.resolve import DownloadOptions
from pipelines.download_plan import current_status, files_there, plan, video_tasks

CLASSES = ["Dog", "Rain", "Bell"]


@pytest.fixture
def table():
    """60 clips of 45 videos, three classes of unequal size, with splits."""
    numbers = np.arange(60)
    made = clips_table({
        "clip_id": [f"-v_{number % 45:02d}_{number * 1000}" for number in numbers],
        "path": [f"clips/{number % 3}/{number}.flac" for number in numbers],
        "recording_id": [f"-v_{number % 45:02d}" for number in numbers],
        "start_s": numbers.astype(float),
        "duration_s": np.where(numbers % 7 == 0, np.nan, 10.0),
        "label": [CLASSES[0] if number < 40 else CLASSES[1 + number % 2] for number in numbers],
    })
    return made.assign(split=["train" if number % 45 % 5 else "test" for number in numbers])


def test_status_by_ledger_and_files_together(table):
    ids = table["clip_id"][:6].tolist()
    ledger = pd.DataFrame({
        "clip_id": [*ids[:5], "another catalog's"],
        "status": ["ok", "ok", "failed", "failed", "pending", "ok"],
        "reason": ["", "", "private", "network", "network", ""],
    })
    there = np.array([True, False, False, False, False, True] + [False] * 54)
    status = current_status(table, ledger, there, ["network"])
    assert status[:7].tolist() == ["ok", "gone", "failed", "pending", "pending", "present", "pending"]
    assert set(status[7:]) == {"pending"}


def test_the_order_is_balanced_over_classes_and_splits_and_depends_on_nothing_else(table):
    everything = np.full(60, "pending", dtype=object)
    planned = plan(table, everything, seed=3)
    assert sorted(planned.clips["clip_id"]) == sorted(table["clip_id"])
    assert planned.clips["label"][:6].nunique() == 3
    shuffled = table.sample(frac=1, random_state=0)
    assert plan(shuffled, everything, seed=3).clips.equals(planned.clips)
    some_done = everything.copy()
    some_done[::3] = "ok"
    rest = plan(table, some_done, seed=3).clips["clip_id"].tolist()
    left = set(table["clip_id"][some_done == "pending"])
    assert rest == [clip_id for clip_id in planned.clips["clip_id"] if clip_id in left]
    assert not plan(table, everything, seed=4).clips.equals(planned.clips)


@pytest.mark.parametrize("limit", [1, 7, 30])
def test_a_limit_asks_for_what_a_build_with_that_limit_uses(table, limit):
    planned = plan(table, np.full(60, "pending", dtype=object), limit=limit, seed=5)
    limited = limit_clips(table, limit, 5)
    assert set(planned.clips["clip_id"]) == set(limited[limited["reason"] == ""]["clip_id"])


def test_limits_one_after_the_other_come_to_the_same_as_none(table):
    status = np.full(60, "pending", dtype=object)
    asked = []
    while (status == "pending").any():
        clips = plan(table, status, limit=7, seed=1).clips["clip_id"]
        asked += clips.tolist()
        status[table["clip_id"].isin(clips)] = "ok"
    assert asked == plan(table, np.full(60, "pending", dtype=object), seed=1).clips["clip_id"].tolist()


def test_the_summary_counts_clips_per_class(table):
    status = np.array((["ok"] * 10 + ["failed"] * 10 + ["present", "gone"] + ["pending"] * 38), dtype=object)
    summary = plan(table, status, limit=4, interval_s=12.0).summary
    assert list(summary.index) == ["Bell", "Dog", "Rain", "all"]
    assert summary.loc["all"].to_dict() == {"wanted": 60, "there": 11, "failed": 10, "left": 39, "asked": 4}
    assert (summary.iloc[:-1].sum() == summary.loc["all"]).all()


def test_the_pace_gives_the_least_time(table):
    planned = plan(table, np.full(60, "pending", dtype=object), interval_s=12.0)
    assert planned.videos == 45
    assert planned.estimated_s == 45 * 12


def test_all_clips_of_a_video_are_one_task_in_the_order_of_the_first(table):
    clips = plan(table, np.full(60, "pending", dtype=object)).clips
    tasks = list(video_tasks(clips, "/root", DownloadOptions()))
    assert [task.recording_id for task in tasks] == clips["recording_id"].drop_duplicates().tolist()
    assert sorted(clip.clip_id for task in tasks for clip in task.clips) == sorted(table["clip_id"])
    durations = dict(zip(table["clip_id"], table["duration_s"], strict=True))
    for task in tasks:
        for clip in task.clips:
            assert clip.clip_id.startswith(f"{task.recording_id}_")
            expected = durations[clip.clip_id]
            assert clip.duration_s == (None if np.isnan(expected) else expected)


def test_nothing_left(table):
    planned = plan(table, np.full(60, "ok", dtype=object))
    assert planned.videos == 0
    assert list(video_tasks(planned.clips, "/root", DownloadOptions())) == []


def test_files_that_are_there(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.flac").write_bytes(b"")
    (tmp_path / "top.flac").write_bytes(b"")
    paths = ["a/x.flac", "a/y.flac", "b/x.flac", "top.flac", "top.flac/z.flac"]
    assert files_there(tmp_path, paths).tolist() == [True, False, False, True, False]
