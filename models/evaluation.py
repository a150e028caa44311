"""Measure a finished run on one split of a cache: ``metrics.json`` and ``activity.npz``."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from audiodata.errors import CacheError
from audiodata.settings import Settings, validated
from audiodata.shards import replacing
from models import MODELS
from models.classification import Classification, Evaluation, evaluate, summarize, summarize_cost
from models.data import Examples, Ranges, Source, make_loader, open_source
from models.metrics import record_spikes
from models.runs import ACTIVITY, METRICS, RunRecord, load_weights, read_record, write_json
from models.seeds import derived_generator, derived_seed


def evaluate_run(run: Path, cache: Path, split: str = "test") -> dict[str, Any]:
    """Evaluate the weights of a run.

    Parameters
    ----------
    run : Path
        What a training wrote; ``metrics.json`` and, for a spiking network, ``activity.npz`` are written there.
    cache : Path
        With the classes and the feature that the network was trained on.
    split : str

    Returns
    -------
    dict
        The content of ``metrics.json``: the same bytes each time, for the same run, cache and split.

    Raises
    ------
    AudioDataError
        Not a finished run, not a cache, or the two do not fit.
    """
    record = read_record(run)
    source = open_source(cache, record.training_settings["feature"])
    check_fits(record, source)
    network = build_network(record)
    load_weights(run, network)
    settings = record.training_settings
    task = Classification(settings.get("loss", "ce_count"), settings.get("decode", "rate"))
    examples = Examples(source, split, seed=settings["seed"])
    generator = derived_generator(settings["seed"], "evaluate")
    found = evaluate(network, make_loader(examples, settings["batch_size"]), task, len(record.classes), generator)
    metrics = _about(record, source, split) | summarize(found, record.classes) | _cost(record, network, found)
    write_json(run / METRICS, metrics | {"settings": {"network": record.network_settings, "training": settings}})
    if network.spiking_layers():
        _write_activity(run / ACTIVITY, network, examples, settings["seed"])
    return metrics


def check_fits(record: RunRecord, source: Source) -> None:
    """Raise `CacheError` unless a cache has the classes and the shape of features that a network was made for."""
    for what, expected, found in (("classes", record.classes, source.classes), ("shape", record.shape, source.shape)):
        if expected != found:
            raise CacheError(f"{source.cache.path}: has the {what} {list(found)}, the network was trained for {list(expected)}")


def build_network(record: RunRecord) -> nn.Module:
    """Build a run's network, with weights at random."""
    model = MODELS[record.network]
    return model.build(validated(model.config, record.network_settings, record.network), record.shape, len(record.classes))


def new_network(record: RunRecord, ranges: Ranges) -> nn.Module:
    """Build a run's network with the first weights that its seed gives, scaled to measured ranges."""
    torch.manual_seed(derived_seed(record.training_settings["seed"], "weights"))
    network = build_network(record)
    network.scaling.set_range(ranges.low, ranges.high)
    return network


def record_of(name: str, settings: Settings, training: Settings, source: Source) -> RunRecord:
    """Describe a run that is to train a network on a source."""
    resolved = training.model_dump(mode="json") | {"feature": source.feature}
    return RunRecord(name, settings.model_dump(mode="json"), resolved, source.shape, source.classes, source.identity())


def measured_split(source: Source) -> str:
    """Split that a training is measured on in the end: test, else val, else train."""
    return next((split for split in ("test", "val") if source.examples_in(split)), "train")


def _about(record: RunRecord, source: Source, split: str) -> dict[str, Any]:
    network, training = record.network_settings, record.training_settings
    return {
        "network": record.network,
        "split": split,
        "feature": source.feature,
        "shape": list(record.shape),
        "seed": training["seed"],
        "time_steps": network.get("time_steps"),
        "encoding": network.get("encoding"),
        "decode": training.get("decode"),
        "trained_on": record.cache,
        "evaluated_on": source.identity(),
    }


def _cost(record: RunRecord, network: nn.Module, found: Evaluation) -> dict[str, Any]:
    name = MODELS[record.network].twin
    if not name:
        return summarize_cost(network, found, None, record.shape)
    config = MODELS[name].config
    shared = config(**{key: value for key, value in record.network_settings.items() if key in config.model_fields})
    twin = MODELS[name].build(shared, record.shape, len(record.classes))
    return summarize_cost(network, found, twin, record.shape)


def _write_activity(path: Path, network: nn.Module, examples: Examples, seed: int) -> None:
    features = examples.read([0]).features[0]
    layers = record_spikes(network, features, derived_generator(seed, "evaluate"))
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **layers)
