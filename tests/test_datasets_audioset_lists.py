"""AudioSet's files in the forms that are met, and mistakes in them named by file and line."""

import gzip

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_audioset import HEADER, ROWS, STRONG_HEADER, TREE, published, resaved

from audiodata.datasets.audioset_lists import (
    event_spans,
    merge_spans,
    milliseconds,
    read_class_labels,
    read_display_names,
    read_quality,
    read_segments,
    read_strong,
    read_video_ids,
    whole_segments,
)
from audiodata.errors import MetadataError
from audiodata.timing import seconds_to_milliseconds

KNOWN = {node[0] for node in TREE}
EXPECTED = [
    {"ytid": video, "start_ms": round(start * 1000), "end_ms": round(end * 1000), "labels": labels}
    for video, start, end, labels in ROWS
]


def written(tmp_path, text, name="list.csv"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def without_comments(text):
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith("#"))


FORMS = {
    "as published": published(),
    "re-saved with an index column": resaved(),
    "header row with #": "# YTID,start_seconds,end_seconds,positive_labels\n" + without_comments(published()),
    "header row with spaces": "YTID, start_seconds, end_seconds, positive_labels\n" + without_comments(published()),
    "no header at all": without_comments(published()),
    "other spellings": resaved().replace("YTID,start_seconds,end_seconds,positive", "youtube_id,start,end,positive"),
    "quoted header": resaved().replace("YTID,start_seconds", '"YTID","start_seconds"'),
    "lines of another system": published().replace("\n", "\r\n"),
    "blank lines": published().replace("\n-abc", "\n\n-abc") + "\n\n",
    "byte order mark": "\ufeff" + resaved(),
    "no last line end": published().rstrip("\n"),
    "tabs": "YTID\tstart_seconds\tend_seconds\tpositive_labels\n"
    + "".join(f"{video}\t{start}\t{end}\t{','.join(labels)}\n" for video, start, end, labels in ROWS),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_list_is_read_alike(tmp_path, form):
    assert read_segments(written(tmp_path, FORMS[form]), KNOWN).to_pylist() == EXPECTED


def test_columns_may_stand_in_any_order(tmp_path):
    text = "positive_labels,end_seconds,note,YTID,start_seconds\n\"/m/dog,/m/speech\",12.5,x,aaaaaaaaaaa,2.5\n"
    (row,) = read_segments(written(tmp_path, text), KNOWN).to_pylist()
    assert row == {"ytid": "aaaaaaaaaaa", "start_ms": 2500, "end_ms": 12500, "labels": ["/m/dog", "/m/speech"]}


def test_packed_lists_are_read(tmp_path):
    assert read_segments(written(tmp_path, gzip.compress(published().encode()))).to_pylist() == EXPECTED


def line(video="aaaaaaaaaaa", start="1.000", end="11.000", labels='"/m/dog"'):
    return f"{video}, {start}, {end}, {labels}\n"


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (line(video="../../x"), r"YTID = '../../x' is no video id"),
        (line(video="/etc/passwd"), "is no video id"),
        (line(video="aaaaaaaaaa"), "is no video id"),
        (line(video="aaaaaaaaaaaa"), "is no video id"),
        (line(video="aaaaaaaaaa;"), "is no video id"),
        (line(start="soon"), "start_seconds = 'soon' is not a number"),
        (line(end="nan"), "end_seconds = 'nan' is not a number"),
        (line(end=""), "end_seconds = '' is not a number"),
        (line(start="-1.000"), "expected 0 <= start < end"),
        (line(end="1.000"), "expected 0 <= start < end"),
        (line(labels='"/m/dog,/m/nothing"'), "label '/m/nothing' is not in the ontology"),
        (line(labels='""'), "label '' is not in the ontology"),
        (line(labels='"/m/dog,"'), "label '' is not in the ontology"),
        ("aaaaaaaaaaa, 1.000, 11.000\n", "expected 4 fields .*, found 3"),
        ("aaaaaaaaaaa, 1.000, 11.000, /m/dog, /m/speech\n", "expected 4 fields .*, found 5"),
        (line(labels='"/m/dog'), "is not in the ontology"),
        (line(labels='"/m/\xff"').encode("latin-1"), "not UTF-8"),
    ],
)
def test_a_bad_line_is_named(tmp_path, bad, message):
    good = line().encode()
    text = HEADER.encode() + good + b"\n" + good + (bad if isinstance(bad, bytes) else bad.encode()) + good
    path = written(tmp_path, text)
    with pytest.raises(MetadataError, match=message) as caught:
        read_segments(path, KNOWN)
    assert str(caught.value).startswith(f"{path}: line 7: ")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300 + len(str(path))


def test_a_missing_column_is_named_with_those_that_are_there(tmp_path):
    path = written(tmp_path, resaved().replace("end_seconds", "weight"))
    with pytest.raises(MetadataError, match=r"no column `end_seconds`; columns: .*weight"):
        read_segments(path)


