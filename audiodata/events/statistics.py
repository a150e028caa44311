"""What a recording's events are like: how often each address speaks, how long it is silent, and how the whole changes over time.

Made events are compared with recorded ones by these figures, so one function computes them for both.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from audiodata.errors import AudioDataError
from audiodata.events.record import MICROSECONDS_PER_SECOND, Events

QUANTILES = np.arange(1, 100) / 100
"""Shares at which `Summary` keeps a distribution: enough to draw it."""

_MEDIAN = len(QUANTILES) // 2


class Summary(NamedTuple):
    """What the events of one or several recordings are like.

    Attributes
    ----------
    recordings : int
    events, duration_s, event_rate_hz : float
        Medians over the recordings; the rate is of all addresses together.
    active_share : float
        Median over the recordings of the share of addresses with an event.
    on_share : float
        ON events among all events; NaN for a sensor with one polarity, or without events.
    rate_quantiles_hz : float64 [quantile]
        Of the addresses that are active, at `QUANTILES`, all recordings pooled; NaN without events.
    interval_quantiles_us : float64 [quantile]
        Of the intervals between events of the same address and polarity, pooled; NaN where there is none.
    rate_over_time_hz : float64 [bin]
        Mean over the recordings, each counted from its first event; shorter ones count as silent after their end.
    bin_us : int
        Length of a bin.
    """

    recordings: int
    events: float
    duration_s: float
    event_rate_hz: float
    active_share: float
    on_share: float
    rate_quantiles_hz: np.ndarray
    interval_quantiles_us: np.ndarray
    rate_over_time_hz: np.ndarray
    bin_us: int

    @property
    def rate_median_hz(self) -> float:
        """Median rate of an active address."""
        return float(self.rate_quantiles_hz[_MEDIAN])

    @property
    def interval_median_us(self) -> float:
        """Median interval between events of the same address and polarity."""
        return float(self.interval_quantiles_us[_MEDIAN])


def address_counts(events: Events) -> np.ndarray:
    """Count the events of each address, both polarities together.

    Returns
    -------
    int64 [row, column] or [channel]
    """
    columns, rows, _ = events.sensor_size
    counts = np.bincount(_addresses(events, by_polarity=False), minlength=rows * columns)
    return counts.reshape(rows, columns) if events.sense == "visual" else counts


def address_rates(events: Events, duration_us: int | None = None) -> np.ndarray:
    """Events per second of each address, both polarities together.

    Parameters
    ----------
    events : Events
    duration_us : int, optional
        What a second is counted by; without it, from the first event to the last.

    Returns
    -------
    float64 [row, column] or [channel]
        Zeros without events.
    """
    duration = events.duration_us if duration_us is None else duration_us
    return address_counts(events) * (MICROSECONDS_PER_SECOND / max(duration, 1))


def intervals_us(events: Events, by_polarity: bool = True) -> np.ndarray:
    """Intervals between events that follow each other at the same address, all addresses pooled.

    Parameters
    ----------
    events : Events
    by_polarity : bool
        Whether ON and OFF events of an address are two series or one.

    Returns
    -------
    int64 [interval]
        Ordered by address, then by time.
    """
    address = _addresses(events, by_polarity)
    order = np.argsort(address, kind="stable")
    gaps = np.diff(events.array["t"][order])
    return gaps[np.diff(address[order].astype(np.int64)) == 0]


def rate_over_time(events: Events, bin_us: int) -> np.ndarray:
    """Events per second of all addresses together, in bins that start at the first event.

    Returns
    -------
    float64 [bin]
        The last bin may reach beyond the last event; it counts as whole. Empty without events.
    """
    if bin_us < 1:
        raise AudioDataError(f"rate over time: `bin_us` = {bin_us}, expected at least 1 us")
    time = events.array["t"]
    counts = np.bincount((time - time[0]) // bin_us) if len(time) else np.zeros(0)
    return counts * (MICROSECONDS_PER_SECOND / bin_us)


def summarise(recordings: Sequence[Events], bin_us: int = 10_000) -> Summary:
    """Summarise recordings of one sensor, pooled.

    Parameters
    ----------
    recordings : sequence of Events
    bin_us : int
        Length of a bin of the rate over time.

    Raises
    ------
    AudioDataError
        No recording, or sensors of different sizes.
    """
    sizes = {events.sensor_size for events in recordings}
    if len(sizes) != 1:
        raise AudioDataError(f"event statistics: expected recordings of one sensor, got {len(recordings)} of sensors {sorted(sizes)}")
    rates = [address_rates(events).ravel() for events in recordings]
    duration_s = [events.duration_us / MICROSECONDS_PER_SECOND for events in recordings]
    counts = [len(events.array) for events in recordings]
    return Summary(
        recordings=len(recordings),
        events=float(np.median(counts)),
        duration_s=float(np.median(duration_s)),
        event_rate_hz=float(np.median([rate.sum() for rate in rates])),
        active_share=float(np.median([np.mean(rate > 0) for rate in rates])),
        on_share=_on_share(recordings),
        rate_quantiles_hz=_quantiles(np.concatenate([rate[rate > 0] for rate in rates])),
        interval_quantiles_us=_quantiles(np.concatenate([intervals_us(events) for events in recordings])),
        rate_over_time_hz=_mean_rate([rate_over_time(events, bin_us) for events in recordings]),
        bin_us=bin_us,
    )


def _addresses(events: Events, by_polarity: bool) -> np.ndarray:
    """Return one number for each address (and polarity), in the smallest type, which is what a stable sort is fast for."""
    columns, rows, polarities = events.sensor_size
    address = events.array["x"].astype(np.int64)
    if events.sense == "visual":
        address += events.array["y"].astype(np.int64) * columns
    if by_polarity:
        address = address * polarities + events.array["p"]
    return address.astype(np.min_scalar_type(columns * rows * polarities))


def _on_share(recordings: Sequence[Events]) -> float:
    count = sum(len(events.array) for events in recordings)
    if not count or recordings[0].sensor_size[2] < 2:
        return float("nan")
    return sum(int(np.count_nonzero(events.array["p"])) for events in recordings) / count


def _quantiles(values: np.ndarray) -> np.ndarray:
    return np.quantile(values, QUANTILES) if values.size else np.full(len(QUANTILES), np.nan)


def _mean_rate(rates: Sequence[np.ndarray]) -> np.ndarray:
    total = np.zeros(max(len(rate) for rate in rates))
    for rate in rates:
        total[: len(rate)] += rate
    return total / len(rates)
