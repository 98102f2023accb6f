"""Pooling of frame embeddings over time."""

import torch
from torch import Tensor, nn

from emotion.batch import frame_mask
from emotion.errors import EmotionError

POOLINGS = ("mean", "attention", "average")


class StatisticsPooling(nn.Module):
    """Mean and standard deviation of each value over the frames of an item.

    `attention` weights frames by a trained network (Okabe et al., 2018, https://arxiv.org/abs/1803.10963). `average` is
    the mean without the standard deviation.

    Args:
        size: Size of a frame embedding, D.
        pooling: `mean` (default), `attention` or `average`.
        hidden: Width of the layer that computes the attention weights (default: 64).

    Raises:
        EmotionError: `pooling` is unknown.
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
        self.with_std = pooling != "average"
        self.embed_dim = 2 * size if self.with_std else size

    def forward(self, embedded: Tensor, frames: Tensor) -> Tensor:
        """Return pooled embeddings, shape (B, embed_dim).

        Args:
            embedded: Frame embeddings, shape (B, D, N).
            frames: Number of frames of each item, shape (B,), at least 1.
        """
        weights = self.weights(embedded, frames)
        # Weights beyond the end of an item are zero, but the values there may be NaN or infinite.
        embedded = torch.where(weights > 0, embedded, 0.0)
        mean = (embedded * weights).sum(dim=2)
        if not self.with_std:
            return mean
        variance = ((embedded - mean[..., None]).square() * weights).sum(dim=2)
        # The constant keeps the gradient of the square root finite for constant values.
        return torch.cat([mean, (variance + 1e-5).sqrt()], dim=1)

    def weights(self, embedded: Tensor, frames: Tensor) -> Tensor:
        """Return the weight of each frame, shape (B, 1, N); those of an item sum to 1."""
        mask = frame_mask(frames, embedded.shape[-1])[:, None]
        if self.score is None:
            return mask / frames[:, None, None]
        return self.score(embedded).masked_fill(~mask, -torch.inf).softmax(dim=2)
