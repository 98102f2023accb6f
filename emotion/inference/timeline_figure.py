"""A timeline as a picture: how probable each emotion is over time, a panel for each face."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from emotion.inference.timeline import Moment
from emotion.plots.figure import label_colors, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_FACES = 4


def timeline_figure(
    moments: Sequence[Moment], labels: tuple[str, ...], width: float = 11.0, title: str = ""
) -> "Figure":
    """Bands as wide as their emotions are probable; where a face is not seen, nothing.

    Args:
        moments: Of one recording.
        labels: The emotions.
        width: In inches.
        title: Of the figure.
    """
    faces = most_seen(moments)
    figure, panels = new_figure(width, 0.9 + 1.5 * len(faces), rows=len(faces), sharex=True, squeeze=False)
    palette, last = label_colors(labels), max(moment.end for moment in moments) or 1.0  # an image has no duration
    for axes, face in zip(panels[:, 0], faces, strict=True):
        own = [moment for moment in moments if moment.face == face]
        for run in _without_gaps(own):
            axes.stackplot(*_bands(run, labels), colors=palette, labels=labels if run[0] is own[0] else (), lw=0)
        axes.set(xlim=(0, last), ylim=(0, 1), ylabel="probability" if face is None else f"face {face}")
        axes.set_yticks([0, 0.5, 1])
        axes.margins(0)
    panels[-1, 0].set_xlabel("seconds")
    handles, names = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside right center", reverse=True, frameon=False)
    if title:
        figure.suptitle(title)
    return figure


def most_seen(moments: Sequence[Moment], most: int = _MOST_FACES) -> list[int | None]:
    """The faces with the most windows, by their numbers; None only where there is none else."""
    numbers = [moment.face for moment in moments if moment.face is not None]
    ranked = sorted(set(numbers), key=lambda number: -numbers.count(number))
    return sorted(ranked[:most]) or [None]


def _without_gaps(moments: Sequence[Moment]) -> list[list[Moment]]:
    """Stretches in which each window overlaps the next."""
    stretches: list[list[Moment]] = []
    for moment in moments:
        if stretches and moment.start < stretches[-1][-1].end:
            stretches[-1].append(moment)
        else:
            stretches.append([moment])
    return stretches


def _bands(moments: Sequence[Moment], labels: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Times, and the probabilities at them: those of windows at their middles, level from there to both ends."""
    times = [moments[0].start, *((moment.start + moment.end) / 2 for moment in moments), moments[-1].end]
    rows = [[moment.prediction.probabilities[label] for label in labels] for moment in moments]
    return np.array(times), np.array([rows[0], *rows, rows[-1]]).T
