"""How data sets count azimuths, brought to the one way of the clips table: 0 is the front, counter-clockwise, below 360."""

import math

import numpy as np
from pydantic import Field

from audiodata.datasets.tables import shown
from audiodata.geometry import wrapped_azimuth_deg
from audiodata.settings import Settings

# counted either from -180 to 180 or from 0 to 360, whose ends are one direction
LEAST_DEG, MOST_DEG = -180.0, 360.0


class AzimuthConvention(Settings):
    """Keys of ``[dataset]`` that say how its azimuths are counted.

    Attributes
    ----------
    azimuth_zero_deg : float
        Where the data set's 0 lies, counted from the front counter-clockwise: 90 where it calls the left 0.
    clockwise : bool
        Its azimuths grow clockwise, seen from above.
    """

    azimuth_zero_deg: float = Field(default=0.0, ge=-360.0, le=360.0)
    clockwise: bool = False

    def converted(self, azimuths_deg: np.ndarray) -> np.ndarray:
        """Turn the data set's azimuths into those of the clips table; NaN stays NaN.

        Examples
        --------
        >>> AzimuthConvention(clockwise=True, azimuth_zero_deg=90.0).converted(np.array([0.0, 90.0, 360.0])).tolist()
        [90.0, 0.0, 90.0]
        """
        signed = np.negative(azimuths_deg) if self.clockwise else np.asarray(azimuths_deg, dtype=np.float64)
        return np.asarray(wrapped_azimuth_deg(self.azimuth_zero_deg + signed), dtype=np.float64)


def parse_azimuth(text: str) -> float:
    """Read an azimuth in degrees, -180 to 360.

    Raises
    ------
    ValueError
        Says what is wrong, for the caller to say where.
    """
    try:
        azimuth_deg = float(text)
    except ValueError:
        azimuth_deg = math.nan
    if not math.isfinite(azimuth_deg):
        raise ValueError(f"azimuth {shown(text)} is not a number of degrees")
    if not LEAST_DEG <= azimuth_deg <= MOST_DEG:
        raise ValueError(f"azimuth {text} is outside {LEAST_DEG:g} to {MOST_DEG:g} degrees")
    return azimuth_deg
