"""Additional metrics, of the group `metrics`."""

from abc import ABC, abstractmethod

import numpy as np

from emotion.config.fields import Count


class Metric(ABC):
    """Base class of additional metrics; `metrics.json` has them as `<split>/<name>`."""

    @abstractmethod
    def __call__(self, truth: np.ndarray, probabilities: np.ndarray) -> float:
        """Compute the metric.

        Args:
            truth: True class indices, shape (n,).
            probabilities: Shape (n, num_classes), float64.
        """


class TopKAccuracy(Metric):
    """Fraction of recordings whose true class is among the k most probable ones, in [0, 1].

    Args:
        k: Number of classes.

    Example:
        >>> TopKAccuracy(k=2)(np.array([0, 2]), np.array([[0.3, 0.6, 0.1], [0.6, 0.3, 0.1]]))
        0.5
    """

    def __init__(self, k: Count = 2) -> None:
        self.k = k

    def __call__(self, truth: np.ndarray, probabilities: np.ndarray) -> float:
        """See `Metric.__call__`."""
        most = np.argsort(-probabilities, axis=1, kind="stable")[:, : self.k]
        return float((most == truth[:, None]).any(axis=1).mean())
