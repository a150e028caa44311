"""Files of other people's tools: found by whatever name they gave them, and taken for what they are."""

import numpy as np
import pytest
import soundfile as sf
from hypothesis import assume, given
from hypothesis import strategies as st
from made_sounds import chirp, delay, encode

from audiodata import audio
from audiodata.download import WantedClip
from audiodata.errors import ClipError, MetadataError
from audiodata.existing import ExistingTask, find_existing, match_name, place
from audiodata.jobs import take_in_file
from audiodata.resolve import DownloadOptions

RATE = 8000
ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_"
IDS = st.text(ALPHABET, min_size=11, max_size=11)


def clip(recording_id, start_s=30.0, duration_s=10.0):
    name = f"{recording_id}_{round(start_s * 1000)}"
    return WantedClip(name, start_s, duration_s, f"clips/{name}.flac")


@given(IDS, st.integers(0, 600), st.sampled_from(["{i}", "Y{i}"]))
def test_every_way_to_name_a_file(recording_id, start, id_form):
    wanted = {recording_id: [clip(recording_id, float(start)), clip(recording_id, start + 700.5)]}
    name = id_form.format(i=recording_id)
    assert match_name(name, wanted) == (wanted[recording_id], False)
    end = start + 10
    for times in (f"{start}", f"{start}.000", f"{start}000", f"{start}_{end}", f"{start}000_{end}000"):
        assert match_name(f"{name}_{times}", wanted) == (wanted[recording_id][:1], True)
    assert match_name(f"{name}_{start + 700.5}", wanted) == (wanted[recording_id][1:], True)


@given(st.lists(IDS, min_size=2, max_size=4, unique=True), st.integers(0, 600))
def test_a_file_is_never_taken_for_another_video(ids, start):
    assume(not any(one[1:] == other[:-1] for one in ids for other in ids))
    wanted = {name: [clip(name, float(start))] for name in ids[1:]}
    for name in (ids[0], f"Y{ids[0]}", f"{ids[0]}_{start}", f"{ids[0]}_{start * 1000}_{start * 1000 + 10000}"):
        assert match_name(name, wanted) == ([], False)


@pytest.mark.parametrize("name", ["-a_b_c-d_30", "_______________30", "a_30_40_30_40"])
def test_ids_that_look_like_a_name_with_times(name):
    recording_id = name.removesuffix("_30_40").removesuffix("_30")
    wanted = {recording_id: [clip(recording_id, 30.0)]}
    assert match_name(name, wanted)[0] == wanted[recording_id]


def test_an_id_that_begins_with_y_is_not_cut():
    wanted = {"Yabcdefghij": [clip("Yabcdefghij")], "abcdefghij_": [clip("abcdefghij_")]}
    assert match_name("Yabcdefghij", wanted)[0] == wanted["Yabcdefghij"]
    assert match_name("Yabcdefghij__30", wanted)[0] == wanted["abcdefghij_"]


def test_seconds_come_before_milliseconds():
    wanted = {"v": [clip("v", 30.0), clip("v", 0.03)]}
    assert match_name("v_30", wanted) == ([wanted["v"][0]], True)
    assert match_name("v_30000", wanted) == ([wanted["v"][0]], True)
    assert match_name("v_0.03", wanted) == ([wanted["v"][1]], True)
    assert match_name("v_31", wanted) == ([], False)


@pytest.mark.parametrize(("length_s", "names_a_start", "expected"), [
    (10.0, False, 30.0), (10.0, True, 30.0), (9.95, False, 30.0), (10.4, True, 30.0), (40.0, False, 0.0),
    (500.0, False, 0.0), (39.95, False, 0.0), (9.0, False, "too_short"), (25.0, False, "too_short"),
    (9.0, True, "too_short"), (60.0, True, "too_long"),
])
def test_what_a_file_is_by_its_length(length_s, names_a_start, expected):
    wanted = clip("v")
    if isinstance(expected, float):
        assert place(length_s, wanted, names_a_start, 0.1) == expected
        return
    with pytest.raises(ClipError) as caught:
        place(length_s, wanted, names_a_start, 0.1)
    assert caught.value.reason == expected
    assert f"measured {length_s:.3f} s, expected 10.000 s" in caught.value.message


