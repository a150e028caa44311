"""Frames and lists of events, as networks take them and shards keep them.

What a camera saw is prepared in a fixed order, each step by its settings: `remove_harmonics`, `denoise_us`, `stabilise`, `downsample`, the crop to
`size`, then the polarity and the time steps. What a cochlea heard: `denoise_us`, `channels_per_band`, then the polarity and the time steps. The steps
themselves are in `audiodata.events`. Time 0 is the start of the window; what lies outside the window is left out.
"""

import hashlib
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from audiodata.errors import FeatureError
from audiodata.events.binning import Values, frames, frames_shape
from audiodata.events.cropping import crop, crop_corner, downsample, downsampled_size
from audiodata.events.denoising import denoise
from audiodata.events.harmonics import remove_harmonics
from audiodata.events.polarities import Polarity, channel_count, choose_polarity
from audiodata.events.record import Events, Sense, SensorSize
from audiodata.events.spans import cut
from audiodata.events.stabilising import CENTRE, Orientation, check_stabilisable, stabilise
from audiodata.features.base import Config, Feature, WindowConfig, at_window, settle
from audiodata.settings import Settings

TIME_MAX_US = 2**31 - 1


class VisualConfig(WindowConfig):
    """Settings that all features of visual events have.

    Attributes
    ----------
    window_s
        See `audiodata.features.base.WindowConfig`.
    remove_harmonics : bool
        Replace the times by those of a noisy clock, see `audiodata.events.harmonics.remove_harmonics`.
    seed : int
        Of that noise, which differs from one recording to the next.
    denoise_us : int, optional
        Keep events that follow one of a neighbour within this time, see `audiodata.events.denoising.denoise`.
    stabilise : str
        ``"mnist_dvs"`` takes out that data set's motion, see `audiodata.events.stabilising.stabilise`.
    orientation : str
        That the events were read in; it matters to `stabilise` alone.
    downsample : int
        Columns and rows that are taken as one.
    size : int or "sensor"
        Columns and rows of the square cut out of what `downsample` leaves; "sensor" for all of it.
    crop_centre : tuple of int, optional
        Column and row of the middle of that square, in pixels of the sensor itself. Default: where `stabilise` puts it, (63, 63), else the
        middle of the sensor. See `audiodata.events.cropping.crop_corner`.
    """

    remove_harmonics: bool = False
    seed: int = Field(default=0, ge=0)
    denoise_us: int | None = Field(default=None, ge=0)
    stabilise: Literal["none", "mnist_dvs"] = "none"
    orientation: Orientation = "upright"
    downsample: int = Field(default=1, ge=1)
    size: Annotated[int, Field(ge=1)] | Literal["sensor"] = 28
    crop_centre: tuple[int, int] | None = None

    @property
    def centre(self) -> tuple[int, int] | None:
        """Middle of the square, in pixels as they are after `downsample`; None for the middle of the sensor."""
        centre = self.crop_centre or (CENTRE if self.stabilise == "mnist_dvs" else None)
        return centre and (centre[0] // self.downsample, centre[1] // self.downsample)

    def sensor_after(self, sensor_size: SensorSize) -> SensorSize:
        """Size of the sensor that a camera's events end on; raises `FeatureError` for a camera that the settings don't fit."""
        if self.stabilise == "mnist_dvs":
            check_stabilisable(sensor_size)
        smaller = downsampled_size(sensor_size, self.downsample)
        if self.size == "sensor":
            return smaller
        crop_corner(smaller, self.size, self.centre)
        return self.size, self.size, smaller[2]


class AuditoryConfig(WindowConfig):
    """Settings that all features of auditory events have.

    Attributes
    ----------
    window_s
        See `audiodata.features.base.WindowConfig`.
    denoise_us : int, optional
        Keep events that follow one of a neighbouring channel within this time, see `audiodata.events.denoising.denoise`.
    channels_per_band : int
        Neighbouring channels that are taken as one.
    """

    denoise_us: int | None = Field(default=None, ge=0)
    channels_per_band: int = Field(default=1, ge=1)


class BinnedConfig(Settings):
    """Settings of frames.

    Attributes
    ----------
    time_steps : int
        Frames in the window.
    values : str
        ``"binary"``: 1 where there was an event; ``"count"``: how many, 255 standing for 255 and more.
    polarity : str
        ``"merged"`` into one channel, ``"both"`` (OFF, then ON; one channel of a sensor that tells none apart), ``"on"`` or ``"off"`` alone.
    """

    time_steps: int = Field(default=64, ge=1)
    values: Values = "binary"
    polarity: Polarity = "merged"


class VisualFramesConfig(BinnedConfig, VisualConfig):
    """Settings of `visual_frames`: those of `VisualConfig` and of `BinnedConfig`."""


class AuditoryFramesConfig(BinnedConfig, AuditoryConfig):
    """Settings of `auditory_frames`: those of `AuditoryConfig` and of `BinnedConfig`."""


class VisualEventsConfig(VisualConfig):
    """Settings of `visual_events`: those of `VisualConfig`, but the whole sensor by default, and `polarity` as in `BinnedConfig`."""

    size: Annotated[int, Field(ge=1)] | Literal["sensor"] = "sensor"
    polarity: Polarity = "both"


class AuditoryEventsConfig(AuditoryConfig):
    """Settings of `auditory_events`: those of `AuditoryConfig`, and `polarity` as in `BinnedConfig`."""

    polarity: Polarity = "both"


def settle_events(events: Events, sense: Sense, config_class: type[Config], config: Config | None, window_s: float | None, settings: dict) -> Config:
    """Return the one config that a feature's function was called with, its window known.

    Raises
    ------
    FeatureError
        Settings, or events of another sense, that don't fit.
    """
    if not isinstance(events, Events) or events.sense != sense:
        found = f"{events.sense} events" if isinstance(events, Events) else type(events).__name__
        raise FeatureError(f"{config_class.__name__}: expected {sense} events, got {found}")
    return at_window(settle(config_class, config, None, settings), window_s)


def prepare_visual(events: Events, config: VisualConfig, start_us: int = 0) -> Events:
    """Take the events in the window through all steps before the polarity.

    Parameters
    ----------
    events : Events
        Time 0 is the start of the window.
    config : VisualConfig
    start_us : int
        Where in the recording the window starts.

    Raises
    ------
    FeatureError
        A camera that the settings don't fit.
    """
    config.sensor_after(events.sensor_size)
    events = cut(events, 0, config.window_us)
    if config.remove_harmonics:
        events = remove_harmonics(events, _generator(events, config.seed))
    if config.denoise_us is not None:
        events = denoise(events, config.denoise_us)
    if config.stabilise == "mnist_dvs":
        events = stabilise(events, start_us, config.orientation)
    if config.downsample > 1:
        events = downsample(events, config.downsample)
    return events if config.size == "sensor" else crop(events, config.size, config.centre)


def _generator(events: Events, seed: int) -> np.random.Generator:
    """Make noise that is the recording's own: with the same noise for all, their times would be distorted alike."""
    digest = hashlib.sha256(np.ascontiguousarray(events.array["t"]).tobytes()).digest()
    return np.random.default_rng([seed, int.from_bytes(digest[:8], "little")])


def _prepare_auditory(events: Events, config: AuditoryConfig) -> Events:
    events = cut(events, 0, config.window_us)
    if config.denoise_us is not None:
        events = denoise(events, config.denoise_us)
    return downsample(events, config.channels_per_band)


def _binned(events: Events, config: BinnedConfig, window_us: int) -> np.ndarray:
    return frames(events, config.time_steps, window_us, values=config.values, polarity=config.polarity)


def visual_frames(
    events: Events,
    config: VisualFramesConfig | None = None,
    *,
    window_s: float | None = None,
    start_us: int = 0,
    **settings: Any,
) -> np.ndarray:
    """Frames of what a camera saw.

    Parameters
    ----------
    events : Events
        With rows; time 0 is the start of the window.
    config : VisualFramesConfig, optional
        Or its settings as keywords.
    window_s : float, optional
        In seconds; needed unless the config has it.
    start_us : int
        Where in the recording the window starts; `stabilise` needs it.
    **settings
        Of `VisualFramesConfig`.

    Returns
    -------
    uint8 [time, polarity, row, column]

    Raises
    ------
    FeatureError
        Settings or events that don't fit.

    Examples
    --------
    >>> from audiodata.events.record import make_events
    >>> dot = make_events(np.array([150_000]), np.array([17]), np.array([3]), np.array([1]), (34, 34, 2))
    >>> np.argwhere(visual_frames(dot, window_s=0.3, time_steps=10)).tolist()
    [[5, 0, 0, 14]]
    """
    config = settle_events(events, "visual", VisualFramesConfig, config, window_s, settings)
    return _binned(prepare_visual(events, config, start_us), config, config.window_us)


def auditory_frames(
    events: Events, config: AuditoryFramesConfig | None = None, *, window_s: float | None = None, start_us: int = 0, **settings: Any
) -> np.ndarray:
    """Frames of what a cochlea heard.

    Parameters
    ----------
    events : Events
        Without rows; time 0 is the start of the window.
    config : AuditoryFramesConfig, optional
        Or its settings as keywords.
    window_s : float, optional
        In seconds; needed unless the config has it.
    start_us : int
        Where in the recording the window starts; it makes no difference here.
    **settings
        Of `AuditoryFramesConfig`.

    Returns
    -------
    uint8 [time, polarity, channel]

    Raises
    ------
    FeatureError
        Settings or events that don't fit.
    """
    config = settle_events(events, "auditory", AuditoryFramesConfig, config, window_s, settings)
    return _binned(_prepare_auditory(events, config), config, config.window_us)


def visual_events(
    events: Events, config: VisualEventsConfig | None = None, *, window_s: float | None = None, start_us: int = 0, **settings: Any
) -> np.ndarray:
    """What a camera saw, as a list: for recordings that are long or on large sensors.

    Parameters
    ----------
    events : Events
        With rows; time 0 is the start of the window.
    config : VisualEventsConfig, optional
        Or its settings as keywords.
    window_s : float, optional
        In seconds; needed unless the config has it.
    start_us : int
        Where in the recording the window starts; `stabilise` needs it.
    **settings
        Of `VisualEventsConfig`.

    Returns
    -------
    int32 [event, field]
        Fields: time in microseconds from the window's start, column, row, channel of the polarity. As many rows as there are events.

    Raises
    ------
    FeatureError
        Settings or events that don't fit; a window of more than 35 minutes.
    """
    config = settle_events(events, "visual", VisualEventsConfig, config, window_s, settings)
    return _listed(choose_polarity(prepare_visual(events, config, start_us), config.polarity), config.window_us)


def auditory_events(
    events: Events, config: AuditoryEventsConfig | None = None, *, window_s: float | None = None, start_us: int = 0, **settings: Any
) -> np.ndarray:
    """What a cochlea heard, as a list.

    Parameters
    ----------
    events : Events
        Without rows; time 0 is the start of the window.
    config : AuditoryEventsConfig, optional
        Or its settings as keywords.
    window_s : float, optional
        In seconds; needed unless the config has it.
    start_us : int
        Where in the recording the window starts; it makes no difference here.
    **settings
        Of `AuditoryEventsConfig`.

    Returns
    -------
    int32 [event, field]
        Fields: time in microseconds from the window's start, channel, channel of the polarity. As many rows as there are events.

    Raises
    ------
    FeatureError
        Settings or events that don't fit; a window of more than 35 minutes.
    """
    config = settle_events(events, "auditory", AuditoryEventsConfig, config, window_s, settings)
    return _listed(choose_polarity(_prepare_auditory(events, config), config.polarity), config.window_us)


def _listed(events: Events, window_us: int) -> np.ndarray:
    if window_us > TIME_MAX_US:
        raise FeatureError(f"event list: a window of {window_us} us is longer than 32 bits can count; cut it with `length_s` in [segment]")
    return np.stack([events.array[field].astype(np.int32) for field in events.array.dtype.names], axis=1)


def _visual_frames_shape(config: VisualFramesConfig, channels: int, *sensor_size: int) -> tuple[int, int, int, int]:
    return frames_shape(config.sensor_after(sensor_size), config.time_steps, config.polarity)


def _auditory_frames_shape(config: AuditoryFramesConfig, channels: int, *sensor_size: int) -> tuple[int, int, int]:
    time, polarity, rows, columns = frames_shape(downsampled_size(sensor_size, config.channels_per_band), config.time_steps, config.polarity)
    return time, polarity, rows * columns


def _visual_events_shape(config: VisualEventsConfig, channels: int, *sensor_size: int) -> tuple[None, int]:
    channel_count(config.polarity, config.sensor_after(sensor_size)[2])  # refuses a sensor that the settings don't fit
    return None, 4


def _auditory_events_shape(config: AuditoryEventsConfig, channels: int, *sensor_size: int) -> tuple[None, int]:
    channel_count(config.polarity, sensor_size[2])  # refuses a sensor that the settings don't fit
    return None, 3


VISUAL_FRAMES = Feature(
    config=VisualFramesConfig,
    function=visual_frames,
    shape=_visual_frames_shape,
    axes=("time", "polarity", "row", "column"),
    unit="events",
    version=1,
    source="visual",
    dtype="uint8",
)
AUDITORY_FRAMES = Feature(
    config=AuditoryFramesConfig,
    function=auditory_frames,
    shape=_auditory_frames_shape,
    axes=("time", "polarity", "channel"),
    unit="events",
    version=1,
    source="auditory",
    dtype="uint8",
)
VISUAL_EVENTS = Feature(
    config=VisualEventsConfig,
    function=visual_events,
    shape=_visual_events_shape,
    axes=("event", "field"),
    unit="time_us, x, y, p",
    version=1,
    source="visual",
    dtype="int32",
)
AUDITORY_EVENTS = Feature(
    config=AuditoryEventsConfig,
    function=auditory_events,
    shape=_auditory_events_shape,
    axes=("event", "field"),
    unit="time_us, x, p",
    version=1,
    source="auditory",
    dtype="int32",
)
