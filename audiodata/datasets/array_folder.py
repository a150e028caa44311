"""Your own recordings of a microphone array: sound files, and a CSV that says from where each sound comes.

Size, origin, paper: yours.
Licence: yours; say it in the catalog's ``[about]``.
Access: put the files and the table below the data root. A row is a clip: a file, or a part of one (`start_column` and `duration_column` or
`end_column`), and its azimuth in degrees. A class, a group (speaker, room, played sound: what must not be on two sides of a split) and a
published split may stand in further columns, which are found by their usual names.
"""

import posixpath
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import field_validator

from audiodata.clip_files import is_safe_path
from audiodata.clips import clips_table
from audiodata.datasets.azimuths import AzimuthConvention, parse_azimuth
from audiodata.datasets.folder_table import (
    TableColumns,
    class_column,
    clips_of,
    column_files,
    first_named,
    no_usual_column,
    read_filled_rows,
)
from audiodata.datasets.labels import choose_labels
from audiodata.datasets.tables import Rows
from audiodata.errors import CatalogError

# what the column of azimuths is usually called, in any case; of several, the first in this order
USUAL_AZIMUTHS = ("azimuth_deg", "azimuth", "azi", "azimuth_degrees", "doa_deg", "doa", "direction_deg", "direction", "angle_deg", "angle")


class ArrayFolderSettings(TableColumns, AzimuthConvention):
    """Keys of ``[dataset]`` for your own recordings of an array, with those of `TableColumns` and of `AzimuthConvention`.

    Attributes
    ----------
    csv : str
        The table, below the data root.
    path : str
        Folder below the data root that the table's files are relative to.
    azimuth_column : str or None
        Azimuths in degrees, -180 to 360. None: by the usual names (`USUAL_AZIMUTHS`).
    missing_azimuth : bool
        Rows may leave the azimuth open (no network learns a direction from them); off: such a row is an error.
    file_channels : tuple of int
        Channels of each file to take, counted from 0, in the order of the catalog's ``[array]``; empty: all.
        ``[1, 2, 3, 4]`` are the microphones of a board that puts its processed sound first.
    more_file_columns : tuple of str
        Columns that name the files of the second, third, ... microphone, where each microphone has its own file.
    """

    csv: str = "clips.csv"
    path: str = "."
    azimuth_column: str | None = None
    missing_azimuth: bool = False
    file_channels: tuple[int, ...] = ()
    more_file_columns: tuple[str, ...] = ()

    @field_validator("path", "csv")
    @classmethod
    def _below_the_root(cls, value: str) -> str:
        if value != "." and not is_safe_path(value.removesuffix("/")):
            raise ValueError("must lie below the data root (which --data gives)")
        return value

    @field_validator("file_channels")
    @classmethod
    def _each_once(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(value)) < len(value) or any(number < 0 for number in value):
            raise ValueError("must name each channel at most once, counted from 0")
        return value


def read_clips(settings: ArrayFolderSettings, root: Path, classes: Sequence[str], quality: float | None) -> pd.DataFrame:
    """Read the table.

    Parameters
    ----------
    settings : ArrayFolderSettings
    root : Path
    classes : sequence of str
        Classes to keep, in this order; empty: all, sorted. A table without classes can be used too, for directions alone.
    quality : None
        There are no label ratings here.

    Returns
    -------
    DataFrame
        Clips table. A clip's group is its file unless the table says more.

    Raises
    ------
    CatalogError, MetadataError
        An unknown class; a table that can't be read; a row (with its line) without an azimuth or with one that is none.
    """
    if quality is not None:
        raise CatalogError("[select] quality: the data set `array_folder` has no ratings of its labels; leave the key out")
    folder = Path(root) / settings.path
    rows = read_filled_rows(Path(root) / settings.csv, settings.separator)
    columns = clips_of(settings, rows, folder)
    labels, label, reason = _labels(settings, rows, classes)
    further = [rows.column(name, "more_file_columns") for name in settings.more_file_columns]
    files = [columns.pop("file"), *(column_files(settings, rows, names, folder) for names in further)]
    paths = [[posixpath.normpath(posixpath.join(settings.path, file)) for file in column] for column in files]
    return clips_table(
        {
            **columns,
            "path": paths[0],
            "more_paths": ["|".join(more) for more in zip(*paths[1:], strict=True)] or [""] * len(rows),
            "channels": [",".join(map(str, settings.file_channels))] * len(rows),
            "labels": labels,
            "label": label,
            "azimuth_deg": settings.converted(_azimuths(settings, rows)),
            "reason": reason,
        }
    )


def _labels(settings: ArrayFolderSettings, rows: Rows, classes: Sequence[str]) -> tuple[list[str], list[str], list[str]]:
    """Return labels, label and reason of each row."""
    labels = class_column(settings, rows)
    if labels is not None:
        return labels, *choose_labels(labels, classes)
    if classes:
        raise CatalogError(f"[select] classes: {rows.path} has no column of classes; name it by `class_column` in [dataset]")
    nothing = [""] * len(rows)
    return nothing, nothing, nothing


def _azimuths(settings: ArrayFolderSettings, rows: Rows) -> np.ndarray:
    """Return azimuths as the table counts them, NaN where a row has none."""
    name = settings.azimuth_column or first_named(rows, USUAL_AZIMUTHS)
    if name is None:
        raise no_usual_column(rows, "azimuth_column", USUAL_AZIMUTHS)
    return np.array([_azimuth(settings, rows, row, text) for row, text in enumerate(rows.column(name, "azimuth_column"))])


def _azimuth(settings: ArrayFolderSettings, rows: Rows, row: int, text: str) -> float:
    if not text and settings.missing_azimuth:
        return np.nan
    if not text:
        raise rows.error(row, "no azimuth; give one, or set `missing_azimuth = true` in [dataset]")
    try:
        return parse_azimuth(text)
    except ValueError as error:
        raise rows.error(row, str(error)) from None
