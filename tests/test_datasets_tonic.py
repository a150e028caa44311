"""Data sets of tonic, from small copies of what tonic lays out; nothing is asked of the network."""

import sys

import numpy as np
import pytest
from made_event_sets import read_row, write_gestures, write_heidelberg, write_nmnist, write_shd

from audiodata.catalog import load_catalog
from audiodata.datasets import dataset_settings, read_clips
from audiodata.errors import CatalogError, ClipError, EnvironmentFault, LeakageError, MetadataError
from audiodata.events.readers import read_events
from audiodata.events.readers.tonic import SETS
from audiodata.splits import assign_splits, check_leakage

tonic = pytest.importorskip("tonic", reason="tonic is not installed")


def clips(root, name, classes=(), **keys):
    return read_clips({"name": f"tonic:{name}"} | keys, root, classes=classes)


def by_catalog(root, name):
    catalog = load_catalog(name)
    table = read_clips(catalog.dataset, root, **catalog.select.model_dump())
    table["split"] = assign_splits(table, **catalog.split.model_dump())
    check_leakage(table)
    return table


# names


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        ({"name": "tonic:NMNST"}, r"\[dataset\] tonic: `NMNST` is no labelled data set of tonic; did you mean `NMNIST`"),
        ({"name": "tonic:"}, "`` is no labelled data set of tonic; known: ASLDVS"),
        ({"name": "tonic:NTIDIGITS18"}, "tonic's NTIDIGITS18 can't be used: .*name the data set `ntidigits`"),
        ({"name": "tonic:DSEC"}, "tonic's DSEC can't be used: its recordings have no class"),
        ({"name": "tonc:NMNIST"}, "unknown data set `tonc:NMNIST`"),
        ({"name": "folder:NMNIST"}, "unknown data set `folder:NMNIST`"),
        ({"name": "tonic:SHD", "dataset": "SSC"}, "`dataset` is told by the name already"),
        ({"name": "tonic:NMNIST", "options": {"stabilise": True}}, "takes no option `stabilise`; did you mean `stabilize`"),
        ({"name": "tonic:SHD", "options": {"train": True}}, "takes no option `train`; it takes none"),
        ({"name": "tonic:SHD", "parts": ["valid"]}, "SHD has no part `valid`; it has: train, test"),
        ({"name": "tonic:SHD", "colour": 1}, r"\[dataset\] tonic:SHD: unknown key `colour`"),
        ({"name": "tonic:SHD", "save_to": "/data"}, "must lie below the data root"),
    ],
)
def test_what_can_not_be_is_said_when_the_catalog_is_read(dataset, message):
    with pytest.raises(CatalogError, match=message):
        dataset_settings(dataset)


def test_a_name_and_a_key_mean_the_same():
    assert dataset_settings({"name": "tonic:SHD"}) == dataset_settings({"name": "tonic", "dataset": "SHD"})


def test_every_name_is_a_class_of_tonic_with_the_arguments_that_are_known():
    import inspect

    for name, known in SETS.items():
        taken = inspect.signature(getattr(tonic.datasets, name)).parameters
        asked = {key for arguments in known.parts.values() for key in arguments} | set(known.options)
        assert asked <= set(taken), name


def test_all_that_tonic_offers_has_been_thought_of():
    from audiodata.events.readers.tonic import _OTHERS

    assert set(tonic.datasets.__all__) == set(SETS) | set(_OTHERS)


# a file for each recording


def test_nmnist(tmp_path):
    table = clips(write_nmnist(tmp_path / "NMNIST").parent, "NMNIST")
    assert len(table) == 40
    assert table["path"].tolist()[:2] == ["NMNIST/Train/0/00001.bin", "NMNIST/Train/0/00011.bin"]
    assert table["label"].tolist()[:3] == ["0", "0", "1"]
    assert table.groupby("published").size().to_dict() == {"test": 20, "train": 20}
    assert table["group_id"].is_unique


def test_the_same_events_by_tonic_and_by_our_own_reader(tmp_path):
    write_nmnist(tmp_path / "NMNIST", digits="37")
    for _, row in clips(tmp_path, "NMNIST").iterrows():
        theirs, ours = read_row(tmp_path, row), read_events(tmp_path / row["path"], {"format": "nmnist"})
        assert theirs.sensor_size == ours.sensor_size
        np.testing.assert_array_equal(theirs.array, ours.array)


