"""From a clip to its recordings of events: read from a file, or made from an image or a sound by a simulated sensor.

A clip's ``reader`` says which: the format of a file (`audiodata.events.readers`) with its settings, or "retina" or "cochlea" with theirs.
"""

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from audiodata import audio
from audiodata.clip_files import clip_path
from audiodata.errors import ClipError
from audiodata.events.cochlea import CochleaConfig, cochlea
from audiodata.events.readers import read_events
from audiodata.events.record import MICROSECONDS_PER_SECOND, Events, Sense
from audiodata.events.retina import RetinaConfig, retina
from audiodata.events.spans import by_sense, cut, from_start
from audiodata.events.stabilising import stabilise
from audiodata.images import load_image
from audiodata.records import ClipSpan
from audiodata.settings import Settings, validated
from audiodata.timing import seconds_to_samples


class Sensor(NamedTuple):
    """A simulated sensor: its settings, and how it makes events of what a clip names."""

    config: type[Settings]
    sense: Callable[[Path, ClipSpan, Any, int], Events]


def load_recordings(root: Path, clip: ClipSpan) -> dict[Sense, Events]:
    """Load the recording of a clip, and that of its partner.

    Parameters
    ----------
    root : path
        The data root.
    clip : ClipSpan

    Returns
    -------
    dict of str to Events
        By sense; each in time counted from its first event.

    Raises
    ------
    ClipError
        A file is missing or damaged, a recording has no event, or a pair is not of two senses.
    """
    return by_sense(_recording(root, part) for part in clip.recordings)


def sees_image(clip: ClipSpan) -> bool:
    """Whether a clip's events are made from one image of a file that holds many."""
    return bool(clip.reader) and json.loads(clip.reader).get("format") == "retina"


def _recording(root: Path, clip: ClipSpan) -> Events:
    reader = dict(json.loads(clip.reader))
    sensor = SENSORS.get(reader.get("format", ""))
    events = _made(root, clip, sensor, reader) if sensor else _read(root, clip, reader)
    if not len(events.array):
        raise ClipError("empty", f"{clip.path}: has no events")
    return from_start(events)


def _read(root: Path, clip: ClipSpan, reader: dict[str, Any]) -> Events:
    orientation = reader.pop("stabilise", "")
    events = from_start(read_events(clip_path(root, clip.path), reader, clip.item, clip.index, name=clip.path))
    if orientation:
        events = stabilise(events, 0, orientation)
    return _spanned(events, clip)


def _spanned(events: Events, clip: ClipSpan) -> Events:
    """Take the span that a table names out of a longer recording."""
    if not clip.start_s and clip.duration_s is None:
        return events
    start_us = seconds_to_samples(clip.start_s, MICROSECONDS_PER_SECOND)
    length_us = seconds_to_samples(clip.duration_s, MICROSECONDS_PER_SECOND) if clip.duration_s else events.duration_us
    if start_us >= events.duration_us:
        raise ClipError("past_end", f"{clip.path}: ends at {events.duration_us / MICROSECONDS_PER_SECOND:g} s, asked for from {clip.start_s:g} s")
    return cut(events, start_us, length_us)


def _made(root: Path, clip: ClipSpan, sensor: Sensor, reader: Mapping[str, Any]) -> Events:
    settings = {key: value for key, value in reader.items() if key not in ("format", "seed", "version")}
    config = validated(sensor.config, settings, f"reader of {clip.clip_id}")
    return sensor.sense(root, clip, config, int(reader["seed"]))


def _seen(root: Path, clip: ClipSpan, config: RetinaConfig, seed: int) -> Events:
    return retina(load_image(root, clip), config, seed)


def _heard(root: Path, clip: ClipSpan, config: CochleaConfig, seed: int) -> Events:
    duration_s = math.nan if clip.duration_s is None else clip.duration_s
    waveform, sample_rate = audio.read_clip(clip_path(root, clip.path), clip.start_s, duration_s, clip.path)
    return cochlea(audio.mix_channels(waveform, 1)[0], sample_rate, config, seed)


SENSORS = {"retina": Sensor(RetinaConfig, _seen), "cochlea": Sensor(CochleaConfig, _heard)}
