"""N-MNIST: as published, and in the layout of SLAYER."""

import shutil

import pytest
from made_event_sets import read_row, some_saccades, write, write_nmnist, write_slayer

from audiodata.catalog import load_catalog
from audiodata.datasets import read_clips
from audiodata.errors import CatalogError, MetadataError
from audiodata.splits import assign_splits


def clips(root, classes=(), **keys):
    return read_clips({"name": "nmnist"} | keys, root, classes=classes)


def test_the_published_folders(tmp_path):
    table = clips(write_nmnist(tmp_path))
    assert len(table) == 40
    assert table["clip_id"].tolist()[:3] == ["train-00001", "train-00011", "train-00002"]
    assert table["path"][1] == "Train/0/00011.bin"
    assert table["label"].tolist()[:4] == ["0", "0", "1", "1"]
    assert table.groupby("published").size().to_dict() == {"test": 20, "train": 20}
    assert table["group_id"].is_unique


def test_the_published_split(tmp_path):
    table = clips(write_nmnist(tmp_path))
    split = assign_splits(table, **load_catalog("nmnist").split.model_dump())
    assert split.tolist() == table["published"].tolist()


def test_a_recording_is_read(tmp_path):
    table = clips(write_nmnist(tmp_path))
    events = read_row(tmp_path, table.iloc[5])
    assert events.sensor_size == (34, 34, 2) and len(events.array) == 80


@pytest.mark.parametrize("names", [("train", "test"), ("TRAIN", "TEST"), ("Train",)])
def test_the_parts_may_be_written_otherwise_and_one_will_do(tmp_path, names):
    table = clips(write_nmnist(tmp_path, names, digits="01"))
    assert table["published"].unique().tolist() == [name.lower() for name in names]


def test_where_tonic_puts_them(tmp_path):
    write_nmnist(tmp_path / "NMNIST", digits="4")
    assert clips(tmp_path, path="NMNIST")["path"][0] == "NMNIST/Train/4/00005.bin"


def test_the_layout_of_slayer(tmp_path):
    table = clips(write_slayer(tmp_path, digits=[*range(10), 3]))
    assert table["clip_id"].tolist()[-3:] == ["train-9", "train-10", "train-11"]
    assert table["label"].tolist() == [*"0123456789", "3"]
    assert table["path"][10] == "train/11.bs2"
    assert len(read_row(tmp_path, table.iloc[10]).array) == 80


def test_a_file_that_the_list_does_not_name_is_left_out_and_one_that_is_gone_stays(tmp_path):
    write_slayer(tmp_path)
    write(tmp_path / "train" / "77.bs2", some_saccades(7))
    (tmp_path / "train" / "2.bs2").unlink()
    table = clips(tmp_path)
    assert table["clip_id"].tolist() == ["train-1", "train-2", "train-3", "train-77"]
    assert table["reason"].tolist() == ["", "", "", "other_class"]
    assert not (tmp_path / table["path"][1]).exists()


@pytest.mark.parametrize(
    ("line", "message"),
    [("4\tx", r"train_labels.txt: line 5: '4\\tx'; expected a number and a digit"), ("1\t5", "line 5: .*expected each number once")],
)
def test_a_line_that_is_none_is_named(tmp_path, line, message):
    write_slayer(tmp_path)
    with (tmp_path / "train_labels.txt").open("a") as file:
        file.write(line)
    with pytest.raises(MetadataError, match=message):
        clips(tmp_path)


def test_a_file_outside_the_digits_is_named(tmp_path):
    write_nmnist(tmp_path, digits="3")
    write(tmp_path / "Train" / "x" / "1.bin", some_saccades(1))
    with pytest.raises(MetadataError, match=r"Train/x/1.bin: lies in no folder of a digit"):
        clips(tmp_path)


def test_archives_that_are_still_packed_are_named(tmp_path):
    for name in ("Train.zip", "Test.zip"):
        write(tmp_path / name, b"")
    with pytest.raises(MetadataError, match=r"neither Train nor Test.*unpack Test.zip and Train.zip there"):
        clips(tmp_path)


def test_an_empty_part_is_explained(tmp_path):
    (tmp_path / "Train").mkdir()
    with pytest.raises(MetadataError, match=r"Train: no recordings \(.bin or .bs2\)"):
        clips(tmp_path)


def test_an_unknown_class_is_named(tmp_path):
    with pytest.raises(CatalogError, match="no clip is of the class `ten`"):
        clips(write_nmnist(tmp_path), classes=("ten",))


def test_recorded_digits(shared_data):
    root = shared_data / "events" / "nmnist"
    table = clips(root)
    assert table["label"].value_counts().sort_index().tolist() == [50, 66, 52, 50, 52, 39, 45, 52, 39, 55]
    assert table["clip_id"].tolist() == [f"train-{number}" for number in range(1, 501)]
    events = read_row(root, table.iloc[0])
    assert 1112 <= len(events.array) <= 7152 and events.array["t"][-1] <= 315_109


def test_recorded_digits_may_lie_further_down(shared_data, tmp_path):
    (tmp_path / "a").mkdir()
    shutil.copy(shared_data / "events" / "nmnist" / "train" / "1.bs2", write_slayer(tmp_path / "a" / "b") / "train" / "1.bs2")
    table = clips(tmp_path, path="a/b")
    assert table["path"][0] == "a/b/train/1.bs2"
    assert len(read_row(tmp_path, table.iloc[0]).array) > 1000
