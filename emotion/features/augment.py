"""Changes to training features that a listener would forgive."""

import torch
from torch import Tensor, nn

from emotion.features.base import frame_mask


class SpecAugment(nn.Module):
    """Hide bands of features and stretches of time (Park et al., 2019, https://arxiv.org/abs/1904.08779).

    What is hidden becomes 0, the mean of normalised features. Every item draws its own masks.

    Args:
        feature_masks: Bands hidden in each item.
        feature_fraction: Widest band, as a fraction of the features.
        time_masks: Stretches hidden in each item.
        time_fraction: Longest stretch, as a fraction of the item's frames.
    """

    def __init__(
        self,
        feature_masks: int = 1,
        feature_fraction: float = 0.2,
        time_masks: int = 1,
        time_fraction: float = 0.2,
    ) -> None:
        super().__init__()
        self.feature_masks, self.feature_fraction = feature_masks, feature_fraction
        self.time_masks, self.time_fraction = time_masks, time_fraction

    def forward(self, features: Tensor, frames: Tensor) -> Tensor:
        """Mask `features`, shape (B, F, N), whose items have `frames`, shape (B,)."""
        batch, num_features, size = features.shape
        whole = torch.full_like(frames, num_features)
        hidden = torch.zeros(batch, num_features, 1, dtype=torch.bool, device=features.device)
        for _ in range(self.feature_masks):
            hidden = hidden | _random_stretch(whole, self.feature_fraction, num_features)[:, :, None]
        for _ in range(self.time_masks):
            hidden = hidden | _random_stretch(frames, self.time_fraction, size)[:, None]
        return features.masked_fill(hidden, 0.0)


def _random_stretch(length: Tensor, fraction: float, size: int) -> Tensor:
    """True in one stretch of 0 to `fraction` of each item's `length` (B,); shape (B, size)."""
    draws = torch.rand(2, len(length), device=length.device)
    width = (draws[0] * (fraction * length + 1)).long()
    start = (draws[1] * (length - width + 1)).long()
    return frame_mask(start + width, size) & ~frame_mask(start, size)
