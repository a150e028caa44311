"""The ledger: closed lists, counts that are always right, one writer, and nothing lost when the driver is killed."""

import os
import random
import signal
import sqlite3
import time

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audiodata.errors import CacheError, EnvironmentFault, MetadataError
from audiodata.ledger import ClipRow, Ledger, known_reasons
from audiodata.reasons import REASONS


@pytest.fixture
def ledger(tmp_path):
    with Ledger(tmp_path / "ledger.sqlite") as opened:
        yield opened


def test_a_row_for_every_clip_asked_for(ledger):
    assert ledger.add(["b", "a", "-c_d"]) == 3
    assert ledger.add(["a", "e"]) == 1, "what is there stays, what is new is added"
    assert ledger.clip_ids() == ["-c_d", "a", "b", "e"]
    assert ledger.counts() == {("pending", "not_downloaded"): 4}
    assert all(row.attempts == 0 and row.updated == "" for row in ledger.rows())


def test_a_row_comes_back_as_it_was_recorded_and_attempts_add_up(ledger):
    ledger.add(["a"])
    ledger.record([ClipRow("a", "pending", "network", "connection reset")])
    row = ClipRow("a", "ok", "", "", "clips/a.flac", "12", "34", {"duration_s": 10.0, "codec": "opus"}, attempts=2)
    ledger.record([row])
    (found,) = ledger.rows()
    assert found._replace(updated="") == row._replace(attempts=3)
    assert found.updated.endswith("+00:00")


def test_statuses_and_reasons_are_closed_lists(ledger):
    for status, reason in [("done", ""), ("failed", "broken")]:
        with pytest.raises(ValueError, match="closed lists"):
            ledger.record([ClipRow("a", status, reason)])
    assert ledger.rows() == []


def test_rows_are_recorded_all_or_none(ledger):
    def rows():
        yield ClipRow("a", "ok")
        yield ClipRow("b", "failed", "no such reason")

    with pytest.raises(ValueError):
        ledger.record(rows())
    assert ledger.counts() == {}


def test_rows_by_status_and_reason(ledger):
    ledger.record([ClipRow("a", "failed", "network"), ClipRow("b", "failed", "private"), ClipRow("c", "ok")])
    assert [row.clip_id for row in ledger.rows(status="failed")] == ["a", "b"]
    assert [row.clip_id for row in ledger.rows(status="failed", reason="private")] == ["b"]
    assert ledger.clip_ids(status="ok") == ["c"]


def test_retry_sets_back_what_failed_for_a_reason_or_a_kind_of_reason(ledger):
    ledger.record([ClipRow(reason, "failed", reason) for reason in ("network", "forbidden", "private", "no_format")])
    assert ledger.retry(["private"]) == 1
    assert ledger.retry(["transient"]) == 2
    assert ledger.clip_ids("failed") == ["no_format"]
    assert {row.reason for row in ledger.rows("pending")} == {"network", "forbidden", "private"}, "why stays to be read"


def test_a_misspelt_reason_is_bad_input():
    with pytest.raises(MetadataError, match=r"`netwrok`.*did you mean `network`"):
        known_reasons(["netwrok"])
    with pytest.raises(MetadataError, match="other_class"):
        known_reasons(["other_class"])
    assert known_reasons(["identity", "private"]) == ["bot_check", "private", "rate_limited"]


OUTCOMES = [("ok", ""), ("pending", "network"), ("failed", "network"), ("failed", "private"), ("rejected", "silent")]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from(OUTCOMES), st.booleans()), max_size=30))
def test_counts_equal_a_count_of_the_rows_whatever_happened(tmp_path_factory, changes):
    with Ledger(tmp_path_factory.mktemp("ledger") / "l.sqlite") as ledger:
        for clip_id, (status, reason), only_add in changes:
            if only_add:
                ledger.add([clip_id, "a"])
            else:
                ledger.record([ClipRow(clip_id, status, reason), ClipRow("b", "ok")])
        ledger.retry(["private"])
        table = ledger.table(["status", "reason"])
        assert ledger.counts() == table.value_counts().to_dict()


def test_attrition_per_class_and_reason(ledger):
    ledger.record([ClipRow("a", "ok"), ClipRow("b", "failed", "private"), ClipRow("c", "failed", "private"),
                   ClipRow("d", "failed", "removed"), ClipRow("other", "failed", "drm")])
    ledger.add(["e"])
    lost = ledger.attrition({"a": "Dog", "b": "Dog", "c": "Rain", "d": "Rain", "e": "Rain"})
    assert list(lost.columns) == ["asked", "ok", "pending", "private", "removed", "lost_share"]
    assert lost.loc["Dog"].tolist() == [2, 1, 0, 1, 0, 0.5]
    assert lost.loc["Rain"].tolist() == [3, 0, 1, 1, 1, 1.0]
    assert lost.loc["all"].tolist() == [5, 1, 1, 2, 1, 0.75]


