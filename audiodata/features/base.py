"""What every feature has: a frozen config, a record in `FEATURES`, and one clear line for what doesn't fit."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
from pydantic import Field, model_validator

from audiodata.errors import CatalogError, FeatureError
from audiodata.events.record import MICROSECONDS_PER_SECOND
from audiodata.features.stft import Analysis, Framing
from audiodata.geometry import pairs
from audiodata.settings import Settings, validated
from audiodata.timing import seconds_to_samples

CHANNELS_MAX = 64  # more channels than this *and* than samples is an array whose axes are swapped


class WaveformConfig(Settings):
    """Settings of a feature of a waveform.

    Attributes
    ----------
    sample_rate : int, optional
        In Hz; `audiodata.features.extract` fills it in from the waveform's own.
    """

    sample_rate: int | None = Field(default=None, ge=1)

    @property
    def needs_sample_rate(self) -> bool:
        """Whether the feature can't be computed without one."""
        return True


class FramedConfig(WaveformConfig):
    """Settings of a feature that is computed frame by frame from a short-time Fourier transform.

    Attributes
    ----------
    window_length : int
        Samples under the periodic Hann window.
    hop_length : int
        Samples from one frame's centre to the next.
    n_fft : int, optional
        Points of the FFT; the window sits in its middle. Default: `window_length`.
    """

    window_length: int = Field(default=2048, ge=2)
    hop_length: int = Field(default=512, ge=1)
    n_fft: int | None = None

    @model_validator(mode="after")
    def _check_n_fft(self) -> "FramedConfig":
        if self.n_fft is not None and self.n_fft < self.window_length:
            raise ValueError(f"n_fft = {self.n_fft} is shorter than window_length = {self.window_length}; leave it out or raise it")
        return self

    @property
    def framing(self) -> Framing:
        """Window, hop and FFT length as the transform takes them; features with equal framing share it."""
        return Framing(self.window_length, self.hop_length, self.n_fft or self.window_length)


class WindowConfig(Settings):
    """Settings of a feature of events.

    Attributes
    ----------
    window_s : float, optional
        Length of what it is computed from, in seconds; a build fills it in from the length of its segments.
    """

    window_s: float | None = Field(default=None, ge=1 / MICROSECONDS_PER_SECOND)

    @property
    def window_us(self) -> int:
        """Length of the window in microseconds."""
        return seconds_to_samples(self.window_s, MICROSECONDS_PER_SECOND)


Config = TypeVar("Config", bound=Settings)


@dataclass(frozen=True)
class Feature:
    """One entry of `audiodata.features.FEATURES`.

    Attributes
    ----------
    config : type
        The frozen settings.
    function : callable
        ``function(array, config)``: the whole feature as a pure function.
    shape : callable
        ``shape(config, channels, *size)``: the result's shape without computing it; `size` is the number of samples
        (source ``"waveform"``), rows and columns (``"image"``), or columns, rows and polarities of the sensor (events). An axis
        whose length the events decide is None.
    axes : tuple of str
        Names of the result's axes.
    unit : str
        Unit of the result; ``"1"`` for a bare number.
    version : int
        Raised whenever the code gives other numbers for the same settings; part of a cache's fingerprint.
    source : str
        What it is computed from: ``"waveform"`` float32 [channel, sample], ``"image"`` uint8 [channel, row, column], or the ``"visual"`` or
        ``"auditory"`` `audiodata.events.record.Events` of a clip.
    analysis : callable, optional
        ``analysis(config)``: the work on spectra, which features with an equal analysis share. Without it, `extract`
        calls `function`.
    finish : callable, optional
        ``finish(measured, config)``: from what the analysis measured to the feature.
    dtype : str
        Type of the result's numbers.
    packages : tuple of str
        Further packages whose versions shape the result.
    """

    config: type[Settings]
    function: Callable[..., np.ndarray]
    shape: Callable[..., tuple[int | None, ...]]
    axes: tuple[str, ...]
    unit: str
    version: int
    source: Literal["waveform", "image", "visual", "auditory"]
    analysis: Callable[[Any], Analysis] | None = None
    finish: Callable[[np.ndarray, Any], np.ndarray] | None = None
    dtype: str = "float32"
    packages: tuple[str, ...] = ()