def test_options_go_to_tonic(tmp_path):
    write_nmnist(tmp_path / "NMNIST", digits="3")
    whole = read_row(tmp_path, clips(tmp_path, "NMNIST").iloc[0]).array
    first = read_row(tmp_path, clips(tmp_path, "NMNIST", options={"first_saccade_only": True}).iloc[0]).array
    np.testing.assert_array_equal(first, whole[whole["t"] < 100_000])
    assert 0 < len(first) < len(whole)


def test_one_part_will_do_if_it_is_asked_for(tmp_path):
    write_nmnist(tmp_path / "down" / "NMNIST", parts=("Train",), digits="12")
    assert set(clips(tmp_path, "NMNIST", save_to="down", parts=["train"])["published"]) == {"train"}
    with pytest.raises(MetadataError, match="down/NMNIST: tonic finds no recordings of test in it"):
        clips(tmp_path, "NMNIST", save_to="down")


def test_gestures_of_a_person_stay_together(tmp_path):
    table = by_catalog(write_gestures(tmp_path, train=tuple(range(1, 24)), test=(24, 25)), "tonic-dvsgesture")
    assert set(table["label"]) == {"Hand clapping", "Right arm cw"}
    assert set(table.loc[table["split"] == "test", "group_id"]) == {"user-24", "user-25"}
    assert {"train", "val", "test"} == set(table["split"])
    assert (table.groupby("group_id").size() == 2).all()


def test_the_time_of_gestures_is_in_microseconds(tmp_path):
    row = clips(write_gestures(tmp_path), "DVSGesture").iloc[1]
    assert row["path"] == "DVSGesture/ibmGestureTrain/user01_fluorescent/3.npy"
    events, raw = read_row(tmp_path, row), np.load(tmp_path / row["path"])
    np.testing.assert_array_equal(events.array["t"], raw[:, 3] * 1000)
    np.testing.assert_array_equal(events.array["x"], raw[:, 0])
    assert events.sensor_size == (128, 128, 2)


# a file for all recordings


def test_heidelberg_digits(tmp_path):
    table = clips(write_shd(tmp_path), "SHD")
    assert table["clip_id"].tolist()[:2] == ["shd_train-00000", "shd_train-00001"]
    assert table["index"].tolist() == [0, 1, 2, 3, 4, 5, 0, 1]
    assert table["label"].tolist() == ["zero", "one", "two", "null", "eins", "zwei", "zwei", "zero"]
    assert table["path"].tolist() == ["SHD/shd_train.h5"] * 6 + ["SHD/shd_test.h5"] * 2


def test_heidelberg_digits_split_as_published(tmp_path):
    for part, count in (("train", 50), ("test", 9)):
        numbers = range(count)
        write_heidelberg(tmp_path / "SHD" / f"shd_{part}.h5", [at % 6 for at in numbers], [at % 4 for at in numbers], count=3)
    table = by_catalog(tmp_path, "tonic-shd")
    assert (table["published"] == "test").eq(table["split"] == "test").all()
    assert set(table["split"]) == {"train", "val", "test"}


def test_speakers_on_both_sides_are_found_out(tmp_path):
    table = clips(write_shd(tmp_path), "SHD")
    assert table["group_id"].tolist()[-2:] == ["speaker-02", "speaker-04"]
    table["split"] = assign_splits(table, scheme="published")
    with pytest.raises(LeakageError, match="speaker-02"):
        check_leakage(table)


def test_a_recording_of_one_polarity(tmp_path):
    import h5py

    row = clips(write_shd(tmp_path), "SHD").iloc[4]
    events = read_row(tmp_path, row)
    with h5py.File(tmp_path / row["path"]) as file:
        seconds, units = file["spikes/times"][4], file["spikes/units"][4]
    assert events.sensor_size == (700, 1, 1) and events.sense == "auditory"
    order = np.argsort(seconds, kind="stable")
    np.testing.assert_array_equal(events.array["t"], (seconds.astype(np.float64)[order] * 1e6).astype(np.int64))
    np.testing.assert_array_equal(events.array["x"], units[order])
    assert not events.array["p"].any()


def test_three_parts(tmp_path):
    for at, part in enumerate(("train", "valid", "test")):
        write_heidelberg(tmp_path / "SSC" / f"ssc_{part}.h5", [at, 0], [at, 9])
    table = clips(tmp_path, "SSC", grouping="recording")
    assert table["published"].tolist() == ["train", "train", "valid", "valid", "test", "test"]
    assert assign_splits(table, scheme="published").tolist() == ["train", "train", "val", "val", "test", "test"]


