"""N-TIDIGITS18: a made file of the same structure; labels, vocabulary, speakers."""

import hashlib

import h5py
import numpy as np
import pytest
from made_event_sets import TEST_IDS, TRAIN_IDS, read_row, write_ntidigits
from media_server import MediaServer

from audiodata.catalog import load_catalog
from audiodata.datasets import ntidigits, read_clips
from audiodata.datasets.remote import RemoteFile
from audiodata.errors import CatalogError, LeakageError, MetadataError
from audiodata.splits import assign_splits, check_leakage


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ntidigits")
    write_ntidigits(folder / "n-tidigits.hdf5")
    return folder


def clips(root, classes=(), **keys):
    return read_clips({"name": "ntidigits"} | keys, root, classes=classes)


def by_name(table, column):
    return dict(zip(table["clip_id"], table[column], strict=True))


def test_every_recording_is_in_the_table_in_the_order_of_the_file(root):
    table = clips(root)
    assert table["clip_id"].tolist() == [*(f"train/{name}" for name in TRAIN_IDS), *(f"test/{name}" for name in TEST_IDS)]
    assert table["item"].tolist() == table["clip_id"].tolist()
    assert set(table["path"]) == {"n-tidigits.hdf5"}


def test_single_digits_of_ten_classes_are_the_default(root):
    table = clips(root)
    labels = by_name(table, "label")
    assert labels["train/man-ae-a-z"] == "0" and labels["train/woman-ab-b-9"] == "9"
    left_out = table.loc[table["reason"] == "other_class", "clip_id"].tolist()
    assert left_out == [
        *("train/man-ae-a-o", "train/man-ae-a-1o4", "train/woman-ab-a-9z"),
        *("test/man-br-b-o", "test/woman-cd-a-22"),
    ]
    assert (table.loc[table["reason"] != "", "label"] == "").all()


def test_oh_is_the_eleventh_class(root):
    table = clips(root, vocabulary=11)
    assert by_name(table, "label")["train/man-ae-a-o"] == "oh"
    assert set(table.loc[table["reason"] == "", "label"]) == {"0", "1", "9", "oh"}


def test_sequences_keep_their_words_in_order(root):
    table = clips(root, digits="all", vocabulary=11)
    assert (table["reason"] == "").all()
    words = by_name(table, "labels")
    assert words["train/man-ae-a-1o4"] == "1;oh;4" and words["train/woman-ab-a-9z"] == "9;0" and words["test/woman-cd-a-22"] == "2;2"
    labels = by_name(table, "label")
    assert labels["train/man-ae-a-1o4"] == "" and labels["train/man-ae-a-1"] == "1"


def test_sequences_with_an_oh_are_left_out_of_ten_classes(root):
    reasons = by_name(clips(root, digits="all"), "reason")
    assert reasons["train/man-ae-a-1o4"] == "other_class" == reasons["train/man-ae-a-o"]
    assert reasons["train/woman-ab-a-9z"] == ""


def test_chosen_classes_are_of_single_digits(root):
    table = clips(root, classes=("9", "1"), digits="all")
    assert set(table.loc[table["reason"] == "", "label"]) == {"1", "9"}


def test_the_publishers_split_shares_no_speaker(root):
    table = clips(root)
    table["split"] = assign_splits(table, **load_catalog("n-tidigits").split.model_dump())
    check_leakage(table)
    assert table.groupby("split")["group_id"].unique().map(sorted).to_dict() == {
        "": ["man-ae", "man-br", "woman-ab", "woman-cd"],
        "test": ["man-br", "woman-cd"],
        "train": ["man-ae", "woman-ab"],
    }


def test_the_first_half_of_each_class(root):
    table = clips(root, split="first_half", grouping="recording")
    ones = table[table["label"] == "1"]
    assert ones["clip_id"].tolist() == ["train/man-ae-a-1", "train/man-ae-b-1", "train/woman-ab-a-1", "test/man-br-a-1"]
    assert ones["published"].tolist() == ["train", "train", "test", "test"]
    table["split"] = assign_splits(table, scheme="published")
    check_leakage(table)


