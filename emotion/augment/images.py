"""Augmentations of images, named as in torchvision.transforms.v2."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from emotion.augment.base import ImageAugmentation
from emotion.config.fields import NonNegative, PositiveFraction, UnitInterval


class RandomHorizontalFlip(ImageAugmentation):
    """Mirror the images of a recording horizontally.

    Args:
        probability: Probability (default: 0.5).
    """

    def __init__(self, probability: UnitInterval = 0.5) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, images: Tensor, item: Tensor) -> Tensor:
        """See `ImageAugmentation`."""
        mirrored = _draw_for_items(item, lambda n_items: torch.rand(n_items, device=item.device) < self.probability)
        return torch.where(mirrored[:, None, None, None], images.flip(3), images)


class RandomAffine(ImageAugmentation):
    """Rotate, shift and scale the images of a recording, like an inaccurate face box.

    Args:
        degrees: Maximum rotation in either direction, in degrees (default: 10).
        shift: Maximum shift in each direction, as a fraction of the image (default: 0.08).
        scale: Maximum change of the size, as a fraction (default: 0.1).
    """

    def __init__(self, degrees: NonNegative = 10.0, shift: NonNegative = 0.08, scale: NonNegative = 0.1) -> None:
        super().__init__()
        self.degrees, self.shift, self.scale = degrees, shift, scale

    def forward(self, images: Tensor, item: Tensor) -> Tensor:
        """See `ImageAugmentation`."""
        drawn = _draw_for_items(item, lambda n_items: 2 * torch.rand(n_items, 4, device=item.device) - 1)
        angle, size = drawn[:, 0] * math.radians(self.degrees), 1 + drawn[:, 1] * self.scale
        cosine, sine = angle.cos() / size, angle.sin() / size
        across, down = (2 * self.shift * drawn[:, 2:]).unbind(1)
        rows = [torch.stack([cosine, -sine, across], dim=1), torch.stack([sine, cosine, down], dim=1)]
        grid = nn.functional.affine_grid(torch.stack(rows, dim=1), list(images.shape), align_corners=False)
        return nn.functional.grid_sample(images, grid, padding_mode="border", align_corners=False)


class ColorJitter(ImageAugmentation):
    """Change brightness and contrast of the images of a recording.

    Args:
        brightness: Maximum change, as a fraction of the range (default: 0.15).
        contrast: Maximum change, as a fraction (default: 0.25).
    """

    def __init__(self, brightness: NonNegative = 0.15, contrast: NonNegative = 0.25) -> None:
        super().__init__()
        self.brightness, self.contrast = brightness, contrast

    def forward(self, images: Tensor, item: Tensor) -> Tensor:
        """See `ImageAugmentation`."""
        drawn = _draw_for_items(item, lambda n_items: 2 * torch.rand(n_items, 2, device=item.device) - 1)[
            ..., None, None, None
        ]
        middle = images.mean(dim=(1, 2, 3), keepdim=True)
        changed = (images - middle) * (1 + self.contrast * drawn[:, 1]) + middle + self.brightness * drawn[:, 0]
        return changed.clamp(0, 1)


class RandomErasing(ImageAugmentation):
    """Erase a square of the images of a recording (Zhong et al., 2020, https://arxiv.org/abs/1708.04896).

    Args:
        side: Maximum side, as a fraction of the image (default: 0.4).
        probability: Probability (default: 0.5).
    """

    def __init__(self, side: PositiveFraction = 0.4, probability: UnitInterval = 0.5) -> None:
        super().__init__()
        self.side, self.probability = side, probability

    def forward(self, images: Tensor, item: Tensor) -> Tensor:
        """See `ImageAugmentation`."""
        drawn = _draw_for_items(item, lambda n_items: torch.rand(n_items, 4, device=item.device))
        half = self.side * drawn[:, 0] / 2 * (drawn[:, 3] < self.probability)
        hidden = [
            (torch.linspace(0, 1, size, device=item.device) - drawn[:, axis, None]).abs() < half[:, None]
            for axis, size in ((1, images.shape[2]), (2, images.shape[3]))
        ]
        return images.masked_fill((hidden[0][:, :, None] & hidden[1][:, None])[:, None], 0.5)


def _draw_for_items(item: Tensor, draw: Callable[[int], Tensor]) -> Tensor:
    """Call `draw` with the number of items, and return its result for the item of each image."""
    return draw(int(item.max()) + 1)[item]
