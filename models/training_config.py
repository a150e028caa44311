"""How networks are trained: the settings that `--set` may change."""

from typing import Literal

from pydantic import Field

from audiodata.settings import Settings
from models.augment import AugmentConfig
from models.event_augment import EventAugmentConfig


class TrainingConfig(Settings):
    """How a network is trained.

    ``seed``: of everything random. ``optimizer``: "adam" (Kingma & Ba 2015), whose ``weight_decay`` is an L2 penalty, or "adamw" (Loshchilov
    & Hutter 2019), whose weights decay by themselves. ``learning_rate``: its step size, and its course over the epochs ``schedule`` (see
    `models.schedules`; "plateau" halves it after three epochs without a lower loss on the val split).
    ``clip_norm``: largest norm of all gradients together, 0 for no limit. ``patience``: epochs without a better value until training stops
    early, 0 for never. ``cut_share``: share of a feature's values beyond either end of the range that is scaled to 0 to 1. ``workers``:
    processes that read; the results do not depend on it. ``device``: "auto" takes a GPU if there is one.
    """

    seed: int = Field(default=0, ge=0)
    epochs: int = Field(default=100, ge=1)
    batch_size: int = Field(default=32, ge=1)
    optimizer: Literal["adam", "adamw"] = "adam"
    learning_rate: float = Field(default=2e-3, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    schedule: Literal["constant", "cosine", "step", "plateau"] = "cosine"
    clip_norm: float = Field(default=1.0, ge=0)
    patience: int = Field(default=30, ge=0)
    cut_share: float = Field(default=0.01, ge=0.0, lt=0.5)
    workers: int = Field(default=0, ge=0)
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"


class ClassificationTraining(TrainingConfig):
    """Training of a network that takes one feature and tells classes apart.

    ``feature``: none for the cache's first of mfcc, log_mel and image. ``monitor``: what decides which epoch is the best (measured on the val
    split; a cache without one keeps the last epoch). ``augment``: random changes of the training examples.
    """

    feature: str | None = None
    monitor: Literal["val_loss", "val_accuracy"] = "val_loss"
    augment: AugmentConfig = AugmentConfig()


class SpikingTraining(ClassificationTraining):
    """Training of a classifying network that spikes: what is learned from its spikes or potentials, and how they are read.

    ``loss``: a key of `models.losses.LOSSES`. ``decode``: a key of `models.decoding.DECODINGS`.
    """

    loss: Literal["ce_count", "ce_rate", "mse_count", "ce_temporal", "ce_max_membrane", "mse_membrane"] = "ce_count"
    decode: Literal["rate", "first_spike"] = "rate"


class TwinTraining(ClassificationTraining):
    """Training of a classifying network that does not spike, by the cross entropy of its values."""

    # Names of the spiking networks' choices that come to the same for values at one single step.
    loss: Literal["ce_count"] = "ce_count"
    decode: Literal["rate"] = "rate"


class ReconstructionTraining(TrainingConfig):
    """Training of a network that gives back what it is given, as in Wu et al. (2021, section 6.3.1).

    ``feature``: none for the cache's first of mfcc, log_mel and image. ``cut_share``: none by default, so that pixels keep their values and the
    squared error is one of pixels. ``monitor``: what decides which epoch is the best (measured on the val split; a cache without one keeps the
    last epoch).
    """

    learning_rate: float = Field(default=1e-3, gt=0)
    schedule: Literal["constant", "cosine", "step", "plateau"] = "step"
    cut_share: float = Field(default=0.0, ge=0.0, lt=0.5)
    feature: str | None = None
    monitor: Literal["val_loss"] = "val_loss"


class LocalizationTraining(TrainingConfig):
    """Training of a network that finds direction and class together, as in SpikSLC-Net (2023, sections 4.4 and 5.1).

    ``doa_weight``: share of the direction's loss, lambda of Eq. 19; the rest is the class's; 0 and 1 leave one of them out. ``doa_error``:
    squared error of the 360 outputs as their "mean" or their "sum", see `models.losses.azimuth_error`. ``sigma_deg``: width of the curve that
    is aimed at (Eq. 16). ``tolerance_deg``: a direction is right that is off by less than this, one figure for each (Eq. 20). ``monitor``:
    what decides which epoch is the best: "val_mae" is the direction's mean error, "val_doa_accuracy" the share within the first tolerance,
    "val_accuracy" that of right classes.

    The paper's own are `learning_rate` 1e-4 and `doa_weight` 0.99, for 50,000 segments whose sounds are the same in training and test. With a
    few thousand examples of other sounds the values here learned faster, and the classes as well as the directions.
    """

    optimizer: Literal["adam", "adamw"] = "adamw"
    learning_rate: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)
    clip_norm: float = Field(default=0.0, ge=0)
    doa_weight: float = Field(default=0.8, ge=0.0, le=1.0)
    doa_error: Literal["mean", "sum"] = "sum"
    sigma_deg: float = Field(default=5.0, gt=0.0)
    tolerance_deg: tuple[float, ...] = Field(default=(2.5, 5.0), min_length=1)
    monitor: Literal["val_loss", "val_mae", "val_doa_accuracy", "val_accuracy"] = "val_loss"


