"""Pictures of a run. Matplotlib is imported when the first is drawn."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from emotion import metrics
from emotion.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


SERIES = (
    ("#0072B2", "o"),
    ("#D55E00", "s"),
    ("#009E73", "^"),
    ("#CC79A7", "D"),
    ("#E69F00", "v"),
    ("#56B4E9", "P"),
    ("#000000", "X"),
)
"""Colours that all kinds of colour vision tell apart (Okabe & Ito, 2008), each with a marker of its own."""


EMOTION_COLOURS = {
    "neutral": "#999999",
    "calm": "#56B4E9",
    "happy": "#E69F00",
    "sad": "#0072B2",
    "angry": "#D55E00",
    "fearful": "#CC79A7",
    "disgust": "#009E73",
    "surprised": "#F0E442",
}
"""Of the same palette; an emotion has the same colour everywhere."""


def colours(labels: tuple[str, ...]) -> list[str]:
    """A colour for each label: that of its emotion, or one that is left."""
    left = iter([colour for colour, _ in reversed(SERIES)] * len(labels))
    return [EMOTION_COLOURS.get(label) or next(left) for label in labels]


def confusion_figure(predictions: pd.DataFrame, classes: tuple[str, ...], title: str) -> "Figure":
    """Of each true emotion (rows) how many per cent were taken for each emotion (columns)."""
    index = {label: number for number, label in enumerate(classes)}
    counts = metrics.confusion_matrix(
        predictions["emotion"].map(index).to_numpy(), predictions["predicted"].map(index).to_numpy(), len(classes)
    )
    support = counts.sum(axis=1)
    percent = 100 * counts / np.maximum(support, 1)[:, None]

    figure, axes = blank(1.6 + 0.72 * len(classes), 1.5 + 0.62 * len(classes))
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
    figure, panels = blank(14, 5.2, rows=2, columns=(len(items) + 1) // 2)
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
    figure, axes = blank(7, 4.4)
    for split, (colour, marker) in zip(("train", "dev", "test"), SERIES, strict=False):
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
    figure, axes = blank(8, 1.2 + 0.42 * len(ranked))
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


def robustness_figure(table: pd.DataFrame) -> "Figure":
    """UAR over the levels of each disturbance, a panel for each; mild on the left, and further left what is not spoilt.

    Args:
        table: As `robustness.table` gives it.
    """
    names = [name for name in table["disturbance"].unique() if name != "none"]
    columns = min(4, len(names))
    rows = -(-len(names) // columns)
    figure, panels = blank(3.4 * columns, 2.6 * rows + 0.7, rows, columns)
    panels = np.atleast_1d(panels).ravel()
    systems = list(table["system"].unique())
    clean = table[table["disturbance"] == "none"].set_index("system")["uar"]
    for axes, name in zip(panels, names, strict=False):
        part = table[table["disturbance"] == name]
        levels = list(part["level"].unique())
        for number, system in enumerate(systems):
            own = part[part["system"] == system].set_index("level")["uar"].reindex(levels)
            if own.notna().any():
                colour, marker = SERIES[number % len(SERIES)]
                axes.plot(range(len(levels) + 1), [clean[system], *own], color=colour, marker=marker, label=system)
        shown = ["lost"] if name.startswith("no ") else [f"{level:g}" for level in levels]
        axes.set_xticks(range(len(levels) + 1), ["none", *shown])
        axes.set(title=name, xlabel=part["unit"].iloc[0], ylim=(0, 1))
        axes.grid(alpha=0.3)
    for axes in panels[len(names) :]:
        axes.axis("off")
    panels[0].set_ylabel("UAR")
    handles = {
        label: handle for axes in panels for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=len(handles))
    return figure


def curves_figure(curves: dict[str, list[tuple[int, float]]], title: str) -> "Figure":
    """Loss and UAR of train and dev over the epochs, the best epoch of dev marked.

    Args:
        curves: Epoch and value by `train/loss`, `dev/loss`, `train/uar`, `dev/uar`.
        title: Of the figure.
    """
    figure, panels = blank(10, 3.8, columns=2)
    for axes, what in zip(panels, ("loss", "uar"), strict=True):
        for split, (colour, _) in zip(("train", "dev"), SERIES, strict=False):
            points = curves.get(f"{split}/{what}", [])
            axes.plot([epoch for epoch, _ in points], [value for _, value in points], color=colour, label=split)
        axes.set(xlabel="epoch", ylabel="UAR" if what == "uar" else what)
        axes.grid(alpha=0.3)
        axes.legend()
    if curves.get("dev/uar"):
        epoch, best = max(curves["dev/uar"], key=lambda point: point[1])
        panels[1].plot(epoch, best, "o", color=SERIES[1][0])
        panels[1].annotate(f"{best:.3f}", (epoch, best), (0, 6), textcoords="offset points", ha="center")
    figure.suptitle(title)
    return figure


def learning_curves_figure(table: pd.DataFrame) -> "Figure":
    """Loss and UAR of dev (lines) and train (dashes) over the epochs, a colour for each system, with its deviation.

    Args:
        table: As `run_figures.learning_curves` gives it.
    """
    figure, panels = blank(11, 4.4, columns=2)
    for axes, what in zip(panels, ("loss", "uar"), strict=True):
        for number, (system, rows) in enumerate(table.groupby("system")):
            colour, _ = SERIES[number % len(SERIES)]
            for split, style in (("dev", "-"), ("train", "--")):
                mean, deviation = rows[f"{split}/{what}"], rows[f"{split}/{what} deviation"]
                axes.plot(rows["epoch"], mean, style, color=colour, label=f"{system}, {split}")
                axes.fill_between(rows["epoch"], mean - deviation, mean + deviation, color=colour, alpha=0.12, lw=0)
        axes.set(xlabel="epoch", ylabel="UAR" if what == "uar" else what)
        axes.grid(alpha=0.3)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return figure


def save(figure: "Figure", path: Path) -> None:
    """Write a figure as PNG, atomically."""
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)


def blank(
    width: float, height: float, rows: int = 1, columns: int = 1, **options: object
) -> tuple["Figure", "np.ndarray | Axes"]:
    """A figure and its panels: one, or an array of them.

    Args:
        width: In inches.
        height: In inches.
        rows: Of panels.
        columns: Of panels.
        **options: What else `Figure.subplots` takes.
    """
    # Figure without pyplot: no display is asked for and nothing is kept alive globally.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, **options)
