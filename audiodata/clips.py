"""The clips table: one row a clip, the same columns whatever data set it comes from.

A data set (`audiodata.datasets`) makes the table, the catalog's ``[select]`` marks rows as left out (a row is never
removed, so that the ledger can account for it), and `audiodata.splits` divides what is left.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from audiodata.clip_files import CONTROL, UNSAFE_PATH, is_safe_path
from audiodata.errors import MetadataError
from audiodata.reasons import REASONS
from audiodata.records import read_partner
from audiodata.text_hashes import unit_hashes


class Column(NamedTuple):
    """One column: dtype, what it holds, and its value where a data set says nothing ("=name": as that column)."""

    dtype: str
    meaning: str
    default: str | float | int | None = None


COLUMNS = {
    "clip_id": Column("str", "unique name of the clip; a label, never part of a path unchecked"),
    "path": Column("str", "file that holds the clip: POSIX, relative to the data root"),
    "recording_id": Column("str", "source recording or video", "=clip_id"),
    "group_id": Column("str", "what must stay on one side of a split", "=recording_id"),
    "start_s": Column("float64", "start of the clip in the recording, in seconds", 0.0),
    "file_start_s": Column("float64", "start of the clip in the file at `path`, in seconds", 0.0),
    "duration_s": Column("float64", "expected duration in seconds; NaN = to the end of the file", float("nan")),
    "label": Column("str", "class, one of the chosen ones; empty = none", ""),
    "labels": Column("str", "all labels that the data set gives the clip, joined by ;", ""),
    "published": Column("str", "the data set's own split or fold; empty = none", ""),
    "index": Column("int64", "item inside the file, for files that hold many", 0),
    "channels": Column("str", "channels of the file to take, counted from 0 and in this order, joined by ,; empty = all", ""),
    "more_paths": Column("str", "files that hold the clip's further channels, as `path`, joined by |; empty = there are none", ""),
    "item": Column("str", "item inside the file, for files that hold many by name; empty = none", ""),
    "reader": Column("str", 'how events are read or made, or utterances mixed, as JSON with its "format"; empty = read as it is', ""),
    "partner": Column("str", "the recording of another sense that is paired with it, as JSON (`audiodata.records.partner_text`); empty = none", ""),
    "azimuth_deg": Column("float64", "where the sound comes from: 0 front, counter-clockwise, [0, 360); NaN = not known", float("nan")),
    "reason": Column("str", "empty = candidate; else why the catalog leaves it out, a key of `REASONS`", ""),
}

_NOT_CHANNELS = r"^([^0-9]|.*[^0-9,]|.*,,|.*,$)"
_NEVER_EMPTY = ("clip_id", "path", "recording_id", "group_id")


def clips_table(columns: Mapping[str, Any]) -> pd.DataFrame:
    """Build a clips table.

    Parameters
    ----------
    columns : mapping of str to sequence
        Some of `COLUMNS`, each a sequence (or Arrow array) with a value a clip; the others get their defaults.

    Returns
    -------
    DataFrame
        All of `COLUMNS`, validated.

    Raises
    ------
    MetadataError
        As `validate`.
    """
    unknown = [name for name in columns if name not in COLUMNS]
    if unknown:
        raise TypeError(f"not a column of the clips table: {unknown[0]}")
    made: dict[str, pd.Series] = {}
    rows = len(columns["clip_id"])
    for name, column in COLUMNS.items():
        made[name] = _series(columns[name], column.dtype) if name in columns else _default(column, made, rows)
    table = pd.DataFrame(made, copy=False)
    validate(table)
    return table


def _series(values: Any, dtype: str) -> pd.Series:
    if isinstance(values, pa.Array | pa.ChunkedArray):
        values = values.to_pandas()
    if isinstance(values, pd.Series):
        values = values.reset_index(drop=True)
    return pd.Series(values, dtype=dtype)


def _default(column: Column, made: Mapping[str, pd.Series], rows: int) -> pd.Series:
    if isinstance(column.default, str) and column.default.startswith("="):
        return made[column.default[1:]]
    if column.default is None:
        raise TypeError("a clips table needs at least clip_id and path")
    if column.dtype == "str":
        return pa.repeat(column.default, rows).to_pandas().astype("str")
    return pd.Series(np.full(rows, column.default), dtype=column.dtype)


def validate(table: pd.DataFrame, where: str = "clips table") -> None:
    """Check that a table keeps what `COLUMNS` promises.

    Parameters
    ----------
    table : DataFrame
    where : str
        What the table is called in messages.

    Raises
    ------
    MetadataError
        Names the first offending row: an identifier that is empty, repeated or holds control characters; a path that is
        absolute or leads out of the root; a time that is negative or not finite; a reason that is not one of choice.
    """
    missing = [name for name in COLUMNS if name not in table.columns]
    if missing:
        raise MetadataError(f"{where}: no column `{missing[0]}`; columns: {', '.join(map(str, table.columns))}")
    for name in (name for name, column in COLUMNS.items() if column.dtype == "str"):
        bad = _with_control_characters(table[name]) | table[name].isna().to_numpy()
        _refuse(table, bad, where, name, "is missing or has control characters")
    for name in _NEVER_EMPTY:
        _refuse(table, (table[name] == "").to_numpy(), where, name, "is empty")
    _refuse(table, _matching(table["path"], UNSAFE_PATH), where, "path", "must be relative and lead nowhere but down")
    _check_further_files(table, where)
    if not table["clip_id"].is_unique:
        _refuse(table, table["clip_id"].duplicated().to_numpy(), where, "clip_id", "stands on an earlier row too")
    _check_numbers(table, where)
    allowed = ["", *(reason for reason, entry in REASONS.items() if entry.kind == "choice")]
    _refuse(table, ~table["reason"].isin(allowed).to_numpy(), where, "reason", "is no reason of choice")


def _check_further_files(table: pd.DataFrame, where: str) -> None:
    """Look at each text once: most tables have the same empty one in every row."""
    unsafe = [texts for texts in table["more_paths"].unique() if texts and not all(is_safe_path(path) for path in texts.split("|"))]
    _refuse(table, table["more_paths"].isin(unsafe).to_numpy(), where, "more_paths", "must be relative and lead nowhere but down")
    channels = pd.Series(table["channels"].unique(), dtype="str")
    wrong = channels[_matching(channels, _NOT_CHANNELS)]
    _refuse(table, table["channels"].isin(wrong).to_numpy(), where, "channels", "must be numbers joined by commas")
    unsafe = [text for text in table["partner"].unique() if text and not is_safe_path(read_partner(text).path)]
    _refuse(table, table["partner"].isin(unsafe).to_numpy(), where, "partner", "must have a relative path that leads nowhere but down")


def _check_numbers(table: pd.DataFrame, where: str) -> None:
    for name in ("start_s", "file_start_s"):
        bad = ~(np.isfinite(table[name].to_numpy()) & (table[name].to_numpy() >= 0))
        _refuse(table, bad, where, name, "must be a time of at least 0 s")
    durations = table["duration_s"].to_numpy()
    bad = ~(np.isnan(durations) | (np.isfinite(durations) & (durations > 0)))
    _refuse(table, bad, where, "duration_s", "must be over 0 s, or NaN")
    _refuse(table, table["index"].to_numpy() < 0, where, "index", "must be at least 0")
    azimuths = table["azimuth_deg"].to_numpy()
    bad = ~(np.isnan(azimuths) | ((azimuths >= 0) & (azimuths < 360)))
    _refuse(table, bad, where, "azimuth_deg", "must be at least 0 and below 360 degrees, or NaN")


def _arrow(values: pd.Series) -> pa.LargeStringArray:
    array = pa.array(values, type=pa.large_string())
    return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array


def _matching(values: pd.Series, pattern: str) -> np.ndarray:
    found = pc.match_substring_regex(_arrow(values), pattern)
    return pc.fill_null(found, False).to_numpy(zero_copy_only=False)


def _with_control_characters(values: pd.Series) -> np.ndarray:
    """Look at the bytes of the whole column first: in UTF-8 a control character is a byte of its own."""
    letters = np.frombuffer(_arrow(values).buffers()[2] or b"", dtype=np.uint8)
    if not ((letters < 0x20) | (letters == 0x7F)).any():
        return np.zeros(len(values), dtype=bool)
    return _matching(values, CONTROL)


def _refuse(table: pd.DataFrame, bad: np.ndarray, where: str, name: str, complaint: str) -> None:
    if not bad.any():
        return
    row = int(np.argmax(bad))
    more = f" ({int(bad.sum()) - 1} more rows like it)" if bad.sum() > 1 else ""
    clip = "" if name == "clip_id" else f" (clip {table['clip_id'].iloc[row]!r})"
    raise MetadataError(f"{where}: row {row}{clip}: {name} = {table[name].iloc[row]!r} {complaint}{more}")


def class_names(table: pd.DataFrame, classes: Sequence[str] = ()) -> tuple[str, ...]:
    """Class names in the order of their indices: as the catalog lists them, else those of the candidates, sorted.

    Parameters
    ----------
    table : DataFrame
        Clips table.
    classes : sequence of str, optional
        The catalog's ``select.classes``; a class bears the name that the catalog gives it.
    """
    if classes:
        return tuple(classes)
    found = table.loc[(table["reason"] == "").to_numpy(dtype=bool), "label"].unique()
    return tuple(sorted(name for name in found if name))


def sample_per_class(table: pd.DataFrame, per_class: int, seed: int) -> pd.DataFrame:
    """Keep at most so many candidates of each class; the others get the reason ``over_per_class``.

    Parameters
    ----------
    table : DataFrame
        Clips table.
    per_class : int
        Clips of a class to keep.
    seed : int
        Decides, with the clip's id, who comes first: the choice does not depend on the order of the rows, and a clip
        that is added or taken away changes at most one other.

    Returns
    -------
    DataFrame
        The same rows.
    """
    candidates = (table["reason"] == "").to_numpy(dtype=bool)
    chosen = table[candidates]
    rank = _ranks(chosen, ["label"], unit_hashes(seed, "select", chosen["clip_id"]))
    return _left_out(table, candidates, rank > per_class, "over_per_class")


def limit_clips(table: pd.DataFrame, limit: int, seed: int) -> pd.DataFrame:
    """Keep `limit` candidates, the same ones every time and balanced; the others get the reason ``over_limit``.

    Parameters
    ----------
    table : DataFrame
        Clips table. With a column ``split`` the balance is over splits and classes: a small trial has some of each.
    limit : int
        Clips to keep in all.
    seed : int
        As in `sample_per_class`.
    """
    candidates = (table["reason"] == "").to_numpy(dtype=bool)
    chosen = table[candidates]
    by = [name for name in ("split", "label") if name in table.columns]
    draw = unit_hashes(seed, "select", chosen["clip_id"])
    over = np.ones(len(chosen), dtype=bool)
    over[np.lexsort((draw, _ranks(chosen, by, draw)))[:limit]] = False
    limited = _left_out(table, candidates, over, "over_limit")
    if "split" in limited.columns:
        limited["split"] = limited["split"].where(limited["reason"] == "", "")
    return limited


def _ranks(chosen: pd.DataFrame, by: list[str], draw: np.ndarray) -> np.ndarray:
    """Place of each clip among those that agree in `by`, from 1; equal draws (1 pair in 2**56) get the later place."""
    return pd.Series(draw, index=chosen.index).groupby([chosen[name] for name in by]).rank(method="max").to_numpy()


def _left_out(table: pd.DataFrame, candidates: np.ndarray, over: np.ndarray, reason: str) -> pd.DataFrame:
    marked = candidates.copy()
    marked[candidates] = over
    return table.assign(reason=table["reason"].mask(marked, reason))
