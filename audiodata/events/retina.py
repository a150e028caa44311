"""A simulated retina: an image that moves before a sensor of changes, and the events that the sensor makes of it.

What the sensor sees. A screen shows the image, value v from 0 (black) to 1 (white), or its negative 1 - v, with luminance I = b + (1 - b) v, where
b is its `background`: the luminance of black in terms of that of white. The image moves (`audiodata.events.motion`); a pixel sees the luminance
at its centre, interpolated linearly between image pixels. Beyond its edge the image goes on as it is there.

What a pixel does (P. Lichtsteiner, C. Posch and T. Delbruck, "A 128 x 128 120 dB 15 us latency asynchronous temporal contrast vision sensor",
IEEE Journal of Solid-State Circuits 43(2), 2008): its signal is L = ln I, and it makes an event at

    L(t) - L(t_e) >= theta_on  (ON, brighter)      or      L(t) - L(t_e) <= -theta_off  (OFF, darker)

where t_e is when its last event's reset was over, `refractory_us` after that event: what happens meanwhile is lost. Between two steps of the
motion L is a straight line, and an event comes where that line crosses a threshold, so a step can hold several (H. Rebecq, D. Gehrig and
D. Scaramuzza, "ESIM: an open event camera simulator", CoRL 2018). Thresholds differ from pixel to pixel, theta_i = theta max(1 + s n_i, 0.1)
with spread s (`mismatch`), and n_i the sum of twelve uniform numbers less 6, which is near enough to a normal number and exact arithmetic.
Noise events are a Poisson process in each pixel, most of them ON as those of a sensor that leaks; a noise event resets its pixel as any other
(Y. Hu, S.-C. Liu and T. Delbruck, "v2e: from video frames to realistic DVS events", CVPR workshop on event-based vision 2021). With `cutoff_hz`
the photoreceptor is slow, a first-order low-pass of L: v += (L - v) dt / (dt + 1 / (2 pi f)).

The defaults of background, thresholds, mismatch, refractory time, cut-off and noise were tuned so that digits make events as in 250 recordings of
N-MNIST (events a recording, rates of pixels, intervals, share of ON); they describe that sensor and screen together, and no other: with the
triangle wave they have not been compared with recordings. What is left out: the jitter of the sensor's read-out, flicker of the screen, and light
that falls on neighbouring pixels.

The same image, settings and seed give the same events on every x86-64 processor: only additions, multiplications, divisions and numpy's uniform
random numbers are used, in one order, and logarithms are computed here.
"""

import math
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np
from pydantic import Field

from audiodata.errors import ClipError
from audiodata.events import motion, retina_kernels
from audiodata.events.motion import Motion
from audiodata.events.record import EVENT_2D, MICROSECONDS_PER_SECOND, Events
from audiodata.settings import Settings

LEAST_THRESHOLD = 0.1  # of the nominal one
_BLOCK = 1 << 21  # values of luminance at a time
_ROOM = 32  # events a pixel to begin with


class RetinaConfig(Settings):
    """Settings of `retina`; the equations are in the module's docstring.

    Attributes
    ----------
    motion : str
        "saccades" (N-MNIST), "triangle" (MNIST-DVS) or "none".
    sensor_size : (columns, rows), optional
        Without it that of the recordings: 34 x 34, for the triangle 128 x 128.
    scale : float
        Pixels of the sensor for a pixel of the image. N-MNIST's is 1; so is, as far as its digits' size tells, scale 4 of MNIST-DVS, whose scales
        8 and 16 are 2 and 4.
    amplitude : float
        Factor on the motion's own size.
    duration_s : float, optional
        Without it 0.315 s, for the triangle 2 s. Saccades take place once.
    step_us : int
        Between two steps of the motion.
    negative : bool
        Show white as black, and black as white: in N-MNIST a digit's leading edge makes OFF events, so its digits were dark.
    background : float
        Luminance of black, white being 1.
    threshold_on, threshold_off : float
        Of the natural logarithm of luminance.
    mismatch : float
        Spread of the thresholds from pixel to pixel, in terms of the threshold.
    sensor_seed : int
        Which sensor it is: of the thresholds' spread. One for a whole data set.
    refractory_us : int
    cutoff_hz : float, optional
        Of the photoreceptor; None: at once.
    noise_hz : float
        Noise events of a pixel, a second.
    noise_on_share : float
        Of the noise events that are ON.
    """

    motion: Literal["saccades", "triangle", "none"] = "saccades"
    sensor_size: tuple[int, int] | None = None
    scale: float = Field(default=1.0, gt=0, le=64)
    amplitude: float = Field(default=1.0, ge=0)
    duration_s: float | None = Field(default=None, gt=0, le=600)
    step_us: int = Field(default=1000, ge=1)
    negative: bool = True
    background: float = Field(default=0.08, gt=0, lt=1)
    threshold_on: float = Field(default=0.32, ge=0.01)
    threshold_off: float = Field(default=0.28, ge=0.01)
    mismatch: float = Field(default=0.3, ge=0)
    sensor_seed: int = Field(default=0, ge=0)
    refractory_us: int = Field(default=1450, ge=0)
    cutoff_hz: float | None = Field(default=200.0, gt=0)
    noise_hz: float = Field(default=0.42, ge=0)
    noise_on_share: float = Field(default=0.93, ge=0, le=1)

    @property
    def size(self) -> tuple[int, int]:
        """Columns and rows of the sensor."""
        return self.sensor_size or (motion.WAVE_SENSOR if self.motion == "triangle" else motion.SACCADES_SENSOR)

    @property
    def duration_us(self) -> int:
        """Length of a recording."""
        own = motion.WAVE_S if self.motion == "triangle" else motion.SACCADES_S
        return round((self.duration_s or own) * MICROSECONDS_PER_SECOND)


