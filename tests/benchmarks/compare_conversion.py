"""How near a converted network comes to its ANN: the error against the number of time steps, for both codings, in one run.

    python tests/benchmarks/compare_conversion.py [--seeds N] [--out PICTURE.png]

Dense networks with random weights, He's initialisation, thresholds at the largest activation. The error is the mean distance from the ANN's
output in standard deviations of that output, the slope that of its logarithm over the logarithm of the time steps, from a network whose errors
come from rounding alone -1. With values at every step it is; with values at the first step alone errors stay where a layer's neurons fire before
they are inhibited: in all layers but the first, and in the first where its bias comes in parts.
"""

import argparse
import os
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path[:0] = [str(Path(__file__).resolve().parents[2]), str(Path(__file__).resolve().parents[1])]

import numpy as np
import torch
from convertible_networks import dense
from matplotlib.figure import Figure

from audiodata.pictures import tidy
from models.tandem import convert

STEPS = (4, 8, 16, 32, 64, 128, 256)
INPUTS, UNITS, OUTPUTS, EXAMPLES = 20, 50, 5, 64
COLOURS = {"first_step": "#ee6677", "constant": "#4477aa"}


def error(layers: int, bias_std: float, seed: int, time_steps: int, **settings: str) -> float:
    """Of one network, in standard deviations of its output."""
    network = dense((INPUTS, *[UNITS] * layers, OUTPUTS), seed, bias_std)
    values = torch.rand(EXAMPLES, INPUTS, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        expected = network(values)
        found = convert(network, values, time_steps=time_steps, percentile=100, **settings)(values)
    return ((found - expected).abs().mean() / expected.std(0).mean()).item()


def curves(seeds: int) -> dict[tuple[str, str, int, float], np.ndarray]:
    """Mean errors over the seeds for all time steps, by coding, rounding, hidden layers and deviation of the biases."""
    cases = [
        (coding, rounding, layers, bias)
        for layers, bias in ((1, 0.0), (1, 0.3), (3, 0.0), (3, 0.3))
        for coding in COLOURS
        for rounding in ("floor", "round")
    ]
    return {case: np.array([_mean_error(case, seeds, steps) for steps in STEPS]) for case in cases}


def _mean_error(case: tuple[str, str, int, float], seeds: int, time_steps: int) -> float:
    coding, rounding, layers, bias = case
    return np.mean([error(layers, bias, seed, time_steps, coding=coding, rounding=rounding) for seed in range(seeds)])


def slope(errors: np.ndarray) -> float:
    """Over the upper half of the time steps, where the largest counts are no longer a handful."""
    half = len(STEPS) // 2
    return np.polyfit(np.log(STEPS[half:]), np.log(errors[half:]), 1)[0]


def draw(found: dict[tuple[str, str, int, float], np.ndarray]) -> Figure:
    """Errors over time steps, both in a log scale, a panel for each depth; rounding is "floor"."""
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    for axes, layers in zip(figure.subplots(1, 2, sharey=True), (1, 3), strict=True):
        for (coding, rounding, depth, bias), errors in found.items():
            if depth == layers and rounding == "floor":
                label = f"{coding}, {'with' if bias else 'no'} bias"
                axes.loglog(STEPS, errors, "-" if bias else "--", color=COLOURS[coding], marker="o", markersize=4, label=label)
        axes.loglog(STEPS, 2 / np.array(STEPS), ":", color="#999999", label="slope -1")
        axes.set_xticks(STEPS, [str(steps) for steps in STEPS])
        axes.minorticks_off()
        axes.set(xlabel="time steps", title=f"{layers} hidden layer{'s' * (layers > 1)}")
        tidy(axes)
    figure.axes[0].set_ylabel("mean error / standard deviations")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=5, frameon=False, fontsize=8)
    return figure


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    found = curves(arguments.seeds)
    print(f"{'coding':12}{'rounding':10}{'layers':>7}{'bias':>6} " + "".join(f"{f'N_s {steps}':>9}" for steps in STEPS) + f"{'slope':>8}")
    for (coding, rounding, layers, bias), errors in found.items():
        print(f"{coding:12}{rounding:10}{layers:7}{bias:6.1f} " + "".join(f"{value:9.4f}" for value in errors) + f"{slope(errors):8.2f}")
    if arguments.out:
        draw(found).savefig(arguments.out, dpi=130)


if __name__ == "__main__":
    main()
