"""A build that goes on: what has been made and not been touched is neither made nor decoded again."""

import contextlib
import os
import shutil
import sqlite3

import numpy as np
import pandas as pd
import pytest
import soundfile
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from made_inspections import found, table_of

from audiodata import assembly
from audiodata.assembly import shard_fingerprint
from audiodata.catalog import parse_catalog
from audiodata.findings import Findings
from audiodata.fingerprint import hash_file
from audiodata.inspections import InspectionStore
from audiodata.ledger import Ledger
from audiodata.planning import draft_plan, plan_cache, shard_task
from audiodata.records import ClipRow, ClipSpan, partner_text
from audiodata.shard_inputs import planned_shards
from audiodata.shard_memory import ShardMemory
from audiodata.shards import ShardRecord, open_cache, verify_cache
from audiodata.verdicts import Judge, judge
from pipelines import build

SETTINGS = {
    "dataset": {"name": "folder"},
    "split": {"fractions": {"train": 0.8, "val": 0.1, "test": 0.1}},
    "audio": {"sample_rate": 8000},
    "segment": {"length_s": 0.25},
    "features": {"log_mel": {"window_length": 256, "hop_length": 128, "n_mels": 8}},
    "shards": {"examples": 4},
}
CATALOG = parse_catalog(SETTINGS, "grows", "grows.toml")


def add_sounds(root, numbers):
    (root / "noise").mkdir(parents=True, exist_ok=True)
    for number in numbers:
        soundfile.write(root / "noise" / f"{number:03d}.wav", np.random.default_rng(number).uniform(-0.1, 0.1, 2000), 8000)


@pytest.fixture(scope="module")
def grown(tmp_path_factory):
    """Recordings, and the cache of them."""
    folder = tmp_path_factory.mktemp("grown")
    add_sounds(folder / "sounds", range(100))
    build.build(CATALOG, folder / "sounds", folder / "cache")
    return folder


