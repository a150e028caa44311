"""Multi-tone phase coding: spikes of coincidence detectors for the delays between microphones (Pan, Zhang, Wu, Wang and Li 2021).

Each frame's spectrum is a sum of pure tones. At each microphone a tone makes one spike a period, at the tone's peak. A detector is tuned to one
pair of microphones, one delay and one band of frequencies; it fires where the first microphone's spike comes that delay after the second's
(Jeffress 1948). A tone with a period shorter than the range of delays meets several detectors, a period apart.

From Pan et al. (IEEE/ACM Transactions on Audio, Speech, and Language Processing 29:2656-2670) and networks that were later fed with the same spikes:
all pairs of 4 microphones, 51 delays, 40 bands, 0 or 1. Chosen here, where no detail could be read: tones are the bins of the short-time Fourier
transform; bands are evenly spaced in mel; each band has the spikes of its loudest tone, the same tone at all microphones; two spikes coincide
within half a step between delays; a tone too far below its frame's loudest one makes no spike.
"""

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from pydantic import Field, model_validator

from audiodata.compilation import compiled
from audiodata.features.base import Feature, FramedConfig, as_waveform, check_pairs, settle
from audiodata.features.mel import mel_edges_hz
from audiodata.features.stft import Block, Framing, analyse
from audiodata.geometry import pairs

EDGE_DECIMALS = 6  # of a bin; hides the last bit of the mel scale's logarithms


class MtpcConfig(FramedConfig):
    """Settings of `mtpc`.

    Attributes
    ----------
    sample_rate, window_length, hop_length, n_fft
        See `audiodata.features.base.FramedConfig`.
    max_lag : int
        Longest delay of a detector in samples, to either side.
    interpolation : int
        Detectors per sample of delay.
    n_bands : int
        Bands of frequencies.
    f_min_hz : float
        Lower edge of the first band.
    f_max_hz : float, optional
        Upper edge of the last band. Default: the Nyquist frequency.
    range_db : float
        Tones more than this below the loudest one of their frame make no spike.
    """

    max_lag: int = Field(default=25, ge=1)
    interpolation: int = Field(default=1, ge=1)
    n_bands: int = Field(default=40, ge=1)
    f_min_hz: float = Field(default=250.0, ge=0)
    f_max_hz: float | None = None
    range_db: float = Field(default=40.0, ge=0)

    @model_validator(mode="after")
    def _check_bands(self) -> "MtpcConfig":
        if self.sample_rate is None:
            return self
        f_max_hz, nyquist_hz = Tones.of(self).f_max_hz, self.sample_rate / 2
        if not self.f_min_hz < f_max_hz <= nyquist_hz:
            raise ValueError(f"expected f_min_hz < f_max_hz <= {nyquist_hz:g} Hz, got {self.f_min_hz:g} and {f_max_hz:g}")
        empty = np.flatnonzero(np.diff(Tones.of(self).edges) < 1)
        if empty.size:
            raise ValueError(
                f"n_bands = {self.n_bands}: {empty.size} bands (the first is number {empty[0]}) lie between two bins of an FFT of "
                f"{self.framing.n_fft} points; use fewer n_bands or a longer window"
            )
        return self


class DelayTable(NamedTuple):
    """What a delay does to the phase of each tone.

    Attributes
    ----------
    cosine, sine : float32 [bin, lag]
        Of the phase that a tone goes through in that delay.
    window_cosine, window_sine : float32 [bin]
        Of the phase that it goes through in half a step between delays.
    """

    cosine: np.ndarray
    sine: np.ndarray
    window_cosine: np.ndarray
    window_sine: np.ndarray


