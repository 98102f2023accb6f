"""Plots of a hyperparameter search: importance and parallel coordinates."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from emotion.plots.figure import new_figure
from emotion.runs import lower_is_better

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MIN_NUMBERS = 5  # with fewer distinct numbers they are categories


def plot_importance(importance: pd.Series, objective: str) -> "Figure":
    """Plot the importance of each hyperparameter.

    Args:
        importance: Importance by hyperparameter, as returned by `reports.trials.hyperparameter_importance`.
        objective: Name of the dev metric.
    """
    ranked = importance[::-1]
    figure, axes = new_figure(7, 1.2 + 0.4 * len(ranked))
    axes.barh(ranked.index, ranked, color="#7f9cc0")
    for position, value in enumerate(ranked):
        axes.annotate(f"{value:.2f}", (value, position), (4, 0), textcoords="offset points", va="center", fontsize=8)
    axes.set(xlabel=f"importance for {objective} (mean decrease in impurity)", xlim=(0, ranked.max() * 1.15))
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def plot_parallel_coordinates(configurations: pd.DataFrame, keys: list[str], objective: str) -> "Figure":
    """Plot one line per configuration through its hyperparameters; darker is better.

    Args:
        configurations: Finished configurations, as returned by `reports.trials.configurations`.
        keys: Hyperparameters, from left to right.
        objective: Name of the dev metric.
    """
    from matplotlib import colormaps

    figure, axes = new_figure(1.8 + 1.5 * (len(keys) + 1), 4.6)
    columns, ticks = zip(*(axis_positions(configurations[key]) for key in keys), strict=True)
    columns, ticks = [*columns, configurations["value"].to_numpy()], [*ticks, _value_ticks(configurations["value"])]
    limits = [
        (min(column.min(), *positions), max(column.max(), *positions))
        for column, positions in zip(columns, [[position for position, _ in marks] for marks in ticks], strict=True)
    ]
    heights = np.stack([_scale(column, *ends) for column, ends in zip(columns, limits, strict=True)])
    goodness = 1 - heights[-1] if lower_is_better(objective) else heights[-1]
    for line in np.argsort(goodness):
        best = goodness[line] == goodness.max()
        color = "#D55E00" if best else colormaps["Blues"](0.15 + 0.75 * goodness[line])
        axes.plot(heights[:, line], color=color, linewidth=2.5 if best else 1.2, zorder=3 if best else 2)
    for place, (marks, ends) in enumerate(zip(ticks, limits, strict=True)):
        axes.axvline(place, color="#888888", linewidth=0.8, zorder=1)
        for value, text in marks:
            height = float(_scale(np.array([value]), *ends)[0])
            axes.annotate(text or "null", (place, height), (4, 2), textcoords="offset points", fontsize=8, zorder=4)
    names = [key.rpartition(".")[2].replace("_", "\n") for key in keys]
    axes.set_xticks(range(len(columns)), [*names, objective], fontsize=9)
    axes.set_yticks([])
    axes.set_title("One line per configuration; the best in orange", fontsize=10)
    axes.spines[:].set_visible(False)
    return figure


def axis_positions(column: pd.Series) -> tuple[np.ndarray, list[tuple[float, str]]]:
    """Return the positions of hyperparameter values on an axis, and its ticks.

    The axis is categorical for text and for fewer than five distinct numbers. It is logarithmic for positive numbers
    that span a decade or more and are skewed towards small values, and linear otherwise.

    Args:
        column: Values as text.

    Returns:
        Positions, shape (n,), and position and label of each tick.
    """
    numbers = pd.to_numeric(column, errors="coerce")
    if numbers.isna().any() or numbers.nunique() < _MIN_NUMBERS:
        order = sorted(column.fillna("").unique(), key=_category_order)
        positions = {text: float(position) for position, text in enumerate(order)}
        return column.fillna("").map(positions).to_numpy(), [(position, text) for text, position in positions.items()]
    low, high = numbers.min(), numbers.max()
    medians = (low + high) / 2, np.sqrt(max(low, 0) * max(high, 0))  # expected of uniform and log-uniform sampling
    logarithmic = low > 0 and high / low >= 10 and numbers.median() < np.mean(medians)
    scale = np.log10 if logarithmic else np.asarray
    ticks = np.geomspace(low, high, 3) if logarithmic else np.linspace(low, high, 3)
    return scale(numbers.to_numpy()), [(float(scale(tick)), f"{tick:.2g}") for tick in ticks]


def _category_order(text: str) -> tuple[float, str]:
    """Sort numbers by size, before text."""
    number = pd.to_numeric(text, errors="coerce")
    return (np.inf if pd.isna(number) else float(number), text)


def _scale(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Scale values from [low, high] to [0, 1]."""
    return (values - low) / (high - low) if high > low else np.full(len(values), 0.5)


def _value_ticks(values: pd.Series) -> list[tuple[float, str]]:
    return [(float(value), f"{value:.3f}") for value in np.linspace(values.min(), values.max(), 3)]
