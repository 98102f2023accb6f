"""Cells of tables of recordings: emotions, paths, times and genders in the spellings of people and of other tools."""

import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from emotion.corpora.base import DIMENSIONS
from emotion.corpora.tables import clean, normalized
from emotion.errors import EmotionError, suggest
from emotion.labels import KNOWN

SPELLINGS = {
    "anger": "angry",
    "boredom": "bored",
    "calmness": "calm",
    "disgusted": "disgust",
    "fear": "fearful",
    "happiness": "happy",
    "joy": "happy",
    "neutrality": "neutral",
    "pleasant_surprise": "surprised",
    "sadness": "sad",
    "surprise": "surprised",
}
"""Synonyms of the emotion labels."""
GENDERS = {"female": "female", "f": "female", "male": "male", "m": "male"}
"""Genders by how they are written, in lower case."""
_NO_TIME = ("", "nat", "nan", "none", "null")
_NO_NUMBER = ("", "nan", "na", "n/a", "#n/a", "none", "null", "?", "-")


def known_emotion(word: str) -> str | None:
    """Return the emotion that a word of any spelling names, or None if there is none."""
    word = normalized(word).lower().replace(" ", "_").replace("-", "_")
    word = SPELLINGS.get(word, word)
    return word if word in KNOWN else None


def part_of_file(start: str, end: str, table: Path, line: int) -> tuple[str, str]:
    """Return start and end of a part of a file as seconds; empty where the part begins or ends with the file.

    Args:
        start: Start, in seconds or such as `0 days 00:00:01.5`; empty for that of the file.
        end: End, likewise.
        table: Table in which they are, for the message.
        line: Number of their line.

    Raises:
        EmotionError: one is not a time, or the part is empty.
    """
    seconds = []
    for name, cell in (("start", start), ("end", end)):
        try:
            value = math.nan if cell.lower() in _NO_TIME else _seconds(cell)
        except ValueError as error:
            raise EmotionError(f"{table} line {line}: {name}={cell!r} is not a number of seconds or a time") from error
        seconds.append(value)
    first, last = seconds
    if first < 0 or last <= (0 if math.isnan(first) else first):
        raise EmotionError(f"{table} line {line}: there is nothing from {start or '0'} to {end}")
    return "" if first == 0 else _written(first), _written(last)


def _written(seconds: float) -> str:
    """Return a time with at most six decimals; empty for NaN."""
    return "" if math.isnan(seconds) else f"{seconds:.6f}".rstrip("0").rstrip(".")


def _seconds(cell: str) -> float:
    return float(cell) if re.fullmatch(r"-?[\d.]+(e-?\d+)?", cell) else pd.Timedelta(cell).total_seconds()


def to_number(cell: str, place: str) -> float:
    """Return a cell as a number; NaN if it is empty.

    Args:
        cell: The cell; a comma may be the decimal sign.
        place: What it is, for the message.

    Raises:
        EmotionError: the cell is not a number.

    Example:
        >>> to_number("3,5", "valence"), to_number("n/a", "valence")
        (3.5, nan)
    """
    if cell.lower() in _NO_NUMBER:
        return math.nan
    try:
        value = float(cell.replace(",", ".") if "." not in cell else cell)
    except ValueError:
        value = math.inf
    if not math.isfinite(value):
        raise EmotionError(f"{place}: {cell!r} is not a number")
    return value


def to_votes(cell: str, place: str) -> float:
    """Return a cell as a number of votes, see `to_number`.

    Raises:
        EmotionError: the cell is not a number, or a negative one.
    """
    count = to_number(cell, place)
    if count < 0:
        raise EmotionError(f"{place}: {cell!r} is not a number of votes, which is at least 0")
    return count


def ratings_table(
    cells: Sequence[tuple[str, Mapping[str, str]]], targets: Sequence[str] | None, place: str
) -> pd.DataFrame:
    """Return the ratings of recordings, see `Corpus.annotations`.

    Args:
        cells: Key of a recording and its cells by column, for each row.
        targets: Columns; None for those of `DIMENSIONS` that occur.
        place: Path of the table, for messages.

    Raises:
        EmotionError: a column is missing, or a cell is not a number.
    """
    known = list(dict.fromkeys(name for _, own in cells for name in own))
    if targets is None:
        targets = [name for name in DIMENSIONS if name in known]
        if not targets:
            raise EmotionError(
                f"task=regression: {place} has no column {', '.join(DIMENSIONS)}; its further columns are "
                f"{', '.join(known) or 'none'}: name those of ratings with task.targets=[COLUMN]"
            )
    if missing := [name for name in targets if name.lower() not in known]:
        raise EmotionError(f"task.targets: {place} has no column {missing[0]}: {suggest(missing[0], known)}")
    rows = [
        [to_number(own.get(name.lower(), ""), f"{place}, {name} of {key}") for name in targets] for key, own in cells
    ]
    return pd.DataFrame(rows, index=pd.Index([key for key, _ in cells]), columns=pd.Index(targets), dtype=float)


def votes_table(cells: Sequence[tuple[str, Mapping[str, str]]], place: str) -> pd.DataFrame | None:
    """Return the votes of annotators, see `Corpus.votes`; those of several rows of a recording are added.

    Args:
        cells: See `ratings_table`; the columns that are named after emotions hold votes.
        place: Path of the table, for messages.

    Returns:
        The table, without recordings that have no votes; None if there are no votes.

    Raises:
        EmotionError: a cell is not a number.
    """
    columns = {name: emotion for _, own in cells for name in own if (emotion := known_emotion(name))}
    if not columns:
        return None
    rows = [[to_votes(own.get(name, ""), f"{place}, {name} of {key}") for name in columns] for key, own in cells]
    table = pd.DataFrame(rows, index=pd.Index([key for key, _ in cells]), columns=pd.Index(columns), dtype=float)
    votes = table.fillna(0.0).groupby(level=0).sum().T.groupby(columns.get).sum().T
    return votes[votes.sum(axis=1) > 0]


def path_below(directory: Path, cell: str, table: Path, line: int) -> str:
    """Return a path of a table relative to the directory of the corpus.

    Raises:
        EmotionError: the path is not below that directory.
    """
    if "\\" in cell and not (directory / cell).exists():
        cell = cell.replace("\\", "/")  # a path of Windows
    path = Path(cell)
    if path.is_absolute():
        places = ((path, directory.absolute()), (path.parent.resolve() / path.name, directory.resolve()))
        below = [place.relative_to(root) for place, root in places if place.is_relative_to(root)]
        path = below[0] if below and ".." not in path.parts else path
    if path.is_absolute() or ".." in path.parts or not path.name:
        raise EmotionError(f"{table} line {line}: {cell!r} is not below the directory of the corpus")
    forms = [path.as_posix(), *(unicodedata.normalize(form, path.as_posix()) for form in ("NFC", "NFD"))]
    return next((form for form in forms if (directory / form).exists()), clean(forms[0]))
