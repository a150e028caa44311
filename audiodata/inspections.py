"""What a build remembers of its inputs, so that a clip is decoded for inspection once and again only when its file changes.

The memory is a ledger beside the cache (``<cache>.ledger.sqlite``), not in it: it holds time stamps, which a reproducible cache must not.
It can be deleted at any time; the next build then looks at every file again.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd

from audiodata.clip_files import clip_stamp
from audiodata.ledger import ClipRow, Ledger
from audiodata.records import ClipSpan, Inspection

INSPECTION_VERSION = 1  # raised when what is measured changes, so that remembered inspections are made again


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

    def recall(self, wanted: Iterable[ClipSpan], root: Path) -> dict[str, Inspection]:
        """Return the inspections of the clips whose span and file are still those that were inspected."""
        remembered = {row.clip_id: row for row in self._ledger.rows()}
        stamps: dict[tuple[str, ...], str] = {}
        known = {}
        for clip in wanted:
            if clip.paths not in stamps:
                stamps[clip.paths] = clip_stamp(root, clip)
            row = remembered.get(clip.clip_id)
            if row and row.measured.get("key") == _key(clip, stamps[clip.paths]):
                known[clip.clip_id] = Inspection(**{**row.measured["found"], "shape": tuple(row.measured["found"]["shape"])})
        return known

    def remember(self, clips: Iterable[ClipSpan], found: Iterable[Inspection]) -> None:
        """Write inspections down."""
        clips = list(clips)
        self._ledger.add(clip.clip_id for clip in clips)
        self._ledger.record(_row(clip, one) for clip, one in zip(clips, found, strict=True))

    def settle(self, verdicts: pd.DataFrame) -> None:
        """Write down what was decided on the clips that were inspected, where it is news."""
        decided = {row.clip_id: row for row in verdicts.itertuples(index=False)}
        news = (
            row._replace(status=verdict.status, reason=verdict.reason, detail=verdict.detail, attempts=0)
            for row in self._ledger.rows()
            if (verdict := decided.get(row.clip_id)) and (verdict.status, verdict.reason, verdict.detail) != row[1:4]
        )
        self._ledger.record(list(news))


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
    """What must be the same for an inspection to hold."""
    return [INSPECTION_VERSION, stamp, *_as_json_gives_back(clip)[1:]]


def _as_json_gives_back(values: tuple) -> list:
    return [_as_json_gives_back(value) if isinstance(value, tuple) else value for value in values]


def verdicts_of_download(root: Path) -> Mapping[str, tuple[str, str, str]]:
    """Status, reason and detail of the clips below a data root that a download has not got, by clip id."""
    path = Path(root) / "ledger.sqlite"
    if not path.is_file():
        return {}
    with Ledger(path, read_only=True) as ledger:
        lost = ledger.table(["clip_id", "status", "reason", "detail"])
    lost = lost[lost["status"] != "ok"]
    return {row.clip_id: ("failed", row.reason or "not_downloaded", row.detail) for row in lost.itertuples()}
