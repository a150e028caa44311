"""A table of recordings, made by the user: which file, which class, and what else its columns tell."""

import posixpath
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydantic import model_validator

from audiodata.clip_files import is_safe_path
from audiodata.datasets.tables import Rows, read_rows, shown
from audiodata.errors import MetadataError
from audiodata.settings import Settings
from audiodata.timing import seconds_to_milliseconds

# what these columns are usually called (in any case); of several, the first in this order
USUAL_NAMES = {
    "file_column": (
        *("file", "filename", "file_name", "filepath", "file_path", "path", "fname", "slice_file_name"),
        *("audio", "audio_file", "audio_path", "audio_filename", "wav", "wav_path", "wav_file", "clip", "recording"),
    ),
    "class_column": ("class", "class_name", "label", "category", "classname", "label_name", "genre", "word", "target"),
    "group_column": (
        *("group", "group_id", "speaker", "speaker_id", "source", "source_id", "src_file", "recording_id"),
        *("freesound_id", "fsid", "ytid", "youtube_id", "video_id", "session", "subject", "subject_id"),
    ),
    "split_column": ("split", "fold", "subset", "partition", "set"),
}


class TableColumns(Settings):
    """Keys that say which column of a CSV holds what.

    Attributes
    ----------
    separator : str or None
        None: comma, semicolon, tab or bar, whichever the header has most of.
    file_column, class_column : str or None
        None: by the usual names (`USUAL_NAMES`); both must be there.
    group_column, split_column : str or None
        None: by the usual names; without them each file is a group of its own and there is no published split.
    file_suffix : str
        Added to each file's name, e.g. ".wav" where the table leaves it out.
    start_column, duration_column, end_column : str or None
        Where the clip lies in its file, in seconds; never guessed, since tables often tell the place in another
        recording. Without start: from the beginning; without duration and end: to the end.
    """

    separator: str | None = None
    file_column: str | None = None
    class_column: str | None = None
    group_column: str | None = None
    split_column: str | None = None
    file_suffix: str = ""
    start_column: str | None = None
    duration_column: str | None = None
    end_column: str | None = None

    @model_validator(mode="after")
    def _duration_or_end(self) -> "TableColumns":
        if self.duration_column and self.end_column:
            raise ValueError("`duration_column` or `end_column`, not both")
        if self.separator is not None and len(self.separator) != 1:
            raise ValueError("`separator` must be one character")
        return self


def read_table_clips(settings: TableColumns, path: Path, folder: Path) -> dict[str, Sequence]:
    """Read a table of recordings.

    Parameters
    ----------
    settings : TableColumns
    path : Path
        The CSV.
    folder : Path
        What its file names are relative to.

    Returns
    -------
    dict of str to sequence
        Columns of the clips table, with ``file``, relative to `folder`, instead of ``path``.

    Raises
    ------
    MetadataError
        Names the file, and the column (with those that are there) or the line.
    """
    rows = read_filled_rows(path, settings.separator)
    return clips_of(settings, rows, folder) | {"labels": _filled(rows, _required(settings, rows, "class_column"), "class")}


def read_filled_rows(path: Path, separator: str | None) -> Rows:
    """Read a table that must have rows; see `read_rows`."""
    rows = read_rows(path, separator)
    if not len(rows):
        raise MetadataError(f"{path}: has no rows below its header")
    return rows


def clips_of(settings: TableColumns, rows: Rows, folder: Path) -> dict[str, Sequence]:
    """Return what `read_table_clips` does, but the classes, of rows that have been read."""
    files = column_files(settings, rows, _required(settings, rows, "file_column"), folder)
    starts, durations = _times(settings, rows)
    stems = [posixpath.splitext(file)[0] for file in files]
    groups = _optional(settings, rows, "group_column")
    return {
        "clip_id": _clip_ids(rows, files, starts if settings.start_column else None),
        "file": files,
        "recording_id": stems,
        "group_id": [group or stem for group, stem in zip(groups, stems, strict=True)],
        "start_s": starts,
        "file_start_s": starts,
        "duration_s": durations,
        "published": _optional(settings, rows, "split_column"),
    }


def class_column(settings: TableColumns, rows: Rows) -> list[str] | None:
    """Return the class of each row, or None where the table has no such column."""
    if settings.class_column is None and _usual(rows, "class_column") is None:
        return None
    return _filled(rows, _required(settings, rows, "class_column"), "class")


