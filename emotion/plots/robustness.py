"""Plot of UAR on corrupted recordings."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from emotion.plots.figure import SERIES_STYLES, new_panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot_robustness(table: pd.DataFrame) -> "Figure":
    """Plot UAR over the levels of each corruption, one panel per corruption.

    Args:
        table: Table as returned by `reports.robustness.robustness_table`.
    """
    clean = table[table["corruption"] == "none"].set_index("system")["uar"]
    names = [name for name in table["corruption"].unique() if name != "none"]
    styles = dict(zip(table["system"].unique(), SERIES_STYLES * len(clean), strict=False))
    columns = min(4, len(names))
    rows = -(-len(names) // columns)
    figure, grid = new_panels(3.4 * columns, 2.6 * rows + 0.7, rows, columns)
    panels = grid.ravel()
    for axes, name in zip(panels, names, strict=False):
        _plot_corruption(axes, table[table["corruption"] == name], clean, styles)
        axes.set(title=name, ylim=(0, 1))
        axes.grid(alpha=0.3)
    for axes in panels[len(names) :]:
        axes.axis("off")
    panels[0].set_ylabel("UAR")
    handles = {
        label: handle for axes in panels for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=len(handles))
    return figure


def _plot_corruption(axes: "Axes", part: pd.DataFrame, clean: pd.Series, styles: dict[str, tuple[str, str]]) -> None:
    """Plot one corruption: clean recordings on the left, then its levels; gain has them at 0 dB."""
    unit, levels = part["unit"].iloc[0], list(part["level"].unique())
    if unit == "dB":
        levels = sorted(levels)
    position = sum(level < 0 for level in levels) if unit == "dB" else 0
    ticks = [f"{level:g}" if unit else "missing" for level in levels]
    axes.set_xticks(range(len(levels) + 1), [*ticks[:position], "clean", *ticks[position:]])
    axes.set_xlabel(unit)
    for system, (color, marker) in styles.items():
        uar = part[part["system"] == system].set_index("level")["uar"].reindex(levels)
        if uar.notna().any():
            values = np.insert(uar.to_numpy(), position, clean[system])
            axes.plot(range(len(values)), values, color=color, marker=marker, label=system)
