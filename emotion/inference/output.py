"""What a model says of recordings, for people and for programs."""

import csv
import io
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from emotion.errors import printable
from emotion.inference.predictions import Prediction, Problem
from emotion.inference.timeline import Moment

if TYPE_CHECKING:
    from rich.table import Table

Answer = Prediction | Moment | Problem

_SEPARATOR = "; "
_WIDTH = 200  # characters, where no terminal has a width of its own


def show(answers: Sequence[Answer], labels: Sequence[str], form: str = "table") -> None:
    """Print answers to standard output, as `table`, `json` or `csv`; a table leaves problems out."""
    if form == "table":
        if all(isinstance(answer, Problem) for answer in answers):
            return
        from rich.console import Console

        Console(width=None if sys.stdout.isatty() else _WIDTH, highlight=False).print(to_table(answers, labels))
    else:
        print(to_json(answers) if form == "json" else to_csv(answers, labels), end="")


def to_json(answers: Sequence[Answer]) -> str:
    """A list of objects: `name` and either `problem`, or `emotion`, `probabilities`, `modalities` and `notes`.

    Those of a timeline also have `start` and `end`, in seconds, and `face`.
    """
    rows = [
        {"name": answer.name, "problem": answer.reason} if isinstance(answer, Problem) else _place(answer) | vars(said)
        for answer in answers
        for said in [_said(answer)]
    ]
    return json.dumps(rows, indent=2, ensure_ascii=False) + "\n"


def to_csv(answers: Sequence[Answer], labels: Sequence[str]) -> str:
    """A row for each answer: `name`, `emotion`, a column for each label, `modalities`, `notes` and `problem`.

    In a timeline `start`, `end` and `face` come after the name.
    """
    text = io.StringIO()
    places = ("start", "end", "face") if any(isinstance(answer, Moment) for answer in answers) else ()
    names = ["name", *places, "emotion", *labels, "modalities", "notes", "problem"]
    writer = csv.DictWriter(text, names, restval="", lineterminator="\n")
    writer.writeheader()
    for answer in answers:
        said = _said(answer)
        if isinstance(said, Problem):
            writer.writerow({"name": said.name, "problem": said.reason})
        else:
            told = {"modalities": _SEPARATOR.join(said.modalities), "notes": _SEPARATOR.join(said.notes)}
            shares = {label: f"{share:.6f}" for label, share in said.probabilities.items()}
            writer.writerow({"name": said.name, "emotion": said.emotion} | _place(answer) | shares | told)
    return text.getvalue()


def to_table(answers: Sequence[Answer], labels: Sequence[str]) -> "Table":
    """A table for the terminal: probabilities with two decimals, the highest of each row in bold."""
    from rich.table import Table

    judged = [answer for answer in answers if not isinstance(answer, Problem)]
    columns = {"recording": [_plain(_said(answer).name) for answer in judged]}
    if moments := [answer for answer in judged if isinstance(answer, Moment)]:
        if len(set(columns["recording"])) == 1:
            del columns["recording"]  # the title says it
        columns["time"] = [f"{clock(moment.start)}–{clock(moment.end)}" for moment in moments]
        if any(moment.face for moment in moments):
            columns["face"] = [str(moment.face or "") for moment in moments]
    columns["emotion"] = [f"[bold]{_said(answer).emotion}[/]" for answer in judged]
    columns |= {label: [_share(_said(answer), label) for answer in judged] for label in labels}
    by = [" and ".join(said.modalities) + "".join(f" ({note})" for note in said.notes) for said in map(_said, judged)]
    if len(set(by)) > 1 or any(_said(answer).notes for answer in judged):
        columns["based on"] = [_plain(text) for text in by]
    title = None if "recording" in columns or not judged else _plain(_said(judged[0]).name)
    table = Table(box=None, header_style="bold", pad_edge=False, title=title, title_justify="left")
    for name in columns:
        table.add_column(name, justify="right" if name in (*labels, "face") else "left", overflow="fold")
    for row in zip(*columns.values(), strict=True):
        table.add_row(*row)
    return table


def name_of(answer: Answer) -> str:
    """Return the name of the recording that an answer is about."""
    return _said(answer).name


def _said(answer: Answer) -> Prediction | Problem:
    return answer.prediction if isinstance(answer, Moment) else answer


def _place(answer: Answer) -> dict[str, float | int | None]:
    return {name: getattr(answer, name) for name in ("start", "end", "face")} if isinstance(answer, Moment) else {}


def _share(said: Prediction, label: str) -> str:
    share = f"{said.probabilities[label]:.2f}"
    return f"[bold]{share}[/]" if label == said.emotion else share


def clock(seconds: float) -> str:
    """Minutes and seconds, such as 1:02.5."""
    minutes, rest = divmod(round(seconds, 2), 60)
    return f"{int(minutes)}:{rest:05.2f}".rstrip("0").removesuffix(".")


def _plain(text: str) -> str:
    """Text in which brackets are no markup, and nothing moves the cursor."""
    from rich.markup import escape

    return escape(printable(text))
