"""Small convertible networks for tests: random ones of all kinds of layers, and ones of whole numbers that convert without any error."""

from itertools import pairwise

import torch
from torch import nn

from models.chain import Sequence
from models.convolution import ConvPool2d
from models.layers import MapLinear, TimeDropout


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def dense(widths, seed=0, bias_std=0.3):
    """Dense layers as they are after He's initialisation, so that activations keep their size from layer to layer."""
    layers, random = [], generator(seed)
    for arriving, leaving in pairwise(widths):
        layer = nn.Linear(arriving, leaving)
        nn.init.normal_(layer.weight, std=(2 / arriving) ** 0.5, generator=random)
        nn.init.normal_(layer.bias, std=bias_std, generator=random)
        layers += [layer, nn.ReLU()]
    return Sequence(nn.Sequential(*layers[:-1]))


def randomised(network, seed=0):
    """Give every normalisation running statistics, gains and shifts of its own, as after a training; in evaluation mode."""
    random = generator(seed)
    for layer in network.modules():
        if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)):
            layer.running_mean.normal_(0, 0.5, generator=random)
            layer.running_var.uniform_(0.2, 3, generator=random)
            if layer.affine:
                nn.init.uniform_(layer.weight, 0.5, 1.5, generator=random)
                nn.init.normal_(layer.bias, 0, 0.5, generator=random)
    return network.eval()


def sequence(*layers, seed=0):
    return randomised(Sequence(nn.Sequential(*layers)), seed)


# What one stage can be made of, with the shape of what it takes.
KINDS = {
    "dense": (lambda: sequence(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3)), (6,)),
    "no bias": (lambda: sequence(nn.Linear(6, 8, bias=False), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3, bias=False)), (6,)),
    "dense on frames": (lambda: sequence(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)), (5, 6)),
    "convolution": (
        lambda: sequence(
            nn.Conv2d(2, 5, 3, padding=1), nn.BatchNorm2d(5), nn.ReLU(), nn.Conv2d(5, 4, 3, stride=2, groups=1), nn.ReLU(), nn.Conv2d(4, 3, 1)
        ),
        (2, 7, 9),
    ),
    "pool before": (
        lambda: sequence(
            nn.Conv2d(2, 4, 3), nn.ReLU(), nn.AvgPool2d((2, 3)), nn.Conv2d(4, 4, 2), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3)
        ),
        (2, 8, 11),
    ),
    "pool after": (
        lambda: sequence(
            nn.Conv2d(2, 4, 3, bias=False), nn.AvgPool2d(2), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 5, 1), nn.BatchNorm2d(5),
            nn.AvgPool2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(10, 3),
        ),
        (2, 6, 10),
    ),
    "norm without gain": (
        lambda: sequence(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4, affine=False), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3)),
        (2, 4, 4),
    ),
    "dilated": (
        lambda: sequence(
            nn.Conv1d(3, 4, 3, dilation=2, padding=2), nn.BatchNorm1d(4), nn.ReLU(), nn.Conv1d(4, 4, 3, dilation=4, padding=4, groups=2),
            nn.BatchNorm1d(4), nn.ReLU(), nn.AvgPool1d(3), nn.Conv1d(4, 2, 1),
        ),
        (3, 15),
    ),
    "maps": (
        lambda: sequence(
            ConvPool2d(1, 4, 3, pooling="average"), nn.BatchNorm2d(4), nn.ReLU(), ConvPool2d(4, 5, 3, pooling="none", padding=1),
            nn.Identity(), nn.ReLU(), TimeDropout(0.5), MapLinear((5, 3, 4), 3),
        ),
        (1, 8, 10),
    ),
    "inside one another": (
        lambda: sequence(
            nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU()), nn.Sequential(nn.AvgPool2d(2), nn.Dropout2d(0.5)),
            nn.Flatten(), nn.Linear(16, 3),
        ),
        (2, 6, 6),
    ),
}  # fmt: skip


def made(kind, examples=12, seed=3):
    """One of `KINDS` and examples for it."""
    build, shape = KINDS[kind]
    torch.manual_seed(seed)
    return build(), torch.randn(examples, *shape, generator=generator(seed))


def whole(layer, low, high, random, factor=1):
    """Give a layer weights that are whole numbers in ``[low, high]`` times a factor.

    Channel 0 is a channel of its own: output 0 is input 0, and no other output depends on it.
    """
    weight = torch.randint(low, high + 1, layer.weight.shape, generator=random) * float(factor)
    weight[0] = weight[:, 0] = 0
    kernel = layer.weight.shape[2:]
    weight[(0, 0, *(size // 2 for size in kernel))] = 1
    layer.weight.data = weight
    return layer


def whole_readout(layer, random):
    """Give a readout weights and a bias that are whole numbers of either sign."""
    layer.weight.data = torch.randint(-3, 4, layer.weight.shape, generator=random).float()
    layer.bias.data = torch.randint(-5, 6, layer.bias.shape, generator=random).float()
    return layer


def whole_dense(random):
    return sequence(
        whole(nn.Linear(6, 7, bias=False), -3, 3, random), nn.ReLU(),
        whole(nn.Linear(7, 6, bias=False), 0, 1, random), nn.ReLU(),
        whole(nn.Linear(6, 6, bias=False), 0, 1, random), nn.ReLU(),
        whole_readout(nn.Linear(6, 4), random),
    )  # fmt: skip


def whole_maps(random):
    """Pooling of 4 places before and behind weights and a normalisation by 2, for which weights that are multiples of 32 make up."""
    norm = nn.BatchNorm2d(3, affine=False, eps=0)
    network = sequence(
        whole(nn.Conv2d(2, 3, 3, padding=1, bias=False), -1, 1, random), nn.ReLU(), nn.AvgPool2d(2),
        whole(nn.Conv2d(3, 3, 1, bias=False), 0, 1, random, factor=32), norm, nn.AvgPool2d(2), nn.ReLU(),
        nn.Flatten(), whole_readout(nn.Linear(3, 4), random),
    )  # fmt: skip
    norm.running_mean.zero_()
    norm.running_var.fill_(4)
    return network