class VotingTraining(TrainingConfig):
    """Training of a network that votes over time on recordings of events (Liu et al. 2022, sections 2.4 and 3.2).

    ``fit_start``: scale the first weights by the currents that training examples cause (`models.stbp.fit_start`). ``answer_weight``,
    ``visual_weight``, ``auditory_weight``: of the losses of the network's own votes and of those of its sub-networks (L_m, L_v and L_a of
    Eq. 6). ``monitor``: what decides which epoch is the best (measured on the val split; a cache without one keeps the last
    epoch). ``augment``: random changes of the training examples, none in the paper. ``cut_share`` has no meaning for events. The paper names
    neither optimizer, nor batch size, nor number of epochs.
    """

    learning_rate: float = Field(default=1e-3, gt=0)
    schedule: Literal["constant", "cosine", "step", "plateau"] = "constant"
    clip_norm: float = Field(default=0.0, ge=0)
    fit_start: bool = True
    answer_weight: float = Field(default=1.0, ge=0.0)
    visual_weight: float = Field(default=1.0, ge=0.0)
    auditory_weight: float = Field(default=1.0, ge=0.0)
    augment: EventAugmentConfig = EventAugmentConfig()
    monitor: Literal["val_loss", "val_accuracy"] = "val_loss"


class SeparationTraining(TrainingConfig):
    """Training of a network that takes mixtures apart, as in Wu et al. (2021, section 6.3.2).

    ``mixing``: "cached", or "dynamic": training examples are mixed anew in each epoch out of the sources in the cache, at a ratio of ``snr_db``
    (lowest and highest, dB; see `models.dynamic_mixing`). ``pesq``: whether `evaluate` measures PESQ: "auto" where it can, "on", "off"; of
    ``pesq_examples`` examples at most, as it takes far longer than all else. ``monitor``: what decides which epoch is the best (measured on
    the val split; a cache without one keeps the last epoch, and needs another ``schedule``). ``cut_share`` has no meaning for waveforms. The
    paper does not name ``batch_size`` and ``clip_norm``; the latter is that of Luo and Mesgarani (2019).
    """

    batch_size: int = Field(default=8, ge=1)
    learning_rate: float = Field(default=1e-3, gt=0)
    schedule: Literal["constant", "cosine", "step", "plateau"] = "plateau"
    clip_norm: float = Field(default=5.0, ge=0)
    patience: int = Field(default=10, ge=0)
    mixing: Literal["cached", "dynamic"] = "cached"
    snr_db: tuple[float, float] = (0.0, 5.0)
    pesq: Literal["auto", "on", "off"] = "auto"
    pesq_examples: int = Field(default=200, ge=1)
    monitor: Literal["val_loss"] = "val_loss"


class Measuring(Settings):
    """How an estimator of directions without training is measured; ``tolerance_deg``, ``sigma_deg`` as in `LocalizationTraining`."""

    seed: int = Field(default=0, ge=0)
    batch_size: int = Field(default=256, ge=1)
    doa_weight: Literal[1.0] = 1.0
    doa_error: Literal["mean"] = "mean"
    sigma_deg: float = Field(default=5.0, gt=0.0)
    tolerance_deg: tuple[float, ...] = Field(default=(2.5, 5.0), min_length=1)
