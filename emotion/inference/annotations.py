"""Timelines as annotations of other programs: TextGrid for Praat, EAF for ELAN, and RTTM."""

import mimetypes
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path, PurePath
from xml.etree import ElementTree

import emotion
from emotion.errors import printable
from emotion.inference.intervals import AUDIO, Interval, merge_equal, parts_of, tracks_of
from emotion.inference.output import Outcome, name_of
from emotion.inference.predictions import NO_SPEECH
from emotion.inference.timeline import Segment

_TIERS: dict[str, Callable[[Interval], str]] = {
    "emotion": lambda interval: "" if interval.emotion == NO_SPEECH else printable(interval.emotion),
    "confidence": lambda interval: "" if interval.confidence is None else f"{interval.confidence:.3f}",
}
"""The tiers of each track, and their text."""
_CHILD = "confidence"
_EAF_SCHEMA = "http://www.mpi.nl/tools/elan/EAFv3.0.xsd"
_XSI = "http://www.w3.org/2001/XMLSchema-instance"


def _tracks(outcomes: Iterable[Outcome]) -> dict[str, list[Interval]]:
    return tracks_of(parts_of([outcome for outcome in outcomes if isinstance(outcome, Segment)]))


def _tier(kind: str, track: str) -> str:
    """Return the name of a tier, such as `emotion`, or `confidence face 2`."""
    return f"{kind} {track}".strip()


def to_textgrid(outcomes: Sequence[Outcome], labels: Sequence[str] = ()) -> str:
    """Return the timeline of one recording as TextGrid, in the long text format.

    Each track has a tier `emotion` and a tier `confidence`; parts without speech or without the face are empty.
    """
    tracks = _tracks(outcomes)
    end = max((interval.end for track in tracks.values() for interval in track), default=0.0)
    tiers = [
        (_tier(kind, name), [(interval.start, interval.end, text(interval)) for interval in track])
        for name, track in tracks.items()
        for kind, text in _TIERS.items()
    ]
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "", "xmin = 0", f"xmax = {end}"]
    lines += ["tiers? <exists>", f"size = {len(tiers)}", "item []:"]
    for number, (name, intervals) in enumerate(tiers, start=1):
        filled = list(_fill_gaps(intervals, end))
        lines += [f"    item [{number}]:", '        class = "IntervalTier"', f"        name = {_quoted(name)}"]
        lines += ["        xmin = 0", f"        xmax = {end}", f"        intervals: size = {len(filled)}"]
        for index, (first, last, text) in enumerate(filled, start=1):
            lines += [f"        intervals [{index}]:", f"            xmin = {first}", f"            xmax = {last}"]
            lines.append(f"            text = {_quoted(text)}")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def _fill_gaps(intervals: Iterable[tuple[float, float, str]], end: float) -> Iterator[tuple[float, float, str]]:
    """Yield intervals and, between them, empty ones, from 0 to `end`: a tier of Praat has no gaps."""
    time = 0.0
    for start, stop, text in intervals:
        if start > time:
            yield time, start, ""
        yield start, stop, text
        time = stop
    if time < end:
        yield time, end, ""


def to_elan(outcomes: Sequence[Outcome], labels: Sequence[str] = ()) -> str:
    """Return the timeline of one recording as an ELAN annotation document (EAF 3.0).

    Each track has a tier `emotion`, and a tier `confidence` whose annotations refer to those of the first. Parts
    without speech or without the face have no annotation.
    """
    tracks = {name: [part for part in track if part.emotion != NO_SPEECH] for name, track in _tracks(outcomes).items()}
    root = ElementTree.Element(
        "ANNOTATION_DOCUMENT",
        {
            "AUTHOR": f"emotion {emotion.__version__}",
            "DATE": datetime.now().astimezone().isoformat(timespec="seconds"),
            "FORMAT": "3.0",
            "VERSION": "3.0",
            "xmlns:xsi": _XSI,
            "xsi:noNamespaceSchemaLocation": _EAF_SCHEMA,
        },
    )
    header = ElementTree.SubElement(root, "HEADER", MEDIA_FILE="", TIME_UNITS="milliseconds")
    for name in dict.fromkeys(map(name_of, outcomes)):
        kind = mimetypes.guess_type(name)[0] or "unknown"
        ElementTree.SubElement(header, "MEDIA_DESCRIPTOR", MEDIA_URL=Path(name).absolute().as_uri(), MIME_TYPE=kind)
    slots = _add_time_slots(root, tracks)
    for name, track in tracks.items():
        _add_tiers(root, name, [(part, *slots[name, part.start]) for part in track])
    _add_types(root)
    ElementTree.indent(root, "    ")
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _add_time_slots(
    root: ElementTree.Element, tracks: Mapping[str, Sequence[Interval]]
) -> dict[tuple[str, float], tuple[str, str]]:
    """Add the times of a document, sorted; return the identifiers of start and end by track and start.

    Intervals share no slot, so that ELAN moves their bounds one by one.
    """
    slots: dict[tuple[str, float], list[str]] = {}
    ends = sorted(
        (time, name, part.start) for name, track in tracks.items() for part in track for time in (part.start, part.end)
    )
    order = ElementTree.SubElement(root, "TIME_ORDER")
    for number, (time, name, start) in enumerate(ends, start=1):
        value = str(round(1000 * time))
        ElementTree.SubElement(order, "TIME_SLOT", TIME_SLOT_ID=f"ts{number}", TIME_VALUE=value)
        slots.setdefault((name, start), []).append(f"ts{number}")
    return {key: (first, last) for key, (first, last) in slots.items()}


