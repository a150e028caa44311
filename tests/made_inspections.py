"""Inspections and clips tables made up for tests."""

import hashlib

from audiodata.clips import clips_table
from audiodata.records import Inspection

FINE = {"duration_s": 10.0, "level_db": -20.0, "peak_db": -1.0, "clipped_share": 0.0, "dc_offset": 0.0, "bandwidth_hz": 7000.0, "finite": True}


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()


def found(clip_id, **changes):
    fields = {"sha256": digest(clip_id), "content_sha256": digest(f"sound of {clip_id}"), "sample_rate": 16000, "channels": 1, "samples": 160000}
    return Inspection(clip_id, **fields | {"measured": FINE} | changes)


def table_of(ids, **columns):
    return clips_table({"clip_id": ids, "path": [f"{clip_id}.flac" for clip_id in ids], "duration_s": [10.0] * len(ids)} | columns)
