"""What a build remembers and decides, in columns: the same as one clip at a time, and little memory whatever the number of clips."""

import itertools
import math

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_inspections import FINE, found, table_of

from audiodata import planning
from audiodata.catalog import parse_catalog
from audiodata.cleaning import CleanSettings, judge_clip
from audiodata.errors import CacheError
from audiodata.findings import Findings
from audiodata.inspection_rows import SOUND, VERSION, read_batches, read_others, read_sound, read_sounds, write_batch
from audiodata.inspections import InspectionStore, verdicts_of_download
from audiodata.ledger import ClipRow, Ledger
from audiodata.records import ClipSpan, Inspection
from audiodata.verdicts import Judge, judge

JUDGE = Judge(CleanSettings(), 1)


def around(threshold):
    return st.sampled_from([threshold - 1, math.nextafter(threshold, -9), threshold, math.nextafter(threshold, 99), threshold + 1])


CLEAN = CleanSettings(min_duration_s=2.0, max_duration_s=9.0, min_level_db=-60.0, max_clipped_share=0.1, max_dc_offset=0.2, min_bandwidth_hz=4000.0)
MEASURED = st.fixed_dictionaries({
    "duration_s": st.one_of(around(2.0), around(9.0), around(5.0 - 0.1)), "level_db": around(-60.0), "peak_db": st.just(-1.0),
    "clipped_share": around(0.1),
    "dc_offset": st.one_of(around(0.2), around(-0.2)), "bandwidth_hz": around(4000.0), "finite": st.sampled_from([True, True, True, False]),
})


@given(MEASURED, st.sampled_from([5.0, math.nan]), st.sampled_from([None, 1, 2]), st.integers(1, 3), st.booleans())
def test_judging_in_columns_is_judging_one_by_one(measured, expected_s, wanted, channels, is_strict):
    judged = Judge(CLEAN if is_strict else CleanSettings(), wanted)
    columns = {name: np.array([float(value)]) for name, value in (measured | {"channels": channels}).items()}
    status, _, _ = judge_clip(found("a", measured=measured, channels=channels), expected_s, *judged)
    assert judged.surely_fine(columns, np.array([expected_s])).tolist() == [status == "ok"]


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=4), min_size=1, max_size=20, unique=True))
def test_a_clip_is_found_by_its_name_in_any_alphabet(ids):
    table = pd.DataFrame({"clip_id": pd.Series(ids, dtype="str"), "duration_s": 1.0, "reason": ""})
    findings = Findings(table, JUDGE)
    assert [findings.row(clip_id) for clip_id in ids] == list(range(len(ids)))
    some = ids[::-2]
    assert findings.candidate_rows(pa.chunked_array([some, ["".join(ids) + "!"]], pa.large_string())).tolist() == [*map(ids.index, some), -1]
    with pytest.raises(KeyError):
        findings.row("".join(ids) + "!")


MIXED = [
    found("b"), found("a", measured=FINE | {"level_db": -99.0}), found("e", measured=FINE | {"finite": False}),
    Inspection("d", "undecodable", 'says "key": [1]\n'), found("c", shape=(28, 28), measured={}, sample_rate=0),
    found("f", shape=(34, 34, 2), measured={"visual_events": 7}, sample_rate=1_000_000), found("g", channels=2, sample_rate=44100),
]


def test_an_inspection_comes_back_as_it_was(monkeypatch):
    monkeypatch.setattr("audiodata.inspection_rows.ROWS_AT_ONCE", 5)
    odd = [found("h", measured={"duration_s": 1.0}), found("i", measured=FINE | {"level_db": None}), found("j")._replace(sha256="")]
    written = [*MIXED, *odd]
    parts = [written[:3], written[3:4], written[4:8], written[8:]]
    ids = [[one.clip_id for one in part] for part in parts]
    read = list(read_batches([write_batch(names, names, part) for names, part in zip(ids, parts, strict=True)]))
    assert [len(batch) for batch in read] == [8, 2]
    assert [key for batch in read for key in batch["key"].to_pylist()] == [one.clip_id for one in written]
    found_again = {}
    for batch in read:
        ids, are_sounds = np.array(batch["clip_id"].to_pylist()), batch["sound"].is_valid()
        sounds = batch["sound"].drop_null()
        found_again |= {clip_id: read_sound(clip_id, sound) for clip_id, sound in zip(ids[are_sounds], sounds.to_pylist(), strict=True)}
        assert read_sounds(sounds[1:])["level_db"].tolist() == [read_sound("", sound).measured["level_db"] for sound in sounds[1:].to_pylist()]
        others, which = read_others(batch["other"].drop_null())
        names = ids[~np.array(are_sounds)]
        found_again |= {clip_id: others[number]._replace(clip_id=clip_id) for clip_id, number in zip(names, which, strict=True)}
        assert set(names) == set("dcfhij") & set(ids)
    assert found_again == {one.clip_id: one._replace(stamp="") for one in written}


