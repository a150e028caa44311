"""Pictures of separated sounds, after Wu et al. (2021, Fig. 9): magnitude spectra of the mixture, and of each source beside the clean one."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from scipy.signal import ShortTimeFFT

# Window and hop, and what is told apart below the loudest place of the mixture.
WINDOW_S, HOP_S = 0.032, 0.008
SHOWN_DB = 70.0


def separation_picture(mixture: np.ndarray, separated: np.ndarray, sample_rate: int, clean: np.ndarray | None = None) -> Figure:
    """Draw the mixture, and below it each source that was found, beside the clean one where it is known.

    Parameters
    ----------
    mixture : numpy.ndarray [sample]
    separated : numpy.ndarray [source, sample]
    sample_rate : int
        In Hz.
    clean : numpy.ndarray [source, sample], optional
        In the order of `separated`.
    """
    columns = [("separated source", separated)] if clean is None else [("separated source", separated), ("clean source", clean)]
    figure = Figure(figsize=(1.0 + 4.4 * len(columns), 1.2 + 1.9 * (1 + len(separated))), layout="constrained")
    grid = figure.add_gridspec(1 + len(separated), len(columns))
    loudest = magnitudes_db(mixture, sample_rate).max()
    first = figure.add_subplot(grid[0, 0])
    all_axes = [first]
    drawn = _draw(first, mixture, sample_rate, loudest, "mixture")
    for column, (name, sounds) in enumerate(columns):
        for row, sound in enumerate(sounds):
            axes = figure.add_subplot(grid[row + 1, column], sharex=first, sharey=first)
            _draw(axes, sound, sample_rate, loudest, f"{name} {row + 1}")
            all_axes.append(axes)
    figure.colorbar(drawn, ax=all_axes, label="level / dB re loudest of the mixture", pad=0.01)
    return figure


def magnitudes_db(sound: np.ndarray, sample_rate: int) -> np.ndarray:
    """Magnitude spectra over time under a Hann window, ``[frequency, frame]`` in dB, as close as the picture can show."""
    window = np.hanning(max(round(WINDOW_S * sample_rate), 2))
    hop = max(round(HOP_S * sample_rate), len(sound) // 4000, 1)
    padded = np.pad(sound, (0, max(len(window) - len(sound), 0)))
    spectra = np.abs(ShortTimeFFT(window, hop, sample_rate).stft(padded))
    return 20 * np.log10(np.maximum(spectra, 1e-10))


def _draw(axes: Axes, sound: np.ndarray, sample_rate: int, loudest_db: float, title: str) -> AxesImage:
    levels = magnitudes_db(sound, sample_rate) - loudest_db
    extent = (0, len(sound) / sample_rate, 0, sample_rate / 2000)
    axes.set_title(title, fontsize=9, loc="left")
    axes.set(xlabel="time / s", ylabel="frequency / kHz")
    axes.label_outer()
    return axes.imshow(levels, origin="lower", aspect="auto", extent=extent, cmap="magma", vmin=-SHOWN_DB, vmax=0.0, interpolation="nearest")
