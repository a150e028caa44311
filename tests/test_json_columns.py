"""JSON written in columns is the JSON that is written one value at a time."""

import json
import math

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audiodata import file_stamps
from audiodata.clip_files import clip_stamp, file_stamp
from audiodata.clips import clips_table
from audiodata.file_stamps import ClipFiles, FileStamps
from audiodata.inspection_keys import KeyedTable, clip_key
from audiodata.json_columns import each, joined, json_hashes, json_numbers, json_texts
from audiodata.planning import spans_at
from audiodata.records import ClipSpan, partner_text

TEXTS = st.text(st.characters(codec="utf-8"), max_size=8)
NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"], exclude_characters="/\\"), min_size=1, max_size=6).filter(
    lambda name: name not in (".", "..")
)


@given(st.lists(TEXTS, max_size=20), st.booleans())
def test_texts(texts, ensure_ascii):
    expected = [json.dumps(text, ensure_ascii=ensure_ascii) for text in texts]
    assert json_texts(pd.Series(texts, dtype="str"), ensure_ascii=ensure_ascii).to_pylist() == expected
    assert json_texts(pa.array(texts, pa.string()), ensure_ascii=ensure_ascii).to_pylist() == expected


@given(st.lists(st.floats(allow_infinity=False), max_size=20))
def test_numbers_are_written_as_python_writes_them_and_nan_is_null(numbers):
    expected = ["null" if math.isnan(number) else json.dumps(number) for number in numbers]
    assert json_numbers(np.array(numbers, dtype=np.float64)).to_pylist() == expected


def test_whole_numbers_and_hashes():
    assert json_numbers(np.array([0, -1, 2**62])).to_pylist() == ["0", "-1", str(2**62)]
    hashes = pa.array([b"\x00\xff", b"ab", b"\x01\x02"], pa.binary(2))
    assert json_hashes(hashes).to_pylist() == ['"00ff"', '"6162"', '"0102"']
    assert json_hashes(hashes[1:]).to_pylist() == ['"6162"', '"0102"']
    assert json_hashes(hashes[:0]).to_pylist() == []


def test_a_part_of_a_column_is_judged_by_itself():
    texts = pa.array(['"', "plain"], pa.large_string())
    assert json_texts(texts[1:]).to_pylist() == ['"plain"'] and json_texts(texts[:1]).to_pylist() == ['"\\""']


def test_each_different_text_is_looked_at_once():
    seen = []
    assert each(pd.Series(["a", "b", "a"]), lambda text: seen.append(text) or text.upper()).to_pylist() == ["A", "B", "A"]
    assert seen == ["a", "b"]
    assert joined("[", pa.array(["x", "y"], pa.large_string()), "]").to_pylist() == ["[x]", "[y]"]


PARTNERS = st.builds(ClipSpan, clip_id=NAMES, path=NAMES, duration_s=st.one_of(st.none(), st.just(2.5)), index=st.integers(0, 5))
CLIPS = st.lists(
    st.fixed_dictionaries({
        "path": st.lists(NAMES, min_size=1, max_size=2).map("/".join),
        "file_start_s": st.floats(0, 1e6),
        "duration_s": st.one_of(st.just(math.nan), st.floats(0.1, 1e6)),
        "index": st.integers(0, 9),
        "channels": st.sampled_from(["", "0", "1,0", "3,2,10"]),
        "more_paths": st.lists(NAMES.filter(lambda name: "|" not in name), max_size=2).map("|".join),
        "item": st.one_of(st.just(""), NAMES),
        "reader": st.sampled_from(["", '{"format": "nmnist", "key": [1]}']),
        "partner": st.one_of(st.just(""), PARTNERS.map(partner_text)),
    }),
    min_size=1, max_size=8,
)


def table_of(clips):
    return clips_table({"clip_id": [f"clip {number}" for number in range(len(clips))], **{name: [clip[name] for clip in clips] for name in clips[0]}})


@given(CLIPS)
@settings(max_examples=30)
def test_what_an_inspection_hangs_on_is_the_same_in_columns(clips):
    table = table_of(clips)
    spans = list(spans_at(table, np.arange(len(table))))
    stamps = [f"{number}-1+" for number in range(len(table))]
    keyed = KeyedTable(table)
    for part in map(keyed.take, (np.arange(1, len(table)), np.arange(1))):
        texts = part.keys(pa.array([stamps[row] for row in part.rows], pa.large_string())).to_pylist()
        assert texts == [json.dumps(clip_key(spans[row], stamps[row])) for row in part.rows]
        files = part.files()
        assert [(path, *files.more.get(number, ())) for number, path in enumerate(files.first)] == [spans[row].paths for row in part.rows]


def files_of(clips):
    return ClipFiles([clip.path for clip in clips], {number: clip.paths[1:] for number, clip in enumerate(clips) if clip.paths[1:]})


def test_stamps_are_those_of_one_clip_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(file_stamps, "LEAST_FILES", 70)
    for number in range(600):
        (tmp_path / f"{number}.wav").write_bytes(bytes(number))
    clips = [ClipSpan("", f"{number % 700}.wav", more_paths=(f"{number // 3}.wav",) if number % 2 else ()) for number in range(1000)]
    parts = [clips[:400], [], clips[400:500], clips[500:600], clips[600:]]
    with FileStamps(tmp_path) as stamps:
        pairs = list(stamps.of_each(parts, files_of))
    assert [part for part, _ in pairs] == parts
    found = [stamp for _, some in pairs for stamp in some]
    assert found == [clip_stamp(tmp_path, clip) for clip in clips]
    assert found[650] == "" and found[651].startswith("+217-")


@pytest.mark.parametrize("name", ["a folder", "a.wav", "none.wav", "a.wav/below", "link", "dangling", "b:c", "\u00e4 \U0001f3b5.wav", "x" * 300])
def test_whatever_lies_there_has_its_stamp(tmp_path, name):
    (tmp_path / "a folder").mkdir()
    (tmp_path / "a.wav").write_bytes(b"sound")
    (tmp_path / "b:c").write_bytes(b"four")
    (tmp_path / "\u00e4 \U0001f3b5.wav").write_bytes(b"note")
    (tmp_path / "link").symlink_to("a.wav")
    (tmp_path / "dangling").symlink_to("nowhere")
    with FileStamps(tmp_path) as stamps:
        (_, found), = stamps.of_each([None], lambda _: ClipFiles([name, "a.wav"], {}))
    assert found == [file_stamp(tmp_path / name), file_stamp(tmp_path / "a.wav")]
    assert found[1].startswith("5-")
