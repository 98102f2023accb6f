"""`emotion check`."""

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from emotion.cli.outputs import add_force, existing_below, path, require_free
from emotion.errors import EmotionError, counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from rich.console import Console

    from emotion.checks import Check
    from emotion.checks.findings import Finding
    from emotion.reports.runs import Run

_STYLES = {"error": "bold red", "warning": "yellow", "note": "dim"}


def add_check(commands: "argparse._SubParsersAction") -> None:
    """Add `emotion check`."""
    parser = commands.add_parser("check", help="Check recordings and splits before a training.")
    parser.add_argument(
        "data",
        nargs="*",
        metavar="DIR|KEY=VALUE",
        help="Folder of your own recordings, or overrides as for training, such as data=ravdess protocol=luna5.",
    )
    parser.add_argument("--html", type=path, metavar="HTML", help="Write a page with figures and players.")
    parser.add_argument("--csv", type=path, metavar="CSV", help="Write the measures of all recordings.")
    parser.add_argument(
        "--runs",
        nargs="+",
        type=path,
        metavar="DIR",
        help="Finished runs, whose test predictions show doubtful labels.",
    )
    add_force(parser)
    parser.set_defaults(call=_check)


def _check(arguments: argparse.Namespace) -> None:
    from emotion.checks import check_corpus
    from emotion.files import write_text
    from emotion.notebook import configure
    from emotion.reports.runs import find_runs

    outputs = [arguments.html, arguments.csv]
    require_free(outputs, [], arguments.force)
    config = configure(*_overrides(arguments.data))
    corpus, root = config.data.corpus.arguments, config.data.root
    tables = [Path(root or "", corpus["table"])] if corpus.get("table") else []
    require_free(outputs, [*existing_below(root, outputs), *tables], arguments.force)
    runs = find_runs(arguments.runs) if arguments.runs else []
    found = check_corpus(config.data, config.protocol, config.labels, config.task)
    if runs:
        found = replace(found, findings=[*found.findings, *_doubtful_labels(runs, found.table["recording"])])
    _print(found)
    if arguments.csv:
        write_text(arguments.csv, found.table.to_csv(index=False, lineterminator="\n", float_format="%.6g"))
    if arguments.html:
        from emotion.checks.page import render

        write_text(arguments.html, render(found))
    for written in filter(None, (arguments.csv, arguments.html)):
        print(f"wrote {written}", file=sys.stderr)
    if not found.is_sound:
        sys.exit(1)


def _doubtful_labels(runs: "Sequence[Run]", recordings: "pd.Series") -> "list[Finding]":
    from emotion.checks.labels import label_findings
    from emotion.labels import classes

    schemes = {str(run.metrics["labels"]) for run in runs}
    if len(schemes) > 1:
        raise EmotionError(f"the runs have different labels ({' and '.join(sorted(schemes))}); give runs of one kind")
    tested = [run.predictions[run.predictions["split"] == "test"] for run in runs]
    return list(label_findings(tested, classes(schemes.pop()), recordings))


def _overrides(arguments: list[str]) -> list[str]:
    """Return Hydra overrides; a folder stands for `data=folder data.root=DIR`."""
    folders = [argument for argument in arguments if "=" not in argument]
    if len(folders) > 1:
        raise EmotionError(f"one folder at a time: {len(folders)} were given")
    if not folders:
        return arguments
    folder = Path(folders[0]).expanduser()
    if not folder.is_dir():
        raise EmotionError(f"{folder}: no such folder; name a folder, or overrides such as data=ravdess data.root=DIR")
    rest = [argument for argument in arguments if "=" in argument]
    return ["data=folder", f"data.root={folder.resolve()}", *rest]


def _print(found: "Check") -> None:
    from rich.console import Console
    from rich.markup import escape

    console = Console(width=None if sys.stdout.isatty() else 200, highlight=False)
    console.print(escape(found.title), soft_wrap=True)
    _print_counts(console, found)
    _print_measures(console, found)
    console.print()
    for finding in found.findings:
        style = _STYLES[finding.level]
        console.print(f"[{style}]{finding.level}[/]: {escape(finding.text)}", soft_wrap=True)
    counts = {level: sum(one.level == level for one in found.findings) for level in ("error", "warning")}
    verdict = "a training would be unsound: correct the errors first"
    if found.is_sound:
        verdict = "a training would be sound" + (", but read the warnings first" if counts["warning"] else "")
    shown = " and ".join(counted(number, level) for level, number in counts.items())
    console.print(f"{shown}: {verdict}")


def _print_counts(console: "Console", found: "Check") -> None:
    from rich.table import Table

    if found.counts is None or found.speakers is None:
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("recordings")
    for split in found.counts.columns:
        table.add_column(split, justify="right")
    for label, row in found.counts.iterrows():
        table.add_row(str(label), *(f"{number:,}" for number in row))
    if found.table["emotion"].any():  # ratings have recordings in common
        table.add_row("all", *(f"{number:,}" for number in found.counts.sum()), style="bold")
    table.add_row("speakers", *(found.speakers[split] for split in found.counts.columns))
    console.print()
    console.print(table)


def _print_measures(console: "Console", found: "Check") -> None:
    from rich.table import Table

    from emotion.checks.measures import SHOWN

    measured = found.table.dropna(subset="duration_s")
    if measured.empty:
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("audio")
    for name in ("smallest", "median", "largest"):
        table.add_column(name, justify="right")
    for column, (title, form, factor) in SHOWN.items():
        values = measured[column].astype(float) * factor
        table.add_row(title, *(format(value, form) for value in (values.min(), values.median(), values.max())))
    console.print()
    console.print(table)
