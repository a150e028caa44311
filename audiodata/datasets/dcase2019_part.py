"""DCASE 2019 Part: the events of TAU Spatial Sound Events 2019 that sound alone, each with its class and direction.

Size: 400 recordings of about one minute for development, 100 for evaluation, 48 kHz, each in two formats of four channels: microphones of
an Eigenmike (`mic`) and first-order Ambisonics (`foa`); 11 classes, azimuths in steps of 10 degrees.
Origin: https://zenodo.org/records/2599196 (development, version 2), https://zenodo.org/records/3377088 (evaluation, with annotations)
Paper: S. Adavanne, A. Politis, T. Virtanen, "A multi-room reverberant dataset for sound event localization and detection", DCASE 2019
Workshop; the part without overlapping sounds as in "SpikSLC-Net" (ICLR 2024 submission), appendix.
Licence: Tampere University's own: research and teaching, no commercial use, acknowledge the source; read it at the place of download.
Access: download ``metadata_dev.zip`` and ``mic_dev.z01, .zip`` or ``foa_dev.z01, .z02, .zip`` (for evaluation ``metadata_eval.zip`` and
``mic_eval.zip`` or ``foa_eval.zip``) and put them below the data root. They are unpacked when they are first needed, which for a split
archive takes ``zip`` or ``7z``.

Annotated azimuths run from -180 to 180, left is +90: counter-clockwise, as everywhere here. Elevations (-40 to 40) and distances (1 or
2 m) are not used. The published folds are the four splits of the development recordings: each has its own examples of every class, so no
sound that was played is in two of them; the rooms are in all. A split by recording ("grouped") keeps a recording's events together, but
the same played sound can then be on both sides.
"""

import logging
import posixpath
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from pydantic import field_validator

from audiodata.clip_files import is_safe_path
from audiodata.clips import clips_table
from audiodata.datasets.archives import unpack_missing
from audiodata.datasets.azimuths import parse_azimuth
from audiodata.datasets.labels import choose_labels
from audiodata.datasets.tables import Rows, read_rows, shown
from audiodata.errors import CatalogError, MetadataError
from audiodata.geometry import wrapped_azimuth_deg
from audiodata.settings import Settings, nearest

log = logging.getLogger(__name__)

CLASSES = (
    *("knock", "drawer", "clearthroat", "phone", "keysDrop", "speech"),
    *("keyboard", "pageturn", "cough", "doorslam", "laughter"),
)
COLUMNS = {"class": "sound_event_recording", "start": "start_time", "end": "end_time", "azimuth": "azi"}
RECORDS = {"dev": "https://zenodo.org/records/2599196", "eval": "https://zenodo.org/records/3377088"}

# split1_ir0_ov1_1; evaluation recordings also split0_1
_NAME = re.compile(r"split(?P<split>[0-9])(?:_ir[0-9]+_ov(?P<overlap>[0-9]+))?_[0-9]+")


