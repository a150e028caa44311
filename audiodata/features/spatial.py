"""Cross-correlation of microphones: how much later one of a pair hears than the other.

Generalized cross-correlation with the phase transform (Knapp & Carter 1976): of every pair of channels the phase difference of each
frequency bin, whatever its level, taken back to time lags. Only phases count, so each channel's are computed once, not once a pair; and
since few lags are wanted, a small matrix takes the place of an inverse FFT per pair and frame.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import Field, model_validator

from audiodata.features import spatial_kernels
from audiodata.features.base import Feature, FramedConfig, as_waveform, check_pairs, settle
from audiodata.features.lag_transform import lag_transform
from audiodata.features.stft import Block, Framing, analyse, not_finite

# Bins under this share of their frame's power are rounding even in float64, and so are their phases.
FLOAT64_FLOOR_SHARE = 1e-33
# Over noise, tones, chirps, steps, clicks, coloured noise, real recordings, and FFTs of 64 to 4096 points, a prime among them, a correlation
# from float32 phases whose roughness is r times the squared number of bins of both signs (see `CrossCorrelation.rough`) is off by at most
# 1.2e-6 sqrt(r) where that exceeds 2e-6: 5.4e-6 here.
FLOAT32_ROUGHNESS = 20.0


class GccPhatConfig(FramedConfig):
    """Settings of `gcc_phat`.

    Attributes
    ----------
    sample_rate, window_length, hop_length, n_fft
        See `audiodata.features.base.FramedConfig`; without band limits the sample rate may be left out.
    max_lag : int
        Largest lag, in samples, to both sides; less than half of the FFT's points.
    interpolation : int
        Values per sample of lag. Those at whole lags are the same for any number.
    f_min_hz, f_max_hz : float, optional
        Only bins at these frequencies and between count; the others are 0, and what is left is scaled so that a pair that
        differs by a delay alone still peaks at 1. Default: all bins.
    """

    max_lag: int = Field(default=25, ge=0)
    interpolation: int = Field(default=1, ge=1)
    f_min_hz: float | None = Field(default=None, ge=0)
    f_max_hz: float | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _check_max_lag(self) -> "GccPhatConfig":
        n_fft = self.framing.n_fft
        if self.max_lag >= n_fft / 2:
            raise ValueError(f"max_lag = {self.max_lag} is not below half of the FFT's {n_fft} points; lower it or raise n_fft")
        return self

    @model_validator(mode="after")
    def _check_band(self) -> "GccPhatConfig":
        if self.sample_rate is None:
            return self
        if self.f_max_hz is not None and self.f_max_hz > self.sample_rate / 2:
            raise ValueError(f"f_max_hz = {self.f_max_hz:g} is above {self.sample_rate / 2:g} Hz, half of sample_rate {self.sample_rate}; lower it")
        if self.band[0] >= self.band[1]:
            raise ValueError(f"no bin of the FFT lies from f_min_hz = {self.f_min_hz} to f_max_hz = {self.f_max_hz}; widen it or raise n_fft")
        return self

    @property
    def needs_sample_rate(self) -> bool:
        """Whether anything depends on it: band limits do, lags in samples do not."""
        return self.f_min_hz is not None or self.f_max_hz is not None

    @property
    def band(self) -> tuple[int, int]:
        """Number of the first bin that counts and of the one after the last."""
        if not self.needs_sample_rate:
            return 0, self.framing.bins
        bins_per_hz = self.framing.n_fft / self.sample_rate
        first = math.ceil((self.f_min_hz or 0) * bins_per_hz)
        last = self.framing.bins - 1 if self.f_max_hz is None else math.floor(self.f_max_hz * bins_per_hz)
        return first, last + 1


def lags(config: GccPhatConfig) -> np.ndarray:
    """Lags of `gcc_phat`'s last axis in samples, float64 [lag]; positive where a pair's first channel hears later.

    Examples
    --------
    >>> lags(GccPhatConfig(max_lag=1, interpolation=2))
    array([-1. , -0.5,  0. ,  0.5,  1. ])
    """
    steps = config.max_lag * config.interpolation
    return np.arange(-steps, steps + 1) / config.interpolation


@dataclass(frozen=True)
class CrossCorrelation:
    """Phase-transformed cross-correlation of all pairs of channels, shared by all features with equal settings."""

    framing: Framing
    max_lag: int
    interpolation: int
    band: tuple[int, int]
    precise = False

    @classmethod
    def of(cls, config: GccPhatConfig) -> "CrossCorrelation":
        """Resolve a config whose sample rate is known where it matters."""
        return cls(config.framing, config.max_lag, config.interpolation, config.band)

    def shape(self, channels: int, frames: int) -> tuple[int, int, int]:
        """Shape [pair, frame, lag]."""
        return check_pairs("gcc_phat", channels), frames, 2 * self.max_lag * self.interpolation + 1

    def measure(self, block: Block, out: np.ndarray, doubtful: np.ndarray) -> None:
        """Fill `out` [pair, frame, lag]; frames whose phases are too uncertain in float32 are doubtful."""
        first_bin, end_bin = self.band
        spectra = block.joint_spectrum
        double = spectra.dtype == np.complex128
        floor_share = np.float64(FLOAT64_FLOOR_SHARE) if double else np.float32(0)
        real, imag = np.empty((2, end_bin - first_bin, spectra.shape[1]), np.float32)
        rough = np.empty(spectra.shape[1], np.bool_)
        if not spatial_kernels.fill_phases(spectra, first_bin, floor_share, self.rough, real, imag, rough):
            raise not_finite()
        doubtful |= rough.reshape(block.channels, -1).any(axis=0)
        transform = lag_transform(self.framing.n_fft, self.max_lag, self.interpolation, *self.band)
        transform.correlate(real, imag, block.channels, out)

    @property
    def rough(self) -> float:
        """Roughness (see `audiodata.features.spatial_kernels.fill_phases`) above which a channel's frame needs more than float32.

        Float32 leaves in every bin of a spectrum an error of about 1e-7 of the frame's rms magnitude. It turns the bin's phase by that over
        the bin's own magnitude, and in the correlation, a mean over the bins of both signs, such turns add up as independent ones do.
        """
        return FLOAT32_ROUGHNESS * 4 * (self.band[1] - self.band[0]) ** 2


def gcc_phat(
    waveform: np.ndarray,
    config: GccPhatConfig | None = None,
    *,
    sample_rate: int | None = None,
    fft: str = "scipy",
    **settings: Any,
) -> np.ndarray:
    """Generalized cross-correlation of all pairs of channels with the phase transform (Knapp & Carter 1976).

    Of pair (a, b), frame l and lag tau it is ``irfft(X_a conj X_b / |X_a conj X_b|)[tau]``: 1 where b delayed by tau is a. Bins in which a
    channel is silent count as 0.

    Parameters
    ----------
    waveform : float32 [channel, sample]
        Full scale 1.0; at least 2 channels.
    config : GccPhatConfig, optional
        Or its settings as keywords.
    sample_rate : int, optional
        In Hz; needed with band limits only.
    fft : str
        Where the FFTs come from: ``"scipy"`` or ``"mkl"``.
    **settings
        Of `GccPhatConfig`.

    Returns
    -------
    float32 [pair, frame, lag]
        In -1 to 1; pairs as `audiodata.geometry.pairs` has them, frame l centred on sample ``l * hop_length``, lags as `lags` has them:
        positive where a hears later than b.

    Raises
    ------
    FeatureError
        Settings or a waveform that don't fit.
    EnvironmentFault
        The FFT asked for isn't installed.

    Examples
    --------
    >>> sound = np.random.default_rng(0).standard_normal(4000).astype(np.float32)
    >>> late_first = np.stack([np.roll(sound, 3), sound])
    >>> lags(GccPhatConfig())[gcc_phat(late_first)[0, 4].argmax()]
    np.float64(3.0)
    """
    config = settle(GccPhatConfig, config, sample_rate, settings)
    analysis = CrossCorrelation.of(config)
    return analyse(as_waveform(waveform), [analysis], fft)[analysis]


def _finish(measured: np.ndarray, config: GccPhatConfig) -> np.ndarray:
    return measured


def _shape(config: GccPhatConfig, channels: int, samples: int) -> tuple[int, int, int]:
    return CrossCorrelation.of(config).shape(channels, config.framing.frames(samples))


GCC_PHAT = Feature(
    config=GccPhatConfig,
    function=gcc_phat,
    shape=_shape,
    axes=("pair", "frame", "lag"),
    unit="1",
    version=1,
    source="waveform",
    analysis=CrossCorrelation.of,
    finish=_finish,
)
