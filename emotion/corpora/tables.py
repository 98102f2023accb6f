"""Reading of CSV files of any encoding and separator, such as spreadsheets export them."""

import csv
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from emotion.errors import EmotionError, error_message

_SEPARATORS = (",", ";", "\t", "|")
_INVISIBLE = "\ufeff\u200b\u200c\u200d\u200e\u200f\u2060\0"
_BYTE_ORDER_MARKS = {
    b"\xff\xfe\0\0": "utf-32",
    b"\0\0\xfe\xff": "utf-32",
    b"\xef\xbb\xbf": "utf-8-sig",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}


def read_table(path: Path, needed: Sequence[str], synonyms: Mapping[str, str] | None = None) -> pd.DataFrame:
    """Read a CSV file, of which encoding and separator are detected, or a Parquet file.

    Args:
        path: The file.
        needed: Names of the required columns, in lower case.
        synonyms: Names of columns by other names for them (default: none).

    Returns:
        Table of all cells as stripped text, with names of columns in lower case and line numbers as index.

    Raises:
        EmotionError: the file cannot be read, or lacks a column.
    """
    try:
        if path.suffix.lower() == ".parquet":
            header, rows = _parquet_rows(path)
        else:
            header, rows = _rows(_decode(path.read_bytes()), [*needed, *(synonyms or {})])
    except ImportError as error:
        raise EmotionError(f"{path} needs pyarrow: pip install 'emotion[parquet]'") from error
    except (OSError, ValueError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error_message(error)
        raise EmotionError(f"cannot read {path}: {reason}") from error
    header = [name.lower() for name in header]
    header = [own if (own := (synonyms or {}).get(name)) and own not in header else name for name in header]
    while header and not header[-1]:  # a separator at the end of lines makes an empty column
        header.pop()
    if missing := sorted(set(needed) - set(header)):
        raise EmotionError(f"{path} lacks the column {missing[0]}; its columns are {', '.join(header)}")
    if twice := [name for name, count in Counter(header).items() if count > 1]:
        raise EmotionError(f"{path} has the column {twice[0]!r} twice")
    for line, cells in rows.items():
        if any(cells[len(header) :]):
            raise EmotionError(
                f"{path} line {line} has {len(cells)} cells, and the first line {len(header)}; quote cells that hold "
                "the separator"
            )
    width = len(header)
    cells = [(own + [""] * width)[:width] for own in rows.values()]
    return pd.DataFrame(cells, index=list(rows), columns=header, dtype=str)


def _rows(text: str, needed: Sequence[str]) -> tuple[list[str], dict[int, list[str]]]:
    """Return the cells of the header, and of the other lines by their numbers; empty lines are skipped."""
    lines = text.splitlines(keepends=True)
    # Comments may come before the header.
    first = next((number for number, line in enumerate(lines) if clean(line) and not clean(line).startswith("#")), 0)
    separator, start = "", clean(lines[first]).lower() if lines else ""
    if start.startswith("sep=") or start == "sep":  # Excel declares the separator so
        separator, first = lines[first].strip("\r\n")[4:5], first + 1
    separator = separator or _separator("".join(lines[first : first + 1]), needed)
    reader = csv.reader(lines[first:], delimiter=separator, skipinitialspace=True)
    numbered = ((first + reader.line_num, list(map(clean, cells))) for cells in reader)
    rows = {line: cells for line, cells in numbered if any(cells)}
    header = rows.pop(min(rows)) if rows else []
    return header, rows


def _parquet_rows(path: Path) -> tuple[list[str], dict[int, list[str]]]:
    """Return the names of the columns of a Parquet file, and the cells of its rows as text by their numbers from 1."""
    content = pd.read_parquet(path)
    cells = content.astype(object).where(content.notna(), "").map(lambda cell: clean(str(cell)))
    return list(map(str, content.columns)), {number: list(row) for number, row in enumerate(cells.to_numpy(), start=1)}


def clean(cell: str) -> str:
    r"""Strip white space and invisible characters from a cell.

    Example:
        >>> clean("\ufeff 04\u00a0")
        '04'
    """
    before = None
    while cell != before:
        before, cell = cell, cell.strip().strip(_INVISIBLE)
    return cell


def normalized(cell: str) -> str:
    r"""Normalise a cell to Unicode NFKC and single spaces.

    Example:
        >>> normalized("\uff10\uff14 \u00a0b")
        '04 b'
    """
    return " ".join(clean(unicodedata.normalize("NFKC", cell)).split())


def _decode(content: bytes) -> str:
    for mark, encoding in _BYTE_ORDER_MARKS.items():
        if content.startswith(mark):
            return content.decode(encoding)
    half = content[: len(content) // 2 * 2][:1000]
    if half and max(half[0::2].count(0), half[1::2].count(0)) > len(half) // 4:  # UTF-16 without a mark
        return content.decode("utf-16-le" if half[1::2].count(0) > half[0::2].count(0) else "utf-16-be")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace")


def _separator(header: str, needed: Sequence[str]) -> str:
    """Choose the separator for which the header has most of the required columns, then most columns."""

    def names(separator: str) -> list[str]:
        cells = next(csv.reader([header], delimiter=separator, skipinitialspace=True), [])
        return [clean(cell).lower() for cell in cells]

    return max(_SEPARATORS, key=lambda separator: (len(set(needed) & {*names(separator)}), len(names(separator))))
