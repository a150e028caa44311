"""The only place that rounds: seconds, milliseconds, samples, frames.

Every conversion rounds half up on the decimal value that a person wrote (0.0005 s at 1 kHz is 1 sample, as on paper), so that a time
read from a table gives the same sample on every machine.
"""

import math
from decimal import ROUND_HALF_UP, Decimal
from functools import lru_cache

import numpy as np


def seconds_to_samples(seconds: float, sample_rate: int) -> int:
    """Nearest sample index of a time, half up.

    Parameters
    ----------
    seconds : float
        Time in seconds.
    sample_rate : int
        In Hz.

    Returns
    -------
    int
        Sample index.

    Examples
    --------
    >>> seconds_to_samples(0.1, 44100)
    4410
    """
    return _round_half_up(Decimal(str(float(seconds))) * int(sample_rate))


def samples_to_seconds(samples: int, sample_rate: int) -> float:
    """Time of a sample index, in seconds (microsecond precision, so that sums of equal cuts stay equal)."""
    return round(int(samples) / int(sample_rate), 6)


def seconds_to_milliseconds(seconds: float) -> int:
    """Nearest millisecond, half up; file names and AudioSet's segment ids count in milliseconds."""
    return _round_half_up(Decimal(str(float(seconds))) * 1000)


def resampled_length(samples: int, from_rate: int, to_rate: int) -> int:
    """Length of a waveform after resampling: the nearest whole number of samples, half up.

    Examples
    --------
    >>> resampled_length(220544, 44100, 16000)
    80016
    """
    return (2 * int(samples) * int(to_rate) + int(from_rate)) // (2 * int(from_rate))


def frame_count(samples: int, hop_length: int) -> int:
    """Number of centred frames over `samples` samples: one at sample 0 and one every `hop_length` samples up to the end."""
    return 1 + int(samples) // int(hop_length)


def segment_count(samples: np.ndarray | int, length: int, hop: int, min_fill: float) -> np.ndarray:
    """How many fixed-length segments clips are cut into.

    Parameters
    ----------
    samples : array of int or int
        Length of each clip.
    length : int
        Length of a segment.
    hop : int
        Distance of segment starts; equal to `length` for segments that do not overlap.
    min_fill : float
        A last segment that the clip fills by less than this share (0 to 1) is not made; the first one always is, unless `min_fill` is 1
        (nothing shorter than a segment is kept).

    Returns
    -------
    array of int64
        Segment ``k`` begins at sample ``k * hop``; 0 for an empty clip.

    Examples
    --------
    >>> segment_count(np.array([0, 3, 10, 14, 15]), 10, 10, 0.5).tolist()
    [0, 1, 1, 1, 2]
    """
    samples = np.asarray(samples, dtype=np.int64)
    needed = max(math.ceil(min_fill * length), 1)
    filled = np.maximum((samples - needed) // hop + 1, 0)
    return np.where(samples > 0, filled if min_fill >= 1 else np.maximum(filled, 1), 0)


@lru_cache(maxsize=64)  # most clips of a set are equally long
def segment_spans(samples: int, length: int, hop: int, min_fill: float) -> tuple[tuple[int, int], ...]:
    """Start and filled samples of the segments of one clip; `audiodata.layout.cut_segments` does the same to a table."""
    starts = range(0, int(segment_count(samples, length, hop, min_fill)) * hop, hop)
    return tuple((start, min(samples - start, length)) for start in starts)


def _round_half_up(value: Decimal) -> int:
    return int(value.to_integral_value(rounding=ROUND_HALF_UP))
