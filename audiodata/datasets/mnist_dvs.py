"""MNIST-DVS: handwritten digits moved on a screen before an event camera, at three sizes.

Size: 10 000 digits at each of three scales, 30 000 recordings of 2 to 3 s; ten archives of 456 to 803 MB.
Origin: http://www2.imse-cnm.csic.es/caviar/MNISTDVS.html
Paper: T. Serrano-Gotarredona, B. Linares-Barranco, "Poker-DVS and MNIST-DVS. Their history, how they were made, and other details",
Frontiers in Neuroscience 9:481 (2015).
Licence: no statement was found; ask the authors before passing the recordings on.
Access: put ``grabbed_data0.zip`` to ``grabbed_data9.zip`` (or what is in them) below the data root; they are unpacked when they are first
read. ``fetch = true`` fetches those that are missing, with their MD5; the server is slow and not always there.

The recordings are AEDAT 2.0 of a DVS128 (128 x 128 pixels) at ``grabbed_data<digit>/scale<4|8|16>/mnist_<digit>_scale<04|08|16>_<number>.aedat``.
The authors' own processing (removal of the screen's 75 Hz, stabilisation, no polarity) leaves the same tree as ``processed_data<digit>``; its
steps are settings of the feature ``visual_frames`` too, so that the raw recordings will do.

The publishers have no split. ``published`` is that of studies that train with the first half of each class and test with the rest.
"""

import posixpath
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import pandas as pd

from audiodata.clips import clips_table
from audiodata.datasets.archives import unpack_missing
from audiodata.datasets.event_sets import BelowRoot, first_half, reader_text, refuse_quality
from audiodata.datasets.folder import find_files
from audiodata.datasets.labels import choose_labels
from audiodata.datasets.remote import RemoteFile, fetch_file
from audiodata.errors import MetadataError

DIGITS = tuple("0123456789")
EXTENSION = ".aedat"

_ADDRESS = "http://www2.imse-cnm.csic.es/caviar/MNIST_DVS"
_MD5 = (
    "451c1d2f6b195ce96d1dd478ee8aaf6e",
    "22259ae8871800b5eecf9e0eb8146ea5",
    "6d3ad96939b702f095d027ce89f1297c",
    "e4833915a1514598c4ae046e5e09cf93",
    "e183266a0b670b5336ba4d39d4bd30ae",
    "abf900993c268a763639c3074b6f92bb",
    "971db9a99e95b408837518c7727a223c",
    "a3cb115f19a736f4fc3590f36012bc87",
    "fe5da6c6f559abf397a32439a6c1cd3f",
    "73a3007c1c1ab4bfad9ce07ea76d540d",
)
ARCHIVES = {
    digit: RemoteFile(f"grabbed_data{digit}.zip", f"{_ADDRESS}/grabbed_data{digit}.zip", md5) for digit, md5 in zip(DIGITS, _MD5, strict=True)
}

_NAME = re.compile(r"mnist_(?P<digit>[0-9])_scale(?P<scale>[0-9]{2})_(?P<number>[0-9]+)[.]aedat", re.IGNORECASE)
_SCALE_FOLDER = re.compile(r"scale(?P<scale>[0-9]+)", re.IGNORECASE)


class MnistDvsSettings(BelowRoot):
    """Keys of ``[dataset]`` for MNIST-DVS.

    Attributes
    ----------
    path : str
        Folder below the data root that has ``grabbed_data0`` and so on, or their archives.
    scale : 4, 8 or 16
        Size of the digits on the screen; at 4 they fit into 28 x 28 pixels.
    part : "grabbed" or "processed"
        The recordings as they were made, or as the authors' program left them.
    orientation : "upright" or "jaer"
        How the camera's addresses become columns and rows: digits upright, or as jAER and the authors' Matlab program have it.
    stabilise : bool
        Hold the digits still while recordings are read, see `audiodata.events.stabilising.stabilise`: in a catalog whose features are
        those of another data set, too.
    unpack : bool
        Unpack archives whose folders are missing.
    fetch : bool
        Fetch archives that are missing from their publisher (6.1 GB in all). Off: nothing is ever fetched.
    """

    scale: Literal[4, 8, 16] = 4
    part: Literal["grabbed", "processed"] = "grabbed"
    orientation: Literal["upright", "jaer"] = "upright"
    stabilise: bool = False
    unpack: bool = True
    fetch: bool = False

    def folder(self, digit: str) -> str:
        """Name of the folder that has a digit's recordings."""
        return f"{self.part}_data{digit}"


