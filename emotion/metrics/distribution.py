"""Distances of predicted probabilities from the votes of annotators."""

import numpy as np

_TINY = 1e-12


def kl_divergence(votes: np.ndarray, probabilities: np.ndarray) -> float:
    """Compute the mean Kullback-Leibler divergence of the probabilities from the votes, in nats, at least 0.

    Args:
        votes: Share of each class in the votes, shape (n, num_classes), with a sum of 1 in each row.
        probabilities: Predicted probabilities, shape (n, num_classes); clipped to at least 1e-12.

    Example:
        >>> round(kl_divergence(np.array([[1.0, 0.0]]), np.array([[0.5, 0.5]])), 3)
        0.693
    """
    ratio = np.log(np.maximum(votes, _TINY)) - np.log(np.maximum(probabilities, _TINY))
    return float((votes * ratio).sum(axis=1).mean())


def js_divergence(votes: np.ndarray, probabilities: np.ndarray) -> float:
    """Compute the mean Jensen-Shannon divergence, in nats, between 0 and log 2.

    Example:
        >>> round(js_divergence(np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])), 3)
        0.693
    """
    middle = (votes + probabilities) / 2
    return (kl_divergence(votes, middle) + kl_divergence(probabilities, middle)) / 2


def cosine_similarity(votes: np.ndarray, probabilities: np.ndarray) -> float:
    """Compute the mean cosine of the angle between votes and probabilities, in [0, 1].

    Example:
        >>> cosine_similarity(np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]]))
        0.0
    """
    length = np.linalg.norm(votes, axis=1) * np.linalg.norm(probabilities, axis=1)
    return float(((votes * probabilities).sum(axis=1) / np.maximum(length, _TINY)).mean())


def distribution_metrics(votes: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """Compute all of them, as `kl_divergence`, `js_divergence` and `cosine_similarity`; arguments as of those."""
    votes, probabilities = np.asarray(votes, np.float64), np.asarray(probabilities, np.float64)
    metrics = (kl_divergence, js_divergence, cosine_similarity)
    return {metric.__name__: metric(votes, probabilities) for metric in metrics}