def _required(settings: TableColumns, rows: Rows, key: str) -> list[str]:
    name = getattr(settings, key) or _usual(rows, key)
    if name is None:
        raise no_usual_column(rows, key, USUAL_NAMES[key])
    return rows.column(name, key)


def no_usual_column(rows: Rows, key: str, usual: Sequence[str]) -> MetadataError:
    """Make the error of a table in which no column has a name by which it would be found."""
    return MetadataError(
        f"{rows.path}: no column has one of the usual names ({', '.join(usual)}); name it by `{key}` in "
        f"[dataset]; columns: {', '.join(rows.columns)}"
    )


def _optional(settings: TableColumns, rows: Rows, key: str) -> list[str]:
    name = getattr(settings, key) or _usual(rows, key)
    return rows.column(name, key) if name is not None else [""] * len(rows)


def _usual(rows: Rows, key: str) -> str | None:
    return first_named(rows, USUAL_NAMES[key])


def first_named(rows: Rows, names: Sequence[str]) -> str | None:
    """Return the column that has the first of some names, in any case, that any column has."""
    by_lower_case = {name.lower(): name for name in reversed(rows.columns)}
    return next((by_lower_case[name] for name in names if name in by_lower_case), None)


def _filled(rows: Rows, values: list[str], what: str) -> list[str]:
    for row, value in enumerate(values):
        if not value:
            raise rows.error(row, f"no {what}")
    return values


def column_files(settings: TableColumns, rows: Rows, values: list[str], folder: Path) -> list[str]:
    """Return the files that a column names, as normal paths below a folder; a row without one, or with one elsewhere, is refused."""
    files = []
    for row, value in enumerate(_filled(rows, values, "file")):
        file = _below(value + settings.file_suffix, folder)
        if file is None:
            raise rows.error(row, f"file {shown(value)} leaves {folder}; files must lie below it")
        files.append(file)
    return files


def _below(value: str, folder: Path) -> str | None:
    """Return a file's normal path below a folder, or None where it leads elsewhere."""
    text = value.replace("\\", "/")  # tables from another system
    for base in (folder.absolute(), folder.resolve()):
        text = text.removeprefix(f"{base.as_posix()}/")
    file = posixpath.normpath(text)
    return file if is_safe_path(file) else None


def _times(settings: TableColumns, rows: Rows) -> tuple[np.ndarray, np.ndarray]:
    """Return start and duration in seconds; NaN where a row leaves the duration open."""
    starts = _seconds(rows, settings.start_column, "start_column", 0.0)
    if settings.end_column:
        durations = np.round(_seconds(rows, settings.end_column, "end_column", np.nan) - starts, 6)
    else:
        durations = _seconds(rows, settings.duration_column, "duration_column", np.nan)
    bad = np.flatnonzero((starts < 0) | (durations <= 0))
    if len(bad):
        found = f"start {starts[bad[0]]:g} s, duration {durations[bad[0]]:g} s"
        raise rows.error(bad[0], f"{found}: expected a start of at least 0 and a duration over 0")
    return starts, durations


def _seconds(rows: Rows, name: str | None, key: str, empty: float) -> np.ndarray:
    if name is None:
        return np.full(len(rows), empty)
    return np.array([_number(rows, row, value, name, empty) for row, value in enumerate(rows.column(name, key))])


def _number(rows: Rows, row: int, value: str, name: str, empty: float) -> float:
    try:
        number = float(value) if value else empty
    except ValueError:
        number = np.inf
    if np.isinf(number) or (value and np.isnan(number)):
        raise rows.error(row, f"{name} = {shown(value)} is not a number of seconds")
    return number


def _clip_ids(rows: Rows, files: Sequence[str], starts: np.ndarray | None) -> list[str]:
    """Name clips by file, and by start where a file has several; a clip that is named twice is refused."""
    names = list(files)
    if starts is not None:
        names = [f"{file}@{seconds_to_milliseconds(start)}" for file, start in zip(files, starts, strict=True)]
    first: dict[str, int] = {}
    for row, name in enumerate(names):
        if first.setdefault(name, row) != row:
            line = rows.lines[first[name]]
            raise rows.error(row, f"{shown(name)} stands on line {line} too; a clip has one row and one class")
    return names
