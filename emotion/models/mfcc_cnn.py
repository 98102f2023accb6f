"""A two-dimensional CNN over features and time, for MFCCs and log-mel spectrograms alike."""

import torch
from torch import Tensor, nn

from emotion.features.base import frame_mask
from emotion.models.base import AudioNetwork


class MfccCnn(AudioNetwork):
    """Convolution blocks, then the mean and the deviation over time of what is left of each feature band.

    A block is a 3×3 convolution, batch normalisation, ReLU, 2×2 max pooling (the last: 2×1) and channel dropout. Frames
    beyond an item's end are zeroed before every convolution, so that it sees the zeros that it would see at the edge of
    the item alone.

    Args:
        num_features: Of a frame; at least 2 to the power of the number of blocks.
        channels: Output channels of each block.
        dropout: Of channels, in [0, 1).
    """

    def __init__(self, num_features: int, channels: tuple[int, ...] = (24, 48, 96, 96), dropout: float = 0.3) -> None:
        super().__init__()
        widths = [1, *channels]
        self.convolutions = nn.ModuleList(
            nn.Conv2d(narrow, wide, 3, padding=1, bias=False) for narrow, wide in zip(widths, channels, strict=False)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(wide) for wide in channels)
        self.dropout = nn.Dropout2d(dropout)
        self.embed_dim = 2 * channels[-1] * (num_features >> len(channels))
        # About twice as fast on a CPU.
        self.to(memory_format=torch.channels_last)

    def forward(self, features: Tensor, frames: Tensor) -> Tensor:
        """See `AudioNetwork.forward`. Items too short for the pooling are continued with zeros."""
        shortest = 1 << (len(self.convolutions) - 1)
        frames = frames.clamp(min=shortest)
        missing = max(0, shortest - features.shape[-1])
        maps = nn.functional.pad(features, (0, missing))[:, None].contiguous(memory_format=torch.channels_last)
        for number, (convolution, norm) in enumerate(zip(self.convolutions, self.norms, strict=True), start=1):
            step = 2 if number < len(self.convolutions) else 1
            maps = nn.functional.max_pool2d(norm(convolution(maps)).relu(), (2, step))
            frames = frames // step
            mask = frame_mask(frames, maps.shape[-1])[:, None, None]
            maps = self.dropout(maps * mask)
        rows = maps.flatten(1, 2)
        return torch.cat(masked_mean_and_deviation(rows, frames), dim=1)


def masked_mean_and_deviation(rows: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation over an item's own frames, each of shape (B, D).

    Args:
        rows: Shape (B, D, N).
        frames: Shape (B,), each at least 1.
    """
    mask = frame_mask(frames, rows.shape[-1])[:, None]
    mean = (rows * mask).sum(dim=2) / frames[:, None]
    variance = ((rows - mean[..., None]).square() * mask).sum(dim=2) / frames[:, None]
    # The small constant keeps the root's gradient finite where nothing varies.
    return mean, (variance + 1e-5).sqrt()
