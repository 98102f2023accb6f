"""`emotion card` and `emotion export`."""

import argparse
from pathlib import Path

from emotion.cli.outputs import add_force, path, require_free
from emotion.config.compose import DIRECTORY, choices
from emotion.errors import counted


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
            f": on {counted(checked.recordings, 'recording')} its probabilities differ by at most "
            f"{checked.difference:.0e} from those of the run"
        )
    print(shown)
