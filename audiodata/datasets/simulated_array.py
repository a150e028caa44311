"""Mono sounds placed at chosen azimuths round an array of microphones: made here, from any data set that has sounds.

Size: as many files as sounds and azimuths are asked for (`per_sound` of them a sound); 32 kB a second and channel at 16 kHz.
Origin: your own sounds, placed by ``python -m pipelines simulate CATALOG --data ROOT`` in a free field, in a rectangular room
(image sources), or by measured impulse responses (SOFA).
Paper: J. B. Allen, D. A. Berkley, "Image method for efficiently simulating small-room acoustics", JASA 65 (1979), for the room;
AES69, "AES standard for file exchange: Spatial acoustic data file format" (2015), for SOFA.
Licence: that of the sounds, and of the measured responses.
Access: put the sounds into a folder of the data root (`sounds_folder`), say in `sounds` how they are to be read, and run the command
above; it writes ``<folder>/<class>/<azimuth>/<id>.wav``, a table of what each file is and a description of the scene.

Azimuths count from the front counter-clockwise, [0, 360), in the settings, in the files' paths and in the clips table. What is made
of a sound keeps the sound's group: all directions of a recording stay on one side of a split.
"""

import posixpath
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from pydantic import Field, field_validator, model_validator

from audiodata.clip_files import is_safe_path
from audiodata.clips import COLUMNS, clips_table
from audiodata.errors import MetadataError
from audiodata.fingerprint import hash_bytes, unit_hash
from audiodata.rooms import RoomSettings
from audiodata.settings import Settings

_SLUG = re.compile(r"[^A-Za-z0-9]+")
_SLUG_LENGTH = 40
_ID_LENGTH = 16  # hexadecimal digits: two of a million sounds share a file's name with a probability under 1e-7
_LONGEST_NAME = 200  # bytes; file systems take 255
_AZIMUTH_DIGITS = 3  # after the point; an azimuth is a folder's name


class ResponseSettings(Settings):
    """Measured impulse responses.

    Attributes
    ----------
    path : str
        SOFA file below the data root.
    tolerance_deg : float
        Greatest angle between a direction asked for and the nearest one that was measured.
    """

    path: str
    tolerance_deg: float = Field(default=1.0, ge=0, le=180)

    @field_validator("path")
    @classmethod
    def _below_the_root(cls, value: str) -> str:
        return _safe(value)


