"""From the faces of a batch to network input, on the device: size, colour, augmentation, what is subtracted."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from emotion.batch import Batch, get_faces
from emotion.config.fields import NonNegative, PositiveFraction, UnitInterval
from emotion.errors import EmotionError
from emotion.features.augment import Augmentation
from emotion.features.resize import resize_images
from emotion.prepare.faces import COLORS

RELATIVE_TO = ("nothing", "mean", "first")
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
CENTER, STD = 0.5, 0.25
"""Of a pixel, from 0 to 1: the network sees (pixel − centre) / spread, unless pictures are relative to others."""
_FIRST = 3  # pictures of a clip that show the face before it moves


class ImageAugmentation(Augmentation):
    """Changes pictures, shape (N, C, H, W), values in [0, 1]; those of one clip, by `item` (N,), change alike."""


class RandomHorizontalFlip(ImageAugmentation):
    """Mirror a clip left to right.

    Args:
        probability: That it is mirrored.
    """

    def __init__(self, probability: UnitInterval = 0.5) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, pictures: Tensor, item: Tensor) -> Tensor:
        """See `ImageAugmentation`."""
        mirrored = _of_clips(item, lambda clips: torch.rand(clips, device=item.device) < self.probability)
        return torch.where(mirrored[:, None, None, None], pictures.flip(3), pictures)


class RandomAffine(ImageAugmentation):
    """Turn, shift and resize a clip a little, as a face box that is not exact does.

    Args:
        degrees: Furthest turn to either side.
        shift: Furthest shift in each direction, as a fraction of the picture.
        scale: Largest change of size, as a fraction.
    """

    def __init__(self, degrees: NonNegative = 10.0, shift: NonNegative = 0.08, scale: NonNegative = 0.1) -> None:
        super().__init__()
        self.degrees, self.shift, self.scale = degrees, shift, scale

    def forward(self, pictures: Tensor, item: Tensor) -> Tensor:
        """See `ImageAugmentation`."""
        drawn = _of_clips(item, lambda clips: 2 * torch.rand(clips, 4, device=item.device) - 1)
        angle, size = drawn[:, 0] * math.radians(self.degrees), 1 + drawn[:, 1] * self.scale
        cosine, sine = angle.cos() / size, angle.sin() / size
        across, down = (2 * self.shift * drawn[:, 2:]).unbind(1)
        rows = [torch.stack([cosine, -sine, across], dim=1), torch.stack([sine, cosine, down], dim=1)]
        grid = nn.functional.affine_grid(torch.stack(rows, dim=1), list(pictures.shape), align_corners=False)
        return nn.functional.grid_sample(pictures, grid, padding_mode="border", align_corners=False)


class ColorJitter(ImageAugmentation):
    """Change the brightness and the contrast of a clip.

    Args:
        brightness: Largest change, as a part of the range.
        contrast: Largest change, as a fraction.
    """

    def __init__(self, brightness: NonNegative = 0.15, contrast: NonNegative = 0.25) -> None:
        super().__init__()
        self.brightness, self.contrast = brightness, contrast

    def forward(self, pictures: Tensor, item: Tensor) -> Tensor:
        """See `ImageAugmentation`."""
        drawn = _of_clips(item, lambda clips: 2 * torch.rand(clips, 2, device=item.device) - 1)[..., None, None, None]
        middle = pictures.mean(dim=(1, 2, 3), keepdim=True)
        changed = (pictures - middle) * (1 + self.contrast * drawn[:, 1]) + middle + self.brightness * drawn[:, 0]
        return changed.clamp(0, 1)


class RandomErasing(ImageAugmentation):
    """Hide a square of a clip (Zhong et al., 2020, https://arxiv.org/abs/1708.04896).

    Args:
        side: Longest side, as a fraction of the picture.
        probability: That something is hidden.
    """

    def __init__(self, side: PositiveFraction = 0.4, probability: UnitInterval = 0.5) -> None:
        super().__init__()
        self.side, self.probability = side, probability

    def forward(self, pictures: Tensor, item: Tensor) -> Tensor:
        """See `ImageAugmentation`."""
        drawn = _of_clips(item, lambda clips: torch.rand(clips, 4, device=item.device))
        half = self.side * drawn[:, 0] / 2 * (drawn[:, 3] < self.probability)
        hidden = [
            (torch.linspace(0, 1, size, device=item.device) - drawn[:, axis, None]).abs() < half[:, None]
            for axis, size in ((1, pictures.shape[2]), (2, pictures.shape[3]))
        ]
        return pictures.masked_fill((hidden[0][:, :, None] & hidden[1][:, None])[:, None], 0.5)


class ImageFrontEnd(nn.Module):
    """The pictures of all clips of a batch, one after the other, as a network takes them.

    Args:
        size: Side of a picture, in pixels.
        color: `rgb` or `grey`.
        relative_to: What is subtracted from each picture: `nothing`, the `mean` of its clip, or the mean of the clip's
            `first` pictures, before the face moves.
        frame_dropout: Probability that a picture is left out in training; one of each clip stays.
        mirror: Whether, in evaluation, each picture and its mirror image are embedded, and the mean is taken: what is
            said of a face should not depend on which way it is turned.
        augment: Applied in training only, in this order.
    """

    def __init__(
        self,
        size: int,
        color: str = "rgb",
        relative_to: str = "nothing",
        frame_dropout: float = 0.0,
        mirror: bool = False,
        augment: Iterable[Augmentation] = (),
    ) -> None:
        super().__init__()
        for name, value, known in (("color", color, COLORS), ("relative_to", relative_to, RELATIVE_TO)):
            if value not in known:
                raise EmotionError(f"{name}={value} is none of {', '.join(known)}")
        self.size, self.color, self.relative_to = size, color, relative_to
        self.frame_dropout, self.mirror = frame_dropout, mirror
        self.channels = COLORS[color]
        self.augment = nn.ModuleList(change for change in augment if isinstance(change, ImageAugmentation))

    def present(self, batch: Batch) -> Tensor:
        """Which items have a face, shape (B,)."""
        return get_faces(batch)[1].any(dim=1)

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Pictures, shape (N, C, size, size), and the row of the batch of which each is, shape (N,), rising.

        An exported model, in which nothing may depend on how many there are, also takes what is no picture for one.
        """
        faces, mask = get_faces(batch)
        if torch.compiler.is_exporting():
            pictures = self._in_color(resize_images(faces.flatten(0, 1), self.size).float() / 255)
            item = torch.arange(mask.shape[0])[:, None].expand_as(mask).flatten()
            place = torch.arange(mask.shape[1]).expand_as(mask).flatten()
            return (pictures - self._reference(pictures, item, place, mask)) / STD, item
        if self.training and self.frame_dropout:
            chance = torch.rand(mask.shape, device=mask.device).masked_fill(~mask, -1.0)
            mask = mask & ((chance >= self.frame_dropout) | (chance == chance.amax(dim=1, keepdim=True)))
        item = mask.nonzero()[:, 0]
        pictures = self._in_color(resize_images(faces[mask], self.size).float() / 255)
        if self.training:
            for change in self.augment:
                pictures = change(pictures, item)
        return (pictures - self._reference(pictures, item, place_in_clip(item), mask)) / STD, item

    def _in_color(self, pictures: Tensor) -> Tensor:
        if pictures.shape[1] == self.channels:
            return pictures
        if self.channels == 3:
            return pictures.expand(-1, 3, -1, -1)
        luma = torch.tensor(_LUMA, device=pictures.device)[:, None, None]
        return (pictures * luma).sum(dim=1, keepdim=True)

    def _reference(self, pictures: Tensor, item: Tensor, place: Tensor, mask: Tensor) -> Tensor | float:
        """What is subtracted from each picture; `place` is which of its clip it is, and the first of each are real."""
        if self.relative_to == "nothing":
            return CENTER
        most = mask.shape[1] if self.relative_to == "mean" else _FIRST
        used = (place < mask.sum(dim=1).clamp(max=most)[item]).to(pictures.dtype)
        sums = pictures.new_zeros(mask.shape[0], *pictures.shape[1:])
        sums = sums.index_add(0, item, pictures * used[:, None, None, None])
        counts = used.new_zeros(mask.shape[0]).index_add(0, item, used).clamp(min=1)
        return (sums / counts[:, None, None, None])[item]


def place_in_clip(item: Tensor) -> Tensor:
    """Which picture of its clip each is, from 0, shape (N,); `item`, shape (N,), rises."""
    counts = item.bincount()
    return torch.arange(len(item), device=item.device) - (counts.cumsum(0) - counts)[item]


def _of_clips(item: Tensor, draw: Any) -> Tensor:
    """Draw once for each clip and give it to all of its pictures."""
    return draw(int(item.max()) + 1)[item]
