"""idx files: MNIST's real one, made ones, and every way in which one can be damaged."""

import gzip
import struct
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from audiodata.datasets import read_clips
from audiodata.errors import CatalogError, MetadataError
from audiodata.idx_files import read_idx_images, read_idx_labels
from audiodata.splits import assign_splits


def idx(array):
    """Write the format as its authors describe it."""
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def write_set(folder, name="t10k", count=12, packed=False):
    images = np.arange(count * 6, dtype=np.uint8).reshape(count, 2, 3)
    labels = np.arange(count, dtype=np.uint8) % 3
    for what, array in (("images-idx3", images), ("labels-idx1", labels)):
        data = gzip.compress(idx(array)) if packed else idx(array)
        (folder / f"{name}-{what}-ubyte{'.gz' if packed else ''}").write_bytes(data)
    return images, labels


def clips(root, classes=(), **keys):
    return read_clips({"name": "idx_images"} | keys, root, classes=classes)


@settings(max_examples=30, deadline=None)
@given(arrays.arrays(np.uint8, arrays.array_shapes(min_dims=3, max_dims=3, min_side=0, max_side=5)), st.booleans())
def test_what_was_written_is_read(tmp_path_factory, images, packed):
    path = tmp_path_factory.mktemp("idx") / "images"
    path.write_bytes(gzip.compress(idx(images)) if packed else idx(images))
    read = read_idx_images(path)
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, images)


@pytest.mark.parametrize("packed", [False, True])
def test_a_row_an_image(tmp_path, packed):
    write_set(tmp_path, packed=packed)
    table = clips(tmp_path)
    assert table["clip_id"].tolist()[:2] == ["t10k-00000", "t10k-00001"]
    assert table["index"].tolist() == list(range(12))
    assert table["label"].tolist() == ["0", "1", "2"] * 4
    assert set(table["path"]) == {f"t10k-images-idx3-ubyte{'.gz' if packed else ''}"}
    assert table["group_id"].is_unique


def test_sets_are_the_published_split(tmp_path):
    write_set(tmp_path, "train", 20)
    write_set(tmp_path, "t10k", 10)
    table = clips(tmp_path)
    assert Counter(table["published"]) == {"train": 20, "test": 10}
    splits = assign_splits(table, scheme="published", val_share=0.2)
    assert set(splits[table["published"] == "test"]) == {"test"}


def test_files_may_be_named_and_packed_differently(tmp_path):
    (tmp_path / "mnist").mkdir()
    images, labels = write_set(tmp_path / "mnist", "x")
    (tmp_path / "mnist" / "y").write_bytes(gzip.compress(idx(labels)))
    table = clips(tmp_path, path="mnist", images=["x-images-idx3-ubyte"], labels=["y"])
    assert set(table["path"]) == {"mnist/x-images-idx3-ubyte"}
    assert (table["published"] == "").all()
    assert len(table) == len(images)


def test_a_packed_and_an_open_copy_count_once(tmp_path):
    write_set(tmp_path)
    write_set(tmp_path, packed=True)
    assert len(clips(tmp_path)) == 12


def test_classes_are_labels_as_text(tmp_path):
    write_set(tmp_path)
    table = clips(tmp_path, classes=("2", "0"))
    assert Counter(table["reason"]) == {"": 8, "other_class": 4}
    with pytest.raises(CatalogError, match="no clip is of the class `7`"):
        clips(tmp_path, classes=("7",))


def damaged(data, **changes):
    return changes["head"] + data[len(changes["head"]) :] if "head" in changes else data[: changes["cut"]]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ({"head": b"\0\0\x08\x01"}, r"not an idx file of images \(magic number 2049, expected 2051\)"),
        ({"head": b"\0\0\x0d\x03"}, "not an idx file of images"),
        ({"head": b"RIFF"}, "not an idx file of images"),
        ({"head": b"\0\0\x08\x03\xff\xff\xff\xff"}, "72 bytes of images, its header says 4294967295 x 2 x 3"),
        ({"cut": 40}, "24 bytes of images, its header says 12 x 2 x 3; truncated"),
        ({"cut": 10}, "not an idx file of images"),
        ({"cut": 0}, r"not an idx file of images \(magic number 0, expected 2051\)"),
    ],
)
def test_a_damaged_file_is_explained(tmp_path, damage, message):
    write_set(tmp_path)
    path = tmp_path / "t10k-images-idx3-ubyte"
    path.write_bytes(damaged(path.read_bytes(), **damage))
    with pytest.raises(MetadataError, match=message) as caught:
        clips(tmp_path)
    assert str(caught.value).startswith(f"{path}: ")


def test_a_file_that_is_too_long_is_refused(tmp_path):
    path = tmp_path / "labels"
    path.write_bytes(idx(np.zeros(3)) + b"\0")
    with pytest.raises(MetadataError, match="4 bytes of labels, its header says 3"):
        read_idx_labels(path)


def test_a_truncated_package_is_explained(tmp_path):
    write_set(tmp_path, packed=True)
    path = tmp_path / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(MetadataError, match="damaged or truncated gzip"):
        clips(tmp_path)


def test_images_and_labels_must_be_equally_many(tmp_path):
    write_set(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx(np.zeros(11)))
    with pytest.raises(MetadataError, match="11 labels for the 12 images of t10k-images-idx3-ubyte"):
        clips(tmp_path)


def test_labels_must_be_there(tmp_path):
    write_set(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(MetadataError, match=r"no labels beside it; expected t10k-labels-idx1-ubyte"):
        clips(tmp_path)


def test_a_folder_without_idx_files_is_refused(tmp_path):
    with pytest.raises(MetadataError, match="no idx files"):
        clips(tmp_path)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"images": ["a"]}, "1 `images` and 0 `labels`; they go in pairs"),
        ({"images": ["../a"], "labels": ["b"]}, "`../a` must be relative"),
        ({"path": "/data"}, "`/data` must be relative"),
    ],
)
def test_settings_that_can_not_be_are_refused(tmp_path, keys, message):
    with pytest.raises(CatalogError, match=message):
        clips(tmp_path, **keys)


def test_there_is_no_quality_here(tmp_path):
    with pytest.raises(CatalogError, match="no label ratings"):
        read_clips({"name": "idx_images"}, tmp_path, quality=0.5)


def test_the_real_test_images(shared_data):
    table = clips(shared_data / "digit_images")
    assert [(table["label"] == str(digit)).sum() for digit in range(10)] == [
        *(980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009)
    ]
    assert set(table["published"]) == {"test"}
    images = read_idx_images(shared_data / "digit_images" / "t10k-images-idx3-ubyte.gz")
    assert images.shape == (10000, 28, 28)
    assert images.max() == 255