class Recording(NamedTuple):
    """One file: its path below the data set's folder, and what its name tells."""

    file: str
    digit: str
    scale: int
    number: int


def read_clips(settings: MnistDvsSettings, root: Path, classes: Sequence[str], quality: float | None) -> pd.DataFrame:
    """List the recordings of one scale.

    Parameters
    ----------
    settings : MnistDvsSettings
    root : Path
    classes : sequence of str
        Digits to keep, as text; empty: all ten, which must all be there.
    quality : None
        There are no label ratings here.

    Returns
    -------
    DataFrame
        Clips table. A group is an image, by digit and number: its recordings at all scales have the same.

    Raises
    ------
    CatalogError, MetadataError, EnvironmentFault
        An unknown class; a digit whose recordings are missing; a file whose name contradicts its folder; an archive that can't be fetched
        or unpacked.
    """
    refuse_quality("mnist_dvs", quality)
    folder = Path(root) / settings.path
    _make_folders(settings, folder, [digit for digit in DIGITS if digit in classes] or DIGITS)
    found = sorted(_recordings(settings, folder), key=lambda recording: (recording.digit, recording.number))
    label, reason = choose_labels([recording.digit for recording in found], classes)
    return clips_table(
        {
            "clip_id": [posixpath.basename(recording.file).lower().removesuffix(EXTENSION) for recording in found],
            "path": [posixpath.normpath(posixpath.join(settings.path, recording.file)) for recording in found],
            "group_id": [f"{recording.digit}-{recording.number:04d}" for recording in found],
            "label": label,
            "labels": [recording.digit for recording in found],
            "published": first_half([recording.digit for recording in found]),
            "reader": [_reader(settings)] * len(found),
            "reason": reason,
        }
    )


def _reader(settings: MnistDvsSettings) -> str:
    reader = {"format": "aedat2", "orientation": settings.orientation}
    return reader_text(reader | ({"stabilise": settings.orientation} if settings.stabilise else {}))


def _make_folders(settings: MnistDvsSettings, folder: Path, digits: Sequence[str]) -> None:
    """See to it that the recordings of some digits are there, from their archives where the catalog allows it."""
    for digit in digits:
        archive = folder / f"{settings.folder(digit)}.zip"
        if settings.fetch and settings.part == "grabbed" and not ((folder / settings.folder(digit)).is_dir() or archive.is_file()):
            fetch_file(ARCHIVES[digit], folder)
        if settings.unpack:
            unpack_missing(folder / settings.folder(digit), (EXTENSION,))
    missing = [settings.folder(digit) for digit in digits if not (folder / settings.folder(digit)).is_dir()]
    if missing:
        raise MetadataError(f"{folder}: no {', '.join(missing)}; {_advice(settings)}, or choose the digits that are there by [select] classes")


def _advice(settings: MnistDvsSettings) -> str:
    if settings.part == "processed":
        return 'make them of the raw recordings by the authors\' program, or take part = "grabbed"'
    where = "put the archives of these names there, as .zip or unpacked"
    return f"{where} (from {_ADDRESS}), or set `fetch = true` in [dataset]" if not settings.fetch else where


def _recordings(settings: MnistDvsSettings, folder: Path) -> list[Recording]:
    found = [recording for digit in DIGITS for recording in _of_digit(folder, settings.folder(digit), digit)]
    chosen = [recording for recording in found if recording.scale == settings.scale]
    if not chosen:
        raise MetadataError(f"{folder}: no recordings of scale {settings.scale} ({len(found)} of others); choose another `scale` in [dataset]")
    return chosen


def _of_digit(folder: Path, name: str, digit: str) -> list[Recording]:
    if not (folder / name).is_dir():
        return []
    return [_recording(folder, f"{name}/{file}", digit) for file in find_files(folder / name, (EXTENSION,))]


def _recording(folder: Path, file: str, digit: str) -> Recording:
    *above, name = file.split("/")
    told = _NAME.fullmatch(name)
    if told is None:
        raise MetadataError(f"{folder / file}: not called mnist_{digit}_scale<04|08|16>_<number>.aedat; move it elsewhere")
    if told["digit"] != digit:
        raise MetadataError(f"{folder / file}: its folder is of the digit {digit}, its name says {told['digit']}; put it where it belongs")
    scales = [int(of["scale"]) for of in map(_SCALE_FOLDER.fullmatch, above) if of]
    if scales and scales[-1] != int(told["scale"]):
        raise MetadataError(f"{folder / file}: its folder is of scale {scales[-1]}, its name says {told['scale']}; put it where it belongs")
    return Recording(file, digit, int(told["scale"]), int(told["number"]))