def build_config(config_class: type[Config], settings: Mapping[str, Any]) -> Config:
    """Build a config from settings; what doesn't fit is explained in one line.

    Parameters
    ----------
    config_class : type
        E.g. `audiodata.features.spectral.LogMelConfig`.
    settings : mapping
        Its keyword arguments.

    Raises
    ------
    FeatureError
        An unknown key (with the nearest known one), a wrong type or a value out of range.
    """
    try:
        return validated(config_class, settings, config_class.__name__)
    except CatalogError as error:
        raise FeatureError(str(error)) from None


def at_sample_rate(config: Config, sample_rate: int | None) -> Config:
    """Return the config with its sample rate filled in, checked against it.

    Parameters
    ----------
    config : Settings
        Returned as it is where it has no sample rate at all (images).
    sample_rate : int or None
        Of the waveform, in Hz; None leaves the config's own.

    Raises
    ------
    FeatureError
        The config names another sample rate, neither names one, or a frequency is above its Nyquist frequency.
    """
    if not isinstance(config, WaveformConfig):
        return config
    name = type(config).__name__
    if config.sample_rate is None and sample_rate is None and config.needs_sample_rate:
        raise FeatureError(f"{name}: no sample rate given; pass sample_rate (Hz) with the waveform or in the config")
    if sample_rate is None or config.sample_rate == sample_rate:
        return config
    if config.sample_rate is not None:
        raise FeatureError(
            f"{name}: sample_rate = {config.sample_rate} Hz, but the waveform has {sample_rate} Hz; resample it or leave the setting out"
        )
    return build_config(type(config), {**config.model_dump(), "sample_rate": sample_rate})


def at_window(config: Config, window_s: float | None) -> Config:
    """Return the config with the length of its window filled in, checked against it.

    Parameters
    ----------
    config : Settings
        Returned as it is where it has no window (waveforms and images).
    window_s : float or None
        In seconds; None leaves the config's own.

    Raises
    ------
    FeatureError
        The config names another length, or neither names one.
    """
    if not isinstance(config, WindowConfig):
        return config
    name = type(config).__name__
    if config.window_s is None and window_s is None:
        raise FeatureError(f"{name}: no window given; pass window_s, the length in seconds of what the events are taken from")
    if window_s is None or config.window_s == window_s:
        return config
    if config.window_s is not None:
        raise FeatureError(f"{name}: window_s = {config.window_s:g}, but the events are taken from {window_s:g} s; leave the setting out")
    return build_config(type(config), {**config.model_dump(), "window_s": window_s})


def settle(config_class: type[Config], config: Config | None, sample_rate: int | None, settings: Mapping[str, Any]) -> Config:
    """Return the one config that a feature's function was called with: an object, or its settings as keywords.

    Raises
    ------
    FeatureError
        Both were given, the object is of another class, or the settings don't fit.
    """
    if config is not None and settings:
        raise FeatureError(f"give either a {config_class.__name__} or its settings ({', '.join(settings)}), not both")
    if config is None:
        config = build_config(config_class, settings)
    return at_sample_rate(check_class(config, config_class), sample_rate)


def check_class(config: Any, config_class: type[Config]) -> Config:
    """Return the config if it is of the class that the feature takes; raise `FeatureError` otherwise."""
    if type(config) is not config_class:
        raise FeatureError(f"expected a {config_class.__name__}, got {type(config).__name__}")
    return config


def check_pairs(name: str, channels: int) -> int:
    """Return the number of pairs of channels; raise `FeatureError` where there is none."""
    if channels < 2:
        raise FeatureError(f"{name}: expected at least 2 channels, got {channels}; set channels to those of the microphones, not to their mean")
    return len(pairs(channels))


def as_waveform(waveform: np.ndarray) -> np.ndarray:
    """Return the waveform as contiguous float32 [channel, sample]; one axis alone is taken as one channel.

    Raises
    ------
    FeatureError
        Not floating point, empty or not [channel, sample].
    """
    array = np.asarray(waveform)
    fault = _waveform_fault(array)
    if fault:
        raise FeatureError(f"waveform: {fault}, got {array.dtype} {list(array.shape)}")
    return np.ascontiguousarray(np.atleast_2d(array), dtype=np.float32)


def _waveform_fault(array: np.ndarray) -> str | None:
    if array.dtype.kind != "f":
        return "expected float32 with full scale 1.0 (divide integers by their full scale)"
    if array.ndim not in (1, 2) or array.size == 0:
        return "expected [channel, sample] or [sample] with at least one sample"
    if array.ndim == 2 and array.shape[0] > max(CHANNELS_MAX, array.shape[1]):
        return "expected [channel, sample], not more channels than samples (transpose it)"
    return None
