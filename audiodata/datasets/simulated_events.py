"""Events of a simulated sensor: any images seen by a retina, any sounds heard by a cochlea, made while a cache is built.

Size: that of the images or sounds; nothing is written but the cache.
Origin: another data set of this package (`source`) whose images are moved before `audiodata.events.retina`, or whose sounds go through
`audiodata.events.cochlea`.
Paper: G. Orchard et al., "Converting static image datasets to spiking neuromorphic datasets using saccades", Frontiers in Neuroscience 9
(2015), for the retina's motion; S.-C. Liu et al., "Asynchronous binaural spatial audition sensor with 2 x 64 x 4 channel output", IEEE
TBioCAS 8 (2014), for the cochlea; the modules named above have the equations.
Licence: that of the images or sounds.
Access: put those below the data root, as their own data set wants them.

What is drawn at random for a recording (noise) depends on `seed` and the recording's id alone; what differs from pixel to pixel or channel to
channel belongs to the sensor and its own settings. Group, label and published split are those of the image or sound.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from pydantic import field_validator, model_validator

from audiodata.datasets.event_sets import reader_text
from audiodata.errors import CatalogError
from audiodata.events.cochlea import CochleaConfig
from audiodata.events.retina import RetinaConfig
from audiodata.fingerprint import hash_json
from audiodata.settings import Settings, validated

SOURCE_KINDS = {"retina": "image", "cochlea": "audio"}
CONFIGS = {"retina": RetinaConfig, "cochlea": CochleaConfig}
VERSIONS = {"retina": 1, "cochlea": 1}
"""Raised when a sensor's code gives other events for the same settings, so that shards are made again."""
SEED_DIGITS = 8  # hexadecimal: 32 bits


class SimulatedEventsSettings(Settings):
    """Keys of ``[dataset]`` for simulated sensors.

    Attributes
    ----------
    sensor : str
        "retina" or "cochlea".
    source : dict
        The images' or sounds' own ``[dataset]`` table: ``name`` and that data set's keys.
    retina, cochlea : dict
        Settings of the sensor: `audiodata.events.retina.RetinaConfig` or `audiodata.events.cochlea.CochleaConfig`.
    seed : int
        Of the sensor's noise.
    """

    sensor: Literal["retina", "cochlea"] = "cochlea"
    source: dict[str, Any] = {"name": "folder"}
    retina: dict[str, Any] = {}
    cochlea: dict[str, Any] = {}
    seed: int = 0

    @field_validator("source")
    @classmethod
    def _known_source(cls, value: dict[str, Any]) -> dict[str, Any]:
        from audiodata.datasets import dataset_settings  # the registry, of which this module is a part

        dataset_settings(value, "[dataset.source]")
        return value

    @model_validator(mode="after")
    def _sensor_fits(self) -> "SimulatedEventsSettings":
        from audiodata.datasets import dataset_settings

        kind, wanted = dataset_settings(self.source)[0].kind, SOURCE_KINDS[self.sensor]
        if kind != wanted:
            raise ValueError(f"a {self.sensor} needs a `source` of kind {wanted}, `{self.source.get('name')}` is of kind {kind}")
        other = next(name for name in CONFIGS if name != self.sensor)
        if getattr(self, other):
            raise ValueError(f"`{other}` says nothing beside sensor = {self.sensor!r}")
        self.sensor_config()
        return self

    def sensor_config(self) -> Settings:
        """Settings of the sensor, with every default filled in."""
        return validated(CONFIGS[self.sensor], getattr(self, self.sensor), f"[dataset.{self.sensor}]")


def read_clips(settings: SimulatedEventsSettings, root: Path, classes: Sequence[str], quality: float | None) -> pd.DataFrame:
    """List the recordings that a simulated sensor makes of images or sounds.

    Parameters
    ----------
    settings : SimulatedEventsSettings
    root : Path
    classes : sequence of str
        Classes to keep, as the source takes them.
    quality : float or None
        As the source takes it.

    Returns
    -------
    DataFrame
        Clips table: the source's, with how the events are made in ``reader``.

    Raises
    ------
    CatalogError, MetadataError
        As the source; one that picks channels or lies in several files.
    """
    from audiodata.datasets import read_clips as read_any

    table = read_any(settings.source, root, classes=tuple(classes), quality=quality)
    if ((table["channels"] != "") | (table["more_paths"] != "")).any():
        raise CatalogError(f"[dataset.source] {settings.source['name']}: has several channels a recording; a {settings.sensor} takes one")
    config = settings.sensor_config().model_dump(mode="json")
    readers = [_reader(settings, clip_id, config) for clip_id in table["clip_id"]]
    return table.assign(reader=pd.Series(readers, index=table.index, dtype=table["reader"].dtype))


def _reader(settings: SimulatedEventsSettings, clip_id: str, config: dict[str, Any]) -> str:
    seed = int(hash_json([settings.seed, settings.sensor, clip_id])[:SEED_DIGITS], 16)
    return reader_text({"format": settings.sensor, "version": VERSIONS[settings.sensor], "seed": seed, **config})
