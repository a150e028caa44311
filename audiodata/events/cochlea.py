"""A cochlea that hears a waveform and speaks in events: filters, rectifiers, asynchronous delta modulators.

What it models: the dynamic audio sensors, 64 channels from low to high of which each filters the sound, rectifies what is left
(Liu, van Schaik, Minch and Delbruck 2014, IEEE Trans. Biomedical Circuits and Systems 8(4)) and speaks when the rectified output has
changed by a fixed amount (Li, Neil, Delbruck and Liu 2019, ISCAS; the circuit: Yang, Chien, Delbruck and Liu 2016, IEEE J. Solid-State
Circuits 51(11), whose filters are of fourth order and stand side by side).

For each channel c with centre frequency f_c = f_min (f_max / f_min)^(c / (C - 1)), channel 0 the lowest:

1. y = h_c * h_c * g_c x, h_c a second-order band-pass of quality Q with gain 1 at f_c (`audiodata.events.cochlea_filters.band_pass`),
   g_c = (f_c / 1 kHz)^(tilt / 6.02 dB);
2. r = max(y, 0) (half wave) or |y| (full wave), then a first-order low-pass: hair cells lose the fine structure above about 1 kHz
   (Palmer and Russell 1986, Hearing Research 24);
3. reference R = 0 at rest; when r - R >= d_c: event ON, R += d_c; when R - r >= d_c: event OFF, R -= d_c; deaf for the refractory time
   after each. So R, the sum of ON minus OFF times d_c, follows r to within d_c wherever r is slower than d_c per refractory time;
4. d_c = threshold exp(mismatch z_c), z_c normal: transistors that should be equal are not;
5. noise events of each channel at times of their own (Poisson), ON or OFF with equal chance.

What it leaves out: the coupling of neighbouring filters, the drift of offsets, the gain control, the bus that events queue for.
"""

import math
from typing import Literal, NamedTuple

import numpy as np
from pydantic import Field, model_validator

from audiodata.errors import ClipError
from audiodata.events.cochlea_filters import band_pass, centre_frequencies_hz, interpolate, interpolation, smoothing_share
from audiodata.events.cochlea_kernels import fill_bands, modulate
from audiodata.events.record import EVENT_1D, MICROSECONDS_PER_SECOND, Events
from audiodata.settings import Settings

HIGHEST_HZ = 8000.0
HIGHEST_SHARE = 0.45
"""Of the sample rate: the highest centre frequency that a recording can have."""

TILT_CENTRE_HZ = 1000.0
_BLOCK = 1024  # samples whose bands are in memory together
_SILENT = 1e-6  # root mean square under which nothing is raised to a level: -120 dB


