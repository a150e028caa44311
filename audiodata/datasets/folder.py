"""Your own recordings: a folder of sound files, or a CSV that names them.

Size, origin, paper: yours.
Licence: yours; say it in the catalog's ``[about]``.
Access: put the files below the data root. Without further settings the class of a file is the first folder below
`path`; where all of these folders are called train, val, test or the like, they are the published split and the class
is the folder below. `pattern` reads class, group and split out of the path; `csv` out of a table.
"""

import os
import posixpath
import re
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, NamedTuple

import pandas as pd
from pydantic import field_validator, model_validator

from audiodata.clip_files import is_safe_path
from audiodata.clips import clips_table
from audiodata.datasets.folder_table import TableColumns, read_table_clips
from audiodata.datasets.labels import choose_labels
from audiodata.errors import CatalogError, MetadataError
from audiodata.settings import nearest
from audiodata.splits import SPELLINGS

EXTENSIONS = (
    *("aac", "aif", "aifc", "aiff", "au", "caf", "flac", "m4a", "mka", "mp3", "mp4"),
    *("oga", "ogg", "opus", "snd", "w64", "wav", "webm", "wma"),
)
PATTERN_GROUPS = ("class", "group", "split")


class FolderSettings(TableColumns):
    """Keys of ``[dataset]`` for your own recordings; those of the table (`TableColumns`) need `csv`.

    Attributes
    ----------
    what : str
        What its files are called in messages; no key.
    path : str
        Folder below the data root that has the files.
    extensions : tuple of str
        What counts as such a file, in any case.
    pattern : str or None
        Regular expression that fits a file's whole path below `path` (with ``/``); its named groups ``class``,
        ``group`` and ``split`` say what the path tells. Files that it doesn't fit are left out (``other_class``).
    csv : str or None
        Table below the data root with a row a clip. Files that it names and that are not there stay in the table.
    """

    what: ClassVar[str] = "sound files"

    path: str = "."
    extensions: tuple[str, ...] = EXTENSIONS
    pattern: str | None = None
    csv: str | None = None

    @field_validator("path", "csv")
    @classmethod
    def _below_the_root(cls, value: str | None) -> str | None:
        if value not in (None, ".") and not is_safe_path(value.removesuffix("/")):
            raise ValueError("must lie below the data root (which --data gives)")
        return value

    @field_validator("pattern")
    @classmethod
    def _readable(cls, value: str | None) -> str | None:
        try:
            groups = re.compile(value or "").groupindex
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from None
        for name in groups:
            if name not in PATTERN_GROUPS:
                raise ValueError(f"unknown named group `{name}`{nearest(name, list(PATTERN_GROUPS))}")
        return value

    @model_validator(mode="after")
    def _one_source(self) -> "FolderSettings":
        if self.csv and self.pattern:
            raise ValueError("`csv` or `pattern`, not both")
        columns = self.model_fields_set & set(TableColumns.model_fields)
        if columns and not self.csv:
            raise ValueError(f"`{min(columns)}` needs `csv`, the table that has it")
        return self


class FolderClips(NamedTuple):
    """What paths tell of the files: a text a file in each column, empty where the path says nothing."""

    files: list[str]
    classes: list[str]
    groups: list[str]
    published: list[str]


def read_clips(settings: FolderSettings, root: Path, classes: Sequence[str], quality: float | None) -> pd.DataFrame:
    """List the recordings, by table or by folder.

    Parameters
    ----------
    settings : FolderSettings
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
        An unknown class; no files; files without a class; a table that can't be read.
    """
    if quality is not None:
        raise CatalogError("[select] quality: the data set `folder` has no ratings of its labels; leave the key out")
    folder = Path(root) / settings.path
    if settings.csv:
        columns = read_table_clips(settings, Path(root) / settings.csv, folder)
    else:
        columns = _from_paths(settings, folder)
    label, reason = choose_labels(columns["labels"], classes)
    paths = [posixpath.normpath(posixpath.join(settings.path, file)) for file in columns.pop("file")]
    return clips_table({**columns, "path": paths, "label": label, "reason": reason})


