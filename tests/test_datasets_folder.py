"""Your own recordings: by folder, by pattern, by table; what a user gets wrong is said in one line."""

import os
from collections import Counter

import pytest

from audiodata.clips import clips_table
from audiodata.datasets import read_clips
from audiodata.datasets.folder import find_files
from audiodata.errors import CatalogError, MetadataError
from audiodata.splits import assign_splits, check_leakage


def touch(root, *files):
    for file in files:
        path = root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return root


def clips(root, classes=(), **keys):
    return read_clips({"name": "folder"} | keys, root, classes=classes)


def table_of(root, text, files=(), **keys):
    touch(root, *files)
    (root / "clips.csv").write_text(text)
    return clips(root, csv="clips.csv", **keys)


# by folder


def test_the_class_is_the_first_folder(tmp_path):
    table = clips(touch(tmp_path, "dog/a.wav", "dog/deep/b.FLAC", "rain/a.mp3", "rain/notes.txt"))
    assert table["path"].tolist() == ["dog/a.wav", "dog/deep/b.FLAC", "rain/a.mp3"]
    assert table["label"].tolist() == table["labels"].tolist() == ["dog", "dog", "rain"]
    assert table["clip_id"].tolist() == table["path"].tolist()
    assert table["group_id"].tolist() == ["dog/a", "dog/deep/b", "rain/a"]
    assert (table["published"] == "").all()


def test_a_folder_below_the_root_and_its_clips_are_named_without_it(tmp_path):
    table = clips(touch(tmp_path, "audio/dog/a.wav", "other/x.wav"), path="audio/")
    assert (table["clip_id"][0], table["path"][0]) == ("dog/a.wav", "audio/dog/a.wav")
    assert len(table) == 1


def test_two_formats_of_one_recording_are_one_group(tmp_path):
    table = clips(touch(tmp_path, "dog/a.wav", "dog/a.flac"))
    assert table["group_id"].tolist() == ["dog/a", "dog/a"]
    assert table["clip_id"].is_unique


@pytest.mark.parametrize(("train", "test"), [("train", "test"), ("Training", "eval"), ("dev", "Test")])
def test_folders_of_a_published_split_are_recognised(tmp_path, train, test):
    files = [f"{train}/dog/{number}.wav" for number in range(4)]
    table = clips(touch(tmp_path, *files, f"{test}/dog/x.wav", f"{test}/rain/y.wav", f"{train}/rain/z.wav"))
    assert set(table["label"]) == {"dog", "rain"}
    assert set(table["published"]) == {train, test}
    splits = assign_splits(table, scheme="published")
    assert set(splits[table["published"] == test]) == {"test"}


def test_a_class_may_be_called_test_beside_others(tmp_path):
    table = clips(touch(tmp_path, "test/a.wav", "rain/b.wav"))
    assert table["label"].tolist() == ["rain", "test"]


def test_splits_without_class_folders_are_refused(tmp_path):
    with pytest.raises(MetadataError, match=r"test/b.wav \(2 such files\) lies in a split's folder"):
        clips(touch(tmp_path, "train/dog/a.wav", "test/b.wav", "test/c.wav"))


def test_files_without_a_class_are_refused(tmp_path):
    with pytest.raises(MetadataError, match=r"a.wav \(2 such files\) lies in no class folder; .*`pattern` or `csv`"):
        clips(touch(tmp_path, "a.wav", "b.wav", "dog/c.wav"))


def test_an_empty_folder_says_what_was_looked_for(tmp_path):
    with pytest.raises(MetadataError, match=r"no sound files in it or below .*wav"):
        clips(touch(tmp_path, "dog/a.txt"))


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(MetadataError, match=r"sounds: can't be listed \(No such file"):
        clips(tmp_path, path="sounds")


def test_hidden_files_and_folders_are_passed_over(tmp_path):
    table = clips(touch(tmp_path, "dog/a.wav", "dog/._a.wav", ".cache/x.wav", "__MACOSX/dog/a.wav"))
    assert table["path"].tolist() == ["dog/a.wav"]


def test_links_are_followed_but_not_in_circles(tmp_path):
    touch(tmp_path, "root/dog/a.wav", "elsewhere/b.wav")
    (tmp_path / "root" / "rain").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "root" / "dog" / "up").symlink_to(tmp_path / "root")
    (tmp_path / "elsewhere" / "self").symlink_to(tmp_path / "elsewhere")
    assert clips(tmp_path / "root")["path"].tolist() == ["dog/a.wav", "rain/b.wav"]


