"""Front end of images: from the faces of a batch to the input of a backbone, on the device."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from emotion.augment.base import Augmentation, ImageAugmentation
from emotion.batch import Batch, get_faces
from emotion.errors import EmotionError
from emotion.features.resize import resize_images
from emotion.prepare.faces import COLORS

RELATIVE_TO = ("nothing", "mean", "first")
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
CENTER, STD = 0.5, 0.25
"""Centre and standard deviation by which pixels in [0, 1] are standardised."""
_N_FIRST = 3  # images at the start of a recording, before the face moves


class ImageFrontEnd(nn.Module):
    """Resize, convert, augment and standardise the images of a batch.

    Args:
        size: Side of an image, in pixels.
        color: `rgb` (default) or `grey`.
        relative_to: Subtract `nothing` (default), the `mean` image of the recording, or the mean of its `first` images.
        frame_dropout: Probability that an image is left out in training; one of each recording is kept (default: 0).
        mirror: Average the embeddings of each image and its mirror image in evaluation (default: False).
        augment: Augmentations, applied in training only, in this order.

    Raises:
        EmotionError: a value is not allowed.
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
        """Return which items have a face, shape (B,), bool."""
        return get_faces(batch)[1].any(dim=1)

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the images of a batch, shape (N, C, size, size), and the item of each, shape (N,), increasing.

        In an exported model padding counts as images, since shapes cannot depend on values.
        """
        faces, mask = get_faces(batch)
        if torch.compiler.is_exporting():
            images = self._in_color(resize_images(faces.flatten(0, 1), self.size).float() / 255)
            item = torch.arange(mask.shape[0])[:, None].expand_as(mask).flatten()
            place = torch.arange(mask.shape[1]).expand_as(mask).flatten()
            return (images - self._reference(images, item, place, mask)) / STD, item
        if self.training and self.frame_dropout:
            chance = torch.rand(mask.shape, device=mask.device).masked_fill(~mask, -1.0)
            mask = mask & ((chance >= self.frame_dropout) | (chance == chance.amax(dim=1, keepdim=True)))
        item = mask.nonzero()[:, 0]
        images = self._in_color(resize_images(faces[mask], self.size).float() / 255)
        if self.training:
            for change in self.augment:
                images = change(images, item)
        return (images - self._reference(images, item, place_in_clip(item), mask)) / STD, item

    def _in_color(self, images: Tensor) -> Tensor:
        if images.shape[1] == self.channels:
            return images
        if self.channels == 3:
            return images.expand(-1, 3, -1, -1)
        luma = torch.tensor(_LUMA, device=images.device)[:, None, None]
        return (images * luma).sum(dim=1, keepdim=True)

    def _reference(self, images: Tensor, item: Tensor, place: Tensor, mask: Tensor) -> Tensor | float:
        """Return what is subtracted from each image; `place` is its position in the recording."""
        if self.relative_to == "nothing":
            return CENTER
        count = mask.shape[1] if self.relative_to == "mean" else _N_FIRST
        used = (place < mask.sum(dim=1).clamp(max=count)[item]).to(images.dtype)
        sums = images.new_zeros(mask.shape[0], *images.shape[1:])
        sums = sums.index_add(0, item, images * used[:, None, None, None])
        counts = used.new_zeros(mask.shape[0]).index_add(0, item, used).clamp(min=1)
        return (sums / counts[:, None, None, None])[item]


def place_in_clip(item: Tensor) -> Tensor:
    """Return the position of each image in its recording, from 0, shape (N,), by its item, shape (N,), increasing."""
    counts = item.bincount()
    return torch.arange(len(item), device=item.device) - (counts.cumsum(0) - counts)[item]
