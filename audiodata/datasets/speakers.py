"""What the data sets of mixtures share: who speaks in them, whether the speakers are of one sex, and which mixtures share a speaker."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from pydantic import field_validator

from audiodata.datasets.connections import connected_rows, named_groups
from audiodata.datasets.event_sets import below_root
from audiodata.datasets.folder_table import first_named
from audiodata.datasets.labels import choose_labels
from audiodata.datasets.tables import Rows, read_rows, shown
from audiodata.errors import MetadataError
from audiodata.packed import read_bytes
from audiodata.settings import Settings

SAME, DIFFERENT = "same sex", "different sex"
USUAL_IDS = ("speaker_id", "speaker", "id", "reader")
USUAL_SEXES = ("sex", "gender")
_COMMENT = ";"  # in LibriSpeech's SPEAKERS.TXT, also before its header


class SpeakerSettings(Settings):
    """Keys that all data sets of mixtures take.

    Attributes
    ----------
    path : str
        Folder below the data root that has the data set's own folders and files.
    speaker_table : str or None
        Table below the data root with the sex of each speaker: a CSV whose columns are found by their usual names (`USUAL_IDS`,
        `USUAL_SEXES`), or LibriSpeech's SPEAKERS.TXT. With it a mixture's label is "same sex" or "different sex"; without, it has none.
    """

    path: str = "."
    speaker_table: str | None = None

    @field_validator("path", "speaker_table")
    @classmethod
    def _below_the_root(cls, value: str | None) -> str | None:
        return value if value is None else below_root(value)


class SpeakerColumns(NamedTuple):
    """Columns of the clips table that speakers decide: a text a mixture in each."""

    label: list[str]
    labels: list[str]
    reason: list[str]
    group_id: list[str]


def speaker_columns(
    settings: SpeakerSettings, root: Path, speakers: Sequence[Sequence[str]], classes: Sequence[str] = (), parts: Sequence[str] = ()
) -> SpeakerColumns:
    """Say who speaks in each mixture.

    Parameters
    ----------
    settings : SpeakerSettings
    root : Path
    speakers : sequence of sequence of str
        The speakers of each mixture, as many in each.
    classes : sequence of str
        The catalog's ``[select]``: `SAME`, `DIFFERENT` or both.
    parts : sequence of str
        Of each mixture: within one part, mixtures that share a speaker, directly or through others, are one group; over parts they are
        not. Without, there is one part.

    Raises
    ------
    CatalogError, MetadataError
        A class that no mixture is of; a table that can't be read.
    """
    kinds = _kinds(speakers, read_sexes(Path(root) / settings.speaker_table) if settings.speaker_table else {})
    label, reason = choose_labels(kinds, classes) if classes else (kinds, [""] * len(kinds))
    return SpeakerColumns(label, [";".join(names) for names in speakers], reason, _groups(speakers, parts))


def _kinds(speakers: Sequence[Sequence[str]], sexes: Mapping[str, str]) -> list[str]:
    found = [{sexes.get(name, "") for name in names} for names in speakers]
    return ["" if "" in some else SAME if len(some) == 1 else DIFFERENT for some in found]


def _groups(speakers: Sequence[Sequence[str]], parts: Sequence[str]) -> list[str]:
    names = [
        [f"{part}: {name}" if part else name for name in row]
        for row, part in zip(speakers, parts or itertools.repeat(""), strict=bool(parts))
    ]
    members = pd.factorize(np.array([name for row in names for name in row], dtype=object))[0]
    return named_groups(connected_rows(members.reshape(len(names), -1)), [min(row) for row in names])


def read_sexes(path: Path) -> dict[str, str]:
    """Read the sex of each speaker.

    Parameters
    ----------
    path : Path
        See `SpeakerSettings.speaker_table`.

    Returns
    -------
    dict of str to str
        Speaker to "F" or "M"; speakers of whom the table does not say are left out.

    Raises
    ------
    MetadataError
        Names the file, and the columns or the line.
    """
    rows = _read_libri_speech(path) if read_bytes(path).startswith(_COMMENT.encode()) else read_rows(path)
    speakers, sexes = (_column(rows, names) for names in (USUAL_IDS, USUAL_SEXES))
    found = {}
    for row, (speaker, sex) in enumerate(zip(speakers, sexes, strict=True)):
        letter = sex[:1].upper()
        if letter not in ("F", "M", ""):
            raise rows.error(row, f"sex {shown(sex)} of speaker {shown(speaker)}: expected F or M, or nothing where it is not known")
        found.update({speaker: letter} if letter else {})
    return found


def _column(rows: Rows, names: Sequence[str]) -> list[str]:
    name = first_named(rows, names)
    if name is None:
        raise MetadataError(f"{rows.path}: no column has one of the usual names ({', '.join(names)}); columns: {', '.join(rows.columns)}")
    return rows.columns[name]


def _read_libri_speech(path: Path) -> Rows:
    """Read SPEAKERS.TXT, whose last comment line is its header: ``ID | SEX | SUBSET | MINUTES | NAME``."""
    lines = read_bytes(path).decode("utf-8", errors="replace").splitlines()
    header = [line for line in lines if line.startswith(_COMMENT)][-1].lstrip(f"{_COMMENT} ")
    filled = {number: line for number, line in enumerate(lines, 1) if line and not line.startswith(_COMMENT)}
    names = [field.strip() for field in header.split("|")]
    fields = [[field.strip() for field in line.split("|", len(names) - 1)] for line in filled.values()]
    short = next((number for number, row in zip(filled, fields, strict=True) if len(row) < len(names)), None)
    if short is not None:
        raise MetadataError(f"{path}: line {short}: expected {len(names)} fields ({header})")
    return Rows(path, {name: [row[at] for row in fields] for at, name in enumerate(names)}, list(filled))
