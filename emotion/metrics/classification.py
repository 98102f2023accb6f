"""Metrics of class indices of shape (n,).

The recall of a class without recordings is NaN and is left out of averages. Every function raises `EmotionError` if
there are no recordings.
"""

import numpy as np

from emotion.errors import EmotionError


def confusion_matrix(truth: np.ndarray, predicted: np.ndarray, num_classes: int) -> np.ndarray:
    """Count recordings by true class (rows) and predicted class (columns).

    Args:
        truth: True class indices, shape (n,).
        predicted: Predicted class indices, shape (n,).
        num_classes: The number of classes.

    Returns:
        Array of shape (num_classes, num_classes), int64.

    Raises:
        EmotionError: there are no recordings, the lengths differ, or an index is outside [0, num_classes).

    Example:
        >>> confusion_matrix(np.array([0, 0, 1]), np.array([0, 1, 1]), 2)
        array([[1, 1],
               [0, 1]])
    """
    truth, predicted = np.asarray(truth), np.asarray(predicted)
    if not len(truth):
        raise EmotionError("metrics need at least one recording; there are no recordings")
    if truth.shape != predicted.shape:
        raise EmotionError(f"{len(truth)} labels do not match {len(predicted)} predictions")
    if min(truth.min(), predicted.min()) < 0 or max(truth.max(), predicted.max()) >= num_classes:
        raise EmotionError(f"a class index is not in 0 to {num_classes - 1}")
    return np.bincount(truth * num_classes + predicted, minlength=num_classes**2).reshape(num_classes, num_classes)


def recall_per_class(truth: np.ndarray, predicted: np.ndarray, num_classes: int) -> np.ndarray:
    """Compute the recall of each class, TP / (TP + FN).

    Returns:
        Array of shape (num_classes,), in [0, 1]. NaN for a class without recordings.

    Example:
        >>> recall_per_class(np.array([0, 0, 1]), np.array([0, 1, 1]), 3)
        array([0.5, 1. , nan])
    """
    matrix = confusion_matrix(truth, predicted, num_classes)
    support = matrix.sum(axis=1)
    return np.divide(matrix.diagonal(), support, out=np.full(num_classes, np.nan), where=support > 0)


def precision_per_class(truth: np.ndarray, predicted: np.ndarray, num_classes: int) -> np.ndarray:
    """Compute the precision of each class, TP / (TP + FP).

    Returns:
        Array of shape (num_classes,), in [0, 1]. NaN for a class that is never predicted.

    Example:
        >>> precision_per_class(np.array([0, 0, 1]), np.array([0, 1, 1]), 3)
        array([1. , 0.5, nan])
    """
    return recall_per_class(predicted, truth, num_classes)


def unweighted_average_recall(truth: np.ndarray, predicted: np.ndarray, num_classes: int) -> float:
    """Compute UAR: the mean recall over classes, in [0, 1]. Also called macro recall or balanced accuracy.

    Example:
        >>> unweighted_average_recall(np.array([0, 0, 1]), np.array([0, 1, 1]), 2)
        0.75
    """
    return float(np.nanmean(recall_per_class(truth, predicted, num_classes)))


def weighted_average_recall(truth: np.ndarray, predicted: np.ndarray, num_classes: int) -> float:
    """Compute WAR: the recalls weighted by support, in [0, 1]. Equal to accuracy.

    Example:
        >>> weighted_average_recall(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1]), 2)
        0.75
    """
    matrix = confusion_matrix(truth, predicted, num_classes)
    return float(matrix.trace() / matrix.sum())


def macro_f1(truth: np.ndarray, predicted: np.ndarray, num_classes: int) -> float:
    """Compute the mean of F1 = 2 TP / (2 TP + FP + FN) over the classes that are true or predicted, in [0, 1].

    Example:
        >>> round(macro_f1(np.array([0, 0, 1]), np.array([0, 1, 1]), 2), 3)
        0.667
    """
    matrix = confusion_matrix(truth, predicted, num_classes)
    total = matrix.sum(axis=0) + matrix.sum(axis=1)
    occurs = total > 0
    return float(np.mean(2 * matrix.diagonal()[occurs] / total[occurs]))


def log_loss(truth: np.ndarray, probabilities: np.ndarray) -> float:
    """Compute the mean negative log-probability of the true class, in nats, at least 0.

    Args:
        truth: True class indices, shape (n,).
        probabilities: Shape (n, num_classes). Clipped to at least 1e-12, so that the loss stays finite.

    Example:
        >>> round(log_loss(np.array([0]), np.array([[0.5, 0.5]])), 3)
        0.693
    """
    of_truth = np.asarray(probabilities, np.float64)[np.arange(len(truth)), truth]
    return float(-np.log(np.maximum(of_truth, 1e-12)).mean())


def expected_calibration_error(truth: np.ndarray, probabilities: np.ndarray, n_bins: int = 15) -> float:
    """Compute the expected calibration error (Guo et al., 2017, https://arxiv.org/abs/1706.04599), in [0, 1].

    Recordings are binned by confidence, the probability of the predicted class. The error is the absolute difference
    between mean confidence and accuracy of a bin, averaged over bins and weighted by their number of recordings.

    Args:
        truth: True class indices, shape (n,).
        probabilities: Shape (n, num_classes).
        n_bins: Number of bins of equal width (default: 15).

    Example:
        >>> expected_calibration_error(np.array([0, 1]), np.array([[0.75, 0.25], [0.75, 0.25]]))
        0.25
    """
    confidence, accuracy, count = reliability_curve(truth, probabilities, n_bins)
    return float((np.abs(confidence - accuracy) * count).sum() / count.sum())


