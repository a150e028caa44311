"""A source in a rectangular room: its image sources, by pyroomacoustics (extra ``simulate``)."""

import contextlib
from collections.abc import Iterator, Sequence
from types import ModuleType

import numpy as np

from audiodata.errors import CatalogError, EnvironmentFault
from audiodata.geometry import direction
from audiodata.rooms import RoomSettings
from audiodata.simulation.delays import Responses

CLEARANCE_M = 0.05
"""Least distance of microphones and sources from the walls."""

# One thread: with more, the order of a sum, and with it the last bits, would depend on the machine.
_CONSTANTS = {"num_threads": 1, "frac_delay_length": 81, "sinc_lut_granularity": 20, "rir_hpf_enable": True, "rir_hpf_fc": 10.0}


def load_pyroomacoustics() -> ModuleType:
    """Import pyroomacoustics.

    Raises
    ------
    EnvironmentFault
        It is not installed.
    """
    try:
        import pyroomacoustics
    except ImportError as error:
        raise EnvironmentFault("a room needs pyroomacoustics; run: pip install 'audiodata[simulate]'") from error
    return pyroomacoustics


def room_responses(
    room: RoomSettings,
    positions_m: Sequence[Sequence[float]] | np.ndarray,
    azimuth_deg: float,
    elevation_deg: float,
    distance_m: float,
    sample_rate: int,
    speed_m_s: float,
) -> Responses:
    """Impulse responses in a room whose walls all absorb alike, by so much that its reverberation time is `room.rt60_s`.

    Parameters
    ----------
    room : RoomSettings
    positions_m : array [channel, 3]
        Of the microphones, relative to the array's origin; the array faces along x.
    azimuth_deg, elevation_deg, distance_m : float
        Of the source from the array's origin.
    sample_rate : int
        In Hz.
    speed_m_s : float
        Of sound.

    Returns
    -------
    Responses
        Level 1 is that of the direct sound at 1 m; they end `room.rt60_s` after the direct sound, from any azimuth.

    Raises
    ------
    CatalogError
        The source or a microphone is not in the room, or no absorption gives the reverberation time.
    EnvironmentFault
        pyroomacoustics is not installed.

    Notes
    -----
    Absorption by W. C. Sabine's formula inverted, 24 ln 10 V / (c S RT60); reflections up to the order at which the image sources fill
    a sphere of radius c RT60 (J. B. Allen, D. A. Berkley, 1979).
    """
    source, microphones = check_places(room, positions_m, azimuth_deg, elevation_deg, distance_m)
    absorption, order = absorption_and_order(room, speed_m_s)
    responses = image_sources(room.size_m, absorption, order, source, microphones, sample_rate, speed_m_s)
    end = responses.lead + int(np.ceil((distance_m / speed_m_s + room.rt60_s) * sample_rate))
    missing = max(0, end - responses.taps.shape[1])
    return Responses(np.pad(responses.taps[:, :end], ((0, 0), (0, missing))), responses.lead)


def check_places(
    room: RoomSettings, positions_m: Sequence[Sequence[float]] | np.ndarray, azimuth_deg: float, elevation_deg: float, distance_m: float
) -> tuple[np.ndarray, np.ndarray]:
    """Where source and microphones are in the room.

    Parameters
    ----------
    room, positions_m, azimuth_deg, elevation_deg, distance_m
        As for `room_responses`.

    Returns
    -------
    float64 [3], float64 [channel, 3]
        In the room's coordinates.

    Raises
    ------
    CatalogError
        One of them is not inside, `CLEARANCE_M` from the walls.
    """
    source = np.add(room.array_m, distance_m * direction(azimuth_deg, elevation_deg))
    microphones = np.add(room.array_m, positions_m)
    _check_inside(room, source, f"the source at azimuth {azimuth_deg:g}")
    for number, microphone in enumerate(microphones):
        _check_inside(room, microphone, f"microphone {number}")
    return source, microphones


def _check_inside(room: RoomSettings, position_m: np.ndarray, what: str) -> None:
    if all(CLEARANCE_M <= at <= size - CLEARANCE_M for at, size in zip(position_m, room.size_m, strict=True)):
        return
    at, size = (" x ".join(f"{length:.2f}" for length in lengths) for lengths in (position_m, room.size_m))
    raise CatalogError(f"[dataset] room: {what} would be at {at} m, not inside the room of {size} m; move the array or shorten `distance_m`")


def absorption_and_order(room: RoomSettings, speed_m_s: float) -> tuple[float, int]:
    """Energy absorption of the walls, and the order of reflections that is needed.

    Raises
    ------
    CatalogError
        Even walls that absorb everything leave a longer reverberation time.
    """
    try:
        absorption, order = load_pyroomacoustics().inverse_sabine(room.rt60_s, room.size_m, c=speed_m_s)
    except ValueError:
        size = " x ".join(f"{length:g}" for length in room.size_m)
        problem = f"[dataset] room: rt60_s = {room.rt60_s:g} is too short for a room of {size} m"
        raise CatalogError(f"{problem}; make it longer, or the room smaller") from None
    return float(absorption), int(order)


def image_sources(
    size_m: Sequence[float],
    absorption: float,
    order: int,
    source_m: np.ndarray,
    microphones_m: np.ndarray,
    sample_rate: int,
    speed_m_s: float,
) -> Responses:
    """Impulse responses of all image sources up to an order; order 0 is the direct sound alone.

    Parameters
    ----------
    size_m : sequence of float
        Length, width, height.
    absorption : float
        Of energy, at every wall.
    order : int
        Reflections.
    source_m : array [3]
    microphones_m : array [channel, 3]
        In the room's coordinates.
    sample_rate : int
        In Hz.
    speed_m_s : float
        Of sound.
    """
    library = load_pyroomacoustics()
    with _constants(library):
        room = library.ShoeBox(np.asarray(size_m), fs=sample_rate, materials=library.Material(absorption), max_order=order)
        room.set_sound_speed(speed_m_s)
        room.add_source(np.asarray(source_m))
        room.add_microphone_array(np.asarray(microphones_m).T)
        room.compute_rir()
    found = [channel[0] for channel in room.rir]
    taps = np.zeros((len(found), max(map(len, found))))
    for row, response in zip(taps, found, strict=True):
        row[: len(response)] = response
    return Responses(taps, _CONSTANTS["frac_delay_length"] // 2)


@contextlib.contextmanager
def _constants(library: ModuleType) -> Iterator[None]:
    """Set what shapes the numbers: these are global there, and partly taken from the environment."""
    before = {name: library.constants.get(name) for name in _CONSTANTS}
    try:
        for name, value in _CONSTANTS.items():
            library.constants.set(name, value)
        yield
    finally:
        for name, value in before.items():
            library.constants.set(name, value)
