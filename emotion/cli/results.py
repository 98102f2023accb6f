"""`emotion report`, `emotion trials`, `emotion robustness` and `emotion figures`."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from emotion.cli.outputs import add_force, path, require_free
from emotion.errors import EmotionError

if TYPE_CHECKING:
    from emotion.reports.runs import Run


def add_report(commands: "argparse._SubParsersAction") -> None:
    """Add `emotion report`."""
    parser = commands.add_parser("report", help="Tabulate finished runs: folds pooled, mean ± std over seeds.")
    parser.add_argument("runs", nargs="+", type=path, metavar="DIR", help="Run directories, or folders of runs.")
    parser.add_argument("--output", type=path, metavar="MD", help="Write a page of results, as --page describes it.")
    parser.add_argument(
        "--page", type=path, metavar="YAML", help="Description of the page (default: page.yaml in the first DIR)."
    )
    parser.add_argument("--keep", type=path, metavar="DIR", help="Store the results of the runs in DIR.")
    parser.add_argument("--group-by", metavar="KEY", help="Configuration key that distinguishes systems.")
    parser.add_argument("--reference", metavar="NAME", help="System to which the others are compared (ΔUAR).")
    parser.add_argument("--ensemble", action="store_true", help="Add a row for the ensemble of all runs.")
    parser.add_argument("--csv", type=path, metavar="CSV", help="Write the table as CSV.")
    parser.add_argument(
        "--summary", type=path, metavar="CSV", help="Write a row for each system and each ensemble over seeds."
    )
    parser.add_argument("--figure", type=path, metavar="PNG", help="Plot the UAR and 95 %% CI of each system.")
    parser.add_argument(
        "--validation-curve", type=path, metavar="PNG", help="Plot train, dev and test UAR over --group-by."
    )
    parser.add_argument(
        "--learning-curves", type=path, metavar="PNG", help="Plot train and dev loss and UAR over the epochs."
    )
    parser.add_argument(
        "--emobox", type=path, metavar="JSON", help="Write test predictions and metrics of one DIR in EmoBox's form."
    )
    add_force(parser)
    parser.set_defaults(call=_report)


def _report(arguments: argparse.Namespace) -> None:
    from emotion.files import write_text
    from emotion.plots.figure import save_figure
    from emotion.plots.learning_curves import mean_learning_curves, plot_learning_curves
    from emotion.plots.metrics import plot_validation_curve
    from emotion.reports.page import render_page
    from emotion.reports.runs import STORED_RUNS, find_runs, store_runs
    from emotion.reports.summary import summary
    from emotion.reports.tables import validation_curve

    figures = [arguments.figure, arguments.validation_curve, arguments.learning_curves]
    written = [arguments.output, arguments.csv, arguments.summary, arguments.emobox]
    require_free([*written, *figures], [*arguments.runs, *filter(None, [arguments.page])], arguments.force, figures)
    if arguments.page and not arguments.output:
        raise EmotionError("--page describes what --output writes; add --output MD")
    if arguments.emobox:
        _write_emobox(arguments)
        return
    if arguments.keep:
        require_free([arguments.keep / STORED_RUNS], [], arguments.force)
    runs = find_runs(arguments.runs, of_ratings=True)
    if any(run.is_regression for run in runs):
        _require_table_of_ratings(arguments, runs)
    if arguments.keep:
        store_runs(runs, arguments.keep)
    if arguments.output:
        write_text(arguments.output, render_page(runs, arguments.page or _page_of(arguments.runs[0])))
    if arguments.summary:
        write_text(arguments.summary, summary(runs).to_csv(index=False, lineterminator="\n"))
    if arguments.validation_curve:
        if not arguments.group_by:
            raise EmotionError("--validation-curve needs --group-by KEY, the hyperparameter of its x axis")
        curve = validation_curve(runs, arguments.group_by)
        save_figure(plot_validation_curve(curve, arguments.group_by), arguments.validation_curve)
    if arguments.learning_curves:
        curves = mean_learning_curves((run.name, run.directory) for run in runs)
        save_figure(plot_learning_curves(curves), arguments.learning_curves)
    if not (arguments.output or arguments.summary) or arguments.csv or arguments.figure:
        _tabulate(arguments, runs)
    for written in (arguments.keep, arguments.output, arguments.csv, arguments.summary, *figures):
        if written:
            print(f"wrote {written}")


def _page_of(folder: Path) -> Path | None:
    """Return the description of the page of a folder, or None if it has none."""
    from emotion.reports.page import FILE

    return folder / FILE if (folder / FILE).is_file() else None


def _write_emobox(arguments: argparse.Namespace) -> None:
    from emotion.files import write_json
    from emotion.reports.emobox import emobox_results

    if len(arguments.runs) != 1:
        raise EmotionError(f"--emobox takes one DIR; {len(arguments.runs)} were given")
    write_json(arguments.emobox, emobox_results(arguments.runs[0]))
    print(f"wrote {arguments.emobox}")


def _require_table_of_ratings(arguments: argparse.Namespace, runs: list["Run"]) -> None:
    """Refuse outputs that tabulate emotions, and runs of both kinds."""
    if emotions := [run for run in runs if not run.is_regression]:
        rated = next(run for run in runs if run.is_regression)
        raise EmotionError(
            f"{rated.directory} predicts ratings, and {emotions[0].directory} emotions; give runs of one kind"
        )
    options = ("output", "reference", "ensemble", "summary", "figure", "validation_curve", "learning_curves")
    for name in options:
        if getattr(arguments, name):
            raise EmotionError(f"--{name.replace('_', '-')} is of models of emotions; leave it out, or use --csv")


def _tabulate(arguments: argparse.Namespace, runs: list["Run"]) -> None:
    from emotion.files import write_text
    from emotion.plots.figure import save_figure
    from emotion.plots.metrics import plot_systems
    from emotion.reports.ratings import compare_ratings, format_ratings
    from emotion.reports.tables import compare_systems, format_systems, table_warnings, to_markdown

    if runs[0].is_regression:
        table = compare_ratings(runs, arguments.group_by)
        if arguments.csv:
            write_text(arguments.csv, table.to_csv(index=False, lineterminator="\n"))
        print(to_markdown(format_ratings(table)), end="")
        return
    table = compare_systems(runs, arguments.group_by, arguments.reference, arguments.ensemble)
    if arguments.csv:
        write_text(arguments.csv, table.to_csv(index=False, lineterminator="\n"))
    if arguments.figure:
        save_figure(plot_systems(table, arguments.group_by), arguments.figure)
    if not arguments.output:
        print(to_markdown(format_systems(table, arguments.group_by)), end="")
    for warning in table_warnings(table):
        print(f"note: {warning}", file=sys.stderr)


def add_trials(commands: "argparse._SubParsersAction") -> None:
    """Add `emotion trials`."""
    parser = commands.add_parser("trials", help="Tabulate the jobs of sweeps, and print the best as a command.")
    parser.add_argument(
        "sweeps", nargs="+", type=path, metavar="DIR", help="Sweep directories; tables and plots go to the first."
    )
    parser.set_defaults(call=_trials)


def _trials(arguments: argparse.Namespace) -> None:
    from emotion.reports.trials import summarise

    print(summarise(arguments.sweeps))


def add_temperature(commands: "argparse._SubParsersAction") -> None:
    """Add `emotion temperature`."""
    parser = commands.add_parser(
        "temperature", help="Fit training.temperature_factor on runs that test a corpus each, unlike those of training."
    )
    parser.add_argument("runs", nargs="+", type=path, metavar="DIR", help="Run directories, or folders of runs.")
    parser.set_defaults(call=_temperature)


def _temperature(arguments: argparse.Namespace) -> None:
    from emotion.reports.runs import find_runs
    from emotion.reports.tables import to_markdown
    from emotion.reports.temperature import temperature_table

    factor, table = temperature_table(find_runs(arguments.runs))
    print(to_markdown(table.round(3).astype(str)), end="")
    print(f"\ntraining.temperature_factor={factor:.2f}")


def add_robustness(commands: "argparse._SubParsersAction") -> None:
    """Add `emotion robustness`."""
    parser = commands.add_parser("robustness", help="Evaluate finished runs on corrupted recordings.")
    parser.add_argument("runs", nargs="+", type=path, metavar="DIR", help="Run directories, or folders of runs.")
    parser.add_argument("--noise", type=path, metavar="FILE", help="Noise recording, as another corruption.")
    parser.add_argument("--csv", type=path, metavar="CSV", help="Write the table as CSV.")
    parser.add_argument("--figure", type=path, metavar="PNG", help="Plot UAR over the levels of each corruption.")
    add_force(parser)
    parser.set_defaults(call=_robustness)


def _robustness(arguments: argparse.Namespace) -> None:
    from emotion.files import write_text
    from emotion.plots.figure import save_figure
    from emotion.plots.robustness import plot_robustness
    from emotion.reports.robustness import format_robustness, robustness_table
    from emotion.reports.runs import StoredRun, find_runs
    from emotion.reports.tables import to_markdown
    from emotion.robustness.evaluate import evaluate_robustness

    inputs = [*arguments.runs, *filter(None, [arguments.noise])]
    require_free([arguments.csv, arguments.figure], inputs, arguments.force, [arguments.figure])
    runs = find_runs(arguments.runs)
    evaluate_robustness([run.directory for run in runs if not isinstance(run, StoredRun)], arguments.noise)
    table = robustness_table(runs)
    if arguments.csv:
        write_text(arguments.csv, table.to_csv(index=False, lineterminator="\n"))
    if arguments.figure:
        save_figure(plot_robustness(table), arguments.figure)
    print(to_markdown(format_robustness(table)), end="")


def add_figures(commands: "argparse._SubParsersAction") -> None:
    """Add `emotion figures`."""
    parser = commands.add_parser("figures", help="Plot recordings and finished runs.")
    parser.add_argument("paths", nargs="+", type=path, metavar="PATH", help="Media files and run directories.")
    parser.add_argument(
        "--output", type=path, default=Path("figures"), metavar="DIR", help="Directory for media files (figures)."
    )
    parser.add_argument(
        "--explain",
        nargs="+",
        default=[],
        metavar="RECORDING",
        help="Plot attributions of the prediction of these recordings, for each run.",
    )
    parser.set_defaults(call=_figures)


def _figures(arguments: argparse.Namespace) -> None:
    from emotion.plots.figure import save_figure
    from emotion.plots.finished_run import plot_run, plot_run_attributions
    from emotion.plots.recording import plot_recording

    media = [source for source in arguments.paths if not source.is_dir()]
    require_free([arguments.output / f"{file.stem}.png" for file in media], media, force=True)
    failed = False
    for source in arguments.paths:
        try:
            if source.is_dir():
                figures = plot_run(source)
                figures += [plot_run_attributions(source, arguments.explain)] if arguments.explain else []
            else:
                figures = [arguments.output / f"{source.stem}.png"]
                save_figure(plot_recording(source), figures[0])
        except EmotionError as error:
            print(f"error: {error}", file=sys.stderr)
            failed = True
            continue
        for figure in figures:
            print(f"wrote {figure}")
    if failed:
        sys.exit(1)
