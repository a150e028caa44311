"""How networks are trained: the settings that `--set` may change."""

from typing import Literal

from pydantic import Field

from audiodata.settings import Settings
from models.augment import AugmentConfig


class TrainingConfig(Settings):
    """How a network is trained.

    ``feature``: none for the cache's first of mfcc, log_mel and image. ``seed``: of everything random. ``learning_rate``: Adam's, and its
    course over the epochs ``schedule``. ``clip_norm``: largest norm of all gradients together, 0 for no limit. ``monitor``: what decides
    which epoch is the best (measured on the val split; a cache without one keeps the last epoch). ``patience``: epochs without a better
    value until training stops early, 0 for never. ``cut_share``: share of the feature's values beyond either end of the range that is
    scaled to 0 to 1. ``workers``: processes that read; the results do not depend on it. ``device``: "auto" takes a GPU if there is one.
    """

    feature: str | None = None
    seed: int = Field(default=0, ge=0)
    epochs: int = Field(default=100, ge=1)
    batch_size: int = Field(default=32, ge=1)
    learning_rate: float = Field(default=2e-3, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    schedule: Literal["constant", "cosine"] = "cosine"
    clip_norm: float = Field(default=1.0, ge=0)
    monitor: Literal["val_loss", "val_accuracy"] = "val_loss"
    patience: int = Field(default=30, ge=0)
    cut_share: float = Field(default=0.01, ge=0.0, lt=0.5)
    augment: AugmentConfig = AugmentConfig()
    workers: int = Field(default=0, ge=0)
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"


class SpikingTraining(TrainingConfig):
    """Training of a classifying network that spikes: what is learned from its spikes or potentials, and how they are read.

    ``loss``: a key of `models.losses.LOSSES`. ``decode``: a key of `models.decoding.DECODINGS`.
    """

    loss: Literal["ce_count", "ce_rate", "mse_count", "ce_temporal", "ce_max_membrane", "mse_membrane"] = "ce_count"
    decode: Literal["rate", "first_spike"] = "rate"


class TwinTraining(TrainingConfig):
    """Training of a classifying network that does not spike, by the cross entropy of its values."""

    # Names of the spiking networks' choices that come to the same for values at one single step.
    loss: Literal["ce_count"] = "ce_count"
    decode: Literal["rate"] = "rate"
