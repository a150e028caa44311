"""A mono sound and impulse responses to what the microphones record."""

import numpy as np
import scipy

from audiodata.errors import ClipError
from audiodata.simulation.delays import Responses

LARGEST_PEAK = 0.99


def mono(waveform: np.ndarray, mix: bool = False) -> np.ndarray:
    """Take the one channel of a waveform.

    Parameters
    ----------
    waveform : array [sample] or [channel, sample]
    mix : bool
        Take the mean of several channels.

    Raises
    ------
    ClipError
        ``wrong_channels``: several channels, and no mean wanted.
    """
    waveform = np.atleast_2d(waveform)
    if len(waveform) != 1 and not mix:
        raise ClipError("wrong_channels", f"expected a sound of 1 channel, got {len(waveform)}; `mix_channels = true` in [dataset] takes their mean")
    return waveform.mean(axis=0, dtype=np.float64)


def convolve(sound: np.ndarray, responses: Responses) -> np.ndarray:
    """Hear a sound through impulse responses.

    Parameters
    ----------
    sound : array [sample]
    responses : Responses

    Returns
    -------
    float64 [channel, sample]
        From the moment that the source begins (so the delay of the way is in it) to the end of its last echo; nothing is wrapped
        round, and what an impulse between two samples would ring before that moment is cut.
    """
    length = len(sound) + responses.taps.shape[1] - 1
    size = scipy.fft.next_fast_len(length, real=True)
    spectrum = scipy.fft.rfft(sound.astype(np.float64), size)
    return scipy.fft.irfft(spectrum * scipy.fft.rfft(responses.taps, size), size)[:, responses.lead : length]


def loudest_start(sound: np.ndarray, length: int) -> int:
    """First sample of the span of `length` samples that has the most energy; of several, the first; 0 for a shorter sound.

    Examples
    --------
    >>> loudest_start(np.array([0.0, 1.0, 0.0, 2.0, 2.0, 0.0]), 2)
    3
    """
    if len(sound) <= length:
        return 0
    energy = np.concatenate([[0.0], np.cumsum(np.square(sound, dtype=np.float64))])
    return int(np.argmax(energy[length:] - energy[:-length]))


def convolve_span(sound: np.ndarray, responses: Responses, start: int, length: int | None) -> np.ndarray:
    """Hear a span of a sound, with what is still to be heard of the sound before it.

    Parameters
    ----------
    sound : array [sample]
    responses : Responses
    start : int
        First sample.
    length : int or None
        Samples; None: to the end of the sound and its tail.

    Returns
    -------
    float64 [channel, sample]
        At most `length` samples: those of ``convolve(sound, responses)`` from `start` on.
    """
    first = max(0, start - responses.taps.shape[1])
    if length is None:
        return convolve(sound[first:], responses)[:, start - first :]
    end = start + length
    heard = convolve(sound[first : end + responses.lead], responses)
    return heard[:, start - first : end - first]


def add_sensor_noise(recording: np.ndarray, snr_db: float, generator: np.random.Generator) -> np.ndarray:
    """Add white noise of equal level to every channel, independent between them.

    Parameters
    ----------
    recording : array [channel, sample]
    snr_db : float
        Mean power of the recording, over all channels and samples, over that of the noise.
    generator : numpy.random.Generator

    Returns
    -------
    float64 [channel, sample]
    """
    power = np.mean(np.square(recording)) * 10 ** (-snr_db / 10)
    return recording + np.sqrt(power) * generator.standard_normal(recording.shape)


def gain_to_fit(recording: np.ndarray) -> float:
    """Gain that keeps a recording within full scale: 1, unless its peak is over `LARGEST_PEAK`; one for all channels."""
    peak = float(np.max(np.abs(recording), initial=0.0))
    return LARGEST_PEAK / peak if peak > LARGEST_PEAK else 1.0
