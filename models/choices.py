"""From what a command is given to a network and its settings: names and presets, changes, what the cache itself says."""

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

from audiodata.errors import AudioDataError
from audiodata.settings import Settings, nearest, validated
from audiodata.shards import open_cache
from models import MODELS, PRESETS
from models.evaluation import training_of


class Choice(NamedTuple):
    """A network as a command names it.

    Attributes
    ----------
    name : str
        As given: a network or a preset.
    network : str
        A key of `models.MODELS`.
    settings : dict
        What the preset sets.
    """

    name: str
    network: str
    settings: dict[str, Any]

    @property
    def known(self) -> list[str]:
        """Keys of the settings of the network and of its training."""
        return [*MODELS[self.network].config.model_fields, *training_of(self.network).model_fields]


def choose(name: str) -> Choice:
    """Find a network or a preset by its name.

    Raises
    ------
    AudioDataError
        There is none, with the nearest known one; or the package that it is made by isn't installed.
    """
    if name in PRESETS:
        return Choice(name, PRESETS[name].network, PRESETS[name].settings)
    if name not in MODELS:
        raise AudioDataError(f"unknown network `{name}`{nearest(name, [*MODELS, *PRESETS])}")
    if MODELS[name].needs:
        MODELS[name].needs()  # of several networks that are to be trained, none is before all can be
    return Choice(name, name, {})


def parse_changes(changes: list[str]) -> dict[str, Any]:
    """Turn ``["epochs=3", "augment.gain_db=6"]`` into nested settings; values are read as JSON where they are JSON, else as text.

    Raises
    ------
    AudioDataError
        Something is not of the form key=value.
    """
    found: dict[str, Any] = {}
    for change in changes:
        key, equals, value = change.partition("=")
        *groups, last = key.strip().split(".")
        if not equals or not last:
            raise AudioDataError(f"--set {change}: expected key=value, for instance --set epochs=20")
        table = found
        for group in groups:
            table = table.setdefault(group, {})
        table[last] = _value(value)
    return found


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def settings_for(choice: Choice, given: dict[str, Any], cache: Path) -> tuple[Settings, Settings]:
    """Settings of a network and of its training: what is given, else what the preset says, else what the cache says, else the defaults.

    Raises
    ------
    AudioDataError
        An unknown key, a value that does not fit, or a cache that lacks what the network has to know.
    """
    model = MODELS[choice.network]
    told = model.from_cache(open_cache(cache)) if model.from_cache else {}
    return split_settings(told | choice.settings | given, model.config, training_of(choice.network))


def split_settings(given: dict[str, Any], network: type[Settings], training: type[Settings]) -> tuple[Settings, Settings]:
    """Sort settings into those of the network and those of the training, and check them.

    Raises
    ------
    AudioDataError
        An unknown key, with the nearest known one, or a value that does not fit.
    """
    check_known(given, [*network.model_fields, *training.model_fields])
    parts = ({key: value for key, value in given.items() if key in model.model_fields} for model in (network, training))
    return tuple(validated(model, part, "--set") for model, part in zip((network, training), parts, strict=True))


def check_known(given: Collection[str], known: list[str]) -> None:
    """Raise `AudioDataError` for the first key that is not among the known ones, with the nearest of these."""
    for key in given:
        if key not in known:
            raise AudioDataError(f"--set: unknown key `{key}`{nearest(key, known)}")
