"""Train the feed-forward spiking network or its twin on a cache: one feature in, one class out.

data      one feature as [channel, band, frame], augmented as for sounds
model     `models.feedforward`, its neurons and encoding as settings
schedule  Adam at a tenth of the convolutional networks' rate along a cosine; the same losses
fit       up to 100 epochs; the epoch of the lowest validation loss stays
"""

from pydantic import Field

from models.train_network import train
from models.training_config import SpikingTraining, TwinTraining

__all__ = ["TRAINING", "train"]

# A hidden unit adds up thousands of inputs between 0 and 1, none of them negative: at the rate that suits convolutions, the first few
# steps change its sum by several thresholds and every neuron falls silent for good.
LEARNING_RATE = 2e-4


class FeedforwardTraining(SpikingTraining):
    """Training of the feed-forward spiking network."""

    learning_rate: float = Field(default=LEARNING_RATE, gt=0)


class MlpTraining(TwinTraining):
    """Training of its twin."""

    learning_rate: float = Field(default=LEARNING_RATE, gt=0)


# Settings of the training that `--set` may change, by network.
TRAINING = {"feedforward": FeedforwardTraining, "mlp": MlpTraining}