def reliability_curve(
    truth: np.ndarray, probabilities: np.ndarray, n_bins: int = 15
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return mean confidence, accuracy and number of recordings of each bin of the confidence that has recordings.

    Args:
        truth: See `expected_calibration_error`.
        probabilities: See `expected_calibration_error`.
        n_bins: See `expected_calibration_error`.

    Example:
        >>> reliability_curve(np.array([0, 1]), np.array([[0.75, 0.25], [0.75, 0.25]]))
        (array([0.75]), array([0.5]), array([2]))
    """
    probabilities = np.asarray(probabilities, np.float64)
    confidence, correct = probabilities.max(axis=1), probabilities.argmax(axis=1) == truth
    bin_index = np.minimum((confidence * n_bins).astype(int), n_bins - 1)
    count = np.bincount(bin_index, minlength=n_bins)
    filled = count > 0
    sums = (np.bincount(bin_index, own, n_bins)[filled] for own in (confidence, correct))
    mean, accuracy = (total / count[filled] for total in sums)
    return mean, accuracy, count[filled]


def brier_score(truth: np.ndarray, probabilities: np.ndarray) -> float:
    """Compute the Brier score (Brier, 1950): the mean squared distance of probabilities from the true class, in [0, 2].

    Args:
        truth: True class indices, shape (n,).
        probabilities: Shape (n, num_classes).

    Example:
        >>> brier_score(np.array([0, 1]), np.array([[1.0, 0.0], [0.5, 0.5]]))
        0.25
    """
    probabilities = np.asarray(probabilities, np.float64)
    return float(np.square(probabilities - np.eye(probabilities.shape[1])[truth]).sum(axis=1).mean())


def risk_coverage_curve(
    truth: np.ndarray, probabilities: np.ndarray, predicted: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the error rate among the most confident recordings (El-Yaniv & Wiener, 2010).

    Args:
        truth: True class indices, shape (n,).
        probabilities: Shape (n, num_classes); the confidence is the largest of a row.
        predicted: Predicted class indices, shape (n,) (default: the most probable class).

    Returns:
        Coverage, the fraction of recordings that are predicted, and risk, their error rate, each of shape (n,), from
        the most confident recording to all of them.

    Example:
        >>> coverage, risk = risk_coverage_curve(np.array([0, 0]), np.array([[0.6, 0.4], [0.1, 0.9]]))
        >>> coverage.tolist(), risk.tolist()
        ([0.5, 1.0], [1.0, 0.5])
    """
    probabilities = np.asarray(probabilities, np.float64)
    chosen = probabilities.argmax(axis=1) if predicted is None else predicted
    order = np.argsort(-probabilities.max(axis=1), kind="stable")
    count = np.arange(1, len(order) + 1)
    return count / len(order), np.cumsum(chosen[order] != truth[order]) / count


def area_under_risk_coverage(
    truth: np.ndarray, probabilities: np.ndarray, predicted: np.ndarray | None = None
) -> float:
    """Compute the area under `risk_coverage_curve` (AURC; Geifman & El-Yaniv, 2017), in [0, 1]; lower is better.

    Args:
        truth: See `risk_coverage_curve`.
        probabilities: See `risk_coverage_curve`.
        predicted: See `risk_coverage_curve`.

    Example:
        >>> area_under_risk_coverage(np.array([0, 0]), np.array([[0.6, 0.4], [0.1, 0.9]]))
        0.75
    """
    return float(risk_coverage_curve(truth, probabilities, predicted)[1].mean())


def classification_metrics(
    truth: np.ndarray, probabilities: np.ndarray, classes: tuple[str, ...], predicted: np.ndarray | None = None
) -> dict[str, float]:
    """Compute all classification metrics of a split.

    Args:
        truth: True class indices, shape (n,).
        probabilities: Shape (n, len(classes)).
        classes: Class names.
        predicted: Predicted class indices, shape (n,) (default: the most probable class).

    Returns:
        The metrics by key: `uar`, `war`, `macro_f1`, `loss`, `calibration_error`, `brier_score`, `aurc`,
        `recall/<class>` for each class with recordings, and `precision/<class>` for each class that is predicted.
    """
    size = len(classes)
    chosen: np.ndarray = np.asarray(probabilities).argmax(axis=1) if predicted is None else predicted
    per_class = {
        "recall": recall_per_class(truth, chosen, size),
        "precision": precision_per_class(truth, chosen, size),
    }
    return {
        "uar": unweighted_average_recall(truth, chosen, size),
        "war": weighted_average_recall(truth, chosen, size),
        "macro_f1": macro_f1(truth, chosen, size),
        "loss": log_loss(truth, probabilities),
        "calibration_error": expected_calibration_error(truth, probabilities),
        "brier_score": brier_score(truth, probabilities),
        "aurc": area_under_risk_coverage(truth, probabilities, chosen),
        **{
            f"{metric}/{name}": float(value)
            for metric, values in per_class.items()
            for name, value in zip(classes, values, strict=True)
            if not np.isnan(value)
        },
    }