def test_names_in_any_script_are_kept(tmp_path):
    table = clips(touch(tmp_path, "Hündchen/bellt – laut.wav", "雨/音 1.flac"))
    assert table["label"].tolist() == ["Hündchen", "雨"]
    assert table["path"].tolist() == ["Hündchen/bellt – laut.wav", "雨/音 1.flac"]


def test_a_name_that_is_no_text_is_refused(tmp_path):
    touch(tmp_path, "dog/a.wav")
    with open(os.fsencode(tmp_path / "dog") + b"/\xff.wav", "wb"):  # noqa: PTH123 (a name that pathlib has no text for)
        pass
    with pytest.raises(MetadataError, match=r"dog: the name b'\\xff.wav' is not UTF-8"):
        clips(tmp_path)


def test_a_name_with_a_line_break_is_refused(tmp_path):
    with pytest.raises(MetadataError, match="control characters"):
        clips(touch(tmp_path, "dog/a\nb.wav"))


def test_other_extensions_can_be_asked_for(tmp_path):
    touch(tmp_path, "dog/a.RAWX", "dog/b.wav")
    assert find_files(tmp_path, ["rawx"]) == find_files(tmp_path, [".RAWX"]) == ["dog/a.RAWX"]


def test_something_that_is_no_file_is_passed_over(tmp_path):
    touch(tmp_path, "dog/a.wav")
    os.mkfifo(tmp_path / "dog" / "pipe.wav")
    assert find_files(tmp_path, ["wav"]) == ["dog/a.wav"]


def test_classes_are_chosen_and_the_rest_marked(tmp_path):
    table = clips(touch(tmp_path, "dog/a.wav", "rain/b.wav", "sea/c.wav"), classes=("sea", "dog"))
    assert table["reason"].tolist() == ["", "other_class", ""]
    assert table["label"].tolist() == ["dog", "", "sea"]
    assert table["labels"].tolist() == ["dog", "rain", "sea"]


@pytest.mark.parametrize(
    ("classes", "message"),
    [(("dgo",), "no clip is of the class `dgo`; did you mean `dog`"), (("dog", "dog"), "`dog` is named twice")],
)
def test_an_unknown_class_is_named(tmp_path, classes, message):
    with pytest.raises(CatalogError, match=message):
        clips(touch(tmp_path, "dog/a.wav", "rain/b.wav"), classes=classes)


def test_there_is_no_quality_here(tmp_path):
    with pytest.raises(CatalogError, match="no ratings"):
        read_clips({"name": "folder"}, touch(tmp_path, "dog/a.wav"), quality=0.5)


# by pattern


def test_a_pattern_reads_class_group_and_split(tmp_path):
    touch(tmp_path, "fold1/ann_yes_0.wav", "fold2/bob_no_1.wav", "fold2/readme.wav")
    table = clips(tmp_path, pattern=r"fold(?P<split>\d)/(?P<group>[a-z]+)_(?P<class>yes|no)_\d+\.wav")
    assert table["label"].tolist() == ["yes", "no", ""]
    assert table["group_id"].tolist() == ["ann", "bob", "fold2/readme"]
    assert table["published"].tolist() == ["1", "2", ""]
    assert table["reason"].tolist() == ["", "", "other_class"]


def test_a_pattern_may_leave_the_class_to_the_folder(tmp_path):
    table = clips(touch(tmp_path, "dog/ann-1.wav", "rain/bob-2.wav"), pattern=r".*/(?P<group>[a-z]+)-\d\.wav")
    assert table["label"].tolist() == ["dog", "rain"]
    assert table["group_id"].tolist() == ["ann", "bob"]


@pytest.mark.parametrize(
    ("pattern", "error", "message"),
    [
        (r"(?P<class>\d+)\.wav", MetadataError, "`pattern` fits none of 2 files; the first is dog/a.wav"),
        (r".*(?P<class>x?)\.wav", MetadataError, "`pattern` tells no class of dog/a.wav"),
        (r"(?P<class>.*", CatalogError, "not a regular expression"),
        (r"(?P<clas>.*)/.*", CatalogError, "unknown named group `clas`; did you mean `class`"),
    ],
)
def test_a_pattern_that_can_not_be_is_explained(tmp_path, pattern, error, message):
    with pytest.raises(error, match=message):
        clips(touch(tmp_path, "dog/a.wav", "rain/b.wav"), pattern=pattern)


# by table


