"""What a model says of recordings, for people and for programs."""

import csv
import io
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from emotion.inference.predictor import Prediction, Problem

if TYPE_CHECKING:
    from rich.table import Table

_SEPARATOR = "; "
_WIDTH = 200  # characters, where no terminal has a width of its own


def show(answers: Sequence[Prediction | Problem], labels: Sequence[str], form: str = "table") -> None:
    """Print answers to standard output, as `table`, `json` or `csv`; a table leaves problems out."""
    if form == "table":
        from rich.console import Console

        Console(width=None if sys.stdout.isatty() else _WIDTH, highlight=False).print(to_table(answers, labels))
    else:
        print(to_json(answers) if form == "json" else to_csv(answers, labels), end="")


def to_json(answers: Sequence[Prediction | Problem]) -> str:
    """A list of objects: `name` and either `problem`, or `emotion`, `probabilities`, `modalities` and `notes`."""
    rows = [
        {"name": answer.name, "problem": answer.reason} if isinstance(answer, Problem) else vars(answer)
        for answer in answers
    ]
    return json.dumps(rows, indent=2, ensure_ascii=False) + "\n"


def to_csv(answers: Sequence[Prediction | Problem], labels: Sequence[str]) -> str:
    """A row for each recording: `name`, `emotion`, a column for each label, `modalities`, `notes` and `problem`."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["name", "emotion", *labels, "modalities", "notes", "problem"])
    for answer in answers:
        if isinstance(answer, Problem):
            writer.writerow([answer.name, *[""] * (len(labels) + 3), answer.reason])
        else:
            shares = [f"{answer.probabilities[label]:.6f}" for label in labels]
            told = [_SEPARATOR.join(answer.modalities), _SEPARATOR.join(answer.notes), ""]
            writer.writerow([answer.name, answer.emotion, *shares, *told])
    return text.getvalue()


def to_table(answers: Sequence[Prediction | Problem], labels: Sequence[str]) -> "Table":
    """A table for the terminal: probabilities with two decimals, the highest of each row in bold."""
    from rich.table import Table

    judged = [answer for answer in answers if isinstance(answer, Prediction)]
    tells_modalities = len({answer.modalities for answer in judged}) > 1 or any(a.notes for a in judged)
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("recording", overflow="fold")
    table.add_column("emotion", style="bold")
    for label in labels:
        table.add_column(label, justify="right")
    if tells_modalities:
        table.add_column("judged by", overflow="fold")
    for answer in judged:
        shares = [
            f"[bold]{share:.2f}[/]" if label == answer.emotion else f"{share:.2f}"
            for label, share in ((label, answer.probabilities[label]) for label in labels)
        ]
        by = " and ".join(answer.modalities) + "".join(f" ({note})" for note in answer.notes)
        table.add_row(_plain(answer.name), answer.emotion, *shares, *([_plain(by)] if tells_modalities else []))
    return table


def _plain(text: str) -> str:
    """Text in which brackets are no markup."""
    from rich.markup import escape

    return escape(text)
