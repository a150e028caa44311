"""From the run of an ANN to the run of a spiking network: by conversion alone, or by progressive training.

Both write a folder that `evaluate` understands (`models.runs`), with the settings of the conversion and its thresholds in ``config.json``, and

conversion.json, .md, .png     the errors of each layer (`models.conversion_report`), beside the ANN's weights as they were trained in the end

A progressive training adds

tandem.json     ANN, primitive conversion and progressive training side by side; each stage with what was measured before and in its best epoch
progress.png    what was measured over all epochs, stage by stage
"""

import copy
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from torch import nn

from audiodata.errors import AudioDataError
from audiodata.fingerprint import hash_file
from audiodata.settings import validated
from audiodata.shards import replacing
from models import MODELS
from models.chain import check_convertible
from models.conversion_report import CONVERSION, conversion_report, markdown
from models.data import Examples, changing, evenly_spaced, make_loader, measure_ranges
from models.evaluation import (
    build_network,
    check_fits,
    evaluate_run,
    load_network,
    measure,
    measured_split,
    open_for,
    scaled_features,
    task_of,
    training_of,
)
from models.progressive import CURVES, TandemResult, TandemTraining, fine_tune
from models.runs import TIMING, WEIGHTS, RunRecord, begin, read_record, save_weights, write_json, write_record
from models.seeds import derived_generator
from models.spiking_chain import SpikingNetwork
from models.tandem import ConversionConfig, conversion_record, convert
from models.tandem_data import ExampleSet
from models.training_config import TrainingConfig
from models.views import Source

TANDEM, PROGRESS = "tandem.json", "progress.png"
CONVERSION_TABLE, CONVERSION_PICTURE = "conversion.md", "conversion.png"
# On which the errors of each layer are measured.
REPORTED_EXAMPLES = 128


class Figure(NamedTuple):
    """The one number that says how well a network does its task.

    Attributes
    ----------
    name : str
        A key of ``metrics.json``.
    higher : bool
        Whether more is better.
    label : str
        For people, with its unit.
    """

    name: str
    higher: bool
    label: str


FIGURES = {
    "classification": Figure("accuracy", True, "accuracy"),
    "reconstruction": Figure("mse", False, "mean squared error"),
    "separation": Figure("si_sdr_improvement", True, "SI-SDR improvement / dB"),
}


class TrainedAnn(NamedTuple):
    """A trained ANN and the cache that it is converted with.

    Attributes
    ----------
    network : Module
        In evaluation mode.
    record : RunRecord
    source : Source
    origin : dict
        ``run`` (the folder's name) and ``weights_sha256``.
    """

    network: nn.Module
    record: RunRecord
    source: Source
    origin: dict[str, str]

    @property
    def figure(self) -> Figure:
        """What it is judged by."""
        return FIGURES[MODELS[self.record.network].task]

    @property
    def seed(self) -> int:
        """Of its training."""
        return self.record.training_settings["seed"]

    def converted_record(self, config: ConversionConfig, method: str) -> RunRecord:
        """Describe a run that is to convert it; thresholds are still to come."""
        return self.record._replace(conversion=config.model_dump(mode="json") | {"method": method, "from": self.origin})

    def convert(self, config: ConversionConfig) -> SpikingNetwork:
        """Convert it without training, its thresholds measured on training examples evenly spaced over the split."""
        examples = Examples(self.source, "train", seed=self.seed)
        return convert(self.network, examples.read(evenly_spaced(len(examples), config.threshold_examples)).features, config)

    def measured(self, network: nn.Module, split: str) -> float | None:
        """Give the figure of a network that does its task, itself for one, on a split."""
        settings = self.record.training_settings
        quick = self.record._replace(training_settings=settings | ({"pesq": "off"} if "pesq" in settings else {}))
        batches = make_loader(Examples(self.source, split, seed=self.seed), settings["batch_size"])
        generator = derived_generator(self.seed, "evaluate")
        found = measure(network, batches, task_of(quick, self.network), self.record.classes, generator)
        return found.tally.summary()[self.figure.name]


