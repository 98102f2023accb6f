"""The order of recordings in an epoch, a function of seed and epoch."""

from collections.abc import Iterator

import numpy as np
import torch
from torch.utils.data import Sampler


class EpochSampler(Sampler[int]):
    """Sample a random order that follows from seed and epoch, so that resumed and uninterrupted runs are equal.

    With weights, an item with weight w is sampled w times in an epoch on average, at least floor(w) times.

    Several processes sample disjoint parts of equal size; up to `processes` - 1 items, others in each epoch, are left
    out.

    Args:
        size: Number of items of the dataset.
        seed: Seed of the run. The trainer sets the epoch by `set_epoch`.
        process: Index of this process (default: 0).
        processes: Number of processes (default: 1).
        weights: Weights of the items with mean 1, shape (size,) (default: equal).
    """

    def __init__(
        self, size: int, seed: int, process: int = 0, processes: int = 1, weights: np.ndarray | None = None
    ) -> None:
        self.weights = None if weights is None else torch.from_numpy(weights)
        self.size, self.seed, self.epoch = size, seed, 0
        self.process, self.processes = process, processes

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, counted from 0."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.size // self.processes

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(epoch_seed(self.seed, self.epoch))
        order = torch.randperm(self.size, generator=generator)
        if self.weights is not None:
            # Systematic sampling: equally spaced points on the cumulative weights of the shuffled items.
            points = torch.arange(self.size) + torch.rand(1, generator=generator, dtype=torch.float64)
            order = order[torch.searchsorted(self.weights[order].cumsum(0), points).clamp(max=self.size - 1)]
            order = order[torch.randperm(self.size, generator=generator)]
        order = order[: len(self) * self.processes]
        yield from order[self.process :: self.processes].tolist()


def epoch_seed(seed: int, epoch: int) -> int:
    """Return the seed of everything that is random in an epoch."""
    return seed * 1_000_003 + epoch
