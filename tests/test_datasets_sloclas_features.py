"""The feature file of SLoClas' authors: read from files written in its format, and converted to arrays."""

import h5py
import numpy as np
import pytest

from audiodata.datasets.azimuths import AzimuthConvention
from audiodata.datasets.sloclas_features import convert_feature_mat, read_feature_mat
from audiodata.errors import MetadataError

ROWS, FRAMES = 7, 27


def variables(seed=0, rows=ROWS):
    """What MATLAB has in memory: a row a recording."""
    draw = np.random.default_rng(seed)
    return {
        "class": (1 + np.arange(rows) % 10).reshape(-1, 1).astype(np.float64),
        "doa": (5.0 * (1 + np.arange(rows) * 71 % 72)).reshape(-1, 1),
        "doafeat360": draw.random((rows, 360)),
        "feat": draw.random((rows, FRAMES, 618)),
    }


def write(path, arrays):
    """Write as MATLAB does with -v7.3: 512 bytes before the HDF5 signature, axes in reverse order."""
    with h5py.File(path, "w", userblock_size=512) as file:
        file.create_group("#refs#")
        for name, array in arrays.items():
            file.create_dataset(name, data=array.T, chunks=True, compression="gzip").attrs["MATLAB_class"] = np.bytes_(b"double")
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")
    return path


def test_axes_classes_and_azimuths_are_as_elsewhere(tmp_path):
    arrays = variables()
    arrays["doa"][3] = 360.0
    read = read_feature_mat(write(tmp_path / "featall.mat", arrays))
    assert read.label.tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert read.label.dtype == np.int64
    assert read.azimuth_deg.tolist() == [value % 360 for value in arrays["doa"][:, 0]]
    assert read.azimuth_deg[3] == 0.0
    assert read.gcc.shape == (ROWS, FRAMES, 6, 51) and read.mfcc.shape == (ROWS, FRAMES, 312)
    # lag 0 of the third pair, in frame 5 of recording 2; third coefficient of the second sub-frame
    assert read.gcc[2, 5, 2, 25] == np.float32(arrays["feat"][2, 5, 2 * 51 + 25])
    assert read.mfcc[2, 5, 39 + 2] == np.float32(arrays["feat"][2, 5, 306 + 39 + 2])


def test_rows_can_be_read_alone(tmp_path):
    path = write(tmp_path / "featall.mat", variables())
    whole, part = read_feature_mat(path), read_feature_mat(path, 2, 5)
    for name in whole._fields:
        assert np.array_equal(getattr(whole, name)[2:5], getattr(part, name))
    assert len(read_feature_mat(path, 5, 99).label) == 2


def test_azimuths_counted_otherwise(tmp_path):
    path = write(tmp_path / "featall.mat", variables() | {"doa": np.full((ROWS, 1), 90.0)})
    assert set(read_feature_mat(path, azimuths=AzimuthConvention(clockwise=True)).azimuth_deg) == {270.0}


@pytest.mark.parametrize("block", [2, 7, 100])
def test_conversion_writes_what_reading_gives(tmp_path, monkeypatch, block):
    monkeypatch.setattr("audiodata.datasets.sloclas_features.ROWS_AT_ONCE", block)
    path = write(tmp_path / "featall.mat", variables())
    folder = convert_feature_mat(path, tmp_path / "out" / "arrays")
    read = read_feature_mat(path)
    gcc = np.load(folder / "gcc_phat.npy", mmap_mode="r")
    assert gcc.shape == (ROWS, 6, FRAMES, 51)
    assert np.array_equal(gcc, np.moveaxis(read.gcc, 2, 1))
    for name, array in (("mfcc", read.mfcc), ("azimuth_deg", read.azimuth_deg), ("label", read.label)):
        assert np.array_equal(np.load(folder / f"{name}.npy"), array)
    assert sorted(path.name for path in folder.parent.iterdir()) == ["arrays"]
    with pytest.raises(MetadataError, match="is there already"):
        convert_feature_mat(path, folder)


def test_nothing_is_left_of_a_conversion_that_failed(tmp_path, monkeypatch):
    monkeypatch.setattr("audiodata.datasets.sloclas_features.ROWS_AT_ONCE", 3)
    arrays = variables()
    arrays["class"][5] = 11
    with pytest.raises(MetadataError, match="`class` of row 6 is 11"):
        convert_feature_mat(write(tmp_path / "featall.mat", arrays), tmp_path / "out" / "arrays")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(("change", "message"), [
    ({"class": np.zeros((ROWS, 1))}, "`class` of row 1 is 0, expected a number from 1 to 10"),
    ({"class": np.full((ROWS, 1), 1.5)}, "`class` of row 1 is 1.5"),
    ({"doa": np.full((ROWS, 1), 361.0)}, "`doa` of row 1 is 361, expected degrees from 0 to 360"),
    ({"doa": np.full((ROWS, 1), np.nan)}, "`doa` of row 1 is nan"),
    ({"doa": np.ones((ROWS - 1, 1))}, "`doa` has 6 values, `feat` has 7 rows"),
    ({"feat": np.ones((ROWS, FRAMES, 617))}, r"`feat` is \(7, 27, 617\), expected \(recordings, frames, 618\)"),
    ({"feat": np.ones((ROWS, 618))}, r"`feat` is \(7, 618\)"),
    ({"feat": np.full((ROWS, FRAMES, 618), np.inf)}, "`feat` of row 1 is nan, expected finite"),
    ({"feat": None}, "no variable `feat`; variables: class, doa, doafeat360"),
])
def test_a_wrong_file_is_one_line(tmp_path, change, message):
    arrays = {name: array for name, array in (variables() | change).items() if array is not None}
    with pytest.raises(MetadataError, match=message) as caught:
        read_feature_mat(write(tmp_path / "featall.mat", arrays))
    assert "featall.mat" in str(caught.value) and "\n" not in str(caught.value)


def test_an_older_mat_file_and_none(tmp_path):
    (tmp_path / "old.mat").write_bytes(b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM" + bytes(500))
    with pytest.raises(MetadataError, match=r"old.mat: not readable as MATLAB v7.3 .*save it with -v7.3"):
        read_feature_mat(tmp_path / "old.mat")
    with pytest.raises(MetadataError, match=r"none\.mat: no such file"):
        read_feature_mat(tmp_path / "none.mat")