def retina(image: np.ndarray, config: RetinaConfig | None = None, seed: int = 0) -> Events:
    """Make the events of a sensor before which an image moves.

    Parameters
    ----------
    image : uint8 [row, column], or float from 0 to 1
        Upright.
    config : RetinaConfig, optional
    seed : int
        Of the noise events.

    Returns
    -------
    Events
        x to the right, y down, p = 1 where it became brighter; time counts from the motion's start.

    Raises
    ------
    ClipError
        ``undecodable``: not an image.
    """
    config = config or RetinaConfig()
    return watch(image, motion_of(config), config, seed)


def motion_of(config: RetinaConfig) -> Motion:
    """Give the motion that settings ask for; on a sensor of another size than the recordings' its middle stays in the middle."""
    time_us = motion.steps(config.duration_us, config.step_us)
    columns, rows = config.size
    if config.motion == "triangle":
        away = [(own - size) / 2 for own, size in zip(motion.WAVE_SENSOR, config.size, strict=True)]
        return motion.triangle_wave(time_us, np.subtract(motion.WAVE_CENTRE, away), config.amplitude)
    if config.motion == "saccades":
        away = [(own - size) / 2 for own, size in zip(motion.SACCADES_SENSOR, config.size, strict=True)]
        return motion.saccades(time_us, np.subtract(motion.SACCADE_START, away), config.amplitude * motion.SACCADE_SIZE_PX)
    return motion.at_rest(time_us, (columns / 2, rows / 2))


def watch(image: np.ndarray, path: Motion, config: RetinaConfig, seed: int = 0) -> Events:
    """Make the events of a sensor before which an image moves along any path.

    Parameters
    ----------
    image : uint8 [row, column], or float from 0 to 1
    path : Motion
        Where the image's centre is.
    config : RetinaConfig
        `motion`, `amplitude`, `duration_s` and `step_us` of it are not used.
    seed : int

    Returns
    -------
    Events
    """
    shown = 1.0 - _values(image) if config.negative else _values(image)
    picture = config.background + (1 - config.background) * resize(shown, config.scale)
    columns, rows = config.size
    noise = _noise(config, float(path.time_us[-1]), seed)
    found = _compared(picture, path, config, noise)
    time_us, pixel, on = (np.concatenate(parts) for parts in zip(*found, strict=True))
    order = np.lexsort((pixel, time_us))
    array = np.empty(len(order), EVENT_2D)
    array["t"], array["p"] = time_us[order], on[order]
    array["y"], array["x"] = np.divmod(pixel[order], columns)
    return Events(array, (columns, rows, 2))


def resize(values: np.ndarray, scale: float) -> np.ndarray:
    """Scale an image, each pixel of the result being the mean over its area.

    Parameters
    ----------
    values : float64 [row, column]
    scale : float
        Pixels of the result for a pixel of the image.

    Returns
    -------
    float64 [row, column]
    """
    return values if scale == 1 else _resize_columns(_resize_columns(values, scale).T, scale).T


def _resize_columns(values: np.ndarray, scale: float) -> np.ndarray:
    """Differences of the integral along a row, which is a straight line inside a pixel."""
    size = max(round(values.shape[1] * scale), 1)
    edges = np.arange(size + 1) * (values.shape[1] / size)
    whole = np.minimum(edges.astype(np.int64), values.shape[1] - 1)
    before = np.cumsum(values, axis=1) - values
    integral = before[:, whole] + (edges - whole) * values[:, whole]
    return np.diff(integral, axis=1) * (size / values.shape[1])


def _values(image: np.ndarray) -> np.ndarray:
    image = np.asarray(image)
    if image.ndim != 2 or image.size == 0 or image.dtype.kind not in "uf" or (image.dtype.kind == "u" and image.dtype != np.uint8):
        raise ClipError("undecodable", f"retina: expected an image of uint8 or float [row, column], got {image.dtype} {list(image.shape)}")
    if image.dtype == np.uint8:
        return image / 255.0
    if not (image.min() >= 0 and image.max() <= 1):
        raise ClipError("undecodable", f"retina: expected values from 0 to 1, got {image.min():g} to {image.max():g}")
    return image.astype(np.float64)


