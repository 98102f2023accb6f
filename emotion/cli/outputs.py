"""Checks of output files: inputs are never overwritten, existing files only with `--force`."""

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
    """Return a path of the command line, with `~` expanded.

    Raises:
        argparse.ArgumentTypeError: it is empty, as an unset variable of a shell is, or stands for standard output.
    """
    if text == "-":
        raise argparse.ArgumentTypeError("- is not a file; name one, such as ./-")
    if not text.strip():
        raise argparse.ArgumentTypeError("the name is empty; name a file or folder, such as . for this folder")
    try:
        return Path(text) if Path(text).exists() else Path(text).expanduser()
    except (OSError, RuntimeError):
        return Path(text)


def path_or_stdout(text: str) -> Path | None:
    """Return a path of the command line, or None for `-`, standard output."""
    return None if text == "-" else path(text)


def add_force(parser: argparse.ArgumentParser) -> None:
    """Add `--force` to a command that writes files."""
    parser.add_argument("--force", action="store_true", help="Overwrite existing outputs, but never inputs.")


def require_free(
    outputs: Iterable[Path | None], inputs: Iterable[Path], force: bool, figures: Iterable[Path | None] = ()
) -> None:
    """Refuse outputs that are inputs, duplicates, or existing files, before any work is done.

    Args:
        outputs: Files to write; None is skipped.
        inputs: Files to read, run directories, and folders of them.
        force: True if existing outputs may be overwritten.
        figures: The outputs that are figures.

    Raises:
        EmotionError: an output is refused.
    """
    requested = [output for output in outputs if output]
    files = [file for one in inputs for file in _files(one)]
    for number, output in enumerate(requested):
        if output.is_dir():
            raise EmotionError(f"{output} is a folder; name a file in it")
        if output.exists() and not output.is_file():
            raise EmotionError(f"{output} is a device or a pipe; name a file")
        if any(_is_same(output, other) for other in requested[:number]):
            raise EmotionError(f"{output} is named for two outputs; choose another name for one of them")
        if same := next((file for file in files if _is_same(output, file)), None):
            raise EmotionError(f"{output} is the input {same}, which would be lost; choose another output")
        if output.exists() and not force:
            raise EmotionError(f"{output} exists; choose another output, or overwrite it with --force")
    for figure in figures:
        if figure and figure.suffix.lower() not in FIGURES:
            raise EmotionError(f"{figure}: the suffix of a figure must be {', '.join(FIGURES[:4])}, …")


def existing_below(folder: str | None, outputs: Iterable[Path | None]) -> list[Path]:
    """Return the outputs that exist in a folder of inputs, which must not be overwritten.

    Args:
        folder: Path of the folder, or None.
        outputs: Files to write; None is skipped.
    """
    root = Path(folder).expanduser().resolve() if folder else None
    return [
        output for output in outputs if root and output and output.exists() and output.resolve().is_relative_to(root)
    ]


def _files(source: Path) -> Iterator[Path]:
    """Yield a file, or the files of all run directories in a folder."""
    if source.is_dir():
        yield from (file for name in _OF_A_RUN for file in source.rglob(name))
    else:
        yield source


def _is_same(one: Path, other: Path) -> bool:
    """Return True if two paths lead to the same file, also through links."""
    try:
        if one.exists() and other.exists():
            return one.samefile(other)
        return one.resolve() == other.resolve()
    except OSError:
        return False
