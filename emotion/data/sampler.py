"""The order of an epoch, as a function of the seed and the epoch alone."""

from collections.abc import Iterator

import torch
from torch.utils.data import Sampler


class EpochSampler(Sampler[int]):
    """A random order that any process can draw again: that of a resumed run equals that of an uninterrupted one.

    Args:
        size: Items in the data set.
        seed: Of the run. The trainer tells the epoch through `set_epoch`.
    """

    def __init__(self, size: int, seed: int) -> None:
        self.size, self.seed, self.epoch = size, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of this epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(epoch_seed(self.seed, self.epoch))
        yield from torch.randperm(self.size, generator=generator).tolist()


def epoch_seed(seed: int, epoch: int) -> int:
    """The one number from which everything random of an epoch follows."""
    return seed * 1_000_003 + epoch
