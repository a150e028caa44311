"""Which polarities are kept, and in which order."""

from typing import Literal

import numpy as np

from audiodata.errors import FeatureError
from audiodata.events.record import Events

Polarity = Literal["merged", "both", "on", "off"]
OFF, ON = 0, 1
DROPPED = -1


def polarity_channels(polarity: Polarity, polarities: int) -> np.ndarray:
    """Tell where events of each polarity go.

    Parameters
    ----------
    polarity : str
        ``"merged"``: all in one channel. ``"both"``: one channel for each that the sensor has, OFF before ON. ``"on"``, ``"off"``: one of them.
    polarities : int
        Of the sensor.

    Returns
    -------
    int8 [polarity]
        Channel of each of the sensor's polarities, -1 for one that is dropped.

    Raises
    ------
    FeatureError
        ``"on"`` or ``"off"`` of a sensor that tells no polarities apart.

    Examples
    --------
    >>> polarity_channels("on", 2).tolist()
    [-1, 0]
    """
    if polarity in ("on", "off") and polarities < 2:
        raise FeatureError(f'polarity = "{polarity}": the sensor has one polarity; leave it at "merged"')
    channels = {"merged": np.zeros(polarities), "both": np.arange(polarities), "on": np.array([DROPPED, 0]), "off": np.array([0, DROPPED])}
    return channels[polarity].astype(np.int8)


def channel_count(polarity: Polarity, polarities: int) -> int:
    """Count the channels that `polarity_channels` fills."""
    return int(polarity_channels(polarity, polarities).max()) + 1


def choose_polarity(events: Events, polarity: Polarity) -> Events:
    """Merge, keep or drop polarities.

    Parameters
    ----------
    events : Events
    polarity : str
        See `polarity_channels`.

    Returns
    -------
    Events
        ``p`` is the channel.

    Raises
    ------
    FeatureError
        See `polarity_channels`.
    """
    columns, rows, polarities = events.sensor_size
    channel = polarity_channels(polarity, polarities)[events.array["p"]]
    array = events.array[channel != DROPPED]
    array["p"] = channel[channel != DROPPED]
    return Events(array, (columns, rows, channel_count(polarity, polarities)))
