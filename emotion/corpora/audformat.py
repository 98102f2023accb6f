"""Databases in audformat (audEERING, https://audeering.github.io/audformat), read without the package.

The package loads pickled tables if there are any, which could execute code; here only the header and the tables in CSV
or Parquet are read.
"""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd
import yaml

from emotion.corpora.base import COLUMNS, UNKNOWN_SPEAKER, Corpus
from emotion.corpora.cells import known_emotion, part_of_file
from emotion.errors import EmotionError, counted, error_message, suggest

log = logging.getLogger(__name__)

_HEADER = "db.yaml"


class Audformat(Corpus):
    """A database with `db.yaml` and tables `db.<table>.csv` or `db.<table>.parquet`, filewise or segmented.

    Speakers are those of a column `speaker` in any table; their gender is that in the scheme of the speakers.

    Args:
        table: Name of the table of emotions (default: all tables that have the column).
        column: Name of the column of emotions (default: `emotion`).
    """

    name = "audformat"
    how_to_get = "export the database with audformat, as CSV or Parquet"

    def __init__(self, table: str | None = None, column: str = "emotion") -> None:
        self.table, self.column = table, column
        self._reported: set[str] = set()

    def read(self, directory: Path) -> list[dict[str, str]]:
        """See `Corpus.read`.

        Raises:
            EmotionError: the header or a table is missing or damaged, no table has the column, or one file has two
                emotions.
        """
        header = _header(directory / _HEADER)
        speakers, genders = _speakers(directory, header), _genders(header)
        rows: dict[str, dict[str, str]] = {}
        unknown: Counter[str] = Counter()
        for table in self._tables(header):
            for file, start, end, word in _values(directory, table, self.column):
                emotion = known_emotion(word)
                if not emotion:
                    unknown[word] += 1
                    continue
                key = f"{self.name}/{PurePosixPath(file).with_suffix('')}" + (f"@{start}-{end}" if start or end else "")
                speaker = speakers.get(file, "")
                row = dict.fromkeys(COLUMNS, "") | {"recording": key, "emotion": emotion, "audio": file}
                row |= {"speaker": f"{self.name}/{speaker}" if speaker else UNKNOWN_SPEAKER, "channel": "speech"}
                row |= {"gender": genders.get(speaker, ""), "start": start, "end": end}
                if rows.setdefault(key, row)["emotion"] != emotion:
                    raise EmotionError(
                        f"{directory}: {file} is {rows[key]['emotion']} and {emotion}; choose a table with "
                        "data.corpus.table=NAME"
                    )
        self._report(unknown)
        return list(rows.values())

    def describe(self, table: pd.DataFrame, channel: str) -> str:
        """See `Corpus.describe`."""
        speakers = table.loc[table["speaker"] != UNKNOWN_SPEAKER, "speaker"].nunique()
        who = counted(speakers, "speaker") if speakers else "unknown speakers"
        return f"audformat: {counted(len(table), 'recording')}, {who}"

    def _tables(self, header: Mapping[str, Any]) -> list[str]:
        having = [name for name, table in header["tables"].items() if self.column in (table.get("columns") or {})]
        if self.table is not None and self.table not in having:
            raise EmotionError(f"data.corpus.table={self.table}: {suggest(self.table, having)}")
        if not having:
            columns = {column for table in header["tables"].values() for column in (table.get("columns") or {})}
            raise EmotionError(f"data.corpus.column={self.column}: {suggest(self.column, columns)}")
        return [self.table] if self.table is not None else having

    def _report(self, unknown: Counter[str]) -> None:
        counts = ", ".join(f"{count:,} {word or 'without a label'}" for word, count in unknown.most_common(3))
        text = f"audformat: {unknown.total():,} recordings with other labels are skipped ({counts})"
        if unknown and text not in self._reported:
            self._reported.add(text)
            log.warning("%s", text)


def _header(path: Path) -> dict[str, Any]:
    try:
        header = yaml.safe_load(path.read_text(encoding="utf-8"))
        if not all(isinstance(table, dict) for table in header["tables"].values()):
            raise TypeError("tables must have keys and values")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, yaml.YAMLError) as error:
        raise EmotionError(f"{path} is not the header of a database in audformat: {error_message(error)}") from error
    return header


def _values(directory: Path, table: str, column: str) -> Iterator[tuple[str, str, str, str]]:
    """Yield file, start and end in seconds, and the value of a column, for each row of a table that has a value."""
    content = _read(directory, table)
    if "file" not in content or column not in content:
        raise EmotionError(f"table {table} in {directory} lacks the column {'file' if column in content else column}")
    path = directory / f"db.{table}"
    for line, row in enumerate(content.to_dict("records"), start=2):
        file = row["file"].replace("\\", "/")
        if not file or PurePosixPath(file).is_absolute() or ".." in PurePosixPath(file).parts:
            raise EmotionError(f"{path} line {line}: {row['file']!r} is not a path below the directory of the database")
        start, end = part_of_file(row.get("start", ""), row.get("end", ""), path, line)
        yield file, start, end, row[column]


def _read(directory: Path, table: str) -> pd.DataFrame:
    """Return a table with all cells as text, empty where there is no value."""
    csv, parquet = directory / f"db.{table}.csv", directory / f"db.{table}.parquet"
    try:
        if csv.is_file():
            return pd.read_csv(csv, dtype=str, keep_default_na=False)
        if parquet.is_file():
            content = pd.read_parquet(parquet).reset_index()
            return content.astype(object).where(content.notna(), "").map(_text)
    except ImportError as error:
        raise EmotionError(f"{parquet} needs pyarrow: pip install 'emotion[parquet]'") from error
    except (OSError, ValueError, LookupError) as error:
        raise EmotionError(f"cannot read table {table} in {directory}: {error_message(error)}") from error
    raise EmotionError(f"{csv} does not exist, nor does {parquet.name}; save the database as CSV or Parquet")


def _text(cell: object) -> str:
    # Integers with missing values are stored as floats.
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)


def _speakers(directory: Path, header: Mapping[str, Any]) -> dict[str, str]:
    """Return the speaker of each file, from all tables with a column `speaker`."""
    found = {}
    for name, table in header["tables"].items():
        if "speaker" in (table.get("columns") or {}):
            found |= {file: speaker for file, _, _, speaker in _values(directory, name, "speaker") if speaker}
    return found


def _genders(header: Mapping[str, Any]) -> dict[str, str]:
    labels = ((header.get("schemes") or {}).get("speaker") or {}).get("labels")
    if not isinstance(labels, dict):
        return {}
    genders = {str(name): str(about.get("gender", "")) for name, about in labels.items() if isinstance(about, dict)}
    return {name: gender for name, gender in genders.items() if gender in ("female", "male")}
