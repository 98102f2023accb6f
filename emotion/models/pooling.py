"""From frames to one vector, over an item's own frames alone."""

import torch
from torch import Tensor, nn

from emotion.errors import EmotionError
from emotion.features.base import frame_mask

POOLINGS = ("mean", "attention", "average")


class StatisticsPooling(nn.Module):
    """The mean and the standard deviation of each row over an item's frames.

    With `attention` both are weighted, and the network learns the weights (Okabe et al., 2018,
    https://arxiv.org/abs/1803.10963). `average` is the mean without the deviation.

    Args:
        size: Rows, D.
        pooling: `mean`, `attention` or `average`.
        hidden: Width of the layer that computes the weights.
    """

    def __init__(self, size: int, pooling: str = "mean", hidden: int = 64) -> None:
        super().__init__()
        if pooling not in POOLINGS:
            raise EmotionError(f"pooling={pooling} is none of {', '.join(POOLINGS)}")
        self.score = (
            nn.Sequential(nn.Conv1d(size, hidden, 1), nn.Tanh(), nn.Conv1d(hidden, 1, 1, bias=False))
            if pooling == "attention"
            else None
        )
        self.with_deviation = pooling != "average"
        self.embed_dim = 2 * size if self.with_deviation else size

    def forward(self, rows: Tensor, frames: Tensor) -> Tensor:
        """Pool `rows`, shape (B, D, N), of items with `frames`, shape (B,), each at least 1; shape (B, embed_dim)."""
        weights = self.weights(rows, frames)
        # Weights are zero beyond an item's end, but zero times what may be there is not always zero.
        rows = torch.where(weights > 0, rows, 0.0)
        mean = (rows * weights).sum(dim=2)
        if not self.with_deviation:
            return mean
        variance = ((rows - mean[..., None]).square() * weights).sum(dim=2)
        # The small constant keeps the root's gradient finite where nothing varies.
        return torch.cat([mean, (variance + 1e-5).sqrt()], dim=1)

    def weights(self, rows: Tensor, frames: Tensor) -> Tensor:
        """What each frame counts, shape (B, 1, N); the weights of an item add up to 1."""
        mask = frame_mask(frames, rows.shape[-1])[:, None]
        if self.score is None:
            return mask / frames[:, None, None]
        return self.score(rows).masked_fill(~mask, -torch.inf).softmax(dim=2)
