"""What must stay the same for an inspection to hold: a clip's place and the stamps of its files; for one clip, and for many in columns."""

import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import pandas as pd
import pyarrow as pa

from audiodata.clip_files import FileStamps
from audiodata.json_columns import each, joined, json_numbers, json_texts
from audiodata.records import ClipSpan, read_partner

INSPECTION_VERSION = 1  # raised when what is measured changes, so that remembered inspections are made again
PARTS_AHEAD = 2
KEY_COLUMNS = ["clip_id", "path", "file_start_s", "duration_s", "index", "channels", "more_paths", "item", "reader", "partner"]


def clip_key(clip: ClipSpan, stamp: str) -> list:
    """Return what must be the same for an inspection to hold, as JSON gives it back."""
    _, path, start_s, duration_s, index, channels, more_paths, item, reader, partner = clip
    others = [list(channels), list(more_paths), item, reader, partner and _as_json_gives_back(partner)]
    return [INSPECTION_VERSION, stamp, path, start_s, duration_s, index, *others]


def _as_json_gives_back(values: tuple) -> list:
    return [_as_json_gives_back(value) if isinstance(value, tuple) else value for value in values]


def key_texts(clips: pd.DataFrame, stamps: pa.Array) -> pa.LargeStringArray:
    """`clip_key` of each of many clips, as JSON.

    Parameters
    ----------
    clips : DataFrame
        Rows of a clips table.
    stamps : Arrow array of str, shape [clip]
        Of each clip's files, as `audiodata.clip_files.clip_stamp`.
    """
    parts = [
        str(INSPECTION_VERSION),
        json_texts(stamps),
        json_texts(clips["path"]),
        json_numbers(clips["file_start_s"].to_numpy()),
        json_numbers(clips["duration_s"].to_numpy()),
        json_numbers(clips["index"].to_numpy()),
        each(clips["channels"], lambda text: json.dumps([int(channel) for channel in text.split(",") if text])),
        each(clips["more_paths"], lambda text: json.dumps(text.split("|") if text else [])),
        json_texts(clips["item"]),
        json_texts(clips["reader"]),
        each(clips["partner"], lambda text: json.dumps(_as_json_gives_back(read_partner(text)) if text else None)),
    ]
    return joined("[", joined(*parts, by=", "), "]")


def files_of(clips: pd.DataFrame) -> list[tuple[str, ...]]:
    """`ClipSpan.paths` of each of many clips."""
    columns = [clips[name].to_numpy().tolist() for name in ("path", "more_paths", "partner")]
    if not any(columns[1]) and not any(columns[2]):
        return [(path,) for path in columns[0]]
    return [
        (path, *(more.split("|") if more else ()), *(read_partner(partner).paths if partner else ()))
        for path, more, partner in zip(*columns, strict=True)
    ]


def stamped(table: pd.DataFrame, parts: Iterable[np.ndarray], stamps: FileStamps) -> Iterator[tuple[np.ndarray, pd.DataFrame, pa.Array]]:
    """Take parts of a table with the stamps of their files, which are being looked up for the next parts meanwhile.

    Yields
    ------
    array of int, shape [clip]
        A part.
    DataFrame
        `KEY_COLUMNS` of its clips.
    Arrow array of str, shape [clip]
        Their stamps.
    """
    begun: deque[tuple[np.ndarray, pd.DataFrame, Callable[[], list[str]]]] = deque()
    for rows in parts:
        clips = table[KEY_COLUMNS].take(rows)
        begun.append((rows, clips, stamps.begin(files_of(clips))))
        if len(begun) > PARTS_AHEAD:
            yield _ended(begun.popleft())
    while begun:
        yield _ended(begun.popleft())


def _ended(part: tuple[np.ndarray, pd.DataFrame, Callable[[], list[str]]]) -> tuple[np.ndarray, pd.DataFrame, pa.Array]:
    rows, clips, looked_up = part
    return rows, clips, pa.array(looked_up(), pa.large_string())
