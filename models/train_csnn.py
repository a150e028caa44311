"""Train the convolutional spiking network or its twin on a cache: one feature in, one class out.

data      one feature as [channel, band, frame], augmented as for sounds
model     `models.csnn`, its neurons and encoding as settings
schedule  Adam at 2e-3 along a cosine; cross entropy of spike counts, or another of `models.losses.LOSSES`
fit       up to 100 epochs; the epoch of the lowest validation loss stays
"""

from models.train_network import train
from models.training_config import SpikingTraining, TwinTraining

__all__ = ["TRAINING", "train"]

# Settings of the training that `--set` may change, by network.
TRAINING = {"csnn": SpikingTraining, "cnn": TwinTraining}
