"""The sound of every recording as one int16 memory map: made once, resumed when interrupted, shared between processes.

An entry of the cache is a folder with `waveforms.int16` (all samples one after the other) and `index.csv` (one row a
recording: where its samples are, or what is wrong with its file). While it is made it is called `<key>.partial`; rows
are appended as recordings are done, and the folder gets its own name only when it is whole.
"""

import csv
import logging
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from emotion.errors import EmotionError
from emotion.files import cache_directory, fingerprint, locked
from emotion.media.audio import MediaError, read_audio
from emotion.progress import track

log = logging.getLogger(__name__)

FORMAT = 1  # part of the cache key: raise it when the samples that are stored change
INT16_FULL_SCALE = 32768
_INDEX_COLUMNS = ("recording", "offset", "length", "problem")
_BATCH = 64


@dataclass(frozen=True)
class Waveforms:
    """Prepared sound.

    Attributes:
        samples: All samples, shape (total,), int16, memory-mapped.
        index: One row a recording, by recording: `offset` and `length` in samples, and `problem`, a text that is
            empty where the file could be used.
        sample_rate: In Hz.
        key: Names this content; whatever is derived from it is cached under it.
    """

    samples: np.ndarray
    index: pd.DataFrame
    sample_rate: int
    key: str

    @property
    def problems(self) -> pd.Series:
        """What is wrong, by recording, for those that cannot be used."""
        return self.index["problem"][self.index["problem"] != ""]


def prepare_waveforms(table: pd.DataFrame, directory: Path, sample_rate: int, cache: Path | None = None) -> Waveforms:
    """The sound of the recordings in `table`, from the cache or decoded now.

    Args:
        table: Recordings of one corpus that have `audio`, as `Corpus.scan` gives them.
        directory: The corpus folder, to which the paths in `table` are relative.
        sample_rate: The rate to resample to, in Hz.
        cache: The cache directory; by default `emotion.files.cache_directory()`.
    """
    sources = [_source(directory, row.recording, row.audio) for row in table.itertuples()]
    key = fingerprint({"format": FORMAT, "sample_rate": sample_rate, "sources": sources})
    folder = (cache or cache_directory()) / "waveforms" / key
    if not folder.is_dir():
        with locked(folder.with_suffix(".lock"), waiting_for="another process prepares the same recordings"):
            if not folder.is_dir():
                _prepare(sources, directory, sample_rate, folder)
    index = _read_index(folder / "index.csv")
    path = folder / "waveforms.int16"
    samples = np.memmap(path, np.int16, "r") if path.stat().st_size else np.zeros(0, np.int16)
    return Waveforms(samples, index.set_index("recording"), sample_rate, key)


def _source(directory: Path, recording: str, audio: str) -> tuple[str, str, int, int]:
    """What identifies a source file: a file that changes on disk is prepared again."""
    try:
        status = (directory / audio).stat()
    except OSError:
        return recording, audio, -1, -1
    return recording, audio, status.st_size, status.st_mtime_ns


def _prepare(sources: list[tuple[str, str, int, int]], directory: Path, sample_rate: int, folder: Path) -> None:
    partial = folder.with_suffix(".partial")
    try:
        partial.mkdir(parents=True, exist_ok=True)
        done = _recover(partial)
        todo = sources[done:]
        with (
            open(partial / "waveforms.int16", "ab") as samples_file,
            open(partial / "index.csv", "a", newline="", encoding="utf-8") as index_file,
        ):
            index = csv.writer(index_file, lineterminator="\n")
            offset = samples_file.tell()
            decoded = _decode_all(todo, directory, sample_rate)
            for recording, waveform, problem in track(decoded, "preparing waveforms", len(todo)):
                # Samples reach the file before the row that counts them.
                samples_file.write(waveform.tobytes())
                samples_file.flush()
                index.writerow((recording, offset // 2, len(waveform), problem))
                index_file.flush()
                offset += waveform.nbytes
            os.fsync(samples_file.fileno())
            os.fsync(index_file.fileno())
        partial.rename(folder)
    except OSError as error:
        raise EmotionError(
            f"cannot write the cache {partial}: {error.strerror or error}; "
            "free space or set EMOTION_CACHE to another folder"
        ) from error


def _decode_all(
    sources: list[tuple[str, str, int, int]], directory: Path, sample_rate: int
) -> Iterator[tuple[str, np.ndarray, str]]:
    """Decode in order, on all cores, a bounded number of recordings ahead."""

    def decode(source: tuple[str, str, int, int]) -> tuple[str, np.ndarray, str]:
        recording, audio, *_ = source
        try:
            waveform = read_audio(directory / audio, sample_rate)
        except MediaError as error:
            return recording, np.zeros(0, np.int16), str(error).replace(f"{directory}{os.sep}", "")
        quantised = np.clip(np.rint(waveform * INT16_FULL_SCALE), -INT16_FULL_SCALE, INT16_FULL_SCALE - 1)
        return recording, quantised.astype("<i2"), ""

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(sources), _BATCH):
            yield from pool.map(decode, sources[start : start + _BATCH])


def _recover(partial: Path) -> int:
    """Cut an interrupted preparation back to its last whole recording; returns how many it holds."""
    index_path, samples_path = partial / "index.csv", partial / "waveforms.int16"
    if not index_path.exists():
        samples_path.unlink(missing_ok=True)
        index_path.write_text(",".join(_INDEX_COLUMNS) + "\n", encoding="utf-8")
        return 0
    text = index_path.read_bytes()
    index_path.write_bytes(text[: text.rfind(b"\n") + 1])
    index = _read_index(index_path)
    available = samples_path.stat().st_size // 2 if samples_path.exists() else 0
    index = index[index["offset"] + index["length"] <= available]
    index.to_csv(index_path, index=False, lineterminator="\n")
    with open(samples_path, "ab") as file:
        file.truncate(2 * int(index["length"].sum()))
    log.info("resuming: %d recordings were prepared before", len(index))
    return len(index)


def _read_index(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype={"recording": str, "problem": str}, keep_default_na=False)
