"""Arrays of many recordings in one folder, computed once, resumed after an interruption, and shared by processes.

An entry of the cache is a folder with a file for each column of arrays (the items of all recordings, concatenated and
memory-mapped) and `index.csv` (one row for each recording: the position of its items, or the problem of its file).
While it is computed the folder is called `<key>.partial`; rows are appended for finished recordings, and the folder is
renamed when it is complete.
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
_FLUSH_INTERVAL_S = 0.5  # an interruption loses at most the work of this time


class Column(NamedTuple):
    """One kind of array, in the file `<name>.<dtype>`.

    Attributes:
        dtype: Name of the data type, such as `uint8`.
        shape: Shape of an item, such as `(112, 112, 3)` for a face and `()` for an audio sample.
    """

    dtype: str
    shape: tuple[int, ...] = ()

    @property
    def item_bytes(self) -> int:
        """The size of an item, in bytes."""
        return np.dtype(self.dtype).itemsize * prod(self.shape)


class PreparedItem(NamedTuple):
    """The arrays of one recording.

    Attributes:
        recording: Key of the recording.
        arrays: Array of each column, shape (n_items, *shape), with the same number of items.
        problem: Why the file cannot be used; empty if it can. With a problem there are no items.
        note: Further message.
    """

    recording: str
    arrays: Mapping[str, np.ndarray]
    problem: str = ""
    note: str = ""


@dataclass(frozen=True)
class Store:
    """Prepared arrays.

    Attributes:
        columns: Concatenated arrays of all recordings, memory-mapped, shape (total, *shape).
        index: One row for each recording: `offset` and `length` in items, `problem` (empty if the file is usable), and
            `note`.
        key: Identifier of the content, for caches of what is derived from it.
    """

    columns: Mapping[str, np.ndarray]
    index: pd.DataFrame
    key: str

    @property
    def problems(self) -> pd.Series:
        """The problems of the recordings that cannot be used, by recording."""
        return self.index["problem"][self.index["problem"] != ""]


def load_or_make(
    folder: Path,
    recordings: Sequence[str],
    columns: Mapping[str, Column],
    make: Callable[[Sequence[str]], Iterable[PreparedItem]],
    activity: str,
) -> Store:
    """Load arrays from a folder, and compute them first if it does not exist.

    Args:
        folder: Entry of the cache; its name is the key.
        recordings: Keys of the recordings, in order.
        columns: Columns by name.
        make: Function that computes the arrays of given recordings, in order.
        activity: Description of the work, for the progress bar.

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
    """Return path, size and modification time of a file, so that a changed file is prepared again.

    Args:
        directory: Directory of the corpus.
        path: Path in it.
    """
    try:
        status = (directory / path).stat()
    except OSError:
        return path, -1, -1
    return path, status.st_size, status.st_mtime_ns


def _open(path: Path, column: Column) -> np.ndarray:
    if not path.stat().st_size:
        return np.zeros((0, *column.shape), column.dtype)
    return np.memmap(path, column.dtype, "r").reshape(-1, *column.shape)


def _make(folder: Path, columns: Mapping[str, Column], remaining: Callable[[int], Iterable[PreparedItem]]) -> None:
    """Compute the arrays of a folder; `remaining(n)` computes those of all recordings but the first n."""
    partial = folder.with_suffix(".partial")
    try:
        partial.mkdir(parents=True, exist_ok=True)
        done, offset = _recover(partial, columns)
        with ExitStack() as stack:
            files = {name: stack.enter_context(open(_path(partial, name, c), "ab")) for name, c in columns.items()}
            index = stack.enter_context(open(partial / "index.csv", "a", newline="", encoding="utf-8"))
            _append(remaining(done), files, index, offset)
            for file in (*files.values(), index):
                os.fsync(file.fileno())
        partial.rename(folder)
    except OSError as error:
        raise EmotionError(
            f"cannot write the cache {partial}: {error.strerror or error}; "
            "free space or set EMOTION_CACHE to another folder"
        ) from error


def _append(items: Iterable[PreparedItem], files: Mapping[str, BinaryIO], index: TextIO, offset: int) -> None:
    writer, written = csv.writer(index, lineterminator="\n"), time.monotonic()
    for recording, arrays, problem, note in items:
        length = 0
        for name, file in files.items():
            length = len(arrays[name]) if name in arrays else 0
            if length:
                file.write(np.ascontiguousarray(arrays[name]).data)
        writer.writerow((recording, offset, length, problem, note))
        offset += length
        # Not after each item, since there can be many thousands of small ones.
        if time.monotonic() - written > _FLUSH_INTERVAL_S:
            _flush(files, index)
            written = time.monotonic()
    _flush(files, index)


def _flush(files: Mapping[str, BinaryIO], index: TextIO) -> None:
    """Flush items before the rows that refer to them; `_recover` removes rows without items."""
    for file in (*files.values(), index):
        file.flush()


def _recover(partial: Path, columns: Mapping[str, Column]) -> tuple[int, int]:
    """Truncate an interrupted preparation after its last complete recording.

    Returns:
        Number of complete recordings, and of their items.
    """
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
