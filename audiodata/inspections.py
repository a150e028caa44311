"""What a build remembers of its inputs, so that a clip is decoded for inspection once and again only when its file changes; and of its shards.

The memory is a ledger beside the cache (``<cache>.ledger.sqlite``), not in it: it holds time stamps, which a reproducible cache must not.
It can be deleted at any time; the next build then looks at every file again.
"""

import json
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from audiodata.errors import CacheError
from audiodata.file_stamps import FileStamps
from audiodata.findings import Findings, as_arrow
from audiodata.inspection_keys import KeyedTable, clip_key
from audiodata.inspection_rows import VERSION, read_batches, read_others, read_sound, read_sounds, write_batch
from audiodata.ledger import Ledger
from audiodata.records import ClipSpan, Inspection
from audiodata.shard_memory import ShardMemory

CLIPS_AT_ONCE = 20_000
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
            The clips table.
        root : path
            The data root.
        """
        known = _of_candidates(self._batches(), findings)
        keyed = KeyedTable(table)
        with FileStamps(root) as stamps:
            for (batch, part), found in stamps.of_each(((batch, keyed.take(rows)) for batch, rows in known), lambda both: both[1].files()):
                holds = pc.equal(batch["key"], part.keys(pa.array(found, pa.large_string())))
                _put(findings, batch.filter(holds), part.rows[holds.to_numpy(zero_copy_only=False)])

    def _batches(self) -> deque[pa.RecordBatch]:
        try:
            return deque(read_batches(self._ledger.inspections(VERSION)))
        except ValueError as error:
            advice = "remove it: every file is then looked at again"
            raise CacheError(f"{self._ledger.path}: what is remembered can't be read ({error}); {advice}") from error

    def remember(self, clips: Iterable[ClipSpan], found: Iterable[Inspection]) -> None:
        """Write inspections down; they take the place of those of the same clips, which stay in the file but do not hold any more."""
        clips, found = list(clips), list(found)
        verdicts = [(clip.clip_id, "failed" if one.reason else "ok", one.reason, one.detail) for clip, one in zip(clips, found, strict=True)]
        keys = [json.dumps(clip_key(clip, one.stamp)) for clip, one in zip(clips, found, strict=True)]
        self._ledger.remember(verdicts, VERSION, write_batch([clip.clip_id for clip in clips], keys, found))

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


def _of_candidates(batches: deque[pa.RecordBatch], findings: Findings) -> Iterator[tuple[pa.RecordBatch, np.ndarray]]:
    """Take what is remembered of candidates out of batches, with their rows; a batch that has been dealt with need not be kept."""
    rows = findings.candidate_rows(pa.chunked_array([batch["clip_id"] for batch in batches], pa.large_string()))
    end = 0
    while batches:
        batch = batches.popleft()
        begin, end = end, end + len(batch)
        is_candidate = rows[begin:end] >= 0
        yield (batch if is_candidate.all() else batch.filter(pa.array(is_candidate))), rows[begin:end][is_candidate]


def _put(findings: Findings, found: pa.RecordBatch, rows: np.ndarray) -> None:
    is_sound = found["sound"].is_valid()
    sounds = is_sound.to_numpy(zero_copy_only=False)
    _put_sounds(findings, found.filter(is_sound), rows[sounds])
    others, which = read_others(found["other"].filter(pc.invert(is_sound)))
    findings.put_alike(others, which, rows[~sounds])


def _put_sounds(findings: Findings, found: pa.RecordBatch, rows: np.ndarray) -> None:
    """Put inspections of sounds in columns, which takes a tenth of the time, and what is not plainly fine one by one."""
    is_fine = findings.put_columns(read_sounds(found["sound"]), rows)
    slow = found.filter(pa.array(~is_fine))
    sounds = map(read_sound, slow["clip_id"].to_pylist(), slow["sound"].to_pylist())
    findings.put(list(sounds), rows[~is_fine].tolist())


def verdicts_of_download(root: Path) -> pd.DataFrame:
    """``clip_id, status, reason, detail`` of the clips below a data root that a download has not got."""
    path = Path(root) / "ledger.sqlite"
    if not path.is_file():
        return pd.DataFrame(columns=VERDICT_COLUMNS, dtype="str")
    with Ledger(path, read_only=True) as ledger:
        lost = ledger.table(VERDICT_COLUMNS, [state for state in ledger.counts() if state[0] != "ok"])
    return lost.assign(status="failed", reason=lost["reason"].mask(lost["reason"] == "", "not_downloaded"))
