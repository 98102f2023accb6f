"""The rank of this process in a distributed fit."""

from pytorch_lightning.utilities import rank_zero_only


def process_rank() -> int:
    """Return the rank of this process, 0 for the first or only one."""
    return getattr(rank_zero_only, "rank", 0)  # Lightning sets the attribute
