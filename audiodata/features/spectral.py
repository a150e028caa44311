"""Mel spectrogram in dB and mel-frequency cepstral coefficients.

Both equal librosa's (McFee et al. 2015) with the same settings to 1e-3 dB: power spectrum of centred, zero-padded
frames under a periodic Hann window; triangular mel filters of unit area; 10 log10(max(P, 1e-10)); orthonormal DCT-II.
"""

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from pydantic import Field, model_validator

from audiodata.features import kernels
from audiodata.features.base import Feature, FramedConfig, as_waveform, settle
from audiodata.features.mel import FilterBank, MelScale, filter_bank
from audiodata.features.stft import Block, Framing, analyse


class MelBandsConfig(FramedConfig):
    """Settings of a feature in mel bands.

    Attributes
    ----------
    sample_rate, window_length, hop_length, n_fft
        See `audiodata.features.base.FramedConfig`.
    n_mels : int
        Number of mel bands.
    f_min_hz : float
        Lower edge of the first band.
    f_max_hz : float, optional
        Upper edge of the last band. Default: the Nyquist frequency.
    mel_scale : str
        ``"slaney"`` or ``"htk"``.
    """

    n_mels: int = Field(default=128, ge=1)
    f_min_hz: float = Field(default=0.0, ge=0)
    f_max_hz: float | None = None
    mel_scale: MelScale = "slaney"

    @model_validator(mode="after")
    def _check_band(self) -> "MelBandsConfig":
        nyquist_hz = math.inf if self.sample_rate is None else self.sample_rate / 2
        f_max_hz = nyquist_hz if self.f_max_hz is None else self.f_max_hz
        if f_max_hz > nyquist_hz:
            raise ValueError(f"f_max_hz = {f_max_hz:g} is above {nyquist_hz:g} Hz, half of sample_rate {self.sample_rate}; lower it")
        if self.f_min_hz >= f_max_hz:
            raise ValueError(f"f_min_hz = {self.f_min_hz:g} is not below f_max_hz = {f_max_hz:g}")
        return self


class LogMelConfig(MelBandsConfig):
    """Settings of `log_mel`: those of mel bands and one more.

    Attributes
    ----------
    top_db : float, optional
        Levels are raised to at least this many dB below the loudest one of the whole waveform, all channels together.
        Default: not at all.
    """

    top_db: float | None = Field(default=None, ge=0)


class MfccConfig(LogMelConfig):
    """Settings of `mfcc`: those of `log_mel` and one more.

    Attributes
    ----------
    n_mfcc : int
        Number of coefficients, at most `n_mels`.
    """

    n_mfcc: int = Field(default=20, ge=1)

    @model_validator(mode="after")
    def _check_n_mfcc(self) -> "MfccConfig":
        if self.n_mfcc > self.n_mels:
            raise ValueError(f"n_mfcc = {self.n_mfcc} is more than n_mels = {self.n_mels}; ask for fewer coefficients or more bands")
        return self


@dataclass(frozen=True)
class MelLevels:
    """Levels of mel bands, shared by all features with equal settings."""

    framing: Framing
    sample_rate: int
    n_mels: int
    f_min_hz: float
    f_max_hz: float
    mel_scale: MelScale
    precise = False

    @classmethod
    def of(cls, config: MelBandsConfig) -> "MelLevels":
        """Resolve a config whose sample rate is known; `top_db` and `n_mfcc` come after it."""
        f_max_hz = config.sample_rate / 2 if config.f_max_hz is None else config.f_max_hz
        return cls(config.framing, config.sample_rate, config.n_mels, config.f_min_hz, f_max_hz, config.mel_scale)

    @cached_property
    def bank(self) -> FilterBank:
        """The mel filters."""
        return filter_bank(self.sample_rate, self.framing.n_fft, self.n_mels, self.f_min_hz, self.f_max_hz, self.mel_scale)

    def shape(self, channels: int, frames: int) -> tuple[int, int, int]:
        """Shape [channel, frame, mel]."""
        return channels, frames, self.n_mels

    def measure(self, block: Block, out: np.ndarray, doubtful: np.ndarray) -> None:
        """Fill `out` [channel, frame, mel] with levels in dB; frames with a band too quiet for float32 are doubtful."""
        levels = np.empty((len(out) * block.frames.size, self.n_mels), np.float32)
        quiet = np.zeros(len(levels), np.bool_)
        kernels.fill_levels(*block.joint_power, self.bank, levels, quiet)
        out[:] = levels.reshape(out.shape)
        doubtful |= quiet.reshape(len(out), -1).any(axis=0)