class _Noise(NamedTuple):
    """Noise events, by pixel and then by time: int64, float64, bool [noise event]."""

    pixel: np.ndarray
    time_us: np.ndarray
    on: np.ndarray


def _noise(config: RetinaConfig, duration_us: float, seed: int) -> _Noise:
    """Draw one Poisson process for all pixels together, and a pixel for each of its events."""
    random = np.random.default_rng(seed)
    pixels = config.size[0] * config.size[1]
    expected = config.noise_hz * pixels * duration_us / MICROSECONDS_PER_SECOND
    time_us = np.zeros(0)
    while expected > 0 and (time_us.size == 0 or time_us[-1] < duration_us):
        gaps = 1.0 - random.random((1, int(expected + 8 * math.sqrt(expected)) + 8))
        retina_kernels.fill_logarithms(gaps)
        last_us = time_us[-1] if time_us.size else 0.0
        time_us = np.append(time_us, last_us + np.cumsum(-gaps[0]) * (duration_us / expected))
    time_us = time_us[time_us < duration_us]
    pixel, on = random.integers(0, pixels, time_us.size), random.random(time_us.size) < config.noise_on_share
    order = np.argsort(pixel, kind="stable")
    return _Noise(pixel[order], time_us[order], on[order])


@lru_cache(maxsize=4)
def _threshold_factors(pixels: int, mismatch: float, sensor_seed: int) -> np.ndarray:
    """What the thresholds ON and OFF of each pixel are multiplied by: float64 [2, pixel]."""
    normal = np.random.default_rng(sensor_seed).random((12, 2, pixels)).sum(axis=0) - 6.0
    factors = np.maximum(1.0 + mismatch * normal, LEAST_THRESHOLD)
    factors.flags.writeable = False
    return factors


def _compared(picture: np.ndarray, path: Motion, config: RetinaConfig, noise: _Noise) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Find the events (time, pixel, ON), a block of pixels after the other."""
    (whole_x, part_x), (whole_y, part_y) = _seen_from(path.x, picture.shape[1]), _seen_from(path.y, picture.shape[0])
    changing = np.empty(config.size[::-1], bool)
    retina_kernels.find_changing(picture, whole_x.min(), whole_x.max() + 1, whole_y.min(), whole_y.max() + 1, changing)
    pixels, factors = np.flatnonzero(changing), _threshold_factors(changing.size, config.mismatch, config.sensor_seed)
    noisy = np.setdiff1d(noise.pixel, pixels)
    found = [_events(np.zeros((len(noisy), 2)), path.time_us[[0, -1]], noisy, factors, config, noise)]
    block = max(_BLOCK // len(path.time_us), 1)
    for part in (pixels[first : first + block] for first in range(0, len(pixels), block)):
        signal = np.empty((len(part), len(path.time_us)))
        retina_kernels.fill_luminance(picture, whole_x, part_x, whole_y, part_y, part, config.size[0], signal)
        retina_kernels.fill_logarithms(signal)
        _slow_down(signal, path.time_us, config.cutoff_hz)
        found.append(_events(signal, path.time_us, part, factors, config, noise))
    return found


def _seen_from(centre: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixel of the picture that pixel 0 of the sensor sees at each step: whole and broken part."""
    seen = size / 2 - centre
    whole = np.floor(seen)
    return whole.astype(np.int64), seen - whole


def _slow_down(signal: np.ndarray, time_us: np.ndarray, cutoff_hz: float | None) -> None:
    if cutoff_hz is not None:
        step_us = np.diff(time_us, prepend=0.0)
        retina_kernels.smooth(signal, step_us / (step_us + MICROSECONDS_PER_SECOND / (2 * math.pi * cutoff_hz)))


def _events(
    signal: np.ndarray, time_us: np.ndarray, pixels: np.ndarray, factors: np.ndarray, config: RetinaConfig, noise: _Noise
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Events (time, pixel, ON) of a block of pixels; once more with enough room where they were more than thought."""
    offset = np.searchsorted(noise.pixel, pixels), np.searchsorted(noise.pixel, pixels, side="right")
    thresholds = config.threshold_on * factors[0, pixels], config.threshold_off * factors[1, pixels]
    room = _ROOM * len(pixels)
    while True:
        index, found_us, on = found = np.empty(room, np.int64), np.empty(room), np.empty(room, bool)
        count = retina_kernels.compare(signal, time_us, *thresholds, float(config.refractory_us), *offset, noise.time_us, noise.on, *found)
        if count <= room:
            return found_us[:count].astype(np.int64), pixels[index[:count]], on[:count]
        room = count
