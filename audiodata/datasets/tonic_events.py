"""Any labelled data set of the package tonic: named ``tonic:NMNIST``, ``tonic:DVSGesture``, ``tonic:SHD`` and so on.

Size, origin and paper: those of the data set; tonic's documentation has them (https://tonic.readthedocs.io).
Licence: that of the data set. tonic itself is GPL-3.0 and an optional package: ``pip install 'audiodata[events]'``.
Access: files lie below the data root where tonic puts them, e.g. ``NMNIST/Train/...``; ``fetch = true`` lets tonic download and unpack what is
missing. Recordings are read by tonic too, and their times are microseconds.

Names are those of `audiodata.events.readers.tonic.SETS`. Classes are called as tonic has them, but the digits of sets whose classes are
"0 - zero" to "9 - nine" are "0" to "9". tonic's NTIDIGITS18 is left to the data set ``ntidigits``.
"""

import logging
import posixpath
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import field_validator, model_validator

from audiodata.clips import clips_table
from audiodata.datasets.event_sets import below_root, reader_text, refuse_quality
from audiodata.datasets.labels import choose_labels
from audiodata.errors import MetadataError
from audiodata.events.readers.tonic import SETS, check_set, fetch_part, files_of, is_whole, location, open_part
from audiodata.settings import Settings

log = logging.getLogger(__name__)


class TonicSettings(Settings):
    """Keys of ``[dataset]`` for a data set of tonic.

    Attributes
    ----------
    dataset : str
        Which one, by the name of its class in tonic; the catalog's ``name = "tonic:<dataset>"`` says it.
    save_to : str
        Folder below the data root into which tonic puts its files, each data set into a folder of its own.
    parts : tuple of str
        Parts to read, e.g. ``["train"]``; empty: all that the data set has.
    options : dict
        Further arguments for tonic's class, e.g. ``{ stabilize = true }`` for NMNIST.
    grouping : "subject" or "recording"
        What stays on one side of a split: the recordings of a person, where the data set tells who it is (DVSGesture, SHD, SSC), or nothing
        but the recording itself.
    fetch : bool
        Let tonic download and unpack what is missing. Off: nothing is ever fetched.
    """

    dataset: str = "NMNIST"
    save_to: str = "."
    parts: tuple[str, ...] = ()
    options: dict[str, Any] = {}
    grouping: Literal["subject", "recording"] = "subject"
    fetch: bool = False

    @field_validator("save_to")
    @classmethod
    def _below_the_root(cls, value: str) -> str:
        return below_root(value)

    @model_validator(mode="after")
    def _known(self) -> "TonicSettings":
        check_set(self.dataset, self.options, "[dataset] tonic")
        for part in self.parts:
            if part not in SETS[self.dataset].parts:
                known = ", ".join(filter(None, SETS[self.dataset].parts)) or "none"
                raise ValueError(f"`parts`: {self.dataset} has no part `{part}`; it has: {known}")
        return self

    def chosen_parts(self) -> tuple[str, ...]:
        """Names of the parts to read; one empty name for a data set that has no parts."""
        return self.parts or tuple(SETS[self.dataset].parts)


def read_clips(settings: TonicSettings, root: Path, classes: Sequence[str], quality: float | None) -> pd.DataFrame:
    """List the recordings, part by part, in the order of their files' names.

    Parameters
    ----------
    settings : TonicSettings
    root : Path
    classes : sequence of str
        Classes to keep; empty: all.
    quality : None
        There are no label ratings here.

    Returns
    -------
    DataFrame
        Clips table; ``published`` is a recording's part.

    Raises
    ------
    CatalogError, MetadataError
        An unknown class; a part whose files are missing or damaged.
    EnvironmentFault
        tonic is missing, or can't fetch the files.
    """
    refuse_quality("tonic", quality)
    save_to = Path(root) / settings.save_to
    if not settings.fetch and not location(settings.dataset, save_to).is_dir():
        raise MetadataError(
            f"{location(settings.dataset, save_to)}: not there; put the files of {settings.dataset} there as tonic does, "
            "or set `fetch = true` in [dataset] to let tonic download them"
        )
    table = pd.concat([_read_part(settings, save_to, part) for part in settings.chosen_parts()], ignore_index=True)
    label, reason = choose_labels(table["labels"].tolist(), classes)
    return clips_table({**dict(table), "label": label, "reason": reason})