def log_mel(
    waveform: np.ndarray,
    config: LogMelConfig | None = None,
    *,
    sample_rate: int | None = None,
    fft: str = "scipy",
    **settings: Any,
) -> np.ndarray:
    """Mel spectrogram in dB.

    Parameters
    ----------
    waveform : float32 [channel, sample] or [sample]
        Full scale 1.0.
    config : LogMelConfig, optional
        Or its settings as keywords.
    sample_rate : int, optional
        In Hz; needed unless the config has it.
    fft : str
        Where the FFTs come from: ``"scipy"`` or ``"mkl"``.
    **settings
        Of `LogMelConfig`.

    Returns
    -------
    float32 [channel, frame, mel]
        In dB, at least -100; frame l is centred on sample ``l * hop_length``.

    Raises
    ------
    FeatureError
        Settings or a waveform that don't fit.
    EnvironmentFault
        The FFT asked for isn't installed.

    Examples
    --------
    >>> log_mel(np.zeros(16000, np.float32), sample_rate=16000, n_mels=64).shape
    (1, 32, 64)
    """
    config = settle(LogMelConfig, config, sample_rate, settings)
    analysis = MelLevels.of(config)
    return _finish_log_mel(analyse(as_waveform(waveform), [analysis], fft)[analysis], config)


def mfcc(
    waveform: np.ndarray,
    config: MfccConfig | None = None,
    *,
    sample_rate: int | None = None,
    fft: str = "scipy",
    **settings: Any,
) -> np.ndarray:
    """Mel-frequency cepstral coefficients (Davis & Mermelstein 1980): orthonormal DCT-II of `log_mel` along the bands.

    Parameters
    ----------
    waveform : float32 [channel, sample] or [sample]
        Full scale 1.0.
    config : MfccConfig, optional
        Or its settings as keywords.
    sample_rate : int, optional
        In Hz; needed unless the config has it.
    fft : str
        Where the FFTs come from: ``"scipy"`` or ``"mkl"``.
    **settings
        Of `MfccConfig`.

    Returns
    -------
    float32 [channel, frame, coefficient]
        In dB; coefficient 0 is ``sqrt(n_mels)`` times the mean level.

    Raises
    ------
    FeatureError
        Settings or a waveform that don't fit.
    EnvironmentFault
        The FFT asked for isn't installed.

    Examples
    --------
    >>> mfcc(np.zeros(16000, np.float32), sample_rate=16000, n_mfcc=13).shape
    (1, 32, 13)
    """
    config = settle(MfccConfig, config, sample_rate, settings)
    analysis = MelLevels.of(config)
    return _finish_mfcc(analyse(as_waveform(waveform), [analysis], fft)[analysis], config)


def _finish_log_mel(levels: np.ndarray, config: LogMelConfig) -> np.ndarray:
    return levels if config.top_db is None else np.maximum(levels, levels.max() - np.float32(config.top_db))


def _finish_mfcc(levels: np.ndarray, config: MfccConfig) -> np.ndarray:
    levels = _finish_log_mel(levels, config)
    cepstra = np.empty((*levels.shape[:2], config.n_mfcc), np.float32)
    for channel in range(len(levels)):
        kernels.fill_cepstra(levels[channel], dct_basis(config.n_mels, config.n_mfcc), cepstra[channel])
    return cepstra


@lru_cache(maxsize=32)
def dct_basis(n_mels: int, n_mfcc: int) -> np.ndarray:
    """Orthonormal DCT-II, float64 [mel, coefficient]: sqrt((2 - [c = 0]) / M) cos(pi c (2 m + 1) / (2 M))."""
    mel, coefficient = np.arange(n_mels)[:, None], np.arange(n_mfcc)
    basis = math.sqrt(2 / n_mels) * np.cos(np.pi * coefficient * (2 * mel + 1) / (2 * n_mels))
    basis[:, 0] = math.sqrt(1 / n_mels)
    return basis


def _frame_shape(config: LogMelConfig, channels: int, samples: int, values: int) -> tuple[int, int, int]:
    return channels, config.framing.frames(samples), values


def _log_mel_shape(config: LogMelConfig, channels: int, samples: int) -> tuple[int, int, int]:
    return _frame_shape(config, channels, samples, config.n_mels)


def _mfcc_shape(config: MfccConfig, channels: int, samples: int) -> tuple[int, int, int]:
    return _frame_shape(config, channels, samples, config.n_mfcc)


LOG_MEL = Feature(
    config=LogMelConfig,
    function=log_mel,
    shape=_log_mel_shape,
    axes=("channel", "frame", "mel"),
    unit="dB",
    version=1,
    source="waveform",
    analysis=MelLevels.of,
    finish=_finish_log_mel,
)

MFCC = Feature(
    config=MfccConfig,
    function=mfcc,
    shape=_mfcc_shape,
    axes=("channel", "frame", "coefficient"),
    unit="dB",
    version=1,
    source="waveform",
    analysis=MelLevels.of,
    finish=_finish_mfcc,
)
