"""What inspection found of a table's clips, in columns: what planning needs of each clip and nothing else, so that millions fit in memory."""

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from audiodata.records import Inspection

Verdict = tuple[str, str, str]  # status, reason, detail
HASH_BYTES = 32
NO_HASH = "00" * HASH_BYTES
ABSENT = -1
CHANNEL_BITS = 20


class Pool:
    """Values that many clips share, each held once; a clip has its code.

    Examples
    --------
    >>> pool = Pool()
    >>> [pool.code(value) for value in ("a", "b", "a")], pool.held
    ([0, 1, 0], ['a', 'b'])
    """

    def __init__(self):
        self.held: list[Any] = []
        self._codes: dict[Any, int] = {}

    def code(self, value: Any) -> int:
        """Return the code of a value, which gets one if it has none."""
        code = self._codes.setdefault(value, len(self.held))
        if code == len(self.held):
            self.held.append(value)
        return code


class Judge(Protocol):
    """How inspections are judged: `audiodata.verdicts.Judge`."""

    def one(self, found: Inspection, duration_s: float) -> Verdict:
        """Judge one clip."""

    def surely_fine(self, found: Mapping[str, np.ndarray] | np.ndarray, durations_s: np.ndarray) -> np.ndarray:
        """Whether clips need not be judged one by one."""


