"""The folder of a training run: what lies where, and how its settings and weights are written and read.

config.json           network, settings, feature, classes and cache: all that is needed to build the network again
checkpoints/          last.ckpt and best.ckpt, for going on
weights.safetensors   the best epoch's weights and the measured ranges; written when training has ended
curves.csv            loss and scores of each epoch
metrics.json          what `evaluate` measured
predictions.csv       truth and answer for each example that it measured
activity.npz          spikes of every layer for one example
attention.npz         weights of the senses over time for the first examples of each class, of a network that weighs them
reconstructions.png   some examples beside what a network makes of them that gives back what it is given
timing.json           how long it took
tensorboard/          the curves as TensorBoard reads them
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from audiodata.errors import AudioDataError
from audiodata.shards import replacing
from models.views import Shapes

FORMAT = "audiodata-run"
FORMAT_VERSION = 1
CONFIG, WEIGHTS, METRICS, TIMING, ACTIVITY = "config.json", "weights.safetensors", "metrics.json", "timing.json", "activity.npz"
PREDICTIONS, ATTENTION, RECONSTRUCTIONS = "predictions.csv", "attention.npz", "reconstructions.png"
CHECKPOINTS, LAST_CHECKPOINT, BEST_CHECKPOINT = "checkpoints", "last.ckpt", "best.ckpt"

# Settings that may differ when a run goes on: they change how long it runs or where, not what an epoch does.
MAY_CHANGE = ("epochs", "workers", "device")


class RunRecord(NamedTuple):
    """What a run's ``config.json`` says.

    Attributes
    ----------
    network : str
        A key of `models.MODELS`.
    network_settings, training_settings : dict
    shape : tuple of int or dict
        ``(channel, band, frame)`` of the features, ``(time, ...)`` of events, ``(1, sample)`` of mixtures; by name where the network takes several.
    classes : tuple of str
        Empty where they do not matter.
    cache : dict
        ``catalog`` (name) and ``catalog_fingerprint``.
    conversion : dict, optional
        How the network was made a spiking one, for a run whose weights are those of the converted network.
    """

    network: str
    network_settings: dict[str, Any]
    training_settings: dict[str, Any]
    shape: Shapes
    classes: tuple[str, ...]
    cache: dict[str, str]
    conversion: dict[str, Any] | None = None


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write JSON, complete or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def write_record(run: Path, record: RunRecord) -> None:
    """Write ``config.json``, making the run's folder."""
    run.mkdir(parents=True, exist_ok=True)
    content = {name: value for name, value in record._asdict().items() if value is not None}
    write_json(run / CONFIG, {"format": FORMAT, "format_version": FORMAT_VERSION} | content)


def read_record(run: Path) -> RunRecord:
    """Read ``config.json``.

    Raises
    ------
    AudioDataError
        Not a run, damaged, or of a newer version.
    """
    path = run / CONFIG
    if not path.is_file():
        raise AudioDataError(f"{run}: not a training run (no {CONFIG}); give the folder that `train` wrote")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["format"] != FORMAT or found["format_version"] > FORMAT_VERSION:
            raise AudioDataError(f"{path}: format {found['format']} {found['format_version']}, expected {FORMAT} up to {FORMAT_VERSION}")
        record = RunRecord(**{name: found[name] for name in RunRecord._fields if name in found or name not in RunRecord._field_defaults})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AudioDataError(f"{path}: damaged ({type(error).__name__}: {error}); train again") from None
    shape = record.shape
    shape = {name: tuple(each) for name, each in shape.items()} if isinstance(shape, dict) else tuple(shape)
    return record._replace(shape=shape, classes=tuple(record.classes))


def begin(run: Path, record: RunRecord, *, resume: bool) -> bool:
    """Make a run's folder, or open one to go on.

    Parameters
    ----------
    run : Path
    record : RunRecord
        What is asked for.
    resume : bool
        Go on with what is there; where there is nothing, begin.

    Returns
    -------
    bool
        Whether there is something to train: not if the run has ended and no more epochs are asked for.

    Raises
    ------
    AudioDataError
        There is a run and `resume` is off, or it was begun with other settings.
    """
    ended = False
    if (run / CONFIG).is_file():
        if not resume:
            raise AudioDataError(f"{run}: already holds a run; --resume goes on with it, another --out begins a new one")
        old = read_record(run)
        check_same(run, old, record)
        ended = (run / WEIGHTS).is_file() and _epochs(record) <= _epochs(old)
    if not ended:
        write_record(run, record)
    return not ended


def finish(run: Path, network: nn.Module, seconds: list[float]) -> None:
    """Keep the best epoch's weights, and how long each epoch took.

    Parameters
    ----------
    run : Path
        With the checkpoints of a training that has ended.
    network : Module
        Is filled with those weights.
    seconds : list of float
        Of each epoch.
    """
    checkpoint = torch.load(run / CHECKPOINTS / BEST_CHECKPOINT, map_location="cpu", weights_only=True)
    prefix = "network."
    network.cpu().load_state_dict({name.removeprefix(prefix): value for name, value in checkpoint["state_dict"].items()})
    save_weights(run, network)
    write_json(run / TIMING, {"epochs": len(seconds), "best_epoch": checkpoint["epoch"] + 1, "seconds": sum(seconds), "seconds_per_epoch": seconds})


def check_same(run: Path, old: RunRecord, new: RunRecord) -> None:
    """Raise `AudioDataError`, naming the first difference, if `new` would not go on with what `old` began."""
    if (old.conversion is None) != (new.conversion is None):
        kinds = ("a network as it was trained", "a converted network")
        raise AudioDataError(f"{run}: holds {kinds[old.conversion is not None]}, not {kinds[new.conversion is not None]}; choose another --out")
    for name in ("network", "cache", "classes", "shape"):
        _refuse_change(run, name, getattr(old, name), getattr(new, name))
    for group in ("network_settings", "training_settings"):
        before, now = getattr(old, group), getattr(new, group)
        for key in sorted((before.keys() | now.keys()) - set(MAY_CHANGE)):
            _refuse_change(run, f"`{key}`", before.get(key), now.get(key))
    for key in sorted((new.conversion or {}).keys() - set(MAY_CHANGE)):  # one that has ended has its thresholds beside
        _refuse_change(run, f"`{key}`", old.conversion.get(key), new.conversion[key])


def _epochs(record: RunRecord) -> int:
    """How long a training may be; a conversion without training has none."""
    return (record.conversion or record.training_settings).get("epochs", 0)


def _refuse_change(run: Path, what: str, old: Any, new: Any) -> None:
    if old != new:
        raise AudioDataError(f"{run}: can't go on with another {what}: the run has {_shown(old)}, asked for is {_shown(new)}; choose another --out")


def _shown(value: Any) -> str:
    return str(value) if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def save_weights(run: Path, network: nn.Module) -> None:
    """Write a network's weights and buffers, complete or not at all."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    with replacing(run / WEIGHTS) as temporary:
        save_file(tensors, temporary)


def load_weights(run: Path, network: nn.Module) -> None:
    """Fill a network with a run's weights.

    Raises
    ------
    AudioDataError
        Training has not ended, or the file is damaged or of another network.
    """
    path = run / WEIGHTS
    if not path.is_file():
        raise AudioDataError(f"{run}: has no {WEIGHTS}; training has not ended, go on with --resume")
    try:
        network.load_state_dict(load_file(path))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise AudioDataError(f"{path}: can't be loaded ({' '.join(str(error).split())[:200]}); train again") from None
