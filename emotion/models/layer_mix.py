"""Weighted sum of the layers of a pretrained encoder."""

import torch
from torch import Tensor, nn

from emotion.config.branch import Pooling
from emotion.config.fields import Count, Dropout
from emotion.models.base import FeatureBackbone
from emotion.models.pooling import StatisticsPooling


class LayerMix(FeatureBackbone):
    """A weighted sum of layers with trained weights, a projection of each frame, and pooling over time, as in SUPERB.

    Yang et al. (2021), https://arxiv.org/abs/2105.01051.

    Args:
        num_features: Number of features of a frame in all layers.
        num_channels: Number of layers.
        width: Size of a frame embedding.
        dropout: Dropout probability of frame embeddings, in [0, 1).
        pooling: `mean`, `attention` or `average`, see `StatisticsPooling`.
    """

    def __init__(
        self,
        num_features: int,
        num_channels: int = 1,
        width: Count = 256,
        dropout: Dropout = 0.3,
        pooling: Pooling = "mean",
    ) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(num_channels))
        self.project = nn.Sequential(nn.Conv1d(num_features // num_channels, width, 1), nn.ReLU(), nn.Dropout(dropout))
        self.frame_dim, self.pool = width, StatisticsPooling(width, pooling)
        self.embed_dim = self.pool.embed_dim

    def encode_frames(self, features: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
        """See `FeatureBackbone.encode_frames`."""
        # Cached features are stored frame by frame; einsum and matmul would copy them.
        layers = features.transpose(1, 2).flatten(0, 1).unflatten(1, (len(self.weights), -1))
        mixed = torch.bmm(self.weights.softmax(0).expand(len(layers), 1, -1), layers)[:, 0]
        return self.project(mixed.unflatten(0, (len(features), -1)).transpose(1, 2)), frames
