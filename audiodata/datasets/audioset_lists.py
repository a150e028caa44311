"""AudioSet's own files, read as published and as others re-save them: segment lists, strong labels, names, quality.

Times are kept in whole milliseconds, which is how AudioSet itself counts them in its segment ids.
"""

import re
from collections.abc import Container
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from audiodata.datasets.tables import TextTable, read_rows, read_table, shown
from audiodata.errors import MetadataError
from audiodata.packed import read_bytes
from audiodata.timing import seconds_to_milliseconds

SEGMENT_MS = 10_000

_VIDEO_ID = "[A-Za-z0-9_-]{11}"
_SEGMENT_COLUMNS = {
    "YTID": ("ytid", "yt_id", "youtube_id", "video_id", "id"),
    "start_seconds": ("start_seconds", "start_second", "start_time_seconds", "start_time", "start_s", "start"),
    "end_seconds": ("end_seconds", "end_second", "end_time_seconds", "end_time", "end_s", "end"),
    "positive_labels": ("positive_labels", "positive_label", "labels", "label", "mids"),
}
_STRONG_COLUMNS = {
    "segment_id": ("segment_id", "filename", "clip_id"),
    "start_time_seconds": ("start_time_seconds", "start_seconds", "start_time", "onset", "start_s", "start"),
    "end_time_seconds": ("end_time_seconds", "end_seconds", "end_time", "offset", "end_s", "end"),
    "label": ("label", "mid", "event_label"),
}
_STRONG_OPTIONAL = {"present": ("present",)}


def read_segments(path: Path, known: Container[str] | None = None) -> pa.Table:
    """Read a list of weakly labelled segments.

    Parameters
    ----------
    path : Path
        As published (three ``#`` lines, comma and space, quoted label list) or re-saved (header row, no spaces).
    known : container of str, optional
        The mids that may occur.

    Returns
    -------
    pyarrow.Table
        A row a segment: ``ytid`` (str), ``start_ms``, ``end_ms`` (int64, in the video), ``labels`` (list of mids).

    Raises
    ------
    MetadataError
        Names the file and line: a missing column, an id that is none, times that are no span, an unknown label.
    """
    table = read_table(path, _SEGMENT_COLUMNS)
    ytid = table.text("YTID")
    matches = pc.match_substring_regex(ytid, f"^{_VIDEO_ID}$").to_numpy()
    table.refuse(~matches, lambda row: f"YTID = {shown(ytid[row].as_py())} is no video id (11 of A-Z a-z 0-9 _ -)")
    start_ms, end_ms = (milliseconds(table.numbers(name)) for name in ("start_seconds", "end_seconds"))
    table.refuse(
        (start_ms < 0) | (end_ms <= start_ms),
        lambda row: f"start {start_ms[row] / 1000:g} s, end {end_ms[row] / 1000:g} s: expected 0 <= start < end",
    )
    labels = pc.split_pattern(table.text("positive_labels"), ",").combine_chunks()
    _refuse_unknown(table, labels, known)
    return pa.table({"ytid": ytid, "start_ms": start_ms, "end_ms": end_ms, "labels": labels})