class Findings:
    """What was found of the candidates of a clips table; each inspection is judged as it comes, and its measurements are not kept.

    Parameters
    ----------
    table : DataFrame
        The clips table. Rows are numbered as in it, from 0.
    judge : Judge
        Decides on a clip by itself.

    Attributes
    ----------
    verdicts : Pool
        Status, reason and detail of all clips; `verdict` has the codes.
    formats : Pool
        ``(sample_rate, channels, shape)`` of all clips; `format` has the codes.
    verdict, format : array of int32, shape [clip]
        `ABSENT` where a clip has not been inspected, or is no candidate.
    samples : array of int64, shape [clip]
        Length as decoded.
    sha256, content : array of uint8, shape [clip, byte]
        Of the bytes that the clip is made from, and of the decoded samples; zeros where there is none.
    """

    def __init__(self, table: pd.DataFrame, judge: Judge):
        self._judge, self._durations_s = judge, table["duration_s"].to_numpy()
        self._ids = as_arrow(table["clip_id"])
        self._candidates = (table["reason"] == "").to_numpy(dtype=bool)
        self.verdicts, self.formats = Pool(), Pool()
        self.verdict, self.format = (np.full(len(table), ABSENT, dtype=np.int32) for _ in range(2))
        self.samples = np.zeros(len(table), dtype=np.int64)
        self.sha256, self.content = (np.zeros((len(table), HASH_BYTES), dtype=np.uint8) for _ in range(2))

    def __len__(self) -> int:
        return len(self.verdict)

    @cached_property
    def _order(self) -> np.ndarray:
        return pc.sort_indices(self._ids).to_numpy()

    @property
    def known(self) -> np.ndarray:
        """Whether a clip has been inspected; bool [clip]."""
        return self.verdict != ABSENT

    def candidate_rows(self, clip_ids: pa.ChunkedArray) -> np.ndarray:
        """Rows of candidates by their ids, -1 for an id that is none of theirs; int64 [id]."""
        rows = pc.index_in(clip_ids, value_set=self._ids).fill_null(ABSENT).to_numpy().astype(np.int64)
        return np.where(self._candidates[rows], rows, ABSENT) if len(self) else rows

    def left(self) -> np.ndarray:
        """Whether a clip is a candidate and has not been inspected; bool [clip]."""
        return self._candidates & ~self.known

    def row(self, clip_id: str) -> int:
        """Return the row of a clip of the table, by bisection: an index of millions of names would be as large as the table.

        Raises
        ------
        KeyError
            There is no such clip.
        """
        low, high = 0, len(self._order)
        while low < high:
            middle = (low + high) // 2
            if self._id(middle) < clip_id:
                low = middle + 1
            else:
                high = middle
        if low == len(self._order) or self._id(low) != clip_id:
            raise KeyError(clip_id)
        return int(self._order[low])

    def _id(self, position: int) -> str:
        return self._ids[int(self._order[position])].as_py()

    def put(self, found: Sequence[Inspection], rows: Sequence[int] | None = None) -> None:
        """Take inspections in, and judge them; with their rows where these are known, which saves looking for them."""
        rows = [self.row(one.clip_id) for one in found] if rows is None else rows
        self.put_alike(found, np.arange(len(found)), np.asarray(rows, dtype=np.int64))

    def put_alike(self, found: Sequence[Inspection], which: np.ndarray, rows: np.ndarray) -> None:
        """Take in inspections that several clips may share.

        Parameters
        ----------
        found : sequence of Inspection
        which : array of int, shape [clip]
            The one that each clip has.
        rows : array of int, shape [clip]
        """
        failed = np.array([bool(one.reason) for one in found], dtype=bool)[which]  # for whatever duration was expected
        codes = {number: self._verdict_code(found[number], math.nan) for number in np.unique(which[failed]).tolist()}
        self.verdict[rows[failed]] = [codes[number] for number in which[failed].tolist()]
        others = zip(which[~failed].tolist(), self._durations_s[rows[~failed]].tolist(), strict=True)
        self.verdict[rows[~failed]] = [self._verdict_code(found[number], duration_s) for number, duration_s in others]
        self.format[rows] = np.array([self.formats.code((one.sample_rate, one.channels, one.shape)) for one in found], dtype=np.int32)[which]
        self.samples[rows] = np.array([one.samples for one in found], dtype=np.int64)[which]
        self.sha256[rows] = _as_bytes(pa.array([one.sha256 for one in found], pa.string()))[which]
        self.content[rows] = _as_bytes(pa.array([one.content_sha256 for one in found], pa.string()))[which]

    def _verdict_code(self, found: Inspection, duration_s: float) -> int:
        return self.verdicts.code(self._judge.one(found, duration_s))

    def put_columns(self, found: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Take in those of many inspections of sound that are fine beyond doubt; return which they were (bool [clip]).

        Parameters
        ----------
        found : array of `audiodata.inspection_rows.SOUND`, shape [clip]
        rows : array of int, shape [clip]
        """
        fine = self._judge.surely_fine(found, self._durations_s[rows])
        found, at = found[fine], rows[fine]
        self.verdict[at] = self.verdicts.code(("ok", "", ""))
        self.format[at] = self._format_codes(found["sample_rate"], found["channels"])
        self.samples[at], self.sha256[at], self.content[at] = found["samples"], found["sha256"], found["content_sha256"]
        return fine

    def _format_codes(self, rates: np.ndarray, channels: np.ndarray) -> np.ndarray:
        """Codes of the formats of sounds."""
        which, pairs = pd.factorize(rates << CHANNEL_BITS | channels)
        codes = [self.formats.code((pair >> CHANNEL_BITS, pair & (1 << CHANNEL_BITS) - 1, ())) for pair in pairs.tolist()]
        return np.array(codes, dtype=np.int32)[which]

    def hashes(self, rows: np.ndarray) -> pa.FixedSizeBinaryArray:
        """SHA-256 of what clips are made from, as 32 bytes each."""
        return as_arrow_hashes(self.sha256[rows])

    def count_formats(self, rows: np.ndarray, position: int) -> dict[Any, tuple[int, int]]:
        """Count what rows have at a position of their format.

        Returns
        -------
        dict
            From each value, in the order of its first row, to that row and the number of rows.
        """
        codes, firsts, counts = np.unique(self.format[rows], return_index=True, return_counts=True)
        found: dict[Any, tuple[int, int]] = {}
        for code, first, count in sorted(zip(codes, firsts, counts, strict=True), key=lambda one: one[1]):
            value = self.formats.held[code][position]
            before = found.get(value, (int(rows[first]), 0))
            found[value] = (before[0], before[1] + int(count))
        return found

    def sample_rates(self, rows: np.ndarray) -> np.ndarray:
        """Sample rate of each row, in Hz; int64 [row]."""
        rates = np.array([sample_rate for sample_rate, *_ in self.formats.held], dtype=np.int64)
        return rates[self.format[rows]]


def _as_bytes(hashes: pa.Array) -> np.ndarray:
    """Hashes in hexadecimal, Arrow array of str [hash], as uint8 [hash, byte]; zeros for an empty text."""
    filled = pc.if_else(pc.equal(hashes, ""), NO_HASH, hashes)
    digits = pc.binary_join(pa.ListArray.from_arrays([0, len(filled)], filled), "")[0].as_py()
    return np.frombuffer(bytes.fromhex(digits), dtype=np.uint8).reshape(-1, HASH_BYTES)


def as_arrow_hashes(hashes: np.ndarray) -> pa.FixedSizeBinaryArray:
    """Hashes, uint8 [clip, byte], as an Arrow array of the same memory."""
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(HASH_BYTES), len(hashes), [None, pa.py_buffer(np.ascontiguousarray(hashes))])


def take_texts(values: Sequence[str], codes: np.ndarray) -> pd.Series:
    """Texts by their codes, held as Arrow holds them."""
    return pa.array(values, pa.large_string()).take(pa.array(codes)).to_pandas().astype("str")


def as_arrow(texts: pd.Series) -> pa.LargeStringArray:
    """Texts as one Arrow array."""
    array = pa.array(texts, type=pa.large_string())
    return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
