"""How good predictions are. Every function takes class indices of shape (n,).

A class without a recording has no recall; averages over classes leave it out. With no recordings at all there is no
figure, so these functions raise.
"""

import numpy as np

from emotion.errors import EmotionError


def confusion_matrix(truth: np.ndarray, predicted: np.ndarray, num_classes: int) -> np.ndarray:
    """Count recordings by true class (rows) and predicted class (columns).

    Returns:
        Shape (num_classes, num_classes), int64.

    Raises:
        EmotionError: there are no recordings, the two differ in length, or an index is not below `num_classes`.

    Example:
        >>> confusion_matrix(np.array([0, 0, 1]), np.array([0, 1, 1]), 2)
        array([[1, 1],
               [0, 1]])
    """
    truth, predicted = np.asarray(truth), np.asarray(predicted)
    if not len(truth):
        raise EmotionError("there is nothing to measure: no recordings")
    if truth.shape != predicted.shape:
        raise EmotionError(f"{len(truth)} labels do not match {len(predicted)} predictions")
    if min(truth.min(), predicted.min()) < 0 or max(truth.max(), predicted.max()) >= num_classes:
        raise EmotionError(f"a class index is not in 0 to {num_classes - 1}")
    return np.bincount(truth * num_classes + predicted, minlength=num_classes**2).reshape(num_classes, num_classes)


def recalls(truth: np.ndarray, predicted: np.ndarray, num_classes: int) -> np.ndarray:
    """Recall of each class, TP / (TP + FN), in [0, 1]; NaN for a class without a recording. Shape (num_classes,).

    Example:
        >>> recalls(np.array([0, 0, 1]), np.array([0, 1, 1]), 3)
        array([0.5, 1. , nan])
    """
    matrix = confusion_matrix(truth, predicted, num_classes)
    support = matrix.sum(axis=1)
    return np.divide(matrix.diagonal(), support, out=np.full(num_classes, np.nan), where=support > 0)


def precisions(truth: np.ndarray, predicted: np.ndarray, num_classes: int) -> np.ndarray:
    """Precision of each class, TP / (TP + FP), in [0, 1]; NaN for a class never predicted. Shape (num_classes,).

    Example:
        >>> precisions(np.array([0, 0, 1]), np.array([0, 1, 1]), 3)
        array([1. , 0.5, nan])
    """
    return recalls(predicted, truth, num_classes)


def unweighted_average_recall(truth: np.ndarray, predicted: np.ndarray, num_classes: int) -> float:
    """UAR: the mean of the classes' recalls, in [0, 1]; also called macro recall and balanced accuracy.

    Example:
        >>> unweighted_average_recall(np.array([0, 0, 1]), np.array([0, 1, 1]), 2)
        0.75
    """
    return float(np.nanmean(recalls(truth, predicted, num_classes)))


def weighted_average_recall(truth: np.ndarray, predicted: np.ndarray, num_classes: int) -> float:
    """WAR: recalls weighted by support, which is accuracy, in [0, 1].

    Example:
        >>> weighted_average_recall(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1]), 2)
        0.75
    """
    matrix = confusion_matrix(truth, predicted, num_classes)
    return float(matrix.trace() / matrix.sum())


def macro_f1(truth: np.ndarray, predicted: np.ndarray, num_classes: int) -> float:
    """Mean over classes of F1 = 2 TP / (2 TP + FP + FN), in [0, 1], over the classes that occur in either.

    Example:
        >>> round(macro_f1(np.array([0, 0, 1]), np.array([0, 1, 1]), 2), 3)
        0.667
    """
    matrix = confusion_matrix(truth, predicted, num_classes)
    total = matrix.sum(axis=0) + matrix.sum(axis=1)
    occurs = total > 0
    return float(np.mean(2 * matrix.diagonal()[occurs] / total[occurs]))


def log_loss(truth: np.ndarray, probabilities: np.ndarray) -> float:
    """Mean negative log-probability of the true class, in nats, at least 0.

    Args:
        truth: Class indices, shape (n,).
        probabilities: Shape (n, num_classes); taken as at least 1e-12, so that one certain mistake stays finite.

    Example:
        >>> round(log_loss(np.array([0]), np.array([[0.5, 0.5]])), 3)
        0.693
    """
    chosen = np.asarray(probabilities, np.float64)[np.arange(len(truth)), truth]
    return float(-np.log(np.maximum(chosen, 1e-12)).mean())


def calibration_error(truth: np.ndarray, probabilities: np.ndarray, bins: int = 15) -> float:
    """Expected calibration error: by how much confidence and accuracy differ, in [0, 1].

    Recordings are sorted into `bins` of equal width by the probability of what was predicted; the differences between
    the mean probability and the accuracy of each bin are averaged, weighted by its recordings (Guo et al., 2017,
    https://arxiv.org/abs/1706.04599).

    Args:
        truth: Class indices, shape (n,).
        probabilities: Shape (n, num_classes).
        bins: Of equal width.

    Example:
        >>> calibration_error(np.array([0, 1]), np.array([[0.75, 0.25], [0.75, 0.25]]))
        0.25
    """
    probabilities = np.asarray(probabilities, np.float64)
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == truth
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    gap = np.bincount(place, confidence, bins) - np.bincount(place, right, bins)
    return float(np.abs(gap).sum() / len(confidence))


def summary(truth: np.ndarray, probabilities: np.ndarray, classes: tuple[str, ...]) -> dict[str, float]:
    """The figures of a split: `uar`, `war`, `macro_f1`, `loss` and `calibration_error`; for each class that occurs
    `recall/<class>`, and for each that was predicted `precision/<class>`.

    Args:
        truth: Class indices, shape (n,).
        probabilities: Shape (n, len(classes)).
        classes: Their names.
    """
    size = len(classes)
    predicted = np.asarray(probabilities).argmax(axis=1)
    by_class = {"recall": recalls(truth, predicted, size), "precision": precisions(truth, predicted, size)}
    return {
        "uar": unweighted_average_recall(truth, predicted, size),
        "war": weighted_average_recall(truth, predicted, size),
        "macro_f1": macro_f1(truth, predicted, size),
        "loss": log_loss(truth, probabilities),
        "calibration_error": calibration_error(truth, probabilities),
        **{
            f"{figure}/{name}": float(value)
            for figure, values in by_class.items()
            for name, value in zip(classes, values, strict=True)
            if not np.isnan(value)
        },
    }
