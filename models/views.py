"""What a training takes from a cache: which features, turned which way, and which targets.

Networks see ``[B, channel, band, frame]``: a channel is a microphone or a pair of them; a band is a mel band, a cepstral coefficient, a lag
or an image's row; a frame is a point in time or an image's column. Frames of events they see as they are cached, ``[B, time, ...]``, with
as many axes as the sensor has, and waveforms as ``[B, channel, sample]``.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from audiodata.errors import CacheError
from audiodata.settings import nearest
from audiodata.shards import Cache, open_cache
from audiodata.shards.format import Layout
from models.layers import Shape

PREFERRED = ("mfcc", "log_mel", "image")
# The feature that a mixture of sounds and its parts lie in, and how many channels the fewest parts make with their mixture.
WAVEFORM = "waveform"
FEWEST_CHANNELS = 3

# Features whose bands are places on one axis and not quantities of their own: a peak must be as high at one lag as at another, for one pair
# of microphones as for another, and a difference of 0 between two channels must stay in the same place for all of them.
ONE_RANGE = ("gcc_phat", "level_difference", "phase_difference")

# What one network takes: a feature, or several by name.
Features = Tensor | dict[str, Tensor]
Shapes = Shape | dict[str, tuple[int, ...]]


class View(NamedTuple):
    """One feature of a cache, as the networks see it.

    Attributes
    ----------
    name : str
    order : tuple of int
        How the cached axes ``[example, ...]`` become ``[example, channel, band, frame]``.
    shape : tuple of int
        ``(channel, band, frame)``; of frames of events ``(time, ...)``, of waveforms ``(channel, sample)``.
    has_time : bool
        Whether the last axis is time.
    dtype : str
        What values are held as until a network takes them: frames of events as small as the cache has them, all else float32.
    """

    name: str
    order: tuple[int, ...]
    shape: tuple[int, ...]
    has_time: bool
    dtype: str = "float32"

    def turned(self, values: Tensor) -> Tensor:
        """Turn what the cache holds, ``[example, ...]``, into ``[example, channel, band, frame]``; frames of events stay as they are."""
        return values.permute(self.order).to(getattr(torch, self.dtype)).contiguous()

    @property
    def example_bytes(self) -> int:
        """Bytes of one example, turned."""
        return int(np.prod(self.shape, dtype=np.int64)) * np.dtype(self.dtype).itemsize

    @property
    def shared_range(self) -> Literal["band", "channel", "all"]:
        """Over what one range is measured: each band of a sound, each channel of an image, or all of it (`ONE_RANGE`)."""
        if self.name in ONE_RANGE:
            return "all"
        return "band" if self.has_time else "channel"


class Source(NamedTuple):
    """The features of one cache that a network takes.

    Attributes
    ----------
    cache : Cache
    views : dict of str to View
        By feature.
    by_name : bool
        Whether the network takes its features by name; else it takes its only one as it is.
    located : bool
        Whether examples have directions, of which those without a class are of use too.
    labelled : bool
        Whether classes matter; else all examples are of use, and there are no classes as far as the network is concerned.
    mixed : bool
        Whether the only feature is mixtures and their parts: the network takes its first channel, the target ``sources`` is all others.
    """

    cache: Cache
    views: dict[str, View]
    by_name: bool = False
    located: bool = False
    labelled: bool = True
    mixed: bool = False

    def given(self, features: dict[str, Tensor]) -> Features:
        """Features, turned, in the form in which the network takes them: float32, by name or the only one."""
        taken = {name: values[:, :1].float() if self.mixed else values.float() for name, values in features.items()}
        return taken if self.by_name else taken[self.feature]

    def wanted(self, features: dict[str, Tensor], targets: dict[str, Tensor]) -> dict[str, Tensor]:
        """Targets, and of mixtures their parts as well: ``sources`` ``[B, source, sample]``."""
        return targets | ({"sources": features[self.feature][:, 1:].float()} if self.mixed else {})

    @property
    def feature(self) -> str:
        """Name of the first feature; of a network that takes one, the only one."""
        return next(iter(self.views))

    @property
    def shape(self) -> Shapes:
        """Shape of what the network takes: of each `View`, by name for a network that takes its features by name; of mixtures ``(1, sample)``."""
        if self.mixed:
            return (1, *self.views[self.feature].shape[1:])
        return {name: view.shape for name, view in self.views.items()} if self.by_name else self.views[self.feature].shape

    @property
    def time_steps(self) -> int | None:
        """Number of time steps of frames of events, none for other features."""
        return next((view.shape[0] for view in self.views.values() if has_time_steps(self.cache.features[view.name])), None)

    def identity(self) -> dict[str, str]:
        """Which cache this is: the catalog's name and fingerprint."""
        return {"catalog": self.cache.manifest["catalog"]["name"], "catalog_fingerprint": self.cache.manifest["catalog_fingerprint"]}

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of their indices; none where classes do not matter."""
        return tuple(self.cache.manifest["classes"]) if self.labelled else ()

    def examples_in(self, split: str) -> int:
        """Number of examples of a split that may be of use, 0 where there is none."""
        found = self.cache.manifest["splits"].get(split, {})
        if self.located or not self.labelled:
            return found.get("examples", 0)
        return sum(found.get("classes", {}).get(name, 0) for name in self.classes)


def open_source(path: str | Path, feature: str | None = None, *, labelled: bool = True) -> Source:
    """Open a cache for a network that takes one feature.

    Parameters
    ----------
    path : path
    feature : str, optional
        Default: the first that the cache has of `PREFERRED`.
    labelled : bool
        Whether the network tells classes apart; else all examples are of use, whether they have a class or not.

    Raises
    ------
    CacheError
        Not a cache, no such feature, a feature of another kind, or fewer than two classes where they matter.
    """
    cache = open_cache(path)
    name = feature or next((name for name in PREFERRED if name in cache.features), None)
    if name not in cache.features:
        found = list(cache.features)
        wanted = f"no feature `{feature}`{nearest(feature, found)}" if feature else f"none of {', '.join(PREFERRED)}; it has {', '.join(found)}"
        raise CacheError(f"{path}: {wanted}")
    if labelled:
        _check_classes(cache, 2)
    return Source(cache, {name: view_of(cache, name)}, labelled=labelled)


def open_located_source(path: str | Path, features: Sequence[str | tuple[str, ...]]) -> Source:
    """Open a cache for a network that takes features by name and finds directions and classes.

    Parameters
    ----------
    path : path
    features : sequence of str or tuple of str
        Of several in a tuple the first that the cache has.

    Raises
    ------
    CacheError
        Not a cache, or without one of the features, directions or classes; the message says what to add to the catalog.
    """
    cache = open_cache(path)
    names = [_one_of(cache, (wanted,) if isinstance(wanted, str) else wanted) for wanted in features]
    if "azimuth_deg" not in cache.targets:
        raise CacheError(
            f"{path}: its examples have no `azimuth_deg`; build a catalog whose table [dataset] names recordings with directions, "
            'for instance name = "sloclas" or "simulated_array"'
        )
    _check_classes(cache, 1)
    return Source(cache, {name: view_of(cache, name) for name in names}, by_name=True, located=True)


def open_event_source(path: str | Path, features: Sequence[str]) -> Source:
    """Open a cache for a network that takes frames of events by name and tells classes apart.

    Parameters
    ----------
    path : path
    features : sequence of str

    Raises
    ------
    CacheError
        Not a cache, without one of the features, or fewer than two classes; the message says what to add to the catalog.
    """
    cache = open_cache(path)
    names = [_one_of(cache, (name,)) for name in features]
    _check_classes(cache, 2)
    return Source(cache, {name: event_view(cache, name) for name in names}, by_name=True)


def open_mixture_source(path: str | Path) -> Source:
    """Open a cache for a network that takes mixtures of sounds apart.

    Parameters
    ----------
    path : path
        With the feature ``waveform`` ``[channel, sample]``: the mixture, then its parts.

    Raises
    ------
    CacheError
        Not a cache, without that feature, or with too few channels for a mixture and two parts; the message says which data sets make one.
    """
    cache = open_cache(path)
    layout = cache.features.get(WAVEFORM)
    made_by = 'build a catalog whose table [dataset] has name = "mixtures", "wsj0_2mix" or "librimix", with the table [features.waveform]'
    if layout is None:
        raise CacheError(f"{path}: has no feature `{WAVEFORM}`, only {', '.join(cache.features)}; {made_by}")
    if layout.axes != ("channel", "sample") or None in layout.shape or layout.shape[0] < FEWEST_CHANNELS:
        found = f"{' x '.join(layout.axes)}, {list(layout.shape)}"
        raise CacheError(
            f"{path}: its feature `{WAVEFORM}` is {found}; expected at least {FEWEST_CHANNELS} channels, the mixture and two or more parts: {made_by}"
        )
    view = View(WAVEFORM, (0, 1, 2), tuple(layout.shape), has_time=True)
    return Source(cache, {WAVEFORM: view}, labelled=False, mixed=True)


def _one_of(cache: Cache, wanted: tuple[str, ...]) -> str:
    found = next((name for name in wanted if name in cache.features), None)
    if found is None:
        tables = " or ".join(f"[features.{name}]" for name in wanted)
        raise CacheError(
            f"{cache.path}: has no feature `{' or '.join(wanted)}`, only {', '.join(cache.features)}; add the table {tables} to its catalog "
            "and build it again"
        )
    return found


def _check_classes(cache: Cache, fewest: int) -> None:
    if len(cache.manifest["classes"]) < fewest:
        raise CacheError(f"{cache.path}: has {len(cache.manifest['classes'])} classes; a classifier needs at least {fewest}")


def view_of(cache: Cache, name: str) -> View:
    """Say how a feature of a cache is turned for the networks.

    Raises
    ------
    CacheError
        The feature has other than three axes, or time steps of events.
    """
    layout: Layout = cache.features[name]
    if len(layout.shape) != 3 or has_time_steps(layout):
        raise CacheError(f"{cache.path}: feature `{name}` has the axes {', '.join(layout.axes)}; expected three: channel, band and frame")
    has_time = "frame" in layout.axes
    last = layout.axes.index("frame") + 1 if has_time else 3
    order = (0, *(axis for axis in (1, 2, 3) if axis != last), last)
    return View(name, order, tuple(layout.shape[axis - 1] for axis in order[1:]), has_time)


def has_time_steps(layout: Layout) -> bool:
    """Whether a feature is frames of events: one for each time step, on the first axis."""
    return layout.axes[:1] == ("time",)


def event_view(cache: Cache, name: str) -> View:
    """Say how frames of events are given to the networks: unturned.

    Raises
    ------
    CacheError
        The feature has no time steps.
    """
    layout: Layout = cache.features[name]
    if not has_time_steps(layout):
        raise CacheError(f"{cache.path}: feature `{name}` has the axes {', '.join(layout.axes)}; expected time first")
    return View(name, tuple(range(len(layout.shape) + 1)), layout.shape, has_time=False, dtype=layout.dtype)


def array_settings(cache: Cache) -> dict[str, Any]:
    """Give what an estimator without training has to know of the recordings: where the microphones are, and what the lags mean.

    Returns
    -------
    dict
        ``positions_m`` and ``speed_of_sound_m_s`` of the catalog's table [array], ``sample_rate`` in Hz, ``max_lag`` and ``interpolation``
        of its table [features.gcc_phat].

    Raises
    ------
    CacheError
        The catalog lacks one of these tables.
    """
    catalog = cache.manifest["catalog"]
    array = catalog.get("array", {})
    if not array.get("positions_m"):
        raise CacheError(f"{cache.path}: its catalog's table [array] has no positions_m; add [[x, y, z], ...], metres, one a channel, and build it")
    lags = catalog["features"].get("gcc_phat")
    if lags is None:
        raise CacheError(f"{cache.path}: its catalog has no table [features.gcc_phat]; add it and build it")
    found = {name: array[name] for name in ("positions_m", "speed_of_sound_m_s")}
    found |= {name: lags[name] for name in ("max_lag", "interpolation")}
    return found | {"sample_rate": cache.manifest["audio"]["sample_rate"]}


def detector_settings(cache: Cache) -> dict[str, Any]:
    """Give what a network on phase-coded spikes has to know of them: ``n_bands`` of the catalog's table [features.mtpc], if there is one."""
    detectors = cache.manifest["catalog"]["features"].get("mtpc", {})
    return {name: detectors[name] for name in ("n_bands",) if name in detectors}


def zeros(shape: Shapes, examples: int = 1, device: torch.device | str = "cpu") -> Features:
    """Features of some examples, all 0."""
    if isinstance(shape, dict):
        return {name: torch.zeros(examples, *each, device=device) for name, each in shape.items()}
    return torch.zeros(examples, *shape, device=device)


def moved(features: Features, device: torch.device) -> Features:
    """Features on a device."""
    if isinstance(features, dict):
        return {name: values.to(device) for name, values in features.items()}
    return features.to(device)


def each_of(features: Features) -> list[Features]:
    """Features of each example of a batch."""
    if isinstance(features, dict):
        return [dict(zip(features, values, strict=True)) for values in zip(*features.values(), strict=True)]
    return list(features)