def _read_part(settings: TonicSettings, save_to: Path, part: str) -> pd.DataFrame:
    if settings.fetch:
        fetch_part(settings.dataset, save_to, part)
    opened = open_part(settings.dataset, save_to, part, settings.options)
    if not is_whole(opened):
        log.warning("%s %s: tonic would not count it as complete; going on with the %d recordings there are", settings.dataset, part, len(opened))
    files = files_of(settings.dataset, save_to, opened)
    places = range(len(files)) if SETS[settings.dataset].file else sorted(range(len(files)), key=files.__getitem__)
    rows = _columns(settings, save_to, opened, files).iloc[list(places)]
    return rows.assign(published=part, reader=_reader(settings, part))


def _columns(settings: TonicSettings, save_to: Path, opened: Any, files: Sequence[str]) -> pd.DataFrame:
    """Describe the recordings of a part, in tonic's order."""
    top = location(settings.dataset, save_to)
    many = bool(SETS[settings.dataset].file)
    subjects = _subjects(opened, top)
    clip_ids = [f"{posixpath.splitext(file)[0]}-{number:05d}" for number, file in enumerate(files)] if many else files
    return pd.DataFrame(
        {
            "clip_id": clip_ids,
            "path": [posixpath.normpath(posixpath.join(settings.save_to, top.name, file)) for file in files],
            "index": range(len(files)) if many else 0,
            "group_id": subjects if subjects and settings.grouping == "subject" else clip_ids,
            "labels": _labels(opened, top),
        }
    )


def _reader(settings: TonicSettings, part: str) -> str:
    options = {"options": settings.options} if settings.options else {}
    return reader_text({"format": "tonic", "dataset": settings.dataset, "part": part, **options})


def _labels(opened: Any, top: Path) -> list[str]:
    """Return the class of each recording of a part, by name."""
    targets = _targets(opened, top)
    names = _class_names(getattr(opened, "classes", ()))
    try:
        return [target if isinstance(target, str) else names[int(target)] for target in targets]
    except (KeyError, ValueError) as error:
        raise MetadataError(f"{top}: a recording is of class {error}, tonic knows {len(names)}; is the file damaged?") from None


def _targets(opened: Any, top: Path) -> Sequence[Any]:
    if hasattr(opened, "data_filename") and hasattr(opened, "_speaker"):  # SHD, SSC: one HDF5 file
        return _column(top / opened.data_filename, "labels")
    return opened.label_data if hasattr(opened, "label_data") else opened.targets  # SMNIST: one idx file


def _class_names(classes: Any) -> dict[int, str]:
    """Number the classes, which tonic has as a list of names or as names with their numbers."""
    numbered = classes.items() if isinstance(classes, Mapping) else ((name, number) for number, name in enumerate(classes))
    return {int(number): _class_name(name) for name, number in numbered}


def _class_name(name: Any) -> str:
    """Return a class's name: text, and the figure alone for a digit ("0 - zero")."""
    text = name.decode("utf-8") if isinstance(name, bytes) else str(name)
    figure, dash, _ = text.partition(" - ")
    return figure if dash and figure.isdigit() else text


def _subjects(opened: Any, top: Path) -> list[str]:
    """Return who is recorded in each recording; nothing where the data set does not tell."""
    if hasattr(opened, "users"):  # DVSGesture
        return [f"user-{user:02d}" for user in opened.users]
    if hasattr(opened, "data_filename") and hasattr(opened, "_speaker"):  # SHD, SSC
        return [f"speaker-{speaker:02d}" for speaker in _column(top / opened.data_filename, "extra/speaker").tolist()]
    return []


def _column(path: Path, name: str) -> np.ndarray:
    import h5py  # as heavy as tonic, which needs it too

    try:
        with h5py.File(path, "r") as file:
            return file[name][()]
    except (OSError, KeyError) as error:
        raise MetadataError(f"{path}: has no {name} ({error}); fetch it again") from None
