"""Augmentation of sound features while training (Courregé and Gandeel 2024, section 4.5): time shift, gain, noise, time and frequency masking.

All functions take one example ``[channel, band, frame]``, where a band is a mel band or a cepstral coefficient, in dB, and return a new
tensor. What they do to the features is what the same change of the waveform would do, or SpecAugment's masks (Park et al. 2019).
"""

import math
from collections.abc import Callable

import torch
from pydantic import Field
from torch import Generator, Tensor

from audiodata.settings import Settings


class AugmentConfig(Settings):
    """How much of each; 0 leaves it out, ``on`` false all of them.

    ``shift_share``: largest time shift, as a share of the example's length, either way. ``gain_db``: largest gain, either way.
    ``noise_db``: standard deviation of Gaussian noise on every band and frame. ``time_mask_share``, ``band_mask_share``: largest share of
    the frames and of the bands that is masked, in one piece. Each is drawn evenly up to its largest value for every example and epoch.
    """

    on: bool = True
    shift_share: float = Field(default=0.1, ge=0.0, le=0.5)
    gain_db: float = Field(default=10.0, ge=0.0)
    noise_db: float = Field(default=2.0, ge=0.0)
    time_mask_share: float = Field(default=0.2, ge=0.0, le=1.0)
    band_mask_share: float = Field(default=0.2, ge=0.0, le=1.0)

    @property
    def any(self) -> bool:
        """Whether anything is changed at all."""
        return self.on and any(self.model_dump(exclude={"on"}).values())


def shift_time(features: Tensor, frames: int) -> Tensor:
    """Move everything `frames` frames later (earlier if negative); what leaves at one end comes in at the other."""
    return features.roll(frames, dims=-1)


def change_gain_log_mel(log_mel: Tensor, gain_db: float) -> Tensor:
    """Amplify: every mel band's level rises by `gain_db`."""
    return log_mel + gain_db


def change_gain_mfcc(mfcc: Tensor, gain_db: float, n_mels: int) -> Tensor:
    """Amplify: the orthonormal DCT-II of a constant over `n_mels` bands is ``gain_db sqrt(n_mels)`` in coefficient 0 and 0 in all others."""
    louder = mfcc.clone()
    louder[..., 0, :] += gain_db * math.sqrt(n_mels)
    return louder


def add_noise(features: Tensor, deviation_db: float, generator: Generator) -> Tensor:
    """Add Gaussian noise, independent in every band and frame.

    The orthonormal DCT keeps such noise as it is: in every coefficient it has the standard deviation that it has in every mel band.
    """
    return features + deviation_db * torch.randn(features.shape, generator=generator, dtype=features.dtype)


def mask_frames(features: Tensor, start: int, count: int, fill: Tensor) -> Tensor:
    """Replace `count` frames from `start` by `fill`.

    Parameters
    ----------
    features : Tensor [channel, band, frame]
    start, count : int
        Frames.
    fill : Tensor [channel, band, 1]
        What stands for "nothing known": the training set's mean of each band.
    """
    masked = features.clone()
    masked[..., start : start + count] = fill
    return masked


def mask_bands(features: Tensor, start: int, count: int, fill: Tensor) -> Tensor:
    """Replace `count` bands from `start` by `fill`; as `mask_frames`, along the other axis."""
    masked = features.clone()
    masked[..., start : start + count, :] = fill[..., start : start + count, :]
    return masked


class Augmentation:
    """Random changes of one example, the same for the same generator state.

    Parameters
    ----------
    config : AugmentConfig
    fill : Tensor [channel, band, 1]
        Training set's mean of each band.
    change_gain : callable
        ``(features, gain_db) -> features`` for this kind of features.
    """

    def __init__(self, config: AugmentConfig, fill: Tensor, change_gain: Callable[[Tensor, float], Tensor]):
        self.config = config
        self.fill = fill
        self.change_gain = change_gain

    def __call__(self, features: Tensor, generator: Generator) -> Tensor:
        """Change one example ``[channel, band, frame]``; masks come last, so that what is masked holds no noise."""
        config = self.config
        _, bands, frames = features.shape
        shift, gain, *masks = torch.rand(6, generator=generator, dtype=torch.float64).tolist()
        if config.shift_share:
            features = shift_time(features, round((2 * shift - 1) * config.shift_share * frames))
        if config.gain_db:
            features = self.change_gain(features, (2 * gain - 1) * config.gain_db)
        if config.noise_db:
            features = add_noise(features, config.noise_db, generator)
        if config.time_mask_share:
            features = mask_frames(features, *_span(masks[0], masks[1], config.time_mask_share, frames), self.fill)
        if config.band_mask_share:
            features = mask_bands(features, *_span(masks[2], masks[3], config.band_mask_share, bands), self.fill)
        return features


def _span(size: float, place: float, largest_share: float, length: int) -> tuple[int, int]:
    """First index and number of masked items, from two even random numbers in [0, 1)."""
    count = int(size * (int(largest_share * length) + 1))
    return int(place * (length - count + 1)), count