@pytest.mark.parametrize("text", ["", HEADER, "YTID,start_seconds,end_seconds,positive_labels\n", HEADER + "\n\n"])
def test_a_list_without_rows_is_refused(tmp_path, text):
    with pytest.raises(MetadataError, match="no rows"):
        read_segments(written(tmp_path, text))


def test_a_file_that_is_missing_or_damaged_is_named(tmp_path):
    with pytest.raises(MetadataError, match=r"nowhere.csv: can't be read \(No such file"):
        read_segments(tmp_path / "nowhere.csv")
    packed = written(tmp_path, gzip.compress(published().encode())[:60], "cut.csv.gz")
    with pytest.raises(MetadataError, match=r"cut.csv.gz: a damaged or truncated gzip file"):
        read_segments(packed)


def test_any_label_will_do_where_none_are_known(tmp_path):
    (row,) = read_segments(written(tmp_path, HEADER + line(labels='"/m/nothing"'))).to_pylist()
    assert row["labels"] == ["/m/nothing"]


@given(st.lists(st.floats(0, 1e5), max_size=20))
def test_milliseconds_are_those_of_the_timing_room(seconds):
    assert milliseconds(np.array(seconds)).tolist() == [seconds_to_milliseconds(value) for value in seconds]


# strong labels


def strong(tmp_path, *rows, header=STRONG_HEADER):
    return written(tmp_path, header + "".join("\t".join(map(str, row)) + "\n" for row in rows), "strong.tsv")


def test_the_start_of_a_segment_stands_after_the_last_underscore(tmp_path):
    path = strong(tmp_path, ("a_c_efg_ij__30000", 1.419, 1.599, "/m/dog"), ("-_-_-_-_-_-_0", 0, 10, "/m/dog"))
    events = read_strong(path, KNOWN)
    assert events["ytid"].to_pylist() == ["a_c_efg_ij_", "-_-_-_-_-_-"]
    assert events["segment_ms"].to_pylist() == [30000, 0]


def test_an_event_lies_at_the_start_of_its_segment_plus_its_own_time(tmp_path):
    path = strong(tmp_path, ("abcdefghijk_30000", 1.419, 1.599, "/m/dog"), ("abcdefghijk_120000", 0.0, 10.0, "/m/bell"))
    spans = event_spans(read_strong(path, KNOWN)).to_pylist()
    assert spans == [
        {"ytid": "abcdefghijk", "start_ms": 31419, "end_ms": 31599, "labels": ["/m/dog"]},
        {"ytid": "abcdefghijk", "start_ms": 120000, "end_ms": 130000, "labels": ["/m/bell"]},
    ]


def test_absent_labels_leave_their_segment_without_one(tmp_path):
    header = STRONG_HEADER.replace("label", "label\tpresent")
    rows = [("abcdefghijk_0", 0.96, 1.92, "/m/dog", "PRESENT"), ("zzzzzzzzzzz_0", 0, 0.96, "/m/dog", "NOT_PRESENT")]
    events = read_strong(strong(tmp_path, *rows, header=header), KNOWN)
    assert events["present"].to_pylist() == [True, False]
    assert whole_segments(events)["labels"].to_pylist() == [["/m/dog"], []]
    assert event_spans(events)["ytid"].to_pylist() == ["abcdefghijk"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (("abcdefghijk", 0, 1, "/m/dog"), "expected a video id, `_` and milliseconds"),
        (("../../etc/x_0", 0, 1, "/m/dog"), "expected a video id"),
        (("abcdefghijk_-5", 0, 1, "/m/dog"), "expected a video id"),
        (("abcdefghijk_0", 2, 1, "/m/dog"), "expected 0 <= start < end <= 10"),
        (("abcdefghijk_30000", 31.4, 31.6, "/m/dog"), "in seconds from the start of the segment"),
        (("abcdefghijk_0", 0, 1, "/m/nothing"), "'/m/nothing' is not in the ontology"),
    ],
)
def test_a_bad_event_is_named(tmp_path, row, message):
    path = strong(tmp_path, ("abcdefghijk_0", 0, 1, "/m/dog"), row)
    with pytest.raises(MetadataError, match=message) as caught:
        read_strong(path, KNOWN)
    assert str(caught.value).startswith(f"{path}: line 3: ")


def test_presence_is_one_of_two_words(tmp_path):
    header = STRONG_HEADER.replace("label", "label\tpresent")
    path = strong(tmp_path, ("abcdefghijk_0", 0, 1, "/m/dog", "MAYBE"), header=header)
    with pytest.raises(MetadataError, match="line 2: present = 'MAYBE': expected PRESENT or NOT_PRESENT"):
        read_strong(path, KNOWN)


