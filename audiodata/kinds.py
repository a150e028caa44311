"""The kinds of material that examples are made of, sound, images and events: how each is prepared, cut and turned into features."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from audiodata import audio
from audiodata.build_settings import BuildSettings
from audiodata.errors import ClipError
from audiodata.events.record import Events
from audiodata.events.spans import cut, repeat
from audiodata.features import FEATURES, extract, extract_events, extract_image
from audiodata.records import ExampleSpan

Recordings = dict[str, Events]


class Kind(NamedTuple):
    """What is done with one kind of material.

    Attributes
    ----------
    prepare : callable
        ``(samples of audiodata.sources, settings)``: a clip as the build wants it.
    length : callable
        ``(prepared)``: its samples.
    segment : callable
        ``(root, prepared, example, settings)``: the material of one example.
    features : callable
        ``(material, start_sample, settings)``: its features by name; the start is that of the example inside its clip.
    """

    prepare: Callable[[tuple[Any, int], BuildSettings], Any]
    length: Callable[[Any], int]
    segment: Callable[[Path, Any, ExampleSpan, BuildSettings], Any]
    features: Callable[[Any, int, BuildSettings], dict[str, np.ndarray]]


def material_size(feature: str, settings: BuildSettings) -> tuple[int, ...]:
    """Channels and further sizes of what a feature is computed from, as `audiodata.features.feature_shape` takes them."""
    source = FEATURES[feature].source
    if source == "waveform":
        return settings.channels, settings.length
    if source == "image":
        return settings.channels, *settings.image_shape
    return 1, *settings.sensors[source]


def _prepare_sound(samples: tuple[np.ndarray, int], settings: BuildSettings) -> np.ndarray:
    return audio.prepare(*samples, sample_rate=settings.sample_rate, channels=settings.channels)


def _cut_sound(root: Path, prepared: np.ndarray, example: ExampleSpan, settings: BuildSettings) -> np.ndarray:
    """Cut an example out of its clip, fill it up and give it its noise."""
    segment = prepared[:, example.start_sample : example.start_sample + settings.length]
    _check_length(segment.shape[1], example)
    filled = audio.fill(segment, settings.length, settings.short)
    return filled if settings.noise is None else settings.noise.add(root, filled, example, settings.sample_rate)


def _check_length(found: int, example: ExampleSpan) -> None:
    if found != example.valid:
        raise ClipError("unreadable", f"{example.clip.path}: has {found} samples at {example.start_sample}, "
                                      f"{example.valid} were inspected; run the build again")


def _sound_features(waveform: np.ndarray, start_sample: int, settings: BuildSettings) -> dict[str, np.ndarray]:
    return extract(waveform, settings.sample_rate, settings.features, fft=settings.fft)


def _as_decoded(samples: tuple[Any, int], settings: BuildSettings) -> Any:
    return samples[0]


def _whole_image(root: Path, prepared: np.ndarray, example: ExampleSpan, settings: BuildSettings) -> np.ndarray:
    return prepared


def _image_features(pixels: np.ndarray, start_sample: int, settings: BuildSettings) -> dict[str, np.ndarray]:
    return extract_image(pixels, settings.features)


def _event_length(recordings: Recordings) -> int:
    return max(events.duration_us for events in recordings.values())


def _cut_events(root: Path, prepared: Recordings, example: ExampleSpan, settings: BuildSettings) -> Recordings:
    _check_length(min(_event_length(prepared) - example.start_sample, settings.length), example)
    return {sense: _cut_one(events, example.start_sample, settings) for sense, events in prepared.items()}


def _cut_one(events: Events, start_us: int, settings: BuildSettings) -> Events:
    """Cut one recording; of a pair each is repeated by its own length."""
    left_us = events.duration_us - start_us
    segment = cut(events, start_us, settings.length)
    if settings.short == "repeat" and 0 < left_us < settings.length:
        return repeat(segment, left_us, settings.length)
    return segment


def _event_features(recordings: Recordings, start_sample: int, settings: BuildSettings) -> dict[str, np.ndarray]:
    return extract_events(recordings, settings.features, start_us=start_sample)


KINDS = {
    "audio": Kind(_prepare_sound, lambda waveform: waveform.shape[1], _cut_sound, _sound_features),
    "image": Kind(_as_decoded, lambda image: 1, _whole_image, _image_features),
    "events": Kind(_as_decoded, _event_length, _cut_events, _event_features),
}
