"""`emotion card` and `emotion export`: models to be passed on."""

import argparse
from pathlib import Path

from emotion.cli.outputs import add_force, path, require_free

_FORMATS = ("onnx", "pt2", "bundle")


def add_card(commands: "argparse._SubParsersAction") -> None:
    """Add `emotion card`."""
    parser = commands.add_parser("card", help="what the model that comes with the package is, and is not, good for")
    parser.set_defaults(call=_card)


def _card(_: argparse.Namespace) -> None:
    from rich.console import Console
    from rich.markdown import Markdown

    from emotion.inference.card import card

    console = Console()
    console.print(Markdown(card())) if console.is_terminal else print(card(), end="")


def add_export(commands: "argparse._SubParsersAction") -> None:
    """Add `emotion export`."""
    parser = commands.add_parser("export", help="write the model of a run as one file that needs nothing of this")
    parser.add_argument("run", type=path, metavar="RUN_DIR", help="the finished run")
    parser.add_argument(
        "--format", choices=_FORMATS, default="onnx", help="bundle: a small run directory, in half precision"
    )
    parser.add_argument("--output", type=path, metavar="PATH", help="by default model.onnx, model.pt2 or bundle")
    parser.add_argument(
        "--check", nargs="+", default=[], metavar="FILE", help="recordings on which it is checked, instead of dev"
    )
    add_force(parser)
    parser.set_defaults(call=_export)


def _export(arguments: argparse.Namespace) -> None:
    form = arguments.format
    output = arguments.output or Path("bundle" if form == "bundle" else f"model.{form}")
    if form == "bundle":
        from emotion.inference.bundle import bundle

        bundle(arguments.run, output)
        size = sum(file.stat().st_size for file in output.rglob("*") if file.is_file())
        print(f"written to {output}, {size / 1e6:.1f} MB")
        return
    from emotion.inference.export import export

    require_free([output], [arguments.run, *map(path, arguments.check)], arguments.force)
    checked = export(arguments.run, output, form, arguments.check)
    print(
        f"written to {output}, {output.stat().st_size / 1e6:.1f} MB: on {checked.recordings} recordings its "
        f"probabilities differ by at most {checked.difference:.0e} from those of the run"
    )
