"""Predictions as a table, as JSON and as CSV."""

import csv
import io
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, overload

from emotion.errors import printable
from emotion.inference.predictions import Prediction, Problem
from emotion.inference.timeline import Segment

if TYPE_CHECKING:
    from rich.table import Table

Outcome = Prediction | Segment | Problem

_SEPARATOR = "; "
_WIDTH = 200  # characters, where no terminal has a width of its own


def show(outcomes: Sequence[Outcome], labels: Sequence[str], form: str = "table") -> None:
    """Print outcomes as `table`, `json` or `csv`; a table leaves problems out."""
    if form == "table":
        if all(isinstance(outcome, Problem) for outcome in outcomes):
            return
        from rich.console import Console

        Console(width=None if sys.stdout.isatty() else _WIDTH, highlight=False).print(to_table(outcomes, labels))
    else:
        print(to_json(outcomes) if form == "json" else to_csv(outcomes, labels), end="")


def to_json(outcomes: Sequence[Outcome]) -> str:
    """Return a JSON list of objects.

    Each has `name` and either `problem`, or `emotion`, `probabilities`, `modalities`, `notes`, `distance` and
    `adapted_to`. Those of a timeline also have `start` and `end`, in seconds, and `face`.
    """
    rows = [
        {"name": outcome.name, "problem": outcome.reason}
        if isinstance(outcome, Problem)
        else _place(outcome) | vars(prediction)
        for outcome in outcomes
        for prediction in [_prediction(outcome)]
    ]
    return json.dumps(rows, indent=2, ensure_ascii=False) + "\n"


def to_csv(outcomes: Sequence[Outcome], labels: Sequence[str]) -> str:
    """Return CSV, one row for each outcome.

    The columns are `name`, `emotion`, one for each label, `modalities`, `distance`, `adapted_to`, `notes` and
    `problem`. In a timeline `start`, `end` and `face` come after the name.
    """
    text = io.StringIO()
    places = ("start", "end", "face") if any(isinstance(outcome, Segment) for outcome in outcomes) else ()
    names = ["name", *places, "emotion", *labels, "modalities", "distance", "adapted_to", "notes", "problem"]
    writer = csv.DictWriter(text, names, restval="", lineterminator="\n")
    writer.writeheader()
    for outcome in outcomes:
        prediction = _prediction(outcome)
        if isinstance(prediction, Problem):
            writer.writerow({"name": prediction.name, "problem": prediction.reason})
        else:
            reasons = {"modalities": _SEPARATOR.join(prediction.modalities), "notes": _SEPARATOR.join(prediction.notes)}
            probabilities = {label: f"{probability:.6f}" for label, probability in prediction.probabilities.items()}
            own = {"name": prediction.name, "emotion": prediction.emotion, "adapted_to": prediction.adapted_to}
            if prediction.distance is not None:
                own["distance"] = f"{prediction.distance:.3f}"
            writer.writerow(own | _place(outcome) | probabilities | reasons)
    return text.getvalue()


def to_table(outcomes: Sequence[Outcome], labels: Sequence[str]) -> "Table":
    """Return a table for the terminal: probabilities with two decimals, the highest of each row in bold."""
    from rich.table import Table

    predicted = [outcome for outcome in outcomes if not isinstance(outcome, Problem)]
    columns = {"recording": [_plain(_prediction(outcome).name) for outcome in predicted]}
    if segments := [outcome for outcome in predicted if isinstance(outcome, Segment)]:
        if len(set(columns["recording"])) == 1:
            del columns["recording"]  # it is in the title
        columns["time"] = [f"{format_time(segment.start)}–{format_time(segment.end)}" for segment in segments]
        if any(segment.face for segment in segments):
            columns["face"] = [str(segment.face or "") for segment in segments]
    columns["emotion"] = [f"[bold]{_prediction(outcome).emotion}[/]" for outcome in predicted]
    columns |= {label: [_probability(_prediction(outcome), label) for outcome in predicted] for label in labels}
    by = [
        " and ".join(prediction.modalities) + "".join(f" ({note})" for note in prediction.notes)
        for prediction in map(_prediction, predicted)
    ]
    if len(set(by)) > 1 or any(_prediction(outcome).notes for outcome in predicted):
        columns["based on"] = [_plain(text) for text in by]
    title = None if "recording" in columns or not predicted else _plain(_prediction(predicted[0]).name)
    table = Table(box=None, header_style="bold", pad_edge=False, title=title, title_justify="left")
    for name in columns:
        table.add_column(name, justify="right" if name in (*labels, "face") else "left", overflow="fold")
    for row in zip(*columns.values(), strict=True):
        table.add_row(*row)
    return table


def name_of(outcome: Outcome) -> str:
    """Return the name of the recording of an outcome."""
    return _prediction(outcome).name


@overload
def _prediction(outcome: Prediction | Segment) -> Prediction: ...
@overload
def _prediction(outcome: Problem) -> Problem: ...
def _prediction(outcome: Outcome) -> Prediction | Problem:
    return outcome.prediction if isinstance(outcome, Segment) else outcome


def _place(outcome: Outcome) -> dict[str, float | int | None]:
    return {name: getattr(outcome, name) for name in ("start", "end", "face")} if isinstance(outcome, Segment) else {}


def _probability(prediction: Prediction, label: str) -> str:
    if not prediction.probabilities:
        return ""
    probability = f"{prediction.probabilities[label]:.2f}"
    return f"[bold]{probability}[/]" if label == prediction.emotion else probability


def format_time(seconds: float) -> str:
    """Return minutes and seconds, such as 1:02.5."""
    minutes, rest = divmod(round(seconds, 2), 60)
    return f"{int(minutes)}:{rest:05.2f}".rstrip("0").removesuffix(".")


def _plain(text: str) -> str:
    """Return text in which brackets are no markup, and nothing moves the cursor."""
    from rich.markup import escape

    return escape(printable(text))
