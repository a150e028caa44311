"""What shapes the numbers of a cache, with what a catalog leaves to the files filled in: from the catalog, the clips and what was found in them."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from audiodata.build_settings import AddedNoise, BuildSettings
from audiodata.catalog import ArraySettings, AudioSettings, Catalog
from audiodata.clips import class_names
from audiodata.datasets import dataset_settings
from audiodata.errors import CatalogError
from audiodata.events.record import MICROSECONDS_PER_SECOND, Sense, SensorSize
from audiodata.events.spans import sensors_of
from audiodata.features import FEATURES, at_sample_rate, at_window
from audiodata.findings import Findings
from audiodata.noise_bank import NoiseRecording
from audiodata.timing import resampled_length, samples_to_seconds, seconds_to_samples
from audiodata.verdicts import common_value

LONGEST_UNCUT_S = 60.0


def resolve(
    catalog: Catalog, table: pd.DataFrame, rows: np.ndarray, findings: Findings, recordings: tuple[NoiseRecording, ...] = ()
) -> BuildSettings:
    """Fill in what the catalog leaves to the files.

    Parameters
    ----------
    catalog : Catalog
    table : DataFrame
        The clips table.
    rows : array of int, shape [clip]
        The clips that are fit for use.
    findings : Findings
    recordings : tuple of NoiseRecording
        What the catalog's ``[noise]`` names.

    Raises
    ------
    CatalogError
        The clips differ where the catalog has no word on it, or the catalog does not fit them.
    """
    return _of_files(catalog, table, rows, findings)._replace(noise=_noise(catalog, recordings))


def _of_files(catalog: Catalog, table: pd.DataFrame, rows: np.ndarray, findings: Findings) -> BuildSettings:
    common = partial(common_value, findings, rows, table["clip_id"])
    if _kind(catalog) == "image":
        return _image_settings(catalog, table, common("shape", "dataset"))
    if _kind(catalog) == "events":
        sensors = sensors_of(common("shape", "dataset"))
        return _event_settings(catalog, table, sensors, _segment_length(catalog, table, rows, findings, MICROSECONDS_PER_SECOND))
    sample_rate = catalog.audio.sample_rate or common("sample_rate", "[audio] sample_rate")
    channels = catalog.audio.channels or common("channels", "[audio] channels")
    return _audio_settings(catalog, table, sample_rate, channels, _segment_length(catalog, table, rows, findings, sample_rate))


def _kind(catalog: Catalog) -> str:
    return dataset_settings(catalog.dataset)[0].kind


def _image_settings(catalog: Catalog, table: pd.DataFrame, shape: tuple[int, ...]) -> BuildSettings:
    classes = tuple(class_names(table, catalog.select.classes))
    return BuildSettings("image", 0, 1, 1, 1, 0.0, shape, "zero", catalog.features, catalog.compute.fft, classes, ("label", "length"))


def _event_settings(catalog: Catalog, table: pd.DataFrame, sensors: dict[str, SensorSize], length: int) -> BuildSettings:
    """Events are a signal of one sample a microsecond."""
    _check_senses(catalog, sensors)
    _check_no_sound(catalog)
    cut = _cutting(catalog, MICROSECONDS_PER_SECOND, length)
    window_s = samples_to_seconds(length, MICROSECONDS_PER_SECOND)
    features = {name: at_window(config, window_s) for name, config in catalog.features.items()}
    return BuildSettings(
        kind="events", channels=len(sensors), image_shape=(), features=features, fft=catalog.compute.fft,
        classes=tuple(class_names(table, catalog.select.classes)), targets=("label", "length"), sensors=sensors, **cut,
    )


def _check_no_sound(catalog: Catalog) -> None:
    about_sound = {"audio": catalog.audio != AudioSettings(), "noise": catalog.noise is not None, "array": catalog.array != ArraySettings()}
    for name, given in about_sound.items():
        if given:
            raise CatalogError(f"[{name}]: says nothing about recordings of events; leave the table out")


def _check_senses(catalog: Catalog, sensors: Mapping[Sense, SensorSize]) -> None:
    for name in catalog.features:
        source = FEATURES[name].source
        if source not in sensors:
            has = f"{' and '.join(sensors)} events"
            needed = f"a {source}" if source in ("waveform", "image") else f"{source} events"
            raise CatalogError(f"[features.{name}]: is made of {needed}, the clips have {has}; leave it out")


def _cutting(catalog: Catalog, sample_rate: int, length: int) -> dict[str, Any]:
    """How clips are cut, in samples of `sample_rate`."""
    segment = catalog.segment
    hop = seconds_to_samples(segment.hop_s, sample_rate) if segment.hop_s else length
    min_fill = 1.0 if segment.short == "drop" else segment.min_fill
    return {"sample_rate": sample_rate, "length": length, "hop": hop, "min_fill": min_fill, "short": segment.short}


def _audio_settings(catalog: Catalog, table: pd.DataFrame, sample_rate: int, channels: int, length: int) -> BuildSettings:
    _check_array(catalog, channels)
    return BuildSettings(
        kind="audio",
        channels=channels,
        image_shape=(),
        features={name: at_sample_rate(config, sample_rate) for name, config in catalog.features.items()},
        fft=catalog.compute.fft,
        classes=tuple(class_names(table, catalog.select.classes)),
        targets=_targets(table),
        **_cutting(catalog, sample_rate, length),
    )


def _targets(table: pd.DataFrame) -> tuple[str, ...]:
    located = table.loc[table["reason"] == "", "azimuth_deg"].notna().any()
    return ("label", "length", "azimuth_deg") if located else ("label", "length")


def _check_array(catalog: Catalog, channels: int) -> None:
    positions = catalog.array.positions_m
    if positions is not None and len(positions) != channels:
        raise CatalogError(
            f"[array] positions_m has {len(positions)} positions, the clips have {channels} channels; give one position for each channel "
            "(and `channels` in [audio])"
        )


def _segment_length(catalog: Catalog, table: pd.DataFrame, rows: np.ndarray, findings: Findings, sample_rate: int) -> int:
    """Length of an example in samples: the catalog's, or that of the longest clip where clips are short enough to be examples."""
    if catalog.segment.length_s is not None:
        return seconds_to_samples(catalog.segment.length_s, sample_rate)
    lengths = _resampled(rows, findings, sample_rate)
    longest = int(np.argmax(lengths))
    if lengths.min() < lengths.max() > LONGEST_UNCUT_S * sample_rate:
        raise CatalogError(
            f"clips are up to {samples_to_seconds(int(lengths[longest]), sample_rate):g} s long ({table['clip_id'].iloc[rows[longest]]}) and differ; "
            "set `length_s` in [segment] to say how long an example is"
        )
    return int(lengths[longest])


