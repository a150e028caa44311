"""Hashes depend on content alone."""

import hashlib

import numpy as np
import pytest

from audiodata.errors import CacheError
from audiodata.fingerprint import canonical_json, hash_arrays, hash_bytes, hash_file, hash_json, unit_hash


def test_key_order_does_not_matter_and_values_do():
    assert canonical_json({"b": 1, "a": [1.5, "ü"]}) == '{"a":[1.5,"ü"],"b":1}'
    assert hash_json({"a": 1, "b": 2}) == hash_json({"b": 2, "a": 1}) != hash_json({"a": 1, "b": 3})


def test_nan_has_no_canonical_form():
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json({"a": float("nan")})


def test_file_and_bytes_agree(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"spike" * 100_000)
    assert hash_file(path) == hash_bytes(path.read_bytes()) == hashlib.sha256(path.read_bytes()).hexdigest()


def test_missing_file_is_one_clear_line(tmp_path):
    with pytest.raises(CacheError, match="can't be read"):
        hash_file(tmp_path / "none")


def test_arrays_hash_by_value_shape_dtype_and_name():
    values = np.arange(12, dtype=np.float32)
    same = [values, values.astype(">f4"), np.stack([values, values])[0]]
    assert len({hash_arrays([("a", array)]) for array in same}) == 1
    others = [values.reshape(3, 4), values.astype(np.float64), values + 1, np.zeros(0, np.float32), np.float32(3)]
    assert len({hash_arrays([("a", np.asarray(array))]) for array in [values, *others]}) == 6
    assert hash_arrays([("a", values)]) != hash_arrays([("b", values)])


def test_unit_hash_is_uniform_and_depends_on_seed_and_words():
    drawn = np.array([unit_hash(0, "split", str(number)) for number in range(20_000)])
    assert drawn.min() >= 0 and drawn.max() < 1
    expected = len(drawn) / 10
    counts = np.histogram(drawn, bins=10, range=(0, 1))[0]
    assert np.all(np.abs(counts - expected) < 5 * np.sqrt(expected))  # five standard deviations of a fair draw
    assert unit_hash(0, "split", "a") != unit_hash(1, "split", "a") != unit_hash(1, "select", "a")
    assert unit_hash(0, "ab", "c") != unit_hash(0, "a", "bc")
