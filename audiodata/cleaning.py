"""Measurements of a decoded clip and the verdict on it: length, silence, clipping, DC offset, bandwidth, duplicates."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, Protocol

import numpy as np
import scipy
from numba import njit
from pydantic import Field

from audiodata.fingerprint import hash_arrays
from audiodata.records import Inspection
from audiodata.settings import Settings
from audiodata.timing import samples_to_seconds

SILENCE_DB = -200.0
"""Stands for minus infinity, which JSON has no number for."""

_STEP = 2.0**-15  # one step of 16-bit audio
_CLIP_FLOOR = 0.5  # a ceiling below half of full scale is not counted as clipping
_BLOCK = 1024  # samples in a spectrum
_SPECTRA = 64  # at most; the loudest blocks of the clip
_OUT_OF_BAND = 1e-6  # share of the energy (-60 dB) that may lie above the bandwidth


class Thresholds(Protocol):
    """What `verdict` compares with: the catalog's [clean] table.

    Attributes
    ----------
    min_duration_s, duration_tolerance_s : float
        Shortest clip, and by how much a clip may be shorter than its table says.
    max_duration_s : float or None
        Longest clip; None: no limit.
    min_level_db : float
        RMS in dB re full scale.
    max_clipped_share : float
        Share of the samples.
    max_dc_offset : float
        Share of full scale.
    min_bandwidth_hz : float or None
        None: not looked at.
    """

    min_duration_s: float
    max_duration_s: float | None
    duration_tolerance_s: float
    min_level_db: float
    max_clipped_share: float
    max_dc_offset: float
    min_bandwidth_hz: float | None


class CleanSettings(Settings):
    """The catalog's ``[clean]``: `Thresholds` on the clip as decoded; levels are dB re full scale, shares are of all samples."""

    min_duration_s: float = Field(default=0.0, ge=0)
    max_duration_s: float | None = Field(default=None, gt=0)
    duration_tolerance_s: float = Field(default=0.1, ge=0)
    min_level_db: float = -80.0
    max_clipped_share: float = Field(default=0.1, ge=0.0, le=1.0)
    max_dc_offset: float = Field(default=0.2, ge=0.0, le=1.0)
    min_bandwidth_hz: float | None = Field(default=None, ge=0)
    duplicates: Literal["drop", "keep"] = "drop"


@dataclass(frozen=True)
class Measurements:
    """What `measure` found.

    Attributes
    ----------
    duration_s : float
        Seconds.
    level_db : float
        RMS over all channels without their DC, in dB re full scale 1.0 (a full-scale sine has -3.01); `SILENCE_DB` for
        silence.
    peak_db : float
        Greatest magnitude, in dB re full scale; `SILENCE_DB` for silence.
    clipped_share : float
        Share of the samples that sit at a ceiling, see `measure`.
    dc_offset : float
        Mean as a share of full scale, of the channel where it is furthest from zero.
    bandwidth_hz : float
        Frequency above which next to nothing lies, see `measure`; 0 for silence.
    finite : bool
        No sample is NaN or infinite. Where one is, the rest is measured with 0 in its place.
    content_sha256 : str
        Of sample rate, shape and samples: equal for clips that decode to the same.
    """

    duration_s: float
    level_db: float
    peak_db: float
    clipped_share: float
    dc_offset: float
    bandwidth_hz: float
    finite: bool
    content_sha256: str


def measure(waveform: np.ndarray, sample_rate: int) -> Measurements:
    """Measure a clip as it was decoded, before any resampling.

    A sample counts as *clipped* in a run of at least three at the ceiling of its channel. The ceiling is the channel's
    highest value or, where it reaches full scale, everything from the highest 16-bit value on; the lowest likewise. One
    below half of full scale is no ceiling, and neither is a constant. A full-scale sine sits on its highest 16-bit
    value for 0.6 % of its samples, and not for three in a row unless it is slower than 1/600 of the sample rate.

    The *bandwidth* is the frequency above which a millionth (-60 dB) of the energy lies, in the mean spectrum of the 64
    loudest blocks of 1024 samples, so that a short event is not missed, less twice what rounding to 16 bits adds, so
    that the noise floor does not pass for content. A larger share would confound clips that were upsampled with clips
    that rumble: real recordings of rain and helicopters can have less than a thousandth of their energy above 2.5 kHz.

    Parameters
    ----------
    waveform : numpy.ndarray
        float32 [channel, sample], full scale 1.0.
    sample_rate : int
        In Hz.
    """
    sha256 = hash_arrays([("sample_rate", np.array([sample_rate], dtype=np.int64)), ("waveform", waveform)])
    samples = waveform.shape[1]
    if samples == 0:
        return Measurements(0.0, SILENCE_DB, SILENCE_DB, 0.0, 0.0, 0.0, True, sha256)
    sums, energies = _scan_channels(waveform)
    finite = bool(np.isfinite(energies).all())
    if not finite:
        waveform = np.where(np.isfinite(waveform), waveform, np.float32(0.0))
        sums, energies = _scan_channels(waveform)
    means = sums / samples
    lows, highs = waveform.min(axis=1), waveform.max(axis=1)
    return Measurements(
        duration_s=samples_to_seconds(samples, sample_rate),
        level_db=_decibels(float(np.mean(np.maximum(energies.sum(axis=1) / samples - means**2, 0.0)))),
        peak_db=_decibels(float(max(highs.max(), -lows.min())) ** 2),
        clipped_share=round(_clipped(waveform, lows, highs) / waveform.size, 6),
        dc_offset=round(float(means[np.argmax(np.abs(means))]), 6) + 0.0,  # never -0.0
        bandwidth_hz=_bandwidth(waveform, means, energies.sum(axis=0), sample_rate),
        finite=finite,
        content_sha256=sha256,
    )


