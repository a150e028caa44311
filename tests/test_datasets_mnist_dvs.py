"""MNIST-DVS: its tree, its archives, and what does not belong."""

import hashlib
import json
import zipfile

import numpy as np
import pytest
from made_event_sets import aedat2, mnist_dvs_name, read_row, some_aedat2, write, write_mnist_dvs
from media_server import MediaServer

from audiodata.catalog import load_catalog
from audiodata.datasets import mnist_dvs, read_clips
from audiodata.datasets.remote import RemoteFile
from audiodata.errors import CatalogError, EnvironmentFault, MetadataError
from audiodata.splits import assign_splits, check_leakage


def clips(root, classes=(), **keys):
    return read_clips({"name": "mnist_dvs"} | keys, root, classes=classes)


def zipped(root, digit, part="grabbed"):
    """Replace the folder of a digit by its archive, as it is published."""
    folder = root / f"{part}_data{digit}"
    with zipfile.ZipFile(root / f"{folder.name}.zip", "w") as archive:
        for path in sorted(folder.rglob("*.aedat")):
            archive.write(path, path.relative_to(root))
            path.unlink()
    for inner in folder.iterdir():
        inner.rmdir()
    folder.rmdir()
    return root / f"{folder.name}.zip"


def test_a_row_a_recording_of_the_scale(tmp_path):
    table = clips(write_mnist_dvs(tmp_path))
    assert len(table) == 40
    assert table["clip_id"].tolist()[:2] == ["mnist_0_scale04_0001", "mnist_0_scale04_0002"]
    assert table["path"][39] == "grabbed_data9/scale4/mnist_9_scale04_0004.aedat"
    assert table["label"].value_counts().to_dict() == dict.fromkeys("0123456789", 4)
    assert (table["reason"] == "").all()


def test_an_image_is_one_group_at_all_scales(tmp_path):
    write_mnist_dvs(tmp_path)
    small, large = clips(tmp_path, scale=4), clips(tmp_path, scale=8)
    assert small["group_id"].tolist() == large["group_id"].tolist()
    assert small["group_id"].is_unique and not set(small["clip_id"]) & set(large["clip_id"])


@pytest.mark.parametrize(("per_digit", "train"), [(4, 2), (5, 3), (1, 1)])
def test_the_first_half_of_each_digit_is_for_training(tmp_path, per_digit, train):
    table = clips(write_mnist_dvs(tmp_path, per_digit=per_digit, scales=(4,)))
    assert (table[table["published"] == "train"].groupby("label").size() == train).all()
    for _, digit in table.groupby("label"):
        assert digit["published"].tolist() == ["train"] * train + ["test"] * (per_digit - train)


def test_the_published_scheme_is_that_of_the_studies(tmp_path):
    table = clips(write_mnist_dvs(tmp_path))
    table["split"] = assign_splits(table, **load_catalog("mnist-dvs").split.model_dump())
    check_leakage(table)
    assert table["split"].value_counts().to_dict() == {"train": 20, "test": 20}


def test_the_orientation_goes_to_the_reader(tmp_path):
    write_mnist_dvs(tmp_path, digits="0123456789", per_digit=1, scales=(4,))
    write(tmp_path / "grabbed_data7" / "scale4" / mnist_dvs_name(7, 4, 1), aedat2([1000, 1004], [5, 6], [9, 9], [1, 0]))
    events = {}
    for orientation in ("upright", "jaer"):
        row = clips(tmp_path, orientation=orientation).iloc[7]
        assert json.loads(row["reader"]) == {"format": "aedat2", "orientation": orientation}
        events[orientation] = read_row(tmp_path, row).array
    assert events["jaer"][["x", "y", "p"]].tolist() == [(122, 9, 0), (121, 9, 1)]
    assert events["upright"][["x", "y", "p"]].tolist() == [(118, 122, 0), (118, 121, 1)]


def test_the_authors_processing_is_another_part(tmp_path):
    write_mnist_dvs(tmp_path, per_digit=1, part="processed")
    assert clips(tmp_path, part="processed")["path"][0] == "processed_data0/scale4/mnist_0_scale04_0001.aedat"
    with pytest.raises(MetadataError, match="no grabbed_data0, grabbed_data1"):
        clips(tmp_path)


def test_some_digits_will_do_if_they_are_asked_for(tmp_path):
    write_mnist_dvs(tmp_path, digits="37")
    assert clips(tmp_path, classes=("7", "3"))["label"].value_counts().to_dict() == {"3": 4, "7": 4}
    with pytest.raises(MetadataError, match=r"no grabbed_data0, grabbed_data1.*fetch = true.*\[select\] classes"):
        clips(tmp_path)


def test_digits_that_are_not_asked_for_are_left_out(tmp_path):
    table = clips(write_mnist_dvs(tmp_path, digits="37"), classes=("7",))
    assert table.groupby("reason")["labels"].unique().map(list).to_dict() == {"": ["7"], "other_class": ["3"]}