def flipped(batch, position):
    return batch[:position] + bytes([batch[position] ^ 4]) + batch[position + 1 :]


DAMAGES = [lambda batch: b"", lambda batch: batch[:-200], lambda batch: b"\0" * len(batch), lambda batch: b"\xff" * 64]
DAMAGES += [lambda batch, share=share: flipped(batch, int(share * (len(batch) - 1))) for share in (0.0, 0.3, 0.5, 0.7, 0.9, 1.0)]
DAMAGES += [lambda batch: batch.replace(b"missing_file", b"missing_fi\"e")]  # would pass for a text


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_memory_is_one_line(tmp_path, damage):
    table = table_of(["a", "b"])
    with InspectionStore(tmp_path / "l.sqlite") as store:
        store.remember(planning.spans_at(table, np.arange(2)), [found("a"), Inspection("b", "missing_file", "no such file")])
        batch, = store._ledger.inspections(VERSION)
        store._ledger._connection.execute("UPDATE inspections SET batch = ?", [damage(batch)])
        with pytest.raises(CacheError, match=r"l\.sqlite: what is remembered can't be read \(.*remove it") as caught:
            store.recall(Findings(table, JUDGE), table, tmp_path)
    assert "\n" not in str(caught.value)


def test_what_befell_many_clips_alike_is_read_and_judged_once(tmp_path, monkeypatch):
    table = table_of(list("abcdef"), duration_s=[1.0, 2.0, 3.0, 4.0, 5.0, math.nan])
    missing = [Inspection(clip_id, "missing_file", "no such file") for clip_id in "abcd"]
    images = [found(clip_id, shape=(28, 28), measured={}, sample_rate=0) for clip_id in "ef"]
    judged, asked = [], Findings(table, JUDGE)
    asked.put([*missing, *images])
    monkeypatch.setattr("audiodata.verdicts.judge_clip", lambda one, *others: judged.append(one.reason) or judge_clip(one, *others))
    recalled = Findings(table, JUDGE)
    with InspectionStore(tmp_path / "l.sqlite") as store:
        store.remember(planning.spans_at(table, np.arange(6)), [*missing, *images])
        store.recall(recalled, table, tmp_path)
    assert judged == ["missing_file", "", ""]
    assert verdicts_of(recalled) == verdicts_of(asked) == [("failed", "missing_file", "no such file")] * 4 + [("ok", "", "")] * 2
    for name in ("samples", "sha256", "content"):
        np.testing.assert_array_equal(getattr(recalled, name), getattr(asked, name))


def verdicts_of(findings):
    return [findings.verdicts.held[code] for code in findings.verdict]


def test_what_the_bytes_of_a_sound_mean_hangs_on_the_version():
    """A ledger of an earlier version must not be read as one of this: who changes one of the two changes both."""
    counts = [(name, "<i8") for name in ("sample_rate", "channels", "samples")]
    levels = [(name, "<f8") for name in ("duration_s", "level_db", "peak_db", "clipped_share", "dc_offset", "bandwidth_hz")]
    assert (VERSION, SOUND.descr) == (2, [("sha256", "|u1", (32,)), ("content_sha256", "|u1", (32,)), *counts, *levels, ("finite", "|b1")])


