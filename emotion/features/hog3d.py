"""Histograms of the directions in which brightness changes, in space and in time."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from emotion.errors import EmotionError
from emotion.features.normalization import FrontEnd

_GREY = (0.2989, 0.587, 0.114)


def hog3d(video: Tensor, cell: Sequence[int] = (5, 5, 6), bins: int = 9) -> Tensor:
    """Histograms of gradient directions over the cells of a video, after Kläser et al. (2008).

    https://doi.org/10.5244/C.22.99. Where they propose the faces of a regular polyhedron, an azimuth (from -π to π, in
    the picture) and a polar angle (from 0 to π, from the axis of time) have a histogram each, in which a value counts
    as much as its gradient is long. Each histogram has a Euclidean length of 1, or is zero where nothing changes. What
    is beyond the last whole cell is left out. Computed in double precision, for angles that lie at a bin's edge.

    Args:
        video: Brightness, shape (T, H, W).
        cell: Its frames, rows and columns.
        bins: Of each histogram.

    Returns:
        Shape (2, bins, T // cell[0], H // cell[1], W // cell[2]): of azimuths, then of polar angles.
    """
    frames, rows, columns = (length // side for length, side in zip(video.shape, cell, strict=True))
    place = torch.arange(rows, device=video.device).repeat_interleave(cell[1])[:, None] * columns
    place = place + torch.arange(columns, device=video.device).repeat_interleave(cell[2])
    slabs = []
    # A slab of cells at a time: it stays in the processor's cache, and memory does not grow with the video.
    for first in range(0, frames * cell[0], cell[0]):
        time, down, across = _gradients(video, first, first + cell[0])
        inside = (slice(None), slice(rows * cell[1]), slice(columns * cell[2]))
        time, down, across = time[inside], down[inside], across[inside]
        flat = across.square() + down.square()
        length = (flat + time.square()).sqrt()
        angles = (torch.atan2(down, across) / (2 * math.pi) + 0.5, torch.atan2(flat.sqrt(), time) / math.pi)
        for angle in angles:
            number = (angle * bins).long().clamp_(max=bins - 1) + place * bins
            histogram = length.new_zeros(rows * columns * bins).index_add_(0, number.flatten(), length.flatten())
            slabs.append(nn.functional.normalize(histogram.view(rows, columns, bins), dim=2, eps=1e-6))
    stacked = torch.stack(slabs).view(frames, 2, rows, columns, bins)
    return stacked.permute(1, 4, 0, 2, 3).float()


def _gradients(video: Tensor, first: int, end: int) -> tuple[Tensor, Tensor, Tensor]:
    """Central differences along time, rows and columns of some frames; one-sided at the edges, as `numpy.gradient`."""
    with_neighbours = video[max(0, first - 1) : end + 1].double()
    time = torch.gradient(with_neighbours, dim=0)[0][min(first, 1) :][: end - first]
    some = video[first:end].double()
    return time, *torch.gradient(some, dim=(1, 2))


class Hog3dFrontEnd(FrontEnd):
    """Clips of whole frames as `hog3d`: a feature for each bin, and for each cell what other front ends call a frame.

    Args:
        frames: A clip is brought to so many, between neighbours linearly.
        cell: See `hog3d`.
        bins: See `hog3d`.
    """

    def __init__(self, frames: int = 50, cell: Sequence[int] = (5, 5, 6), bins: int = 9) -> None:
        super().__init__(2 * bins, "none")
        if frames < max(2, cell[0]) or min(cell) < 1:
            raise EmotionError(f"hog3d: frames={frames} hold no cell of {list(cell)} frames, rows and columns")
        self.clip_frames, self.cell, self.bins = frames, tuple(cell), bins

    def present(self, batch: dict[str, Any]) -> Tensor:
        """See `FrontEnd.present`."""
        return batch["face_mask"].any(dim=1)

    def rows_of(self, batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """See `FrontEnd.rows_of`."""
        faces, mask = batch["faces"], batch["face_mask"]
        cells = [self.clip_frames // self.cell[0], faces.shape[3] // self.cell[1], faces.shape[4] // self.cell[2]]
        features = torch.zeros(len(faces), 2 * self.bins, math.prod(cells), device=faces.device)
        for row in mask.any(dim=1).nonzero()[:, 0].tolist():
            features[row] = hog3d(self._clip(faces[row, mask[row]]), self.cell, self.bins).reshape(2 * self.bins, -1)
        return features, mask.any(dim=1) * features.shape[2]

    def forward(self, batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """Shape (B, 2 × bins, cells), and the number of cells, 0 where there is no clip."""
        return self.rows_of(batch)

    def _clip(self, pictures: Tensor) -> Tensor:
        """Brightness from 0 to 1, shape (frames, H, W), of pictures, shape (F, C, H, W), uint8."""
        grey = pictures.float() / 255
        if grey.shape[1] == 3:
            grey = (grey * torch.tensor(_GREY, device=grey.device)[:, None, None]).sum(dim=1, keepdim=True)
        if len(grey) == self.clip_frames:
            return grey[:, 0]
        flat = grey.flatten(1).T[None]  # (1, H × W, F)
        longer = nn.functional.interpolate(flat, self.clip_frames, mode="linear", align_corners=True)
        return longer[0].T.unflatten(1, grey.shape[2:])
