"""Log-linear pooling of the probabilities of several models (Genest & Zidek, 1986)."""

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

_LEAST = 0.01  # a model with no weight could not answer where it alone has input


def pool(log_probabilities: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the probabilities that are proportional to the weighted product of those of the models.

    Args:
        log_probabilities: Shape (M, N, C).
        weights: Weight of each model, shape (M,).

    Returns:
        Shape (N, C).
    """
    return softmax(np.tensordot(weights, log_probabilities, axes=1), axis=1)


def fit_weights(log_probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Fit the weights of models by maximum likelihood; their sum calibrates the pooled probabilities.

    The negative log-likelihood is convex in the weights. https://doi.org/10.1214/ss/1177013825.

    Args:
        log_probabilities: Of N recordings that no model was trained on, shape (M, N, C).
        labels: Class indices, shape (N,).

    Returns:
        Shape (M,), at least 0.01 each.
    """
    rows = np.arange(len(labels))

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        logits = np.tensordot(weights, log_probabilities, axes=1)
        logs = log_softmax(logits, axis=1)
        expected = (log_probabilities * np.exp(logs)).sum(axis=2)
        gradient = (expected - log_probabilities[:, rows, labels]).mean(axis=1)
        return -float(logs[rows, labels].mean()), gradient

    count = len(log_probabilities)
    start, bounds = np.full(count, 1 / count), [(_LEAST, None)] * count
    return minimize(loss, start, jac=True, bounds=bounds, method="L-BFGS-B").x