def test_what_is_remembered_is_what_was_found(tmp_path):
    table = table_of([one.clip_id for one in MIXED])
    asked, recalled = Findings(table, JUDGE), Findings(table, JUDGE)
    asked.put(MIXED)
    with InspectionStore(tmp_path / "l.sqlite") as store:
        store.remember(planning.spans_at(table, np.arange(len(table))), MIXED)
        store.remember([ClipSpan("bb", "x.wav")], [found("bb")])  # of another catalog
        store.recall(recalled, table, tmp_path)
    assert recalled.known.all()
    for name in ("samples", "sha256", "content"):
        np.testing.assert_array_equal(getattr(recalled, name), getattr(asked, name))
    for codes, pool in (("verdict", "verdicts"), ("format", "formats")):
        both = [[getattr(one, pool).held[code] for code in getattr(one, codes)] for one in (recalled, asked)]
        assert both[0] == both[1]
    reasons = [reason for _, reason, _ in map(recalled.verdicts.held.__getitem__, recalled.verdict)]
    assert reasons == ["", "silent", "not_finite", "undecodable", "", "", ""]


def test_fine_sounds_are_recalled_without_being_judged_one_by_one(tmp_path, monkeypatch):
    table = table_of([one.clip_id for one in MIXED])
    judged = []
    monkeypatch.setattr("audiodata.verdicts.judge_clip", lambda one, *others: judged.append(one.clip_id) or judge_clip(one, *others))
    with InspectionStore(tmp_path / "l.sqlite") as store:
        store.remember(planning.spans_at(table, np.arange(len(table))), MIXED)
        store.recall(Findings(table, JUDGE), table, tmp_path)
    assert sorted(judged) == ["", "", "", "a", "e"]  # what is no sound is read without its name


@pytest.mark.parametrize("change", [{"file_start_s": 1.0}, {"duration_s": 9.0}, {"channels": "0"}, {"item": "x"}, {"path": "other.flac"}])
def test_another_span_or_file_is_inspected_again(tmp_path, change):
    ids = ["a", "b"]
    before, after = table_of(ids), table_of(ids, **{name: [value] * 2 for name, value in change.items()})
    findings = Findings(after, JUDGE)
    with InspectionStore(tmp_path / "l.sqlite") as store:
        store.remember(planning.spans_at(before, np.arange(2)), [found("a"), found("b")])
        store.recall(findings, after, tmp_path)
        assert findings.left().all()
        same = Findings(before, JUDGE)
        (tmp_path / "b.flac").write_bytes(b"new")
        store.recall(same, before, tmp_path)
    assert same.left().tolist() == [False, True]


def test_only_equal_sounds_are_duplicates_and_the_smallest_name_stays():
    begins = "00" * 8
    content = {"d": begins + "11" * 24, "b": begins + "11" * 24, "a": begins + "22" * 24, "c": begins + "11" * 24}
    table = table_of(list(content))
    findings = Findings(table, JUDGE)
    findings.put([found(clip_id, content_sha256=sha256) for clip_id, sha256 in content.items()])
    verdicts = judge(table, findings, CleanSettings()).set_index("clip_id")
    assert verdicts["reason"].to_dict() == {"d": "duplicate", "b": "", "a": "", "c": "duplicate"}
    assert verdicts.loc["d", "detail"] == "the same samples as b"
    assert (judge(table, findings, CleanSettings(duplicates="keep"))["status"] == "ok").all()


def test_clips_without_a_file_have_the_verdict_of_the_download(tmp_path):
    ids = ["there", "private", "pending", "never", "unasked"]
    table = table_of(ids, reason=["", "", "", "", "other_class"])
    findings = Findings(table, JUDGE)
    findings.put([found("there"), *(Inspection(clip_id, "missing_file", "no such file") for clip_id in ids[1:4])])
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        ledger.record([ClipRow("private", "failed", "private", "gone"), ClipRow("there", "ok"), ClipRow("pending", "pending", "")])
    verdicts = judge(table, findings, CleanSettings(), verdicts_of_download(tmp_path)).set_index("clip_id")
    assert verdicts["status"].tolist() == ["ok", "failed", "failed", "failed", "not_selected"]
    assert verdicts["reason"].tolist() == ["", "private", "not_downloaded", "not_downloaded", "other_class"]
    assert verdicts.loc["private", "detail"] == "gone" and "download" in verdicts.loc["never", "detail"]
    assert judge(table, findings, CleanSettings())["reason"].tolist()[1:4] == ["missing_file"] * 3


