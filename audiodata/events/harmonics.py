"""The flicker of a screen, taken out of the times of events.

Recordings of a screen carry its refresh rate (75 Hz in MNIST-DVS). The published remedy gives up the measured times: the events keep their order
and their addresses, and get the times of a noisy clock of the same mean rate. So every other modulation of the rate goes as well, and there is no
frequency to set.
"""

import numpy as np

from audiodata.events.record import Events

SPREAD = 2.0  # standard deviation of an interval, in mean intervals


def remove_harmonics(events: Events, generator: np.random.Generator) -> Events:
    """Replace the times by a sorted noisy sum of equal intervals.

    With n events from t_1 to t_n and the mean interval m = (t_n - t_1) / (n - 1), the new times are the sums of intervals m (1 + 2 z), z standard
    normal, sorted, stretched to begin at t_1 and to end at t_n, and rounded to microseconds.

    Parameters
    ----------
    events : Events
    generator : numpy.random.Generator

    Returns
    -------
    Events
        As many, in the same order; fewer than three events are returned as they are.
    """
    t = events.array["t"]
    if len(t) < 3:
        return events
    array = events.array.copy()
    walk = np.sort(np.cumsum(1 + SPREAD * generator.standard_normal(len(t))))
    share = (walk - walk[0]) / (walk[-1] - walk[0])
    array["t"] = t[0] + np.rint(share * (t[-1] - t[0])).astype(np.int64)
    return Events(array, events.sensor_size)
