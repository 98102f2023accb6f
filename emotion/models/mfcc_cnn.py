"""A two-dimensional CNN over features and time, for MFCCs and log-mel spectrograms alike."""

import torch
from torch import Tensor, nn

from emotion.config.branch import Pooling
from emotion.config.fields import Count, Dropout
from emotion.errors import EmotionError
from emotion.features.base import frame_mask
from emotion.models.base import FeatureBackbone
from emotion.models.pooling import StatisticsPooling


class MfccCnn(FeatureBackbone):
    """Convolution blocks, then the mean and the deviation over time of what is left of each feature band.

    A block is a 3×3 convolution, batch normalisation, 2×2 max pooling (the last: 2×1), ReLU and channel dropout. Frames
    beyond an item's end are zeroed before every convolution, so that it sees the zeros that it would see at the edge of
    the item alone.

    Args:
        num_features: Number of features of a frame; for each channel at least 2 to the power of the number of blocks.
        num_channels: Number of equal parts of the features, the features and their deltas, each an input channel.
        channels: Output channels of each block.
        dropout: Of channels, in [0, 1).
        pooling: Over time: `mean` or `attention`, see `StatisticsPooling`.
    """

    def __init__(
        self,
        num_features: int,
        num_channels: int = 1,
        channels: tuple[Count, ...] = (24, 48, 96, 96),
        dropout: Dropout = 0.1,
        pooling: Pooling = "mean",
    ) -> None:
        super().__init__()
        height = num_features // num_channels
        if height >> len(channels) == 0:
            raise EmotionError(
                f"{height} features are too few for {len(channels)} poolings by two: add some with "
                "features=[mfcc,…], or take fewer model.backbone.channels"
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
        # About twice as fast on a CPU.
        self.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] (an overload that torch lacks)

    def encode_frames(self, features: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
        """See `FeatureBackbone.encode_frames`. Items too short for the pooling are continued with zeros."""
        shortest = 1 << (len(self.convolutions) - 1)
        frames = frames.clamp(min=shortest)
        if features.shape[-1] < shortest:
            features = nn.functional.pad(features, (0, shortest - features.shape[-1]))
        maps = features.unflatten(1, (self.num_channels, -1))
        maps = maps.contiguous(memory_format=torch.channels_last)
        for number, (convolution, norm) in enumerate(zip(self.convolutions, self.norms, strict=True), start=1):
            step = 2 if number < len(self.convolutions) else 1
            # ReLU and maximum may change places, and after the pooling there is less to do.
            maps = nn.functional.max_pool2d(norm(convolution(maps)), (2, step)).relu()
            frames = frames // step
            mask = frame_mask(frames, maps.shape[-1])[:, None, None]
            maps = self.dropout(maps * mask)
        return maps.flatten(1, 2), frames
