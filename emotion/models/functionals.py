"""A vector for each recording, without learning: what its features are like on the whole, or their course."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from emotion.errors import EmotionError, suggest
from emotion.features.base import frame_mask
from emotion.features.splines import Splines
from emotion.models.base import FeatureNetwork

_QUANTILES = {
    "minimum": 0.0,
    "percentile_5": 0.05,
    "lower_quartile": 0.25,
    "median": 0.5,
    "upper_quartile": 0.75,
    "percentile_95": 0.95,
    "maximum": 1.0,
}
_MOMENTS = ("mean", "deviation", "skewness", "kurtosis")


class Functionals(FeatureNetwork):
    """Statistics of each feature over an item's frames, as `numpy` and `scipy.stats` define them.

    Args:
        num_features: Of a frame.
        names: Of `mean`, `deviation`, `skewness` and (excess) `kurtosis`; `minimum`, `percentile_5`, `lower_quartile`,
            `median`, `upper_quartile`, `percentile_95` and `maximum`.
    """

    def __init__(self, num_features: int, names: Sequence[str] = ("mean", "deviation")) -> None:
        super().__init__()
        known = (*_MOMENTS, *_QUANTILES)
        for name in names:
            if name not in known:
                raise EmotionError(f"there is no functional {name}: {suggest(name, known)}")
        self.names, self.pool = tuple(names), _Pool(self._of)
        self.row_dim, self.embed_dim = num_features, len(self.names) * num_features

    def sequence(self, features: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
        """See `FeatureNetwork.sequence`: the features themselves."""
        return features, frames

    def _of(self, features: Tensor, frames: Tensor) -> Tensor:
        moments = _moments(features, frames)
        wanted = [name for name in self.names if name in _QUANTILES]
        quantiles = dict(zip(wanted, _quantiles(features, frames, [_QUANTILES[name] for name in wanted]), strict=True))
        return torch.cat([(moments | quantiles)[name] for name in self.names], dim=1)


class SplineCoefficients(FeatureNetwork):
    """The course of each feature over an item, wherever that is long or short; see `Splines`.

    Args:
        num_features: Of a frame.
        coefficients: Of each feature.
        order: Of the splines: 4 is cubic.
    """

    def __init__(self, num_features: int, coefficients: int = 14, order: int = 4) -> None:
        super().__init__()
        splines = Splines(coefficients, order)
        self.pool = _Pool(lambda features, frames: splines(features, frames).flatten(1))
        self.row_dim, self.embed_dim = num_features, coefficients * num_features

    def sequence(self, features: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
        """See `FeatureNetwork.sequence`: the features themselves."""
        return features, frames


class _Pool(nn.Module):
    def __init__(self, function: object) -> None:
        super().__init__()
        self.function = function

    def forward(self, rows: Tensor, frames: Tensor) -> Tensor:
        return self.function(rows, frames)


def _moments(features: Tensor, frames: Tensor) -> dict[str, Tensor]:
    mask, count = frame_mask(frames, features.shape[2])[:, None], frames[:, None].clamp(min=1)
    mean = torch.where(mask, features, 0.0).sum(dim=2) / count
    centred = torch.where(mask, features - mean[..., None], 0.0)
    variance, third, fourth = (centred.pow(power).sum(dim=2) / count for power in (2, 3, 4))
    varies = variance > 1e-10  # a feature that does not has no shape
    safe = torch.where(varies, variance, 1.0)
    skewness = torch.where(varies, third / safe.pow(1.5), 0.0)
    kurtosis = torch.where(varies, fourth / safe.square() - 3, 0.0)
    return {"mean": mean, "deviation": variance.sqrt(), "skewness": skewness, "kurtosis": kurtosis}


def _quantiles(features: Tensor, frames: Tensor, parts: Sequence[float]) -> list[Tensor]:
    """Quantiles, between neighbours linearly, each of shape (B, F)."""
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