def test_archives_are_unpacked_once(tmp_path):
    write_mnist_dvs(tmp_path, digits="37")
    expected = clips(tmp_path, classes=("3", "7"))
    zipped(tmp_path, 3)
    with pytest.raises(MetadataError, match="no grabbed_data3;"):
        clips(tmp_path, classes=("3", "7"), unpack=False)
    table = clips(tmp_path, classes=("3", "7"))
    assert table.drop(columns="path").equals(expected.drop(columns="path"))
    assert table["path"][0] == "grabbed_data3/mnist_3_scale04_0001.aedat"
    assert len(read_row(tmp_path, table.iloc[0]).array) == 60
    assert clips(tmp_path, classes=("3", "7")).equals(table)


@pytest.mark.parametrize(
    ("folder", "name", "message"),
    [
        ("grabbed_data3/scale4", "mnist_8_scale04_0009.aedat", r"mnist_8_scale04_0009.aedat: its folder is of the digit 3, its name says 8"),
        ("grabbed_data3/scale8", "mnist_3_scale04_0009.aedat", r"mnist_3_scale04_0009.aedat: its folder is of scale 8, its name says 04"),
        ("grabbed_data3/scale4", "copy of 9.aedat", r"copy of 9.aedat: not called mnist_3_scale<04"),
    ],
)
def test_a_file_in_the_wrong_place_is_named(tmp_path, folder, name, message):
    write_mnist_dvs(tmp_path)
    write(tmp_path / folder / name, some_aedat2(9))
    with pytest.raises(MetadataError, match=message):
        clips(tmp_path)


def test_a_scale_that_is_not_there_is_explained(tmp_path):
    with pytest.raises(MetadataError, match=r"no recordings of scale 16 \(80 of others\)"):
        clips(write_mnist_dvs(tmp_path), scale=16)


@pytest.mark.parametrize(
    ("keys", "message"),
    [({"scale": 5}, "`scale` = 5"), ({"path": "../x"}, "must lie below the data root"), ({"part": "raw"}, "`part` = 'raw'")],
)
def test_wrong_settings_are_explained(tmp_path, keys, message):
    with pytest.raises(CatalogError, match=message):
        clips(tmp_path, **keys)


def test_there_are_no_ratings(tmp_path):
    with pytest.raises(CatalogError, match="the data set `mnist_dvs` has no ratings"):
        read_clips({"name": "mnist_dvs"}, tmp_path, quality=0.5)


@pytest.fixture
def published(tmp_path, monkeypatch):
    """Serve the archive of one digit on loopback, with its MD5 known; return the server and the data root."""
    write_mnist_dvs(tmp_path / "made", digits="3", per_digit=2, scales=(4,))
    body = zipped(tmp_path / "made", 3).read_bytes()
    with MediaServer({"grabbed_data3.zip": body}) as server:
        remote = RemoteFile("grabbed_data3.zip", server.template.format(id="grabbed_data3.zip"), hashlib.md5(body).hexdigest())
        monkeypatch.setitem(mnist_dvs.ARCHIVES, "3", remote)
        yield server, tmp_path


def test_an_archive_is_fetched_only_where_the_catalog_says_so(published):
    server, root = published
    with pytest.raises(MetadataError, match="no grabbed_data3;"):
        clips(root, classes=("3",))
    assert not server.requests
    table = clips(root, classes=("3",), fetch=True)
    assert table["clip_id"].tolist() == ["mnist_3_scale04_0001", "mnist_3_scale04_0002"]
    asked = len(server.requests)
    assert clips(root, classes=("3",), fetch=True).equals(table)
    assert len(server.requests) == asked


def test_another_file_than_published_is_not_kept(published, monkeypatch):
    _, root = published
    monkeypatch.setitem(mnist_dvs.ARCHIVES, "3", mnist_dvs.ARCHIVES["3"]._replace(md5="0" * 32))
    with pytest.raises(MetadataError, match="another MD5 than the published 0000"):
        clips(root, classes=("3",), fetch=True)
    assert not list(root.glob("grabbed*"))


def test_a_publisher_who_is_not_there_is_a_fault_of_the_environment(published, monkeypatch):
    server, root = published
    monkeypatch.setitem(mnist_dvs.ARCHIVES, "3", mnist_dvs.ARCHIVES["3"]._replace(url=server.template.format(id="gone")))
    with pytest.raises(EnvironmentFault, match=r"grabbed_data3.zip: can't be fetched from http://127"):
        clips(root, classes=("3",), fetch=True)


def test_published_sums_are_ten_and_differ():
    sums = [remote.md5 for remote in mnist_dvs.ARCHIVES.values()]
    assert len(set(sums)) == 10 and all(np.char.isalnum(sums)) and {len(text) for text in sums} == {32}
