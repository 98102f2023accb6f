"""A timeline as a picture: how probable each emotion is over time, a panel for each face."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from emotion.inference.timeline import Segment
from emotion.plots.figure import label_colors, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MAX_FACES = 4


def timeline_figure(
    segments: Sequence[Segment], labels: tuple[str, ...], width: float = 11.0, title: str = ""
) -> "Figure":
    """Bands as wide as their emotions are probable; where a face is not seen, nothing.

    Args:
        segments: Of one recording.
        labels: The emotions.
        width: In inches.
        title: Of the figure.
    """
    faces = most_visible_faces(segments)
    figure, panels = new_figure(width, 0.9 + 1.5 * len(faces), rows=len(faces), sharex=True, squeeze=False)
    palette, last = label_colors(labels), max(segment.end for segment in segments) or 1.0  # an image has no duration
    for axes, face in zip(panels[:, 0], faces, strict=True):
        own = [segment for segment in segments if segment.face == face]
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


def most_visible_faces(segments: Sequence[Segment], most: int = _MAX_FACES) -> list[int | None]:
    """The faces with the most windows, by their numbers; None only where there is none else."""
    numbers = [segment.face for segment in segments if segment.face is not None]
    ranked = sorted(set(numbers), key=lambda number: -numbers.count(number))
    return sorted(ranked[:most]) or [None]


def _without_gaps(segments: Sequence[Segment]) -> list[list[Segment]]:
    """Stretches in which each window overlaps the next."""
    stretches: list[list[Segment]] = []
    for segment in segments:
        if stretches and segment.start < stretches[-1][-1].end:
            stretches[-1].append(segment)
        else:
            stretches.append([segment])
    return stretches


def _bands(segments: Sequence[Segment], labels: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Times, and the probabilities at them: those of windows at their middles, level from there to both ends."""
    times = [segments[0].start, *((segment.start + segment.end) / 2 for segment in segments), segments[-1].end]
    rows = [[segment.prediction.probabilities[label] for label in labels] for segment in segments]
    return np.array(times), np.array([rows[0], *rows, rows[-1]]).T
