"""Samples as they are, for networks that take the waveform itself; of a mixture, channel 0 is what is heard and the others are its sources."""

from typing import Any

import numpy as np

from audiodata.features.base import Feature, WaveformConfig, as_waveform, settle
from audiodata.features.stft import not_finite


class SamplesConfig(WaveformConfig):
    """Settings of `waveform`.

    Attributes
    ----------
    sample_rate : int, optional
        See `audiodata.features.base.WaveformConfig`; the samples do not depend on it.
    """

    @property
    def needs_sample_rate(self) -> bool:
        """Whether the feature can't be computed without one."""
        return False


def waveform(samples: np.ndarray, config: SamplesConfig | None = None, *, sample_rate: int | None = None, **settings: Any) -> np.ndarray:
    """Return the samples themselves.

    Parameters
    ----------
    samples : float32 [channel, sample] or [sample]
        Full scale 1.0.
    config : SamplesConfig, optional
        Or its settings as keywords.
    sample_rate : int, optional
        In Hz.

    Returns
    -------
    float32 [channel, sample]
        A copy.

    Raises
    ------
    FeatureError
        Settings or an array that don't fit; a sample that is not finite.

    Examples
    --------
    >>> waveform(np.array([0.5, -0.25]))
    array([[ 0.5 , -0.25]], dtype=float32)
    """
    settle(SamplesConfig, config, sample_rate, settings)
    result = as_waveform(samples)
    if not np.isfinite(result).all():
        raise not_finite()
    return result.copy()


def _shape(config: SamplesConfig, channels: int, samples: int) -> tuple[int, int]:
    return channels, samples


WAVEFORM = Feature(
    config=SamplesConfig,
    function=waveform,
    shape=_shape,
    axes=("channel", "sample"),
    unit="full scale",
    version=1,
    source="waveform",
)
