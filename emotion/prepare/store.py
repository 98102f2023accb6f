"""Arrays of many recordings in one folder: made once, resumed when interrupted, shared between processes.

An entry of the cache is a folder with a file for each column of arrays (the items of all recordings one after the
other, to be memory-mapped) and `index.csv` (one row a recording: where its items are, or what is wrong with its file).
While it is made it is called `<key>.partial`; rows are appended as recordings are done, and the folder gets its own
name only when it is whole.
"""

import csv
import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import BinaryIO, NamedTuple, TextIO

import numpy as np
import pandas as pd

from emotion.errors import EmotionError
from emotion.files import locked
from emotion.progress import track

log = logging.getLogger(__name__)

_INDEX_COLUMNS = ("recording", "offset", "length", "problem", "note")
_WRITTEN_EVERY = 0.5  # seconds: what is lost at most when it is interrupted


class Column(NamedTuple):
    """One kind of array: its file is `<name>.<dtype>`.

    Attributes:
        dtype: Of its values, such as `uint8`.
        shape: Of one item, such as `(112, 112, 3)` of one face; `()` of one sample of sound.
    """

    dtype: str
    shape: tuple[int, ...] = ()

    @property
    def item_bytes(self) -> int:
        """Bytes of one item."""
        return np.dtype(self.dtype).itemsize * prod(self.shape)


class Done(NamedTuple):
    """A recording that was prepared.

    Attributes:
        arrays: For each column, shape (items, *shape); the same number of items in each.
        problem: What is wrong with the file, if it cannot be used; then there are no items.
        note: What else there is to say.
    """

    recording: str
    arrays: Mapping[str, np.ndarray]
    problem: str = ""
    note: str = ""


@dataclass(frozen=True)
class Store:
    """Prepared arrays.

    Attributes:
        columns: The arrays of all recordings, one after the other, memory-mapped; shape (total, *shape).
        index: One row a recording, by recording: `offset` and `length` in items, `problem`, a text that is empty where
            the file could be used, and `note`.
        key: Names this content; whatever is derived from it is cached under it.
    """

    columns: Mapping[str, np.ndarray]
    index: pd.DataFrame
    key: str

    @property
    def problems(self) -> pd.Series:
        """What is wrong, by recording, for those that cannot be used."""
        return self.index["problem"][self.index["problem"] != ""]


def load_or_make(
    folder: Path,
    recordings: Sequence[str],
    columns: Mapping[str, Column],
    make: Callable[[Sequence[str]], Iterable[Done]],
    activity: str,
) -> Store:
    """The arrays in `folder`, made now if they are not there.

    Args:
        folder: An entry of the cache; its name is the key.
        recordings: Whose arrays they are, in order.
        columns: What is stored of each.
        make: Prepares those that it is given, in their order.
        activity: What is being done, for the progress bar.

    Raises:
        EmotionError: the cache cannot be written.
    """
    if not folder.is_dir():
        with locked(folder.with_suffix(".lock"), waiting_for=f"another process is {activity} of the same recordings"):
            if not folder.is_dir():
                _make(folder, columns, lambda done: track(make(recordings[done:]), activity, len(recordings) - done))
    arrays = {name: _open(_path(folder, name, column), column) for name, column in columns.items()}
    return Store(arrays, _read_index(folder / "index.csv").set_index("recording"), folder.name)


def source_of(directory: Path, path: str) -> tuple[str, int, int]:
    """What identifies a source file: one that changes on disk is prepared again."""
    try:
        status = (directory / path).stat()
    except OSError:
        return path, -1, -1
    return path, status.st_size, status.st_mtime_ns


def _open(path: Path, column: Column) -> np.ndarray:
    if not path.stat().st_size:
        return np.zeros((0, *column.shape), column.dtype)
    return np.memmap(path, column.dtype, "r").reshape(-1, *column.shape)


def _make(folder: Path, columns: Mapping[str, Column], rest_after: Callable[[int], Iterable[Done]]) -> None:
    """Make the folder; `rest_after(n)` prepares all recordings but the first n."""
    partial = folder.with_suffix(".partial")
    try:
        partial.mkdir(parents=True, exist_ok=True)
        done, offset = _recover(partial, columns)
        with ExitStack() as stack:
            files = {name: stack.enter_context(open(_path(partial, name, c), "ab")) for name, c in columns.items()}
            index = stack.enter_context(open(partial / "index.csv", "a", newline="", encoding="utf-8"))
            _append(rest_after(done), files, index, offset)
            for file in (*files.values(), index):
                os.fsync(file.fileno())
        partial.rename(folder)
    except OSError as error:
        raise EmotionError(
            f"cannot write the cache {partial}: {error.strerror or error}; "
            "free space or set EMOTION_CACHE to another folder"
        ) from error


def _append(items: Iterable[Done], files: Mapping[str, BinaryIO], index: TextIO, offset: int) -> None:
    writer, written = csv.writer(index, lineterminator="\n"), time.monotonic()
    for recording, arrays, problem, note in items:
        length = 0
        for name, file in files.items():
            length = len(arrays[name]) if name in arrays else 0
            if length:
                file.write(np.ascontiguousarray(arrays[name]).data)
        writer.writerow((recording, offset, length, problem, note))
        offset += length
        # Not for each: there may be many thousand small ones.
        if time.monotonic() - written > _WRITTEN_EVERY:
            _write_out(files, index)
            written = time.monotonic()
    _write_out(files, index)


def _write_out(files: Mapping[str, BinaryIO], index: TextIO) -> None:
    """Items reach their files before the rows that count them; `_recover` drops rows that were faster."""
    for file in (*files.values(), index):
        file.flush()


def _recover(partial: Path, columns: Mapping[str, Column]) -> tuple[int, int]:
    """Cut an interrupted preparation back to its last whole recording; returns how many it holds, and their items."""
    path = partial / "index.csv"
    if not path.exists():
        for name, column in columns.items():
            _path(partial, name, column).unlink(missing_ok=True)
        path.write_text(",".join(_INDEX_COLUMNS) + "\n", encoding="utf-8")
        return 0, 0
    text = path.read_bytes()
    path.write_bytes(text[: text.rfind(b"\n") + 1])
    index = _read_index(path)
    files = [(_path(partial, name, column), column) for name, column in columns.items()]
    available = min(file.stat().st_size // column.item_bytes if file.exists() else 0 for file, column in files)
    index = index[index["offset"] + index["length"] <= available]
    index.to_csv(path, index=False, lineterminator="\n")
    items = int(index["length"].sum())
    for file, column in files:
        with open(file, "ab") as stream:
            stream.truncate(items * column.item_bytes)
    log.info("resuming: %d recordings were prepared before", len(index))
    return len(index), items


def _path(folder: Path, name: str, column: Column) -> Path:
    return folder / f"{name}.{column.dtype}"


def _read_index(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype={"recording": str, "problem": str, "note": str}, keep_default_na=False)
