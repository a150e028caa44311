"""Where microphones are, where sound comes from, and what that does to arrival times.

Coordinates are in metres: x to the front, y to the left, z up. Azimuth counts from the front counter-clockwise seen from above (90 is
left), elevation from the horizontal plane upwards. A pair's lag is positive where its first microphone hears later.
"""

from collections.abc import Sequence
from itertools import combinations

import numpy as np

SPEED_OF_SOUND_M_S = 343.0  # in air of 20 degrees Celsius


def pairs(channels: int) -> list[tuple[int, int]]:
    """All pairs of channels, in the order of every feature with a pair axis.

    Examples
    --------
    >>> pairs(3)
    [(0, 1), (0, 2), (1, 2)]
    """
    return list(combinations(range(channels), 2))


def wrapped_azimuth_deg(azimuth_deg: float | np.ndarray) -> float | np.ndarray:
    """Bring azimuths into [0, 360).

    Examples
    --------
    >>> wrapped_azimuth_deg(-90.0), wrapped_azimuth_deg(360.0)
    (270.0, 0.0)
    """
    wrapped = np.mod(azimuth_deg, 360.0)  # of -1e-20 that is 360.0
    return np.where(wrapped == 360.0, 0.0, wrapped)[()]


def circular_error_deg(azimuth_deg: float | np.ndarray, other_deg: float | np.ndarray) -> float | np.ndarray:
    """Smallest angle between two azimuths, 0 to 180 degrees.

    Examples
    --------
    >>> circular_error_deg(359.0, 1.0)
    2.0
    """
    return (180.0 - np.abs(np.mod(np.subtract(azimuth_deg, other_deg), 360.0) - 180.0))[()]


def direction(azimuth_deg: float | np.ndarray, elevation_deg: float | np.ndarray = 0.0) -> np.ndarray:
    """Unit vectors from the array towards the source, float64 [..., 3]."""
    azimuth, elevation = np.broadcast_arrays(np.radians(azimuth_deg), np.radians(elevation_deg))
    return np.stack([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)], axis=-1)


def arrival_times_s(
    positions_m: Sequence[Sequence[float]] | np.ndarray,
    azimuth_deg: float | np.ndarray,
    elevation_deg: float | np.ndarray = 0.0,
    *,
    distance_m: float | None = None,
    speed_m_s: float = SPEED_OF_SOUND_M_S,
) -> np.ndarray:
    """When a sound reaches each microphone, relative to the array's origin.

    Parameters
    ----------
    positions_m : array [channel, 3]
    azimuth_deg, elevation_deg : float or array [...]
        Of the source, seen from the origin.
    distance_m : float, optional
        Of the source from the origin; default: so far away that the wave is plane.
    speed_m_s : float
        Of sound.

    Returns
    -------
    float64 [..., channel]
        Seconds; negative where a microphone is nearer to the source than the origin.
    """
    positions = np.asarray(positions_m, dtype=np.float64)
    towards = direction(azimuth_deg, elevation_deg)
    if distance_m is None:
        return -(towards @ positions.T) / speed_m_s
    way = np.linalg.norm(distance_m * towards[..., np.newaxis, :] - positions, axis=-1)
    return (way - distance_m) / speed_m_s


def pair_lags(
    positions_m: Sequence[Sequence[float]] | np.ndarray,
    azimuth_deg: float | np.ndarray,
    sample_rate: int,
    elevation_deg: float | np.ndarray = 0.0,
    *,
    distance_m: float | None = None,
    speed_m_s: float = SPEED_OF_SOUND_M_S,
) -> np.ndarray:
    """Lag of each pair in samples, where `gcc_phat` of a free field has its peak.

    Parameters
    ----------
    positions_m, azimuth_deg, elevation_deg, distance_m, speed_m_s
        As for `arrival_times_s`.
    sample_rate : int
        In Hz.

    Returns
    -------
    float64 [..., pair]
        Positive where the pair's first microphone hears later.

    Examples
    --------
    >>> two = [[0, 0.1, 0], [0, -0.1, 0]]  # the first one on the left
    >>> bool(pair_lags(two, 90.0, 16000)[0] < 0)  # so it hears a sound from the left earlier
    True
    """
    times = arrival_times_s(positions_m, azimuth_deg, elevation_deg, distance_m=distance_m, speed_m_s=speed_m_s)
    first, second = np.array(pairs(len(positions_m))).reshape(-1, 2).T
    return (times[..., first] - times[..., second]) * sample_rate