def read_strong(path: Path, known: Container[str] | None = None) -> pa.Table:
    """Read a list of strong labels: events with their times inside a segment of 10 s.

    Parameters
    ----------
    path : Path
        Tab-separated; the ``framed_posneg`` lists have a column ``present`` and explicit negatives.
    known : container of str, optional
        The mids that may occur.

    Returns
    -------
    pyarrow.Table
        A row an event: ``ytid`` (str), ``segment_ms`` (int64, start of the segment in the video), ``onset_ms``,
        ``offset_ms`` (int64, in the segment), ``label`` (mid), ``present`` (bool).

    Raises
    ------
    MetadataError
        Names the file and line: a missing column, an id that is none, times outside the segment, an unknown label.
    """
    table = read_table(path, _STRONG_COLUMNS, _STRONG_OPTIONAL)
    segment_id = table.text("segment_id")
    # the video id may itself hold underscores: what follows the last one is the start
    parts = pc.extract_regex(segment_id, f"^(?P<ytid>{_VIDEO_ID})_(?P<start>[0-9]{{1,9}})$").combine_chunks()
    table.refuse(
        parts.is_null().to_numpy(zero_copy_only=False),
        lambda row: f"segment_id = {shown(segment_id[row].as_py())}: expected a video id, `_` and milliseconds",
    )
    onset_ms, offset_ms = (milliseconds(table.numbers(f"{name}_time_seconds")) for name in ("start", "end"))
    table.refuse(
        (onset_ms < 0) | (offset_ms <= onset_ms) | (offset_ms > SEGMENT_MS),
        lambda row: f"event {onset_ms[row] / 1000:g} to {offset_ms[row] / 1000:g} s: expected 0 <= start < end <= 10, "
        "in seconds from the start of the segment",
    )
    label = table.text("label").combine_chunks()
    _refuse_unknown(table, pa.ListArray.from_arrays(np.arange(len(label) + 1, dtype=np.int32), label), known)
    return pa.table(
        {
            "ytid": pc.struct_field(parts, "ytid"),
            "segment_ms": pc.cast(pc.struct_field(parts, "start"), pa.int64()),
            "onset_ms": onset_ms,
            "offset_ms": offset_ms,
            "label": label,
            "present": _present(table),
        }
    )


def _present(table: TextTable) -> np.ndarray:
    if "present" not in table.columns.column_names:
        return np.ones(len(table.columns), dtype=bool)
    values = pc.utf8_upper(table.text("present"))
    allowed = pc.is_in(values, pa.array(["PRESENT", "NOT_PRESENT"])).to_numpy()
    table.refuse(~allowed, lambda row: f"present = {shown(values[row].as_py())}: expected PRESENT or NOT_PRESENT")
    return pc.equal(values, "PRESENT").to_numpy()


def milliseconds(seconds: np.ndarray) -> np.ndarray:
    """Nearest milliseconds of many times, as `audiodata.timing` rounds them; each different time is rounded once."""
    codes, values = pd.factorize(seconds)
    return np.array([seconds_to_milliseconds(value) for value in values.tolist()], dtype=np.int64)[codes]


def _refuse_unknown(table: TextTable, labels: pa.ListArray, known: Container[str] | None) -> None:
    encoded = pc.dictionary_encode(labels.flatten())
    names = encoded.dictionary.to_pylist()
    unknown = np.array([not name or (known is not None and name not in known) for name in names], dtype=bool)
    if unknown.any():
        bad = np.zeros(len(labels), dtype=bool)
        at = np.flatnonzero(unknown[encoded.indices.to_numpy()])
        bad[pc.list_parent_indices(labels).to_numpy()[at]] = True
        table.refuse(
            bad,
            lambda row: f"label {shown(_first_unknown(labels[row].as_py(), known))} is not in the ontology "
            "(ontology.json, mid_to_display_name.tsv)",
        )


def _first_unknown(labels: list[str], known: Container[str] | None) -> str:
    return next((label for label in labels if not label or (known is not None and label not in known)), "")


def whole_segments(events: pa.Table) -> pa.Table:
    """Turn events into spans of the 10 s that they lie in, one an event; absent labels leave the span without one.

    Returns
    -------
    pyarrow.Table
        As `read_segments`; the spans of one segment are alike but for their label (`merge_spans` joins them).
    """
    return pa.table(
        {
            "ytid": events["ytid"],
            "start_ms": events["segment_ms"],
            "end_ms": pc.add(events["segment_ms"], SEGMENT_MS),
            "labels": _label_lists(events["label"], events["present"].to_numpy()),
        }
    )


def event_spans(events: pa.Table) -> pa.Table:
    """Turn present events into spans of the video: start of the segment plus time inside it.

    Returns
    -------
    pyarrow.Table
        As `read_segments`, one row an event.
    """
    events = events.filter(events["present"])
    return pa.table(
        {
            "ytid": events["ytid"],
            "start_ms": pc.add(events["segment_ms"], events["onset_ms"]),
            "end_ms": pc.add(events["segment_ms"], events["offset_ms"]),
            "labels": _label_lists(events["label"], np.ones(len(events), dtype=bool)),
        }
    )


