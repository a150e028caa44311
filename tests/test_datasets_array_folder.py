"""Your own recordings of an array: a table with azimuths, and what is wrong with it said in one line."""

import shutil

import numpy as np
import pytest
from array_recordings import RATE, built, write

from audiodata.datasets import read_clips
from audiodata.errors import CatalogError, MetadataError
from audiodata.geometry import pair_lags


def clips(root, text, classes=(), **keys):
    (root / "clips.csv").write_text(text)
    return read_clips({"name": "array_folder"} | keys, root, classes=classes)


def test_a_table_with_usual_names(tmp_path):
    text = "file,azimuth,class,speaker,fold\na.wav,90,dog,x,1\nsub/b.wav,-45.5,rain,,2\nc.wav,360,dog,x,2\n"
    table = clips(tmp_path, text)
    assert table["path"].tolist() == table["clip_id"].tolist() == ["a.wav", "sub/b.wav", "c.wav"]
    assert table["azimuth_deg"].tolist() == [90.0, 314.5, 0.0]
    assert table["label"].tolist() == table["labels"].tolist() == ["dog", "rain", "dog"]
    assert table["group_id"].tolist() == ["x", "sub/b", "x"]
    assert table["published"].tolist() == ["1", "2", "2"]
    assert (table["channels"] == "").all() and (table["more_paths"] == "").all() and (table["reason"] == "").all()


@pytest.mark.parametrize("name", ["azimuth_deg", "Azimuth", "azi", "DOA", "direction", "angle"])
def test_azimuths_are_found_by_usual_names(tmp_path, name):
    assert clips(tmp_path, f"file,{name}\na.wav,10\n")["azimuth_deg"].tolist() == [10.0]


def test_columns_can_be_named(tmp_path):
    text = "wave;phi;azimuth;kind;from;to\na;10;1;dog;0.5;2\na;20;2;rain;2;3\n"
    columns = {"file_column": "wave", "azimuth_column": "phi", "class_column": "kind", "start_column": "from", "end_column": "to"}
    table = clips(tmp_path, text, path="sounds", file_suffix=".wav", **columns)
    assert table["azimuth_deg"].tolist() == [10.0, 20.0]
    assert table["path"].tolist() == ["sounds/a.wav"] * 2
    assert table["clip_id"].tolist() == ["a.wav@500", "a.wav@2000"]
    assert table["duration_s"].tolist() == [1.5, 1.0]
    assert table["file_start_s"].tolist() == [0.5, 2.0]


def test_azimuths_counted_otherwise(tmp_path):
    text = "file,azimuth\na.wav,0\nb.wav,90\n"
    assert clips(tmp_path, text, clockwise=True, azimuth_zero_deg=90)["azimuth_deg"].tolist() == [90.0, 0.0]


def test_classes_may_be_missing(tmp_path):
    table = clips(tmp_path, "file,azimuth\na.wav,0\n")
    assert table.loc[0, ["label", "labels", "reason"]].tolist() == ["", "", ""]
    with pytest.raises(CatalogError, match=r"clips.csv has no column of classes; name it by `class_column`"):
        clips(tmp_path, "file,azimuth\na.wav,0\n", classes=("dog",))


def test_classes_can_be_chosen(tmp_path):
    table = clips(tmp_path, "file,azimuth,class\na.wav,0,dog\nb.wav,0,rain\n", classes=("rain",))
    assert table["reason"].tolist() == ["other_class", ""]
    assert table["label"].tolist() == ["", "rain"]


def test_missing_azimuths_are_allowed_where_the_catalog_says_so(tmp_path):
    text = "file,azimuth,class\na.wav,,dog\nb.wav,5,dog\n"
    azimuths = clips(tmp_path, text, missing_azimuth=True)["azimuth_deg"].to_numpy()
    assert np.isnan(azimuths[0]) and azimuths[1] == 5.0
    with pytest.raises(MetadataError, match=r"clips.csv: line 2: no azimuth; give one, or set `missing_azimuth = true`"):
        clips(tmp_path, text)