def test_settling_writes_news_alone(tmp_path):
    with Ledger(tmp_path / "l.sqlite") as ledger:
        ledger.record([ClipRow("a", "ok"), ClipRow("b", "ok", measured={"level_db": -1.0})])
        before = ledger.rows()
        ledger._connection.execute("UPDATE clips SET updated = 'then'")
        ledger.settle([("a", "ok", "", ""), ("b", "rejected", "silent", "quiet"), ("nobody", "ok", "", "")])
        after = ledger.rows()
        assert after[0] == before[0]._replace(updated="then")
        assert after[1]._replace(updated="") == before[1]._replace(status="rejected", reason="silent", detail="quiet", updated="")
        assert ledger.counts() == {("ok", ""): 1, ("rejected", "silent"): 1}
        with pytest.raises(ValueError, match="closed lists"):
            ledger.settle([("a", "lost", "", "")])


def test_a_clip_takes_less_than_a_hundred_bytes():
    findings = Findings(table_of([f"{number:05d}" for number in range(1000)]), JUDGE)
    findings.put([found(f"{number:05d}") for number in range(1000)])
    arrays = [value for value in vars(findings).values() if isinstance(value, np.ndarray)]
    assert sum(array.nbytes for array in arrays) < 110 * 1000
    assert len(findings.verdicts.held) == len(findings.formats.held) == 1


CATALOG = {
    "dataset": {"name": "folder"}, "audio": {"sample_rate": 16000}, "segment": {"length_s": 10.0},
    "features": {"log_mel": {"window_length": 1024, "hop_length": 512, "n_mels": 8}}, "shards": {"examples": 8},
}


def tasks_of(clips):
    catalog = parse_catalog(CATALOG, "big", "big.toml")
    ids = [f"clip {number}" for number in range(clips)]
    table = table_of(ids, label=["a"] * clips).assign(split="train")
    findings = Findings(table, JUDGE)
    findings.put([found(clip_id) for clip_id in ids])
    planned = planning.plan_cache(catalog, table, findings, judge(table, findings, catalog.clean))
    return planning.shard_tasks(planned, "root", "cache")


def test_new_clips_change_their_shards_alone():
    before = {task.file: task for task in tasks_of(2000)}
    after = {task.file: task for task in tasks_of(2040)}
    changed = {file for file, task in after.items() if task.fingerprint != before[file].fingerprint}
    with_new = {file for file, task in after.items() if any(int(one.clip.clip_id[5:]) >= 2000 for one in task.examples)}
    assert before.keys() == after.keys() and len(after) == 256
    assert changed == with_new and 20 < len(changed) <= 40


def test_the_examples_of_a_shard_are_made_when_it_is_their_turn(monkeypatch):
    tasks, made = tasks_of(2000), []
    monkeypatch.setattr(planning, "ExampleSpan", lambda *fields: made.append(fields[0]))
    for task in itertools.islice(tasks, 3):
        assert len(task.examples) > 0
    assert len(made) < 60


def query_plan(ledger, query, *values):
    return " ".join(row[3] for row in ledger._connection.execute(f"EXPLAIN QUERY PLAN {query}", values))


def test_the_ledger_looks_up_and_never_walks_through_all(tmp_path):
    asked = []
    with Ledger(tmp_path / "l.sqlite") as ledger:
        ledger._connection.set_trace_callback(asked.append)
        ledger.record([ClipRow("a", "failed", "network")])
        ledger.settle([("a", "failed", "private", "")])
        ledger.counts(), ledger.clip_ids("pending"), ledger.rows("failed", "network")
        ledger.between(["clip_id"], "a", "b"), ledger.retry(["network"])
        ledger._connection.set_trace_callback(None)
        looked = [query_plan(ledger, query) for query in map(str.strip, asked) if query.startswith(("SELECT", "UPDATE"))]
    assert len(looked) >= 7
    assert [plan for plan in looked if "SCAN" in plan and "SCAN tally" not in plan] == []
