"""JSON of many values at once, in Arrow's columns: the same text as `json.dumps` gives for each, without an object for each."""

import itertools
import json
from collections.abc import Callable

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

TEXT = pa.large_string()
_QUOTE, _BACKSLASH, _FIRST, _LAST = 0x22, 0x5C, 0x20, 0x7E  # ASCII that stands for itself lies between the last two


def json_texts(texts: pd.Series | pa.Array, *, ensure_ascii: bool = True) -> pa.LargeStringArray:
    r"""Texts in quotes, with what JSON escapes escaped.

    Parameters
    ----------
    texts : Series or Arrow array of str, shape [row]
    ensure_ascii : bool
        As of `json.dumps`.

    Examples
    --------
    >>> json_texts(pd.Series(["a", 'say "b"'])).to_pylist()
    ['"a"', '"say \\"b\\""']
    """
    array = _as_texts(texts)
    if _is_plain(array):
        return joined('"', array, '"')
    return each(array, lambda text: json.dumps(text, ensure_ascii=ensure_ascii))


def json_numbers(numbers: np.ndarray) -> pa.LargeStringArray:
    """Numbers, [row], as JSON has them; null for NaN. Each different one is written once.

    Examples
    --------
    >>> json_numbers(np.array([0.1, np.nan, 2.0])).to_pylist()
    ['0.1', 'null', '2.0']
    """
    if numbers.dtype.kind in "iu":
        return pa.array(numbers).cast(TEXT)
    encoded = pa.array(numbers).dictionary_encode()
    texts = ["null" if number != number else json.dumps(number) for number in encoded.dictionary.to_pylist()]
    return pa.array(texts, TEXT).take(encoded.indices)


def each(texts: pd.Series | pa.Array, write: Callable[[str], str]) -> pa.LargeStringArray:
    """What is written for each text; each different text is looked at once."""
    encoded = _as_texts(texts).dictionary_encode()
    return pa.array([write(text) for text in encoded.dictionary.to_pylist()], TEXT).take(encoded.indices)


def json_hashes(hashes: pa.FixedSizeBinaryArray) -> pa.LargeStringArray:
    """Bytes of hashes, [row], in hexadecimal and in quotes."""
    width = hashes.type.byte_width
    data = memoryview(hashes.buffers()[1])[hashes.offset * width : (hashes.offset + len(hashes)) * width].hex().encode()
    letters = np.full((len(hashes), 2 * width + 2), _QUOTE, dtype=np.uint8)
    letters[:, 1:-1] = np.frombuffer(data, dtype=np.uint8).reshape(len(hashes), 2 * width)
    offsets = np.arange(len(hashes) + 1, dtype=np.int64) * letters.shape[1]
    return pa.LargeStringArray.from_buffers(len(hashes), pa.py_buffer(offsets), pa.py_buffer(letters))


def joined(*parts: str | pa.LargeStringArray, by: str = "") -> pa.LargeStringArray:
    """Texts of each row one after the other, `by` between them; a single text stands in every row.

    Examples
    --------
    >>> joined("<", pa.array(["a", "b"], TEXT), "c", ">", by=" ").to_pylist()
    ['< a c >', '< b c >']
    """
    pieces = [piece for part in parts for piece in (by, part)][1:]
    runs = (list(run) for _, run in itertools.groupby(pieces, type))
    # each column is one more look at every row, so texts that stand side by side are made one
    columns = itertools.chain.from_iterable([pa.scalar("".join(run), TEXT)] if isinstance(run[0], str) else run for run in runs)
    return pc.binary_join_element_wise(*columns, pa.scalar("", TEXT))


def _as_texts(texts: pd.Series | pa.Array) -> pa.LargeStringArray:
    array = pa.array(texts, TEXT) if isinstance(texts, pd.Series) else texts.cast(TEXT)
    return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array


def _is_plain(texts: pa.LargeStringArray) -> bool:
    """Whether no letter of any text has to be escaped."""
    _, offsets, data = texts.buffers()
    if data is None:
        return True
    ends = np.frombuffer(offsets, dtype=np.int64)[[texts.offset, texts.offset + len(texts)]]
    letters = np.frombuffer(data, dtype=np.uint8)[slice(*ends)]
    return bool(((letters >= _FIRST) & (letters <= _LAST) & (letters != _QUOTE) & (letters != _BACKSLASH)).all())
