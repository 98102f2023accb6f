"""Classification metrics of class indices and of tables of predictions."""

from emotion.metrics.classification import (
    area_under_risk_coverage,
    brier_score,
    classification_metrics,
    confusion_matrix,
    expected_calibration_error,
    log_loss,
    macro_f1,
    precision_per_class,
    recall_per_class,
    reliability_curve,
    risk_coverage_curve,
    unweighted_average_recall,
    weighted_average_recall,
)

__all__ = [
    "area_under_risk_coverage",
    "brier_score",
    "classification_metrics",
    "confusion_matrix",
    "expected_calibration_error",
    "log_loss",
    "macro_f1",
    "precision_per_class",
    "recall_per_class",
    "reliability_curve",
    "risk_coverage_curve",
    "unweighted_average_recall",
    "weighted_average_recall",
]
