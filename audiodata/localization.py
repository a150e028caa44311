"""Where a sound comes from, by calculation alone, from `gcc_phat` and the microphones' positions; nothing here is trained.

Two routes. Steered response power (DiBiase 2000): for each azimuth, the correlations of all pairs at the lags that the azimuth would cause, summed;
what comes from there adds up in all of them. And least squares (Knapp & Carter 1976): the lag of each pair's highest peak, and the azimuth whose lags
come nearest to them.

What real recordings ask for. The phase transform takes the level out of every frame and every frequency: noise in a pause, hum and the
uppermost frequencies count like speech. So limit `gcc_phat` to the band that the sounds are in (300 to 4000 Hz for talkers) and weight frames
by `frame_weights`. Of several sounds in turn the mean power shows the most persistent ones only, and peaks of two melt into one;
`azimuth_counts` over the frames tells them apart.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from audiodata.errors import FeatureError
from audiodata.geometry import SPEED_OF_SOUND_M_S, circular_error_deg, pair_lags, pairs, wrapped_azimuth_deg

Between = Literal["linear", "sinc"]
Positions = Sequence[Sequence[float]] | np.ndarray


def steering_weights(lags_of_azimuths: np.ndarray, lags: np.ndarray, between: Between = "linear") -> np.ndarray:
    """Weights that read correlations at the lags of each azimuth.

    Parameters
    ----------
    lags_of_azimuths : float64 [azimuth, pair]
        In samples.
    lags : float64 [lag]
        Of the correlations' last axis, evenly spaced, in samples.
    between : str
        How correlations go on between neighbouring lags: ``"linear"``, good where there are 4 or more a sample; ``"sinc"`` takes them for what
        they are, a signal without frequencies above half the sample rate (Shannon), which whole lags determine as far as they reach.

    Returns
    -------
    float64 [pair, lag, azimuth]

    Raises
    ------
    FeatureError
        A lag is beyond those there are.
    """
    lags_of_azimuths, lags = np.asarray(lags_of_azimuths, np.float64), np.asarray(lags, np.float64)
    farthest, reach = np.abs(lags_of_azimuths).max(), np.abs(lags).max()
    if farthest > reach:
        raise FeatureError(
            f"the microphones are up to {farthest:.2f} samples of lag apart, but the correlations end at {reach:g}; raise max_lag of gcc_phat"
        )
    distance = lags_of_azimuths.T[:, np.newaxis, :] - lags[:, np.newaxis]
    step = lags[1] - lags[0]
    return np.maximum(0.0, 1.0 - np.abs(distance) / step) if between == "linear" else step * np.sinc(distance)


def srp_phat(
    gcc: np.ndarray,
    lags: np.ndarray,
    positions_m: Positions,
    sample_rate: int,
    azimuths_deg: np.ndarray,
    elevation_deg: float | Sequence[float] = 0.0,
    *,
    distance_m: float | None = None,
    speed_m_s: float = SPEED_OF_SOUND_M_S,
    between: Between = "linear",
) -> np.ndarray:
    """Steered response power with the phase transform (DiBiase 2000, section 6.3).

    Parameters
    ----------
    gcc : float [pair, frame, lag]
        As `audiodata.features.spatial.gcc_phat` gives it.
    lags : float [lag]
        As `audiodata.features.spatial.lags` gives them.
    positions_m : array [channel, 3]
    sample_rate : int
        In Hz.
    azimuths_deg : float [azimuth]
        Where to look.
    elevation_deg : float or sequence of float
        How high; of several the one with the greatest power counts, frame by frame and azimuth by azimuth.
    distance_m : float, optional
        How far; default: beyond all distances, a plane wave.
    speed_m_s : float
        Of sound.
    between : str
        See `steering_weights`.

    Returns
    -------
    float64 [frame, azimuth]
        Sum over the pairs: their number where all of it comes from there.

    Raises
    ------
    FeatureError
        Positions, pairs and lags don't belong together.
    """
    gcc = _checked(gcc, lags, positions_m)
    power = np.full((gcc.shape[1], len(azimuths_deg)), -np.inf)
    for elevation in np.atleast_1d(elevation_deg):
        expected = pair_lags(positions_m, azimuths_deg, sample_rate, elevation, distance_m=distance_m, speed_m_s=speed_m_s)
        weights = steering_weights(expected, lags, between)
        np.maximum(power, np.tensordot(gcc, weights, axes=([0, 2], [0, 1])), out=power)
    return power


def argmax_azimuth_deg(
    gcc: np.ndarray,
    lags: np.ndarray,
    positions_m: Positions,
    sample_rate: int,
    azimuths_deg: np.ndarray,
    elevation_deg: float = 0.0,
    *,
    weights: np.ndarray | None = None,
    distance_m: float | None = None,
    speed_m_s: float = SPEED_OF_SOUND_M_S,
) -> float:
    """Azimuth whose lags come nearest to those of the pairs' peaks, by least squares.

    Peaks are looked for among the lags that the array allows, on the mean over the frames, and refined by a parabola through their neighbours.

    Parameters
    ----------
    gcc, lags, positions_m, sample_rate, azimuths_deg, elevation_deg, distance_m, speed_m_s
        As for `srp_phat`.
    weights : float [frame], optional
        Of the frames; default: all alike.

    Returns
    -------
    float
        One of `azimuths_deg`.

    Raises
    ------
    FeatureError
        Positions, pairs and lags don't belong together.
    """
    gcc, lags = _checked(gcc, lags, positions_m), np.asarray(lags, np.float64)
    expected = pair_lags(positions_m, azimuths_deg, sample_rate, elevation_deg, distance_m=distance_m, speed_m_s=speed_m_s)
    step = lags[1] - lags[0]
    heard = np.average(gcc, axis=1, weights=weights)
    possible = np.abs(lags) <= np.abs(expected).max(axis=0)[:, np.newaxis] + step
    peaks = np.where(possible, heard, -np.inf).argmax(axis=1)
    measured = lags[0] + step * np.array([peak + _vertex(row, peak) for row, peak in zip(heard, peaks, strict=True)])
    return float(np.asarray(azimuths_deg)[np.square(expected - measured).sum(axis=1).argmin()])


def estimate_azimuth_deg(power: np.ndarray, azimuths_deg: np.ndarray, *, weights: np.ndarray | None = None, refine: bool = True) -> float:
    """Azimuth of the greatest power.

    Parameters
    ----------
    power : float [frame, azimuth]
        As `srp_phat` gives it.
    azimuths_deg : float [azimuth]
        Evenly spaced; ascending.
    weights : float [frame], optional
        Of the frames; default: all alike.
    refine : bool
        Whether to look between the azimuths, by a parabola through the greatest power and its neighbours.

    Returns
    -------
    float
        In [0, 360).
    """
    azimuths = np.asarray(azimuths_deg, np.float64)
    mean = np.average(power, axis=0, weights=weights)
    best = int(mean.argmax())
    step = azimuths[1] - azimuths[0] if azimuths.size > 1 else 0.0
    around = np.isclose(step * azimuths.size, 360.0)
    offset = _vertex(np.roll(mean, 1 - best), 1) if refine and around else _vertex(mean, best) if refine else 0.0
    return float(wrapped_azimuth_deg(azimuths[best] + step * offset))


def azimuth_counts(power: np.ndarray, azimuths_deg: np.ndarray, *, weights: np.ndarray | None = None, within_deg: float = 10.0) -> np.ndarray:
    """In how many frames the greatest power is at or near each azimuth.

    Parameters
    ----------
    power, azimuths_deg, weights
        As for `estimate_azimuth_deg`.
    within_deg : float
        What is near.

    Returns
    -------
    float64 [azimuth]
        Sums of weights.
    """
    azimuths = np.asarray(azimuths_deg, np.float64)
    best = np.bincount(power.argmax(axis=1), weights=weights, minlength=azimuths.size)
    return (circular_error_deg(azimuths[:, np.newaxis], azimuths) <= within_deg) @ best


def strongest_azimuths_deg(values: np.ndarray, azimuths_deg: np.ndarray, count: int, *, apart_deg: float = 30.0) -> list[float]:
    """Azimuths of the greatest values, each at least so far from those before: where several sounds come from.

    Parameters
    ----------
    values : float [azimuth]
        Mean power or `azimuth_counts`.
    azimuths_deg : float [azimuth]
    count : int
        How many to return; fewer where nothing is left.
    apart_deg : float
        Smallest angle between two of them.

    Returns
    -------
    list of float
        In order of falling values.
    """
    azimuths = np.asarray(azimuths_deg, np.float64)
    found: list[float] = []
    for azimuth in azimuths[np.argsort(-np.asarray(values, np.float64), kind="stable")]:
        if len(found) < count and all(circular_error_deg(azimuth, other) >= apart_deg for other in found):
            found.append(float(azimuth))
    return found


def frame_weights(levels_db: np.ndarray, within_db: float = 30.0) -> np.ndarray:
    """Weights that take the loud frames and leave the pauses: 1 for frames within so many dB of the loudest one, else 0.

    Parameters
    ----------
    levels_db : float [channel, frame, mel]
        As `audiodata.features.spectral.log_mel` gives them, with the framing of the correlations.
    within_db : float
        How far below the loudest frame a frame may be.

    Returns
    -------
    float64 [frame]
    """
    level_db = 10 * np.log10(np.mean(10 ** (np.asarray(levels_db, np.float64) / 10), axis=(0, 2)))
    return (level_db >= level_db.max() - within_db).astype(np.float64)


def _checked(gcc: np.ndarray, lags: np.ndarray, positions_m: Positions) -> np.ndarray:
    gcc = np.asarray(gcc, np.float64)
    expected = len(pairs(len(positions_m))), len(lags)
    if gcc.ndim != 3 or (gcc.shape[0], gcc.shape[2]) != expected or len(lags) < 2:
        raise FeatureError(
            f"gcc_phat: expected [{expected[0]} pairs, frame, {expected[1]} lags] for {len(positions_m)} microphones, got {list(gcc.shape)}"
        )
    return gcc


def _vertex(values: np.ndarray, peak: int) -> float:
    """Where the parabola through a peak and its neighbours is highest, in steps from the peak; 0 at either end."""
    if not 0 < peak < len(values) - 1:
        return 0.0
    before, at, after = values[peak - 1 : peak + 2]
    curvature = before - 2 * at + after
    return float(np.clip(0.5 * (before - after) / curvature, -0.5, 0.5)) if curvature < 0 else 0.0
