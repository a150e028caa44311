"""Made events of two classes that a network can tell apart in seconds, and a short training on them."""

import torch


def moving_bars(count, size=8, steps=12, noise=0.02):
    """Frames ``[B, T, 1, row, column]`` of a bar that moves to the right (class 0) or down (class 1), and the classes ``[B]``."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(count) % 2
    frames = (torch.rand(count, steps, 1, size, size, generator=generator) < noise).float()
    starts = torch.randint(size, (count,), generator=generator)
    for example in range(count):
        for t in range(steps):
            place = (int(starts[example]) + t) % size
            if labels[example]:
                frames[example, t, 0, place] = 1
            else:
                frames[example, t, 0, :, place] = 1
    return frames, labels


def sweeps(count, channels=16, steps=12, noise=0.02):
    """Frames ``[B, T, 1, channel]`` of a tone that rises (class 0) or falls (class 1), and the classes ``[B]``."""
    generator = torch.Generator().manual_seed(1)
    labels = torch.arange(count) % 2
    frames = (torch.rand(count, steps, 1, channels, generator=generator) < noise).float()
    starts = torch.randint(4, (count,), generator=generator)
    for example in range(count):
        for t in range(steps):
            place = int(starts[example]) + t
            frames[example, t, 0, channels - 1 - place if labels[example] else place] = 1
    return frames, labels


def distance_to(votes, labels):
    """Eq. 7 of Liu et al. (2022): squared distance of the mean votes ``[T, B, C]`` to the labels, mean over the examples."""
    wanted = torch.nn.functional.one_hot(labels, votes.shape[-1]).to(votes.dtype)
    return (wanted - votes.mean(0)).square().sum(-1).mean()


def learn(network, features, labels, steps, rate=3e-3):
    """Train on all examples at once; give the loss of each step and the share that is right at the end."""
    optimizer, losses = torch.optim.Adam(network.parameters(), rate), []
    for _ in range(steps):
        votes = network(features)
        loss = sum(distance_to(spikes, labels) for spikes in (votes.answer, votes.visual, votes.auditory) if spikes is not None)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    with torch.no_grad():
        answers = network.eval()(features).answer.mean(0).argmax(-1)
    return losses, (answers == labels).float().mean().item()
