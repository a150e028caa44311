"""What must stay the same for an inspection to hold: a clip's place and the stamps of its files; for one clip, and for many in columns."""

import itertools
import json
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from audiodata.file_stamps import ClipFiles
from audiodata.json_columns import each, joined, json_numbers, json_texts
from audiodata.records import ClipSpan, read_partner


def clip_key(clip: ClipSpan, stamp: str) -> list:
    """Return what must be the same for an inspection to hold, as JSON gives it back."""
    _, path, start_s, duration_s, index, channels, more_paths, item, reader, partner = clip
    others = [list(channels), list(more_paths), item, reader, partner and _as_json_gives_back(partner)]
    return [stamp, path, start_s, duration_s, index, *others]


def _as_json_gives_back(values: tuple) -> list:
    return [_as_json_gives_back(value) if isinstance(value, tuple) else value for value in values]


_WRITERS: dict[str, Callable[[pd.Series], pa.LargeStringArray]] = {  # in the order of `clip_key`
    "path": json_texts,
    "file_start_s": lambda column: json_numbers(column.to_numpy()),
    "duration_s": lambda column: json_numbers(column.to_numpy()),
    "index": lambda column: json_numbers(column.to_numpy()),
    "channels": lambda column: each(column, lambda text: json.dumps([int(channel) for channel in text.split(",") if text])),
    "more_paths": lambda column: each(column, lambda text: json.dumps(text.split("|") if text else [])),
    "item": json_texts,
    "reader": json_texts,
    "partner": lambda column: each(column, lambda text: json.dumps(_as_json_gives_back(read_partner(text)) if text else None)),
}


class KeyedClips(NamedTuple):
    """Some clips of a table: what differs between the table's clips, and what is the same in all of them.

    Attributes
    ----------
    rows : array of int, shape [clip]
        Where they are in the table.
    clips : DataFrame
        What differs of the columns that a key is made from.
    same : DataFrame
        The others, in one row.
    """

    rows: np.ndarray
    clips: pd.DataFrame
    same: pd.DataFrame

    def files(self) -> ClipFiles:
        """Files of each clip."""
        paths, more_paths, partners = (self._values(name) for name in ("path", "more_paths", "partner"))
        several = enumerate(zip(more_paths, partners, strict=True)) if any(more_paths) or any(partners) else ()
        return ClipFiles(paths, {
            number: (*(more.split("|") if more else ()), *(read_partner(partner).paths if partner else ()))
            for number, (more, partner) in several
            if more or partner
        })

    def _values(self, name: str) -> list[str]:
        return self.clips[name].to_numpy().tolist() if name in self.clips else [self.same[name].iloc[0]] * len(self.clips)

    def keys(self, stamps: pa.Array) -> pa.LargeStringArray:
        """`clip_key` of each clip, as JSON.

        Parameters
        ----------
        stamps : Arrow array of str, shape [clip]
            Of each clip's files, as `audiodata.clip_files.clip_stamp`.
        """
        columns = (write(self.clips[name]) if name in self.clips else write(self.same[name])[0].as_py() for name, write in _WRITERS.items())
        pieces = itertools.chain.from_iterable((", ", column) for column in (json_texts(stamps), *columns))
        return joined("[", *itertools.islice(pieces, 1, None), "]")


class KeyedTable:
    """A clips table whose clips are taken with what they hang on: most tables have the same in every row of most columns, which are taken once.

    Parameters
    ----------
    table : DataFrame
    """

    def __init__(self, table: pd.DataFrame):
        is_same = {name: bool((table[name] == table[name].iloc[0]).all()) for name in _WRITERS} if len(table) else {}
        self._differing = table[[name for name, same in is_same.items() if not same]]
        self._same = table[[name for name, same in is_same.items() if same]].head(1)

    def take(self, rows: np.ndarray) -> KeyedClips:
        """Take the clips of some rows."""
        return KeyedClips(rows, self._differing.take(rows), self._same)
