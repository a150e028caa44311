"""The data sets that a catalog can name; each is one module that turns its own files into a clips table.

To add one: a module with a settings class and ``read_clips``, whose docstring gives size, origin, paper, licence and
access, and a line in `DATASETS`.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pandas as pd
from pydantic import BaseModel

from audiodata.clips import sample_per_class
from audiodata.datasets import (
    array_folder,
    audioset,
    dcase2019_part,
    event_folder,
    folder,
    idx_images,
    joint_events,
    librimix,
    mixtures,
    mnist_dvs,
    nmnist,
    ntidigits,
    simulated_array,
    simulated_events,
    sloclas,
    tonic_events,
    wsj0_2mix,
)
from audiodata.errors import CatalogError
from audiodata.settings import Settings, nearest, validated


class DataSet(NamedTuple):
    """One data set.

    Attributes
    ----------
    settings : type of Settings
        Its own keys of ``[dataset]``.
    read_clips : callable
        ``(settings, root, classes, quality)`` to a clips table, with the rows that are left out marked by their reason.
    kind : str
        "audio", "image" or "events": how its files are decoded.
    summary : str
        One line for people.
    fetch : callable or None
        ``(settings, root, quality)`` fetches the lists that are missing, where a publisher offers them.
    write_lists : callable or None
        ``(table, folder)`` writes the chosen clips as lists for other tools.
    settle : callable or None
        ``(settings, root)`` gives the settings with what they leave to the files that are there decided.
    channels : callable or None
        ``(settings)``: how many channels a clip has, where their mean would be no sound (a mixture and its sources).
    """

    settings: type[Settings]
    read_clips: Callable[[Any, Path, tuple[str, ...], float | None], pd.DataFrame]
    kind: Literal["audio", "image", "events"]
    summary: str
    fetch: Callable[[Any, Path, float | None], list[Path]] | None = None
    write_lists: Callable[[pd.DataFrame, Path], list[Path]] | None = None
    settle: Callable[[Any, Path], Settings] | None = None
    channels: Callable[[Any], int] | None = None


DATASETS: dict[str, DataSet] = {
    "audioset": DataSet(
        audioset.AudioSetSettings,
        audioset.read_clips,
        "audio",
        "AudioSet: 10 s from YouTube videos, weak or strong labels, classes of an ontology",
        audioset.fetch_metadata,
        audioset.write_class_lists,
    ),
    "folder": DataSet(
        folder.FolderSettings,
        folder.read_clips,
        "audio",
        "your own recordings: the class is a folder's name, part of the path, or a column of a CSV",
    ),
    "idx_images": DataSet(
        idx_images.IdxImagesSettings,
        idx_images.read_clips,
        "image",
        "images in idx files: MNIST and its kin",
    ),
    "array_folder": DataSet(
        array_folder.ArrayFolderSettings,
        array_folder.read_clips,
        "audio",
        "your own recordings of a microphone array: a CSV with an azimuth for each clip",
    ),
    "dcase2019_part": DataSet(
        dcase2019_part.Dcase2019PartSettings,
        dcase2019_part.read_clips,
        "audio",
        "TAU Spatial Sound Events 2019: the events that sound alone, with their azimuths",
    ),
    "sloclas": DataSet(
        sloclas.SLoClasSettings,
        sloclas.read_clips,
        "audio",
        "SLoClas: sounds of ten classes from 72 azimuths on four microphones, and outdoor noises",
    ),
    "joint_events": DataSet(
        joint_events.JointEventsSettings,
        joint_events.read_clips,
        "events",
        "pairs of a visual and an auditory event recording of the same class, out of two data sets",
        settle=joint_events.settle,
    ),
    "simulated_events": DataSet(
        simulated_events.SimulatedEventsSettings,
        simulated_events.read_clips,
        "events",
        "images seen by a simulated retina, or sounds heard by a simulated cochlea",
    ),
    "simulated_array": DataSet(
        simulated_array.SimulatedArraySettings,
        simulated_array.read_clips,
        "audio",
        "mono sounds of any other data set, placed round an array by `pipelines simulate`",
    ),
    "event_folder": DataSet(
        event_folder.EventFolderSettings,
        event_folder.read_clips,
        "events",
        "your own recordings of event sensors: by folder, by pattern or by a CSV, in any format that has a reader",
    ),
    "mnist_dvs": DataSet(
        mnist_dvs.MnistDvsSettings,
        mnist_dvs.read_clips,
        "events",
        "MNIST-DVS: handwritten digits moved before an event camera, at three sizes",
    ),
    "nmnist": DataSet(
        nmnist.NMnistSettings,
        nmnist.read_clips,
        "events",
        "N-MNIST: the images of MNIST before an event camera that moves in three jumps",
    ),
    "ntidigits": DataSet(
        ntidigits.NTidigitsSettings,
        ntidigits.read_clips,
        "events",
        "N-TIDIGITS18: spoken digits as heard by an event-based cochlea of 64 channels",
    ),
    "mixtures": DataSet(
        mixtures.MixturesSettings,
        mixtures.read_clips,
        "audio",
        "two or three of your own utterances at once, mixed while a cache is built; speakers never in two splits",
        channels=mixtures.clip_channels,
    ),
    "wsj0_2mix": DataSet(
        wsj0_2mix.Wsj0MixSettings,
        wsj0_2mix.read_clips,
        "audio",
        "WSJ0-2mix and WSJ0-3mix: two or three speakers at once, with each of them alone",
        channels=wsj0_2mix.clip_channels,
    ),
    "librimix": DataSet(
        librimix.LibriMixSettings,
        librimix.read_clips,
        "audio",
        "LibriMix and MiniLibriMix: two or three speakers at once, with each of them alone; also in noise",
        channels=librimix.clip_channels,
    ),
    "tonic": DataSet(
        tonic_events.TonicSettings,
        tonic_events.read_clips,
        "events",
        "any labelled data set of tonic, named tonic:NMNIST, tonic:DVSGesture, tonic:SHD, ...",
    ),
}
FAMILIES = {"tonic": "dataset"}  # entries that stand for many data sets, named <entry>:<member>, and the key that has the member


def dataset_settings(dataset: Mapping[str, Any] | BaseModel, where: str = "[dataset]") -> tuple[DataSet, Settings]:
    """Look up the data set that a catalog names, and validate its keys.

    Parameters
    ----------
    dataset : mapping or model
        The catalog's ``[dataset]``: ``name`` and the data set's own keys.
    where : str
        What to call it in messages.

    Raises
    ------
    CatalogError
        An unknown name or key, or a wrong value.
    """
    keys = dataset.model_dump() if isinstance(dataset, BaseModel) else dict(dataset)
    name = str(keys.pop("name", ""))
    entry, member = split_name(name, where)
    for key in member.keys() & keys.keys():
        raise CatalogError(f"{where} {name}: `{key}` is told by the name already; leave the key out")
    return DATASETS[entry], validated(DATASETS[entry].settings, keys | member, f"{where} {name}")


def split_name(name: str, where: str = "[dataset]") -> tuple[str, dict[str, str]]:
    """Find the entry of `DATASETS` that a name means, and what the name tells beyond it.

    Parameters
    ----------
    name : str
        A key of `DATASETS`, or ``<entry>:<member>`` for one of `FAMILIES`.
    where : str
        What to call it in messages.

    Raises
    ------
    CatalogError
        There is no such entry.

    Examples
    --------
    >>> split_name("tonic:SHD")
    ('tonic', {'dataset': 'SHD'})
    """
    entry, colon, member = name.partition(":")
    if colon and entry in FAMILIES:
        return entry, {FAMILIES[entry]: member}
    if name not in DATASETS:
        raise CatalogError(f"{where}: unknown data set `{name}`{nearest(name, list(DATASETS))}")
    return name, {}


def settled(dataset: Mapping[str, Any] | BaseModel, root: Path) -> dict[str, Any]:
    """Return a catalog's ``[dataset]`` with what it leaves to the files below a data root decided, so that a manifest can tell."""
    keys = dataset.model_dump() if isinstance(dataset, BaseModel) else dict(dataset)
    entry, settings = dataset_settings(dataset)
    if entry.settle is None:
        return keys
    return {"name": keys["name"], **entry.settle(settings, Path(root)).model_dump(mode="json", exclude_defaults=True)}


def read_clips(
    dataset: Mapping[str, Any] | BaseModel,
    root: Path,
    *,
    classes: tuple[str, ...] = (),
    quality: float | None = None,
    per_class: int | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Read a data set's files into a clips table and mark what the catalog leaves out.

    Parameters
    ----------
    dataset : mapping or model
        The catalog's ``[dataset]``.
    root : Path
        Data root.
    classes, quality, per_class, seed
        The catalog's ``[select]``.

    Returns
    -------
    DataFrame
        Clips table (`audiodata.clips.COLUMNS`), validated.

    Raises
    ------
    CatalogError, MetadataError
        As the data set's own ``read_clips``.
    """
    entry, settings = dataset_settings(dataset)
    table = entry.read_clips(settings, Path(root), tuple(classes), quality)
    return table if per_class is None else sample_per_class(table, per_class, seed)
