"""Metrics of rated values of shape (n,), such as valence. Recordings without a rating, NaN, are left out."""

from collections.abc import Callable, Sequence

import numpy as np


def concordance_correlation(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Compute the concordance correlation coefficient (CCC; Lin, 1989), in [-1, 1].

    It is 2 cov / (var + var' + (mean - mean')^2), with variances over n. A constant prediction has 0.

    Args:
        truth: Rated values, shape (n,).
        predicted: Predicted values, shape (n,).

    Returns:
        The coefficient; NaN if fewer than two recordings are rated, or all have the same rating and prediction.

    Example:
        >>> round(concordance_correlation(np.array([1.0, 2.0, 3.0]), np.array([2.0, 3.0, 4.0])), 3)
        0.571
    """
    truth, predicted = _rated(truth, predicted)
    if len(truth) < 2:
        return float("nan")
    covariance = ((truth - truth.mean()) * (predicted - predicted.mean())).mean()
    scale = truth.var() + predicted.var() + (truth.mean() - predicted.mean()) ** 2
    return float(2 * covariance / scale) if scale else float("nan")


def pearson_correlation(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Compute Pearson's correlation coefficient, in [-1, 1]; NaN if one side is constant.

    Example:
        >>> round(pearson_correlation(np.array([1.0, 2.0, 3.0]), np.array([2.0, 3.0, 4.0])), 3)
        1.0
    """
    truth, predicted = _rated(truth, predicted)
    if len(truth) < 2 or not truth.std() or not predicted.std():
        return float("nan")
    return float(np.corrcoef(truth, predicted)[0, 1])


def mean_squared_error(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Compute the mean squared error, in squared units of the ratings; NaN if no recording is rated.

    Example:
        >>> mean_squared_error(np.array([1.0, np.nan]), np.array([3.0, 0.0]))
        4.0
    """
    truth, predicted = _rated(truth, predicted)
    return float(np.square(truth - predicted).mean()) if len(truth) else float("nan")


def mean_absolute_error(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Compute the mean absolute error, in units of the ratings; NaN if no recording is rated.

    Example:
        >>> mean_absolute_error(np.array([1.0, 2.0]), np.array([3.0, 2.0]))
        1.0
    """
    truth, predicted = _rated(truth, predicted)
    return float(np.abs(truth - predicted).mean()) if len(truth) else float("nan")


METRICS: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "ccc": concordance_correlation,
    "pearson": pearson_correlation,
    "mse": mean_squared_error,
    "mae": mean_absolute_error,
}
"""The metrics by their keys."""


def regression_metrics(truth: np.ndarray, predicted: np.ndarray, targets: Sequence[str]) -> dict[str, float]:
    """Compute all metrics of rated values.

    Args:
        truth: Rated values, shape (n, len(targets)), NaN where unknown.
        predicted: Predicted values, shape (n, len(targets)).
        targets: Names of the ratings.

    Returns:
        `<metric>/<target>` for each of `METRICS` and each target for which it is defined, and `<metric>`, the mean over
        these targets; 0 for a correlation that is defined for none.
    """
    result: dict[str, float] = {}
    for name, metric in METRICS.items():
        values = {target: metric(truth[:, i], predicted[:, i]) for i, target in enumerate(targets)}
        known = {target: value for target, value in values.items() if not np.isnan(value)}
        result[name] = float(np.mean(list(known.values()))) if known else 0.0
        result |= {f"{name}/{target}": value for target, value in known.items()}
    return result


def _rated(truth: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    is_rated = ~np.isnan(truth)
    return np.asarray(truth, np.float64)[is_rated], np.asarray(predicted, np.float64)[is_rated]