@pytest.fixture
def begun(grown, tmp_path):
    """The same as a user has it: the memory lies beside the cache, and time stamps are as they were."""
    shutil.copytree(grown, tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture
def decoded(monkeypatch):
    """Names of the shards that a build decodes."""
    names = []
    read = assembly.read_shard_record
    monkeypatch.setattr(assembly, "read_shard_record", lambda path: names.append(path.name) or read(path))
    return names


def shards_of(cache):
    return {path.name: (hash_file(path), path.stat().st_mtime_ns, path.stat().st_ino) for path in cache.glob("*.h5")}


def test_new_clips_touch_their_shards_alone(begun, decoded, monkeypatch):
    before, asked = shards_of(begun / "cache"), []
    made = assembly.build_shard
    monkeypatch.setattr(assembly, "build_shard", lambda task: asked.append(task.file) or made(task))
    add_sounds(begun / "sounds", range(100, 105))
    build.build(CATALOG, begun / "sounds", begun / "cache")
    examples = open_cache(begun / "cache").examples
    with_new = set(examples["shard"][examples["clip_id"].str.contains(r"/10[0-4]\.")])
    after = shards_of(begun / "cache")
    assert {name for name in after if after[name] != before.get(name)} == set(asked) == with_new
    assert after.keys() == before.keys() and 0 < len(with_new) <= 5 < len(after) / 2
    assert decoded == []
    build.build(CATALOG, begun / "sounds", begun.parent / "fresh")
    assert {name: values[0] for name, values in after.items()} == {name: values[0] for name, values in shards_of(begun.parent / "fresh").items()}


def test_a_build_with_nothing_left_decodes_nothing(begun, decoded):
    before = (begun / "cache" / "manifest.json").read_bytes()
    build.build(CATALOG, begun / "sounds", begun / "cache")
    assert decoded == [] and (begun / "cache" / "manifest.json").read_bytes() == before


@pytest.mark.parametrize("touch", ["content", "time", "memory"])
def test_a_shard_that_was_touched_is_decoded(begun, decoded, touch):
    victim = sorted((begun / "cache").glob("train-*.h5"))[0]
    content = hash_file(victim)
    if touch == "content":
        data = bytearray(victim.read_bytes())
        data[len(data) // 2] ^= 1
        victim.write_bytes(data)
    elif touch == "time":
        os.utime(victim, ns=(0, 0))
    else:
        with contextlib.closing(sqlite3.connect(begun / "cache.ledger.sqlite")) as ledger, ledger:
            ledger.execute("DELETE FROM notes")
    build.build(CATALOG, begun / "sounds", begun / "cache")
    assert victim.name in decoded and (touch == "memory" or len(decoded) == 1)
    assert hash_file(victim) == content and verify_cache(begun / "cache") == []


def test_what_is_noted_of_a_shard_holds_as_long_as_its_file_and_fingerprint(tmp_path):
    record = ShardRecord("train-00000.h5", "train", 3, 5, "a", "b", {"/features/mfcc": "c"}, "made of this")
    file = tmp_path / record.file
    with Ledger(tmp_path / "l.sqlite") as ledger:
        ShardMemory(ledger, tmp_path).remember(record)  # has no file
        assert ShardMemory(ledger, tmp_path).recall(record.file, record.fingerprint) is None
        file.write_bytes(b"12345")
        ShardMemory(ledger, tmp_path).remember(record)
        memory = ShardMemory(ledger, tmp_path)
        assert memory.recall(record.file, record.fingerprint) == record
        assert memory.recall(record.file, "made of that") is None and memory.recall("val-00000.h5", record.fingerprint) is None
        file.write_bytes(b"123456")
        assert memory.recall(record.file, record.fingerprint) is None
        assert ledger.counts() == {} and ledger.clip_ids() == []


def test_a_ledger_without_notes_gets_a_place_for_them(tmp_path):
    with Ledger(tmp_path / "l.sqlite") as ledger:
        ledger.add(["a"])
        ledger._connection.execute("DROP TABLE notes")
    with Ledger(tmp_path / "l.sqlite") as ledger:
        ledger.note("name", "text")
        assert ledger.notes() == {"name": "text"} and ledger.clip_ids() == ["a"]


ODD = ["plain", 'say "so"', "Schlüssel", "back\\slash", "clip/é.wav"]
PARTNER = partner_text(ClipSpan("other", "o.npz", 1.5, None, 3, item="ß"))


@given(st.lists(st.sampled_from(range(len(ODD))), min_size=1, max_size=12), st.floats(0, 100), st.booleans(), st.integers(1, 4))
@hypothesis_settings(max_examples=30)
def test_fingerprints_in_columns_are_those_of_one_example_after_the_other(kinds, start_s, located, aimed):
    ids = [f"{ODD[kind]} {number}" for number, kind in enumerate(kinds)]
    columns = {
        "path": [f"{number}.wav" for number in range(len(ids))], "label": ["a" if kind else "" for kind in kinds],
        "file_start_s": [start_s if kind == 1 else float(kind) for kind in kinds], "duration_s": [np.nan if kind == 2 else 10.0 for kind in kinds],
        "channels": ["1,0" if kind == 3 else "" for kind in kinds], "item": [ODD[kind] for kind in kinds],
        "reader": ['{"format": "x"}' if kind == 1 else "" for kind in kinds], "partner": [PARTNER if kind == 4 else "" for kind in kinds],
        "azimuth_deg": [float(kind) if located and kind else np.nan for kind in kinds],
    }
    table = table_of(ids, **columns).assign(split=["train" if kind % 2 else "val" for kind in kinds])
    findings = Findings(table, Judge(CATALOG.clean, 1))
    lengths = [3000 * (1 + kind) for kind in kinds]
    findings.put([found(clip_id, sample_rate=8000, samples=samples) for clip_id, samples in zip(ids, lengths, strict=True)])
    catalog = parse_catalog(SETTINGS | {"shards": {"examples": aimed}}, "grows", "grows.toml")
    planned = plan_cache(catalog, table, findings, judge(table, findings, catalog.clean))
    shards = list(planned_shards(planned.examples, planned.settings))
    assert sum(len(shard.rows) for shard in shards) == len(planned.examples)
    for shard in shards:
        task = shard_task(planned, shard, "root", "cache")
        assert shard.fingerprint == task.fingerprint == shard_fingerprint(task.settings, task.examples)


def test_verdicts_that_are_news_are_written_down_whatever_was_there(tmp_path):
    ids = ["fine", "gets worse", "gets better", "stays bad", "was never seen"]
    known = [("ok", "", ""), ("ok", "", ""), ("rejected", "silent", "q"), ("failed", "empty", "e")]
    after = [("ok", "", ""), ("rejected", "silent", "quiet"), ("ok", "", ""), ("failed", "empty", "e"), ("ok", "", "")]
    with InspectionStore(tmp_path / "l.sqlite") as store:
        store._ledger.record([ClipRow(clip_id, *verdict) for clip_id, verdict in zip(ids, known, strict=False)])
        store._ledger._connection.execute("UPDATE clips SET updated = 'then'")
        verdicts = [(clip_id, *verdict) for clip_id, verdict in zip(ids, after, strict=True)]
        store.settle(pd.DataFrame(verdicts, columns=["clip_id", "status", "reason", "detail"]))
        rows = {row.clip_id: row for row in store._ledger.rows()}
    assert {clip_id: row[1:4] for clip_id, row in rows.items()} == dict(zip(ids[:4], after, strict=False))
    assert {clip_id for clip_id, row in rows.items() if row.updated == "then"} == {"fine", "stays bad"}


def test_a_part_of_the_ledger_by_its_states(tmp_path):
    rows = [ClipRow("a", "ok"), ClipRow("b", "failed", "network", "slow"), ClipRow("c", "ok"), ClipRow("d", "pending", "not_downloaded")]
    columns = ["clip_id", "reason", "detail", "attempts"]
    with Ledger(tmp_path / "l.sqlite") as ledger:
        ledger.record(rows)
        whole = ledger.table(columns)
        by_state = ledger.table(columns, ledger.counts()).sort_values("clip_id", ignore_index=True)
        assert ledger.table(["status", "reason"], [("ok", "")]).to_numpy().tolist() == [["ok", ""]] * 2
        assert ledger.table(columns, []).columns.tolist() == columns and len(ledger.table(columns, [])) == 0
    pd.testing.assert_frame_equal(whole, by_state)


@given(st.lists(st.tuples(st.sampled_from([0.05, 0.2, 0.25, 0.6, 2.0]), st.booleans(), st.sampled_from(["train", "test"])), min_size=1, max_size=60))
@hypothesis_settings(max_examples=30)
def test_shards_of_nothing_but_new_clips_are_drafted_as_they_lie_among_all(clips):
    lengths_s, fresh, splits = (list(column) for column in zip(*clips, strict=True))
    table = table_of([f"clip {number}" for number in range(len(clips))], duration_s=lengths_s).assign(split=splits)
    tables = {"segment": {"length_s": 0.25, "short": "drop"}, "audio": {"sample_rate": 8000, "channels": 1}}
    catalog = parse_catalog(SETTINGS | tables, "grows", "grows.toml")
    drafted = draft_plan(catalog, table, np.array(fresh))
    whole = draft_plan(catalog, table, np.ones(len(clips), dtype=bool)).clips
    known = set(table["clip_id"][~np.array(fresh)])
    if drafted is None:
        assert not any(fresh)
        return
    with_known = set(whole["shard"][whole["clip_id"].isin(known)])
    expected = whole[~whole["shard"].isin(with_known)].reset_index(drop=True)
    pd.testing.assert_frame_equal(drafted.clips, expected)
