"""Recordings of noise: which come from where they should, and a stretch of one of them.

A listing (`audiodata.noise_list`) holds names, hashes and lengths, never sound, so it can travel to workers and into a fingerprint; a
`NoiseBank` reads no more of a file than the stretch asked for.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from audiodata.audio import fill, resample
from audiodata.errors import MetadataError
from audiodata.geometry import circular_error_deg
from audiodata.records import ClipSpan
from audiodata.sources import SOURCES

QUIETEST = 1e-12  # mean square (-120 dB re full scale) under which a stretch holds no noise
ATTEMPTS = 16


class NoiseRecording(NamedTuple):
    """One recording of noise.

    Attributes
    ----------
    clip : ClipSpan
        Where it lies.
    sha256 : str
        Of its file, or of the hashes of its files.
    sample_rate, samples : int
        As decoded.
    azimuth_deg : float or None
        Where the noise came from; None = not known.
    """

    clip: ClipSpan
    sha256: str
    sample_rate: int
    samples: int
    azimuth_deg: float | None = None


def suited(
    recordings: Sequence[NoiseRecording], azimuth_deg: float | None, source_azimuth_deg: float | None, apart_deg: float
) -> list[NoiseRecording]:
    """Recordings whose noise comes from where it should.

    Parameters
    ----------
    recordings : sequence of NoiseRecording
    azimuth_deg : float or None
        Wanted: the recordings nearest to it are taken.
    source_azimuth_deg : float or None
        Of the sound, where no azimuth is wanted: recordings at least `apart_deg` from it are taken; where there are none, the farthest.
    apart_deg : float

    Returns
    -------
    list of NoiseRecording
        All of them where azimuths are not known.
    """
    if any(one.azimuth_deg is None for one in recordings) or (azimuth_deg is None and source_azimuth_deg is None):
        return list(recordings)
    reference = source_azimuth_deg if azimuth_deg is None else azimuth_deg
    distances = np.array([circular_error_deg(one.azimuth_deg, reference) for one in recordings])
    limit = distances.min() if azimuth_deg is not None else min(apart_deg, distances.max())
    good = distances <= limit if azimuth_deg is not None else distances >= limit
    return [one for one, is_good in zip(recordings, good, strict=True) if is_good]


class NoiseBank:
    """Stretches of listed recordings.

    Parameters
    ----------
    root : Path
        Below which they lie.
    recordings : sequence of NoiseRecording
        From `audiodata.noise_list`.
    """

    def __init__(self, root: Path, recordings: Sequence[NoiseRecording]):
        self.root = Path(root)
        self.recordings = tuple(recordings)

    def draw(self, generator: np.random.Generator, samples: int, sample_rate: int, among: Sequence[NoiseRecording] | None = None) -> np.ndarray:
        """Draw a recording and a stretch of it that is not silent.

        Parameters
        ----------
        generator : numpy.random.Generator
        samples : int
            Length of the stretch at `sample_rate`; a shorter recording is repeated.
        sample_rate : int
            In Hz; recordings of another rate are resampled.
        among : sequence of NoiseRecording, optional
            Default: all.

        Returns
        -------
        float32 [channel, sample]
            All channels of the recording.

        Raises
        ------
        ClipError
            The recording can't be read.
        MetadataError
            Nothing but silence was drawn.
        """
        among = self.recordings if among is None else among
        for _ in range(ATTEMPTS):
            recording = among[int(generator.integers(len(among)))]
            stretch = self._read(recording, generator, samples, sample_rate)
            if np.mean(np.square(stretch, dtype=np.float64)) > QUIETEST:
                return stretch
        raise MetadataError(f"{recording.clip.path}: drawn noise is silent, {ATTEMPTS} times in a row; remove silent recordings from the noise")

    def _read(self, recording: NoiseRecording, generator: np.random.Generator, samples: int, sample_rate: int) -> np.ndarray:
        rate = recording.sample_rate
        needed = -(-samples * rate // sample_rate) + 1
        start = int(generator.integers(max(recording.samples - needed, 0) + 1))
        span = recording.clip._replace(start_s=recording.clip.start_s + start / rate, duration_s=min(needed, recording.samples) / rate)
        stretch, _ = SOURCES["audio"].load(self.root, span)
        return fill(resample(stretch, rate, sample_rate), samples, "repeat")
