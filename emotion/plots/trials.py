"""Pictures of a sweep."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from emotion.plots.figures import blank
from emotion.reports.trials import positions
from emotion.runs import lower_is_better

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def importance_figure(importance: pd.Series, objective: str) -> "Figure":
    """How much each hyperparameter mattered, as `trials.importance` gives it."""
    ranked = importance[::-1]
    figure, axes = blank(7, 1.2 + 0.4 * len(ranked))
    axes.barh(ranked.index, ranked, color="#7f9cc0")
    for place, value in enumerate(ranked):
        axes.annotate(f"{value:.2f}", (value, place), (4, 0), textcoords="offset points", va="center", fontsize=8)
    axes.set(xlabel=f"share in what a random forest explains of {objective}", xlim=(0, ranked.max() * 1.15))
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def parallel_coordinates_figure(settings: pd.DataFrame, keys: list[str], objective: str) -> "Figure":
    """A line for each setting through its hyperparameters, from light to dark as it is better.

    Args:
        settings: As `trials.settings` gives them; those that finished.
        keys: The hyperparameters, from left to right.
        objective: The name of the dev figure.
    """
    from matplotlib import colormaps

    figure, axes = blank(1.8 + 1.5 * (len(keys) + 1), 4.6)
    columns, ticks = zip(*(positions(settings[key]) for key in keys), strict=True)
    columns, ticks = [*columns, settings["value"].to_numpy()], [*ticks, _ends(settings["value"])]
    lows = [min(column.min(), *(place for place, _ in marks)) for column, marks in zip(columns, ticks, strict=True)]
    highs = [max(column.max(), *(place for place, _ in marks)) for column, marks in zip(columns, ticks, strict=True)]
    heights = np.stack([_between(*axis) for axis in zip(columns, lows, highs, strict=True)])
    goodness = 1 - heights[-1] if lower_is_better(objective) else heights[-1]
    for line in np.argsort(goodness):
        best = goodness[line] == goodness.max()
        colour = "#D55E00" if best else colormaps["Blues"](0.15 + 0.75 * goodness[line])
        axes.plot(heights[:, line], color=colour, linewidth=2.5 if best else 1.2, zorder=3 if best else 2)
    for place, (marks, low, high) in enumerate(zip(ticks, lows, highs, strict=True)):
        axes.axvline(place, color="#888888", linewidth=0.8, zorder=1)
        for value, text in marks:
            height = float(_between(np.array([value]), low, high)[0])
            axes.annotate(text or "null", (place, height), (4, 2), textcoords="offset points", fontsize=8, zorder=4)
    names = [key.rpartition(".")[2].replace("_", "\n") for key in keys]
    axes.set_xticks(range(len(columns)), [*names, objective], fontsize=9)
    axes.set_yticks([])
    axes.set_title("Every line is a setting; the best is orange", fontsize=10)
    axes.spines[:].set_visible(False)
    return figure


def _between(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """From 0 to 1."""
    return (values - low) / (high - low) if high > low else np.full(len(values), 0.5)


def _ends(values: pd.Series) -> list[tuple[float, str]]:
    return [(float(value), f"{value:.3f}") for value in np.linspace(values.min(), values.max(), 3)]
