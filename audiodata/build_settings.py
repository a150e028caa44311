"""What shapes the numbers of a cache: a catalog with nothing left open."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from audiodata.events.record import SensorSize
from audiodata.mixing import NoiseSettings, add_noise
from audiodata.noise_bank import NoiseBank, NoiseRecording
from audiodata.records import ExampleSpan
from audiodata.settings import Settings


class AddedNoise(NamedTuple):
    """What a catalog's ``[noise]`` comes to.

    Attributes
    ----------
    settings : NoiseSettings
    recordings : tuple of NoiseRecording
        Empty for noise that is made.
    positions_m : tuple or None
        Of the microphones.
    speed_m_s : float
        Of sound.
    """

    settings: NoiseSettings
    recordings: tuple[NoiseRecording, ...]
    positions_m: tuple[tuple[float, float, float], ...] | None
    speed_m_s: float

    def add(self, root: Path, waveform: np.ndarray, example: ExampleSpan, sample_rate: int) -> np.ndarray:
        """Give an example ``[channel, sample]`` its noise."""
        return add_noise(
            self.settings,
            waveform,
            example.example_id,
            sample_rate,
            valid=example.valid,
            positions_m=self.positions_m,
            source_azimuth_deg=example.truth.azimuth_deg,
            bank=NoiseBank(root, self.recordings) if self.recordings else None,
            speed_m_s=self.speed_m_s,
        )

    def described(self) -> dict[str, Any]:
        """What of it shapes the numbers, for a fingerprint: a recording by its content and not by its name."""
        recordings = [[one.clip.start_s, one.clip.duration_s, one.clip.channels, *one[1:]] for one in self.recordings]
        return self._asdict() | {"settings": self.settings.model_dump(mode="json"), "recordings": recordings}


class BuildSettings(NamedTuple):
    """What shapes the numbers of every shard, with nothing left open.

    Attributes
    ----------
    kind : str
        Key of `audiodata.kinds.KINDS`.
    sample_rate : int
        Hz; 0 for images; that of microseconds for events.
    channels : int
        Of sound; of events the number of senses.
    length, hop : int
        Samples of a segment, and from one to the next; 1 for images; microseconds for events.
    min_fill : float
        A last segment filled by a smaller share is not made.
    image_shape : tuple of int
        ``(row, column)``; empty for all but images.
    short : str
        "zero", "repeat" or "drop".
    features : dict
        Feature configs by name.
    fft : str
        "scipy" or "mkl".
    classes : tuple of str
        Their order is the class index.
    targets : tuple of str
        Keys of `TARGETS`.
    noise : AddedNoise or None
    sensors : dict
        Sizes of the event sensors, by sense; empty for all but events.
    """

    kind: str
    sample_rate: int
    channels: int
    length: int
    hop: int
    min_fill: float
    image_shape: tuple[int, ...]
    short: str
    features: dict[str, Settings]
    fft: str
    classes: tuple[str, ...]
    targets: tuple[str, ...]
    noise: AddedNoise | None = None
    sensors: dict[str, SensorSize] = {}

    def of_split(self, split: str) -> "BuildSettings":
        """Settings of one split's shards: those without noise where the split gets none."""
        return self if self.noise is None or split in self.noise.settings.splits else self._replace(noise=None)
