"""The recordings of a command line: found, and reported if they cannot be used."""

import argparse
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from emotion.errors import printable

if TYPE_CHECKING:
    from emotion.inference.recordings import MediaFiles


def add_files(parser: argparse.ArgumentParser) -> None:
    """Add the argument `files`."""
    parser.add_argument("files", nargs="+", metavar="FILE", help="Audio files, videos, images, folders, or patterns.")


def find_files(files: Sequence[str]) -> "MediaFiles":
    """Find the recordings that `files` name, and print notes about them."""
    from emotion.inference.recordings import find_media

    media = find_media(files)
    for note in media.notes:
        print(f"note: {printable(note)}", file=sys.stderr)
    return media


def report_problems(outcomes: Iterable[object], missing: Sequence[str]) -> bool:
    """Print the recordings that could not be used; return True if there are any.

    Args:
        outcomes: Outcomes, of which those that are a `Problem` are printed.
        missing: Messages about files that are not there.
    """
    from emotion.inference import Problem

    problems = [f"{one.name}: {one.reason}" for one in outcomes if isinstance(one, Problem)]
    for problem in (*missing, *problems):
        print(f"error: {printable(problem)}", file=sys.stderr)
    return bool(problems or missing)