def open_ann(run: Path, cache: Path) -> TrainedAnn:
    """Load a run that is to be converted.

    Raises
    ------
    AudioDataError
        Not a finished run, one of a network that can't be converted or spikes already, or a cache that does not fit it; what can't be converted
        is said before anything is read.
    """
    record = read_record(run)
    _check_not_spiking(run, record)
    check_convertible(build_network(record), record.network)
    network, record = load_network(run)
    source = open_for(record.network, cache, record.training_settings)
    check_fits(record, source)
    return TrainedAnn(network, record, source, {"run": Path(run).resolve().name, "weights_sha256": hash_file(run / WEIGHTS)})


def _check_not_spiking(run: Path, record: RunRecord) -> None:
    if record.conversion is not None:
        origin = record.conversion["from"]["run"]
        raise AudioDataError(f"{run}: is a spiking network already, made of the run {origin}; convert that one again with other settings")
    model = MODELS[record.network]
    if model.kind == "SNN":
        instead = f"train and convert the ANN `{model.twin}`, not `{record.network}`" if model.twin else "convert an ANN; `list` shows them"
        raise AudioDataError(f"{run}: `{record.network}` spikes already; {instead}")


def convert_run(run: Path, cache: Path, out: Path, settings: Mapping[str, Any], *, resume: bool = False) -> dict[str, Any]:
    """Convert a trained network without training, and measure it.

    Parameters
    ----------
    run : Path
        Of an ANN.
    cache : Path
        That it was trained on.
    out : Path
        The run to write.
    settings : mapping
        Of `models.tandem.ConversionConfig`.
    resume : bool
        Only measure, where it has been converted already.

    Returns
    -------
    dict
        The content of ``metrics.json``.

    Raises
    ------
    AudioDataError
        An unknown setting, or what `open_ann` and `models.tandem.convert` raise.
    """
    config = validated(ConversionConfig, settings, "--set")
    ann = open_ann(run, cache)
    record = ann.converted_record(config, "primitive")
    if begin(out, record, resume=resume):
        started = time.monotonic()
        spiking = ann.convert(config)
        _write_report(out, ann, ann.network, spiking, config)
        _write_converted(out, record, spiking, config)
        write_json(out / TIMING, {"seconds": time.monotonic() - started})
    return evaluate_run(out, cache, measured_split(ann.source))


def tandem_run(run: Path, cache: Path, out: Path, settings: Mapping[str, Any], *, resume: bool = False) -> dict[str, Any]:
    """Convert a trained network by progressive tandem learning, and measure it beside the ANN and its primitive conversion.

    Parameters
    ----------
    run, cache, out
        As for `convert_run`.
    settings : mapping
        Of `models.progressive.TandemTraining`.
    resume : bool
        Go on with what an earlier call began.

    Returns
    -------
    dict
        The content of ``metrics.json``, and in ``tandem`` that of ``tandem.json``, see `compared`.

    Raises
    ------
    AudioDataError
        An unknown setting, a run in `out` that was begun with other ones, or what `open_ann` and `models.progressive.fine_tune` raise.
    """
    config = validated(TandemTraining, settings, "--set")
    ann = open_ann(run, cache)
    record = ann.converted_record(config, "progressive")
    if begin(out, record, resume=resume):
        # a copy: what the ANN itself measures is wanted afterwards
        network = copy.deepcopy(ann.network)
        result = _train(ann, network, config, out, resume=resume)
        _write_report(out, ann, network, result.network, config)
        _write_result(out, result)
        _write_converted(out, record, result.network, config)
    split = measured_split(ann.source)
    metrics = evaluate_run(out, cache, split)
    kept = json.loads((out / TANDEM).read_text(encoding="utf-8"))
    found = compared(ann, config, metrics, split) | {name: kept[name] for name in ("stages", "untrained")}
    write_json(out / TANDEM, found)
    _draw(out, found, ann.figure)
    return metrics | {"tandem": found}