def test_rows_of_one_clip_become_one_with_all_their_labels(tmp_path):
    rows = [
        ("abcdefghijk_0", 0, 1, "/m/dog"),
        ("zzzzzzzzzzz_0", 0, 1, "/m/bell"),
        ("abcdefghijk_0", 2, 3, "/m/bell"),
        ("abcdefghijk_0", 4, 5, "/m/dog"),
    ]
    spans = whole_segments(read_strong(strong(tmp_path, *rows), KNOWN))
    merged, clip_ids = merge_spans(spans, spans["ytid"])
    assert clip_ids.to_pylist() == merged["ytid"].to_pylist() == ["abcdefghijk", "zzzzzzzzzzz"]
    assert merged["labels"].to_pylist() == [["/m/dog", "/m/bell"], ["/m/bell"]]
    again, same = merge_spans(merged, clip_ids)
    assert again is merged and same is clip_ids


# names and quality


def test_class_labels_have_quoted_names(tmp_path):
    path = written(tmp_path, 'index,mid,display_name\n0,/m/a,"Speech"\n1,/m/b,"Male speech, man speaking"\n')
    assert read_class_labels(path) == {"/m/a": "Speech", "/m/b": "Male speech, man speaking"}


def test_class_labels_are_numbered_from_zero(tmp_path):
    path = written(tmp_path, 'index,mid,display_name\n0,/m/a,"Speech"\n2,/m/b,"Dog"\n')
    with pytest.raises(MetadataError, match="line 3: index = '2': expected 1"):
        read_class_labels(path)


def test_display_names_have_no_header(tmp_path):
    path = written(tmp_path, "/m/a\tAmbulance (siren)\n/m/b\tLivestock, farm animals\n")
    assert read_display_names(path) == {"/m/a": "Ambulance (siren)", "/m/b": "Livestock, farm animals"}


def test_quality_is_a_share_and_zero_where_nothing_was_rated(tmp_path):
    path = written(tmp_path, "label_id,num_rated,num_true\n/m/a,100,87\n/m/b,0,0\n/m/c,10,10\n")
    assert read_quality(path) == {"/m/a": 0.87, "/m/b": 0.0, "/m/c": 1.0}


@pytest.mark.parametrize("counts", ["10,11", "x,1", "10,-1", "10,", "1.5,1"])
def test_counts_that_are_none_are_named(tmp_path, counts):
    path = written(tmp_path, f"label_id,num_rated,num_true\n/m/a,100,87\n/m/b,{counts}\n")
    with pytest.raises(MetadataError, match=r"line 3: .*expected counts"):
        read_quality(path)


def test_a_quality_table_needs_its_columns(tmp_path):
    path = written(tmp_path, "label_id,num_true\n/m/a,87\n")
    with pytest.raises(MetadataError, match="no column `num_rated`; columns: label_id, num_true"):
        read_quality(path)


def test_video_ids_stand_one_a_line(tmp_path):
    path = written(tmp_path, "# rerated\n-abcdefghij\n\na_cd_fgh_jk\r\n")
    assert read_video_ids(path) == {"-abcdefghij", "a_cd_fgh_jk"}
    with pytest.raises(MetadataError, match=r"line 2: '\.\./x' is no video id"):
        read_video_ids(written(tmp_path, "aaaaaaaaaaa\n../x\n"))


# the real files


@pytest.mark.parametrize(
    ("name", "segments", "labels", "short", "dashed", "underscored"),
    [("balanced_train", 22160, 52882, 345, 459, 3164), ("eval", 20371, 51804, 361, 392, 2998)],
)
def test_the_real_lists_have_their_published_counts(shared_data, name, segments, labels, short, dashed, underscored):
    table = read_segments(shared_data / "audioset" / f"{name}_segments.csv").to_pandas()
    assert len(table) == table["ytid"].nunique() == segments
    assert table["labels"].map(len).sum() == labels
    assert len({label for row in table["labels"] for label in row}) == 527
    assert (table["end_ms"] - table["start_ms"] != 10_000).sum() == short
    assert table["ytid"].str.startswith("-").sum() == dashed
    assert table["ytid"].str.contains("_").sum() == underscored


def test_the_real_label_tables_have_their_published_sizes(shared_data):
    assert len(read_class_labels(shared_data / "audioset" / "class_labels_indices.csv")) == 527
    assert len(read_display_names(shared_data / "audioset" / "mid_to_display_name.tsv")) == 456


def test_the_real_strong_lists_agree_with_a_plain_reading(shared_data):
    paths = sorted((shared_data / "audioset" / "strong_subset").glob("*.tsv"))
    assert len(paths) == 12
    for path in paths:
        rows = [row.split("\t") for row in path.read_text().splitlines()[1:]]
        events = read_strong(path).to_pylist()
        assert len(events) == len(rows)
        for event, row in zip(events, rows, strict=True):
            video, start = row[0].rsplit("_", 1)
            assert (event["ytid"], event["segment_ms"]) == (video, int(start))
            assert (event["onset_ms"], event["offset_ms"]) == (round(float(row[1]) * 1000), round(float(row[2]) * 1000))
            assert (event["label"], event["present"]) == (row[3], True)
