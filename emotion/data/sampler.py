"""The order of an epoch, as a function of the seed and the epoch alone."""

from collections.abc import Iterator

import torch
from torch.utils.data import Sampler


class EpochSampler(Sampler[int]):
    """A random order that any process can draw again: that of a resumed run equals that of an uninterrupted one.

    Of several processes each visits its own share, and all shares are equally long: a few items, others in every epoch,
    may be left out.

    Args:
        size: Items in the data set.
        seed: Of the run. The trainer tells the epoch through `set_epoch`.
        process: Which of the processes this is, from 0.
        processes: How many there are.
    """

    def __init__(self, size: int, seed: int, process: int = 0, processes: int = 1) -> None:
        self.size, self.seed, self.epoch = size, seed, 0
        self.process, self.processes = process, processes

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of this epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.size // self.processes

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(epoch_seed(self.seed, self.epoch))
        order = torch.randperm(self.size, generator=generator)[: len(self) * self.processes]
        yield from order[self.process :: self.processes].tolist()


def epoch_seed(seed: int, epoch: int) -> int:
    """The one number from which everything random of an epoch follows."""
    return seed * 1_000_003 + epoch