def drafted_settings(
    catalog: Catalog, table: pd.DataFrame, sensors: Mapping[Sense, SensorSize] | None, recordings: tuple[NoiseRecording, ...] = ()
) -> BuildSettings | None:
    """Settings that are known before any file is looked at; None where the catalog leaves something to them.

    Parameters
    ----------
    catalog, table, recordings
        As of `resolve`.
    sensors : mapping or None
        Sizes of the sensors of events.
    """
    settings = _of_catalog(catalog, table, sensors)
    return settings and settings._replace(noise=_noise(catalog, recordings))


def _of_catalog(catalog: Catalog, table: pd.DataFrame, sensors: Mapping[Sense, SensorSize] | None) -> BuildSettings | None:
    kind, length_s = _kind(catalog), catalog.segment.length_s
    if kind == "events" and sensors and length_s:
        return _event_settings(catalog, table, dict(sensors), seconds_to_samples(length_s, MICROSECONDS_PER_SECOND))
    if kind == "audio" and catalog.audio.sample_rate and catalog.audio.channels and length_s:
        length = seconds_to_samples(length_s, catalog.audio.sample_rate)
        return _audio_settings(catalog, table, catalog.audio.sample_rate, catalog.audio.channels, length)
    return None


def clip_lengths(rows: np.ndarray, findings: Findings, settings: BuildSettings) -> np.ndarray:
    """Lengths of clips in samples at the build's sample rate; int64 [clip]."""
    return np.ones(len(rows), dtype=np.int64) if settings.kind == "image" else _resampled(rows, findings, settings.sample_rate)


def _resampled(rows: np.ndarray, findings: Findings, sample_rate: int) -> np.ndarray:
    """Lengths of clips at a sample rate; each different one is computed once."""
    samples, rates = findings.samples[rows], findings.sample_rates(rows)
    lengths = np.empty(len(rows), dtype=np.int64)
    for rate in np.unique(rates):
        at = np.flatnonzero(rates == rate)
        which, different = pd.factorize(samples[at])
        lengths[at] = np.array([resampled_length(one, int(rate), sample_rate) for one in different.tolist()], dtype=np.int64)[which]
    return lengths


def _noise(catalog: Catalog, recordings: tuple[NoiseRecording, ...]) -> AddedNoise | None:
    if catalog.noise is None:
        return None
    return AddedNoise(catalog.noise, recordings, catalog.array.positions_m, catalog.array.speed_of_sound_m_s)


def recorded_settings(
    catalog: Catalog, table: pd.DataFrame, recorded: Mapping[str, Any], recordings: tuple[NoiseRecording, ...] = ()
) -> BuildSettings:
    """Settings of a cache of sounds or events that has been built.

    Parameters
    ----------
    catalog : Catalog
    table : DataFrame
        The clips table.
    recorded : mapping
        ``sample_rate``, ``channels``, ``segment_samples`` and, of events, ``sensors``: the manifest's ``audio``.
    recordings : tuple of NoiseRecording
        What the catalog's ``[noise]`` names.
    """
    if _kind(catalog) == "events":
        sensors = {sense: tuple(size) for sense, size in recorded["sensors"].items()}
        return _event_settings(catalog, table, sensors, recorded["segment_samples"])
    settings = _audio_settings(catalog, table, recorded["sample_rate"], recorded["channels"], recorded["segment_samples"])
    return settings._replace(noise=_noise(catalog, recordings))
