"""Plots of metrics: confusion matrix, UAR of systems, validation curve."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from emotion import metrics
from emotion.metrics.predictions import table_ratings
from emotion.metrics.regression import concordance_correlation, mean_absolute_error
from emotion.plots.figure import SERIES_STYLES, new_figure, new_panels
from emotion.protocols import SPLITS

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_confusion_matrix(predictions: pd.DataFrame, classes: tuple[str, ...], title: str) -> "Figure":
    """Plot a confusion matrix, normalised over the true emotions (rows).

    Args:
        predictions: Predictions of one split.
        classes: Class names.
        title: Title of the figure.
    """
    truth, predicted = (pd.Index(classes).get_indexer(pd.Index(predictions[name])) for name in ("emotion", "predicted"))
    counts = metrics.confusion_matrix(truth, predicted, len(classes))
    support = counts.sum(axis=1)
    percent = 100 * counts / np.maximum(support, 1)[:, None]

    figure, axes = new_figure(1.6 + 0.72 * len(classes), 1.5 + 0.62 * len(classes))
    # A single hue from light to dark reads the same with every kind of color vision.
    axes.imshow(percent, cmap="Blues", vmin=0, vmax=100, aspect="auto")
    for row, column in np.ndindex(percent.shape):
        if counts[row, column]:
            color = "white" if percent[row, column] > 55 else "black"
            axes.text(column, row, f"{percent[row, column]:.0f}", ha="center", va="center", color=color)
    axes.set_xticks(range(len(classes)), classes, rotation=35, ha="right")
    axes.set_yticks(range(len(classes)), [f"{name} ({n})" for name, n in zip(classes, support, strict=True)])
    axes.set(xlabel="predicted emotion (% of true emotion)", ylabel="true emotion (recordings)", title=title)
    return figure


def plot_calibration(predictions: pd.DataFrame, classes: tuple[str, ...], title: str) -> "Figure":
    """Plot accuracy over confidence (reliability diagram), and the error rate of the most confident recordings.

    Args:
        predictions: Predictions of one split.
        classes: Class names.
        title: Title of the figure.
    """
    truth, predicted = (pd.Index(classes).get_indexer(pd.Index(predictions[name])) for name in ("emotion", "predicted"))
    probabilities = predictions[list(classes)].to_numpy()
    confidence, accuracy, count = metrics.reliability_curve(truth, probabilities)
    error = metrics.expected_calibration_error(truth, probabilities)

    figure, panels = new_panels(9, 4.2, columns=2)
    left, right = panels[0]
    left.plot([0, 1], [0, 1], color="grey", linestyle="--", label="calibrated")
    left.plot(confidence, accuracy, color=SERIES_STYLES[0][0], marker="o", label="model")
    for place, height, number in zip(confidence, accuracy, count, strict=True):
        left.annotate(f"{number}", (place, height), textcoords="offset points", xytext=(0, 6), ha="center", fontsize=8)
    left.set(xlim=(0, 1), ylim=(0, 1.05), xlabel="confidence (recordings at the points)", ylabel="accuracy")
    left.set_title(f"calibration error {error:.3f}")
    left.legend(loc="upper left")
    coverage, risk = metrics.risk_coverage_curve(truth, probabilities, predicted)
    right.plot(100 * coverage, risk, color=SERIES_STYLES[0][0])
    right.set(xlim=(0, 100), ylim=(0, 1), xlabel="most confident recordings (%)", ylabel="error rate among them")
    right.set_title(f"area under the curve {risk.mean():.3f}")
    for axes in (left, right):
        axes.grid(alpha=0.3)
    figure.suptitle(title)
    return figure


def plot_ratings(predictions: pd.DataFrame, ratings: tuple[str, ...], title: str) -> "Figure":
    """Plot predicted over true ratings, one panel for each rating.

    Args:
        predictions: Predictions of one split.
        ratings: Names of the ratings.
        title: Title of the figure.
    """
    truth, predicted = table_ratings(predictions, ratings)
    figure, panels = new_panels(0.6 + 3.6 * len(ratings), 4.2, columns=len(ratings))
    for axes, name, true, values in zip(panels[0], ratings, truth.T, predicted.T, strict=True):
        known = ~np.isnan(true)
        true, values = true[known], values[known]
        if len(true):
            ends = [min(true.min(), values.min()), max(true.max(), values.max())]
            axes.plot(ends, ends, color="grey", linestyle="--", linewidth=1)
        alpha = float(np.clip(60 / max(1, len(true)), 0.1, 0.6))
        axes.scatter(true, values, s=14, color=SERIES_STYLES[0][0], alpha=alpha, linewidth=0)
        axes.set(xlabel=f"rated {name}", ylabel=f"predicted {name}")
        ccc, error = concordance_correlation(true, values), mean_absolute_error(true, values)
        axes.set_title(f"{name}: CCC {ccc:.2f}, mean absolute error {error:.2f}", fontsize=10)
        axes.grid(alpha=0.3)
    figure.suptitle(title)
    return figure


def plot_validation_curve(curve: pd.DataFrame, key: str) -> "Figure":
    """Plot train, dev and test UAR over a hyperparameter.

    Args:
        curve: Table as returned by `reports.tables.validation_curve`.
        key: Configuration key of the hyperparameter.
    """
    figure, axes = new_figure(7, 4.4)
    for split, (color, marker) in zip(SPLITS, SERIES_STYLES, strict=False):
        mean, std = curve[split], curve[f"{split}_std"]
        axes.plot(curve[key], mean, color=color, marker=marker, label=split)
        axes.fill_between(curve[key], mean - std, mean + std, color=color, alpha=0.15, linewidth=0)
    axes.set(xlabel=key, ylabel="UAR", ylim=(0, 1.02), title="Validation curve (mean ± std over runs)")
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def plot_systems(table: pd.DataFrame, key: str | None = None) -> "Figure":
    """Plot the UAR of each system with its confidence interval, best on top.

    Args:
        table: Table as returned by `reports.tables.compare_systems`.
        key: Configuration key that distinguishes systems of the same name (default: none).
    """
    ranked = table.sort_values("uar", ignore_index=True)
    names = ranked["system"] + (" " + ranked[key].astype(str) if key else "")
    figure, axes = new_figure(8, 1.2 + 0.42 * len(ranked))
    known = ranked[["uar_low", "uar_high"]].notna().all(axis=1)
    axes.hlines(ranked.index[known], ranked["uar_low"][known], ranked["uar_high"][known], color="#7f9cc0", linewidth=5)
    axes.plot(ranked["uar"], ranked.index, "o", color="#12304f")
    for position, value in zip(ranked.index, ranked["uar"], strict=True):
        axes.annotate(f"{value:.3f}", (value, position), (0, 7), textcoords="offset points", ha="center", fontsize=8)
    protocols = ", ".join(sorted(set(ranked["protocol"])))
    axes.set_yticks(ranked.index, names)
    axes.set(xlabel=f"test UAR ({protocols}); bars: 95 % CI (speakers)", ylim=(-0.6, len(ranked) - 0.3))
    axes.grid(axis="x", alpha=0.3)
    return figure
