"""A source in free field: to each microphone its own way, its own delay and its own level."""

from collections.abc import Sequence

import numpy as np

from audiodata.geometry import arrival_times_s
from audiodata.simulation.delays import Responses, delayed_impulses


def free_field_responses(
    positions_m: Sequence[Sequence[float]] | np.ndarray,
    azimuth_deg: float,
    elevation_deg: float,
    distance_m: float,
    sample_rate: int,
    speed_m_s: float,
) -> Responses:
    """Impulse responses of a point source: delay r / c and level 1 / r, r being its way to each microphone.

    Parameters
    ----------
    positions_m : array [channel, 3]
        Of the microphones.
    azimuth_deg, elevation_deg, distance_m : float
        Of the source from the origin.
    sample_rate : int
        In Hz.
    speed_m_s : float
        Of sound.

    Returns
    -------
    Responses
        Level 1 is that at 1 m.
    """
    later_s = arrival_times_s(positions_m, azimuth_deg, elevation_deg, distance_m=distance_m, speed_m_s=speed_m_s)
    ways_m = distance_m + later_s * speed_m_s
    longest_m = distance_m + np.linalg.norm(positions_m, axis=1).max()  # from any azimuth: a file's length must not tell it
    return delayed_impulses(ways_m / speed_m_s * sample_rate, 1 / ways_m, longest_m / speed_m_s * sample_rate)
