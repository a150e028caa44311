"""Time of one layer of LIF neurons, forward and backward: this project, SpikingJelly's multi-step LIF and snnTorch's
loop over time.

    python tests/benchmarks/bench_neurons.py [--threads 1 2] [--repeats 9] [--quick]

Alternating in one run, medians over the repeats; the spikes of all are compared first. Same neuron everywhere: decay
1/2, current not divided, arctan surrogate; a hard reset for SpikingJelly (h >= v_th), a subtracted threshold with one
step's delay for snnTorch (h > v_th).
"""

import argparse
import importlib.util
import statistics
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from models.encoding import rate
from models.neurons import LIF
from models.surrogate import SURROGATES

SHAPES = {
    "CSNN, first layer": (50, 32, 12 * 8 * 400),
    "small fully connected": (16, 64, 1024),
    "few steps, wide": (4, 128, 64 * 28 * 28 // 4),
}


def spikingjelly_layer(surrogate):
    from spikingjelly.activation_based import functional, neuron
    from spikingjelly.activation_based import surrogate as theirs

    gradient = theirs.ATan(2.0) if surrogate == "arctan" else theirs.Sigmoid(25.0)
    node = neuron.LIFNode(tau=2.0, decay_input=False, surrogate_function=gradient, step_mode="m")

    def layer(current):
        functional.reset_net(node)
        return node(current)

    return layer


def snntorch_layer(surrogate):
    import snntorch
    from snntorch import surrogate as theirs

    node = snntorch.Leaky(beta=0.5, spike_grad=theirs.atan(2.0) if surrogate == "arctan" else theirs.sigmoid(25))

    def layer(current):
        membrane, spikes = torch.zeros_like(current[0]), []
        for now in current:
            fired, membrane = node(now, membrane)
            spikes.append(fired)
        return torch.stack(spikes)

    return layer


def layers(surrogate):
    """Pairs of ours and a peer's layer with the same equations."""
    surrogate_record = SURROGATES[surrogate]()
    found = {}
    if importlib.util.find_spec("spikingjelly"):
        ours = LIF.spikingjelly(2.0, decay_input=False, surrogate=surrogate_record)
        found["SpikingJelly"] = (ours, spikingjelly_layer(surrogate))
    if importlib.util.find_spec("snntorch"):
        found["snnTorch loop"] = (LIF.snntorch(0.5, surrogate=surrogate_record), snntorch_layer(surrogate))
    return found


def timed(layer, current, gradient):
    """Seconds of forward and backward."""
    current.grad = None
    start = time.perf_counter()
    spikes = layer(current)
    middle = time.perf_counter()
    spikes.backward(gradient)
    return middle - start, time.perf_counter() - middle


def compare(peer, ours, theirs, shape, repeats):
    """Median times of both, alternating, as one line."""
    generator = torch.Generator().manual_seed(0)
    current = torch.randn(shape, generator=generator).requires_grad_()
    gradient = torch.randn(shape, generator=generator)
    same = torch.equal(ours(current), theirs(current))
    rows = {"ours": [], "peer": []}
    for _ in range(repeats + 1):
        rows["ours"].append(timed(ours, current, gradient))
        rows["peer"].append(timed(theirs, current, gradient))
    ours_ms, peer_ms = (
        [statistics.median(column) * 1e3 for column in zip(*rows[name][1:], strict=True)] for name in ("ours", "peer")
    )
    print(
        f"  {peer:14s} ours {ours_ms[0]:8.2f} + {ours_ms[1]:8.2f} ms   peer {peer_ms[0]:8.2f} + {peer_ms[1]:8.2f} ms   "
        f"{sum(peer_ms) / sum(ours_ms):5.1f}x   same spikes: {same}"
    )


def compare_rate_encoding(shape, time_steps, repeats):
    """Median times of random spikes, alternating."""
    from snntorch import spikegen

    values, generator = torch.rand(shape), torch.Generator().manual_seed(0)
    makers = {"ours": lambda: rate(values, time_steps, generator), "peer": lambda: spikegen.rate(values, time_steps)}
    times = {name: [] for name in makers}
    for _ in range(repeats + 1):
        for name, make in makers.items():
            start = time.perf_counter()
            make()
            times[name].append(time.perf_counter() - start)
    ours, peer = (statistics.median(times[name][1:]) * 1e3 for name in ("ours", "peer"))
    print(f"rate encoding {list(shape)} x {time_steps}: ours {ours:.1f} ms, snnTorch {peer:.1f} ms, {peer / ours:.1f}x")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, nargs="+", default=[torch.get_num_threads()])
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--surrogate", choices=("arctan", "sigmoid"), default="arctan")
    parser.add_argument("--quick", action="store_true", help="leave out the largest shape")
    arguments = parser.parse_args()
    start = time.perf_counter()
    LIF()(torch.zeros(2, 1, 1, requires_grad=True)).sum().backward()
    print(f"first use of the compiled neuron: {time.perf_counter() - start:.1f} s (compiled once, then from the cache)")
    for threads in arguments.threads:
        torch.set_num_threads(threads)
        for name, shape in SHAPES.items():
            if arguments.quick and name == "CSNN, first layer":
                continue
            print(f"{name} {list(shape)}, {threads} thread(s), forward + backward")
            for peer, (ours, theirs) in layers(arguments.surrogate).items():
                compare(peer, ours, theirs, shape, arguments.repeats)
    if importlib.util.find_spec("snntorch"):
        compare_rate_encoding((32, 1, 20, 800), 50, arguments.repeats)


if __name__ == "__main__":
    main()
