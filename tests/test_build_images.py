"""Images take the same way through the house as sounds."""

import gzip
import struct

import numpy as np
import pytest

from audiodata.catalog import load_catalog, parse_catalog
from audiodata.shards import open_cache, verify_cache
from pipelines import build

CATALOG = {
    "dataset": {"name": "idx_images"},
    "split": {"scheme": "grouped", "fractions": {"train": 0.7, "val": 0.1, "test": 0.2}},
    "features": {"image": {}},
    "shards": {"examples": 64},
}


def write_idx(folder, images, labels):
    with gzip.open(folder / "t10k-images-idx3-ubyte.gz", "wb") as file:
        file.write(struct.pack(">4i", 2051, *images.shape) + images.tobytes())
    with gzip.open(folder / "t10k-labels-idx1-ubyte.gz", "wb") as file:
        file.write(struct.pack(">2i", 2049, len(labels)) + labels.tobytes())


def test_pixels_arrive_where_they_belong(tmp_path):
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (100, 5, 7), dtype=np.uint8), rng.integers(0, 10, 100).astype(np.uint8)
    images[99] = images[98]  # a duplicate is left out, as with sounds
    write_idx(tmp_path, images, labels)
    out = tmp_path / "cache"
    build.build(parse_catalog(CATALOG, "images", "images.toml"), tmp_path, out)
    assert verify_cache(out) == []
    cache = open_cache(out)
    assert cache.manifest["features"]["image"]["shape"] == [1, 5, 7]
    assert len(cache.examples) == 99 and cache.manifest["counts"]["reason"]["duplicate"] == 1
    for row in cache.examples.head(10).itertuples():
        number = int("".join(filter(str.isdigit, row.clip_id.split("-")[-1])))
        np.testing.assert_allclose(cache.read(row.example_id)["image"][0], images[number] / 255, rtol=1e-6)
        assert row.label == str(labels[number])


def test_the_shipped_catalog_reads_the_published_files(shared_data, tmp_path):
    root = shared_data / "digit_images"
    out = tmp_path / "cache"
    build.build(load_catalog("digit-images"), root, out, limit=200)
    cache = open_cache(out)
    assert cache.manifest["classes"] == [str(digit) for digit in range(10)]
    assert len(cache.examples) == pytest.approx(200, abs=2)
