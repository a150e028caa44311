"""Noise in waveforms at a stated signal-to-noise ratio: from everywhere, from one direction, from each microphone, or recorded.

The ratio is that of mean powers over all channels and over the samples that the clip fills; noise goes over the whole segment, as a
microphone hears it also where the clip has ended. What is drawn depends on the settings' seed and the example's id alone, and not on
the ratio: the noise of an example is the same at every level.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import numpy as np
import scipy
from pydantic import Field, field_validator, model_validator

from audiodata.errors import CatalogError, MetadataError
from audiodata.fingerprint import hash_json, unit_hash
from audiodata.geometry import SPEED_OF_SOUND_M_S, arrival_times_s, wrapped_azimuth_deg
from audiodata.noise_bank import NoiseBank, suited
from audiodata.settings import Settings
from audiodata.simulation.delays import delayed_impulses
from audiodata.simulation.rendering import convolve

Positions = Sequence[Sequence[float]] | np.ndarray
SLOPE_FROM_HZ = 20.0  # coloured noise is flat below, so that its power stays finite
PLACED = ("diffuse", "directional")


class NoiseSettings(Settings):
    """Table ``[noise]`` of a catalog.

    Attributes
    ----------
    kind : str
        "white": each channel its own noise; "diffuse": from all directions alike; "directional": from one direction, in free field;
        "recorded": recordings with the array's channels.
    snr_db : float or pair of float
        Ratio of the sound's power to the noise's, in dB; of a pair, each example draws its own between the two.
    slope_db_per_octave : float
        Colour of noise that is made: 0 white, -3 pink, -6 brown.
    azimuth_deg : float, optional
        Where directional or recorded noise comes from; none: another direction than the sound's, drawn for each example.
    min_distance_deg : float
        How far a drawn direction is from the sound's, at least.
    recordings : str
        Folder or glob below the data root: what "recorded" takes; "directional" places their first channel instead of made noise.
    label : str
        Instead of `recordings`: how a label of those clips of the data set begins that are noise ("noise:" for SLoClas).
    azimuth_pattern : str
        Regular expression with a group ``azimuth``, in degrees counter-clockwise from the front, that is searched for in the path of a
        recording; empty: not known.
    channels : tuple of int
        Which channels of "recorded" files, from 0; empty: all.
    splits : tuple of str
        Splits whose examples get noise.
    seed : int
    """

    kind: Literal["white", "diffuse", "directional", "recorded"]
    snr_db: float | tuple[float, float]
    slope_db_per_octave: float = Field(default=0.0, ge=-12.0, le=12.0)
    azimuth_deg: float | None = Field(default=None, ge=0.0, lt=360.0)
    min_distance_deg: float = Field(default=30.0, ge=0.0, lt=180.0)
    recordings: str = ""
    label: str = ""
    azimuth_pattern: str = ""
    channels: tuple[int, ...] = ()
    splits: tuple[Literal["train", "val", "test"], ...] = ("train", "val", "test")
    seed: int = 0

    @field_validator("snr_db")
    @classmethod
    def _ascends(cls, value: float | tuple[float, float]) -> float | tuple[float, float]:
        if isinstance(value, tuple) and value[0] > value[1]:
            raise ValueError(f"expected [lowest, highest], got {list(value)}")
        return value

    @model_validator(mode="after")
    def _recordings_fit_kind(self) -> "NoiseSettings":
        if self.recordings and self.label:
            raise ValueError("`recordings` and `label` are two ways to name recordings of noise; leave one out")
        if self.kind == "recorded" and not self.takes_recordings:
            raise ValueError('kind = "recorded" needs `recordings`, a folder or glob below the data root, or `label`')
        if self.takes_recordings and self.kind in ("white", "diffuse"):
            raise ValueError(f'kind = "{self.kind}" is made and takes no recordings; leave them out or take "recorded" or "directional"')
        return self

    @property
    def takes_recordings(self) -> bool:
        """Whether a bank of recordings is needed."""
        return bool(self.recordings or self.label)


def draw_snr_db(settings: NoiseSettings, example_id: str) -> float:
    """Signal-to-noise ratio of an example in dB."""
    if not isinstance(settings.snr_db, tuple):
        return settings.snr_db
    low, high = settings.snr_db
    return low + (high - low) * unit_hash(settings.seed, "noise level", example_id)


def draw_azimuth_deg(settings: NoiseSettings, example_id: str, source_azimuth_deg: float | None = None) -> float:
    """Where the noise of an example comes from, [0, 360): as stated, or drawn evenly from all that is far enough from the sound."""
    if settings.azimuth_deg is not None:
        return settings.azimuth_deg
    share = unit_hash(settings.seed, "noise azimuth", example_id)
    if _unknown(source_azimuth_deg):
        return 360.0 * share
    near = settings.min_distance_deg
    return float(wrapped_azimuth_deg(source_azimuth_deg + near + (360.0 - 2 * near) * share))


def make_noise(
    settings: NoiseSettings,
    example_id: str,
    channels: int,
    samples: int,
    sample_rate: int,
    positions_m: Positions | None = None,
    source_azimuth_deg: float | None = None,
    bank: NoiseBank | None = None,
    speed_m_s: float = SPEED_OF_SOUND_M_S,
) -> np.ndarray:
    """Make the noise of one example, at a level that `mix` is to change.

    Parameters
    ----------
    settings : NoiseSettings
    example_id : str
    channels, samples : int
        Of the waveform.
    sample_rate : int
        In Hz.
    positions_m : array [channel, 3], optional
        Of the microphones; for diffuse and directional noise.
    source_azimuth_deg : float, optional
        Of the sound; None or NaN = not known.
    bank : NoiseBank, optional
        The recordings, where the settings name some.
    speed_m_s : float
        Of sound.

    Returns
    -------
    float32 [channel, sample]

    Raises
    ------
    CatalogError
        The kind needs positions or a bank that aren't given, or positions or recordings of another number of channels.
    """
    _check(settings, channels, positions_m, bank)
    generator = np.random.default_rng(int(hash_json([settings.seed, "noise", example_id]), 16))
    if settings.kind == "recorded":
        return _recorded(settings, generator, channels, samples, sample_rate, source_azimuth_deg, bank)
    if settings.kind == "directional":
        azimuth_deg = draw_azimuth_deg(settings, example_id, source_azimuth_deg)
        times_s = arrival_times_s(positions_m, azimuth_deg, speed_m_s=speed_m_s)
        return _from_one_direction(settings, generator, samples, sample_rate, times_s, bank)
    size = scipy.fft.next_fast_len(samples, real=True)
    spectra = _spectra(generator, channels, size, sample_rate, settings.slope_db_per_octave)
    if settings.kind == "diffuse":
        key = tuple(tuple(map(float, position)) for position in positions_m)
        spectra = _mixed(spectra, _diffuse_factors(key, size, sample_rate, speed_m_s))
    return _waveform(spectra, size, samples)


def mix(waveform: np.ndarray, noise: np.ndarray, snr_db: float, valid: int | None = None) -> np.ndarray:
    """Add noise at a signal-to-noise ratio.

    Parameters
    ----------
    waveform, noise : array [channel, sample]
        Of the same shape.
    snr_db : float
        Mean power of the waveform over that of the noise, over all channels and the first `valid` samples.
    valid : int, optional
        Samples that the clip fills; default: all.

    Returns
    -------
    float32 [channel, sample]
        A silent waveform stays as it is: there is no level that noise could be related to.

    Raises
    ------
    ValueError
        Shapes differ.
    MetadataError
        The noise is silent over those samples.
    """
    if waveform.shape != noise.shape:
        raise ValueError(f"waveform {waveform.shape} and noise {noise.shape} differ in shape")
    sound_power, noise_power = _power(waveform, valid), _power(noise, valid)
    if noise_power == 0.0:
        raise MetadataError("the noise is silent over the whole clip; check the recordings of noise and the channels picked from them")
    if sound_power == 0.0:
        return waveform.astype(np.float32)
    gain = np.sqrt(sound_power / noise_power * 10.0 ** (-snr_db / 10.0))
    return (waveform + gain * noise.astype(np.float64)).astype(np.float32)


def add_noise(
    settings: NoiseSettings,
    waveform: np.ndarray,
    example_id: str,
    sample_rate: int,
    *,
    valid: int | None = None,
    positions_m: Positions | None = None,
    source_azimuth_deg: float | None = None,
    bank: NoiseBank | None = None,
    speed_m_s: float = SPEED_OF_SOUND_M_S,
) -> np.ndarray:
    """Give an example the noise that the settings ask for: `make_noise`, then `mix` at the example's ratio.

    Parameters
    ----------
    settings : NoiseSettings
    waveform : float32 [channel, sample]
    example_id : str
    sample_rate, valid, positions_m, source_azimuth_deg, bank, speed_m_s
        As for `make_noise` and `mix`.

    Returns
    -------
    float32 [channel, sample]
    """
    noise = make_noise(settings, example_id, *waveform.shape, sample_rate, positions_m, source_azimuth_deg, bank, speed_m_s)
    return mix(waveform, noise, draw_snr_db(settings, example_id), valid)


def _power(waveform: np.ndarray, valid: int | None) -> float:
    return float(np.mean(np.square(waveform[:, :valid], dtype=np.float64)))


def _unknown(azimuth_deg: float | None) -> bool:
    return azimuth_deg is None or bool(np.isnan(azimuth_deg))


def _check(settings: NoiseSettings, channels: int, positions_m: Positions | None, bank: NoiseBank | None) -> None:
    if settings.kind in PLACED and positions_m is None:
        raise CatalogError(f'[noise] kind = "{settings.kind}" needs the positions of the microphones: `positions_m` in [array]')
    if settings.kind in PLACED and len(positions_m) != channels:
        raise CatalogError(f"[array] positions_m has {len(positions_m)} positions, the waveform {channels} channels")
    if settings.takes_recordings and bank is None:
        raise CatalogError("[noise] names recordings, but none were listed")


def _spectra(generator: np.random.Generator, count: int, size: int, sample_rate: int, slope_db_per_octave: float) -> np.ndarray:
    """Spectra of independent Gaussian noises of one colour, complex128 [noise, frequency], for an inverse FFT of `size` points."""
    bins = size // 2 + 1
    spectra = generator.standard_normal((count, bins)) + 1j * generator.standard_normal((count, bins))
    octaves = np.log2(np.maximum(scipy.fft.rfftfreq(size, 1 / sample_rate), SLOPE_FROM_HZ) / SLOPE_FROM_HZ)
    spectra *= np.sqrt(size) / 2 * 10.0 ** (slope_db_per_octave / 20.0 * octaves)
    spectra[:, 0] = 0.0  # no constant part
    return spectra


def _waveform(spectra: np.ndarray, size: int, samples: int) -> np.ndarray:
    return scipy.fft.irfft(spectra, size, axis=-1)[:, :samples].astype(np.float32)


def _from_one_direction(
    settings: NoiseSettings, generator: np.random.Generator, samples: int, sample_rate: int, times_s: np.ndarray, bank: NoiseBank | None
) -> np.ndarray:
    """Delay one noise to each channel's arrival time [channel]; it has begun before, so that there is no silence at its edges."""
    responses = delayed_impulses((times_s - times_s.min()) * sample_rate, np.ones(len(times_s)))
    before = responses.taps.shape[1]
    if bank is None:
        size = scipy.fft.next_fast_len(before + samples, real=True)
        mono = _waveform(_spectra(generator, 1, size, sample_rate, settings.slope_db_per_octave), size, before + samples)
    else:
        mono = bank.draw(generator, before + samples, sample_rate)
    start = before - responses.lead
    return convolve(mono[0], responses)[:, start : start + samples].astype(np.float32)