class Dcase2019PartSettings(Settings):
    """Keys of ``[dataset]`` for TAU Spatial Sound Events 2019.

    Attributes
    ----------
    format : "mic" or "foa"
        Microphones, or first-order Ambisonics (W, Y, Z, X).
    parts : tuple of "dev" or "eval"
        Development and evaluation recordings. ``published`` is a recording's split: 1 to 4, and 0 for evaluation.
    path : str
        Folder below the data root that has ``mic_dev``, ``metadata_dev`` and so on, or their archives.
    overlap : "none" or "any"
        "none": events that sound together with another are left out (``overlapping``), by their times in the annotation.
    only_ov1 : bool
        Read only the recordings in which nothing overlaps: ``ov1`` in their names or, where these do not say, by their annotations.
    unpack : bool
        Unpack archives whose folders are missing.
    """

    format: Literal["mic", "foa"] = "mic"
    parts: tuple[Literal["dev", "eval"], ...] = ("dev",)
    path: str = "."
    overlap: Literal["none", "any"] = "none"
    only_ov1: bool = False
    unpack: bool = True

    @field_validator("path")
    @classmethod
    def _below_the_root(cls, value: str) -> str:
        if value != "." and not is_safe_path(value.removesuffix("/")):
            raise ValueError("must lie below the data root (which --data gives)")
        return value

    @field_validator("parts")
    @classmethod
    def _some(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value or len(set(value)) < len(value):
            raise ValueError('must name "dev", "eval" or both, once each')
        return value


class Annotation(NamedTuple):
    """The events of one recording, in the order of its annotation.

    Attributes
    ----------
    classes : list of str
    start_s, end_s : float64 [event]
    azimuth_deg : float64 [event]
        In [0, 360), counter-clockwise.
    """

    classes: list[str]
    start_s: np.ndarray
    end_s: np.ndarray
    azimuth_deg: np.ndarray


def read_clips(settings: Dcase2019PartSettings, root: Path, classes: Sequence[str], quality: float | None) -> pd.DataFrame:
    """List the events.

    Parameters
    ----------
    settings : Dcase2019PartSettings
    root : Path
    classes : sequence of str
        Classes to keep, in this order; empty: all that occur, sorted.
    quality : None
        There are no label ratings here.

    Returns
    -------
    DataFrame
        Clips table, a row an event. Events without length (``empty_event``) and those that overlap others (``overlapping``) are left out.
        An event that ends after its file is for the build to judge, by ``[clean] duration_tolerance_s``.

    Raises
    ------
    CatalogError, MetadataError, EnvironmentFault
        An unknown class; a folder that is missing; an annotation with an unknown class, an azimuth or a time that is none (with its line);
        an archive that can't be unpacked.
    """
    if quality is not None:
        raise CatalogError("[select] quality: the data set `dcase2019_part` has no ratings of its labels; leave the key out")
    parts = [_read_part(settings, Path(root) / settings.path, part) for part in settings.parts]
    events = pd.concat(parts, ignore_index=True)
    label, left_out = choose_labels(events["labels"].tolist(), classes)
    events["label"] = label
    events["reason"] = np.where(np.array(left_out) == "other_class", "other_class", events["reason"])
    return clips_table({name: events[name] for name in events})


def _read_part(settings: Dcase2019PartSettings, base: Path, part: str) -> pd.DataFrame:
    """Read all annotations of the development or the evaluation recordings."""
    sounds, metadata = base / f"{settings.format}_{part}", base / f"metadata_{part}"
    for folder, extension in ((metadata, ".csv"), (sounds, ".wav")):
        if settings.unpack:
            unpack_missing(folder, (extension,))
        if not folder.is_dir():
            raise MetadataError(f"{folder}: no such folder, nor {folder.name}.zip beside it; download it from {RECORDS[part]}")
    paths = _annotations(metadata, sounds)
    tables = [_events(settings, posixpath.normpath(posixpath.join(settings.path, sounds.name)), path) for path in paths]
    tables = [table for table in tables if len(table)]
    if not tables:
        raise MetadataError(f"{metadata}: no annotation of a recording in it has an event that is asked for")
    return pd.concat(tables, ignore_index=True)


def _annotations(metadata: Path, sounds: Path) -> list[Path]:
    paths = sorted(path for path in metadata.glob("*.csv") if _NAME.fullmatch(path.stem))
    if not paths:
        raise MetadataError(f"{metadata}: no annotation such as split1_ir0_ov1_1.csv in it; is it unpacked and complete?")
    unknown = sorted({path.stem for path in sounds.glob("*.wav")} - {path.stem for path in paths})
    if unknown:
        log.warning("%s: %d recordings have no annotation and are not used, e.g. %s", sounds, len(unknown), unknown[0])
    return paths


def _events(settings: Dcase2019PartSettings, folder: str, path: Path) -> pd.DataFrame:
    """Make the rows of one recording; none where the recording is not wanted."""
    events = read_annotation(path)
    together = overlapping(events.start_s, events.end_s)
    name = _NAME.fullmatch(path.stem)
    if settings.only_ov1 and (name["overlap"] != "1" if name["overlap"] else together.any()):
        return pd.DataFrame()
    empty = events.end_s == events.start_s
    count, recording = len(events.classes), f"{folder}/{path.stem}"
    return pd.DataFrame({
        "clip_id": [f"{recording}/{number:03d}" for number in range(count)],
        "path": f"{recording}.wav",
        "recording_id": recording,
        "start_s": events.start_s,
        "file_start_s": events.start_s,
        "duration_s": np.where(empty, np.nan, np.round(events.end_s - events.start_s, 6)),
        "labels": events.classes,
        "azimuth_deg": events.azimuth_deg,
        "published": name["split"],
        "reason": np.select([empty, together & (settings.overlap == "none")], ["empty_event", "overlapping"], default=""),
    }, index=range(count))


def read_annotation(path: Path) -> Annotation:
    """Read one annotation: a CSV with ``sound_event_recording, start_time, end_time, ele, azi, dist``.

    Parameters
    ----------
    path : Path

    Returns
    -------
    Annotation

    Raises
    ------
    MetadataError
        Names the file, and the line with an unknown class, a time that is none or before the one it must follow, or an azimuth that is none.
    """
    rows = read_rows(path, ",")
    named = {what: rows.column(name) for what, name in COLUMNS.items()}
    for row, name in enumerate(named["class"]):
        if name not in CLASSES:
            raise rows.error(row, f"unknown class {shown(name)}{nearest(name, list(CLASSES))}")
    start_s, end_s = _times(rows, named["start"], "start"), _times(rows, named["end"], "end")
    for row in np.flatnonzero((start_s < 0) | (end_s < start_s)):
        raise rows.error(row, f"an event from {start_s[row]:g} s to {end_s[row]:g} s; expected 0 <= start_time <= end_time")
    return Annotation(named["class"], start_s, end_s, _azimuths(rows, named["azimuth"]))


def _times(rows: Rows, texts: Sequence[str], what: str) -> np.ndarray:
    times = pd.to_numeric(pd.Series(texts, dtype=object), errors="coerce").to_numpy(dtype=np.float64)
    for row in np.flatnonzero(~np.isfinite(times)):
        raise rows.error(row, f"{COLUMNS[what]} = {shown(texts[row])} is not a number of seconds")
    return times


def _azimuths(rows: Rows, texts: Sequence[str]) -> np.ndarray:
    azimuths = np.empty(len(texts))
    for row, text in enumerate(texts):
        try:
            azimuths[row] = parse_azimuth(text)
        except ValueError as error:
            raise rows.error(row, str(error)) from None
    return np.asarray(wrapped_azimuth_deg(azimuths), dtype=np.float64).reshape(len(texts))


def overlapping(start_s: np.ndarray, end_s: np.ndarray) -> np.ndarray:
    """Find the events that sound together with another one.

    Parameters
    ----------
    start_s, end_s : array [event]
        In any order. Events that only touch do not overlap, and events without length overlap nothing.

    Returns
    -------
    bool [event]

    Examples
    --------
    >>> overlapping(np.array([0.0, 1.0, 1.5, 3.0]), np.array([1.0, 2.0, 2.5, 3.0])).tolist()
    [False, True, True, False]
    """
    found = np.zeros(len(start_s), dtype=bool)
    sounding = np.flatnonzero(end_s > start_s)
    order = sounding[np.argsort(start_s[sounding], kind="stable")]
    starts, ends = start_s[order], end_s[order]
    latest_end = np.maximum.accumulate(ends)
    found[order[1:]] |= latest_end[:-1] > starts[1:]
    found[order[:-1]] |= starts[1:] < ends[:-1]
    return found
