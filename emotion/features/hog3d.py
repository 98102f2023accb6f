"""HOG3D: histograms of spatio-temporal gradients."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from emotion.batch import Batch, get_faces
from emotion.errors import EmotionError
from emotion.features.normalization import FrontEnd

_GREY = (0.2989, 0.587, 0.114)


def hog3d(video: Tensor, cell: Sequence[int] = (5, 5, 6), bins: int = 9, length: int | None = None) -> Tensor:
    """Compute histograms of gradient directions over the cells of a video, after Kläser et al. (2008).

    https://doi.org/10.5244/C.22.99. Instead of the faces of a regular polyhedron, azimuth (in the image plane, from -π
    to π) and polar angle (from the time axis, from 0 to π) have a histogram each, weighted by the gradient magnitude.
    Histograms have unit Euclidean norm, or are zero if there is no gradient. Pixels beyond the last complete cell are
    ignored. Computations are in float64, since angles may lie at the edge of a bin.

    Args:
        video: Brightness, on any scale, shape (T, H, W).
        cell: Number of frames, rows and columns of a cell.
        bins: Number of bins of each histogram.
        length: Number of frames to which the video is resampled linearly (default: T).

    Returns:
        Histograms of azimuths, then of polar angles, shape (2, bins, length // cell[0], H // cell[1], W // cell[2]),
        float32.
    """
    length = length or len(video)
    frames, rows, columns = (whole // side for whole, side in zip((length, *video.shape[1:]), cell, strict=True))
    place = torch.arange(rows, device=video.device).repeat_interleave(cell[1])[:, None] * columns
    place = (place + torch.arange(columns, device=video.device).repeat_interleave(cell[2])) * bins
    inside = (slice(None), slice(rows * cell[1]), slice(columns * cell[2]))
    result = torch.empty(frames, 2, rows * columns * bins, dtype=torch.float64, device=video.device)
    # One slab of cells at a time fits the processor's cache, and memory does not grow with the video.
    for slab, histograms in enumerate(result):
        first = slab * cell[0]
        time, down, across = (along[inside] for along in _gradients(video, length, first, first + cell[0]))
        flat = across.square().add_(down.square())
        magnitude = (flat + time.square()).sqrt_().flatten()
        azimuth = torch.atan2(down, across).div_(2 * math.pi).add_(0.5)
        for angle, histogram in zip((azimuth, torch.atan2(flat.sqrt_(), time).div_(math.pi)), histograms, strict=True):
            number = angle.mul_(bins).long().clamp_(max=bins - 1).add_(place).flatten()
            histogram.zero_().index_add_(0, number, magnitude)
    normalized = nn.functional.normalize(result.view(frames, 2, rows, columns, bins), dim=4, eps=1e-6)
    return normalized.permute(1, 4, 0, 2, 3).float()


def _gradients(video: Tensor, length: int, first: int, end: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return central differences along time, rows and columns of some frames, as `numpy.gradient`."""
    before = min(first, 1)
    frames = _frames(video, length, first - before, min(length, end + 1))
    time = torch.gradient(frames, dim=0)[0][before:][: end - first]
    down, across = torch.gradient(frames[before:][: end - first], dim=(1, 2))
    return time, down, across


def _frames(video: Tensor, length: int, first: int, end: int) -> Tensor:
    """Return the frames from `first` to `end` of a video that is resampled to `length` frames."""
    if length == len(video):
        return video[first:end].double()
    place = torch.arange(first, end, device=video.device).double() * ((len(video) - 1) / (length - 1))
    before = place.long().clamp_(max=len(video) - 1)
    after, share = (before + 1).clamp_(max=len(video) - 1), (place - before)[:, None, None]
    return video[before].double().lerp_(video[after].double(), share)


class Hog3dFrontEnd(FrontEnd):
    """Compute `hog3d` of clips of whole frames: bins are features, and cells take the place of frames.

    Args:
        frames: Number of frames to which a clip is resampled (default: 50).
        cell: See `hog3d`.
        bins: See `hog3d`.

    Raises:
        EmotionError: a clip is shorter than a cell.
    """

    def __init__(self, frames: int = 50, cell: Sequence[int] = (5, 5, 6), bins: int = 9) -> None:
        super().__init__(2 * bins, "none")
        if frames < max(2, cell[0]) or min(cell) < 1:
            raise EmotionError(f"hog3d: frames={frames} is less than a cell of {list(cell)} frames, rows and columns")
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
        """Return histograms, shape (B, 2 * bins, n_cells), and the number of cells of each item, shape (B,)."""
        return self.compute_features(batch)


def _grey(images: Tensor) -> Tensor:
    """Return the brightness, shape (F, H, W), of images of shape (F, 1 or 3, H, W)."""
    if images.shape[1] == 1:
        return images[:, 0]
    return (images.float() * torch.tensor(_GREY, device=images.device)[:, None, None]).sum(dim=1)
