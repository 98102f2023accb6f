"""A vector for each recording, without learning: what its features are like on the whole, or their course."""

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from emotion.config.fields import Count
from emotion.features import functionals
from emotion.features.splines import Splines
from emotion.models.base import FeatureBackbone


class Functionals(FeatureBackbone):
    """Statistics of each feature over an item's frames.

    Args:
        num_features: Of a frame.
        names: See `emotion.features.functionals.Functionals`.
    """

    def __init__(self, num_features: int, names: Sequence[str] = ("mean", "std")) -> None:
        super().__init__()
        of_each = functionals.Functionals(names)
        self.pool = _Pool(lambda features, frames: of_each(features, frames).transpose(1, 2).flatten(1))
        self.frame_dim, self.embed_dim = num_features, len(of_each.names) * num_features

    def encode_frames(self, features: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
        """See `FeatureBackbone.encode_frames`: the features themselves."""
        return features, frames


class SplineCoefficients(FeatureBackbone):
    """The course of each feature over an item, wherever that is long or short; see `Splines`.

    Args:
        num_features: Of a frame.
        n_coefficients: Number of coefficients of each feature.
        order: Of the splines: 4 is cubic.
    """

    def __init__(self, num_features: int, n_coefficients: Count = 14, order: Count = 4) -> None:
        super().__init__()
        splines = Splines(n_coefficients, order)
        self.pool = _Pool(lambda features, frames: splines(features, frames).flatten(1))
        self.frame_dim, self.embed_dim = num_features, n_coefficients * num_features

    def encode_frames(self, features: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
        """See `FeatureBackbone.encode_frames`: the features themselves."""
        return features, frames


class _Pool(nn.Module):
    def __init__(self, function: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, rows: Tensor, frames: Tensor) -> Tensor:
        return self.function(rows, frames)
