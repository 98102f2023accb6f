"""Files that a command writes: never over its inputs, and over other files only where that is asked for."""

import argparse
from collections.abc import Iterable
from pathlib import Path

from emotion.errors import EmotionError


def add_force(parser: argparse.ArgumentParser) -> None:
    """Add `--force`."""
    parser.add_argument("--force", action="store_true", help="overwrite existing output files")


def require_free(outputs: Iterable[Path | None], inputs: Iterable[Path], force: bool) -> None:
    """Refuse outputs that would replace something, before any work is done.

    Args:
        outputs: Files that are to be written; None is left out.
        inputs: Files that are read, which not even `force` overwrites.
        force: True if other files may be overwritten.

    Raises:
        EmotionError: an output is an input, is a folder, exists already, or is named twice.
    """
    wanted = [path for path in outputs if path is not None]
    inputs = [path for path in inputs if path.exists()]
    for number, path in enumerate(wanted):
        if path.resolve() in [other.resolve() for other in wanted[:number]]:
            raise EmotionError(f"{path} is named for two outputs; choose another name for one of them")
        if not path.exists():
            continue
        if any(path.samefile(source) for source in inputs):
            raise EmotionError(f"{path} is an input and would be overwritten; choose another name")
        if path.is_dir():
            raise EmotionError(f"{path} is a folder; give the name of a file")
        if not force:
            raise EmotionError(f"{path} exists; choose another name, or overwrite it with --force")
