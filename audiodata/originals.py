"""From a finished cache back to the waveforms or events that its features were computed from.

A cache holds neither, but its manifest holds the whole catalog and its tables the clips: with the data root at hand, every example can be
read again. Whether the files are still those of the build is told by the fingerprint of the example's shard.
"""

import itertools
import logging
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from audiodata.assembly import example_materials, shard_fingerprint
from audiodata.build_settings import BuildSettings
from audiodata.catalog import Catalog, parse_catalog
from audiodata.datasets import dataset_settings, read_clips
from audiodata.errors import CacheError, ClipError
from audiodata.features import numeric_versions
from audiodata.kinds import KINDS
from audiodata.noise_list import noise_recordings
from audiodata.planning import clip_spans
from audiodata.records import ClipSpan, ExampleSpan, Truth
from audiodata.resolved_settings import recorded_settings
from audiodata.shards import Cache, open_cache
from audiodata.sources import input_hash
from audiodata.timing import seconds_to_samples

logger = logging.getLogger(__name__)


class Originals:
    """The waveforms, or the events by sense, of a cache's examples.

    Parameters
    ----------
    cache : path or Cache
    root : path
        The data root that the cache was built from.

    Attributes
    ----------
    cache : Cache
    catalog : Catalog
        What was built.
    settings : BuildSettings
    table : DataFrame
        The clips table, with the clips that are left out.

    Raises
    ------
    CacheError
        A cache of images, or one whose catalog this version can't read.
    MetadataError
        The data set is not below `root`.
    """

    def __init__(self, cache: str | Path | Cache, root: str | Path):
        self.cache = cache if isinstance(cache, Cache) else open_cache(cache)
        self.root = Path(root)
        self.catalog = _catalog(self.cache)
        self.kind = dataset_settings(self.catalog.dataset)[0].kind
        if self.kind == "image":
            raise CacheError(f"{self.cache.path}: was made from images, which have no waveform")
        select = self.catalog.select
        self.table = read_clips(
            self.catalog.dataset, self.root, classes=select.classes, quality=select.quality, per_class=select.per_class, seed=select.seed
        )
        noise = self.catalog.noise
        recordings = noise_recordings(noise, self.table, self.root) if noise else ()
        found = recorded_settings(self.catalog, self.table, self.cache.manifest["audio"], recordings)
        self.settings: BuildSettings = found._replace(classes=tuple(self.cache.manifest["classes"]))
        self._clips = {span.clip_id: span for span in clip_spans(self.table.assign(reason=""))}
        self._hashes: dict[tuple, str] = {}
        self._checked: set[str] = set()

    @property
    def sample_rate(self) -> int:
        """Of the waveforms, in Hz."""
        return self.settings.sample_rate

    def waveform(self, example_id: str) -> np.ndarray:
        """Waveform of one example, float32 [channel, sample]: bit for bit what its features were computed from.

        Raises
        ------
        CacheError
            No such example; its clip is not in the data set any more; or its shard was made from other files, settings or code.
        ClipError
            A file can't be read.
        """
        return next(waveform for _, waveform in self.waveforms([example_id]))

    def waveforms(self, example_ids: Iterable[str]) -> Iterator[tuple[ExampleSpan, Any]]:
        """Examples and their waveforms (or events by sense), in the order asked for; segments of one clip in a row cost one decoding."""
        for split, of_split in itertools.groupby(example_ids, self._split):
            yield from example_materials(self.root, map(self.span, of_split), self.settings.of_split(split))

    def features(self, material: Any, names: Iterable[str] | None = None, start_sample: int = 0) -> dict[str, np.ndarray]:
        """Features of a waveform of the cache's rate or of events, with the cache's settings.

        Parameters
        ----------
        material : float32 [channel, sample] or dict of str to Events
        names : iterable of str, optional
            Default: all that the cache has.
        start_sample : int
            Where the example begins inside its clip; it matters to events whose motion is taken out.
        """
        configs = {name: self.settings.features[name] for name in names or self.settings.features}
        return KINDS[self.kind].features(material, start_sample, self.settings._replace(features=configs))

    def span(self, example_id: str) -> ExampleSpan:
        """Where an example lies; its shard's inputs have been checked."""
        row = self._row(example_id)
        self._check(row["shard"])
        return self._span(example_id, row)

    def _row(self, example_id: str) -> pd.Series:
        try:
            return self._rows.loc[example_id]
        except KeyError:
            raise CacheError(f"{self.cache.path}: no example {example_id!r}; the table of examples lists them all") from None

    def _split(self, example_id: str) -> str:
        return self._row(example_id)["split"]

    @cached_property
    def _rows(self) -> pd.DataFrame:
        return self.cache.examples.set_index("example_id")

    def _span(self, example_id: str, row: pd.Series) -> ExampleSpan:
        clip = self._clips.get(row["clip_id"])
        if clip is None:
            raise CacheError(f"{self.root}: has no clip {row['clip_id']!r}, which {self.cache.path} was built from; give that build's data root")
        number = int(example_id.rpartition("#")[2])
        azimuth_deg = row.get("azimuth_deg")
        truth = Truth(int(row["label_index"]), None if pd.isna(azimuth_deg) else float(azimuth_deg))
        valid = seconds_to_samples(row["duration_s"], self.settings.sample_rate)
        return ExampleSpan(example_id, clip, self._input_hash(clip), number * self.settings.hop, valid, truth)

    def _input_hash(self, clip: ClipSpan) -> str:
        key = (clip.paths, tuple(part.index for part in clip.recordings))
        if key not in self._hashes:
            try:
                self._hashes[key] = input_hash(self.kind, self.root, clip)
            except CacheError as error:
                raise ClipError("missing_file", f"{error}; {self.cache.path} was built from it") from None
        return self._hashes[key]

    def _check(self, shard: str) -> None:
        """Make sure, once a shard, that it would be made from the same inputs in the same way now."""
        if shard in self._checked:
            return
        rows = self._rows[(self._rows["shard"] == shard).to_numpy()]
        spans = tuple(self._span(example_id, row) for example_id, row in rows.iterrows())
        built = next(entry["fingerprint"] for entry in self.cache.manifest["shards"] if entry["file"] == shard)
        if shard_fingerprint(self.settings.of_split(rows["split"].iloc[0]), spans) != built:
            self._explain(shard)
        self._checked.add(shard)

    def _explain(self, shard: str) -> None:
        versions = self.cache.manifest["versions"]
        other = [name for name, version in numeric_versions(self.settings.fft, self.settings.features).items() if versions.get(name) != version]
        if not other:
            raise CacheError(
                f"{self.root}: its files are not those that {self.cache.path / shard} was built from (or its code was another); "
                "give the data root of that build, or build again"
            )
        logger.warning("%s: was built with another %s; whether the files are the same can't be checked", shard, ", ".join(other))


def _catalog(cache: Cache) -> Catalog:
    tables = dict(cache.manifest["catalog"])
    return parse_catalog(tables, tables.pop("name"), f"{cache.path}/manifest.json")