def compared(ann: TrainedAnn, config: ConversionConfig, metrics: Mapping[str, Any], split: str) -> dict[str, Any]:
    """Put the ANN, its primitive conversion and the network that was trained on the way side by side.

    Returns
    -------
    dict
        ``split``, ``figure`` (a key of ``metrics.json``), its values ``ann``, ``primitive`` and ``progressive``, and ``gap_closed``: which share
        of what the primitive conversion loses the training won back, none where it loses nothing. ``watched``: ``ann`` and ``primitive`` on the
        split that decided which epochs were the best.
    """
    name, primitive = ann.figure.name, ann.convert(config)
    found = {"ann": ann.measured(ann.network, split), "primitive": ann.measured(primitive, split), "progressive": metrics[name]}
    closed = gap_closed(*found.values(), higher=ann.figure.higher)
    watched = "val" if ann.source.examples_in("val") else "train"
    others = {"split": watched, "ann": ann.measured(ann.network, watched), "primitive": ann.measured(primitive, watched)}
    return {"split": split, "figure": name} | found | {"gap_closed": closed, "watched": others}


def gap_closed(ann: float | None, primitive: float | None, progressive: float | None, *, higher: bool) -> float | None:
    """Share of a primitive conversion's loss that was won back; none where nothing was lost.

    Examples
    --------
    >>> gap_closed(0.9, 0.5, 0.8, higher=True), gap_closed(0.01, 0.01, 0.02, higher=False)
    (0.75, None)
    """
    if ann is None or primitive is None or progressive is None:
        return None
    lost = ann - primitive if higher else primitive - ann
    won = progressive - primitive if higher else primitive - progressive
    return round(won / lost, 6) if lost > 0 else None


def _train(ann: TrainedAnn, network: nn.Module, config: TandemTraining, out: Path, *, resume: bool) -> TandemResult:
    known = validated(training_of(ann.record.network), ann.record.training_settings, f"the run of {ann.record.network}")
    training = known.model_copy(update={"seed": config.seed})
    train = Examples(ann.source, "train", seed=config.seed)
    val = Examples(ann.source, "val", seed=config.seed) if ann.source.examples_in("val") else None
    changed = _changing(ann, train, training) if config.augment else None
    task = task_of(ann.record, network)
    config = config.model_copy(update={"batch_size": config.batch_size or training.batch_size})
    return fine_tune(network, task, train, val, config, out, changing=changed, resume=resume, show=True)


def _changing(ann: TrainedAnn, train: Examples, training: TrainingConfig) -> ExampleSet | None:
    """Give the training examples as the ANN's training changed them; none where it did not."""
    ranges = measure_ranges(train, training.cut_share, scaled_features(ann.network, ann.source))
    changed = changing(train, training, ranges)
    return None if isinstance(changed, Examples) and changed.augment is None else changed


def _write_converted(out: Path, record: RunRecord, spiking: SpikingNetwork, config: ConversionConfig) -> None:
    begun = record.conversion
    ended = conversion_record(config, spiking, begun["method"], **{"from": begun["from"]})
    write_record(out, record._replace(conversion=ended))
    save_weights(out, spiking)


def _write_report(out: Path, ann: TrainedAnn, network: nn.Module, spiking: SpikingNetwork, config: ConversionConfig) -> None:
    """Write down the errors of each layer, measured on examples of the split that the run is measured on."""
    from models.conversion_pictures import conversion_picture  # matplotlib takes a second to import

    examples = Examples(ann.source, measured_split(ann.source), seed=ann.seed)
    features = examples.read(evenly_spaced(len(examples), REPORTED_EXAMPLES)).features
    found = conversion_report(network, spiking, features, config.percentile)
    write_json(out / CONVERSION, found)
    with replacing(out / CONVERSION_TABLE) as temporary:
        temporary.write_text(markdown(found), encoding="utf-8")
    if found["layers"]:
        with replacing(out / CONVERSION_PICTURE) as temporary:
            conversion_picture(found).savefig(temporary, format="png", dpi=130)


def _write_result(out: Path, result: TandemResult) -> None:
    write_json(out / TIMING, {"epochs": len(result.seconds), "seconds": sum(result.seconds), "seconds_per_epoch": result.seconds})
    write_json(out / TANDEM, {"stages": result.stages, "untrained": result.untrained})


def _draw(out: Path, found: Mapping[str, Any], figure: Figure) -> None:
    from models.progressive_pictures import stage_curves  # matplotlib takes a second to import

    with replacing(out / PROGRESS) as temporary:
        stage_curves(pd.read_csv(out / CURVES), found, figure.label).savefig(temporary, format="png", dpi=130)
