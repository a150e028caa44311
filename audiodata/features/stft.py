"""One short-time Fourier transform for all features of a waveform: centred frames, zero padding, periodic Hann window.

Frames are transformed in blocks that stay in a core's cache, and every feature takes what it needs from a block while
it is there. All frames go through in float32; those that a feature finds float32 too coarse for go through again in
float64.
"""

import importlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache, partial
from importlib.metadata import PackageNotFoundError, version
from typing import NamedTuple, Protocol

import numpy as np

from audiodata.errors import EnvironmentFault, FeatureError
from audiodata.features import kernels
from audiodata.timing import frame_count

BLOCK_SAMPLES = 5 << 14  # samples of all windowed frames of a block: with spectra and powers 0.8 MB
BLOCK_FRAMES_MIN, BLOCK_FRAMES_MAX = 4, 240
GIVE_UP_SHARE = 3  # when more than one in so many frames was doubtful so far, float32 for the others would not pay


class Framing(NamedTuple):
    """How a waveform is cut into frames.

    Attributes
    ----------
    window_length : int
        Samples under the window.
    hop_length : int
        Samples from one frame's centre to the next; frame 0 is centred on sample 0.
    n_fft : int
        Points of the FFT, at least `window_length`.
    """

    window_length: int
    hop_length: int
    n_fft: int

    @property
    def bins(self) -> int:
        """Frequency bins from 0 to the Nyquist frequency."""
        return self.n_fft // 2 + 1

    def frames(self, samples: int) -> int:
        """Frames over a waveform with ``n_fft // 2`` zeros at both ends: for an odd `n_fft` that is one sample less."""
        return frame_count(samples - self.n_fft % 2, self.hop_length)


@lru_cache(maxsize=32)
def hann_window(framing: Framing, dtype: type = np.float64) -> np.ndarray:
    """Periodic Hann window in the middle of `n_fft` zeros, [point]: 0.5 - 0.5 cos(2 pi n / window_length)."""
    window = np.zeros(framing.n_fft, dtype)
    start = (framing.n_fft - framing.window_length) // 2
    phase = 2 * np.pi * np.arange(framing.window_length) / framing.window_length
    window[start : start + framing.window_length] = 0.5 - 0.5 * np.cos(phase)
    window.flags.writeable = False
    return window


@dataclass(frozen=True)
class FftBackend:
    """Where the FFTs come from.

    Attributes
    ----------
    module : str
        Has ``rfft(array, axis=)``.
    options : dict
        Further keywords of its rfft.
    packages : tuple of str
        Distributions whose versions shape the numbers.
    """

    module: str
    options: dict[str, int]
    packages: tuple[str, ...]

    def load(self) -> Callable[..., np.ndarray]:
        """Return ``rfft(frames)``, from [point, frame] to [bin, frame].

        Raises
        ------
        EnvironmentFault
            The module isn't installed.
        """
        try:
            rfft = importlib.import_module(self.module).rfft
        except ImportError as error:
            raise self._missing(error) from error
        return lambda frames: np.ascontiguousarray(rfft(frames, axis=0, **self.options))

    def versions(self) -> dict[str, str]:
        """Return the versions of its packages, which need not be loaded for that: whoever plans leaves the FFTs to others.

        Raises
        ------
        EnvironmentFault
            One of them isn't installed.
        """
        try:
            return {name: package_version(name) for name in self.packages}
        except PackageNotFoundError as error:
            raise self._missing(error) from error

    def _missing(self, error: ImportError) -> EnvironmentFault:
        return EnvironmentFault(f"the FFT of {self.module} is not installed ({error}); install it with: pip install 'audiodata[fast]'")


FFT_BACKENDS = {
    "scipy": FftBackend("scipy.fft", {"workers": 1}, ("scipy",)),
    "mkl": FftBackend("mkl_fft", {}, ("mkl_fft", "mkl")),
}


def fft_backend(fft: str) -> FftBackend:
    """Look up an FFT backend by name; raise `FeatureError` for an unknown one."""
    if fft not in FFT_BACKENDS:
        raise FeatureError(f"fft = {fft!r} is unknown; known are {', '.join(FFT_BACKENDS)}")
    return FFT_BACKENDS[fft]


