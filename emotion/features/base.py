"""The contract of a feature set, and the masks that all of them share."""

import torch
from torch import Tensor, nn


class FeatureSet(nn.Module):
    """Turns a padded batch of waveforms into frames of features, each item as if it were alone.

    Attributes:
        num_features: How many features a frame has.
    """

    num_features: int

    def forward(self, waveform: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the features.

        Args:
            waveform: Shape (B, T), float32, zero beyond each item's length.
            length: Samples of each item, shape (B,), int64, at least 1.

        Returns:
            The features, shape (B, num_features, N), zero beyond each item's frames, and the frames of each item,
            shape (B,), int64.
        """
        raise TypeError(f"{type(self).__name__} does not define forward")


def frame_mask(frames: Tensor, size: int) -> Tensor:
    """True where a frame belongs to its item; shape (B, size).

    Args:
        frames: Frames of each item, shape (B,).
        size: Frames in the padded batch.
    """
    return torch.arange(size, device=frames.device) < frames[:, None]


def masked(features: Tensor, frames: Tensor) -> Tensor:
    """`features`, shape (B, F, N), with zeros beyond each item's frames."""
    return features * frame_mask(frames, features.shape[-1])[:, None]
