"""Recordings of the data sets that tonic reads: their files are found and decoded by tonic itself.

tonic is an optional package (GPL-3.0), imported only when one of its data sets is asked for. Nothing is ever downloaded by what is here,
unless `fetch_part` is called.
"""

import contextlib
import io
import json
import logging
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pydantic import model_validator

from audiodata.errors import CatalogError, ClipError, EnvironmentFault, MetadataError
from audiodata.events.readers.base import Reader
from audiodata.events.record import Events, SensorSize, make_events
from audiodata.settings import Settings, nearest

log = logging.getLogger(__name__)

TRAIN_TEST = {"train": {"train": True}, "test": {"train": False}}

# what tonic and the libraries below it raise at a damaged or missing file
_DAMAGED = (OSError, ValueError, IndexError, KeyError, TypeError, AttributeError, RuntimeError, AssertionError, EOFError)


class TonicSet(NamedTuple):
    """What has to be known of one of tonic's data sets beyond what its class tells.

    Attributes
    ----------
    parts : mapping
        Name of each part to the arguments that ask tonic for it.
    options : tuple of str
        Further arguments that a catalog may give.
    file : str
        Attribute that names the file that holds all recordings of a part; empty: each recording is a file.
    folder : str
        Where tonic puts the files below the folder that it is given; empty: it is called as the data set.
    sensor_size : tuple of int or None
        Where tonic states none.
    """

    parts: Mapping[str, Mapping[str, Any]]
    options: tuple[str, ...] = ()
    file: str = ""
    folder: str = ""
    sensor_size: SensorSize | None = None


SETS = {
    "ASLDVS": TonicSet({"": {}}),
    "CIFAR10DVS": TonicSet({"": {}}),
    "DVSGesture": TonicSet(TRAIN_TEST),
    "DVSLip": TonicSet(TRAIN_TEST),
    "NCALTECH101": TonicSet({"": {}}, sensor_size=(240, 180, 2)),  # images differ in size; none is larger
    "NMNIST": TonicSet(TRAIN_TEST, options=("first_saccade_only", "stabilize")),
    "SHD": TonicSet(TRAIN_TEST, file="data_filename"),
    "SMNIST": TonicSet(TRAIN_TEST, options=("duplicate", "num_neurons", "dt"), file="images_file", folder="smnist"),
    "SSC": TonicSet({name: {"split": name} for name in ("train", "valid", "test")}, file="data_filename"),
}

# tonic's other data sets, and why they can't be named here
_OTHERS = {
    "NTIDIGITS18": "tonic does not filter its labels with its recordings; name the data set `ntidigits`, which reads the same file",
    "POKERDVS": "tonic unpacks it anew whenever it is opened; read its .npy files otherwise",
    **dict.fromkeys(
        ("DAVISDATA", "DSEC", "EBSSA", "MVSEC", "NERDD", "ThreeET_Eyetracking", "TUMVIE", "VPR"),
        "its recordings have no class each, so that there is nothing to learn from a label",
    ),
}


class TonicReaderSettings(Settings):
    """How a recording of one of tonic's data sets is found.

    Attributes
    ----------
    dataset : str
        A key of `SETS`.
    part : str
        A part of it; empty where it has none.
    options : dict
        Further arguments for tonic's class.
    """

    dataset: str
    part: str = ""
    options: dict[str, Any] = {}

    @model_validator(mode="after")
    def _known(self) -> "TonicReaderSettings":
        check_set(self.dataset, self.options, "reader")
        if self.part not in SETS[self.dataset].parts:
            raise ValueError(f"`part` = `{self.part}`{nearest(self.part, list(SETS[self.dataset].parts))}")
        return self


def check_set(name: str, options: Mapping[str, Any], where: str) -> None:
    """Refuse a data set that tonic does not have, or that can't be used, and options that it does not take.

    Raises
    ------
    CatalogError
        Says why, and names the nearest.
    """
    if name in _OTHERS:
        raise CatalogError(f"{where}: tonic's {name} can't be used: {_OTHERS[name]}")
    if name not in SETS:
        raise CatalogError(f"{where}: `{name}` is no labelled data set of tonic{nearest(name, list(SETS))}")
    for option in options:
        if option not in SETS[name].options:
            tail = nearest(option, list(SETS[name].options)) or "; it takes none"
            raise CatalogError(f"{where}: tonic's {name} takes no option `{option}`{tail}")


def location(name: str, save_to: Path) -> Path:
    """Folder that has a data set's files, when tonic was told to save to another folder."""
    return Path(save_to) / (SETS[name].folder or name)


def fetch_part(name: str, save_to: Path, part: str) -> None:
    """Let tonic download and unpack a part, unless it is there; archives that are there are only unpacked.

    Raises
    ------
    EnvironmentFault
        tonic is missing, the part can't be had by program, or its publisher can't be reached.
    """
    kind = _tonic_class(name)
    log.info("%s %s: tonic fetches what is missing", name, part)
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said):
            kind(save_to=str(save_to), **SETS[name].parts[part])
    except (*_DAMAGED, SystemExit) as error:  # it exits where a person has to click at the publisher's
        told = _one_line(said.getvalue() if isinstance(error, SystemExit) else error)
        raise EnvironmentFault(f"tonic can't fetch {name} into {location(name, save_to)} ({told}); put the archive there by hand") from None


