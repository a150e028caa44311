"""Train a reference network on a cache: one feature in, one class out.

data      one feature as [channel, band, frame], augmented as for sounds
model     `models.reference_networks`, with weights at random
schedule  Adam along a cosine, VGG-16 at a tenth of the others' rate; cross entropy
fit       up to 50 epochs, as many as those of Courregé and Gandeel (2024, section 4.1: 40 to 60); the epoch of the lowest validation loss stays
"""

from pydantic import Field

from models.train_network import train
from models.training_config import TwinTraining

__all__ = ["TRAINING", "train"]


class ReferenceTraining(TwinTraining):
    """Training of a reference network; ``batch_size`` 2 or more, since the spread over a batch normalises it."""

    epochs: int = Field(default=50, ge=1)
    batch_size: int = Field(default=32, ge=2)
    learning_rate: float = Field(default=1e-3, gt=0)


class VggTraining(ReferenceTraining):
    """Training of VGG-16, which nothing normalises."""

    learning_rate: float = Field(default=1e-4, gt=0)


# Settings of the training that `--set` may change, by network.
TRAINING = dict.fromkeys(("resnet50", "resnet101", "efficientnet_b0", "densenet121", "mobilenet_v2"), ReferenceTraining) | {"vgg16": VggTraining}
