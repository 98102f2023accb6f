"""Facial action units as OpenFace measures them, read from tables: for those who have these instead of videos."""

import re
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from emotion.errors import EmotionError, suggest

INTENSITIES = tuple(f"AU{number:02}_r" for number in (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 25, 26, 45))
"""How strong each unit is, from 0 to 5."""
PRESENCES = tuple(f"AU{number:02}_c" for number in (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 25, 26, 28, 45))
"""Whether each unit is there: 0 or 1, or their mean."""
KINDS = {"intensity": INTENSITIES, "presence": PRESENCES}
OVER_TIME = ("mean", "frames")

_NAMES = ("name", "filename", "file", "clip")


def unit_names(kinds: Iterable[str]) -> tuple[str, ...]:
    """The columns of `kinds`, `intensity` or `presence`.

    Raises:
        EmotionError: there is no such kind, or none is given.
    """
    kinds = tuple(kinds)
    for kind in kinds:
        if kind not in KINDS:
            raise EmotionError(f"action_units.kinds={kind}: {suggest(kind, KINDS)}")
    if not kinds:
        raise EmotionError(f"action_units.kinds is empty: choose of {', '.join(KINDS)}")
    return tuple(name for kind in kinds for name in KINDS[kind])


def read_action_units(
    table: Path, kinds: Iterable[str], over_time: str, key_of: Callable[[str], str]
) -> dict[str, np.ndarray]:
    """The units of each recording, shape (frames, A), float32; with `over_time=mean` there is one frame.

    Args:
        table: A CSV with a column `name` and one row a recording or one a frame, or a folder with a CSV of OpenFace for
            each recording, named after it. Columns are separated by commas or semicolons. Frames on which OpenFace
            failed (`success` 0) are left out.
        kinds: See `unit_names`.
        over_time: `mean` or `frames`.
        key_of: From the name of a clip to the key of its recording.

    Raises:
        EmotionError: the table cannot be read, or lacks a column.
    """
    if over_time not in OVER_TIME:
        raise EmotionError(f"action_units.over_time={over_time} is none of {', '.join(OVER_TIME)}")
    files = sorted(table.glob("*.csv")) if table.is_dir() else [table]
    if not files:
        raise EmotionError(f"action_units.table={table} is a folder without a CSV")
    columns = unit_names(kinds)
    rows = pd.concat([_read(file, columns, named=table.is_dir()) for file in files], ignore_index=True)
    numbers = rows[list(columns)].apply(pd.to_numeric, errors="coerce")
    with np.errstate(over="ignore"):
        numbers = numbers.astype(np.float32)
    if not np.isfinite(numbers.to_numpy()).all():
        raise EmotionError(f"{table} has units that are no numbers")
    rows[list(columns)] = numbers
    groups = rows.groupby(rows["name"].map(key_of), sort=True)
    units = {key: group[list(columns)].to_numpy(np.float32) for key, group in groups}
    return {key: value.mean(axis=0, keepdims=True) for key, value in units.items()} if over_time == "mean" else units


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
