"""A multilayer perceptron over what is alike in all frames."""

from itertools import pairwise

from torch import Tensor, nn

from emotion.models.base import FeatureNetwork


class FrameMlp(FeatureNetwork):
    """The mean over an item's frames, then hidden layers: linear, batch-normalised, rectified and dropped out.

    Args:
        num_features: Of a frame.
        hidden: Width of each layer; at least one.
        dropout: Of a layer's values, in [0, 1).
    """

    def __init__(self, num_features: int, hidden: tuple[int, ...] = (128, 128), dropout: float = 0.5) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for narrow, wide in pairwise([num_features, *hidden]):
            layers += [nn.Linear(narrow, wide), nn.BatchNorm1d(wide), nn.ReLU(), nn.Dropout(dropout)]
        self.layers = nn.Sequential(*layers)
        self.embed_dim = hidden[-1]

    def forward(self, features: Tensor, frames: Tensor) -> Tensor:
        """See `FeatureNetwork.forward`."""
        return self.layers(features.sum(dim=2) / frames[:, None])
