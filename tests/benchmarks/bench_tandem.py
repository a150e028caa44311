"""What progressive training costs: an epoch of each stage beside an epoch of the ANN, and a spiking layer beside a Python loop over time.

    python tests/benchmarks/bench_tandem.py [--examples 512] [--time-steps 16] [--repeats 5] [--threads 1] [--width 1.0]

The network for MNIST of Wu et al. (2021, section 5.1) on random images. Both epochs go through the same examples, loader, loss and optimizer; an
epoch is training alone, with the spikes that arrive at the stage held as after its first epoch; how long computing them takes, once a
stage, is told apart. ANN and stages alternate in one run; medians over the repeats, and the ratio of each stage to the ANN.
"""

import argparse
import os
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
THREADS = next((sys.argv[place + 1] for place, word in enumerate(sys.argv) if word == "--threads"), "1")
os.environ["OMP_NUM_THREADS"] = THREADS

import torch
from torch import nn

from models.classification import Classification
from models.data import HELD_BYTES
from models.hybrid import HybridNetwork
from models.image_networks import ImageNetworkConfig, MnistCnn
from models.stage_training import StageSplit, train_batch
from models.tandem import ConversionConfig, convert
from models.tandem_data import TensorExamples

BATCH = 32
TASK = Classification("ce_count", "rate")


class AnnAlone(nn.Module):
    """The ANN in the place of a hybrid network."""

    place = 0

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, features, arriving=None):
        return self.network(features)

    def trained_parameters(self):
        return list(self.network.parameters())


class Epochs:
    """Trains one kind of network on the same examples, again and again."""

    def __init__(self, hybrid, examples):
        self.hybrid = hybrid.train()
        self.split = StageSplit(examples, BATCH, torch.device("cpu"), HELD_BYTES, shuffle=True)
        self.optimizer = torch.optim.Adam(hybrid.trained_parameters(), 1e-5, weight_decay=1e-5)
        self.seconds = []

    def prepare(self):
        """Run one batch, so that what arrives is held; return the seconds it took."""
        start = time.perf_counter()
        train_batch(self.hybrid, next(iter(self.split.batches(self.hybrid))), TASK, self.optimizer)
        return time.perf_counter() - start

    def run(self):
        start = time.perf_counter()
        for batch in self.split.batches(self.hybrid):
            train_batch(self.hybrid, batch, TASK, self.optimizer)
        self.seconds.append(time.perf_counter() - start)


def looped(layer, incoming):
    """Do what a spiking layer does, one time step after the other."""
    potential, spikes = 0.0, []
    for current in currents(layer, incoming):
        potential = potential + current
        spikes.append((potential >= layer.threshold).float())
        potential = potential - layer.threshold * spikes[-1]
    return torch.stack(spikes)


def currents(layer, incoming):
    """What arrives at the neurons, step by step; values at the first step alone."""
    if layer.coding is None:
        yield from (layer.synapses(spikes) for spikes in incoming)
        return
    yield layer.synapses(incoming)
    nothing = torch.zeros_like(incoming)
    for _ in range(layer.time_steps - 1):
        yield layer.synapses(nothing)


def bench_epochs(network, features, config, repeats):
    spiking = convert(network, features[:64], config)
    labels = torch.arange(len(features)) % 10
    examples = TensorExamples(features, {"label": labels})
    names = ["ANN", *(layer.synapses.name for layer in spiking.layers)]
    hybrids = [HybridNetwork(network, place, spiking.thresholds, config) for place in range(len(spiking.layers))]
    sides = [Epochs(each, examples) for each in (AnnAlone(network), *hybrids)]
    first = [side.prepare() for side in sides]
    for _ in range(repeats):
        for side in sides:
            side.run()
    ann = statistics.median(sides[0].seconds)
    print(f"{len(features)} examples, batches of {BATCH}, {config.time_steps} time steps, {THREADS} threads: ANN epoch {ann:.2f} s")
    ratios = []
    for name, side, held in list(zip(names, sides, first, strict=True))[1:]:
        ratios.append(statistics.median(mine / other for mine, other in zip(side.seconds, sides[0].seconds, strict=True)))
        about = f"held {side.split.held_bytes / 2**20:6.1f} MiB, computed once in {held:.2f} s"
        print(f"  stage {name:6} {statistics.median(side.seconds):6.2f} s  {ratios[-1]:5.2f} x ANN; {about}")
    print(f"  mean of the stages {statistics.fmean(ratios):.2f} x ANN, largest {max(ratios):.2f} x")


def bench_layers(spiking, features, repeats):
    print(f"spiking layers, forward, batch of {BATCH}: one call for all time steps, and a loop over them")
    incoming = spiking.shell.prepare(features[:BATCH])[0]
    for layer in spiking.layers:
        with torch.no_grad():
            together, loop = layer(incoming), looped(layer, incoming)
            differing = (together != loop).float().mean().item()
            times = {"together": [], "loop": []}
            for _ in range(repeats):
                for name, run in (("together", layer), ("loop", lambda spikes, layer=layer: looped(layer, spikes))):
                    start = time.perf_counter()
                    run(incoming)
                    times[name].append(time.perf_counter() - start)
        ours, theirs = (statistics.median(times[name]) for name in ("together", "loop"))
        sides = f"{1e3 * ours:7.1f} ms, loop {1e3 * theirs:7.1f} ms: {theirs / ours:5.2f} x"
        print(f"  {layer.synapses.name:6} {sides}; differing spikes {differing:.1e}")
        incoming = together


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=512)
    parser.add_argument("--time-steps", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--width", type=float, default=1.0)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    torch.manual_seed(0)
    network = MnistCnn(ImageNetworkConfig(width=asked.width), (1, 28, 28), 10)
    features = torch.rand(asked.examples, 1, 28, 28).square()
    config = ConversionConfig(time_steps=asked.time_steps)
    with torch.no_grad():
        network.train()(features[:256])
    network.eval()
    bench_layers(convert(network, features[:64], config), features, asked.repeats)
    bench_epochs(network, features, config, asked.repeats)


if __name__ == "__main__":
    main()
