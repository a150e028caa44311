"""Features of waveforms, images and events: one frozen config and one pure function each.

To add one, write a file with its config, its function and its `Feature` record, and add one line to `FEATURES`:
catalogs, builds and the conformance tests find it there.
"""

from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError

import numpy as np

from audiodata.errors import EnvironmentFault, FeatureError
from audiodata.events.record import Events
from audiodata.features import stft
from audiodata.features.base import Feature, as_waveform, at_sample_rate, at_window, check_class
from audiodata.features.differences import LEVEL_DIFFERENCE, PHASE_DIFFERENCE
from audiodata.features.event_tonic import VISUAL_TIME_SURFACE, VISUAL_VOXEL_GRID
from audiodata.features.events import AUDITORY_EVENTS, AUDITORY_FRAMES, VISUAL_EVENTS, VISUAL_FRAMES
from audiodata.features.image import IMAGE
from audiodata.features.mtpc import MTPC
from audiodata.features.spatial import GCC_PHAT
from audiodata.features.spectral import LOG_MEL, MFCC
from audiodata.features.stft import analyse, package_version
from audiodata.features.waveform import WAVEFORM
from audiodata.settings import Settings

__all__ = [
    "FEATURES",
    "Feature",
    "at_sample_rate",
    "at_window",
    "extract",
    "extract_events",
    "extract_image",
    "feature_shape",
    "find_feature",
    "numeric_versions",
]

FEATURES: dict[str, Feature] = {
    "auditory_events": AUDITORY_EVENTS,
    "auditory_frames": AUDITORY_FRAMES,
    "gcc_phat": GCC_PHAT,
    "image": IMAGE,
    "level_difference": LEVEL_DIFFERENCE,
    "log_mel": LOG_MEL,
    "mfcc": MFCC,
    "mtpc": MTPC,
    "phase_difference": PHASE_DIFFERENCE,
    "visual_events": VISUAL_EVENTS,
    "visual_frames": VISUAL_FRAMES,
    "visual_time_surface": VISUAL_TIME_SURFACE,
    "visual_voxel_grid": VISUAL_VOXEL_GRID,
    "waveform": WAVEFORM,
}


def find_feature(name: str, source: str | None = None) -> Feature:
    """Look a feature up by name; raise `FeatureError` for one that is unknown or is computed from another source."""
    if name not in FEATURES:
        raise FeatureError(f"feature {name!r} is unknown; known are {', '.join(FEATURES)}")
    if source not in (None, FEATURES[name].source):
        raise FeatureError(f"feature {name!r} is computed from a {FEATURES[name].source}, not from a {source}")
    return FEATURES[name]


def numeric_versions(fft: str = "scipy", features: Iterable[str] = ()) -> dict[str, str]:
    """Name what shapes the numbers beside the settings.

    Parameters
    ----------
    fft : str
        See `audiodata.features.stft.numeric_versions`.
    features : iterable of str
        Keys of `FEATURES`; the versions of the packages that they need beyond the others are added.

    Raises
    ------
    EnvironmentFault
        The FFT or a package isn't installed.
    """
    packages = {package for name in features for package in find_feature(name).packages}
    try:
        return stft.numeric_versions(fft) | {package: package_version(package) for package in sorted(packages)}
    except PackageNotFoundError as error:
        raise EnvironmentFault(f"a feature is computed by {error.name}, which isn't installed; pip install 'audiodata[all]'") from None


def feature_shape(name: str, config: Settings, channels: int, *size: int) -> tuple[int | None, ...]:
    """Shape of a feature without computing it.

    Parameters
    ----------
    name : str
        A key of `FEATURES`.
    config : Settings
        Its settings.
    channels : int
        Of the waveform or image; 1 for events.
    *size : int
        The number of samples, the numbers of rows and columns, or those of columns, rows and polarities of a sensor of events.

    Returns
    -------
    tuple of int
        None for an axis whose length depends on the events.

    Examples
    --------
    >>> from audiodata.features.spectral import MfccConfig
    >>> feature_shape("mfcc", MfccConfig(hop_length=512, n_mfcc=20), 1, 16000)
    (1, 32, 20)
    """
    feature = find_feature(name)
    return feature.shape(check_class(config, feature.config), channels, *size)


def extract(waveform: np.ndarray, sample_rate: int, configs: Mapping[str, Settings], fft: str = "scipy") -> dict[str, np.ndarray]:
    """Compute features of a waveform; those with the same window, hop and FFT length share one STFT.

    Parameters
    ----------
    waveform : float32 [channel, sample] or [sample]
        Full scale 1.0.
    sample_rate : int
        In Hz; filled into configs that have none.
    configs : mapping
        Keys of `FEATURES` to their settings.
    fft : str
        Where the FFTs come from: ``"scipy"`` or ``"mkl"``.

    Returns
    -------
    dict
        The same keys to float32 arrays, bit for bit what each feature's own function returns.

    Raises
    ------
    FeatureError
        A name, settings or a waveform that don't fit.
    EnvironmentFault
        The FFT asked for isn't installed.
    """
    waveform = as_waveform(waveform)
    features = {name: find_feature(name, "waveform") for name in configs}
    configs = {name: at_sample_rate(check_class(configs[name], feature.config), sample_rate) for name, feature in features.items()}
    analyses = {name: feature.analysis(configs[name]) for name, feature in features.items() if feature.analysis}
    measured = analyse(waveform, analyses.values(), fft)
    results = {}
    for name, feature in features.items():
        if name in analyses:
            results[name] = feature.finish(measured[analyses[name]], configs[name])
        else:
            results[name] = feature.function(waveform, configs[name])
    return results


def extract_image(pixels: np.ndarray, configs: Mapping[str, Settings]) -> dict[str, np.ndarray]:
    """Compute features of an image.

    Parameters
    ----------
    pixels : uint8 [channel, row, column]
    configs : mapping
        Keys of `FEATURES` to their settings.

    Returns
    -------
    dict
        The same keys to float32 arrays.

    Raises
    ------
    FeatureError
        A name, settings or an array that don't fit.
    """
    return {name: find_feature(name, "image").function(pixels, config) for name, config in configs.items()}


def extract_events(
    recordings: Mapping[str, Events], configs: Mapping[str, Settings], *, window_s: float | None = None, start_us: int = 0
) -> dict[str, np.ndarray]:
    """Compute features of the events of a clip.

    Parameters
    ----------
    recordings : mapping
        ``"visual"``, ``"auditory"`` or both, to events whose time 0 is the start of the window.
    configs : mapping
        Keys of `FEATURES` to their settings.
    window_s : float, optional
        In seconds; filled into configs that have none.
    start_us : int
        Where in the recordings the window starts.

    Returns
    -------
    dict
        The same keys to arrays of each feature's `dtype`.

    Raises
    ------
    FeatureError
        A name, settings or events that don't fit, or a clip without what a feature is computed from.
    EnvironmentFault
        A package that a feature needs isn't installed.
    """
    results = {}
    for name, config in configs.items():
        feature = find_feature(name)
        if feature.source not in recordings:
            raise FeatureError(f"feature {name!r} is computed from a {feature.source} recording, the clip has {' and '.join(recordings) or 'none'}")
        results[name] = feature.function(recordings[feature.source], config, window_s=window_s, start_us=start_us)
    return results