def test_the_first_half_parts_speakers_and_says_so(root):
    table = clips(root, split="first_half")
    table["split"] = assign_splits(table, scheme="published")
    with pytest.raises(LeakageError, match=r"man-br|woman-ab"):
        check_leakage(table)


def test_a_recording_is_read(root):
    row = clips(root).iloc[6]
    events = read_row(root, row)
    assert events.sensor_size == (64, 1, 1) and events.sense == "auditory"
    with h5py.File(root / "n-tidigits.hdf5", locking=False) as file:
        seconds = file["train_timestamps/woman-ab-a-9z"][()]
    np.testing.assert_array_equal(events.array["t"], np.round(seconds * 1e6))


def test_the_file_may_be_called_otherwise(root, tmp_path):
    write_ntidigits(tmp_path / "das" / "digits.h5")
    assert clips(tmp_path, path="das/digits.h5")["path"][0] == "das/digits.h5"


def test_thousands_of_recordings_are_listed_without_their_events(tmp_path):
    ids = [f"man-{number:04d}-a-{digit}" for number in range(1000) for digit in "oz1234567"]
    with h5py.File(tmp_path / "n-tidigits.hdf5", "w") as file:  # without any events at all
        file["train_labels"], file["test_labels"] = np.array(ids, "S"), np.array(["woman-x-a-9"], "S")
    table = clips(tmp_path)
    assert len(table) == 9001 and (table["reason"] == "").sum() == 8001


def test_no_file_says_how_to_get_it(tmp_path):
    with pytest.raises(MetadataError, match=r"n-tidigits.hdf5: not there; put n-tidigits.hdf5 there, or set `fetch = true`"):
        clips(tmp_path)


def test_another_file_is_explained(tmp_path):
    (tmp_path / "n-tidigits.hdf5").write_bytes(b"PK\x03\x04 a zip of an old mirror")
    with pytest.raises(MetadataError, match="not the file of N-TIDIGITS18"):
        clips(tmp_path)
    with h5py.File(tmp_path / "n-tidigits.hdf5", "w") as file:
        file["something"] = 1
    with pytest.raises(MetadataError, match="not the file of N-TIDIGITS18"):
        clips(tmp_path)


@pytest.mark.parametrize("name", ["child-ae-a-1", "man-ae-a-", "man-ae-a-1x", "man-ae-1"])
def test_an_id_that_is_none_is_named(tmp_path, name):
    with h5py.File(tmp_path / "n-tidigits.hdf5", "w") as file:
        file["train_labels"], file["test_labels"] = np.array(["man-ae-a-1", name], "S"), np.array(["woman-x-a-9"], "S")
    with pytest.raises(MetadataError, match=f"train_labels has '{name}'; expected"):
        clips(tmp_path)


def test_it_is_fetched_where_the_catalog_says_so(root, tmp_path, monkeypatch):
    body = (root / "n-tidigits.hdf5").read_bytes()
    with MediaServer({"n-tidigits.hdf5": body}) as server:
        remote = RemoteFile("n-tidigits.hdf5", server.template.format(id="n-tidigits.hdf5"), hashlib.md5(body).hexdigest())
        monkeypatch.setattr(ntidigits, "FILE", remote)
        assert len(clips(tmp_path, fetch=True, path="a/b.hdf5")) == len(TRAIN_IDS) + len(TEST_IDS)
        assert (tmp_path / "a" / "b.hdf5").read_bytes() == body
        asked = len(server.requests)
        clips(tmp_path, fetch=True, path="a/b.hdf5")
        assert len(server.requests) == asked


def test_wrong_settings_are_explained(tmp_path):
    with pytest.raises(CatalogError, match="`vocabulary` = 12"):
        clips(tmp_path, vocabulary=12)
    with pytest.raises(CatalogError, match="must lie below the data root"):
        clips(tmp_path, path="/etc/n-tidigits.hdf5")