class SimulatedArraySettings(Settings):
    """Keys of ``[dataset]`` for simulated recordings; the microphones stand in the catalog's ``[array]``.

    Attributes
    ----------
    sounds : dict
        The sounds' own ``[dataset]`` table: ``name`` and that data set's keys.
    sounds_folder : str
        Folder below the data root that is the sounds' data root.
    folder : str
        Folder below the data root that gets the files made; not inside `sounds_folder`.
    azimuth_step_deg : float
        Azimuths 0, step, 2 step ... below 360; must divide 360.
    azimuths_deg : tuple of float
        Or these azimuths.
    per_sound : int or None
        So many of the azimuths for each sound, drawn by `seed` and the sound's id alone; None: all of them.
    seed : int
        Of the azimuths and the sensor noise.
    distance_m : float
        Of the source from the array's origin. Measured responses have their own.
    elevation_deg : float
        Of the source.
    room : table or None
        `RoomSettings`; None: free field, unless there are `responses`.
    responses : table or None
        `ResponseSettings`.
    snr_db : float or None
        Level of the sound over that of sensor noise, which is white and independent in each channel; None: no noise.
    sample_rate : int or None
        Of the files, in Hz; None: each sound's own.
    duration_s : float or None
        Of a longer sound the loudest span of this length is taken, and no file is longer; None: the whole sound and its tail.
    mix_channels : bool
        Take the mean of a sound's channels; else a sound of several channels is refused.
    """

    sounds: dict[str, Any] = {"name": "folder"}
    sounds_folder: str = "sounds"
    folder: str = "simulated"
    azimuth_step_deg: float = Field(default=5.0, gt=0, le=360)
    azimuths_deg: tuple[float, ...] = ()
    per_sound: int | None = Field(default=None, ge=1)
    seed: int = 0
    distance_m: float = Field(default=1.5, gt=0)
    elevation_deg: float = Field(default=0.0, ge=-90, le=90)
    room: RoomSettings | None = None
    responses: ResponseSettings | None = None
    snr_db: float | None = None
    sample_rate: int | None = Field(default=None, ge=1000, le=768_000)
    duration_s: float | None = Field(default=None, gt=0)
    mix_channels: bool = False

    @field_validator("sounds")
    @classmethod
    def _known_sounds(cls, value: dict[str, Any]) -> dict[str, Any]:
        from audiodata.datasets import dataset_settings  # the registry, of which this module is a part

        if value.get("name") == "simulated_array":
            raise ValueError("a simulation needs sounds, not another simulation")
        if dataset_settings(value, "[dataset.sounds]")[0].kind != "audio":
            raise ValueError("the data set holds no sounds")
        return value

    @field_validator("folder", "sounds_folder")
    @classmethod
    def _below_the_root(cls, value: str) -> str:
        return _safe(value)

    @field_validator("azimuth_step_deg")
    @classmethod
    def _divides_the_circle(cls, value: float) -> float:
        if round(value, _AZIMUTH_DIGITS) != value or abs(360 / value - round(360 / value)) > 1e-9:
            raise ValueError("must divide 360 and have at most three digits after the point")
        return value

    @field_validator("azimuths_deg")
    @classmethod
    def _on_the_circle(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        for azimuth in value:
            if not 0 <= azimuth < 360 or round(azimuth, _AZIMUTH_DIGITS) != azimuth:
                raise ValueError(f"{azimuth:g} is no azimuth: at least 0, below 360, counter-clockwise, at most three digits after the point")
        if len(set(value)) < len(value):
            raise ValueError("an azimuth is named twice")
        return value

    @model_validator(mode="after")
    def _one_of_each(self) -> "SimulatedArraySettings":
        given = self.model_fields_set
        if self.azimuths_deg and "azimuth_step_deg" in given:
            raise ValueError("`azimuths_deg` or `azimuth_step_deg`, not both")
        if self.room and self.responses:
            raise ValueError("`room` or `responses`, not both: measured responses have their room in them")
        if self.responses and "distance_m" in given:
            raise ValueError("`distance_m` says nothing beside `responses`, which were measured at their own distance")
        if f"{self.folder}/".startswith(f"{self.sounds_folder}/"):
            raise ValueError("`folder` must not lie inside `sounds_folder`, or what is made would be taken for sounds")
        return self

    def azimuths(self) -> tuple[float, ...]:
        """All azimuths, ascending."""
        if self.azimuths_deg:
            return tuple(sorted(abs(azimuth) for azimuth in self.azimuths_deg))  # abs: -0.0 is a 0
        count = round(360 / self.azimuth_step_deg)
        return tuple(round(step * self.azimuth_step_deg, _AZIMUTH_DIGITS) for step in range(count))


class Placement(NamedTuple):
    """One sound at one azimuth: the number of the sound's row, and where it is heard from; NaN for a sound that is left out."""

    row: int
    azimuth_deg: float


def _safe(value: str) -> str:
    value = value.removesuffix("/")
    if not is_safe_path(value) or "|" in value:
        raise ValueError("must lie below the data root (which --data gives)")
    return value


def read_clips(settings: SimulatedArraySettings, root: Path, classes: Sequence[str], quality: float | None) -> pd.DataFrame:
    """List the files that the simulation makes of the sounds.

    Parameters
    ----------
    settings : SimulatedArraySettings
    root : Path
    classes : sequence of str
        Classes to keep, as the sounds' data set takes them.
    quality : float or None
        As the sounds' data set takes it.

    Returns
    -------
    DataFrame
        Clips table. Recording, group, label and published split of a clip are its sound's.

    Raises
    ------
    CatalogError, MetadataError
        As the sounds' data set; nothing has been simulated yet; a class that can't be a folder's name.
    """
    table = placed_clips(settings, read_sounds(settings, root, classes, quality))
    made = Path(root) / settings.folder
    if not made.is_dir():
        raise MetadataError(f"{made}: missing_file: nothing is simulated yet; run `python -m pipelines simulate CATALOG --data {root}` first")
    return table[list(COLUMNS)]


def read_sounds(settings: SimulatedArraySettings, root: Path, classes: Sequence[str], quality: float | None) -> pd.DataFrame:
    """Read the clips table of the sounds themselves, with paths relative to the root of the simulation.

    Parameters
    ----------
    settings, root, classes, quality
        As for `read_clips`.
    """
    from audiodata.datasets import read_clips as read_any  # the registry, of which this module is a part

    table = read_any(settings.sounds, Path(root) / settings.sounds_folder, classes=tuple(classes), quality=quality)
    below = f"{settings.sounds_folder}/"
    more = ["|".join(below + path for path in paths.split("|")) if paths else "" for paths in table["more_paths"]]
    return table.assign(path=below + table["path"], more_paths=pd.Series(more, index=table.index, dtype=table["more_paths"].dtype))


def azimuths_of(settings: SimulatedArraySettings, clip_id: str) -> list[float]:
    """Azimuths at which a sound is placed, ascending: they depend on the seed and the sound's id, not on other sounds or their order.

    Parameters
    ----------
    settings : SimulatedArraySettings
    clip_id : str
        Of the sound.
    """
    azimuths = settings.azimuths()
    if settings.per_sound is None:
        return list(azimuths)
    drawn = sorted(azimuths, key=lambda azimuth: unit_hash(settings.seed, "azimuth", clip_id, f"{azimuth:g}"))
    return sorted(drawn[: settings.per_sound])


def placements(settings: SimulatedArraySettings, sounds: pd.DataFrame) -> list[Placement]:
    """Place every sound that is a candidate; one that is left out stays a single row without azimuth."""
    return [
        Placement(row, azimuth)
        for row, (clip_id, reason) in enumerate(zip(sounds["clip_id"], sounds["reason"], strict=True))
        for azimuth in ([float("nan")] if reason else azimuths_of(settings, clip_id))
    ]


def placed_clips(settings: SimulatedArraySettings, sounds: pd.DataFrame) -> pd.DataFrame:
    """Make the clips table of the simulation.

    Parameters
    ----------
    settings : SimulatedArraySettings
    sounds : DataFrame
        Of `read_sounds`.

    Returns
    -------
    DataFrame
        Clips table, with one more column: ``source_id``, the sound's ``clip_id``.
    """
    _check_classes(sounds)
    placed = placements(settings, sounds)
    kept = sounds.take([one.row for one in placed]).reset_index(drop=True)
    azimuths = [one.azimuth_deg for one in placed]
    sources = zip(kept["clip_id"], kept["label"], kept["path"], azimuths, strict=True)
    names = [(clip_id, path) if azimuth != azimuth else _placed(settings, clip_id, label, azimuth) for clip_id, label, path, azimuth in sources]
    same = ("recording_id", "group_id", "start_s", "label", "labels", "published", "reason")
    table = clips_table({
        "clip_id": [clip_id for clip_id, _ in names],
        "path": [path for _, path in names],
        "azimuth_deg": azimuths,
        **{name: kept[name] for name in same},
    })
    return table.assign(source_id=kept["clip_id"])


def _placed(settings: SimulatedArraySettings, clip_id: str, label: str, azimuth: float) -> tuple[str, str]:
    """Name a placed sound, and its file: an id is a label, so the file's name is made of its letters and its hash."""
    stem = posixpath.splitext(posixpath.basename(clip_id))[0]
    slug = _SLUG.sub("-", stem)[:_SLUG_LENGTH].strip("-")
    name = f"{slug}-{hash_bytes(clip_id.encode())[:_ID_LENGTH]}".removeprefix("-")
    return f"{clip_id}@{azimuth:g}", f"{settings.folder}/{label}/{azimuth:g}/{name}.wav"


def _check_classes(sounds: pd.DataFrame) -> None:
    """A class becomes a folder: it must be a plain name."""
    for label in sounds.loc[(sounds["reason"] == "").to_numpy(dtype=bool), "label"].unique():
        plain = is_safe_path(label) and not set("/|") & set(label) and not label.startswith(".") and label == label.strip()
        if not plain or len(label.encode()) > _LONGEST_NAME:
            raise MetadataError(f"[dataset] sounds: the class {label!r} can't be a folder's name; rename it, or leave it out in [select]")
