"""Vectors for each recording without trainable weights: functionals and spline coefficients of features."""

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from emotion.config.fields import Count
from emotion.features import functionals
from emotion.features.splines import Splines
from emotion.models.base import FeatureBackbone


class Functionals(FeatureBackbone):
    """Statistics of each feature over the frames of an item.

    Args:
        num_features: Number of features of a frame.
        names: See `emotion.features.functionals.Functionals`.
    """

    def __init__(self, num_features: int, names: Sequence[str] = ("mean", "std")) -> None:
        super().__init__()
        compute = functionals.Functionals(names)
        self.pool = _Pool(lambda features, frames: compute(features, frames).transpose(1, 2).flatten(1))
        self.frame_dim, self.embed_dim = num_features, len(compute.names) * num_features

    def encode_frames(self, features: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
        """See `FeatureBackbone.encode_frames`: the features themselves."""
        return features, frames


class SplineCoefficients(FeatureBackbone):
    """B-spline coefficients of each feature over the duration of an item; see `Splines`.

    Args:
        num_features: Number of features of a frame.
        n_coefficients: Number of coefficients of each feature.
        order: Order of the splines; 4 is cubic.
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

    def forward(self, features: Tensor, frames: Tensor) -> Tensor:
        return self.function(features, frames)