def test_images_as_spikes(tmp_path):
    from test_datasets_idx_images import idx

    folder = tmp_path / "smnist"
    folder.mkdir()
    images = np.random.default_rng(1).integers(0, 256, (3, 28, 28))
    (folder / "train-images-idx3-ubyte").write_bytes(idx(images))
    (folder / "train-labels-idx1-ubyte").write_bytes(idx(np.array([7, 0, 7])))
    table = clips(tmp_path, "SMNIST", parts=["train"], options={"num_neurons": 79})
    assert table["label"].tolist() == ["7", "0", "7"]
    assert table["path"][0] == "smnist/train-images-idx3-ubyte"
    events = [read_row(tmp_path, row) for _, row in table.iterrows()]
    assert {one.sensor_size for one in events} == {(79, 1, 1)}
    assert len({one.array.tobytes() for one in events}) == 3


# what is not there, or damaged


def test_what_is_missing_says_how_to_get_it(tmp_path):
    with pytest.raises(MetadataError, match=r"SHD: not there; .*set `fetch = true`"):
        clips(tmp_path, "SHD")
    (tmp_path / "SHD").mkdir()
    with pytest.raises(MetadataError, match="SHD: tonic finds no train in it"):
        clips(tmp_path, "SHD")


def test_nothing_is_fetched_unless_asked(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(tonic.datasets.NMNIST, "download", lambda self: asked.append(self.url) or write_nmnist(tmp_path / "NMNIST", digits="1"))
    with pytest.raises(MetadataError):
        clips(tmp_path, "NMNIST")
    assert not asked
    assert len(clips(tmp_path, "NMNIST", fetch=True)) == 4
    assert len(asked) == 2 and asked[0] == tonic.datasets.NMNIST.train_url


@pytest.mark.parametrize("error", [OSError("no route to host"), RuntimeError("File not found or corrupted."), SystemExit()])
def test_what_can_not_be_fetched_is_a_fault_of_the_environment(tmp_path, monkeypatch, error):
    def download(self):
        raise error

    monkeypatch.setattr(tonic.datasets.NMNIST, "download", download)
    with pytest.raises(EnvironmentFault, match=r"tonic can't fetch NMNIST into .*NMNIST"):
        clips(tmp_path, "NMNIST", fetch=True)


def test_a_part_of_the_recordings_will_do_with_a_warning(tmp_path, caplog):
    write_nmnist(tmp_path / "NMNIST", digits="1")
    clips(tmp_path, "NMNIST")
    assert "NMNIST train: tonic would not count it as complete; going on with the 2 recordings" in caplog.text


def test_without_tonic_it_says_what_to_install(tmp_path, monkeypatch):
    write_nmnist(tmp_path / "NMNIST", digits="1")
    monkeypatch.setitem(sys.modules, "tonic", None)
    with pytest.raises(EnvironmentFault, match=r"pip install 'audiodata\[events\]'"):
        clips(tmp_path, "NMNIST")


def test_a_recording_that_goes_or_breaks_is_the_matter_of_that_clip(tmp_path):
    write_gestures(tmp_path)
    gone, broken, fine = (row for _, row in clips(tmp_path, "DVSGesture").head(3).iterrows())
    (tmp_path / gone["path"]).unlink()
    (tmp_path / broken["path"]).write_bytes(b"\x93NUMPY and no more")
    with pytest.raises(ClipError, match="missing_file"):
        read_row(tmp_path, gone)
    with pytest.raises(ClipError, match=r"undecodable: .*tonic can't read it"):
        read_row(tmp_path, broken)
    assert len(read_row(tmp_path, fine).array) == 30


def test_a_place_beyond_the_file_is_the_matter_of_that_clip(tmp_path):
    row = clips(write_shd(tmp_path), "SHD").iloc[0].copy()
    row["index"] = 17
    with pytest.raises(ClipError, match="tonic has 6 recordings of SHD train, number 17 is none of them"):
        read_row(tmp_path, row)


def test_the_order_in_which_a_file_system_lists_files_does_not_matter(tmp_path, monkeypatch):
    import os

    write_gestures(tmp_path)
    expected = clips(tmp_path, "DVSGesture")
    events = [read_row(tmp_path, row).array for _, row in expected.iterrows()]
    walk = os.walk

    def backward(top, *arguments, **keys):
        for path, folders, files in walk(top, *arguments, **keys):
            yield path, folders, files[::-1]

    monkeypatch.setattr(os, "walk", backward)
    from audiodata.events.readers import tonic as reader

    reader._part.cache_clear()
    table = clips(tmp_path, "DVSGesture")
    assert table.equals(expected)
    for before, (_, row) in zip(events, table.iterrows(), strict=True):
        np.testing.assert_array_equal(read_row(tmp_path, row).array, before)
    reader._part.cache_clear()