def _label_lists(labels: pa.ChunkedArray, kept: np.ndarray) -> pa.ListArray:
    """Return a list of one label for each row that keeps it, and an empty one for each other row."""
    offsets = np.concatenate([[0], np.cumsum(kept)]).astype(np.int32)
    return pa.ListArray.from_arrays(offsets, labels.filter(pa.array(kept)).combine_chunks())


def merge_spans(spans: pa.Table, clip_ids: pa.ChunkedArray) -> tuple[pa.Table, pa.ChunkedArray]:
    """Make one row of all rows with the same clip id: the first of them, with the labels of all.

    Parameters
    ----------
    spans : pyarrow.Table
        With a column ``labels`` (list of str).
    clip_ids : pyarrow.ChunkedArray of str
        One a row.

    Returns
    -------
    pyarrow.Table, pyarrow.ChunkedArray
        Spans and clip ids, in the order of first appearance.
    """
    owners, names = pd.factorize(clip_ids.to_pandas())
    if len(names) == len(owners):
        return spans, clip_ids
    first = pa.array(np.unique(owners, return_index=True)[1])
    labels = spans["labels"].combine_chunks()
    encoded = pc.dictionary_encode(labels.flatten())
    pairs = pd.DataFrame(
        {"owner": owners[pc.list_parent_indices(labels).to_numpy()], "label": encoded.indices.to_numpy()}
    ).drop_duplicates()
    pairs = pairs.sort_values("owner", kind="stable")
    offsets = np.concatenate([[0], np.cumsum(np.bincount(pairs["owner"], minlength=len(names)))]).astype(np.int32)
    merged = pa.ListArray.from_arrays(offsets, encoded.dictionary.take(pa.array(pairs["label"].to_numpy())))
    kept = spans.take(first)
    return kept.set_column(kept.column_names.index("labels"), "labels", merged), clip_ids.take(first)


def read_class_labels(path: Path) -> dict[str, str]:
    """Read ``class_labels_indices.csv``: mid to display name, in the order of the index."""
    rows = read_rows(path)
    index, mids, names = (rows.column(name) for name in ("index", "mid", "display_name"))
    for row, value in enumerate(index):
        if value != str(row):
            raise rows.error(row, f"index = {shown(value)}: expected {row}, the classes being numbered from 0")
    return dict(zip(mids, names, strict=True))


def read_display_names(path: Path) -> dict[str, str]:
    """Read ``mid_to_display_name.tsv`` (no header): mid to name, the label set of the strong labels."""
    rows = read_rows(path, separator="\t", header=("mid", "name"))
    return dict(zip(rows.column("mid"), rows.column("name"), strict=True))


def read_quality(path: Path) -> dict[str, float]:
    """Read ``qa_true_counts.csv``: mid to the share of rated clips that have the label; 0 where none was rated.

    Raises
    ------
    MetadataError
        Names the file and line: a missing column, counts that are none.
    """
    rows = read_rows(path)
    quality: dict[str, float] = {}
    columns = (rows.column(name) for name in ("label_id", "num_rated", "num_true"))
    for row, (mid, rated, true) in enumerate(zip(*columns, strict=True)):
        if not (rated.isdecimal() and true.isdecimal() and int(true) <= int(rated)):
            found = f"num_rated = {shown(rated)}, num_true = {shown(true)}"
            raise rows.error(row, f"{found}: expected counts, the second at most the first")
        quality[mid] = int(true) / int(rated) if int(rated) else 0.0
    return quality


def read_video_ids(path: Path) -> frozenset[str]:
    """Read a list of video ids, one a line (``rerated_video_ids.txt``)."""
    ids = set()
    for number, line in enumerate(read_bytes(path).decode("utf-8", errors="replace").splitlines(), 1):
        word = line.strip()
        if word and not word.startswith("#"):
            if not re.fullmatch(_VIDEO_ID, word):
                raise MetadataError(f"{path}: line {number}: {shown(word)} is no video id (11 of A-Z a-z 0-9 _ -)")
            ids.add(word)
    return frozenset(ids)
