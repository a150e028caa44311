"""MNIST-DVS: digits that were moved before the camera are held still.

The digits moved along a triangle wave on a screen (Serrano-Gotarredona and Linares-Barranco, "Poker-DVS and MNIST-DVS. Their history, how they were
made, and other details", Frontiers in Neuroscience 9:481, 2015). With the half periods T_x = 0.5964 s and T_y = 0.2982 s, the centre is at

    x_c(t) = 127 - round(10 |((t + 1.5 T_x) mod 2 T_x) - T_x| / T_x + 58)
    y_c(t) = 127 - round( 5 |(t mod 2 T_y) - T_y| / T_y + 58)

in the coordinates of the recording software, where time counts from the first event. Halves are rounded up, in integers.
"""

from typing import Literal

import numpy as np

from audiodata.errors import FeatureError
from audiodata.events.cropping import shift
from audiodata.events.record import Events, SensorSize

Orientation = Literal["upright", "jaer"]
SIDE = 128
CENTRE = (63, 63)
HALF_PERIOD_X_US, HALF_PERIOD_Y_US = 596_400, 298_200
AMPLITUDE_X, AMPLITUDE_Y = 10, 5
LOWEST = 58
PHASE_X_US = 894_600  # 1.5 half periods


def check_stabilisable(sensor_size: SensorSize) -> None:
    """Raise `FeatureError` for a sensor other than that of MNIST-DVS."""
    if sensor_size[:2] != (SIDE, SIDE):
        raise FeatureError(
            f'stabilise = "mnist_dvs": expected the 128 x 128 pixels of MNIST-DVS, got {sensor_size[0]} x {sensor_size[1]}; leave it at "none"'
        )


def digit_centre(t_us: np.ndarray, orientation: Orientation = "upright") -> tuple[np.ndarray, np.ndarray]:
    """Column and row of the digit's centre.

    Parameters
    ----------
    t_us : int64 [event]
        Since the recording's first event.
    orientation : str
        ``"jaer"``: x = 127 - x_raw, y = y_raw, as the equations are written. ``"upright"``: x = 127 - y_raw, y = 127 - x_raw, so that
        x_c = 127 - y_c of the equations and y_c = x_c of the equations.

    Returns
    -------
    x, y : int64 [event]
    """
    across = SIDE - 1 - LOWEST - _triangle(t_us + PHASE_X_US, HALF_PERIOD_X_US, AMPLITUDE_X)
    along = SIDE - 1 - LOWEST - _triangle(t_us, HALF_PERIOD_Y_US, AMPLITUDE_Y)
    return (across, along) if orientation == "jaer" else (SIDE - 1 - along, across)


def _triangle(t_us: np.ndarray, half_period_us: int, amplitude: int) -> np.ndarray:
    """Return the nearest integers to a wave from `amplitude` at time 0 down to 0 half a period later."""
    away = np.abs(t_us % (2 * half_period_us) - half_period_us)
    return (2 * amplitude * away + half_period_us) // (2 * half_period_us)


def stabilise(events: Events, start_us: int = 0, orientation: Orientation = "upright") -> Events:
    """Shift each event by what the digit has moved, so that its centre stays at (63, 63); drop what leaves the sensor.

    The wave goes on for as long as the events do: a recording that is repeated to fill a window is held still in its first period alone.

    Parameters
    ----------
    events : Events
        Of a sensor of 128 x 128 pixels.
    start_us : int
        Time since the recording's first event at which these events' time is 0.
    orientation : str
        That the events were read in, see `digit_centre`.

    Raises
    ------
    FeatureError
        A sensor of another size.
    """
    check_stabilisable(events.sensor_size)
    x, y = digit_centre(events.array["t"] + start_us, orientation)
    return shift(events, CENTRE[0] - x, CENTRE[1] - y, events.sensor_size)
