"""Timelines without overlap: each window of a recording stands for the part of it that is nearest to its centre."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, zip_longest
from typing import NamedTuple, Protocol, TypeVar

from emotion.inference.predictions import Prediction
from emotion.inference.timeline import Segment

AUDIO = "audio"
"""Name of the track of windows without a visible face, in recordings with several faces."""
_MIN_GAP_S = 1e-3  # windows end at a sample, so successive ones may be less than a sample apart


class Spanned(Protocol):
    """An object with a start and an end, in seconds."""

    @property
    def start(self) -> float:
        """Start in seconds."""
        ...

    @property
    def end(self) -> float:
        """End in seconds."""
        ...


SpannedT = TypeVar("SpannedT", bound=Spanned)


class Span(NamedTuple):
    """Start and end, in seconds."""

    start: float
    end: float


@dataclass(frozen=True)
class Part:
    """A part of a recording, and the predictions of its window.

    Attributes:
        start: Start in seconds.
        end: End in seconds.
        predictions: Predictions by the name of their track: empty if the recording has at most one face, else
            `face 1`, `face 2`, …, and `AUDIO` where no face is visible.
    """

    start: float
    end: float
    predictions: Mapping[str, Prediction]


@dataclass(frozen=True)
class Interval:
    """The answer over a part of a recording.

    Attributes:
        start: Start in seconds.
        end: End in seconds.
        emotion: See `Prediction.emotion`.
        confidence: See `Prediction.confidence`; the mean over time of merged windows.
    """

    start: float
    end: float
    emotion: str
    confidence: float | None


def group_overlapping(items: Iterable[SpannedT]) -> list[list[SpannedT]]:
    """Group successive items that overlap; the items are sorted by start."""
    groups: list[list[SpannedT]] = []
    for item in items:
        if groups and item.start < groups[-1][-1].end:
            groups[-1].append(item)
        else:
            groups.append([item])
    return groups


def parts_of(segments: Sequence[Segment]) -> list[Part]:
    """Divide a recording among its windows, so that no two parts overlap.

    Two overlapping windows meet in the middle between their centres; the first one begins at its start, the last one
    ends at its end.

    Args:
        segments: Timeline of one recording.
    """
    names = track_names(segments)
    predictions: dict[Span, dict[str, Prediction]] = {}
    for segment in segments:
        predictions.setdefault(Span(segment.start, segment.end), {})[names[segment.face]] = segment.prediction
    parts = []
    runs = group_overlapping(sorted(predictions))
    for run, following in zip_longest(runs, runs[1:]):
        centres = [(window.start + window.end) / 2 for window in run]
        end = run[-1].end
        if following and following[0].start - end < _MIN_GAP_S:
            end = following[0].start
        bounds = [run[0].start, *(round(sum(pair) / 2, 6) for pair in pairwise(centres)), end]
        parts += [Part(*ends, predictions[window]) for ends, window in zip(pairwise(bounds), run, strict=True)]
    return parts


def track_names(segments: Iterable[Segment]) -> dict[int | None, str]:
    """Return the name of the track of each face of a recording, see `Part.predictions`; None is no face."""
    faces = sorted({segment.face for segment in segments if segment.face is not None})
    if len(faces) <= 1:
        return dict.fromkeys([None, *faces], "")
    return {face: f"face {face}" for face in faces} | {None: AUDIO}


def tracks_of(parts: Sequence[Part]) -> dict[str, list[Interval]]:
    """Return the intervals of each track, sorted by time, by the names of `Part.predictions`; faces come first."""
    tracks: dict[str, list[Interval]] = {}
    for part in parts:
        for name, prediction in part.predictions.items():
            tracks.setdefault(name, []).append(
                Interval(part.start, part.end, prediction.emotion, prediction.confidence)
            )
    return {name: tracks[name] for name in sorted(tracks, key=_order)}


def _order(name: str) -> tuple[bool, int, str]:
    return name == AUDIO, len(name), name


def merge_equal(intervals: Sequence[Interval]) -> list[Interval]:
    """Join successive intervals with the same answer and no gap between them."""
    runs: list[list[Interval]] = []
    for interval in intervals:
        if runs and runs[-1][-1].end == interval.start and runs[-1][-1].emotion == interval.emotion:
            runs[-1].append(interval)
        else:
            runs.append([interval])
    return [Interval(run[0].start, run[-1].end, run[0].emotion, _mean_confidence(run)) for run in runs]


def _mean_confidence(run: Sequence[Interval]) -> float | None:
    known = [(part.end - part.start, part.confidence) for part in run if part.confidence is not None]
    duration = sum(length for length, _ in known)
    return sum(length * confidence for length, confidence in known) / duration if duration else None
