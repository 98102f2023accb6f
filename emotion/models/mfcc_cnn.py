"""2-D CNN over features and time, for MFCC and log-mel spectrograms."""

import torch
from torch import Tensor, nn

from emotion.batch import frame_mask
from emotion.config.branch import Pooling
from emotion.config.fields import Counts, Dropout
from emotion.errors import EmotionError
from emotion.models.base import FeatureBackbone
from emotion.models.pooling import StatisticsPooling


class MfccCnn(FeatureBackbone):
    """Convolution blocks, then pooling over time.

    A block is a 3×3 convolution, batch normalisation, 2×2 max pooling (2×1 in the last block), ReLU and channel
    dropout. Frames beyond the end of an item are set to zero before each convolution, which equals its zero padding for
    the item alone.

    Args:
        num_features: Number of features of a frame; for each channel at least 2 to the power of the number of blocks.
        num_channels: Number of equal parts of the features, the features and their deltas, each an input channel.
        channels: Number of output channels of each block.
        dropout: Dropout probability of channels, in [0, 1).
        pooling: `mean`, `attention` or `average`, see `StatisticsPooling`.

    Raises:
        EmotionError: there are too few features for the blocks.
    """

    def __init__(
        self,
        num_features: int,
        num_channels: int = 1,
        channels: Counts = (24, 48, 96, 96),
        dropout: Dropout = 0.1,
        pooling: Pooling = "mean",
    ) -> None:
        super().__init__()
        height = num_features // num_channels
        if height >> len(channels) == 0:
            raise EmotionError(
                f"{height} features are too few for {len(channels)} blocks, which halve them; add some with "
                "features=[mfcc,…], or remove some of model.backbone.channels"
            )
        self.num_channels = num_channels
        widths = [num_channels, *channels]
        self.convolutions = nn.ModuleList(
            nn.Conv2d(narrow, wide, 3, padding=1, bias=False) for narrow, wide in zip(widths, channels, strict=False)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(wide) for wide in channels)
        self.dropout = nn.Dropout2d(dropout)
        self.frame_dim = channels[-1] * (height >> len(channels))
        self.pool = StatisticsPooling(self.frame_dim, pooling)
        self.embed_dim = self.pool.embed_dim
        # In this memory format convolutions take half the time on a CPU.
        self.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] (an overload that torch lacks)

    def encode_frames(self, features: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
        """See `FeatureBackbone.encode_frames`; items that are too short for the pooling are padded with zeros."""
        min_frames = 1 << (len(self.convolutions) - 1)
        frames = frames.clamp(min=min_frames)
        if features.shape[-1] < min_frames:
            features = nn.functional.pad(features, (0, min_frames - features.shape[-1]))
        maps = features.unflatten(1, (self.num_channels, -1))
        maps = maps.contiguous(memory_format=torch.channels_last)
        for number, (convolution, norm) in enumerate(zip(self.convolutions, self.norms, strict=True), start=1):
            step = 2 if number < len(self.convolutions) else 1
            # ReLU and max pooling commute, and pooling first is cheaper.
            maps = nn.functional.max_pool2d(norm(convolution(maps)), (2, step)).relu()
            frames = frames // step
            mask = frame_mask(frames, maps.shape[-1])[:, None, None]
            maps = self.dropout(maps * mask)
        return maps.flatten(1, 2), frames