@lru_cache(maxsize=8)
def delay_table(n_fft: int, max_lag: int, interpolation: int) -> DelayTable:
    """Phases of the tones of an FFT; rounding to float32 hides how libraries differ in float64's last bit."""
    steps = max_lag * interpolation
    radians_per_sample = 2 * np.pi * np.arange(n_fft // 2 + 1) / n_fft
    phase = np.outer(radians_per_sample, np.arange(-steps, steps + 1) / interpolation)
    half = radians_per_sample / interpolation / 2
    return DelayTable(*(function(angle).astype(np.float32) for angle in (phase, half) for function in (np.cos, np.sin)))


@dataclass(frozen=True)
class Tones:
    """Detectors of all pairs, shared by features with equal settings."""

    framing: Framing
    sample_rate: int
    max_lag: int
    interpolation: int
    n_bands: int
    f_min_hz: float
    f_max_hz: float
    range_db: float
    precise = False

    @classmethod
    def of(cls, config: MtpcConfig) -> "Tones":
        """Resolve a config whose sample rate is known."""
        f_max_hz = config.sample_rate / 2 if config.f_max_hz is None else config.f_max_hz
        delays = config.max_lag, config.interpolation
        return cls(config.framing, config.sample_rate, *delays, config.n_bands, config.f_min_hz, f_max_hz, config.range_db)

    @property
    def edges(self) -> np.ndarray:
        """First bin of each band and the one after the last, int64 [n_bands + 1]; 0 Hz and the Nyquist frequency have no phase."""
        edges_hz = mel_edges_hz(self.n_bands - 1, self.f_min_hz, self.f_max_hz, "slaney")
        bins = np.ceil(np.round(edges_hz * self.framing.n_fft / self.sample_rate, EDGE_DECIMALS)).astype(np.int64)
        return bins.clip(1, (self.framing.n_fft + 1) // 2)

    def shape(self, channels: int, frames: int) -> tuple[int, int, int]:
        """Shape [pair, frame, detector]."""
        return _detector_shape(self, channels, frames)

    def measure(self, block: Block, out: np.ndarray, doubtful: np.ndarray) -> None:
        """Fill `out` [pair, frame, detector] with 0 and 1; no frame is doubtful."""
        tones = self.loudest(sum(power for power, _ in block.powers))
        table = delay_table(self.framing.n_fft, self.max_lag, self.interpolation)
        for number, (first, second) in enumerate(pairs(block.channels)):
            fill_detectors(block.spectra[first], block.spectra[second], tones, *table, out[number])

    def loudest(self, power: np.ndarray) -> np.ndarray:
        """Bin of the loudest tone of each band, -1 where it makes no spike: int64 [band, frame] of the summed power [bin, frame]."""
        edges = self.edges
        bins = np.stack([first + power[first:last].argmax(0) for first, last in pairwise(edges)])
        level = np.take_along_axis(power, bins, 0)
        audible = (level > 0) & (level >= level.max(0) * np.float32(10 ** (-self.range_db / 10)))
        return np.where(audible, bins, -1)


@compiled
def fill_detectors(first, second, tones, cosine, sine, window_cosine, window_sine, out):
    """Write 1 for each detector whose two spikes coincide, 0 for all others.

    Turned by the phase of the right delay, the cross spectrum of the two microphones is real and positive; the spikes coincide where its
    angle is at most the window's.

    Parameters
    ----------
    first, second : complex [bin, frame]
        Spectra of the pair.
    tones : int64 [band, frame]
        Bins, -1 for none.
    cosine, sine, window_cosine, window_sine : float32
        Of a `DelayTable`.
    out : float32 [frame, band * lag]
    """
    out[:] = 0
    lags = cosine.shape[1]
    for band in range(tones.shape[0]):
        for frame in range(tones.shape[1]):
            tone = tones[band, frame]
            if tone < 0:
                continue
            a, b = complex(first[tone, frame]), complex(second[tone, frame])
            real, imaginary = a.real * b.real + a.imag * b.imag, a.imag * b.real - a.real * b.imag
            target, cosines, sines = out[frame, band * lags : (band + 1) * lags], cosine[tone], sine[tone]
            for lag in range(lags):
                along = real * cosines[lag] - imaginary * sines[lag]
                across = real * sines[lag] + imaginary * cosines[lag]
                target[lag] = (along > 0) & (abs(across) * window_cosine[tone] <= along * window_sine[tone])


def mtpc(
    waveform: np.ndarray,
    config: MtpcConfig | None = None,
    *,
    sample_rate: int | None = None,
    fft: str = "scipy",
    **settings: Any,
) -> np.ndarray:
    """Spikes of coincidence detectors for delays between microphones (Pan et al. 2021).

    Parameters
    ----------
    waveform : float32 [channel, sample]
        Full scale 1.0; at least two channels.
    config : MtpcConfig, optional
        Or its settings as keywords.
    sample_rate : int, optional
        In Hz; needed unless the config has it.
    fft : str
        Where the FFTs come from: ``"scipy"`` or ``"mkl"``.
    **settings
        Of `MtpcConfig`.

    Returns
    -------
    float32 [pair, frame, detector]
        0 and 1. Detector ``band * lags + lag`` is that of delay ``lag / interpolation - max_lag`` samples, positive where the pair's first
        microphone hears later, in that band; `as_bands_and_lags` takes the axis apart.

    Raises
    ------
    FeatureError
        Settings or a waveform that don't fit, one channel among them.
    EnvironmentFault
        The FFT asked for isn't installed.

    Examples
    --------
    >>> mtpc(np.zeros((4, 16000), np.float32), sample_rate=16000).shape
    (6, 32, 2040)
    """
    config = settle(MtpcConfig, config, sample_rate, settings)
    analysis = Tones.of(config)
    return analyse(as_waveform(waveform), [analysis], fft)[analysis]


def as_bands_and_lags(spikes: np.ndarray, n_bands: int) -> np.ndarray:
    """Spikes [..., detector] as a view [..., band, lag]."""
    return spikes.reshape(*spikes.shape[:-1], n_bands, -1)


def _shape(config: MtpcConfig, channels: int, samples: int) -> tuple[int, int, int]:
    return _detector_shape(config, channels, config.framing.frames(samples))


def _detector_shape(settings: "MtpcConfig | Tones", channels: int, frames: int) -> tuple[int, int, int]:
    return check_pairs("mtpc", channels), frames, (2 * settings.max_lag * settings.interpolation + 1) * settings.n_bands


def _finish(measured: np.ndarray, config: MtpcConfig) -> np.ndarray:
    return measured


MTPC = Feature(
    config=MtpcConfig,
    function=mtpc,
    shape=_shape,
    axes=("pair", "frame", "detector"),
    unit="1",
    version=1,
    source="waveform",
    analysis=Tones.of,
    finish=_finish,
)
