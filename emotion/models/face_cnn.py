"""Residual CNN over face images."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from emotion.config.fields import Counts, Dropout, NonNegativeInt
from emotion.models.base import ImageBackbone


class FaceCnn(ImageBackbone):
    """Residual stages of 3×3 convolutions (He et al., 2016), then global average pooling.

    https://arxiv.org/abs/1512.03385.

    Args:
        num_channels: Number of channels of an image.
        widths: Number of channels of each stage; each stage halves the resolution.
        blocks: Number of residual blocks of each stage.
        dropout: Dropout probability of the embedding, in [0, 1).
    """

    def __init__(
        self,
        num_channels: int,
        widths: Counts = (32, 64, 128, 256),
        blocks: NonNegativeInt = 1,
        dropout: Dropout = 0.2,
    ) -> None:
        super().__init__()
        # Faces are often small, so the first convolution has stride 1 and is followed by pooling.
        stages: list[nn.Module] = [_convolution(num_channels, widths[0]), nn.MaxPool2d(2), nn.ReLU()]
        for number, (narrow, wide) in enumerate(pairwise([widths[0], *widths])):
            for block in range(blocks):
                first = block == 0
                stages.append(_Residual(narrow if first else wide, wide, step=2 if first and number else 1))
        self.stages, self.dropout = nn.Sequential(*stages), nn.Dropout(dropout)
        self.embed_dim = widths[-1]
        # In this memory format convolutions take four fifths of the time on a CPU.
        self.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] (an overload that torch lacks)

    def forward(self, images: Tensor) -> Tensor:
        """See `ImageBackbone.forward`."""
        maps = self.stages(images.contiguous(memory_format=torch.channels_last))
        return self.dropout(maps.mean(dim=(2, 3)))


class _Residual(nn.Module):
    def __init__(self, narrow: int, wide: int, step: int) -> None:
        super().__init__()
        self.change = nn.Sequential(_convolution(narrow, wide, step), nn.ReLU(), _convolution(wide, wide))
        # Average pooling before the 1×1 convolution (He et al., 2019, https://arxiv.org/abs/1812.01187): a strided 1×1
        # convolution ignores three quarters of its input. oneDNN 3.10 also writes its gradient beyond the allocated
        # memory if there are fewer than 16 channels, with channels last and several threads.
        halve = nn.Identity() if step == 1 else nn.AvgPool2d(step, ceil_mode=True, count_include_pad=False)
        same = narrow == wide and step == 1
        self.shortcut = nn.Identity() if same else nn.Sequential(halve, _convolution(narrow, wide, kernel=1))

    def forward(self, maps: Tensor) -> Tensor:
        return (self.change(maps) + self.shortcut(maps)).relu()


def _convolution(narrow: int, wide: int, step: int = 1, kernel: int = 3) -> nn.Sequential:
    convolution = nn.Conv2d(narrow, wide, kernel, step, padding=kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(wide))
