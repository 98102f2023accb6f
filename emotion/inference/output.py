"""Predictions as a table for the terminal, as JSON, JSON Lines, CSV and a data frame."""

import csv
import io
import json
import sys
from collections.abc import Iterator, Sequence
from typing import IO, TYPE_CHECKING, Any, overload

from emotion.errors import printable
from emotion.inference.predictions import Prediction, Problem
from emotion.inference.timeline import Segment

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

Outcome = Prediction | Segment | Problem

_SEPARATOR = "; "
_PLACES = ("start", "end", "face")
_WIDTH = 200  # characters, where no terminal has a width of its own


def show(outcomes: Sequence[Outcome], labels: Sequence[str]) -> None:
    """Print outcomes as a table of the width of the terminal; problems are left out."""
    if any(not isinstance(outcome, Problem) for outcome in outcomes):
        _print_table(outcomes, labels, sys.stdout, None if sys.stdout.isatty() else _WIDTH)


def to_text(outcomes: Sequence[Outcome], labels: Sequence[str]) -> str:
    """Return the table of `show` as text."""
    text = io.StringIO()
    if any(not isinstance(outcome, Problem) for outcome in outcomes):
        _print_table(outcomes, labels, text, _WIDTH)
    return text.getvalue()


def _print_table(outcomes: Sequence[Outcome], labels: Sequence[str], file: IO[str], width: int | None) -> None:
    from rich.console import Console

    Console(file=file, width=width, highlight=False).print(to_table(outcomes, labels))


def to_json(outcomes: Sequence[Outcome], labels: Sequence[str] = ()) -> str:
    """Return a JSON list of objects.

    Each has `name` and either `problem`, or `emotion`, `probabilities`, `modalities`, `notes`, `distance` and
    `adapted_to`; of a model of ratings `ratings` in place of `emotion` and `probabilities`. Those of a timeline also
    have `start` and `end`, in seconds, and `face`.
    """
    return json.dumps(_objects(outcomes), indent=2, ensure_ascii=False) + "\n"


def to_jsonl(outcomes: Sequence[Outcome], labels: Sequence[str] = ()) -> str:
    """Return JSON Lines: the objects of `to_json`, one in each line."""
    rows = (json.dumps(row, separators=(",", ":"), ensure_ascii=False) for row in _objects(outcomes))
    return "".join(f"{row}\n" for row in rows)


def _objects(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    return [
        {"name": outcome.name, "problem": outcome.reason}
        if isinstance(outcome, Problem)
        else _place(outcome) | _fields(_prediction(outcome))
        for outcome in outcomes
    ]


def _fields(prediction: Prediction) -> dict[str, Any]:
    unused = ("emotion", "probabilities") if prediction.ratings else ("ratings",)
    return {name: value for name, value in vars(prediction).items() if name not in unused}


def to_csv(outcomes: Sequence[Outcome], labels: Sequence[str]) -> str:
    """Return CSV, one row for each outcome.

    The columns are `name`, `emotion`, one for each label, `modalities`, `distance`, `adapted_to`, `notes` and
    `problem`. In a timeline `start`, `end` and `face` come after the name. Of a model of ratings, `labels` are the
    ratings, and `emotion` is empty or `no speech`.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, _columns(outcomes, labels), restval="", lineterminator="\n")
    writer.writeheader()
    for row in _rows(outcomes):
        decimals = dict.fromkeys(labels, 6) | {"distance": 3}
        writer.writerow(
            {
                name: f"{value:.{decimals[name]}f}" if isinstance(value, float) and name in decimals else value
                for name, value in row.items()
            }
        )
    return text.getvalue()


def to_frame(outcomes: Sequence[Outcome], labels: Sequence[str]) -> "pd.DataFrame":
    """Return a table with the columns of `to_csv`; numbers are not rounded.

    Text is of the dtype `string`, `face` of `Int64`, and other numbers of `float64`.

    Args:
        outcomes: Predictions, segments of timelines, and problems.
        labels: The emotions, such as `Predictor.labels`.
    """
    import pandas as pd

    columns = _columns(outcomes, labels)
    numbers = {*labels, "start", "end", "distance"}
    types = {name: "Int64" if name == "face" else "float64" if name in numbers else "string" for name in columns}
    rows = [
        {name: encodable(value) if isinstance(value, str) else value for name, value in row.items()}
        for row in _rows(outcomes)
    ]
    return pd.DataFrame(rows, columns=pd.Index(columns), dtype=object).astype(types)


def _columns(outcomes: Sequence[Outcome], labels: Sequence[str]) -> list[str]:
    places = _PLACES if any(isinstance(outcome, Segment) for outcome in outcomes) else ()
    return ["name", *places, "emotion", *labels, "modalities", "distance", "adapted_to", "notes", "problem"]


def _rows(outcomes: Sequence[Outcome]) -> Iterator[dict[str, Any]]:
    """Yield the values of each outcome by column; those that it has no value of are missing, or None."""
    for outcome in outcomes:
        prediction = _prediction(outcome)
        if isinstance(prediction, Problem):
            yield {"name": prediction.name, "problem": prediction.reason}
        else:
            reasons = {"modalities": _SEPARATOR.join(prediction.modalities), "notes": _SEPARATOR.join(prediction.notes)}
            own = {name: getattr(prediction, name) for name in ("name", "emotion", "distance", "adapted_to")}
            yield own | _place(outcome) | prediction.probabilities | dict(prediction.ratings) | reasons


def encodable(text: str) -> str:
    """Escape the bytes of a file name that are no text."""
    return text.encode(errors="backslashreplace").decode()


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
    emotions = [_prediction(outcome).emotion for outcome in predicted]
    if any(emotions):
        columns["emotion"] = [f"[bold]{emotion}[/]" for emotion in emotions]
    columns |= {label: [_number(_prediction(outcome), label) for outcome in predicted] for label in labels}
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
    return {name: getattr(outcome, name) for name in _PLACES} if isinstance(outcome, Segment) else {}


def _number(prediction: Prediction, label: str) -> str:
    """Return the probability of an emotion, or a rating, as text."""
    if label in prediction.ratings:
        return f"{prediction.ratings[label]:.2f}"
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
