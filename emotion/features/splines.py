"""The course of features over an item as coefficients of B-splines."""

import numpy as np
import torch
from scipy.interpolate import BSpline
from torch import Tensor

from emotion.errors import EmotionError


class Splines:
    """Fits B-splines by least squares to values at evenly spaced times, from an item's start to its end.

    Args:
        coefficients: Of each feature.
        order: Of the splines: 4 is cubic. Knots are evenly spaced.
        deviation: Whether the standard deviation of values from their spline, which a few coefficients say nothing of,
            follows them.
    """

    def __init__(self, coefficients: int, order: int, deviation: bool = False) -> None:
        if coefficients < order:
            raise EmotionError(f"splines of order {order} need at least {order} coefficients; got {coefficients}")
        inner = np.linspace(0, 1, coefficients - order + 2)
        self.knots, self.order = np.concatenate([[0.0] * (order - 1), inner, [1.0] * (order - 1)]), order
        self.deviation, self.columns = deviation, coefficients + deviation
        self.coefficients = coefficients
        self._bases: dict[int, tuple[Tensor, Tensor]] = {}

    def __call__(self, features: Tensor, frames: Tensor) -> Tensor:
        """Shape (B, F, columns), of features, shape (B, F, N), of items with `frames`, shape (B,).

        Where an item has fewer frames than there are coefficients, they are those of the least norm.
        """
        return torch.stack([self._of(item[:, :n]) for item, n in zip(features, frames.tolist(), strict=True)])

    def _of(self, item: Tensor) -> Tensor:
        basis, fit = (matrix.to(item) for matrix in self._basis(item.shape[1]))
        coefficients = item @ fit.T
        if not self.deviation:
            return coefficients
        left = (item - coefficients @ basis.T).square().mean(dim=1, keepdim=True).sqrt()
        return torch.cat([coefficients, left], dim=1)

    def _basis(self, count: int) -> tuple[Tensor, Tensor]:
        """The splines at so many times, shape (count, coefficients), and what fits them to values there, transposed."""
        if count not in self._bases:
            times = np.linspace(0, 1, count) if count > 1 else np.array([0.5])
            basis = BSpline.design_matrix(times, self.knots, self.order - 1).toarray()
            self._bases[count] = torch.from_numpy(basis).float(), torch.from_numpy(np.linalg.pinv(basis)).float()
        return self._bases[count]
