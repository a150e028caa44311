"""One training step of SpikSLC-Net against its twin without spikes, SLC-Net, which has one time step.

    python tests/benchmarks/bench_spikslcnet.py [--rounds N] [--time-steps 2] [--blocks 2] [--width 128] [--batch 32] [--frames 27] [--profile]

A step is forward, the loss (0.99 MSE + 0.01 cross entropy), backward and AdamW, on 6 x 51 lags and 4 x 51 bands per frame. Both run in turn,
in one process; printed are medians, and the time of a time step of SpikSLC-Net over that of its twin.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.profiler import profile

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from models.located import azimuth_target
from models.spikslcnet import SLCNet, SlcNetConfig, SpikSLCNet, SpikSlcNetConfig

CLASSES = 10


def training_step(network: nn.Module, features: dict[str, Tensor], curve: Tensor, labels: Tensor) -> Callable[[], None]:
    """Forward, backward and AdamW as one callable."""
    optimizer = torch.optim.AdamW(network.parameters(), 1e-4)

    def step() -> None:
        optimizer.zero_grad()
        output = network(features)
        (0.99 * F.mse_loss(output.azimuth, curve) + 0.01 * F.cross_entropy(output.label, labels)).backward()
        optimizer.step()

    return step


def make_steps(options: argparse.Namespace) -> dict[str, Callable[[], None]]:
    """Make the two training steps on the same examples."""
    torch.manual_seed(0)
    shapes = {"gcc_phat": (6, 51, options.frames), "log_mel": (4, 51, options.frames)}
    features = {name: torch.rand(options.batch, *shape, device=options.device) for name, shape in shapes.items()}
    labels = torch.randint(CLASSES, (options.batch,), device=options.device)
    curve = azimuth_target(torch.rand(options.batch, device=options.device) * 360)
    layers = {"blocks": options.blocks, "width": options.width}
    networks = {
        "SpikSLC-Net": SpikSLCNet(SpikSlcNetConfig(**layers, time_steps=options.time_steps), shapes, CLASSES),
        "SLC-Net": SLCNet(SlcNetConfig(**layers), shapes, CLASSES),
    }
    return {name: training_step(network.to(options.device), features, curve, labels) for name, network in networks.items()}


def seconds(step: Callable[[], None], device: str) -> float:
    """Wall time of one step."""
    started = time.perf_counter()
    step()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in {"rounds": 15, "time-steps": 2, "blocks": 2, "width": 128, "batch": 32, "frames": 27}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--profile", action="store_true", help="print where a step of SpikSLC-Net spends its time")
    options = parser.parse_args()
    steps = make_steps(options)
    for step in [*steps.values()] * 3:
        step()
    times = {name: [] for name in steps}
    for _ in range(options.rounds):
        for name, step in steps.items():
            times[name].append(seconds(step, options.device))
    spiking, twin = (statistics.median(found) for found in times.values())
    for name, found in times.items():
        print(f"{name}: {1000 * statistics.median(found):.1f} ms (best {1000 * min(found):.1f})")
    print(f"T = {options.time_steps}: per time step {spiking / options.time_steps / twin:.2f}x (whole step {spiking / twin:.2f}x)")
    print(f"best against best: {min(times['SpikSLC-Net']) / options.time_steps / min(times['SLC-Net']):.2f}x")
    if options.profile:
        for name, step in steps.items():
            with profile() as found:
                step()
            print(name, found.key_averages().table(sort_by="self_cpu_time_total", row_limit=25), sep="\n")


if __name__ == "__main__":
    main()
