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
    """

    def __init__(self, coefficients: int, order: int) -> None:
        if coefficients < order:
            raise EmotionError(f"splines of order {order} need at least {order} coefficients; got {coefficients}")
        inner = np.linspace(0, 1, coefficients - order + 2)
        self.knots, self.order = np.concatenate([[0.0] * (order - 1), inner, [1.0] * (order - 1)]), order
        self.coefficients = coefficients
        self._fits: dict[int, Tensor] = {}

    def __call__(self, features: Tensor, frames: Tensor) -> Tensor:
        """Shape (B, F, coefficients), of features, shape (B, F, N), of items with `frames`, shape (B,).

        Where an item has fewer frames than there are coefficients, they are those of the least norm.
        """
        return torch.stack(
            [item[:, :n] @ self._fit(n).to(item).T for item, n in zip(features, frames.tolist(), strict=True)]
        )

    def _fit(self, count: int) -> Tensor:
        """What fits the splines to values at so many times, shape (coefficients, count)."""
        if count not in self._fits:
            times = np.linspace(0, 1, count) if count > 1 else np.array([0.5])
            basis = BSpline.design_matrix(times, self.knots, self.order - 1).toarray()
            self._fits[count] = torch.from_numpy(np.linalg.pinv(basis)).float()
        return self._fits[count]
