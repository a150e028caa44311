"""N-MNIST: the images of MNIST before an event camera that moves in three small jumps.

Size: 60 000 training and 10 000 test recordings, 34 x 34 pixels, about 0.3 s each; 1.2 GB.
Origin: https://www.garrickorchard.com/datasets/n-mnist, files at https://data.mendeley.com/datasets/468j46mzdv
Paper: G. Orchard, A. Jayawant, G. Cohen, N. Thakor, "Converting static image datasets to spiking neuromorphic datasets using saccades",
Frontiers in Neuroscience 9:437 (2015).
Licence: CC BY-SA 4.0.
Access: download ``Train.zip`` and ``Test.zip`` (one will do) and unpack them below the data root: ``Train/<digit>/<number>.bin``. The name
``tonic:NMNIST`` in a catalog lets tonic fetch them. Parts that are laid out for SLAYER are read too: ``train/<number>.bs2`` beside
``train_labels.txt``, which has a line ``<number><tab><digit>`` for each recording and may have comments (``#``).
"""

import posixpath
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from audiodata.clips import clips_table
from audiodata.datasets.event_sets import BelowRoot, reader_text, refuse_quality
from audiodata.datasets.folder import find_files
from audiodata.datasets.labels import choose_labels
from audiodata.datasets.tables import shown
from audiodata.errors import MetadataError
from audiodata.packed import read_bytes

DIGITS = tuple("0123456789")
PARTS = ("train", "test")
EXTENSIONS = (".bin", ".bs2")

_LABEL_LINE = re.compile(r"(?P<number>[0-9]+)\s+(?P<digit>[0-9])")


class NMnistSettings(BelowRoot):
    """Keys of ``[dataset]`` for N-MNIST.

    Attributes
    ----------
    path : str
        Folder below the data root that has ``Train`` and ``Test``, or one of them.
    """


class Recording(NamedTuple):
    """One file: path below the data set's folder, the part it belongs to, its name without ending and its digit ("" = not known)."""

    file: str
    part: str
    name: str
    digit: str


def read_clips(settings: NMnistSettings, root: Path, classes: Sequence[str], quality: float | None) -> pd.DataFrame:
    """List the recordings of the parts that are there.

    Parameters
    ----------
    settings : NMnistSettings
    root : Path
    classes : sequence of str
        Digits to keep, as text; empty: all.
    quality : None
        There are no label ratings here.

    Returns
    -------
    DataFrame
        Clips table. Each recording is of an image of its own, and so is its own group. A file that the list of labels does not name is left
        out (``other_class``); one that it names and that is not there stays in the table, for the ledger.

    Raises
    ------
    CatalogError, MetadataError
        An unknown class; neither part; a file outside the folders of the digits; a line of the labels that can't be read.
    """
    refuse_quality("nmnist", quality)
    folder = Path(root) / settings.path
    found = [recording for part, name in _parts(folder) for recording in _read_part(folder, part, name)]
    label, reason = choose_labels([recording.digit for recording in found], classes)
    return clips_table(
        {
            "clip_id": [f"{recording.part}-{recording.name}" for recording in found],
            "path": [posixpath.normpath(posixpath.join(settings.path, recording.file)) for recording in found],
            "label": label,
            "labels": [recording.digit for recording in found],
            "published": [recording.part for recording in found],
            "reader": [reader_text({"format": "nmnist"})] * len(found),
            "reason": reason,
        }
    )


def _parts(folder: Path) -> list[tuple[str, str]]:
    """Return the parts that are there, each with its folder's name, in any case."""
    names = sorted(path.name for path in folder.glob("*") if path.is_dir())
    found = [(part, name) for part in PARTS for name in names if name.lower() == part]
    if not found:
        archives = [path.name for path in sorted(folder.glob("*.zip")) if path.stem.lower() in PARTS]
        advice = f"unpack {' and '.join(archives)} there" if archives else "is the data root right?"
        raise MetadataError(f"{folder}: neither Train nor Test, which have N-MNIST's recordings; {advice}")
    return found


def _read_part(folder: Path, part: str, name: str) -> Iterator[Recording]:
    files = find_files(folder / name, EXTENSIONS)
    labels = folder / f"{name}_labels.txt"
    if not files:
        raise MetadataError(f"{folder / name}: no recordings ({' or '.join(EXTENSIONS)}) in it or below; unpack the archive again")
    return _by_list(name, part, files, read_labels(labels)) if labels.is_file() else _by_folder(folder, name, part, files)


def _by_folder(folder: Path, name: str, part: str, files: Sequence[str]) -> Iterator[Recording]:
    for file in files:
        *above, last = file.split("/")
        if not above or above[-1] not in DIGITS:
            raise MetadataError(f"{folder / name / file}: lies in no folder of a digit (0 to 9), and there is no {name}_labels.txt beside {name}")
        yield Recording(f"{name}/{file}", part, posixpath.splitext(last)[0], above[-1])


def _by_list(name: str, part: str, files: Sequence[str], digits: dict[str, str]) -> Iterator[Recording]:
    stems = {posixpath.splitext(posixpath.basename(file))[0]: file for file in files}
    extension = posixpath.splitext(files[0])[1]
    stems = {stem: f"{stem}{extension}" for stem in digits} | stems
    for stem in sorted(stems, key=lambda stem: (len(stem), stem)):
        yield Recording(f"{name}/{stems[stem]}", part, stem, digits.get(stem, ""))


def read_labels(path: Path) -> dict[str, str]:
    """Read a list of labels: a number and a digit a line.

    Returns
    -------
    dict of str to str
        Number (as written) to digit.

    Raises
    ------
    MetadataError
        Names the line that is none, or whose number stands on an earlier one.
    """
    digits: dict[str, str] = {}
    for number, line in enumerate(read_bytes(path).decode("utf-8", errors="replace").splitlines(), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        told = _LABEL_LINE.fullmatch(text)
        if told is None or told["number"] in digits:
            expected = "a number and a digit, with a tab between" if told is None else "each number once"
            raise MetadataError(f"{path}: line {number}: {shown(text)}; expected {expected}")
        digits[told["number"]] = told["digit"]
    return digits
