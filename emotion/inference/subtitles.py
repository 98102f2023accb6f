"""Subtitles of a timeline: SubRip, WebVTT, and the packets of a subtitle track in MP4.

Successive windows with the same answer are one subtitle, with their mean confidence. Parts without speech have none.
"""

import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from emotion.errors import printable
from emotion.inference.intervals import Interval, Part, merge_equal, parts_of, tracks_of
from emotion.inference.output import Outcome
from emotion.inference.predictions import NO_SPEECH, UNCERTAIN
from emotion.inference.timeline import Segment


@dataclass(frozen=True)
class Subtitle:
    """A subtitle; several faces have a line each.

    Attributes:
        start: Start in seconds.
        end: End in seconds.
        lines: The lines, such as `happy 87 %`, or `face 2: happy 87 %` in recordings with several faces.
    """

    start: float
    end: float
    lines: tuple[str, ...]


def subtitles(outcomes: Sequence[Outcome]) -> list[Subtitle]:
    """Return the subtitles of the timeline of one recording, sorted by time; they do not overlap."""
    runs: list[list[Part]] = []
    for part in parts_of([outcome for outcome in outcomes if isinstance(outcome, Segment)]):
        if runs and runs[-1][-1].end == part.start and _answers(runs[-1][-1]) == _answers(part):
            runs[-1].append(part)
        else:
            runs.append([part])
    shown = [Subtitle(run[0].start, run[-1].end, _lines(run)) for run in runs]
    return [subtitle for subtitle in shown if subtitle.lines]


def _answers(part: Part) -> dict[str, str]:
    return {name: prediction.emotion for name, prediction in part.predictions.items()}


def _lines(run: Sequence[Part]) -> tuple[str, ...]:
    """Return the lines of successive parts with the same answers."""
    merged = {name: merge_equal(intervals)[0] for name, intervals in tracks_of(run).items()}
    return tuple(
        (f"{name}: " if name else "") + _answer(interval)
        for name, interval in merged.items()
        if interval.emotion != NO_SPEECH
    )


def _answer(interval: Interval) -> str:
    emotion = printable(interval.emotion)
    if interval.emotion == UNCERTAIN or interval.confidence is None:
        return emotion
    return f"{emotion} {100 * interval.confidence:.0f} %"


def to_srt(outcomes: Sequence[Outcome], labels: Sequence[str] = ()) -> str:
    """Return the timeline of one recording as SubRip."""
    shown = enumerate(subtitles(outcomes), start=1)
    return "\n".join(f"{number}\n{_cue(subtitle, ',', str)}" for number, subtitle in shown)


def to_vtt(outcomes: Sequence[Outcome], labels: Sequence[str] = ()) -> str:
    """Return the timeline of one recording as WebVTT."""
    return "\n".join(["WEBVTT\n", *(_cue(subtitle, ".", _escape) for subtitle in subtitles(outcomes))])


def _escape(line: str) -> str:
    return html.escape(line, quote=False)  # also >, since --> is not allowed in the text of a cue


def _cue(subtitle: Subtitle, decimal: str, escape: Callable[[str], str]) -> str:
    times = " --> ".join(_clock(time, decimal) for time in (subtitle.start, subtitle.end))
    return "\n".join([times, *map(escape, subtitle.lines)]) + "\n"


def _clock(seconds: float, decimal: str) -> str:
    """Return a time as hours, minutes, seconds and milliseconds."""
    whole, milliseconds = divmod(round(1000 * seconds), 1000)
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02}{decimal}{milliseconds:03}"
