"""What a build remembers of its inputs, so that a clip is decoded for inspection once and again only when its file changes.

The memory is a ledger beside the cache (``<cache>.ledger.sqlite``), not in it: it holds time stamps, which a reproducible cache must not.
It can be deleted at any time; the next build then looks at every file again.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import fields
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow.json import ParseOptions, ReadOptions, read_json

from audiodata.cleaning import Measurements
from audiodata.clip_files import clip_stamp
from audiodata.findings import Findings
from audiodata.ledger import ClipRow, Ledger
from audiodata.records import ClipSpan, Inspection

INSPECTION_VERSION = 1  # raised when what is measured changes, so that remembered inspections are made again
CLIPS_AT_ONCE = 20_000
_HASHES, _NUMBERS = ("sha256", "content_sha256"), ("sample_rate", "channels", "samples")
_MEASURED = {field.name: pa.bool_() if field.type is bool else pa.float64() for field in fields(Measurements) if field.name not in _HASHES}
_FOUND = pa.schema([("found", pa.struct([
    ("reason", pa.string()), ("shape", pa.list_(pa.int64())), ("measured", pa.struct(list(_MEASURED.items()))),
    *((name, pa.string()) for name in _HASHES), *((name, pa.int64()) for name in _NUMBERS),
]))])
VERDICT_COLUMNS = ["clip_id", "status", "reason", "detail"]


class InspectionStore:
    """The inspections of one cache; a context manager.

    Parameters
    ----------
    path : path
        The ledger; made if it is not there.
    """

    def __init__(self, path: Path):
        path.parent.mkdir(parents=True, exist_ok=True)
        self._ledger = Ledger(path)

    @classmethod
    def beside(cls, cache: Path) -> "InspectionStore":
        """Open the store that belongs to a cache."""
        cache = Path(cache).resolve()
        return cls(cache.with_name(f"{cache.name}.ledger.sqlite"))

    def __enter__(self) -> "InspectionStore":
        return self

    def __exit__(self, *error: object) -> None:
        self._ledger.close()

    def recall(self, findings: Findings, clips: Iterable[ClipSpan], root: Path) -> None:
        """Put the inspections of the clips whose span and files are still those that were inspected into `findings`.

        Parameters
        ----------
        findings : Findings
        clips : iterable of ClipSpan
            Those of `Findings.candidates_by_id`, in that order, which is the ledger's: so the two are read side by side.
        root : path
            The data root.
        """
        rows = zip(findings.candidates_by_id().tolist(), clips, strict=True)
        while some := {clip.clip_id: (row, clip) for row, clip in islice(rows, CLIPS_AT_ONCE)}:
            texts = self._holding(some, str(root))
            if texts:
                _put(findings, np.array([some[clip_id][0] for clip_id in texts]), list(texts.values()))

    def _holding(self, wanted: Mapping[str, tuple[int, ClipSpan]], root: str) -> dict[str, str]:
        """What is remembered, as JSON, of the clips of which it still holds; `wanted` by clip id, in the order of the ids."""
        stamps: dict[tuple[str, ...], str] = {}  # many clips may lie in one recording
        texts = {}
        for clip_id, text in self._ledger.scan(["clip_id", "measured"], next(iter(wanted)), next(reversed(wanted))):
            if clip_id not in wanted:
                continue
            _, clip = wanted[clip_id]
            if clip.paths not in stamps:
                stamps[clip.paths] = clip_stamp(root, clip)
            if text.endswith(f', "key": {json.dumps(_key(clip, stamps[clip.paths]))}}}'):  # as the ledger writes it: keys are sorted
                texts[clip_id] = text
        return texts

    def remember(self, clips: Iterable[ClipSpan], found: Iterable[Inspection]) -> None:
        """Write inspections down."""
        clips = list(clips)
        self._ledger.add(clip.clip_id for clip in clips)
        self._ledger.record(_row(clip, one) for clip, one in zip(clips, found, strict=True))

    def settle(self, verdicts: pd.DataFrame) -> None:
        """Write down what was decided on the clips that were inspected, where it is news."""
        ordered = verdicts.take(pc.sort_indices(pa.array(verdicts["clip_id"])).to_numpy())
        for at in range(0, len(ordered), CLIPS_AT_ONCE):
            some = ordered.iloc[at : at + CLIPS_AT_ONCE]
            self._ledger.settle(zip(*(some[name].tolist() for name in ("clip_id", "status", "reason", "detail")), strict=True))


def _put(findings: Findings, rows: np.ndarray, texts: list[str]) -> None:
    """Read inspections in columns, which takes a quarter of the time, and those that are not plainly fine once more, one by one."""
    found = read_json(
        pa.py_buffer("\n".join(texts).encode()), ReadOptions(use_threads=False), ParseOptions(_FOUND, unexpected_field_behavior="ignore")
    )["found"].combine_chunks()
    measured = found.field("measured")
    plain = pc.and_(pc.equal(found.field("reason"), ""), pc.equal(pc.list_value_length(found.field("shape")), 0)).to_numpy(zero_copy_only=False)
    columns = {name: _numbers(found.field(name)) for name in _NUMBERS} | {name: _numbers(measured.field(name)) for name in _MEASURED}
    columns |= {name: found.field(name).to_numpy(zero_copy_only=False) for name in _HASHES}
    fine = np.zeros(len(rows), dtype=bool)
    fine[plain] = findings.put_columns({name: column[plain] for name, column in columns.items()}, rows[plain])
    slow = [json.loads(text)["found"] for text, is_fine in zip(texts, fine, strict=True) if not is_fine]
    findings.put([Inspection(**{**one, "shape": tuple(one["shape"])}) for one in slow], rows[~fine].tolist())


def _numbers(column: pa.Array) -> np.ndarray:
    return column.cast(pa.float64()).to_numpy(zero_copy_only=False)


def _row(clip: ClipSpan, found: Inspection) -> ClipRow:
    return ClipRow(
        clip.clip_id,
        "failed" if found.reason else "ok",
        found.reason,
        found.detail,
        clip.path,
        found.sha256,
        found.content_sha256,
        {"key": _key(clip, found.stamp), "found": found._asdict()},
    )


def _key(clip: ClipSpan, stamp: str) -> list:
    """What must be the same for an inspection to hold, as JSON gives it back."""
    _, path, start_s, duration_s, index, channels, more_paths, item, reader, partner = clip
    others = [list(channels), list(more_paths), item, reader, partner and _as_json_gives_back(partner)]
    return [INSPECTION_VERSION, stamp, path, start_s, duration_s, index, *others]


def _as_json_gives_back(values: tuple) -> list:
    return [_as_json_gives_back(value) if isinstance(value, tuple) else value for value in values]


def verdicts_of_download(root: Path) -> pd.DataFrame:
    """``clip_id, status, reason, detail`` of the clips below a data root that a download has not got."""
    path = Path(root) / "ledger.sqlite"
    if not path.is_file():
        return pd.DataFrame(columns=VERDICT_COLUMNS, dtype="str")
    with Ledger(path, read_only=True) as ledger:
        lost = ledger.table(VERDICT_COLUMNS)
    lost = lost[lost["status"] != "ok"]
    return lost.assign(status="failed", reason=lost["reason"].mask(lost["reason"] == "", "not_downloaded"))
