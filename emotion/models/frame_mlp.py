"""Multilayer perceptron over the mean of all frames."""

import torch
from torch import Tensor, nn

from emotion.config.fields import Counts, Dropout
from emotion.models.base import FeatureBackbone
from emotion.models.heads import hidden_layers


class FrameMlp(FeatureBackbone):
    """The mean over the frames of an item, then hidden layers, see `hidden_layers`.

    Args:
        num_features: Number of features of a frame.
        hidden: Widths of the layers; at least one.
        dropout: Dropout probability of each layer, in [0, 1).
    """

    def __init__(self, num_features: int, hidden: Counts = (128, 128), dropout: Dropout = 0.5) -> None:
        super().__init__()
        self.layers = nn.Sequential(*hidden_layers([num_features, *hidden], dropout))
        self.frame_dim = self.embed_dim = hidden[-1]

    def encode_frames(self, features: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
        """See `FeatureBackbone.encode_frames`; each item has one frame."""
        return self.forward(features, frames)[..., None], torch.ones_like(frames)

    def forward(self, features: Tensor, frames: Tensor) -> Tensor:
        """See `FeatureBackbone.forward`."""
        return self.layers(features.sum(dim=2) / frames[:, None])