def _add_tiers(root: ElementTree.Element, track: str, intervals: Sequence[tuple[Interval, str, str]]) -> None:
    """Add the tiers of a track to a document; each interval comes with the slots of its start and end."""
    first = len(root.findall(".//ANNOTATION")) + 1
    emotions = _tier("emotion", track)
    tier = ElementTree.SubElement(root, "TIER", LINGUISTIC_TYPE_REF="emotion", TIER_ID=emotions)
    for number, (part, start, end) in enumerate(intervals, start=first):
        ends = {"TIME_SLOT_REF1": start, "TIME_SLOT_REF2": end}
        _add_annotation(tier, "ALIGNABLE_ANNOTATION", f"a{number}", ends, _TIERS["emotion"](part))
    name = _tier(_CHILD, track)
    tier = ElementTree.SubElement(root, "TIER", LINGUISTIC_TYPE_REF=_CHILD, PARENT_REF=emotions, TIER_ID=name)
    for number, (part, *_) in enumerate(intervals, start=first):
        own = f"a{number + len(intervals)}"
        _add_annotation(tier, "REF_ANNOTATION", own, {"ANNOTATION_REF": f"a{number}"}, _TIERS[_CHILD](part))


def _add_annotation(tier: ElementTree.Element, kind: str, identifier: str, refers: dict[str, str], text: str) -> None:
    annotation = ElementTree.SubElement(ElementTree.SubElement(tier, "ANNOTATION"), kind, ANNOTATION_ID=identifier)
    annotation.attrib.update(refers)
    ElementTree.SubElement(annotation, "ANNOTATION_VALUE").text = text


def _add_types(root: ElementTree.Element) -> None:
    """Add the linguistic types of both tiers, and ELAN's constraints."""
    common = {"GRAPHIC_REFERENCES": "false"}
    ElementTree.SubElement(root, "LINGUISTIC_TYPE", common, LINGUISTIC_TYPE_ID="emotion", TIME_ALIGNABLE="true")
    refers = {"CONSTRAINTS": "Symbolic_Association", "LINGUISTIC_TYPE_ID": _CHILD, "TIME_ALIGNABLE": "false"}
    ElementTree.SubElement(root, "LINGUISTIC_TYPE", common | refers)
    ElementTree.SubElement(
        root,
        "CONSTRAINT",
        DESCRIPTION="1-1 association with a parent annotation",
        STEREOTYPE="Symbolic_Association",
    )


def to_rttm(outcomes: Sequence[Outcome], labels: Sequence[str] = ()) -> str:
    """Return the timelines of recordings as RTTM, one line for each interval.

    Successive windows with the same answer are one interval, with their mean confidence; parts without speech have
    none. The channel is 1, or the number of the face in recordings with several, and 0 where none is visible.
    """
    by_name: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        by_name.setdefault(name_of(outcome), []).append(outcome)
    names = _rttm_names(list(by_name))
    lines = []
    for name, own in by_name.items():
        found = [(part, track) for track, parts in _tracks(own).items() for part in merge_equal(parts)]
        for part, track in sorted(found, key=lambda pair: pair[0].start):
            if part.emotion != NO_SPEECH:
                channel = 0 if track == AUDIO else int(track.removeprefix("face ") or 1)
                confidence = "<NA>" if part.confidence is None else f"{part.confidence:.3f}"
                times = f"{part.start:.3f} {round(part.end, 3) - round(part.start, 3):.3f}"
                emotion_label = _without_spaces(part.emotion)
                lines.append(f"SPEAKER {names[name]} {channel} {times} <NA> <NA> {emotion_label} {confidence} <NA>\n")
    return "".join(lines)


def _rttm_names(names: Sequence[str]) -> dict[str, str]:
    """Return names without spaces: without folder and suffix, unless two recordings would then have the same one."""
    for shorten in (lambda path: path.stem, lambda path: str(path.with_suffix("")), str):
        short = {name: _without_spaces(shorten(PurePath(name))) for name in names}
        if len(set(short.values())) == len(short):
            return short
    return {name: f"{_without_spaces(name)}_{number}" for number, name in enumerate(names, start=1)}


def _without_spaces(text: str) -> str:
    return "_".join(printable(text).split()) or "_"
