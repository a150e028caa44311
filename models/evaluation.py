"""Measure a finished run on one split of a cache: ``metrics.json``, ``predictions.csv`` and what else there is to see (`models.runs`)."""

import importlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Generator, nn

from audiodata.errors import AudioDataError, CacheError
from audiodata.settings import Settings, validated
from audiodata.shards import Cache, open_cache, replacing
from models import MODELS, Model
from models.accounting import FLOAT_BITS
from models.classification import Classification, ClassificationTally
from models.data import Batch, Examples, Ranges, evenly_spaced, make_loader
from models.localization import Localization, LocalizationTally
from models.metrics import Meter, cost_summary, record_spikes
from models.reconstruction import Reconstructing, ReconstructionTally
from models.runs import ACTIVITY, ATTENTION, METRICS, PREDICTIONS, RECONSTRUCTIONS, RunRecord, load_weights, read_record, write_json
from models.seeds import derived_generator, derived_seed
from models.separation import Separation, SeparationTally
from models.views import (
    PREFERRED,
    WAVEFORM,
    Source,
    has_time_steps,
    moved,
    open_event_source,
    open_located_source,
    open_mixture_source,
    open_source,
)
from models.votes import SENSES
from models.voting import Voting, VotingTally

AnyTask = Classification | Localization | Voting | Reconstructing | Separation
AnyTally = ClassificationTally | LocalizationTally | VotingTally | ReconstructionTally | SeparationTally
TASKS: dict[str, type[AnyTask]] = {
    "classification": Classification,
    "localization": Localization,
    "voting": Voting,
    "reconstruction": Reconstructing,
    "separation": Separation,
}
# Of so many examples of each class the attention is kept.
ATTENDED_PER_CLASS = 3
# So many examples are drawn beside their reconstructions.
PICTURED = 20


class Measured(NamedTuple):
    """What came out of running a network over some examples.

    Attributes
    ----------
    tally : the task's tally
        Truth and answers: ``examples``, ``summary()`` and ``predictions()``.
    meter : Meter
        Spikes and operations of all examples together.
    """

    tally: AnyTally
    meter: Meter


def evaluate_run(run: Path, cache: Path, split: str = "test", *, fold: bool = False) -> dict[str, Any]:
    """Evaluate the weights of a run.

    Parameters
    ----------
    run : Path
        What a training wrote; ``metrics.json``, ``predictions.csv`` and, for a spiking network, ``activity.npz`` are written there,
        ``attention.npz`` for one that weighs its senses, and ``reconstructions.png`` for one that gives back what it is given.
    cache : Path
        With the classes and the features that the network was trained on.
    split : str
    fold : bool
        Measure the network with its normalisations folded into its weights.

    Returns
    -------
    dict
        The content of ``metrics.json``: the same bytes each time, for the same run, cache and split.

    Raises
    ------
    AudioDataError
        Not a finished run, not a cache, the two do not fit, or a network that can't be folded.
    """
    network, record = load_network(run, fold=fold)
    source = open_for(record.network, cache, record.training_settings)
    check_fits(record, source)
    settings = record.training_settings
    examples = Examples(source, split, seed=settings["seed"])
    generator = derived_generator(settings["seed"], "evaluate")
    found = measure(network, make_loader(examples, settings["batch_size"]), task_of(record, network), record.classes, generator)
    metrics = _about(record, source, split, fold) | found.tally.summary()
    if isinstance(found.tally, SeparationTally):
        metrics["by_label"] = found.tally.by_group(examples.column("label"))
    bits = (record.conversion or {}).get("weight_bits") or FLOAT_BITS
    metrics |= cost_summary(network, found.meter, found.tally.examples, twin_of(record), record.shape, bits)
    write_json(run / METRICS, metrics | {"settings": {"network": record.network_settings, "training": settings}})
    _write_predictions(run / PREDICTIONS, examples, found)
    if network.spiking_layers():
        _write_activity(run / ACTIVITY, network, examples, settings["seed"])
    if metrics.get("attention"):
        _write_attention(run / ATTENTION, network, examples, found.tally, settings["seed"])
    if MODELS[record.network].task == "reconstruction":
        _write_reconstructions(run / RECONSTRUCTIONS, network, examples, settings["seed"])
    return metrics


