"""Figure of a timeline: the probability of each emotion over time, one panel for each face."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from emotion.inference.intervals import group_overlapping
from emotion.inference.predictions import NO_SPEECH
from emotion.inference.timeline import Segment
from emotion.plots.figure import label_colors, new_panels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MAX_FACES = 4


def timeline_figure(
    segments: Sequence[Segment], labels: tuple[str, ...], width: float = 11.0, title: str = ""
) -> "Figure":
    """Plot stacked probabilities over time, with gaps where a face is not visible, or where there is no speech.

    Args:
        segments: Timeline of one recording.
        labels: The emotions.
        width: Width of the figure, in inches (default: 11).
        title: Title of the figure (default: none).
    """
    faces = most_visible_faces(segments)
    figure, panels = new_panels(width, 0.9 + 1.5 * len(faces), rows=len(faces), sharex=True)
    palette, last = label_colors(labels), max(segment.end for segment in segments) or 1.0  # an image has no duration
    for axes, face in zip(panels[:, 0], faces, strict=True):
        own = [segment for segment in segments if segment.face == face and segment.prediction.probabilities]
        for start, end in _spans_without_speech(segments, own):
            axes.text((start + end) / 2, 0.5, NO_SPEECH, ha="center", va="center", color="grey")
        for run in group_overlapping(own):
            axes.stackplot(*_curves(run, labels), colors=palette, labels=labels if run[0] is own[0] else (), lw=0)
        axes.set(xlim=(0, last), ylim=(0, 1), ylabel="probability" if face is None else f"face {face}")
        axes.set_yticks([0, 0.5, 1])
        axes.margins(0)
    panels[-1, 0].set_xlabel("time (s)")
    handles, names = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside right center", reverse=True, frameon=False)
    if title:
        figure.suptitle(title)
    return figure


def most_visible_faces(segments: Sequence[Segment], n_faces: int = _MAX_FACES) -> list[int | None]:
    """Return the numbers of the faces with the most windows, sorted; `[None]` if there is no face."""
    numbers = [segment.face for segment in segments if segment.face is not None]
    ranked = sorted(set(numbers), key=lambda number: -numbers.count(number))
    return [*sorted(ranked[:n_faces])] or [None]


def _spans_without_speech(segments: Sequence[Segment], spoken: Sequence[Segment]) -> list[tuple[float, float]]:
    """Return start and end of the parts, in seconds, with windows without speech and none of `spoken`."""
    spans = []
    for run in group_overlapping([segment for segment in segments if not segment.prediction.probabilities]):
        middle = (run[0].start + run[-1].end) / 2
        start = max([run[0].start, *(segment.end for segment in spoken if segment.end <= middle)])
        end = min([run[-1].end, *(segment.start for segment in spoken if segment.start >= middle)])
        if not any(segment.start < middle < segment.end for segment in spoken):
            spans.append((start, end))
    return spans


def _curves(segments: Sequence[Segment], labels: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return times, shape (N,), at the centres of windows and both ends, and probabilities, shape (C, N)."""
    times = [segments[0].start, *((segment.start + segment.end) / 2 for segment in segments), segments[-1].end]
    rows = [[segment.prediction.probabilities[label] for label in labels] for segment in segments]
    return np.array(times), np.array([rows[0], *rows, rows[-1]]).T
