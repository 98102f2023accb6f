"""Outputs of commands: never over an input, and over what is there only with `--force`."""

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path

from emotion.errors import EmotionError

FIGURES = (".png", ".pdf", ".svg", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".eps", ".ps")
_OF_A_RUN = (
    *("config.yaml", "overrides.yaml", "environment.json", "splits.csv", "metrics.json", "predictions.csv"),
    *("confusion_matrix.png", "train.log", "grid*.csv", "*.ckpt", "*.skops", "*_cross_fitted.csv", "error.txt"),
)


def path(text: str) -> Path:
    """Return a path that was typed, with `~` expanded."""
    try:
        return Path(text) if Path(text).exists() else Path(text).expanduser()
    except (OSError, RuntimeError):
        return Path(text)


def add_force(parser: argparse.ArgumentParser) -> None:
    """Add `--force` to a command that writes files."""
    parser.add_argument("--force", action="store_true", help="Overwrite outputs that exist; inputs never are.")


def require_free(
    outputs: Iterable[Path | None], inputs: Iterable[Path], force: bool, figures: Iterable[Path | None] = ()
) -> None:
    """Refuse outputs that are inputs, that are each other, or that exist, before any work is done.

    Args:
        outputs: Files that will be written; None is none.
        inputs: Files that are read, and run directories, or folders of them.
        force: True if outputs that exist may be overwritten.
        figures: Those of the outputs that are drawn.

    Raises:
        EmotionError: names the output.
    """
    wanted = [output for output in outputs if output]
    files = [file for one in inputs for file in _files(one)]
    for number, output in enumerate(wanted):
        if output.is_dir():
            raise EmotionError(f"{output} is a folder; name a file in it")
        if any(_is_same(output, other) for other in wanted[:number]):
            raise EmotionError(f"{output} is named for two outputs; choose another name for one of them")
        if same := next((file for file in files if _is_same(output, file)), None):
            raise EmotionError(f"{output} is the input {same}, which would be lost; choose another output")
        if output.exists() and not force:
            raise EmotionError(f"{output} exists; choose another output, or overwrite it with --force")
    for figure in figures:
        if figure and figure.suffix.lower() not in FIGURES:
            raise EmotionError(f"{figure}: a figure is written as {', '.join(FIGURES[:4])}")


def _files(source: Path) -> Iterator[Path]:
    """Yield a file, or the files of the run directories in a folder."""
    if source.is_dir():
        yield from (file for name in _OF_A_RUN for file in source.rglob(name))
    else:
        yield source


def _is_same(one: Path, other: Path) -> bool:
    """Return True if two paths lead to one file, through links too, or would if it existed."""
    try:
        if one.exists() and other.exists():
            return one.samefile(other)
        return one.resolve() == other.resolve()
    except OSError:
        return False
