"""Time surfaces and voxel grids of visual events, computed by tonic over the whole of a fixed window.

tonic (GPL-3.0, an extra) takes the span from the first event to the last for the window. Here it is given two events more, one at the start of the
window and one at its end, on a column of their own beside the sensor, which is cut off afterwards; so the steps are those of
`audiodata.events.binning`, nothing at the end is lost, and events that are few, all at one time or none at all are no special case. Times are
multiplied by whole numbers first, so that every boundary of a step is a whole number. tonic works on a copy.
"""

from typing import Any

import numpy as np
from pydantic import Field

from audiodata.errors import EnvironmentFault, FeatureError
from audiodata.events.polarities import Polarity, channel_count, choose_polarity
from audiodata.events.record import EVENT_2D, Events
from audiodata.features.base import Feature
from audiodata.features.events import VisualConfig, prepare_visual, settle_events


class VisualTimeSurfaceConfig(VisualConfig):
    """Settings of `visual_time_surface`: those of `audiodata.features.events.VisualConfig`, and its own.

    Attributes
    ----------
    time_steps : int
        Surfaces in the window.
    tau_us : float
        Time constant of the decay, in microseconds.
    polarity : str
        See `audiodata.features.events.BinnedConfig`.
    """

    time_steps: int = Field(default=64, ge=1)
    tau_us: float = Field(default=20_000.0, gt=0)
    polarity: Polarity = "both"


class VisualVoxelGridConfig(VisualConfig):
    """Settings of `visual_voxel_grid`: those of `audiodata.features.events.VisualConfig`, and its own.

    Attributes
    ----------
    time_steps : int
        Layers of the grid.
    """

    time_steps: int = Field(default=10, ge=2)


def visual_time_surface(
    events: Events, config: VisualTimeSurfaceConfig | None = None, *, window_s: float | None = None, start_us: int = 0, **settings: Any
) -> np.ndarray:
    """How recently each pixel had an event, at the end of each time step (Lagorce et al. 2017, over the whole sensor).

    With t_i the end of step i, and t_last the time of the pixel's latest event before it, S_i = exp(-(t_i - t_last) / tau); 0 before its first.

    Parameters
    ----------
    events : Events
        With rows; time 0 is the start of the window.
    config : VisualTimeSurfaceConfig, optional
        Or its settings as keywords.
    window_s : float, optional
        In seconds; needed unless the config has it.
    start_us : int
        Where in the recording the window starts; `stabilise` needs it.
    **settings
        Of `VisualTimeSurfaceConfig`.

    Returns
    -------
    float32 [time, polarity, row, column]
        From 0 to 1.

    Raises
    ------
    FeatureError
        Settings or events that don't fit.
    EnvironmentFault
        tonic isn't installed.
    """
    config = settle_events(events, "visual", VisualTimeSurfaceConfig, config, window_s, settings)
    prepared = choose_polarity(prepare_visual(events, config, start_us), config.polarity)
    steps, window_us = config.time_steps, config.window_us
    guarded, sensor_size = _guarded(prepared, scale=steps, end=window_us * steps)
    surfaces = _tonic().ToTimesurface(sensor_size=sensor_size, dt=window_us, tau=config.tau_us * steps)(guarded)
    return np.ascontiguousarray(surfaces[..., :-1], np.float32)


def visual_voxel_grid(
    events: Events, config: VisualVoxelGridConfig | None = None, *, window_s: float | None = None, start_us: int = 0, **settings: Any
) -> np.ndarray:
    """Events shared out between the two nearest layers of time, ON as +1 and OFF as -1 (Zhu et al., CVPR 2019, Eq. 1-2).

    With B layers over the window, an event at t lies at t* = (B - 1) t / window and adds p max(0, 1 - |b - t*|) to layer b.

    Parameters
    ----------
    events : Events
        With rows and two polarities; time 0 is the start of the window.
    config : VisualVoxelGridConfig, optional
        Or its settings as keywords.
    window_s : float, optional
        In seconds; needed unless the config has it.
    start_us : int
        Where in the recording the window starts; `stabilise` needs it.
    **settings
        Of `VisualVoxelGridConfig`.

    Returns
    -------
    float32 [time, polarity, row, column]
        One polarity: the sum of the signs.

    Raises
    ------
    FeatureError
        Settings or events that don't fit, a sensor with one polarity among them.
    EnvironmentFault
        tonic isn't installed.
    """
    config = settle_events(events, "visual", VisualVoxelGridConfig, config, window_s, settings)
    _check_signs(events.sensor_size[2])
    steps = config.time_steps
    guarded, sensor_size = _guarded(prepare_visual(events, config, start_us), scale=steps - 1, end=config.window_us * steps)
    grid = _tonic().ToVoxelGrid(sensor_size=sensor_size, n_time_bins=steps)(guarded)
    return np.ascontiguousarray(grid[..., :-1], np.float32)


def _guarded(events: Events, scale: int, end: int) -> tuple[np.ndarray, tuple[int, int, int]]:
    """Multiply the times, and put an event at time 0 and one at the end on a column beside the sensor."""
    columns, rows, polarities = events.sensor_size
    array = np.zeros(len(events.array) + 2, EVENT_2D)
    array[1:-1] = events.array
    array["t"] *= scale
    array["x"][[0, -1]] = columns
    array["t"][-1] = end
    return array, (columns + 1, rows, polarities)


def _tonic() -> Any:
    try:
        from tonic import transforms
    except ImportError:
        raise EnvironmentFault("time surfaces and voxel grids need tonic, which isn't installed; pip install 'audiodata[events]'") from None
    return transforms


def _check_signs(polarities: int) -> None:
    if polarities != 2:
        raise FeatureError("visual_voxel_grid: expected a sensor with ON and OFF events, this one tells no polarities apart")


def _surface_shape(config: VisualTimeSurfaceConfig, channels: int, *sensor_size: int) -> tuple[int, int, int, int]:
    columns, rows, polarities = config.sensor_after(sensor_size)
    return config.time_steps, channel_count(config.polarity, polarities), rows, columns


def _grid_shape(config: VisualVoxelGridConfig, channels: int, *sensor_size: int) -> tuple[int, int, int, int]:
    columns, rows, polarities = config.sensor_after(sensor_size)
    _check_signs(polarities)
    return config.time_steps, 1, rows, columns


VISUAL_TIME_SURFACE = Feature(
    config=VisualTimeSurfaceConfig,
    function=visual_time_surface,
    shape=_surface_shape,
    axes=("time", "polarity", "row", "column"),
    unit="1",
    version=1,
    source="visual",
    packages=("tonic",),
)
VISUAL_VOXEL_GRID = Feature(
    config=VisualVoxelGridConfig,
    function=visual_voxel_grid,
    shape=_grid_shape,
    axes=("time", "polarity", "row", "column"),
    unit="events",
    version=1,
    source="visual",
    packages=("tonic",),
)
