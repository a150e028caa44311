"""Features of waveforms and images: one frozen config and one pure function each.

To add one, write a file with its config, its function and its `Feature` record, and add one line to `FEATURES`:
catalogs, builds and the conformance tests find it there.
"""

from collections.abc import Mapping

import numpy as np

from audiodata.errors import FeatureError
from audiodata.features.base import Feature, as_waveform, at_sample_rate, check_class
from audiodata.features.differences import LEVEL_DIFFERENCE, PHASE_DIFFERENCE
from audiodata.features.image import IMAGE
from audiodata.features.mtpc import MTPC
from audiodata.features.spatial import GCC_PHAT
from audiodata.features.spectral import LOG_MEL, MFCC
from audiodata.features.stft import analyse, numeric_versions
from audiodata.settings import Settings

__all__ = [
    "FEATURES",
    "Feature",
    "at_sample_rate",
    "extract",
    "extract_image",
    "feature_shape",
    "find_feature",
    "numeric_versions",
]

FEATURES: dict[str, Feature] = {
    "gcc_phat": GCC_PHAT,
    "image": IMAGE,
    "level_difference": LEVEL_DIFFERENCE,
    "log_mel": LOG_MEL,
    "mfcc": MFCC,
    "mtpc": MTPC,
    "phase_difference": PHASE_DIFFERENCE,
}


def find_feature(name: str, source: str | None = None) -> Feature:
    """Look a feature up by name; raise `FeatureError` for one that is unknown or is computed from another source."""
    if name not in FEATURES:
        raise FeatureError(f"feature {name!r} is unknown; known are {', '.join(FEATURES)}")
    if source not in (None, FEATURES[name].source):
        raise FeatureError(f"feature {name!r} is computed from a {FEATURES[name].source}, not from a {source}")
    return FEATURES[name]


def feature_shape(name: str, config: Settings, channels: int, *size: int) -> tuple[int, ...]:
    """Shape of a feature without computing it.

    Parameters
    ----------
    name : str
        A key of `FEATURES`.
    config : Settings
        Its settings.
    channels : int
        Of the waveform or image.
    *size : int
        The number of samples, or the numbers of rows and columns.

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
