"""A scene: where the microphones are, and what lies between them and the source."""

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from pydantic import Field, model_validator

from audiodata.errors import CatalogError, MetadataError
from audiodata.fingerprint import hash_file
from audiodata.geometry import SPEED_OF_SOUND_M_S
from audiodata.rooms import Position, RoomSettings
from audiodata.settings import Settings, validated
from audiodata.simulation.delays import Responses
from audiodata.simulation.free_field import free_field_responses
from audiodata.simulation.rendering import add_sensor_noise, convolve, mono
from audiodata.simulation.room import absorption_and_order, check_places, room_responses
from audiodata.simulation.sofa import measured_responses, nearest, recalled_sofa

if TYPE_CHECKING:  # its tables would be imported by every worker
    from audiodata.datasets.simulated_array import SimulatedArraySettings

CLEARANCE_M = 0.05
"""Least distance of a source from the ball round the origin that holds all microphones."""

_RECALLED = 360  # azimuths whose responses a process keeps: 55 MB for 4 channels of 0.3 s at 16 kHz


class MeasuredScene(Settings):
    """Measured responses: the file, its hash (a changed file is another scene) and how far the nearest direction may be."""

    file: str = Field(exclude=True)  # where it lies says nothing of what it holds
    sha256: str
    tolerance_deg: float = 1.0


class Scene(Settings):
    """What decides how a sound arrives, besides its azimuth.

    Attributes
    ----------
    positions_m : tuple of (x, y, z) or None
        Microphones; None only with measured responses.
    speed_of_sound_m_s : float
    distance_m, elevation_deg : float
        Of the source.
    room : RoomSettings or None
        None: free field.
    measured : MeasuredScene or None
        Instead of both.
    snr_db : float or None
        Sensor noise; None: none.
    """

    positions_m: tuple[Position, ...] | None = None
    speed_of_sound_m_s: float = SPEED_OF_SOUND_M_S
    distance_m: float = Field(default=1.5, gt=0)
    elevation_deg: float = Field(default=0.0, ge=-90, le=90)
    room: RoomSettings | None = None
    measured: MeasuredScene | None = None
    snr_db: float | None = None

    @model_validator(mode="after")
    def _source_outside_the_array(self) -> "Scene":
        if self.measured is not None:
            return self
        if self.positions_m is None or len(self.positions_m) < 2:
            raise ValueError("a simulated array needs at least two microphones; give their places by `positions_m` in [array]")
        radius = max(float(np.linalg.norm(position)) for position in self.positions_m)
        if self.distance_m < radius + CLEARANCE_M:
            raise ValueError(f"`distance_m` = {self.distance_m:g} is not outside the array, which reaches {radius:g} m from its origin")
        return self


class Heard(NamedTuple):
    """Impulse responses of one azimuth, and how far away the source is in them."""

    responses: Responses
    distance_m: float


def scene_of(
    settings: "SimulatedArraySettings",
    root: Path,
    positions_m: tuple[Position, ...] | None,
    speed_of_sound_m_s: float = SPEED_OF_SOUND_M_S,
    where: str = "[dataset] simulated_array",
) -> Scene:
    """Make the scene that a catalog describes.

    Parameters
    ----------
    settings : SimulatedArraySettings
    root : Path
        Data root.
    positions_m, speed_of_sound_m_s
        The catalog's ``[array]``.
    where : str
        What messages begin with.

    Raises
    ------
    CatalogError
        Too few microphones, a source among them, responses with another number of receivers.
    MetadataError
        The file of responses is missing or no SOFA file.
    """
    measured = _measured(settings, Path(root))
    keys = {"positions_m": positions_m, "speed_of_sound_m_s": speed_of_sound_m_s, "snr_db": settings.snr_db, "measured": measured}
    keys |= {"distance_m": settings.distance_m, "elevation_deg": settings.elevation_deg, "room": settings.room}
    scene = validated(Scene, keys, where)
    if measured is not None and positions_m is not None:
        receivers = recalled_sofa(measured.file, measured.sha256).taps.shape[1]
        if receivers != len(positions_m):
            raise CatalogError(f"{where}: `positions_m` in [array] has {len(positions_m)} positions, {measured.file} has {receivers} receivers")
    return scene


