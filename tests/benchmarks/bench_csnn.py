"""One training step of the convolutional spiking network: ours against the same network as a snnTorch loop over time.

    python tests/benchmarks/bench_csnn.py [--rounds N] [--encodings rate direct] [--time-steps 25 50] [--device cpu]

A step is encoding, forward, backward and Adam, on 32 examples of 20 MFCC x 313 frames (10 s at 16 kHz, hop 512), 10 classes. Both run in
turn, in one process; printed are medians and their ratio. Before anything is timed, both get the same weights and the same input and their
spikes must be equal. For that check the weights are multiples of 1/1024 and the inputs of 1/256, so that every sum of a convolution is
exact and the order of its additions, which differs between the two, can't matter.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import snntorch
import torch
import torch.nn.functional as F
from snntorch import spikegen
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from models.csnn import CSNN, CsnnConfig
from models.losses import ce_count

SHAPE, CLASSES, BATCH = (1, 20, 313), 10, 32


class Peer(nn.Module):
    """The network of Courregé and Gandeel 2024, figure 24, as one writes it with snnTorch: the time loop around all layers."""

    def __init__(self, encoding: str, time_steps: int):
        super().__init__()
        self.encoding, self.time_steps = encoding, time_steps
        self.conv1, self.lif1 = nn.Conv2d(1, 12, 5), snntorch.Leaky(beta=0.9)
        self.conv2, self.lif2 = nn.Conv2d(12, 64, 3), snntorch.Leaky(beta=0.9)
        self.fc, self.lif3 = nn.Linear(64 * 3 * 76, CLASSES), snntorch.Leaky(beta=0.9)

    def forward(self, features: Tensor) -> Tensor:
        if self.encoding == "direct":
            return self.through_time([features] * self.time_steps)[2]
        return self.through_time(spikegen.rate(features, num_steps=self.time_steps))[2]

    def through_time(self, steps: Tensor | list[Tensor]) -> list[Tensor]:
        potentials = [layer.init_leaky() for layer in (self.lif1, self.lif2, self.lif3)]
        spikes = [[], [], []]
        for step in steps:
            first, potentials[0] = self.lif1(F.max_pool2d(self.conv1(step), 2), potentials[0])
            second, potentials[1] = self.lif2(F.max_pool2d(self.conv2(first), 2), potentials[1])
            last, potentials[2] = self.lif3(self.fc(second.flatten(1)), potentials[2])
            for layer, found in zip(spikes, (first, second, last), strict=True):
                layer.append(found)
        return [torch.stack(layer) for layer in spikes]


def copy_weights(source: nn.Module, target: nn.Module) -> None:
    """Give both networks the same weights, rounded to multiples of 1/1024."""
    with torch.no_grad():
        for name, weight in source.named_parameters():
            weight.copy_((weight * 1024).round() / 1024)
            target.get_parameter(name).copy_(weight)


def check_spikes(ours: CSNN, peer: Peer, features: Tensor) -> list[float]:
    """Run both on the same input; all spikes of all layers must be equal. Returns the firing rates."""
    features = (features * 256).round() / 256
    generator = torch.Generator(features.device).manual_seed(0)
    encoded = ours.encoder(ours.scaling(features), generator)
    found: dict[str, Tensor] = {}
    hooks = [layer.register_forward_hook(lambda _l, _i, out, name=name: found.update({name: getattr(out, "spikes", out)}))
             for name, layer in ours.spiking_layers().items()]
    with torch.no_grad():
        ours(features, generator.manual_seed(0))
        expected = peer.through_time(encoded)
    for hook in hooks:
        hook.remove()
    for name, spikes in zip(("lif1", "lif2", "lif3"), expected, strict=True):
        assert torch.equal(found[name], spikes), f"{name}: {(found[name] != spikes).sum().item()} spikes differ"
    return [spikes.mean().item() for spikes in expected]


def make_steps(encoding: str, time_steps: int, device: str) -> dict[str, Callable[[], Tensor]]:
    """Make the two training steps, checked to be of the same network."""
    torch.manual_seed(0)
    features, labels = torch.rand(BATCH, *SHAPE, device=device), torch.randint(CLASSES, (BATCH,), device=device)
    ours = CSNN(CsnnConfig(encoding=encoding, time_steps=time_steps), SHAPE, CLASSES).to(device)
    peer = Peer(encoding, time_steps).to(device)
    copy_weights(ours, peer)
    rates = check_spikes(ours, peer, features)
    print(f"{encoding}, T = {time_steps}: spikes equal; rates {', '.join(f'{rate:.3f}' for rate in rates)}")
    generator = torch.Generator(device).manual_seed(0)
    return {
        "ours": training_step(ours, lambda: ours(features, generator).spikes, labels),
        "snnTorch": training_step(peer, lambda: peer(features), labels),
    }


def training_step(network: nn.Module, forward: Callable[[], Tensor], labels: Tensor) -> Callable[[], Tensor]:
    """Forward, backward and Adam as one callable."""
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)

    def step() -> Tensor:
        optimizer.zero_grad()
        loss = ce_count(forward(), labels)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def seconds(step: Callable[[], Tensor], device: str) -> float:
    """Wall time of one step."""
    started = time.perf_counter()
    step()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def compare(encoding: str, time_steps: int, rounds: int, device: str) -> None:
    """Time both in turn and print medians and ratio."""
    steps = make_steps(encoding, time_steps, device)
    for step in steps.values():
        step()
    times = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            times[name].append(seconds(step, device))
    medians = {name: statistics.median(found) for name, found in times.items()}
    shown = ", ".join(f"{name} {1000 * value:.0f} ms (best {1000 * min(times[name]):.0f})" for name, value in medians.items())
    print(f"{encoding}, T = {time_steps}: {shown}: {medians['snnTorch'] / medians['ours']:.2f}x")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--encodings", nargs="+", default=["rate", "direct"])
    parser.add_argument("--time-steps", nargs="+", type=int, default=[25, 50])
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    for encoding in options.encodings:
        for time_steps in options.time_steps:
            compare(encoding, time_steps, options.rounds, options.device)


if __name__ == "__main__":
    main()
