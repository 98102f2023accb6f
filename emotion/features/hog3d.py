"""Histograms of the directions in which brightness changes, in space and in time."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from emotion.batch import Batch, get_faces
from emotion.errors import EmotionError
from emotion.features.normalization import FrontEnd

_GREY = (0.2989, 0.587, 0.114)


def hog3d(video: Tensor, cell: Sequence[int] = (5, 5, 6), bins: int = 9, length: int | None = None) -> Tensor:
    """Histograms of gradient directions over the cells of a video, after Kläser et al. (2008).

    https://doi.org/10.5244/C.22.99. Where they propose the faces of a regular polyhedron, an azimuth (from -π to π, in
    the picture) and a polar angle (from 0 to π, from the axis of time) have a histogram each, in which a value counts
    as much as its gradient is long. Each histogram has a Euclidean length of 1, or is zero where nothing changes. What
    is beyond the last whole cell is left out. Computed in double precision, for angles that lie at a bin's edge.

    Args:
        video: Brightness, on any scale, shape (T, H, W).
        cell: Its frames, rows and columns.
        bins: Of each histogram.
        length: Frames to which the video is brought, between neighbours linearly; by default it keeps its own.

    Returns:
        Shape (2, bins, length // cell[0], H // cell[1], W // cell[2]): of azimuths, then of polar angles.
    """
    length = length or len(video)
    frames, rows, columns = (whole // side for whole, side in zip((length, *video.shape[1:]), cell, strict=True))
    place = torch.arange(rows, device=video.device).repeat_interleave(cell[1])[:, None] * columns
    place = (place + torch.arange(columns, device=video.device).repeat_interleave(cell[2])) * bins
    inside = (slice(None), slice(rows * cell[1]), slice(columns * cell[2]))
    found = torch.empty(frames, 2, rows * columns * bins, dtype=torch.float64, device=video.device)
    # A slab of cells at a time: it stays in the processor's cache, and memory does not grow with the video.
    for slab, histograms in enumerate(found):
        first = slab * cell[0]
        time, down, across = (along[inside] for along in _gradients(video, length, first, first + cell[0]))
        flat = across.square().add_(down.square())
        steepness = (flat + time.square()).sqrt_().flatten()
        azimuth = torch.atan2(down, across).div_(2 * math.pi).add_(0.5)
        for angle, histogram in zip((azimuth, torch.atan2(flat.sqrt_(), time).div_(math.pi)), histograms, strict=True):
            number = angle.mul_(bins).long().clamp_(max=bins - 1).add_(place).flatten()
            histogram.zero_().index_add_(0, number, steepness)
    normalized = nn.functional.normalize(found.view(frames, 2, rows, columns, bins), dim=4, eps=1e-6)
    return normalized.permute(1, 4, 0, 2, 3).float()


def _gradients(video: Tensor, length: int, first: int, end: int) -> tuple[Tensor, Tensor, Tensor]:
    """Central differences along time, rows and columns of some frames; one-sided at the edges, as `numpy.gradient`."""
    before = min(first, 1)
    some = _frames(video, length, first - before, min(length, end + 1))
    time = torch.gradient(some, dim=0)[0][before:][: end - first]
    down, across = torch.gradient(some[before:][: end - first], dim=(1, 2))
    return time, down, across


def _frames(video: Tensor, length: int, first: int, end: int) -> Tensor:
    """Some frames of a video that is brought to `length`."""
    if length == len(video):
        return video[first:end].double()
    place = torch.arange(first, end, device=video.device).double() * ((len(video) - 1) / (length - 1))
    before = place.long().clamp_(max=len(video) - 1)
    after, share = (before + 1).clamp_(max=len(video) - 1), (place - before)[:, None, None]
    return video[before].double().lerp_(video[after].double(), share)


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

    def present(self, batch: Batch) -> Tensor:
        """See `FrontEnd.present`."""
        return get_faces(batch)[1].any(dim=1)

    def compute_features(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """See `FrontEnd.compute_features`."""
        faces, mask = get_faces(batch)
        cells = [self.clip_frames // self.cell[0], faces.shape[3] // self.cell[1], faces.shape[4] // self.cell[2]]
        features = torch.zeros(len(faces), 2 * self.bins, math.prod(cells), device=faces.device)
        for row in mask.any(dim=1).nonzero()[:, 0].tolist():
            grey = _grey(faces[row, mask[row]])
            features[row] = hog3d(grey, self.cell, self.bins, self.clip_frames).reshape(2 * self.bins, -1)
        return features, mask.any(dim=1) * features.shape[2]

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Shape (B, 2 × bins, cells), and the number of cells, 0 where there is no clip."""
        return self.compute_features(batch)


def _grey(pictures: Tensor) -> Tensor:
    """Brightness, shape (F, H, W), of pictures, shape (F, 1 or 3, H, W)."""
    if pictures.shape[1] == 1:
        return pictures[:, 0]
    return (pictures.float() * torch.tensor(_GREY, device=pictures.device)[:, None, None]).sum(dim=1)
