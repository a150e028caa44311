"""Train SpikSLC-Net, its twin or another localizing network on a cache: several features in, direction and class out.

data      the features that the network names, each as [channel or pair, band or lag, frame], as they are
model     `models.spikslcnet` and the networks that it is compared with
schedule  AdamW along a cosine; squared error of the curve over azimuths and cross entropy of the classes (Eq. 17 to 19)
fit       up to 100 epochs; the epoch of the lowest validation loss stays
"""

from typing import Literal

from pydantic import Field

from models.train_network import train
from models.training_config import LocalizationTraining, Measuring

__all__ = ["TRAINING", "train"]


class SlcnetTraining(LocalizationTraining):
    """Training of the SLoClas authors' network: theirs, but for early stop and course of the rate (Qian et al. 2021)."""

    optimizer: Literal["adam", "adamw"] = "adam"
    learning_rate: float = Field(default=1e-3, gt=0)
    doa_weight: float = Field(default=0.99, ge=0.0, le=1.0)
    doa_error: Literal["mean", "sum"] = "mean"
    weight_decay: float = Field(default=0.0, ge=0)


# Settings of the training that `--set` may change, by network.
TRAINING = dict.fromkeys(("spikslcnet", "slcnet", "gcc_phat_cnn", "mtpc_csnn"), LocalizationTraining)
TRAINING |= {"sloclas_slcnet": SlcnetTraining, "srp_phat": Measuring, "gcc_argmax": Measuring}
