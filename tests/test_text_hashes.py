"""Hashes of many texts at once are those of hashlib, whichever way they are computed."""

import hashlib

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audiodata import text_hashes
from audiodata.text_hashes import BYTES, by_kernels, first_words, one_by_one

WAYS = pytest.mark.parametrize("way", [by_kernels, one_by_one])
TEXTS = st.text(st.characters(codec="utf-8"), max_size=80)


def expected(texts, prefix=b""):
    return [int.from_bytes(hashlib.sha256(prefix + text.encode()).digest()[:8], "big") for text in texts]


def as_bytes(texts):
    return pa.array(texts, pa.large_string()).cast(BYTES)


@WAYS
def test_the_standards_own_examples(way):
    two_blocks = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"
    found = way(as_bytes(["abc", two_blocks, "a" * 1_000_000]), b"")
    assert [f"{number:016x}" for number in found] == ["ba7816bf8f01cfea", "248d6a61d20638b8", "cdc76e5c9914fb92"]


@WAYS
@pytest.mark.parametrize("prefix", [b"", b"0\x1fsplit\x1f", bytes(range(200))])
def test_every_length(way, prefix):
    texts = ["".join(chr(33 + (7 * place + size) % 90) for place in range(size)) for size in range(301)]
    assert way(as_bytes(texts), prefix).tolist() == expected(texts, prefix)


@WAYS
@settings(deadline=None)
@given(texts=st.lists(TEXTS, max_size=12), prefix=st.binary(max_size=70), cut=st.integers(0, 12))
def test_any_text_and_any_part_of_an_array(way, texts, prefix, cut):
    array = as_bytes(texts)
    assert way(array, prefix).tolist() == expected(texts, prefix)
    assert way(array[cut:], prefix).tolist() == expected(texts[cut:], prefix)
    assert way(array[:cut], prefix).tolist() == expected(texts[:cut], prefix)


@WAYS
def test_more_texts_than_are_taken_at_once_keep_their_order(way):
    texts = [f"é{'long ' * (number % 3 * 15)}{number}" for number in range(3 * text_hashes.AT_ONCE + 5)]
    assert way(as_bytes(texts), b"").tolist() == expected(texts)


@pytest.mark.parametrize("enough", [0, 1000])
def test_whatever_holds_the_texts(enough, monkeypatch):
    monkeypatch.setattr(text_hashes, "ENOUGH", enough)
    texts = ["clip", "ключ", ""]
    column = pd.Series(texts, dtype="str")
    chunked = pa.chunked_array([["clip"], ["ключ", ""]])
    for held in (texts, np.array(texts), column, column.astype(object), pd.Index(column), chunked, chunked.cast(pa.large_string()), iter(texts)):
        assert first_words(held).tolist() == expected(texts)
    for nothing in ([], column[:0], chunked[:0], pa.chunked_array([], pa.string())):
        assert first_words(nothing).tolist() == []


@pytest.mark.parametrize(("enough", "way"), [(3, "by_kernels"), (4, "one_by_one")])
def test_few_texts_do_not_wait_for_a_compiler(enough, way, monkeypatch):
    monkeypatch.setattr(text_hashes, "ENOUGH", enough)
    monkeypatch.setattr(text_hashes, way, lambda texts, prefix: way)
    assert first_words(["a", "b", "c"]) == way


@pytest.mark.parametrize("enough", [0, 1000])
def test_a_text_that_is_missing_is_refused(enough, monkeypatch):
    monkeypatch.setattr(text_hashes, "ENOUGH", enough)
    with pytest.raises(TypeError, match="missing"):
        first_words(["a", None])
