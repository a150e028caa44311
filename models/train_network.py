"""Train any network on a cache: data, model, schedule, fit, measure. What differs from network to network, its own page says."""

from pathlib import Path
from typing import Any

from audiodata.settings import Settings
from models import MODELS
from models.data import load_data
from models.evaluation import TASKS, evaluate_run, measured_split, new_network, open_for, record_of, scaled_features, set_ranges
from models.runs import RunRecord, begin, finish
from models.stbp import fit_start
from models.training import Learner, fit
from models.training_config import TrainingConfig
from models.views import Source

# On which the currents at the start are measured.
EXAMPLES_AT_START = 32


def train(name: str, cache: Path, run: Path, settings: Settings, training: Settings, *, resume: bool = False) -> dict[str, Any]:
    """Train and measure; of an estimator without training, measure.

    Parameters
    ----------
    name : str
        A key of `models.MODELS`.
    cache : Path
    run : Path
        The folder to write; see `models.runs`.
    settings : Settings
        Of the network.
    training : Settings
        Of its training, as its page's ``TRAINING`` says.
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
    source = open_for(name, cache, training.model_dump())
    record = record_of(name, settings, training, source)
    if not MODELS[name].trained:
        begin(run, record, resume=resume)
    else:
        fit_network(source, record, run, training, resume=resume)

    # measure: on the test split, where there is one
    return evaluate_run(run, cache, measured_split(source))


def fit_network(source: Source, record: RunRecord, run: Path, training: TrainingConfig, *, resume: bool) -> None:
    """Train what a record describes, or go on with it, and keep the best epoch's weights."""
    # model: first weights by the seed
    network = new_network(record)

    # data: features as [channel, band, frame]; what those range over that the network scales is measured on the training split, and
    # travels with the weights
    data = load_data(source, training, scaled_features(network, source))
    set_ranges(network, data.ranges)
    if hasattr(network, "driven_layers") and training.fit_start:
        fit_start(network, data.some(EXAMPLES_AT_START).features)

    # schedule: Adam or AdamW, its rate along a cosine over the epochs; the loss is the task's
    learner = Learner(network, TASKS[MODELS[record.network].task].of(training, network), training)

    # fit: epoch by epoch until the last one or until patience ends; the weights of the best epoch stay
    if begin(run, record, resume=resume):
        curves = fit(learner, data.train, data.val, run, resume=resume)
        finish(run, network, curves.seconds)