@pytest.fixture
def recording():
    return chirp(RATE, 45.0)


def offset(path, recording, start_s):
    waveform, rate = audio.decode(path)
    return waveform.shape[1] / rate, delay(waveform[0], recording[0, round(start_s * RATE) :][: waveform.shape[1]])


def test_a_clip_and_a_whole_video_both_give_the_clip(tmp_path, recording):
    whole, cut = tmp_path / "theirs" / "deep" / "v1.wav", tmp_path / "theirs" / "Yv2_30000.ogg"
    whole.parent.mkdir(parents=True)
    sf.write(whole, recording.T, RATE)
    encode(cut, recording[:, 30 * RATE : 40 * RATE + 100], RATE)
    root = tmp_path / "root"
    wanted = {"v1": [clip("v1"), clip("v1", 5.0)], "v2": [clip("v2")], "v3": [clip("v3")]}
    found = list(find_existing([tmp_path / "theirs"], wanted, str(root), DownloadOptions()))
    assert [(task.file.rsplit("/", 1)[1], len(task.clips), task.names_a_start) for task in found] == [
        ("Yv2_30000.ogg", 1, True), ("v1.wav", 2, False)]
    rows = [row for task in found for row in take_in_file(task)]
    assert [(row.clip_id, row.status) for row in rows] == [("v2_30000", "ok"), ("v1_30000", "ok"), ("v1_5000", "ok")]
    assert [row.detail for row in rows] == [f"taken from theirs/{name}" for name in ("Yv2_30000.ogg", *["deep/v1.wav"] * 2)]
    for row, start_s in zip(rows, (30.0, 30.0, 5.0), strict=True):
        assert offset(root / row.path, recording, start_s) == (10.0, 0)
        assert row.sha256 and row.content_sha256 and row.measured["duration_s"] == 10.0


def test_what_is_of_no_use_says_why_and_leaves_nothing(tmp_path):
    sf.write(tmp_path / "v.wav", np.zeros(RATE * 12), RATE)
    (tmp_path / "w.flac").write_text("no sound")
    wanted = {"v": [clip("v")], "w": [clip("w")]}
    root = tmp_path / "root"
    found = find_existing([tmp_path], wanted, str(root), DownloadOptions())
    rows = [row for task in found for row in take_in_file(task)]
    assert [(row.status, row.reason) for row in rows] == [("failed", "too_short"), ("failed", "undecodable")]
    assert "12.000 s" in rows[0].detail and "v.wav" in rows[0].detail
    assert not root.exists()


def test_our_own_file_is_verified_where_it_is(tmp_path, recording):
    wanted = clip("v")
    path = tmp_path / wanted.path
    path.parent.mkdir()
    audio.write_flac(path, recording[:, : 10 * RATE], RATE)
    before = path.stat()
    (row,) = take_in_file(ExistingTask(str(path), "v", (wanted,), True, str(tmp_path), DownloadOptions()))
    assert row.status == "ok"
    assert path.stat().st_mtime_ns == before.st_mtime_ns and path.stat().st_ino == before.st_ino
    longer = wanted._replace(duration_s=12.0)
    (row,) = take_in_file(ExistingTask(str(path), "v", (longer,), True, str(tmp_path), DownloadOptions()))
    assert row.reason == "too_short"


def test_other_files_and_missing_folders(tmp_path):
    for name in ("v.txt", ".v.wav", "v.wav.part", "other.wav"):
        (tmp_path / name).write_bytes(b"x")
    assert not list(find_existing([tmp_path], {"v": [clip("v")]}, "/root", DownloadOptions()))
    with pytest.raises(MetadataError, match="no such folder"):
        list(find_existing([tmp_path / "nowhere"], {}, "/root", DownloadOptions()))
