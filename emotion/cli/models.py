"""`emotion card`, `emotion export` and `emotion ensemble`."""

import argparse
from pathlib import Path

from emotion.cli.outputs import add_force, path, require_free
from emotion.config.compose import DIRECTORY, choices
from emotion.errors import EmotionError, counted


def add_card(commands: "argparse._SubParsersAction") -> None:
    """Add `emotion card`."""
    parser = commands.add_parser("card", help="Print the model card of the model that comes with the package.")
    parser.set_defaults(call=_card)


def _card(_: argparse.Namespace) -> None:
    from rich.console import Console
    from rich.markdown import Markdown

    from emotion.inference.card import card

    console = Console()
    console.print(Markdown(card())) if console.is_terminal else print(card(), end="")


def add_export(commands: "argparse._SubParsersAction") -> None:
    """Add `emotion export`."""
    parser = commands.add_parser("export", help="Export the model of a run, such as to ONNX.")
    parser.add_argument("run", type=path, metavar="RUN_DIR", help="Directory of a finished run.")
    formats = ", ".join(choices("export"))
    parser.add_argument("--format", default="onnx", metavar="NAME", help=f"Format: {formats} (default: onnx).")
    parser.add_argument(
        "--config-dir", type=path, metavar="DIR", help="Directory with further formats, export/NAME.yaml."
    )
    parser.add_argument("--output", type=path, metavar="PATH", help="Path of the output (default: model.FORMAT).")
    parser.add_argument(
        "--check", nargs="+", default=[], metavar="FILE", help="Recordings for the comparison with the run, not dev."
    )
    add_force(parser)
    parser.set_defaults(call=_export)


def _export(arguments: argparse.Namespace) -> None:
    from emotion.inference.formats import load_format

    form = load_format(arguments.format, [DIRECTORY, *filter(None, [arguments.config_dir])])
    output = arguments.output or Path(form.output)
    if form.is_file:
        require_free([output], [arguments.run, *map(path, arguments.check)], arguments.force)
    checked = form.export(arguments.run, output, arguments.check)
    size = sum(file.stat().st_size for file in (output, *output.rglob("*")) if file.is_file())
    shown = f"wrote {output}, {size / 1e6:.1f} MB"
    if checked:
        shown += (
            f": on {counted(checked.recordings, 'recording')} its outputs differ by at most "
            f"{checked.difference:.0e} from those of the run"
        )
    print(shown)


def add_ensemble(commands: "argparse._SubParsersAction") -> None:
    """Add `emotion ensemble`."""
    parser = commands.add_parser("ensemble", help="Combine finished runs: a weighted sum of log-probabilities.")
    parser.add_argument(
        "systems",
        nargs="+",
        type=path,
        metavar="DIR",
        help="A run, or a folder of the runs of one model; those of equal fold and seed are combined.",
    )
    parser.add_argument(
        "--output",
        type=path,
        required=True,
        metavar="DIR",
        help="Run directory to write; of several folds and seeds, a folder of them.",
    )
    parser.add_argument("--equal-weights", action="store_true", help="Do not fit the weights on dev.")
    parser.add_argument("--over-seeds", action="store_true", help="Combine the seeds of each fold too.")
    parser.add_argument("--name", default="ensemble", help="Name in results (default: ensemble).")
    parser.set_defaults(call=_ensemble)


def _ensemble(arguments: argparse.Namespace) -> None:
    from emotion.pipelines.ensemble import combine, group_members
    from emotion.reports.runs import find_runs
    from emotion.runs import is_begun

    if is_begun(arguments.output):
        raise EmotionError(f"{arguments.output} already holds a run; choose a new --output")
    groups = group_members([find_runs([directory]) for directory in arguments.systems], arguments.over_seeds)
    for name, members in groups.items():
        run_dir = arguments.output / name if len(groups) > 1 else arguments.output
        combine(members, run_dir, arguments.name, not arguments.equal_weights)