@pytest.mark.parametrize(("text", "message"), [
    ("file,azimuth\na.wav,1\nb.wav,400\n", "line 3: azimuth 400 is outside -180 to 360 degrees"),
    ("file,azimuth\na.wav,-181\n", "line 2: azimuth -181 is outside"),
    ("file,azimuth\na.wav,left\n", "line 2: azimuth 'left' is not a number of degrees"),
    ("file,azimuth\na.wav,nan\n", "line 2: azimuth 'nan' is not a number of degrees"),
    ("file,class\na.wav,dog\n", r"no column has one of the usual names \(azimuth_deg, .*name it by `azimuth_column` .*columns: file, class"),
    ("name,azimuth\na.wav,1\n", "no column has one of the usual names .*`file_column`"),
    ("file,azimuth\n../a.wav,1\n", "line 2: file '../a.wav' leaves"),
    ("file,azimuth\n", "has no rows below its header"),
    ("file,azimuth,class\na.wav,1,\n", "line 2: no class"),
    ("file,azimuth\na.wav,1\na.wav,2\n", "line 3: 'a.wav' stands on line 2 too"),
])
def test_a_wrong_table_is_one_line(tmp_path, text, message):
    with pytest.raises(MetadataError, match=message) as caught:
        clips(tmp_path, text)
    assert "clips.csv" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(("keys", "message"), [
    ({"azimuth_column": "phi"}, "no column `phi` .asked for by `azimuth_column`"),
    ({"more_file_columns": ["mic2"]}, "no column `mic2` .asked for by `more_file_columns`"),
    ({"file_channels": [1, 1]}, "at most once"),
    ({"csv": "../clips.csv"}, "below the data root"),
    ({"azimuth_zero_deg": 500}, "azimuth_zero_deg"),
])
def test_wrong_settings_are_one_line(tmp_path, keys, message):
    with pytest.raises((CatalogError, MetadataError), match=message) as caught:
        clips(tmp_path, "file,azimuth\na.wav,1\n", **keys)
    assert "\n" not in str(caught.value)


def test_a_file_for_each_microphone(tmp_path):
    text = "file,mic2,mic3,azimuth\na1.wav,a2.wav,sub/a3.wav,5\n"
    row = clips(tmp_path, text, more_file_columns=["mic2", "mic3"], path="x").iloc[0]
    assert (row.path, row.more_paths) == ("x/a1.wav", "x/a2.wav|x/sub/a3.wav")
    with pytest.raises(MetadataError, match="line 2: no file"):
        clips(tmp_path, "file,mic2,azimuth\na1.wav,,5\n", more_file_columns=["mic2"])


def test_a_build_of_six_channels_and_mono(tmp_path):
    write(tmp_path / "six.wav", 6, seed=1)
    write(tmp_path / "mono.wav", 1, seed=2)
    (tmp_path / "clips.csv").write_text("file,azimuth\nsix.wav,-90\nmono.wav,5\ngone.wav,5\n")
    cache = built(tmp_path, {"name": "array_folder", "file_channels": [1, 2, 3, 4]})
    fate = cache.ledger.set_index("clip_id")
    assert fate["reason"].to_dict() == {"six.wav": "", "mono.wav": "wrong_channels", "gone.wav": "missing_file"}
    assert cache.examples["azimuth_deg"].tolist() == [270.0]
    assert cache.read("six.wav#0")["log_mel"].shape[0] == 4
    assert cache.read("six.wav#0")["label"] == -1


def test_azimuths_of_real_positions_fit_the_lags_between_channels(shared_data, tmp_path):
    """Speech from a stated direction on a square of 10 cm: wrong signs, and counting clockwise, would not pass."""
    folder = shared_data / "microphone_array" / "square_4ch"
    source = next(folder.glob("speech_*.flac"))
    x, y, _ = map(float, source.stem.split("_")[1:])
    positions_m = [[-0.05, -0.05, 0], [-0.05, 0.05, 0], [0.05, -0.05, 0], [0.05, 0.05, 0]]
    shutil.copy(source, tmp_path)
    (tmp_path / "clips.csv").write_text(f"file,azimuth\n{source.name},{-np.degrees(np.arctan2(y, x))}\n")
    gcc_phat = {"window_length": 1024, "hop_length": 512, "max_lag": 8, "interpolation": 4}
    tables = {"segment": {"length_s": 1.0}, "features": {"gcc_phat": gcc_phat}, "array": {"positions_m": positions_m}}
    cache = built(tmp_path, {"name": "array_folder", "clockwise": True}, **tables)
    expected = pair_lags(positions_m, cache.examples["azimuth_deg"].iloc[0], RATE)
    mean = np.mean([cache.read(example)["gcc_phat"].mean(axis=1) for example in cache.examples["example_id"]], axis=0)
    assert mean.argmax(axis=-1) / 4 - 8 == pytest.approx(expected, abs=0.3)
