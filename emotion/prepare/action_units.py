"""Facial action units, read from tables of OpenFace."""

import re
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from emotion.errors import EmotionError, suggest

INTENSITIES = tuple(f"AU{number:02}_r" for number in (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 25, 26, 45))
"""Columns of the intensity of each unit, in [0, 5]."""
PRESENCES = tuple(f"AU{number:02}_c" for number in (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 25, 26, 28, 45))
"""Columns of the presence of each unit, 0 or 1."""
COLUMN_KINDS = {"intensity": INTENSITIES, "presence": PRESENCES}
POOLINGS = ("mean", "none")

_NAMES = ("name", "filename", "file", "clip")


def unit_names(column_kinds: Iterable[str]) -> tuple[str, ...]:
    """Return the columns of the given kinds.

    Args:
        column_kinds: `intensity`, `presence`, or both.

    Raises:
        EmotionError: a kind is unknown, or none is given.
    """
    column_kinds = tuple(column_kinds)
    for kind in column_kinds:
        if kind not in COLUMN_KINDS:
            raise EmotionError(f"action_units.columns={kind}: {suggest(kind, COLUMN_KINDS)}")
    if not column_kinds:
        raise EmotionError(f"action_units.columns is empty; choose from {', '.join(COLUMN_KINDS)}")
    return tuple(name for kind in column_kinds for name in COLUMN_KINDS[kind])


def read_action_units(
    table: Path, column_kinds: Iterable[str], pooling: str, key_of: Callable[[str], str]
) -> dict[str, np.ndarray]:
    """Read the action units of recordings.

    Args:
        table: CSV file with a column `name` and one row for each recording or frame; or a folder with one CSV file of
            OpenFace for each recording, named after it. The separator is a comma or a semicolon. Frames on which
            OpenFace failed (`success` is 0) are skipped.
        column_kinds: See `unit_names`.
        pooling: `mean` over the frames of a recording, or `none`.
        key_of: Function from the name of a clip to the key of its recording.

    Returns:
        Units of each recording, shape (n_frames, A), float32; n_frames is 1 with `mean`.

    Raises:
        EmotionError: the table cannot be read, or lacks a column.
    """
    if pooling not in POOLINGS:
        raise EmotionError(f"action_units.pooling={pooling} is none of {', '.join(POOLINGS)}")
    files = sorted(table.glob("*.csv")) if table.is_dir() else [table]
    if not files:
        raise EmotionError(f"action_units.table={table} is a folder without a CSV")
    columns = unit_names(column_kinds)
    rows = pd.concat([_read(file, columns, named=table.is_dir()) for file in files], ignore_index=True)
    numbers = rows[list(columns)].apply(pd.to_numeric, errors="coerce")
    with np.errstate(over="ignore"):
        numbers = numbers.astype(np.float32)
    if not np.isfinite(numbers.to_numpy()).all():
        raise EmotionError(f"{table} has action units that are not finite numbers")
    rows[list(columns)] = numbers
    groups = rows.groupby(rows["name"].map(key_of), sort=True)
    units = {key: group[list(columns)].to_numpy(np.float32) for key, group in groups}
    return {key: value.mean(axis=0, keepdims=True) for key, value in units.items()} if pooling == "mean" else units


def _read(file: Path, columns: tuple[str, ...], named: bool) -> pd.DataFrame:
    try:
        rows = pd.read_csv(file, sep=_separator(file))
    except (OSError, ValueError) as error:
        raise EmotionError(f"cannot read the action units {file}: {error}") from error
    rows = rows.rename(columns=str.strip)
    if named:
        rows["name"] = file.stem
    name = next((column for column in _NAMES if column in rows), None)
    missing = [column for column in columns if column not in rows]
    if missing or not name:
        raise EmotionError(f"{file} lacks the column {(missing or ['name'])[0]}; OpenFace writes {columns[0]}, …")
    if "success" in rows:
        rows = rows[rows["success"] == 1]
    rows = rows.rename(columns={name: "name"})
    return rows.assign(name=rows["name"].astype(str))[["name", *columns]]


def _separator(file: Path) -> str:
    with open(file, encoding="utf-8") as stream:
        return ";" if re.match(r"[^,]*;", stream.readline()) else ","
