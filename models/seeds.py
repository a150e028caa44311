"""Seeds that belong together: each piece of work derives its own from the run's seed, so that results do not depend on the order of work."""

import numpy as np
import torch

# What the numbers are drawn for; two purposes never share a stream.
PURPOSES = ("weights", "order", "augment", "train", "evaluate")


def derived_seed(seed: int, purpose: str, *numbers: int) -> int:
    """Seed for one purpose and, for instance, one epoch and example.

    Parameters
    ----------
    seed : int
        The run's, 0 or more.
    purpose : str
        One of `PURPOSES`.
    *numbers : int
        0 or more.
    """
    sequence = np.random.SeedSequence([seed, PURPOSES.index(purpose), *numbers])
    return int(sequence.generate_state(1, np.uint64)[0] >> 1)


def derived_generator(
    seed: int, purpose: str, *numbers: int, device: torch.device | str = "cpu"
) -> torch.Generator:
    """Generator seeded by `derived_seed`."""
    return torch.Generator(device).manual_seed(derived_seed(seed, purpose, *numbers))
