"""Train a convolutional network for images without spikes on a cache: one feature in, one class out.

data      one feature as [channel, band, frame]; images unchanged, sounds augmented
model     `models.image_networks`, made to be converted
schedule  Adam at 1e-3, a tenth of it for the second half of the epochs (Wu et al. 2021, section 5.1); cross entropy
fit       up to 100 epochs; the epoch of the lowest validation loss stays
"""

from typing import Literal

from pydantic import Field

from models.train_network import train
from models.training_config import TwinTraining

__all__ = ["TRAINING", "train"]


class ImageTraining(TwinTraining):
    """Training of an image network."""

    learning_rate: float = Field(default=1e-3, gt=0)
    schedule: Literal["constant", "cosine", "step", "plateau"] = "step"


# Settings of the training that `--set` may change, by network.
TRAINING = dict.fromkeys(("mnist_cnn", "alexnet_like", "vgg11_like", "vgg16_like"), ImageTraining)
