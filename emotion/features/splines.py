"""B-spline coefficients of features over time."""

import numpy as np
import torch
from scipy.interpolate import BSpline
from torch import Tensor

from emotion.errors import EmotionError


class Splines:
    """Fit B-splines with evenly spaced knots to features over time, by least squares.

    Args:
        n_coefficients: Number of coefficients of each feature.
        order: Order of the splines; 4 is cubic.

    Raises:
        EmotionError: there are fewer coefficients than `order`.
    """

    def __init__(self, n_coefficients: int, order: int) -> None:
        if n_coefficients < order:
            raise EmotionError(f"splines of order {order} need at least {order} coefficients; got {n_coefficients}")
        inner = np.linspace(0, 1, n_coefficients - order + 2)
        self.knots, self.order = np.concatenate([[0.0] * (order - 1), inner, [1.0] * (order - 1)]), order
        self._fits: dict[int, Tensor] = {}

    def __call__(self, features: Tensor, frames: Tensor) -> Tensor:
        """Return the coefficients, shape (B, F, n_coefficients).

        If an item has fewer frames than coefficients, the solution has the least norm.

        Args:
            features: Features, shape (B, F, N).
            frames: Number of frames of each item, shape (B,).
        """
        return torch.stack(
            [item[:, :n] @ self._fit(n).to(item).T for item, n in zip(features, frames.tolist(), strict=True)]
        )

    def _fit(self, count: int) -> Tensor:
        """Return the matrix from `count` values to coefficients, shape (n_coefficients, count)."""
        if count not in self._fits:
            times = np.linspace(0, 1, count) if count > 1 else np.array([0.5])
            basis = BSpline.design_matrix(times, self.knots, self.order - 1).toarray()
            self._fits[count] = torch.from_numpy(np.linalg.pinv(basis)).float()
        return self._fits[count]
