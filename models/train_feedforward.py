"""Train the feed-forward spiking network or its twin on a cache: data, model, schedule, fit, measure."""

from pathlib import Path
from typing import Any

from pydantic import Field

from models.classification import Classification
from models.data import load_data
from models.evaluation import evaluate_run, measured_split, new_network, record_of
from models.feedforward import MlpConfig
from models.runs import begin, finish
from models.training import Learner, fit
from models.training_config import SpikingTraining, TwinTraining

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


def train(
    name: str, cache: Path, run: Path, settings: MlpConfig, training: FeedforwardTraining | MlpTraining, *, resume: bool = False
) -> dict[str, Any]:
    """Train and measure.

    Parameters
    ----------
    name : str
        A key of `TRAINING`.
    cache : Path
    run : Path
        The folder to write; see `models.runs`.
    settings : MlpConfig
        Of the network.
    training : FeedforwardTraining or MlpTraining
    resume : bool
        Go on with what an earlier call began.

    Returns
    -------
    dict
        The content of ``metrics.json``.

    Raises
    ------
    AudioDataError
        Cache, settings and run do not fit together.
    """
    # data: one feature as [channel, band, frame], augmented while training; what it ranges over is measured on the training split
    data = load_data(cache, training)
    record = record_of(name, settings, training, data.source)

    # model: first weights by the seed; the measured ranges travel with the weights
    network = new_network(record, data.ranges)

    # schedule: Adam, its rate along a cosine over the epochs; the loss reads spikes or membrane potentials
    learner = Learner(network, Classification(training.loss, training.decode), training)

    # fit: epoch by epoch until the last one or until patience ends; the weights of the best epoch stay
    if begin(run, record, resume=resume):
        curves = fit(learner, data.train, data.val, run, resume=resume)
        finish(run, network, curves.seconds)

    # measure: on the test split, where there is one
    return evaluate_run(run, cache, measured_split(data.source))
