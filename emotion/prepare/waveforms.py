"""The sound of every recording as one int16 memory map."""

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
from emotion.prepare.store import Column, Done, Store, load_or_make, source_of

log = logging.getLogger(__name__)

FORMAT = 3  # part of the cache key: raise it when the samples that are stored change
INT16_FULL_SCALE = 32768
_BATCH = 64


def prepare_waveforms(table: pd.DataFrame, directory: Path, sample_rate: int, cache: Path | None = None) -> Store:
    """The sound of the recordings in `table`, from the cache or decoded now: the column `waveforms`, int16 samples.

    Args:
        table: Recordings of one corpus that have `audio`, as `Corpus.scan` gives them.
        directory: The corpus folder, to which the paths in `table` are relative.
        sample_rate: The rate to resample to, in Hz.
        cache: The cache directory; by default `emotion.files.cache_directory()`.
    """
    paths = dict(zip(table["recording"], table["audio"], strict=True))
    sources = [(recording, *source_of(directory, path)) for recording, path in paths.items()]
    key = fingerprint({"format": FORMAT, "sample_rate": sample_rate, "sources": sources})

    def decode(recording: str) -> Done:
        notes: list[str] = []
        try:
            waveform = read_audio(directory / paths[recording], sample_rate, notes.append)
        except MediaError as error:
            return Done(recording, {}, _relative(str(error)))
        return Done(recording, {"waveforms": quantised(waveform)}, note="; ".join(map(_relative, notes)))

    def _relative(text: str) -> str:
        return text.replace(f"{directory}{os.sep}", "")

    def decode_all(recordings: Sequence[str]) -> Iterator[Done]:
        """In order, on all cores, a bounded number of recordings ahead."""
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for start in range(0, len(recordings), _BATCH):
                yield from pool.map(decode, recordings[start : start + _BATCH])

    folder = (cache or cache_directory()) / "waveforms" / key
    columns = {"waveforms": Column("int16")}
    store = load_or_make(folder, list(paths), columns, decode_all, "preparing the sound")
    if len(odd := store.index["note"][store.index["note"] != ""]):
        log.warning("%d recordings have odd sound; such as %s", len(odd), odd.iloc[0])
    return store


def quantised(waveform: np.ndarray) -> np.ndarray:
    """The samples of a waveform, full scale [-1, 1], as every model is given them: int16."""
    return np.clip(np.rint(waveform * INT16_FULL_SCALE), -INT16_FULL_SCALE, INT16_FULL_SCALE - 1).astype("<i2")