def measure(network: nn.Module, batches: Iterable[Batch], task: AnyTask, classes: tuple[str, ...], generator: Generator) -> Measured:
    """Run a network over some examples, from a cache or from anywhere else.

    Parameters
    ----------
    network : Module
        Is put in evaluation mode.
    batches : iterable of Batch
    task : Task
        See `TASKS`.
    classes : tuple of str
        Their names.
    generator : Generator
        For encodings that draw random numbers; on the network's device.
    """
    tally, meter, device = task.tally(classes), Meter(network.eval()), generator.device
    with torch.no_grad(), meter.watching():
        for features, targets in batches:
            output = network(moved(features, device), generator)
            tally.add(output, {name: values.to(device) for name, values in targets.items()})
    return Measured(tally, meter)


def load_network(run: Path, *, fold: bool = False) -> tuple[nn.Module, RunRecord]:
    """Load what a run trained.

    Parameters
    ----------
    run : Path
    fold : bool
        Fold its normalisations into its weights.

    Returns
    -------
    network : Module
        In evaluation mode.
    record : RunRecord

    Raises
    ------
    AudioDataError
        Not a finished run, or a network that can't be folded.
    """
    record = read_record(run)
    network = build_network(record)
    if record.conversion is not None:
        network = converted(network, record)
    if MODELS[record.network].trained:
        load_weights(run, network)
    network.eval()
    return (folded(network, record.network) if fold else network), record


def converted(network: nn.Module, record: RunRecord) -> nn.Module:
    """Make a network without spikes the spiking one that a converted run holds, with weights still to be loaded."""
    from models.tandem import skeleton  # which builds on this module

    return skeleton(network, record.conversion)


def folded(network: nn.Module, name: str) -> nn.Module:
    """Give a copy with its normalisations folded into its weights; `AudioDataError` for a network that has no ``fold``."""
    if not hasattr(network, "fold"):
        raise AudioDataError(f"--fold: `{name}` has no normalisation that can be folded into its weights")
    return network.fold()


def task_of(record: RunRecord, network: nn.Module) -> AnyTask:
    """Task that a run's network was trained for, with its settings."""
    training = validated(training_of(record.network), record.training_settings, f"the run of {record.network}")
    return TASKS[MODELS[record.network].task].of(training, network)


def training_of(name: str) -> type[Settings]:
    """Settings of a network's training."""
    return importlib.import_module(MODELS[name].page).TRAINING[name]


def open_for(name: str, cache: Path, training: dict[str, Any]) -> Source:
    """Open a cache for a network, with the features that it takes.

    Raises
    ------
    CacheError
        The cache lacks what the network needs.
    """
    model = MODELS[name]
    _check_kind(name, open_cache(cache))
    if model.task == "voting":
        return open_event_source(cache, model.features)
    if model.task == "localization":
        return open_located_source(cache, model.features)
    if model.task == "separation":
        return open_mixture_source(cache)
    return open_source(cache, training["feature"], labelled=model.task == "classification")


def _check_kind(name: str, cache: Cache) -> None:
    """Raise `CacheError` where a network that takes no frames of events is given nothing else, or one that takes them is given none."""
    model = MODELS[name]
    events = any(has_time_steps(layout) for layout in cache.features.values())
    if (model.task == "voting" and not events) or (model.task != "voting" and events and not _takes(model, cache)):
        takers = ", ".join(other for other, model in MODELS.items() if _takes(model, cache)) or "none"
        wanted = " and ".join(" or ".join(names) for names in _wanted(model))
        raise CacheError(
            f"{cache.path}: has the features {', '.join(cache.features)}; `{name}` takes {wanted}; networks that take what there is: {takers}"
        )


def _wanted(model: Model) -> list[tuple[str, ...]]:
    if model.task in ("classification", "reconstruction"):
        return [PREFERRED]
    if model.task == "separation":
        return [(WAVEFORM,)]
    return [(each,) if isinstance(each, str) else each for each in model.features]


def _takes(model: Model, cache: Cache) -> bool:
    found = all(any(name in cache.features for name in names) for names in _wanted(model))
    return found and (model.task != "localization" or "azimuth_deg" in cache.targets)


def check_fits(record: RunRecord, source: Source) -> None:
    """Raise `CacheError` unless a cache has the classes and the shape of features that a network was made for."""
    for what, expected, found in (("classes", record.classes, source.classes), ("shape", record.shape, source.shape)):
        if expected != found:
            raise CacheError(f"{source.cache.path}: has the {what} {_listed(found)}, the network was trained for {_listed(expected)}")


def _listed(value: tuple | dict) -> str:
    return ", ".join(f"{name} {list(shape)}" for name, shape in value.items()) if isinstance(value, dict) else str(list(value))


