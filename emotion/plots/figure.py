"""Figures and colors. Matplotlib is imported with the first figure."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from emotion.files import atomic_path

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


SERIES_STYLES = (
    ("#0072B2", "o"),
    ("#D55E00", "s"),
    ("#009E73", "^"),
    ("#CC79A7", "D"),
    ("#E69F00", "v"),
    ("#56B4E9", "P"),
    ("#000000", "X"),
)
"""Color and marker of each series, from a palette for all kinds of color vision (Okabe & Ito, 2008)."""

EMOTION_COLORS = {
    "neutral": "#999999",
    "calm": "#56B4E9",
    "happy": "#E69F00",
    "sad": "#0072B2",
    "angry": "#D55E00",
    "fearful": "#CC79A7",
    "disgust": "#009E73",
    "surprised": "#F0E442",
}
"""The color of each emotion, from the same palette."""


def label_colors(labels: tuple[str, ...]) -> list[str]:
    """Return the color of each label: that of its emotion, or one from the palette for other labels."""
    others = iter([color for color, _ in reversed(SERIES_STYLES)] * len(labels))
    return [EMOTION_COLORS.get(label) or next(others) for label in labels]


def new_figure(width: float, height: float) -> tuple["Figure", "Axes"]:
    """Create a figure with one set of axes.

    Args:
        width: Width in inches.
        height: Height in inches.
    """
    figure = _empty_figure(width, height)
    return figure, figure.subplots()


def new_panels(
    width: float,
    height: float,
    rows: int = 1,
    columns: int = 1,
    *,
    height_ratios: Sequence[float] | None = None,
    sharex: bool = False,
) -> tuple["Figure", "np.ndarray"]:
    """Create a figure with a grid of axes.

    Args:
        width: Width in inches.
        height: Height in inches.
        rows: Number of rows of axes (default: 1).
        columns: Number of columns of axes (default: 1).
        height_ratios: Relative height of each row (default: all the same).
        sharex: True if all axes share the x-axis (default: False).

    Returns:
        The figure, and an array of axes of shape (rows, columns).
    """
    figure = _empty_figure(width, height)
    panels = figure.subplots(rows, columns, squeeze=False, height_ratios=height_ratios, sharex=sharex)
    return figure, panels


def _empty_figure(width: float, height: float) -> "Figure":
    # Figure without pyplot needs no display and keeps no global reference.
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def save_figure(figure: "Figure", path: Path) -> None:
    """Write a figure as PNG, atomically."""
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)
