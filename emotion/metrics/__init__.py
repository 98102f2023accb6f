"""Classification metrics of predictions."""

from emotion.metrics.classification import (
    calibration_error,
    confusion_matrix,
    log_loss,
    macro_f1,
    precisions,
    recalls,
    summary,
    unweighted_average_recall,
    weighted_average_recall,
)

__all__ = [
    "calibration_error",
    "confusion_matrix",
    "log_loss",
    "macro_f1",
    "precisions",
    "recalls",
    "summary",
    "unweighted_average_recall",
    "weighted_average_recall",
]