def build_network(record: RunRecord) -> nn.Module:
    """Build a run's network, with weights at random."""
    model = MODELS[record.network]
    return model.build(validated(model.config, record.network_settings, record.network), record.shape, len(record.classes))


def new_network(record: RunRecord) -> nn.Module:
    """Build a run's network with the first weights that its seed gives."""
    torch.manual_seed(derived_seed(record.training_settings["seed"], "weights"))
    return build_network(record)


def scaled_features(network: nn.Module, source: Source) -> list[str]:
    """Features that a network scales by measured ranges; one that takes several may leave some as they are."""
    return list(network.scaling) if isinstance(network.scaling, nn.ModuleDict) else [source.feature]


def set_ranges(network: nn.Module, ranges: dict[str, Ranges]) -> None:
    """Give a network the measured ranges of the features that it scales."""
    for name, found in ranges.items():
        scaling = network.scaling[name] if isinstance(network.scaling, nn.ModuleDict) else network.scaling
        scaling.set_range(found.low, found.high)


def twin_of(record: RunRecord) -> nn.Module | None:
    """Build the network with the same layers and without spikes, of a converted one that which it was made from; None for one that has none."""
    if record.conversion is not None:
        return build_network(record).eval()
    name = MODELS[record.network].twin
    if not name:
        return None
    config = MODELS[name].config
    shared = config(**{key: value for key, value in record.network_settings.items() if key in config.model_fields})
    return MODELS[name].build(shared, record.shape, len(record.classes))


def record_of(name: str, settings: Settings, training: Settings, source: Source) -> RunRecord:
    """Describe a run that is to train a network on a source."""
    resolved = training.model_dump(mode="json")
    resolved |= {"feature": source.feature} if "feature" in resolved else {}
    return RunRecord(name, settings.model_dump(mode="json"), resolved, source.shape, source.classes, source.identity())


def measured_split(source: Source) -> str:
    """Split that a training is measured on in the end: test, else val, else train."""
    return next((split for split in ("test", "val") if source.examples_in(split)), "train")


def _about(record: RunRecord, source: Source, split: str, fold: bool) -> dict[str, Any]:
    network, training, conversion = record.network_settings, record.training_settings, record.conversion
    return {
        "network": record.network,
        "split": split,
        "feature": list(source.views) if source.by_name else source.feature,
        "shape": source.shape,
        "seed": training["seed"],
        "time_steps": conversion["time_steps"] if conversion else network.get("time_steps") or source.time_steps,
        "encoding": network.get("encoding"),
        "decode": training.get("decode"),
        "folded": fold,
        "trained_on": record.cache,
        "evaluated_on": source.identity(),
    } | ({"conversion": conversion} if conversion else {})


def _write_predictions(path: Path, examples: Examples, found: Measured) -> None:
    table = pd.DataFrame({"example_id": examples.example_ids()} | found.tally.predictions())
    with replacing(path) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")


def _write_activity(path: Path, network: nn.Module, examples: Examples, seed: int) -> None:
    layers = record_spikes(network, examples.read([0]).features, derived_generator(seed, "evaluate"))
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **layers)


def _write_attention(path: Path, network: nn.Module, examples: Examples, tally: VotingTally, seed: int) -> None:
    """Keep the weights of the senses over time for the first examples of each class, in the order of the split."""
    label, predicted = (tally.indices(name).numpy() for name in ("label", "predicted_label"))
    positions = np.sort(np.concatenate([np.flatnonzero(label == number)[:ATTENDED_PER_CLASS] for number in range(len(tally.classes))]))
    with torch.no_grad():
        output = network(examples.read(positions.tolist()).features, derived_generator(seed, "evaluate"))
    names = np.array(tally.classes)
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(
            file,
            weights=output.attention.transpose(0, 1).numpy(),  # [example, T, sense]
            senses=np.array(SENSES),
            label=names[label[positions]],
            predicted=names[predicted[positions]],
            example_id=np.array([examples.example_id(position) for position in positions]),
        )


def _write_reconstructions(path: Path, network: nn.Module, examples: Examples, seed: int) -> None:
    from models.reconstruction_pictures import reconstruction_pairs  # matplotlib takes a second to import

    features = examples.read(evenly_spaced(len(examples), PICTURED)).features
    with torch.no_grad():
        output = network(features, derived_generator(seed, "evaluate"))
    values, wanted = (part.view_as(features).numpy() for part in output)
    figure = reconstruction_pairs(wanted, values)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=130)
