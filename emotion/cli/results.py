"""`emotion report`, `emotion trials`, `emotion robustness` and `emotion figures`."""

import argparse
import sys
from pathlib import Path

from emotion.cli.outputs import add_force, path, require_free
from emotion.errors import EmotionError


def add_report(commands: "argparse._SubParsersAction") -> None:
    """Add `emotion report`."""
    parser = commands.add_parser("report", help="one table of many runs: folds pooled, mean ± deviation over seeds")
    parser.add_argument("runs", nargs="+", type=path, metavar="DIR", help="run directories, or folders that hold them")
    parser.add_argument("--output", type=path, metavar="MD", help="write a page of results here")
    parser.add_argument("--keep", type=path, metavar="DIR", help="copy the small files behind the table to DIR")
    parser.add_argument("--by", metavar="KEY", help="a configuration key that tells systems apart, and gets a column")
    parser.add_argument("--against", metavar="NAME", help="a system; by how much each other is better gets a column")
    parser.add_argument(
        "--ensemble", action="store_true", help="add a row for the mean of the log-probabilities of all runs"
    )
    parser.add_argument("--csv", type=path, metavar="CSV", help="write the table as numbers")
    parser.add_argument("--figure", type=path, metavar="PNG", help="draw the UAR of each system with its interval")
    parser.add_argument(
        "--curve", type=path, metavar="PNG", help="draw train, dev and test UAR over the values of --by"
    )
    parser.add_argument(
        "--learning-curves", type=path, metavar="PNG", help="draw loss and UAR of train and dev over the epochs"
    )
    add_force(parser)
    parser.set_defaults(call=_report)


def _report(arguments: argparse.Namespace) -> None:
    from emotion.files import write_text
    from emotion.plots import figures
    from emotion.plots import finished_run as run_figures
    from emotion.reports import page as results_page
    from emotion.reports import systems
    from emotion.reports import tables as report

    drawn = [arguments.figure, arguments.curve, arguments.learning_curves]
    require_free([arguments.output, arguments.csv, *drawn], arguments.runs, arguments.force, drawn)
    runs = systems.find(arguments.runs)
    if arguments.keep:
        systems.keep(runs, arguments.keep)
    if arguments.output:
        write_text(arguments.output, results_page.page(runs))
    if arguments.curve:
        if not arguments.by:
            raise EmotionError("--curve needs --by KEY, the hyperparameter to draw it over")
        curve = report.validation_curve(runs, arguments.by)
        figures.save(figures.validation_curve_figure(curve, arguments.by), arguments.curve)
    if arguments.learning_curves:
        figures.save(figures.learning_curves_figure(run_figures.learning_curves(runs)), arguments.learning_curves)
    if not arguments.output or arguments.csv or arguments.figure:
        _tabulate(arguments, runs)
    for written in (arguments.output, arguments.curve, arguments.learning_curves, arguments.csv, arguments.figure):
        if written:
            print(f"written to {written}")


def _tabulate(arguments: argparse.Namespace, runs: list["Run"]) -> None:  # noqa: F821 (imported lazily)
    from emotion.files import write_text
    from emotion.plots import figures
    from emotion.reports import tables as report

    table = report.compare(runs, arguments.by, arguments.against, arguments.ensemble)
    if arguments.csv:
        write_text(arguments.csv, table.to_csv(index=False, lineterminator="\n"))
    if arguments.figure:
        figures.save(figures.systems_figure(table, arguments.by), arguments.figure)
    if not arguments.output:
        print(report.to_markdown(report.in_words(table, arguments.by)), end="")
    for warning in report.warnings(table):
        print(f"note: {warning}", file=sys.stderr)


def add_trials(commands: "argparse._SubParsersAction") -> None:
    """Add `emotion trials`."""
    parser = commands.add_parser("trials", help="what became of the jobs of sweeps: a table, the best as a command")
    parser.add_argument(
        "sweeps", nargs="+", type=path, metavar="DIR", help="sweeps; tables and pictures go to the first"
    )
    parser.set_defaults(call=_trials)


def _trials(arguments: argparse.Namespace) -> None:
    from emotion.reports.trials import summarise

    print(summarise(arguments.sweeps))


def add_robustness(commands: "argparse._SubParsersAction") -> None:
    """Add `emotion robustness`."""
    parser = commands.add_parser("robustness", help="how finished runs do on noise, rooms, telephones, darkness")
    parser.add_argument("runs", nargs="+", type=path, metavar="DIR", help="run directories, or folders of them")
    parser.add_argument("--noise", type=path, metavar="FILE", help="a recording of noise, to be added too")
    parser.add_argument("--csv", type=path, metavar="CSV", help="write the table as numbers")
    parser.add_argument("--figure", type=path, metavar="PNG", help="draw UAR over the levels")
    add_force(parser)
    parser.set_defaults(call=_robustness)


def _robustness(arguments: argparse.Namespace) -> None:
    from emotion.files import write_text
    from emotion.plots import figures
    from emotion.reports import systems
    from emotion.reports import tables as report
    from emotion.robustness import evaluate as robustness

    inputs = [*arguments.runs, *filter(None, [arguments.noise])]
    require_free([arguments.csv, arguments.figure], inputs, arguments.force, [arguments.figure])
    runs = systems.find(arguments.runs)
    robustness.measure([run.directory for run in runs], arguments.noise)
    table = robustness.table(runs)
    if arguments.csv:
        write_text(arguments.csv, table.to_csv(index=False, lineterminator="\n"))
    if arguments.figure:
        figures.save(figures.robustness_figure(table), arguments.figure)
    print(report.to_markdown(robustness.in_words(table)), end="")


def add_figures(commands: "argparse._SubParsersAction") -> None:
    """Add `emotion figures`."""
    parser = commands.add_parser("figures", help="draw recordings, or what is worth seeing of finished runs")
    parser.add_argument("paths", nargs="+", type=path, metavar="PATH", help="media files and run directories")
    parser.add_argument("--output", type=path, default=Path("figures"), metavar="DIR", help="for those of media files")
    parser.add_argument(
        "--explain", nargs="+", default=[], metavar="RECORDING", help="of each run: what of these speaks for its answer"
    )
    parser.set_defaults(call=_figures)


def _figures(arguments: argparse.Namespace) -> None:
    from emotion.plots import figures
    from emotion.plots import finished_run as run_figures
    from emotion.plots import recording as clip_figures

    files = [source for source in arguments.paths if not source.is_dir()]
    require_free([arguments.output / f"{file.stem}.png" for file in files], files, force=True)
    for source in arguments.paths:
        if source.is_dir():
            drawn = run_figures.draw(source)
            drawn += [run_figures.explain(source, arguments.explain)] if arguments.explain else []
        else:
            drawn = [arguments.output / f"{source.stem}.png"]
            figures.save(clip_figures.clip_figure(source), drawn[0])
        for file in drawn:
            print(f"drawn to {file}")