def _measured(settings: "SimulatedArraySettings", root: Path) -> MeasuredScene | None:
    if settings.responses is None:
        return None
    file = root / settings.responses.path
    if not file.is_file():
        raise MetadataError(f"{file}: no such file; [dataset] responses names a SOFA file below the data root")
    return MeasuredScene(file=str(file), sha256=hash_file(file), tolerance_deg=settings.responses.tolerance_deg)


def check_azimuths(scene: Scene, azimuths_deg: tuple[float, ...]) -> None:
    """Find out before any work whether every azimuth can be simulated.

    Raises
    ------
    CatalogError, MetadataError, EnvironmentFault
        As `responses_at`.
    """
    if scene.measured is not None:
        for azimuth_deg in azimuths_deg:
            _direction_of(scene, scene.measured, azimuth_deg)
    elif scene.room is not None:
        for azimuth_deg in azimuths_deg:
            check_places(scene.room, scene.positions_m, azimuth_deg, scene.elevation_deg, scene.distance_m)
        absorption_and_order(scene.room, scene.speed_of_sound_m_s)


@lru_cache(maxsize=_RECALLED)
def responses_at(scene: Scene, azimuth_deg: float, sample_rate: int) -> Heard:
    """Impulse responses from one azimuth to every microphone; recalled where they have been asked for before.

    Parameters
    ----------
    scene : Scene
    azimuth_deg : float
    sample_rate : int
        In Hz.

    Raises
    ------
    CatalogError, MetadataError
        No place in the room, or no direction near it was measured.
    EnvironmentFault
        pyroomacoustics is needed and not installed.
    """
    if scene.measured is not None:
        measured = recalled_sofa(scene.measured.file, scene.measured.sha256)
        at = _direction_of(scene, scene.measured, azimuth_deg)
        return Heard(measured_responses(measured, at, sample_rate), float(measured.distances_m[at]))
    placed = (scene.positions_m, azimuth_deg, scene.elevation_deg, scene.distance_m, sample_rate, scene.speed_of_sound_m_s)
    responses = free_field_responses(*placed) if scene.room is None else room_responses(scene.room, *placed)
    return Heard(responses, scene.distance_m)


def _direction_of(scene: Scene, measured: MeasuredScene, azimuth_deg: float) -> int:
    content = recalled_sofa(measured.file, measured.sha256)
    return nearest(content, azimuth_deg, scene.elevation_deg, measured.tolerance_deg, measured.file)


def render(
    waveform: np.ndarray, sample_rate: int, azimuth_deg: float, scene: Scene, generator: np.random.Generator | None = None
) -> np.ndarray:
    """Place a mono sound at an azimuth: what the microphones record of it.

    Parameters
    ----------
    waveform : array [sample] or [1, sample]
    sample_rate : int
        In Hz.
    azimuth_deg : float
        0 front, counter-clockwise.
    scene : Scene
    generator : numpy.random.Generator, optional
        Of the sensor noise; needed where the scene has some.

    Returns
    -------
    float32 [channel, sample]
        Longer than the sound by the delay and the tail; level 1 in free field is that at 1 m, and nothing is clipped.

    Raises
    ------
    ClipError
        ``wrong_channels``: the sound is not mono.
    CatalogError, MetadataError, EnvironmentFault
        As `responses_at`.

    Examples
    --------
    >>> scene = Scene(positions_m=((0.0, 0.1, 0.0), (0.0, -0.1, 0.0)), distance_m=2.0)
    >>> render(np.ones(100), 16000, 90.0, scene).shape[0]
    2
    """
    recording = convolve(mono(waveform), responses_at(scene, float(azimuth_deg), sample_rate).responses)
    if scene.snr_db is not None:
        if generator is None:
            raise TypeError("a scene with sensor noise needs a generator")
        recording = add_sensor_noise(recording, scene.snr_db, generator)
    return recording.astype(np.float32)
