"""Your own event recordings: a folder of files of event sensors, or a CSV that names them.

Size, origin, paper: yours.
Licence: yours; say it in the catalog's ``[about]``.
Access: put the files below the data root. Classes, groups and published splits are told as for sounds (`audiodata.datasets.folder`): by the
folders' names, by `pattern`, or by `csv`. How a file is read is told by its first bytes, or by `reader`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
from pydantic import field_validator

from audiodata.datasets import folder
from audiodata.datasets.event_sets import reader_text, refuse_quality
from audiodata.errors import CatalogError
from audiodata.events.readers import reader_settings
from audiodata.settings import nearest

EXTENSIONS = ("aedat", "aedat2", "aedat4", "bin", "bs2", "npz", "npy")
FORMATS = ("auto", "aedat2", "aedat4", "nmnist", "headerless", "npz")


class EventFolderSettings(folder.FolderSettings):
    """Keys of ``[dataset]`` for your own event recordings: those of `FolderSettings`, and how the files are read.

    Attributes
    ----------
    what : str
        What its files are called in messages; no key.
    extensions : tuple of str
        What counts as a recording, in any case.
    reader : dict
        ``format`` and that format's settings. "auto": by the file's first bytes; name the format where these do not tell, as for the files
        of silicon cochleas without a header (``headerless``).
    """

    what: ClassVar[str] = "event recordings"

    extensions: tuple[str, ...] = EXTENSIONS
    reader: dict[str, Any] = {"format": "auto"}

    @field_validator("reader")
    @classmethod
    def _known_format(cls, value: dict[str, Any]) -> dict[str, Any]:
        name = value.get("format", "")
        if name not in FORMATS:
            raise CatalogError(f"[dataset] event_folder: reader: unknown format `{name}`{nearest(str(name), list(FORMATS))}")
        reader_settings(value, "[dataset] event_folder: reader")
        return value


def read_clips(settings: EventFolderSettings, root: Path, classes: Sequence[str], quality: float | None) -> pd.DataFrame:
    """List the recordings, by table or by folder.

    Parameters
    ----------
    settings : EventFolderSettings
    root : Path
    classes : sequence of str
        Classes to keep, in this order; empty: all, sorted.
    quality : None
        There are no label ratings here.

    Returns
    -------
    DataFrame
        Clips table. A clip's group is its file unless the settings say more.

    Raises
    ------
    CatalogError, MetadataError
        As `audiodata.datasets.folder.read_clips`.
    """
    refuse_quality("event_folder", quality)
    table = folder.read_clips(settings, root, classes, None)
    table["reader"] = pd.Series([reader_text(settings.reader)] * len(table), dtype=table["reader"].dtype)
    return table