def verdict(
    measurements: Measurements, thresholds: Thresholds, expected_duration_s: float | None = None
) -> tuple[str, str]:
    """Judge a clip; the first reason that holds is given.

    Parameters
    ----------
    measurements : Measurements
        From `measure`.
    thresholds : Thresholds
        The catalog's [clean] table, or any object with its attributes.
    expected_duration_s : float, optional
        What the clips table says; None or NaN where it does not know. A longer clip is fine.

    Returns
    -------
    tuple of (str, str)
        Reason, a key of `audiodata.reasons.REASONS`, and the measured value against its threshold; two empty texts for
        a clip that is fine.
    """
    for judge in (_judge_samples, _judge_length, _judge_sound):
        found = judge(measurements, thresholds, math.nan if expected_duration_s is None else expected_duration_s)
        if found:
            return found
    return "", ""


def judge_clip(found: Inspection, duration_s: float | None, clean: Thresholds, channels: int | None) -> tuple[str, str, str]:
    """Decide on one clip by itself.

    Parameters
    ----------
    found : Inspection
    duration_s : float or None
        Expected duration; None or NaN = not known.
    clean : settings
        The catalog's ``[clean]`` table.
    channels : int or None
        The catalog's ``channels``.

    Returns
    -------
    tuple of str
        Status, reason, detail.
    """
    if found.reason:
        return "failed", found.reason, found.detail
    if found.shape:  # images are not cleaned, and of events the duration counts
        reason, detail = judge_duration(found.samples / found.sample_rate, clean) if found.sample_rate else ("", "")
        return ("rejected" if reason else "ok"), reason, detail
    if channels not in (None, 1, found.channels):
        return "rejected", "wrong_channels", f"{found.channels} channels where [audio] channels = {channels}"
    measured = Measurements(**found.measured, content_sha256=found.content_sha256)
    reason, detail = verdict(measured, clean, None if duration_s is None or math.isnan(duration_s) else duration_s)
    return ("rejected" if reason else "ok"), reason, detail