def _recorded(
    settings: NoiseSettings,
    generator: np.random.Generator,
    channels: int,
    samples: int,
    sample_rate: int,
    source_azimuth_deg: float | None,
    bank: NoiseBank,
) -> np.ndarray:
    source = None if _unknown(source_azimuth_deg) else source_azimuth_deg
    among = suited(bank.recordings, settings.azimuth_deg, source, settings.min_distance_deg)
    noise = bank.draw(generator, samples, sample_rate, among)
    picked = [channel for channel in settings.channels or range(len(noise)) if channel < len(noise)]
    if len(picked) != channels:
        raise CatalogError(f"noise recordings have {len(noise)} channels, {channels} are needed; set `channels` in [noise] to pick them")
    return noise[picked]


@lru_cache(maxsize=2)
def _diffuse_factors(positions_m: tuple[tuple[float, ...], ...], size: int, sample_rate: int, speed_m_s: float) -> np.ndarray:
    """Lower triangles [channel, channel, frequency] whose products with their transposes are the coherences of spherically isotropic noise.

    sinc(2 f d / c) between microphones at distance d; mixing independent noises by a Cholesky factor of it: Habets, Cohen and Gannot (2008,
    "Generating nonstationary multisensor signals under a spatial coherence constraint"). At frequency 0 all channels are alike, and what
    is left of the later ones is zero.
    """
    positions = np.asarray(positions_m)
    distances = np.linalg.norm(positions[:, np.newaxis] - positions, axis=-1)
    coherence = np.sinc(2.0 * distances[..., np.newaxis] * scipy.fft.rfftfreq(size, 1 / sample_rate) / speed_m_s)
    return _cholesky(coherence)


def _cholesky(matrices: np.ndarray) -> np.ndarray:
    """Cholesky factors of real, symmetric, positive semidefinite matrices [row, column, ...]; a vanishing pivot gives a column of zeros."""
    factors = np.zeros_like(matrices)
    for column in range(len(matrices)):
        left = matrices[column:, column] - np.sum(factors[column:, :column] * factors[column, :column], axis=1)
        pivot = np.sqrt(np.maximum(left[0], 0.0))
        np.divide(left, pivot, out=factors[column:, column], where=pivot > 1e-6)
    return factors


def _mixed(spectra: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Mix independent spectra [noise, frequency] channel by channel, in a fixed order of additions."""
    mixed = np.zeros_like(spectra)
    for channel, row in enumerate(factors):
        for noise in range(channel + 1):
            mixed[channel] += row[noise] * spectra[noise]
    return mixed