def open_part(name: str, save_to: Path, part: str, options: Mapping[str, Any]) -> Any:
    """Open a part of a data set with tonic, from the files that are there.

    Parameters
    ----------
    name : str
        A key of `SETS`.
    save_to : Path
        What tonic would be told as ``save_to``.
    part : str
        A key of its parts.
    options : mapping
        Further arguments for tonic's class.

    Returns
    -------
    tonic.dataset.Dataset

    Raises
    ------
    MetadataError
        There are no files of it, or they are damaged.
    EnvironmentFault
        tonic is missing.
    """
    kind = _tonic_class(name)
    # the class keeps its name, by which tonic finds the folder; a set of which a user has only some files is as good as another
    offline = type(name, (kind,), {"_check_exists": lambda self: True})
    try:
        opened = offline(save_to=str(save_to), **SETS[name].parts[part], **options)
    except _DAMAGED as error:
        raise MetadataError(f"{location(name, save_to)}: tonic finds no {part or name} in it ({_one_line(error)})") from None
    if not len(opened):
        raise MetadataError(f"{location(name, save_to)}: tonic finds no recordings of {part or name} in it; is all unpacked?")
    return opened


def is_whole(opened: Any) -> bool:
    """Whether tonic would count the files as complete; it looks for the archive and for a number of files."""
    return bool(super(type(opened), opened)._check_exists())


def _tonic_class(name: str) -> type:
    try:
        from tonic import datasets  # GPL-3.0, and slow to import: only for those who ask for it
    except ImportError:
        raise EnvironmentFault(f"tonic:{name} needs the package tonic: pip install 'audiodata[events]'") from None
    return getattr(datasets, name)


def _one_line(said: object) -> str:
    return " ".join(str(said).split())[:200] or type(said).__name__


def read(path: Path, settings: TonicReaderSettings, item: str = "", index: int = 0) -> Events:
    """Read one recording.

    Parameters
    ----------
    path : Path
        The file that holds it, where tonic puts it.
    settings : TonicReaderSettings
    item : str
        Not used.
    index : int
        Its place in the part, where a file holds many; else it is found by its path.

    Raises
    ------
    ClipError
        The file is missing or damaged, or tonic does not count it among the recordings.
    EnvironmentFault
        tonic, or a package that it needs for this data set, is missing.
    """
    path.stat()  # tonic's own message for a file that is not there would be another for each data set
    name = settings.dataset
    top = _top(path, name)
    part = _part(name, str(top.parent), settings.part, json.dumps(settings.options, sort_keys=True))
    place = index if SETS[name].file else part.places.get(path.relative_to(top).as_posix(), -1)
    if not 0 <= place < len(part.opened):
        raise ClipError("missing_file", f"tonic has {len(part.opened)} recordings of {name} {settings.part}, number {place} is none of them")
    return _converted(_decoded(part.opened, place), _sensor_size(name, part.opened))


def _top(path: Path, name: str) -> Path:
    """Return the innermost folder above a file that tonic would have called so."""
    folder = SETS[name].folder or name
    for above in path.parents:
        if above.name == folder:
            return above
    raise ClipError("missing_file", f"lies in no folder {folder}, into which tonic puts its files")


class _Part(NamedTuple):
    """A part as tonic has opened it, and the place of each file in it."""

    opened: Any
    places: Mapping[str, int]


@lru_cache(maxsize=4)
def _part(name: str, save_to: str, part: str, options: str) -> _Part:
    """Open a part once in each process: tonic lists all its files."""
    try:
        opened = open_part(name, Path(save_to), part, json.loads(options))
    except MetadataError as error:
        raise ClipError("undecodable", str(error)) from None
    return _Part(opened, {file: number for number, file in enumerate(files_of(name, Path(save_to), opened))})


def files_of(name: str, save_to: Path, opened: Any) -> list[str]:
    """Return the file of each recording, below the folder that tonic puts them into.

    Parameters
    ----------
    name : str
        A key of `SETS`.
    save_to : Path
        As for `open_part`.
    opened : tonic.dataset.Dataset
        Of `open_part`.
    """
    if SETS[name].file:
        return [getattr(opened, SETS[name].file)] * len(opened)
    top = location(name, save_to)
    return [Path(file).relative_to(top).as_posix() for file in opened.data]


def _sensor_size(name: str, opened: Any) -> SensorSize:
    size = SETS[name].sensor_size or opened.sensor_size
    return int(size[0]), int(size[1]), int(size[2])


def _decoded(opened: Any, place: int) -> np.ndarray:
    try:
        return np.ravel(opened[place][0])
    except ImportError as error:
        raise EnvironmentFault(f"tonic:{type(opened).__name__} needs a package that is missing ({_one_line(error)}); install it") from None
    except _DAMAGED as error:
        raise ClipError("undecodable", f"tonic can't read it ({_one_line(error)}); fetch it again") from None


def _converted(found: np.ndarray, size: SensorSize) -> Events:
    """Turn tonic's fields (in any order and type, ``t`` in microseconds) into ours, sorted: some of its sets are not in order of time."""
    found = found[np.argsort(found["t"], kind="stable")]
    polarity = found["p"].astype(np.int8) if size[2] > 1 else np.zeros(len(found), np.int8)  # tonic writes 1 where there is but one
    t, x = found["t"].astype(np.int64), found["x"].astype(np.int64)
    y = found["y"].astype(np.int64) if "y" in found.dtype.names else None
    return make_events(t, x, y, polarity, size)


READER = Reader(TonicReaderSettings, read, lambda head, path: False, "a recording of one of tonic's data sets, found and read by tonic")
