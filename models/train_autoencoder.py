"""Train the autoencoder on a cache: one feature in, the same feature out.

data      one feature as [channel, band, frame], with classes or without, unchanged
model     `models.autoencoder`
schedule  Adam at 1e-3, a tenth of it for the second half of the epochs; mean squared error (Wu et al. 2021, section 6.3.1)
fit       up to 100 epochs; the epoch of the lowest validation loss stays
"""

from models.train_network import train
from models.training_config import ReconstructionTraining

__all__ = ["TRAINING", "train"]

# Settings of the training that `--set` may change, by network.
TRAINING = {"autoencoder": ReconstructionTraining}