def test_columns_are_found_by_their_usual_names(tmp_path):
    table = table_of(tmp_path, "Filename,category,fold,src_file\na.wav,dog,1,s1\nd/b.ogg,rain,2,s2\n")
    assert table["path"].tolist() == ["a.wav", "d/b.ogg"]
    assert table["label"].tolist() == ["dog", "rain"]
    assert table["published"].tolist() == ["1", "2"]
    assert table["group_id"].tolist() == ["s1", "s2"]
    assert table["duration_s"].isna().all()


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_separators_are_seen(tmp_path, separator):
    text = "file,label,note\na.wav,dog,one\nb.wav,rain,two\n".replace(",", separator)
    assert table_of(tmp_path, text)["label"].tolist() == ["dog", "rain"]
    assert table_of(tmp_path, text, separator=separator)["label"].tolist() == ["dog", "rain"]


def test_quotes_blank_lines_and_marks_of_other_systems_are_read(tmp_path):
    text = '\ufefffile,label\r\n"a, b.wav","dog, big"\r\n\r\nsub\\c.wav,rain\r\n'
    table = table_of(tmp_path, text)
    assert table["path"].tolist() == ["a, b.wav", "sub/c.wav"]
    assert table["label"].tolist() == ["dog, big", "rain"]


def test_columns_can_be_named(tmp_path):
    keys = {"file_column": "a", "class_column": "b", "group_column": "c", "file_suffix": ".wav"}
    table = table_of(tmp_path, "a,b,c\nx,dog,ann\n", **keys)
    assert (table["path"][0], table["label"][0], table["group_id"][0]) == ("x.wav", "dog", "ann")


def test_files_that_are_not_there_stay_in_the_table(tmp_path):
    table = table_of(tmp_path, "file,label\na.wav,dog\ngone.wav,rain\n", files=["a.wav"])
    assert table["path"].tolist() == ["a.wav", "gone.wav"]
    assert (table["reason"] == "").all()


def test_files_lie_below_the_path(tmp_path):
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta" / "esc.csv").write_text("filename,category\na.wav,dog\n")
    table = clips(tmp_path, csv="meta/esc.csv", path="audio")
    assert (table["clip_id"][0], table["path"][0]) == ("a.wav", "audio/a.wav")


def test_whole_paths_below_the_root_become_relative(tmp_path):
    table = table_of(tmp_path, f"file,label\n{tmp_path}/d/a.wav,dog\n./d/../b.wav,dog\n")
    assert table["path"].tolist() == ["d/a.wav", "b.wav"]


@pytest.mark.parametrize("file", ["../x.wav", "a/../../x.wav", "/etc/passwd", "..\\x.wav", "C:\\x.wav", ".", ".."])
def test_a_file_outside_of_the_root_is_refused_with_its_line(tmp_path, file):
    with pytest.raises(MetadataError, match=r"clips.csv: line 3: file .* leaves .*; files must lie below it"):
        table_of(tmp_path, f"file,label\na.wav,dog\n{file},dog\n")


def test_spans_of_a_file_are_clips_of_one_group(tmp_path):
    text = "file,label,from,for\nlong.wav,dog,0,2.5\nlong.wav,rain,2.5,\n"
    table = table_of(tmp_path, text, start_column="from", duration_column="for")
    assert table["clip_id"].tolist() == ["long.wav@0", "long.wav@2500"]
    assert table["file_start_s"].tolist() == table["start_s"].tolist() == [0.0, 2.5]
    assert table["duration_s"].tolist()[0] == 2.5
    assert table["duration_s"].isna().tolist() == [False, True]
    assert table["group_id"].tolist() == ["long", "long"]


def test_an_end_becomes_a_duration(tmp_path):
    table = table_of(tmp_path, "file,label,a,b\nlong.wav,dog,0.1,0.4\n", start_column="a", end_column="b")
    assert table["duration_s"].tolist() == [0.3]


def test_times_are_never_guessed(tmp_path):
    """UrbanSound8K tells start and end in the recording that a file was cut from, not in the file."""
    table = table_of(tmp_path, "slice_file_name,fsID,start,end,fold,class\n1-0.wav,1,68.5,72.5,5,dog\n")
    assert table["file_start_s"].tolist() == [0.0]
    assert table["group_id"].tolist() == ["1"]


