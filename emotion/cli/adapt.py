"""`emotion adapt`."""

import argparse
import shlex
from pathlib import Path

from emotion.cli.outputs import path


def add_adapt(commands: "argparse._SubParsersAction") -> None:
    """Add `emotion adapt`."""
    parser = commands.add_parser(
        "adapt", help="Fit a model to a few labelled recordings of your own, on the features of another one."
    )
    parser.add_argument(
        "data", type=path, metavar="DIR", help="Recordings, in folders named after emotions, or listed by --table."
    )
    parser.add_argument(
        "--output", type=path, required=True, metavar="RUN_DIR", help="Run directory to write, for predict --run."
    )
    parser.add_argument(
        "--from",
        dest="start",
        default="shipped",
        metavar="RUN_DIR",
        help="Run whose features are used (default: shipped).",
    )
    parser.add_argument(
        "--table", type=path, metavar="CSV", help="Table with the columns file, emotion and optionally speaker."
    )
    parser.add_argument(
        "--speaker", metavar="REGEX", help="Regular expression of the speaker in a path, such as person.."
    )
    parser.set_defaults(call=_adapt)


def _adapt(arguments: argparse.Namespace) -> None:
    from emotion.inference.shipped import DIRECTORY
    from emotion.pipelines.adapt import adapt

    start = DIRECTORY / "audio" if arguments.start == "shipped" else Path(arguments.start)
    adapt(arguments.data, start, arguments.output, arguments.table, arguments.speaker)
    print(f"\nnext: emotion predict FILE --run {shlex.quote(str(arguments.output))}")
