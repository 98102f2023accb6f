"""Functionals: statistics of features over the frames of an item."""

from collections.abc import Sequence

import torch
from torch import Tensor

from emotion.batch import frame_mask
from emotion.errors import EmotionError, suggest

_QUANTILES = {
    "minimum": 0.0,
    "percentile_5": 0.05,
    "lower_quartile": 0.25,
    "median": 0.5,
    "upper_quartile": 0.75,
    "percentile_95": 0.95,
    "maximum": 1.0,
}
_MOMENTS = ("mean", "std", "skewness", "kurtosis")


class Functionals:
    """Compute statistics of each feature over an item's frames, as NumPy and `scipy.stats` define them.

    Args:
        names: Names among `mean`, `std`, `skewness`, `kurtosis` (excess), `minimum`, `percentile_5`, `lower_quartile`,
            `median`, `upper_quartile`, `percentile_95` and `maximum`.

    Raises:
        EmotionError: a name is unknown.
    """

    def __init__(self, names: Sequence[str]) -> None:
        known = (*_MOMENTS, *_QUANTILES)
        for name in names:
            if name not in known:
                raise EmotionError(f"there is no functional {name}: {suggest(name, known)}")
        self.names = tuple(names)

    def __call__(self, features: Tensor, frames: Tensor) -> Tensor:
        """Return functionals, shape (B, F, n_functionals).

        Args:
            features: Features, shape (B, F, N).
            frames: Number of frames of each item, shape (B,).
        """
        moments = _moments(features, frames)
        wanted = [name for name in self.names if name in _QUANTILES]
        quantiles = dict(zip(wanted, _quantiles(features, frames, [_QUANTILES[name] for name in wanted]), strict=True))
        return torch.stack([(moments | quantiles)[name] for name in self.names], dim=2)


def _moments(features: Tensor, frames: Tensor) -> dict[str, Tensor]:
    mask, count = frame_mask(frames, features.shape[2])[:, None], frames[:, None].clamp(min=1)
    mean = torch.where(mask, features, 0.0).sum(dim=2) / count
    centred = torch.where(mask, features - mean[..., None], 0.0)
    variance, third, fourth = (centred.pow(power).sum(dim=2) / count for power in (2, 3, 4))
    varies = variance > 1e-10  # the shape of the distribution of a constant is undefined
    safe = torch.where(varies, variance, 1.0)
    skewness = torch.where(varies, third / safe.pow(1.5), 0.0)
    kurtosis = torch.where(varies, fourth / safe.square() - 3, 0.0)
    return {"mean": mean, "std": variance.sqrt(), "skewness": skewness, "kurtosis": kurtosis}


def _quantiles(features: Tensor, frames: Tensor, parts: Sequence[float]) -> list[Tensor]:
    """Return quantiles with linear interpolation, each of shape (B, F)."""
    beyond = ~frame_mask(frames, features.shape[2])[:, None]
    ordered = features.masked_fill(beyond, torch.inf).sort(dim=2).values
    found = []
    for part in parts:
        position = part * (frames - 1).clamp(min=0).double()
        below = position.floor().long()
        above = torch.minimum(below + 1, (frames - 1).clamp(min=0))
        low, high = (
            ordered.gather(2, at[:, None, None].expand(-1, ordered.shape[1], 1))[..., 0] for at in (below, above)
        )
        found.append(low + (high - low) * (position - below).to(low)[:, None])
    return found
