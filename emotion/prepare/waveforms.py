"""Waveforms of all recordings, as one int16 memory map."""

import logging
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd

from emotion.files import cache_directory, fingerprint
from emotion.media.audio import read_audio
from emotion.media.files import MediaError
from emotion.prepare.store import Column, PreparedItem, Store, load_or_make, source_of

log = logging.getLogger(__name__)

FORMAT = 3  # part of the cache key: increment it when the stored samples change
INT16_FULL_SCALE = 32768
_BATCH = 64


def prepare_waveforms(table: pd.DataFrame, directory: Path, sample_rate: int, cache: Path | None = None) -> Store:
    """Return the waveforms of recordings, from the cache or decoded.

    Args:
        table: Recordings of one corpus with `audio`, as `Corpus.scan` returns them.
        directory: Directory of the corpus, to which the paths in `table` are relative.
        sample_rate: Sampling rate of the result, in Hz.
        cache: Cache directory (default: `emotion.files.cache_directory()`).

    Returns:
        Store with the column `waveforms`, shape (total,), int16.
    """
    paths = dict(zip(table["recording"], table["audio"], strict=True))
    sources = [(recording, *source_of(directory, path)) for recording, path in paths.items()]
    key = fingerprint({"format": FORMAT, "sample_rate": sample_rate, "sources": sources})

    def decode(recording: str) -> PreparedItem:
        notes: list[str] = []
        try:
            waveform = read_audio(directory / paths[recording], sample_rate, notes.append)
        except MediaError as error:
            return PreparedItem(recording, {}, _relative(str(error)))
        return PreparedItem(recording, {"waveforms": to_int16(waveform)}, note="; ".join(map(_relative, notes)))

    def _relative(text: str) -> str:
        return text.replace(f"{directory}{os.sep}", "")

    def decode_all(recordings: Sequence[str]) -> Iterator[PreparedItem]:
        """Decode in order, on all cores, with a bounded number of recordings in memory."""
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for start in range(0, len(recordings), _BATCH):
                yield from pool.map(decode, recordings[start : start + _BATCH])

    folder = (cache or cache_directory()) / "waveforms" / key
    columns = {"waveforms": Column("int16")}
    store = load_or_make(folder, list(paths), columns, decode_all, "preparing the audio")
    if len(notes := store.index["note"][store.index["note"] != ""]):
        log.warning("the audio of %d recordings is unusual, such as %s", len(notes), notes.iloc[0])
    return store


def to_int16(waveform: np.ndarray) -> np.ndarray:
    """Convert a waveform with full scale [-1, 1] to int16, as in training data; shape (T,)."""
    return np.clip(np.rint(waveform * INT16_FULL_SCALE), -INT16_FULL_SCALE, INT16_FULL_SCALE - 1).astype("<i2")
