"""Picture of examples beside what a network makes of them (Wu et al. 2021, Fig. 8)."""

import numpy as np
from matplotlib.figure import Figure

INCH_EACH = 0.8
PAIRS_A_ROW = 5


def reconstruction_pairs(wanted: np.ndarray, values: np.ndarray) -> Figure:
    """Draw pairs, five in a row: to the left the original, to the right the reconstruction.

    Parameters
    ----------
    wanted, values : array [example, channel, band, frame]
        0 to 1. Three channels are drawn as red, green and blue, of any other number the first.
    """
    rows = -(-len(wanted) // PAIRS_A_ROW)
    figure = Figure(figsize=(2 * PAIRS_A_ROW * INCH_EACH, rows * INCH_EACH + 0.3), layout="constrained")
    cells = figure.subplots(rows, 2 * PAIRS_A_ROW, squeeze=False).ravel()
    for axes in cells:
        axes.set_axis_off()
    for place, pair in enumerate(zip(wanted, values, strict=True)):
        for axes, example in zip(cells[2 * place : 2 * place + 2], pair, strict=True):
            axes.imshow(_drawn(example), cmap="gray", vmin=0, vmax=1)
    figure.suptitle("original and reconstruction, in pairs", fontsize=9)
    return figure


def _drawn(example: np.ndarray) -> np.ndarray:
    return np.moveaxis(example, 0, -1).clip(0, 1) if len(example) == 3 else example[0]