class CochleaConfig(Settings):
    """Settings of a cochlea.

    Attributes
    ----------
    channels : int
    f_min_hz, f_max_hz : float
        Lowest and highest centre frequency; without the highest, 8 kHz or 0.45 times the sample rate, whichever is lower. Recordings of
        different sample rates are comparable only where it is given.
    quality : float
        Q of each of the two band-passes of a channel; together their bandwidth at -3 dB is 0.64 f / Q.
    rectifier : str
        "half" or "full" wave.
    smooth_hz : float, optional
        Corner of the low-pass behind the rectifier; None for none.
    tilt_db : float
        Gain per octave, 0 dB at 1 kHz: speech has less power in higher octaves.
    level_db : float, optional
        Root mean square that the recording is brought to first, in dB re full scale; None leaves it as it is. With a level, `threshold` is
        relative to the recording's own loudness.
    threshold : float
        Change of the rectified output that is an event; full scale is 1.
    refractory_us : int
        Shortest time between two events of a channel.
    polarities : int
        2: ON and OFF; 1: events of both kinds, not told apart.
    mismatch : float
        Standard deviation of the logarithm of the channels' thresholds.
    mismatch_seed : int
        Of the sensor: all recordings are heard with the same thresholds.
    noise_hz : float
        Noise events per second and channel.
    """

    channels: int = Field(default=64, ge=1, le=4096)
    f_min_hz: float = Field(default=100.0, gt=0)
    f_max_hz: float | None = Field(default=None, gt=0)
    quality: float = Field(default=2.0, ge=0.5, le=100)
    rectifier: Literal["half", "full"] = "half"
    smooth_hz: float | None = Field(default=1000.0, gt=0)
    tilt_db: float = Field(default=3.0, ge=-24, le=24)
    level_db: float | None = Field(default=-20.0, ge=-120, le=0)
    threshold: float = Field(default=0.02, ge=1e-5)
    refractory_us: int = Field(default=200, ge=0)
    polarities: Literal[1, 2] = 2
    mismatch: float = Field(default=0.0, ge=0, le=1)
    mismatch_seed: int = Field(default=0, ge=0)
    noise_hz: float = Field(default=0.0, ge=0, le=10_000)

    @model_validator(mode="after")
    def _check_frequencies(self) -> "CochleaConfig":
        if self.f_max_hz is not None and self.f_max_hz <= self.f_min_hz:
            raise ValueError(f"f_max_hz = {self.f_max_hz:g} is not above f_min_hz = {self.f_min_hz:g}")
        return self

    def frequencies_hz(self, sample_rate: int) -> np.ndarray:
        """Centre frequencies [channel] for recordings of a sample rate in Hz.

        Raises
        ------
        ClipError
            ``wrong_rate``: the rate is too low for them.
        """
        highest = HIGHEST_SHARE * sample_rate
        f_max_hz = min(HIGHEST_HZ, highest) if self.f_max_hz is None else self.f_max_hz
        if not self.f_min_hz < f_max_hz <= highest:
            raise ClipError(
                "wrong_rate",
                f"cochlea: a sample rate of {sample_rate} Hz carries centre frequencies up to {highest:g} Hz; f_min_hz = {self.f_min_hz:g} and"
                f" f_max_hz = {self.f_max_hz or f_max_hz:g} are asked for",
            )
        return centre_frequencies_hz(self.channels, self.f_min_hz, f_max_hz)

    @property
    def thresholds(self) -> np.ndarray:
        """Thresholds [channel], drawn from the sensor's own seed."""
        return self.threshold * np.exp(self.mismatch * np.random.default_rng(self.mismatch_seed).standard_normal(self.channels))


def cochlea(waveform: np.ndarray, sample_rate: int, config: CochleaConfig, seed: int) -> Events:
    """Turn a waveform into the events of a cochlea.

    Parameters
    ----------
    waveform : float32 [sample] or [channel, sample]
        Full scale 1; channels are averaged, there is one ear.
    sample_rate : int
        In Hz.
    config : CochleaConfig
    seed : int
        Of the noise events; nothing else is random.

    Returns
    -------
    Events
        Ordered by time, then channel. Time 0 is the waveform's first sample, channel 0 the lowest frequency. Sensor (channels, 1,
        polarities).

    Raises
    ------
    ClipError
        ``empty``: no samples; ``not_finite``: NaN or infinity among them; ``wrong_rate``: see `CochleaConfig.frequencies_hz`.
    """
    frequencies_hz = config.frequencies_hz(sample_rate)
    samples = _levelled(_one_ear(waveform), config.level_db)
    factor = interpolation(sample_rate, frequencies_hz[-1])
    bank = _bank(config, frequencies_hz, sample_rate * factor)
    heard = _hear(interpolate(samples, factor), sample_rate * factor, bank, config.refractory_us)
    noise = _noise(config, math.floor(samples.size * MICROSECONDS_PER_SECOND / sample_rate), seed)
    array = _ordered(np.concatenate([heard, noise[_fits(noise, heard, config.refractory_us)]]) if len(noise) else heard)
    if config.polarities == 1:
        array["p"] = 0
    return Events(array, (config.channels, 1, config.polarities))


class _Bank(NamedTuple):
    """What the filters are made of, as `fill_bands` takes it: the bands come out in units of the channels' thresholds."""

    gain: np.ndarray
    coefficients: np.ndarray
    share: float
    full_wave: bool