def numeric_versions(fft: str = "scipy") -> dict[str, str]:
    """Name what shapes the numbers beside the settings: the FFT backend and the versions of the packages that compute.

    With ``"scipy"``, equal versions give equal bytes on every x86-64 machine; with ``"mkl"``, on one type of processor.

    Raises
    ------
    EnvironmentFault
        The backend isn't installed.
    """
    return {"fft": fft} | {name: package_version(name) for name in ("numba", "numpy")} | fft_backend(fft).versions()


@cache
def package_version(name: str) -> str:
    """Version of a distribution, looked up once: a process asks for each shard, and reading a package's metadata takes milliseconds.

    Raises
    ------
    PackageNotFoundError
        It isn't installed.
    """
    return version(name)


class Block:
    """Some frames of a waveform, as every feature sees them.

    What is joint has a column for every frame of every channel, the first channel's first: long rows, for work that knows no channels.

    Parameters
    ----------
    frames : int64 [frame]
        Numbers of the frames, ascending.
    channels : int
        Of the waveform.
    transform : callable
        ``transform()``: the joint spectrum, complex64 or complex128 [bin, channel * frame].
    """

    def __init__(self, frames: np.ndarray, channels: int, transform: Callable[[], np.ndarray]):
        self.frames = frames
        self.channels = channels
        self._transform = transform

    def part(self, chosen: np.ndarray) -> "Block":
        """Return the frames for which `chosen` bool [frame] holds, transformed no second time."""
        if chosen.all():
            return self
        return Block(self.frames[chosen], self.channels, lambda: self.joint_spectrum[:, np.tile(chosen, self.channels)])

    @cached_property
    def joint_spectrum(self) -> np.ndarray:
        """Complex64 or complex128 [bin, channel * frame]."""
        return self._transform()

    @cached_property
    def joint_power(self) -> tuple[np.ndarray, np.ndarray]:
        """Squared magnitudes, float32 [bin, channel * frame], and their sums over bins, float32 [channel * frame].

        Raises
        ------
        FeatureError
            Not finite: nor was the waveform, or it is beyond 1e15.
        """
        power = np.empty(self.joint_spectrum.shape, np.float32)
        total = np.empty(power.shape[1], np.float32)
        if not kernels.fill_power(self.joint_spectrum, power, total):
            raise not_finite()
        return power, total

    @cached_property
    def spectra(self) -> list[np.ndarray]:
        """Per channel complex64 or complex128 [bin, frame]."""
        return self._per_channel(self.joint_spectrum)

    @cached_property
    def powers(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Per channel the squared magnitudes, float32 [bin, frame], and their sums over bins, float32 [frame]."""
        power, total = self.joint_power
        return list(zip(self._per_channel(power), total.reshape(self.channels, -1), strict=True))

    def _per_channel(self, joint: np.ndarray) -> list[np.ndarray]:
        return [np.ascontiguousarray(part) for part in np.split(joint, self.channels, axis=1)]


def not_finite() -> FeatureError:
    """Return the error for a waveform whose power is not finite."""
    return FeatureError("waveform: some samples are not finite, or so large that their power exceeds float32; clean it first")


class Analysis(Protocol):
    """Work on spectra; equal analyses are done once for all features that ask for them, so it is hashable."""

    @property
    def framing(self) -> Framing:
        """The transform that it needs."""

    @property
    def precise(self) -> bool:
        """Whether it needs float64 for all frames."""

    def shape(self, channels: int, frames: int) -> tuple[int, ...]:
        """Shape of what it measures; the second axis is the frame."""

    def measure(self, block: Block, out: np.ndarray, doubtful: np.ndarray) -> None:
        """Measure a block of frames, in a way that depends on nothing else.

        Parameters
        ----------
        block : Block
        out : float32
            To fill; of `shape`, with the block's frames alone.
        doubtful : bool [frame]
            To set where a block with float32 spectra was not good enough; such frames come again in float64.
        """


def analyse(waveform: np.ndarray, analyses: Iterable[Analysis], fft: str = "scipy") -> dict[Analysis, np.ndarray]:
    """Do all analyses of a waveform, with one transform for those of equal framing.

    Parameters
    ----------
    waveform : float32 [channel, sample]
        Contiguous, as `audiodata.features.base.as_waveform` returns it.
    analyses : iterable of Analysis
        Equal ones are done once.
    fft : str
        A key of `FFT_BACKENDS`.

    Returns
    -------
    dict
        Analysis to float32 array of its shape.
    """
    groups: dict[Framing, dict[Analysis, np.ndarray]] = {}
    for analysis in analyses:
        shape = analysis.shape(len(waveform), analysis.framing.frames(waveform.shape[1]))
        groups.setdefault(analysis.framing, {}).setdefault(analysis, np.empty(shape, np.float32))
    for framing, group in groups.items():
        doubtful = _analyse_fast(waveform, framing, group, fft)
        _analyse_again(waveform, framing, group, doubtful, fft)
    return {analysis: measured for group in groups.values() for analysis, measured in group.items()}


def _analyse_fast(waveform: np.ndarray, framing: Framing, group: dict[Analysis, np.ndarray], fft: str) -> dict[Analysis, np.ndarray]:
    """Measure in float32, and return which frames each analysis wants again."""
    frames = np.arange(framing.frames(waveform.shape[1]))
    doubtful = {analysis: np.full(frames.size, analysis.precise) for analysis in group}
    for block in blocks(waveform, framing, frames, np.float32, fft):
        first, last = block.frames[0], block.frames[-1] + 1
        for analysis, measured in group.items():
            again = doubtful[analysis]
            if np.count_nonzero(again[:first]) * GIVE_UP_SHARE > first:
                again[first:] = True
            if not again[first]:
                analysis.measure(block, measured[:, first:last], again[first:last])
    return doubtful


def _analyse_again(waveform: np.ndarray, framing: Framing, group: dict[Analysis, np.ndarray], doubtful: dict[Analysis, np.ndarray], fft: str) -> None:
    """Measure in float64 the frames that each analysis wants again; what several want is transformed once."""
    wanted = np.flatnonzero(np.any(list(doubtful.values()), axis=0))
    for block in blocks(waveform, framing, wanted, np.float64, fft):
        for analysis, measured in group.items():
            part = block.part(doubtful[analysis][block.frames])
            again = np.empty(analysis.shape(len(waveform), part.frames.size), np.float32)
            if part.frames.size:
                analysis.measure(part, again, np.zeros(part.frames.size, np.bool_))
                measured[:, part.frames] = again


def blocks(waveform: np.ndarray, framing: Framing, frames: np.ndarray, dtype: type, fft: str) -> Iterator[Block]:
    """Divide frames of a waveform into blocks that fit into a core's cache.

    Parameters
    ----------
    waveform : float32 [channel, sample]
    framing : Framing
        Window, hop and FFT length.
    frames : int64 [frame]
        Numbers of the frames, ascending.
    dtype : type
        Precision of window and FFT: float32 or float64.
    fft : str
        A key of `FFT_BACKENDS`.
    """
    rfft = fft_backend(fft).load()
    window = hann_window(framing, dtype)

    def transform(numbers: np.ndarray) -> np.ndarray:
        windowed = np.empty((len(waveform), numbers.size, framing.n_fft), dtype)
        kernels.fill_frames(waveform, window, numbers, framing.hop_length, windowed)
        # Along the first axis of the transposed frames, the FFT turns [frame, point] into [bin, frame] at no cost.
        return rfft(windowed.reshape(-1, framing.n_fft).T)

    step = min(max(BLOCK_SAMPLES // (framing.n_fft * len(waveform)), BLOCK_FRAMES_MIN), BLOCK_FRAMES_MAX)
    for first in range(0, frames.size, step):
        numbers = frames[first : first + step]
        yield Block(numbers, len(waveform), partial(transform, numbers))


def stft(waveform: np.ndarray, framing: Framing, fft: str = "scipy") -> np.ndarray:
    """Short-time Fourier transform in float64, where phases and quiet bins count.

    Parameters
    ----------
    waveform : float32 [channel, sample]
        Contiguous.
    framing : Framing
        Window, hop and FFT length.
    fft : str
        A key of `FFT_BACKENDS`.

    Returns
    -------
    complex128 [channel, frame, bin]
    """
    frames = np.arange(framing.frames(waveform.shape[1]))
    spectra = np.empty((len(waveform), frames.size, framing.bins), np.complex128)
    for block in blocks(waveform, framing, frames, np.float64, fft):
        spectra[:, block.frames] = block.joint_spectrum.reshape(framing.bins, len(waveform), -1).transpose(1, 2, 0)
    return spectra
