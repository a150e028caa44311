"""Train the networks for one sense or two on a cache of events: frames of events in, one class by vote out.

data      the frames that the network names, [time, polarity, ...], held as small as they are cached
model     `models.v_network` and `models.a_network` for one sense, `models.multimodal` for both, with attention or without
schedule  Adam at 1e-3; squared distance of the mean votes to the right ones, in all parts together (Liu et al. 2022, Eq. 6 and 7)
fit       up to 100 epochs; the epoch of the lowest validation loss stays
"""

from models.train_network import train
from models.training_config import VotingTraining

__all__ = ["TRAINING", "train"]

# Settings of the training that `--set` may change, by network.
TRAINING = dict.fromkeys(("v_network", "a_network", "multimodal", "multimodal_fc"), VotingTraining)
