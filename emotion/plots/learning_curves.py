"""Loss and UAR over the epochs of training, read from TensorBoard."""

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from emotion.errors import EmotionError
from emotion.plots.figure import SERIES_STYLES, new_panels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Curves = dict[str, list[tuple[int, float]]]
"""Epoch, from 1, and value of each scalar, such as `dev/uar`."""


def read_curves(run_dir: Path) -> Curves:
    """Read all scalars of a run that are logged once per epoch.

    Raises:
        EmotionError: the run has no TensorBoard log.
    """
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logging.getLogger("tensorboard").setLevel(logging.WARNING)
    events = EventAccumulator(str(run_dir / "tensorboard"), size_guidance={"scalars": 0})
    events.Reload()
    names = [name for name in events.Tags()["scalars"] if name.startswith(("train/", "dev/"))]
    if not names:
        raise EmotionError(f"{run_dir / 'tensorboard'} has no learning curves; give the directory of a trained run")
    return {name: [(epoch, event.value) for epoch, event in enumerate(events.Scalars(name), 1)] for name in names}


def mean_learning_curves(run_dirs: Iterable[tuple[str, Path]]) -> pd.DataFrame:
    """Average loss and UAR of train and dev over the runs of each system.

    Args:
        run_dirs: Name of the system, and directory, of each run.

    Returns:
        Columns `system`, `epoch`, `train/loss`, `dev/loss`, `train/uar`, `dev/uar`, and the standard deviations
        `train/loss_std`, … (0 for a single run).

    Raises:
        EmotionError: a run has no TensorBoard log.
    """
    names = ["train/loss", "dev/loss", "train/uar", "dev/uar"]
    tables = []
    for system, run_dir in run_dirs:
        curves = read_curves(run_dir)
        columns = {name: pd.Series(dict(curves[name])) for name in names}
        tables.append(pd.DataFrame(columns).rename_axis("epoch").reset_index().assign(system=system))
    grouped = pd.concat(tables).groupby(["system", "epoch"])
    return grouped.mean().join(grouped.std().fillna(0.0).add_suffix("_std")).reset_index()


def plot_run_curves(curves: Curves, title: str) -> "Figure":
    """Plot train and dev loss and UAR over the epochs of one run, with the best dev UAR marked.

    Args:
        curves: Curves as returned by `read_curves`.
        title: Title of the figure.
    """
    figure, [panels] = new_panels(10, 3.8, columns=2)
    for axes, metric in zip(panels, ("loss", "uar"), strict=True):
        for split, (color, _) in zip(("train", "dev"), SERIES_STYLES, strict=False):
            points = curves.get(f"{split}/{metric}", [])
            axes.plot([epoch for epoch, _ in points], [value for _, value in points], color=color, label=split)
        axes.set(xlabel="epoch", ylabel="UAR" if metric == "uar" else metric)
        axes.grid(alpha=0.3)
        axes.legend()
    if curves.get("dev/uar"):
        epoch, best = max(curves["dev/uar"], key=lambda point: point[1])
        panels[1].plot(epoch, best, "o", color=SERIES_STYLES[1][0])
        panels[1].annotate(f"{best:.3f}", (epoch, best), (0, 6), textcoords="offset points", ha="center")
    figure.suptitle(title)
    return figure


def plot_learning_curves(table: pd.DataFrame) -> "Figure":
    """Plot dev (solid) and train (dashed) loss and UAR over the epochs, mean ± std, one color per system.

    Args:
        table: Table as returned by `mean_learning_curves`.
    """
    figure, [panels] = new_panels(11, 4.4, columns=2)
    for axes, metric in zip(panels, ("loss", "uar"), strict=True):
        for number, (system, rows) in enumerate(table.groupby("system")):
            color, _ = SERIES_STYLES[number % len(SERIES_STYLES)]
            for split, style in (("dev", "-"), ("train", "--")):
                mean, std = rows[f"{split}/{metric}"], rows[f"{split}/{metric}_std"]
                axes.plot(rows["epoch"], mean, style, color=color, label=f"{system}, {split}")
                axes.fill_between(rows["epoch"], mean - std, mean + std, color=color, alpha=0.12, lw=0)
        axes.set(xlabel="epoch", ylabel="UAR" if metric == "uar" else metric)
        axes.grid(alpha=0.3)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return figure
