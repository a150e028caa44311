"""What a build remembers of its inputs, so that a clip is decoded for inspection once and again only when its file changes; and of its shards.

The memory is a ledger beside the cache (``<cache>.ledger.sqlite``), not in it: it holds time stamps, which a reproducible cache must not.
It can be deleted at any time; the next build then looks at every file again.
"""

import json
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow.json import ParseOptions, read_json

from audiodata.cleaning import Measurements
from audiodata.clip_files import FileStamps
from audiodata.findings import Findings, as_arrow
from audiodata.inspection_keys import KeyedClips, clip_key, keyed
from audiodata.json_columns import joined
from audiodata.ledger import Ledger
from audiodata.records import ClipRow, ClipSpan, Inspection
from audiodata.shard_memory import ShardMemory

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

    def recall(self, findings: Findings, table: pd.DataFrame, root: Path) -> None:
        """Put the inspections of the clips whose span and files are still those that were inspected into `findings`.

        Parameters
        ----------
        findings : Findings
        table : DataFrame
            The clips table. Its candidates are taken in the order of their ids, which is the ledger's: so the two are read side by side.
        root : path
            The data root.
        """
        order = findings.candidates_by_id()
        parts = [order[at : at + CLIPS_AT_ONCE] for at in range(0, len(order), CLIPS_AT_ONCE)]
        with FileStamps(root) as stamps:
            for part in keyed(table, parts):
                rows, texts = self._holding(part, pa.array(stamps.of(part.files()), pa.large_string()))
                if texts:
                    _put(findings, rows, texts)

    def _holding(self, part: KeyedClips, stamps: pa.Array) -> tuple[np.ndarray, list[str]]:
        """Rows of the clips of which what is remembered still holds, and what that is, as JSON; the clips are in the order of their ids."""
        ids = as_arrow(part.clips["clip_id"])
        known = self._ledger.between(["clip_id", "measured"], ids[0].as_py(), ids[-1].as_py())
        at = pc.index_in(pa.array([clip_id for clip_id, _ in known], ids.type), value_set=ids).fill_null(-1).to_numpy().tolist()
        endings = joined(', "key": ', part.keys(stamps), "}").to_pylist()  # as the ledger writes it: keys are sorted
        kept = [
            (of_clip, text.removesuffix(endings[of_clip]) + "}")
            for of_clip, (_, text) in zip(at, known, strict=True)
            if of_clip >= 0 and text.endswith(endings[of_clip])
        ]
        return part.rows[[of_clip for of_clip, _ in kept]], [text for _, text in kept]

    def remember(self, clips: Iterable[ClipSpan], found: Iterable[Inspection]) -> None:
        """Write inspections down."""
        clips = list(clips)
        self._ledger.add(clip.clip_id for clip in clips)
        self._ledger.record(_row(clip, one) for clip, one in zip(clips, found, strict=True))

    def shards_of(self, cache: Path) -> ShardMemory:
        """What is remembered of the shards of the cache."""
        return ShardMemory(self._ledger, cache)

    def settle(self, verdicts: pd.DataFrame) -> None:
        """Write down what was decided on the clips that were inspected, where it is news.

        Most clips are fine and are noted as that: only the others, and those that are noted as something else, are looked up.
        """
        plain = (verdicts[["status", "reason", "detail"]] == ["ok", "", ""]).all(axis=1).to_numpy()
        otherwise = self._ledger.table(["clip_id"], [state for state in self._ledger.counts() if state != ("ok", "")])["clip_id"]
        news = ~plain | pc.is_in(as_arrow(verdicts["clip_id"]), value_set=as_arrow(otherwise)).to_numpy(zero_copy_only=False)
        some = verdicts[news]
        ordered = some.take(pc.sort_indices(as_arrow(some["clip_id"])).to_numpy())
        for at in range(0, len(ordered), CLIPS_AT_ONCE):
            part = ordered.iloc[at : at + CLIPS_AT_ONCE]
            self._ledger.settle(zip(*(part[name].tolist() for name in VERDICT_COLUMNS), strict=True))


def _put(findings: Findings, rows: np.ndarray, texts: list[str]) -> None:
    """Read inspections in columns, which takes a quarter of the time, and those that are not plainly fine once more, one by one."""
    lines = pa.py_buffer("\n".join(texts).encode())
    found = read_json(lines, parse_options=ParseOptions(_FOUND, unexpected_field_behavior="ignore"))["found"].combine_chunks()
    measured = found.field("measured")
    plain = pc.and_(pc.equal(found.field("reason"), ""), pc.equal(pc.list_value_length(found.field("shape")), 0)).to_numpy(zero_copy_only=False)
    columns = {name: _numbers(found.field(name)) for name in _NUMBERS} | {name: _numbers(measured.field(name)) for name in _MEASURED}
    hashes = {name: found.field(name).filter(pa.array(plain)) for name in _HASHES}
    fine = np.zeros(len(rows), dtype=bool)
    fine[plain] = findings.put_columns({name: column[plain] for name, column in columns.items()}, hashes, rows[plain])
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
        {"key": clip_key(clip, found.stamp), "found": found._asdict()},
    )


def verdicts_of_download(root: Path) -> pd.DataFrame:
    """``clip_id, status, reason, detail`` of the clips below a data root that a download has not got."""
    path = Path(root) / "ledger.sqlite"
    if not path.is_file():
        return pd.DataFrame(columns=VERDICT_COLUMNS, dtype="str")
    with Ledger(path, read_only=True) as ledger:
        lost = ledger.table(VERDICT_COLUMNS, [state for state in ledger.counts() if state[0] != "ok"])
    return lost.assign(status="failed", reason=lost["reason"].mask(lost["reason"] == "", "not_downloaded"))
