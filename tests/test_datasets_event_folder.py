"""Your own event recordings: told as sounds are, and read in any format."""

import json

import numpy as np
import pytest
from made_event_sets import read_row, some_aedat2, some_saccades, write

from audiodata.catalog import load_catalog
from audiodata.datasets import DATASETS, read_clips
from audiodata.datasets.event_folder import FORMATS
from audiodata.datasets.folder import FolderSettings
from audiodata.errors import CatalogError, MetadataError
from audiodata.events.readers import READERS
from audiodata.events.record import make_events
from audiodata.events.writing import save_events
from audiodata.splits import assign_splits, check_leakage


def clips(root, classes=(), **keys):
    return read_clips({"name": "event_folder"} | keys, root, classes=classes)


def write_some(root):
    """Three formats in two classes."""
    write(root / "left" / "a.aedat", some_aedat2(1))
    write(root / "left" / "b.bin", some_saccades(2))
    (root / "right").mkdir()
    columns = np.arange(5)
    save_events(root / "right" / "c.npz", make_events(columns, columns, columns, columns % 2, (8, 8, 2)))
    write(root / "right" / "notes.txt", b"no recording")
    return root


def test_the_class_is_the_folder_and_the_format_is_told_by_the_file(tmp_path):
    table = clips(write_some(tmp_path))
    assert table["path"].tolist() == ["left/a.aedat", "left/b.bin", "right/c.npz"]
    assert table["label"].tolist() == ["left", "left", "right"]
    assert set(table["reader"]) == {'{"format":"auto"}'}
    sizes = [read_row(tmp_path, row).sensor_size for _, row in table.iterrows()]
    assert sizes == [(128, 128, 2), (34, 34, 2), (8, 8, 2)]


def test_the_settings_of_a_format_go_to_its_reader(tmp_path):
    write(tmp_path / "left" / "a.aedat", some_aedat2(1))
    row = clips(tmp_path, reader={"orientation": "jaer", "format": "aedat2"}).iloc[0]
    assert row["reader"] == '{"format":"aedat2","orientation":"jaer"}'
    default = clips(tmp_path).iloc[0]
    assert read_row(tmp_path, row).array["x"].tolist() != read_row(tmp_path, default).array["x"].tolist()


def test_a_table_tells_class_group_split_and_span(tmp_path):
    write_some(tmp_path / "rec")
    (tmp_path / "clips.csv").write_text("file,class,subject,fold,start,stop\nleft/a.aedat,wave,anna,train,0.5,1.0\nright/c.npz,clap,bert,test,0,\n")
    keys = {"start_column": "start", "end_column": "stop"}
    table = clips(tmp_path, path="rec", csv="clips.csv", **keys)
    assert table["group_id"].tolist() == ["anna", "bert"]
    assert table["published"].tolist() == ["train", "test"]
    assert table["file_start_s"].tolist() == [0.5, 0.0] and table["duration_s"][0] == 0.5
    assert table["path"].tolist() == ["rec/left/a.aedat", "rec/right/c.npz"]


def test_a_pattern_tells_class_and_group(tmp_path):
    for name in ("anna_wave_1.bin", "bert_clap_1.bin"):
        write(tmp_path / name, some_saccades(1))
    table = clips(tmp_path, pattern="(?P<group>[a-z]+)_(?P<class>[a-z]+)_.*")
    assert table[["label", "group_id"]].to_numpy().tolist() == [["wave", "anna"], ["clap", "bert"]]


@pytest.mark.parametrize(
    ("reader", "message"),
    [
        ({"format": "aedat"}, r"\[dataset\] event_folder: reader: unknown format `aedat`; did you mean `aedat[24]`"),
        ({"format": "aedat2", "orientaton": "jaer"}, "unknown key `orientaton`; did you mean `orientation`"),
        ({"format": "headerless"}, "reader: `address_bytes` is required"),
        ({"format": "tonic", "dataset": "NMNIST"}, "unknown format `tonic`"),
        ({}, "reader: unknown format ``"),
    ],
)
def test_a_reader_is_checked_when_the_catalog_is_read(tmp_path, reader, message):
    with pytest.raises(CatalogError, match=message):
        clips(tmp_path, reader=reader)


def test_formats_are_those_of_readers_that_need_no_other_data_set():
    assert set(FORMATS) - {"auto"} == set(READERS) - {"ntidigits", "tonic"}


def test_an_empty_folder_is_explained_in_its_own_words(tmp_path):
    with pytest.raises(MetadataError, match=r"no event recordings in it or below \(looked for aedat, .*npz"):
        clips(tmp_path)


def test_there_are_no_ratings(tmp_path):
    with pytest.raises(CatalogError, match="the data set `event_folder` has no ratings"):
        read_clips({"name": "event_folder"}, tmp_path, quality=0.5)


def test_it_takes_all_that_a_folder_of_sounds_takes():
    assert set(FolderSettings.model_fields) < set(DATASETS["event_folder"].settings.model_fields)
    assert "what" not in DATASETS["event_folder"].settings.model_fields


def test_the_template_builds_from_folders(tmp_path):
    for label in ("left", "right"):
        for number in range(10):
            write(tmp_path / label / f"{number}.aedat4", b"")
    catalog = load_catalog("event-folder-template")
    table = read_clips(catalog.dataset, tmp_path, **catalog.select.model_dump())
    table["split"] = assign_splits(table, **catalog.split.model_dump())
    check_leakage(table)
    assert table.groupby(["label", "split"]).size().tolist() == [1, 8, 1] * 2
    assert json.loads(table["reader"][0]) == {"format": "auto"}