def duplicates(rows: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Find the clips that decode to the same samples as another.

    Parameters
    ----------
    rows : iterable of (str, str)
        ``clip_id`` and ``content_sha256`` of every clip of the table; clips without a hash are left out of it.

    Returns
    -------
    dict of str to str
        From each clip to reject, in ascending order, to the one that stays: of equal ones the smallest clip_id.
    """
    keepers: dict[str, str] = {}
    rejected = {}
    for clip_id, content in sorted(rows):
        if content and keepers.setdefault(content, clip_id) != clip_id:
            rejected[clip_id] = keepers[content]
    return rejected


def _judge_samples(found: Measurements, thresholds: Thresholds, expected_s: float) -> tuple[str, str] | None:
    if not found.finite:
        return "not_finite", "holds NaN or infinite samples"
    if found.duration_s <= 0:
        return "empty", "has no samples"
    return None


def judge_duration(duration_s: float, thresholds: Thresholds) -> tuple[str, str]:
    """Reason and detail for a duration outside the catalog's bounds, else two empty texts."""
    least, most = thresholds.min_duration_s, thresholds.max_duration_s
    if duration_s < least:
        return "too_short", f"duration {duration_s:.3f} s is under min_duration_s = {least} s"
    if most is not None and duration_s > most:
        return "too_long", f"duration {duration_s:.3f} s is over max_duration_s = {most} s"
    return "", ""


def _judge_length(found: Measurements, thresholds: Thresholds, expected_s: float) -> tuple[str, str] | None:
    tolerance = thresholds.duration_tolerance_s
    reason, detail = judge_duration(found.duration_s, thresholds)
    if not reason and found.duration_s < expected_s - tolerance:  # false where the expected duration is NaN
        expected = f"the expected {expected_s:.3f} s by more than duration_tolerance_s = {tolerance} s"
        return "too_short", f"duration {found.duration_s:.3f} s is under {expected}"
    return (reason, detail) if reason else None


def _judge_sound(found: Measurements, thresholds: Thresholds, expected_s: float) -> tuple[str, str] | None:
    level, share, offset, width = found.level_db, found.clipped_share, found.dc_offset, found.bandwidth_hz
    if level < thresholds.min_level_db:
        return "silent", f"level {level:.1f} dB is under min_level_db = {thresholds.min_level_db} dB"
    if share > thresholds.max_clipped_share:
        return "clipped", f"clipped share {share:.4f} is over max_clipped_share = {thresholds.max_clipped_share}"
    if abs(offset) > thresholds.max_dc_offset:
        return "dc_offset", f"DC offset {offset:+.4f} of full scale is over max_dc_offset = {thresholds.max_dc_offset}"
    if thresholds.min_bandwidth_hz is not None and width < thresholds.min_bandwidth_hz:
        return "narrow_band", f"bandwidth {width:.0f} Hz is under min_bandwidth_hz = {thresholds.min_bandwidth_hz} Hz"
    return None


def _decibels(power: float) -> float:
    """Level of a power re 1.0, to the thousandth of a dB, which is the same on every machine."""
    return max(round(10.0 * math.log10(power), 3), SILENCE_DB) if power > 0 else SILENCE_DB


def _scan_channels(waveform: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sum of each channel, and the energy of its blocks [channel, block], in float64; the last block may be short."""
    blocks = -(-waveform.shape[1] // _BLOCK)
    sums, energies = np.zeros(len(waveform)), np.zeros((len(waveform), blocks))
    for channel, row in enumerate(waveform):
        sums[channel] = _scan(row, energies[channel])
    return sums, energies


@njit(cache=True)
def _scan(row: np.ndarray, energies: np.ndarray) -> float:
    """Fill in the energy of each block of a channel and return the sum of its samples.

    In order and in float64, so that the result is the same on every machine.
    """
    total = 0.0
    for block in range(len(energies)):
        energy = 0.0
        for sample in row[block * _BLOCK : (block + 1) * _BLOCK]:
            value = np.float64(sample)
            total += value
            energy += value * value
        energies[block] = energy
    return total


def _clipped(waveform: np.ndarray, lows: np.ndarray, highs: np.ndarray) -> int:
    """Count the samples in runs at the ceiling or the floor of their channel."""
    clipped, full_scale = 0, np.float32(1.0 - _STEP)
    for row, low, high in zip(waveform, lows, highs, strict=True):
        if high >= _CLIP_FLOOR and high > low:
            clipped += _in_runs(row >= min(high, full_scale))
        if low <= -_CLIP_FLOOR and high > low:
            clipped += _in_runs(row <= max(low, -full_scale))
    return clipped


def _in_runs(there: np.ndarray) -> int:
    """Count the true values that stand three or more in a row."""
    if np.count_nonzero(there) < 3:
        return 0
    triples = there[:-2] & there[1:-1] & there[2:]
    inside = np.zeros_like(there)
    for shift in range(3):
        inside[shift : shift + len(triples)] |= triples
    return int(np.count_nonzero(inside))


def _bandwidth(waveform: np.ndarray, means: np.ndarray, energies: np.ndarray, sample_rate: int) -> float:
    channels, samples = waveform.shape
    size = min(_BLOCK, samples)
    whole = samples // size
    chosen, window = _loudest(energies[:whole]), _hann(size)
    blocks = np.empty((channels * len(chosen), size), np.float32)
    _fill_blocks(waveform, means.astype(np.float32), chosen, window, blocks)
    power = _mean_power(scipy.fft.rfft(blocks, axis=-1, workers=1, overwrite_x=True))
    rounding = _STEP**2 / 12.0 * float(np.sum(np.square(window, dtype=np.float64)))
    above = np.cumsum(np.maximum(power - 2.0 * rounding, 0.0)[::-1])[::-1]  # energy from each frequency on
    in_band = np.flatnonzero(above > _OUT_OF_BAND * above[0])
    return round(float(in_band[-1]) * sample_rate / size, 3) if len(in_band) else 0.0


@njit(cache=True)
def _fill_blocks(waveform: np.ndarray, means: np.ndarray, chosen: np.ndarray, window: np.ndarray, blocks: np.ndarray) -> None:
    """Write the chosen blocks of each channel without its mean, under the window: float32 [channel * block, sample]."""
    size = window.size
    for channel in range(len(waveform)):
        for place in range(len(chosen)):
            source = waveform[channel, chosen[place] * size : (chosen[place] + 1) * size]
            target = blocks[channel * len(chosen) + place]
            for point in range(size):
                target[point] = (source[point] - means[channel]) * window[point]


@njit(cache=True)
def _mean_power(spectra: np.ndarray) -> np.ndarray:
    """Mean of the squared magnitudes, summed in order and in float64 [bin]."""
    power = np.zeros(spectra.shape[1])
    for row in range(len(spectra)):
        values = spectra[row]
        for number in range(power.size):
            value = values[number]
            power[number] += np.float64(value.real * value.real + value.imag * value.imag)
    return power / len(spectra)


def _loudest(energies: np.ndarray) -> np.ndarray:
    """Numbers of the loudest blocks, ascending; the earlier one of equals."""
    return np.sort(np.argsort(-energies, kind="stable")[:_SPECTRA])


@lru_cache(maxsize=8)
def _hann(size: int) -> np.ndarray:
    """Periodic Hann window: what leaks from a tone is under -60 dB from the seventh bin on."""
    return (0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(size) / size)).astype(np.float32)
