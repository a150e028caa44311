"""N-TIDIGITS18: spoken digits as heard by an event-based cochlea, CochleaAMS1b, of 64 channels.

Size: 8623 training and 8700 test recordings, among them 2464 and 2486 of single digits, by 112 and 113 speakers; one file.
Origin: http://sensors.ini.uzh.ch/databases.html
Paper: J. Anumula, D. Neil, T. Delbruck, S.-C. Liu, "Feature representations for neuromorphic audio spike streams",
Frontiers in Neuroscience 12:23 (2018).
Licence: no statement was found; the sounds are those of TIDIGITS, which the Linguistic Data Consortium licenses.
Access: put ``n-tidigits.hdf5`` below the data root; ``fetch = true`` fetches it if it is missing, with its MD5.

The file has, for train and test, the recordings' ids and a data set of times (seconds) and one of channels (0 to 63) for each. An id is
``<man|woman>-<speaker>-<a|b>-<digits>`` with digits 1 to 9, z (zero) and o (oh), e.g. ``man-ae-a-1o4``.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import pandas as pd
from pydantic import field_validator

from audiodata.clips import clips_table
from audiodata.datasets.event_sets import below_root, first_half, reader_text, refuse_quality
from audiodata.datasets.labels import choose_labels
from audiodata.datasets.remote import RemoteFile, fetch_file
from audiodata.datasets.tables import shown
from audiodata.errors import ClipError, MetadataError
from audiodata.events.readers.ntidigits import ntidigits_items
from audiodata.settings import Settings

FILE = RemoteFile(
    "n-tidigits.hdf5",
    "https://www.dropbox.com/scl/fi/1x4lxt9yyw25sc3tez8oi/n-tidigits.hdf5?e=2&rlkey=w8gi5udvib2zqzosusa5tr3wq&dl=1",
    "360a2d11e5429555c9197381cf6b58e0",
)
OH = "oh"
CLASSES = {"z": "0", **{digit: digit for digit in "123456789"}, "o": OH}

_ID = re.compile(r"(?P<speaker>(man|woman)-[^-]+)-[^-]+-(?P<digits>[oz1-9]+)")


class NTidigitsSettings(Settings):
    """Keys of ``[dataset]`` for N-TIDIGITS18.

    Attributes
    ----------
    path : str
        The file, below the data root.
    digits : "single" or "all"
        "single": recordings of several digits are left out (``other_class``). "all": they are kept; their digits stand in ``labels`` in the
        order spoken, joined by ``;``, and they have no class.
    vocabulary : 10 or 11
        10: recordings with an "oh" are left out (``other_class``), and zero is "0", as in other sets of digits. 11: "oh" is a class.
    split : "speakers" or "first_half"
        What ``published`` is: the publishers' parts, which share no speaker, or the first half of each class for training and the rest for
        testing, in the order of the file, training part first. The latter can put a speaker on both sides, and then needs
        ``grouping = "recording"``.
    grouping : "speaker" or "recording"
        What stays on one side of a split.
    fetch : bool
        Fetch the file from its publisher if it is missing. Off: nothing is ever fetched.
    """

    path: str = FILE.name
    digits: Literal["single", "all"] = "single"
    vocabulary: Literal[10, 11] = 10
    split: Literal["speakers", "first_half"] = "speakers"
    grouping: Literal["speaker", "recording"] = "speaker"
    fetch: bool = False

    @field_validator("path")
    @classmethod
    def _below_the_root(cls, value: str) -> str:
        return below_root(value)


class Recording(NamedTuple):
    """One recording: the part it belongs to, its id, its speaker, and the names of its digits in the order spoken."""

    part: str
    name: str
    speaker: str
    digits: tuple[str, ...]


def read_clips(settings: NTidigitsSettings, root: Path, classes: Sequence[str], quality: float | None) -> pd.DataFrame:
    """List the recordings, in the order of the file.

    Parameters
    ----------
    settings : NTidigitsSettings
    root : Path
    classes : sequence of str
        Classes to keep: "0" to "9", and "oh" with a vocabulary of 11; empty: all.
    quality : None
        There are no label ratings here.

    Returns
    -------
    DataFrame
        Clips table; ``item`` is ``<part>/<id>``.

    Raises
    ------
    CatalogError, MetadataError, EnvironmentFault
        An unknown class; no file, or not one of N-TIDIGITS18; an id that can't be read; the file can't be fetched.
    """
    refuse_quality("ntidigits", quality)
    found = read_recordings(_file(settings, Path(root)))
    label, reason = choose_labels([_class_of(settings, recording) for recording in found], classes)
    if settings.digits == "all" and not classes:
        reason = ["" if _in_vocabulary(settings, recording) else "other_class" for recording in found]
    items = [f"{recording.part}/{recording.name}" for recording in found]
    return clips_table(
        {
            "clip_id": items,
            "path": [settings.path] * len(found),
            "item": items,
            "group_id": [recording.speaker for recording in found] if settings.grouping == "speaker" else items,
            "label": label,
            "labels": [";".join(recording.digits) for recording in found],
            "published": _published(settings, found, label),
            "reader": [reader_text({"format": "ntidigits"})] * len(found),
            "reason": reason,
        }
    )


def _file(settings: NTidigitsSettings, root: Path) -> Path:
    path = root / settings.path
    if not path.is_file() and settings.fetch:
        fetch_file(FILE._replace(name=path.name), path.parent)
    if not path.is_file():
        raise MetadataError(f"{path}: not there; put {FILE.name} there, or set `fetch = true` in [dataset]")
    return path


def _in_vocabulary(settings: NTidigitsSettings, recording: Recording) -> bool:
    return settings.vocabulary == len(CLASSES) or OH not in recording.digits


def _class_of(settings: NTidigitsSettings, recording: Recording) -> str:
    """Return the class of a recording, empty for one of several digits or with a word outside the vocabulary."""
    return recording.digits[0] if len(recording.digits) == 1 and _in_vocabulary(settings, recording) else ""


def _published(settings: NTidigitsSettings, found: Sequence[Recording], labels: Sequence[str]) -> list[str]:
    return [recording.part for recording in found] if settings.split == "speakers" else first_half(labels)


def read_recordings(path: Path) -> list[Recording]:
    """Read the ids of all recordings; their events stay unread.

    Raises
    ------
    MetadataError
        Not an HDF5 file, or without the lists of ids; or an id that is none, with its part.
    """
    try:
        items = ntidigits_items(path)
    except (ClipError, OSError) as error:
        raise MetadataError(f"{path}: not the file of N-TIDIGITS18 ({error})") from None
    return [_recording(path, part, name) for part, name in items]


def _recording(path: Path, part: str, name: str) -> Recording:
    told = _ID.fullmatch(name)
    if told is None:
        raise MetadataError(f"{path}: {part}_labels has {shown(name)}; expected <man|woman>-<speaker>-<a|b>-<digits>, e.g. man-ae-a-1o4")
    return Recording(part, name, told["speaker"], tuple(CLASSES[letter] for letter in told["digits"]))
