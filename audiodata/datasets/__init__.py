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
from audiodata.datasets import array_folder, audioset, dcase2019_part, folder, idx_images, simulated_array, sloclas
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
        "audio" or "image": how its files are decoded.
    summary : str
        One line for people.
    fetch : callable or None
        ``(settings, root, quality)`` fetches the lists that are missing, where a publisher offers them.
    write_lists : callable or None
        ``(table, folder)`` writes the chosen clips as lists for other tools.
    """

    settings: type[Settings]
    read_clips: Callable[[Any, Path, tuple[str, ...], float | None], pd.DataFrame]
    kind: Literal["audio", "image"]
    summary: str
    fetch: Callable[[Any, Path, float | None], list[Path]] | None = None
    write_lists: Callable[[pd.DataFrame, Path], list[Path]] | None = None


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
    "simulated_array": DataSet(
        simulated_array.SimulatedArraySettings,
        simulated_array.read_clips,
        "audio",
        "mono sounds of any other data set, placed round an array by `pipelines simulate`",
    ),
}


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
    name = keys.pop("name", "")
    if name not in DATASETS:
        raise CatalogError(f"{where}: unknown data set `{name}`{nearest(str(name), list(DATASETS))}")
    return DATASETS[name], validated(DATASETS[name].settings, keys, f"{where} {name}")


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