@pytest.mark.parametrize(
    ("text", "keys", "message"),
    [
        ("a,label\nx.wav,dog\n", {}, "no column has one of the usual names .*`file_column`.*columns: a, label"),
        ("file,b\nx.wav,dog\n", {}, "`class_column`.*columns: file, b"),
        ("file,label\nx.wav,dog\n", {"group_column": "who"}, r"no column `who` \(asked for by `group_column`\)"),
        ("file,label\nx.wav\n", {}, "line 2: expected 2 fields, found 1"),
        ("file,label\nx.wav,dog,3\n", {}, "line 2: expected 2 fields, found 3"),
        ("file,label\nx.wav,\n", {}, "line 2: no class"),
        ("file,label\n,dog\n", {}, "line 2: no file"),
        ("file,label\n", {}, "has no rows below its header"),
        ("", {}, "expected a header row"),
        ("file,file\nx,y\n", {}, "each column with its own name"),
        ("file,label\na.wav,dog\n\na.wav,rain\n", {}, "line 4: 'a.wav' stands on line 2 too"),
        ("file,label,s\na.wav,dog,x\n", {"start_column": "s"}, "line 2: s = 'x' is not a number of seconds"),
        ("file,label,s\na.wav,dog,inf\n", {"start_column": "s"}, "is not a number of seconds"),
        ("file,label,s\na.wav,dog,-1\n", {"start_column": "s"}, "line 2: start -1 s"),
        ("file,label,d\na.wav,dog,0\n", {"duration_column": "d"}, "line 2: start 0 s, duration 0 s"),
        ("file,label\na.wav,d\tog\n", {}, "control characters"),
    ],
)
def test_a_bad_table_is_explained(tmp_path, text, keys, message):
    with pytest.raises(MetadataError, match=message) as caught:
        table_of(tmp_path, text, **keys)
    assert "\n" not in str(caught.value)


def test_a_table_in_another_encoding_is_refused(tmp_path):
    (tmp_path / "clips.csv").write_bytes("file,label\nü.wav,dog\n".encode("latin-1"))
    with pytest.raises(MetadataError, match=r"clips.csv: not UTF-8 \(byte 11\)"):
        clips(tmp_path, csv="clips.csv")


def test_a_missing_table_is_named(tmp_path):
    with pytest.raises(MetadataError, match=r"nowhere.csv: can't be read"):
        clips(tmp_path, csv="nowhere.csv")


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"csv": "a.csv", "pattern": "x"}, "`csv` or `pattern`, not both"),
        ({"class_column": "label"}, "`class_column` needs `csv`"),
        ({"csv": "../a.csv"}, "`csv`.*below the data root"),
        ({"path": "/abs"}, "`path`.*below the data root"),
        ({"csv": "a.csv", "end_column": "e", "duration_column": "d"}, "not both"),
        ({"csv": "a.csv", "separator": "::"}, "one character"),
        ({"colour": "red"}, "unknown key `colour`"),
        ({"patern": "x"}, "unknown key `patern`; did you mean `pattern`"),
    ],
)
def test_contradicting_settings_are_refused(tmp_path, keys, message):
    with pytest.raises(CatalogError, match=message):
        clips(tmp_path, **keys)


# real recordings


def test_the_environmental_sounds_by_table(shared_data):
    root = shared_data / "environmental_sounds"
    table = clips(root, csv="clips.csv", class_column="class_name", group_column="freesound_id", split_column="fold")
    assert len(table) == 238
    assert all((root / path).is_file() for path in table["path"])
    assert Counter(table["label"]) == dict.fromkeys(set(table["label"]), 24) | {"Rooster": 22}
    table["split"] = assign_splits(table, scheme="published", published={"train": ["1", "2"], "test": ["3"]})
    check_leakage(table)
    assert (table["split"] == "test").sum() == 80


def test_the_environmental_sounds_by_folder_have_the_same_classes(shared_data):
    by_folder = clips(shared_data / "environmental_sounds").set_index("path")["label"]
    by_table = clips(shared_data / "environmental_sounds", csv="clips.csv").set_index("path")["label"]
    assert by_folder.str[6:].to_dict() == by_table.to_dict()


def test_the_spoken_digits_by_pattern(shared_data):
    pattern = r"(?P<class>[0-9])_(?P<group>[a-z]+)_[0-9]+\.wav"
    table = clips(shared_data / "spoken_digits", path="recordings", pattern=pattern)
    assert table.groupby(["label", "group_id"]).size().tolist() == [50] * 40
    splits = assign_splits(table, scheme="held_out", held_out={"test": ["nicolas"]})
    assert set(table.loc[splits == "test", "group_id"]) == {"nicolas"}
    assert (splits == "test").sum() == 500


def test_the_table_is_a_clips_table(tmp_path):
    table = clips(touch(tmp_path, "dog/a.wav"))
    assert list(table.columns) == list(clips_table({"clip_id": ["x"], "path": ["x"]}).columns)
