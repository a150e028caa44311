"""One training step of the networks on event recordings: ours against the same networks as a Python loop over time with plain autograd.

    python tests/benchmarks/bench_event_networks.py [--rounds N] [--networks v_network a_network multimodal] [--time-steps 64] [--device cpu]

A step is forward, the loss on averaged votes, backward and Adam, on 32 examples of 1 x 28 x 28 pixels and 64 channels, 10 classes, of which 5 in 100
places have an event in a time step. Both run in turn, in one process; printed are medians and their ratio. Before anything is timed, both get
the same weights and the same input and their spikes must be equal. For that check the weights are multiples of 1/64 and what decays is a power of 2,
so that nearly every sum is exact and the order of its additions, which differs between the two, can't matter; the gradients must agree as well.
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

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from models.a_network import ANetwork, ANetworkConfig
from models.multimodal import Multimodal, MultimodalConfig
from models.v_network import VNetwork, VNetworkConfig

BATCH, CLASSES, EVENTS = 32, 10, 0.05
THRESHOLD, WIDTH = 0.5, 1.0


class Spike(torch.autograd.Function):
    """Step forward, rectangle backward, as published code of spatio-temporal backpropagation has it."""

    @staticmethod
    def forward(ctx, potential: Tensor) -> Tensor:
        ctx.save_for_backward(potential)
        return potential.ge(THRESHOLD).float()

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        (potential,) = ctx.saved_tensors
        return gradient * ((potential - THRESHOLD).abs() < WIDTH / 2).float() / WIDTH


class Cell:
    """A layer of neurons that is called once a time step."""

    def __init__(self, decay: float):
        self.decay, self.potential, self.spikes = decay, 0.0, 0.0

    def __call__(self, current: Tensor) -> Tensor:
        self.potential = self.decay * self.potential * (1 - self.spikes) + current
        self.spikes = Spike.apply(self.potential)
        return self.spikes


class PeerV(nn.Module):
    """V-Network as one writes it: the time loop around all layers."""

    def __init__(self, ours: VNetwork):
        super().__init__()
        self.decay = ours.config.decay
        self.conv1, self.conv2 = nn.Conv2d(1, 32, 3, padding=1), nn.Conv2d(32, 32, 3, padding=1)
        self.fc1, self.fc2 = nn.Linear(1568, 128), nn.Linear(128, CLASSES)

    def forward(self, features: dict[str, Tensor]) -> list[Tensor]:
        cells, votes = [Cell(self.decay) for _ in range(4)], []
        for step in features["visual_frames"].unbind(1):
            maps = F.avg_pool2d(cells[0](self.conv1(step)), 2)
            maps = F.avg_pool2d(cells[1](self.conv2(maps)), 2)
            votes.append(cells[3](self.fc2(cells[2](self.fc1(maps.flatten(1))))))
        return [torch.stack(votes)]


class PeerA(nn.Module):
    """A-Network as one writes it."""

    def __init__(self, ours: ANetwork):
        super().__init__()
        self.decay = ours.config.decay
        sizes = [(layer.in_features, layer.out_features) for layer in ours.dense]
        self.dense = nn.ModuleList(nn.Linear(*size) for size in sizes)
        self.back = nn.ModuleList(nn.Linear(width, width, bias=False) for _, width in sizes)

    def forward(self, features: dict[str, Tensor]) -> list[Tensor]:
        cells, votes = [Cell(self.decay) for _ in self.dense], []
        for step in features["auditory_frames"].flatten(2).unbind(1):
            spikes = step
            for dense, back, cell in zip(self.dense, self.back, cells, strict=True):
                before = cell.potential if isinstance(cell.potential, Tensor) else step.new_zeros(len(step), dense.out_features)
                spikes = cell(dense(spikes) + back(before))
            votes.append(spikes)
        return [torch.stack(votes)]


class PeerMultimodal(nn.Module):
    """The network with attention as one writes it, on the two above."""

    def __init__(self, ours: Multimodal):
        super().__init__()
        self.decay = ours.config.decay
        self.visual, self.auditory = PeerV(ours.visual), PeerA(ours.auditory)
        self.fc1, self.fc2 = nn.Linear(2 * CLASSES, ours.config.fusion), nn.Linear(ours.config.fusion, 2)

    def forward(self, features: dict[str, Tensor]) -> list[Tensor]:
        (seen,), (heard,) = self.visual(features), self.auditory(features)
        hidden, last, votes = Cell(self.decay), Cell(self.decay), []
        for visual, auditory in zip(seen, heard, strict=True):
            weights = self.fc2(hidden(self.fc1(torch.cat([visual, auditory], 1))))
            votes.append(last(weights[:, :1] * visual + weights[:, 1:] * auditory))
        return [torch.stack(votes), seen, heard]


NETWORKS = {
    "v_network": (VNetwork, VNetworkConfig, PeerV),
    "a_network": (ANetwork, ANetworkConfig, PeerA),
    "multimodal": (Multimodal, MultimodalConfig, PeerMultimodal),
}


def peer_name(name: str) -> str:
    """Name of one of our weights in the peer."""
    return name.replace("neurons.", "back.").replace(".recurrence.", ".").replace("attention.", "")


def copy_weights(ours: nn.Module, peer: nn.Module) -> None:
    """Give both networks the same weights, rounded to multiples of 1/64."""
    with torch.no_grad():
        for name, weight in ours.named_parameters():
            weight.copy_((weight * 64).round() / 64)
            peer.get_parameter(peer_name(name)).copy_(weight)


def spikes_of(votes) -> list[Tensor]:
    """Spikes of all output layers of ours."""
    return [spikes for spikes in (votes.answer, votes.visual, votes.auditory) if spikes is not None]


def loss_of(outputs: list[Tensor], labels: Tensor) -> Tensor:
    """Eq. 6 and 7 of Liu et al. (2022)."""
    wanted = F.one_hot(labels, CLASSES)
    return sum((wanted - spikes.mean(0)).square().sum(-1).mean() for spikes in outputs)


def check(ours: nn.Module, peer: nn.Module, features: dict[str, Tensor], labels: Tensor) -> str:
    """Run both on the same input: output spikes must be equal, gradients agree. Returns what was found."""
    outputs = spikes_of(ours(features)), peer(features)
    wrong = sum((mine != theirs).sum().item() for mine, theirs in zip(*outputs, strict=True))
    total = sum(spikes.numel() for spikes in outputs[0])
    assert wrong <= 1e-3 * total, f"{wrong} of {total} output spikes differ"
    for spikes in outputs:
        loss_of(spikes, labels).backward()
    apart = max(
        ((weight.grad - peer.get_parameter(peer_name(name)).grad).norm() / weight.grad.norm()).item() for name, weight in ours.named_parameters()
    )
    assert wrong or apart < 1e-4, f"gradients differ by {apart:.1e} of their norm"
    rates = ", ".join(f"{spikes.mean().item():.3f}" for spikes in outputs[0])
    return f"{wrong} of {total} output spikes differ, gradients by {apart:.1e} of their norm; output rates {rates}"


def exact_config(config: type) -> object:
    """Settings with decays that are powers of 2, for the check."""
    if config is MultimodalConfig:
        return config(decay=0.5, visual=VNetworkConfig(decay=0.25), auditory=ANetworkConfig(decay=0.125))
    return config(decay=0.25)


def make_steps(name: str, time_steps: int, device: str) -> dict[str, Callable[[], Tensor]]:
    """Make the two training steps, checked to be of the same network."""
    network, config, peer_network = NETWORKS[name]
    torch.manual_seed(0)
    shapes = {"visual_frames": (time_steps, 1, 28, 28), "auditory_frames": (time_steps, 1, 64)}
    features = {key: (torch.rand(BATCH, *shape) < EVENTS).float().to(device) for key, shape in shapes.items()}
    labels = torch.arange(BATCH, device=device) % CLASSES
    ours = network(exact_config(config), shapes, CLASSES).to(device).eval()
    peer = peer_network(ours).to(device)
    copy_weights(ours, peer)
    print(f"{name}, T = {time_steps}: {check(ours, peer, features, labels)}")
    ours.train()
    return {
        "ours": training_step(ours, lambda: spikes_of(ours(features)), labels),
        "loop": training_step(peer, lambda: peer(features), labels),
    }


def training_step(network: nn.Module, forward: Callable[[], list[Tensor]], labels: Tensor) -> Callable[[], Tensor]:
    """Forward, backward and Adam as one callable."""
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)

    def step() -> Tensor:
        optimizer.zero_grad()
        loss = loss_of(forward(), labels)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def seconds(step: Callable[[], Tensor], device: str) -> tuple[float, float]:
    """Wall time and processor time of one step."""
    started = time.perf_counter(), time.process_time()
    step()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started[0], time.process_time() - started[1]


def compare(name: str, time_steps: int, rounds: int, device: str) -> None:
    """Time both in turn and print medians and ratio."""
    steps = make_steps(name, time_steps, device)
    for step in steps.values():
        step()
    times = {key: [] for key in steps}
    for _ in range(rounds):
        for key, step in steps.items():
            times[key].append(seconds(step, device))
    wall, busy = ({key: statistics.median(pair[k] for pair in found) for key, found in times.items()} for k in (0, 1))
    shown = ", ".join(f"{key} {1000 * value:.0f} ms (best {1000 * min(times[key])[0]:.0f})" for key, value in wall.items())
    print(f"{name}, T = {time_steps}: {shown}: {wall['loop'] / wall['ours']:.2f}x; processor time {busy['loop'] / busy['ours']:.2f}x")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--time-steps", type=int, default=64)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, batch {BATCH}")
    for name in options.networks:
        compare(name, options.time_steps, options.rounds, options.device)


if __name__ == "__main__":
    main()
