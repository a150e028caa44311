"""Perceptual evaluation of speech quality (PESQ; ITU-T P.862, P.862.1 and P.862.2) through the optional package ``pesq``."""

import importlib
from typing import Any

import numpy as np

from audiodata.errors import AudioDataError, EnvironmentFault

# Narrow band at 8 kHz, wide band at 16 kHz; there are no others.
BANDS = {8000: "nb", 16000: "wb"}


def measurable(sample_rate: int | None) -> bool:
    """Whether PESQ can be measured here, for sounds of that rate."""
    try:
        require(sample_rate)
    except AudioDataError:
        return False
    return True


def require(sample_rate: int | None) -> Any:
    """Return the package's module.

    Raises
    ------
    AudioDataError
        PESQ is not defined at this rate.
    EnvironmentFault
        The package isn't installed.
    """
    if sample_rate not in BANDS:
        raise AudioDataError(f"PESQ is defined at 8000 and 16000 Hz, not at {sample_rate}; build the cache at one of these rates or set pesq=off")
    try:
        return importlib.import_module("pesq")
    except ImportError as error:
        raise EnvironmentFault(f"PESQ needs the package pesq ({error}); install it with: pip install 'audiodata[speech]'") from None


def pesq(estimate: np.ndarray, source: np.ndarray, sample_rate: int) -> float | None:
    """Listening quality of an estimate of a clean source.

    Parameters
    ----------
    estimate, source : numpy.ndarray [sample]
    sample_rate : int
        8000 (narrow band) or 16000 (wide band), Hz.

    Returns
    -------
    float or None
        Mean opinion score (MOS-LQO), about 1 to 4.6; None where PESQ refuses: less than a quarter of a second, no speech found in either, or
        nothing at all in one of them.

    Raises
    ------
    AudioDataError
        As `require`.
    """
    module = require(sample_rate)
    if not (np.any(estimate) and np.any(source)):
        return None
    try:
        return float(module.pesq(sample_rate, source, estimate, BANDS[sample_rate]))
    except module.PesqError:
        return None
    except ValueError as error:
        # its score of an estimate in which it finds no speech is not a number
        if "NaN" in str(error):
            return None
        raise