def _bank(config: CochleaConfig, frequencies_hz: np.ndarray, sample_rate: int) -> _Bank:
    gain = 10 ** (config.tilt_db / 20 * np.log2(frequencies_hz / TILT_CENTRE_HZ)) / config.thresholds
    coefficients = band_pass(frequencies_hz, config.quality, sample_rate)
    return _Bank(gain, coefficients, smoothing_share(config.smooth_hz, sample_rate), config.rectifier == "full")


def _one_ear(waveform: np.ndarray) -> np.ndarray:
    samples = np.asarray(waveform, dtype=np.float64)
    samples = samples.mean(axis=0) if samples.ndim == 2 else samples
    if not samples.size:
        raise ClipError("empty", "cochlea: a waveform without samples")
    if not np.isfinite(samples).all():
        raise ClipError("not_finite", f"cochlea: sample {int(np.argmin(np.isfinite(samples)))} is no finite number")
    return samples


def _levelled(samples: np.ndarray, level_db: float | None) -> np.ndarray:
    level = math.sqrt(float(np.mean(samples**2)))
    return samples if level_db is None or level < _SILENT else samples * (10 ** (level_db / 20) / level)


def _hear(samples: np.ndarray, sample_rate: int, bank: _Bank, refractory_us: int) -> np.ndarray:
    """Events of all channels, block by block, within a block channel by channel of each sample."""
    channels = bank.gain.size
    filters, modulators = np.zeros((5, channels)), np.zeros((3, channels))
    bands = np.empty((min(_BLOCK, samples.size), channels))
    found = []
    for first in range(0, samples.size, _BLOCK):
        block = samples[first : first + _BLOCK]
        heard, ways = bands[: block.size], np.abs(modulators[1] - modulators[0])
        fill_bands(block, *bank, filters, heard, ways)
        room = int(np.sum(ways)) + channels  # a rounding more each
        t, x, p = np.empty(room, np.int64), np.empty(room, np.int16), np.empty(room, np.int8)
        count = modulate(heard, first, MICROSECONDS_PER_SECOND / sample_rate, refractory_us, modulators, t, x, p)
        found.append((t[:count], x[:count], p[:count]))
    return _events(*(np.concatenate(column) for column in zip(*found, strict=True)))


def _events(t: np.ndarray, x: np.ndarray, p: np.ndarray) -> np.ndarray:
    array = np.empty(len(t), EVENT_1D)
    array["t"], array["x"], array["p"] = t, x, p
    return array


def _noise(config: CochleaConfig, duration_us: int, seed: int) -> np.ndarray:
    """Noise events, channel by channel, ordered by time within each."""
    rng = np.random.default_rng(seed)
    counts = rng.poisson(config.noise_hz * duration_us / MICROSECONDS_PER_SECOND, config.channels)
    x = np.repeat(np.arange(config.channels), counts)
    t, p = rng.integers(0, max(duration_us, 1), x.size), rng.integers(0, 2, x.size)
    return _events(t, x, p)[np.lexsort((t, x))]


def _ordered(array: np.ndarray) -> np.ndarray:
    """By time, then channel; what is equal in both stays in the order of its making."""
    return array[np.argsort(array["t"] * (int(array["x"].max(initial=0)) + 1) + array["x"], kind="stable")]


def _fits(noise: np.ndarray, heard: np.ndarray, refractory_us: int) -> np.ndarray:
    """Tell which noise events [event] leave the refractory time to the channel's noise before and to what it hears before and after."""
    far = int(max(noise["t"].max(initial=0), heard["t"].max(initial=0))) + refractory_us + 1
    own, others = (array["x"].astype(np.int64) * far + array["t"] for array in (noise, heard))
    others = np.concatenate([[-far], np.sort(others), [2**62]])
    after = np.searchsorted(others, own)
    gaps = np.stack([np.diff(own, prepend=-far), others[after] - own, own - others[after - 1]])
    return gaps.min(axis=0) >= refractory_us
