"""Augmentation of frames of events while training: events are lost, and all of them come elsewhere or at another time.

All functions take the frames of one example, ``[time, polarity, row, column]`` or ``[time, polarity, channel]``, and return new ones.
"""

import torch
from pydantic import Field
from torch import Generator, Tensor

from audiodata.settings import Settings


class EventAugmentConfig(Settings):
    """How much of each, 0 for none; the amount is drawn evenly up to this for every example and epoch.

    ``drop_share``: largest share of the events that is lost, drawn for each sense by itself. ``shift_steps``: time steps, either way, the same
    for both senses. ``shift_pixels``: rows and columns of visual frames, either way. ``shift_channels``: channels of auditory frames, either way.
    """

    drop_share: float = Field(default=0.0, ge=0.0, le=1.0)
    shift_steps: int = Field(default=0, ge=0)
    shift_pixels: int = Field(default=0, ge=0)
    shift_channels: int = Field(default=0, ge=0)

    @property
    def any(self) -> bool:
        """Whether anything is changed at all."""
        return any(self.model_dump().values())


def shifted(frames: Tensor, places: int, axis: int) -> Tensor:
    """Move everything `places` onwards along an axis (back if negative); what leaves is lost, what comes in is empty."""
    if places == 0:
        return frames
    length = frames.shape[axis]
    moved = torch.zeros_like(frames)
    kept = max(length - abs(places), 0)
    moved.narrow(axis, min(max(places, 0), length), kept).copy_(frames.narrow(axis, min(max(-places, 0), length), kept))
    return moved


def dropped(frames: Tensor, share: float, generator: Generator) -> Tensor:
    """Lose each event with the chance `share`, independent of all others; where several are counted, each of them."""
    left = frames.clone()
    counted = frames > 0
    left[counted] = torch.binomial(frames[counted], torch.full_like(frames[counted], 1 - share), generator=generator)
    return left


class EventAugmentation:
    """Random changes of one example, the same for the same generator state.

    Parameters
    ----------
    config : EventAugmentConfig
    """

    def __init__(self, config: EventAugmentConfig):
        self.config = config

    def __call__(self, features: dict[str, Tensor], generator: Generator) -> dict[str, Tensor]:
        """Change the frames of one example, by feature; the order of the features plays no part."""
        config = self.config
        steps, row, column, channel, *losses = torch.rand(6, generator=generator, dtype=torch.float64).tolist()
        changed = {}
        for name, frames in sorted(features.items()):
            frames = shifted(frames, _either_way(steps, config.shift_steps), 0)
            if frames.dim() == 4:
                frames = shifted(shifted(frames, _either_way(row, config.shift_pixels), 2), _either_way(column, config.shift_pixels), 3)
            else:
                frames = shifted(frames, _either_way(channel, config.shift_channels), 2)
            share = losses[frames.dim() == 4] * config.drop_share
            changed[name] = dropped(frames, share, generator) if share else frames
        return changed


def _either_way(drawn: float, largest: int) -> int:
    """Whole number from ``-largest`` to `largest`, from an even random number in [0, 1)."""
    return int(drawn * (2 * largest + 1)) - largest
