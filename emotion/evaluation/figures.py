"""Pictures of a run. Matplotlib is imported when the first is drawn."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from emotion import metrics
from emotion.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def confusion_figure(predictions: pd.DataFrame, classes: tuple[str, ...], title: str) -> "Figure":
    """Of each true emotion (rows) how many per cent were taken for each emotion (columns)."""
    index = {label: number for number, label in enumerate(classes)}
    counts = metrics.confusion_matrix(
        predictions["emotion"].map(index).to_numpy(), predictions["predicted"].map(index).to_numpy(), len(classes)
    )
    support = counts.sum(axis=1)
    percent = 100 * counts / np.maximum(support, 1)[:, None]

    figure, axes = _figure(1.6 + 0.72 * len(classes), 1.5 + 0.62 * len(classes))
    # One hue from light to dark reads the same with every kind of colour vision.
    axes.imshow(percent, cmap="Blues", vmin=0, vmax=100, aspect="auto")
    for row, column in np.ndindex(percent.shape):
        if counts[row, column]:
            shade = "white" if percent[row, column] > 55 else "black"
            axes.text(column, row, f"{percent[row, column]:.0f}", ha="center", va="center", color=shade)
    axes.set_xticks(range(len(classes)), classes, rotation=35, ha="right")
    axes.set_yticks(range(len(classes)), [f"{name} ({n})" for name, n in zip(classes, support, strict=True)])
    axes.set(xlabel="predicted (per cent of the row)", ylabel="true (recordings)", title=title)
    return figure


def features_figure(items: list[tuple[str, np.ndarray]], title: str) -> "Figure":
    """Features of a few clips side by side.

    Args:
        items: A name and features of shape (F, N) for each clip.
        title: Of the figure.
    """
    figure, panels = _figure(14, 5.2, rows=2, columns=(len(items) + 1) // 2)
    panels = np.atleast_1d(panels).ravel()
    for axes in panels[len(items) :]:
        axes.axis("off")
    for axes, (name, features) in zip(panels, items, strict=False):
        axes.imshow(features, origin="lower", aspect="auto", cmap="cividis", vmin=-3, vmax=3)
        axes.set_title(name, fontsize=9)
        axes.tick_params(labelsize=7)
    panels[0].set_ylabel("feature")
    panels[0].set_xlabel("frame")
    figure.suptitle(title)
    return figure


def validation_curve_figure(curve: pd.DataFrame, by: str) -> "Figure":
    """UAR of train, dev and test over a hyperparameter.

    Args:
        curve: As `report.validation_curve` gives it.
        by: The hyperparameter.
    """
    figure, axes = _figure(7, 4.4)
    styles = {"train": ("#7570b3", "o"), "dev": ("#d95f02", "s"), "test": ("#1b9e77", "^")}
    for split, (colour, marker) in styles.items():
        mean, deviation = curve[split], curve[f"{split} deviation"]
        axes.plot(curve[by], mean, color=colour, marker=marker, label=split)
        axes.fill_between(curve[by], mean - deviation, mean + deviation, color=colour, alpha=0.15, linewidth=0)
    axes.set(xlabel=by, ylabel="UAR", ylim=(0, 1.02), title="Validation curve, mean ± deviation over runs")
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def systems_figure(table: pd.DataFrame, by: str | None = None) -> "Figure":
    """The UAR of each system, best on top, with its interval over speakers.

    Args:
        table: As `report.compare` gives it.
        by: What tells systems of one name apart.
    """
    ranked = table.sort_values("uar", ignore_index=True)
    names = ranked["system"] + (" " + ranked[by].astype(str) if by else "")
    figure, axes = _figure(8, 1.2 + 0.42 * len(ranked))
    known = ranked[["uar_low", "uar_high"]].notna().all(axis=1)
    axes.hlines(ranked.index[known], ranked["uar_low"][known], ranked["uar_high"][known], color="#7f9cc0", linewidth=5)
    axes.plot(ranked["uar"], ranked.index, "o", color="#12304f")
    for place, value in zip(ranked.index, ranked["uar"], strict=True):
        axes.annotate(f"{value:.3f}", (value, place), (0, 7), textcoords="offset points", ha="center", fontsize=8)
    protocols = ", ".join(sorted(set(ranked["protocol"])))
    axes.set_yticks(ranked.index, names)
    axes.set(xlabel=f"UAR on test ({protocols}); bar: 95 % over speakers", ylim=(-0.6, len(ranked) - 0.3))
    axes.grid(axis="x", alpha=0.3)
    return figure


def save(figure: "Figure", path: Path) -> None:
    """Write a figure as PNG, atomically."""
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)


def _figure(width: float, height: float, rows: int = 1, columns: int = 1) -> tuple["Figure", object]:
    # Figure without pyplot: no display is asked for and nothing is kept alive globally.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns)