def _from_paths(settings: FolderSettings, folder: Path) -> dict[str, Sequence]:
    files = find_files(folder, settings.extensions)
    if not files:
        listed = ", ".join(settings.extensions)
        raise MetadataError(f"{folder}: no {settings.what} in it or below (looked for {listed}); is the data root right?")
    clips = _by_pattern(folder, files, settings.pattern) if settings.pattern else _by_folder(folder, files)
    stems = [posixpath.splitext(file)[0] for file in files]
    return {
        "clip_id": files,
        "file": files,
        "recording_id": stems,
        "group_id": [group or stem for group, stem in zip(clips.groups, stems, strict=True)],
        "labels": clips.classes,
        "published": clips.published,
    }


def find_files(folder: Path, extensions: Sequence[str]) -> list[str]:
    """List the files of some kinds, in folders at any depth.

    Hidden files and folders are passed over; linked folders are followed, but not back into one that leads to them.

    Parameters
    ----------
    folder : Path
    extensions : sequence of str
        With or without their dot, in any case.

    Returns
    -------
    list of str
        POSIX paths below `folder`, sorted.

    Raises
    ------
    MetadataError
        A folder that is missing or can't be read, or a file name that is no text.
    """
    endings = tuple(f".{extension.lower().lstrip('.')}" for extension in extensions)
    found: list[str] = []
    left: list[tuple[str, frozenset]] = [("", frozenset())]
    while left:
        below, above = left.pop()
        entries, identity = _entries(folder / below)
        if identity in above:
            continue
        for entry in entries:
            name = posixpath.join(below, entry.name)
            if entry.is_dir():
                left.append((name, above | {identity}))
            elif entry.name.lower().endswith(endings) and (entry.is_file() or entry.is_symlink()):
                found.append(name)
    return sorted(found)


def _entries(folder: Path) -> tuple[list[os.DirEntry], tuple[int, int]]:
    """Return what a folder holds, and what tells the folder from all others however it was reached."""
    try:
        status = folder.stat()
        entries = [entry for entry in os.scandir(folder) if not entry.name.startswith((".", "__MACOSX"))]
    except OSError as error:
        raise MetadataError(f"{folder}: can't be listed ({error.strerror}); check path and permissions") from None
    for entry in entries:
        try:
            entry.name.encode()
        except UnicodeEncodeError:
            raise MetadataError(f"{folder}: the name {os.fsencode(entry.name)!r} is not UTF-8; rename it") from None
    return entries, (status.st_dev, status.st_ino)


def _by_folder(folder: Path, files: list[str]) -> FolderClips:
    parts = [file.split("/") for file in files]
    loose = [file for file, names in zip(files, parts, strict=True) if len(names) == 1]
    if loose:
        raise MetadataError(
            f"{folder}: {loose[0]} ({len(loose)} such files) lies in no class folder; make a folder for each class, "
            "or tell the class by `pattern` or `csv` in [dataset]"
        )
    in_splits = all(names[0].lower() in SPELLINGS for names in parts)
    loose = [file for file, names in zip(files, parts, strict=True) if len(names) == 2]
    if in_splits and loose:
        raise MetadataError(
            f"{folder}: {loose[0]} ({len(loose)} such files) lies in a split's folder but in no class folder; "
            "tell the class by `pattern` or `csv` in [dataset]"
        )
    classes = [names[1 if in_splits else 0] for names in parts]
    published = [names[0] if in_splits else "" for names in parts]
    return FolderClips(files, classes, [""] * len(files), published)


def _by_pattern(folder: Path, files: list[str], pattern: str) -> FolderClips:
    matches = [re.fullmatch(pattern, file) for file in files]
    if not any(matches):
        raise MetadataError(f"{folder}: `pattern` fits none of {len(files)} files; the first is {files[0]}")
    told = [match.groupdict("") if match else {} for match in matches]
    unclassed = [file for file, match in zip(files, matches, strict=True) if match and not _class_of(file, match)]
    if unclassed:
        raise MetadataError(f"{folder}: `pattern` tells no class of {unclassed[0]} ({len(unclassed)} such files)")
    classes = [_class_of(file, match) if match else "" for file, match in zip(files, matches, strict=True)]
    return FolderClips(
        files, classes, [groups.get("group", "") for groups in told], [groups.get("split", "") for groups in told]
    )


def _class_of(file: str, match: re.Match) -> str:
    """Return the class that a pattern tells; one without the group ``class`` leaves it to the first folder."""
    if "class" in match.re.groupindex:
        return match["class"] or ""
    return file.split("/")[0] if "/" in file else ""
