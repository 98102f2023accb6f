"""Groups of files whose recordings adapt a model: the speakers of a table or of subfolders, or all files."""

from collections.abc import Sequence
from pathlib import Path

from emotion.corpora.tables import read_table
from emotion.errors import EmotionError

COLUMNS = ("file", "speaker")


def groups_of(files: Sequence[Path], by: str, table: Path | None = None) -> dict[str | Path, str]:
    """Return the group of each file.

    Args:
        files: Files.
        by: `folder` for one group of all files; `speaker` for those of `table`, or the folder that holds each file.
        table: CSV file with the columns `file` or `path` (relative to it) and `speaker` (default: none).

    Raises:
        EmotionError: the table cannot be read, or lacks a file.
    """
    if by == "folder":
        return dict.fromkeys(files, "all")
    if table is None:
        return {file: str(file.parent) for file in files}
    speakers = _read(table)
    missing = [file for file in files if file.resolve() not in speakers]
    if missing:
        raise EmotionError(f"{table} names no speaker of {missing[0]}" + _and_others(len(missing) - 1))
    return {file: speakers[file.resolve()] for file in files}


def _and_others(number: int) -> str:
    return f" and {number} other files" if number > 1 else " and another file" if number else ""


def _read(table: Path) -> dict[Path, str]:
    rows = read_table(table, COLUMNS, {"path": "file"})
    return {
        (table.parent / file).resolve(): speaker for file, speaker in zip(rows["file"], rows["speaker"], strict=True)
    }