def test_attrition_of_nothing(ledger):
    assert ledger.attrition({}).loc["all", "asked"] == 0
    ledger.add(["a"])
    lost = ledger.attrition(pd.Series({"a": "Dog"}))
    assert lost.loc["Dog", "pending"] == 1
    assert pd.isna(lost.loc["Dog", "lost_share"])


def test_a_second_driver_is_turned_away_and_readers_are_not(tmp_path):
    path = tmp_path / "ledger.sqlite"
    with Ledger(path) as first:
        first.record([ClipRow("a", "ok")])
        with pytest.raises(CacheError, match="another run is writing to this ledger"):
            Ledger(path)
        with Ledger(path, read_only=True) as reader:
            assert reader.counts() == {("ok", ""): 1}
    with Ledger(path) as second:
        assert second.clip_ids() == ["a"]


def in_child(work, path):
    """Run `work(ledger, say)` in a forked process; return its id and the file that it says things into."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            work(Ledger(path), lambda text: os.write(write_end, f"{text}\n".encode()))
        finally:
            os._exit(1)
    os.close(write_end)
    return pid, os.fdopen(read_end)


def kill(pid):
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def test_the_lock_ends_with_the_process(tmp_path):
    def hold(ledger, say):
        say("open")
        time.sleep(60)

    path = tmp_path / "ledger.sqlite"
    pid, said = in_child(hold, path)
    with said:
        assert said.readline() == "open\n"
        with pytest.raises(CacheError, match="another run"):
            Ledger(path)
        kill(pid)
    Ledger(path).close()


def test_what_was_recorded_survives_kill_9_at_any_moment(tmp_path):
    def record_batches(ledger, say):
        number = len(ledger.rows())
        while True:
            ledger.record([ClipRow(f"{number + k:06d}", "ok", measured={"batch": number}) for k in range(5)])
            number += 5
            say(number)

    path = tmp_path / "ledger.sqlite"
    generator = random.Random(0)
    for _ in range(12):
        pid, said = in_child(record_batches, path)
        with said:
            said.readline()
            time.sleep(generator.uniform(0.0, 0.05))
            kill(pid)
            promised = int((said.read().split() or ["5"])[-1])
        with Ledger(path) as ledger:
            rows = ledger.rows()
            assert len(rows) % 5 == 0, "half a batch"
            assert len(rows) >= promised, "a batch that was reported is not there"
            assert ledger.counts() == {("ok", ""): len(rows)}


def test_a_file_that_is_no_ledger(tmp_path):
    path = tmp_path / "ledger.sqlite"
    path.write_bytes(b"no database at all, but long enough for a header " * 100)
    with pytest.raises(CacheError, match="damaged or not a ledger"):
        Ledger(path)


def test_a_damaged_ledger(tmp_path):
    path = tmp_path / "ledger.sqlite"
    with Ledger(path) as ledger:
        ledger.add(f"{number:08d}" for number in range(5000))
    content = bytearray(path.read_bytes())
    content[4096:] = bytes(len(content) - 4096)
    path.write_bytes(content)
    with pytest.raises(CacheError, match="damaged"), Ledger(path) as ledger:
        ledger.rows()


def test_a_database_of_another_program_is_left_alone(tmp_path):
    path = tmp_path / "ledger.sqlite"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE theirs (x)")
    other.close()
    with pytest.raises(CacheError, match="another program"):
        Ledger(path)


def test_a_ledger_of_a_later_format(tmp_path):
    path = tmp_path / "ledger.sqlite"
    Ledger(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(CacheError, match="format 99"):
        Ledger(path)


def test_reading_where_there_is_none_and_writing_where_one_may_not(tmp_path):
    with pytest.raises(CacheError, match="no ledger here"):
        Ledger(tmp_path / "ledger.sqlite", read_only=True)
    with pytest.raises(EnvironmentFault, match="can't be written or read"):
        Ledger(tmp_path / "missing" / "ledger.sqlite")


def test_a_reader_changes_nothing(tmp_path):
    Ledger(tmp_path / "ledger.sqlite").close()
    with Ledger(tmp_path / "ledger.sqlite", read_only=True) as reader, pytest.raises(EnvironmentFault):
        reader.add(["a"])


def test_every_reason_can_be_recorded(ledger):
    ledger.record([ClipRow(reason or "fine", "failed" if reason else "ok", reason) for reason in REASONS])
    assert sum(ledger.counts().values()) == len(REASONS)


def test_a_ledger_that_is_just_being_made_is_not_taken_for_another_programs(tmp_path):
    (tmp_path / "ledger.sqlite").touch()
    with pytest.raises(CacheError, match="nothing in this ledger yet"):
        Ledger(tmp_path / "ledger.sqlite", read_only=True)
