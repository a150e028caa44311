"""Train the network that takes speakers apart on a cache of mixtures (Wu et al. 2021, section 6.3.2).

data      the feature `waveform`: the mixture, and its sources as what is wanted; as cached, or mixed anew in each epoch
model     `models.separator`, its filters, channels and layers as settings
schedule  Adam at 1e-3, halved after 3 epochs without a lower validation loss; the loss is minus the SI-SDR, whichever output is which speaker
fit       up to 100 epochs, stopped early after 10 without a lower validation loss; the epoch of the lowest stays
"""

from models.train_network import train
from models.training_config import SeparationTraining

__all__ = ["TRAINING", "train"]

# Settings of the training that `--set` may change, by network.
TRAINING = {"separator": SeparationTraining}
