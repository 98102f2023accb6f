"""The sound of every recording as one int16 memory map."""

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

FORMAT = 2  # part of the cache key: raise it when the samples that are stored change
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
        try:
            waveform = read_audio(directory / paths[recording], sample_rate)
        except MediaError as error:
            return Done(recording, {}, str(error).replace(f"{directory}{os.sep}", ""))
        return Done(recording, {"waveforms": quantised(waveform)})

    def decode_all(recordings: Sequence[str]) -> Iterator[Done]:
        """In order, on all cores, a bounded number of recordings ahead."""
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for start in range(0, len(recordings), _BATCH):
                yield from pool.map(decode, recordings[start : start + _BATCH])

    folder = (cache or cache_directory()) / "waveforms" / key
    columns = {"waveforms": Column("int16")}
    return load_or_make(folder, list(paths), columns, decode_all, "preparing the sound")


def quantised(waveform: np.ndarray) -> np.ndarray:
    """The samples of a waveform, full scale [-1, 1], as every model is given them: int16."""
    return np.clip(np.rint(waveform * INT16_FULL_SCALE), -INT16_FULL_SCALE, INT16_FULL_SCALE - 1).astype("<i2")
