"""Waveforms of all recordings, as one int16 memory map."""

import logging
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import pandas as pd

from emotion.files import cache_directory, fingerprint
from emotion.media.audio import read_audio
from emotion.media.files import MediaError
from emotion.media.int16 import to_int16
from emotion.prepare.speech import speech_only as only_speech
from emotion.prepare.store import Column, PreparedItem, Store, load_or_make, source_of

log = logging.getLogger(__name__)

FORMAT = 3  # part of the cache key: increment it when the stored samples change
_BATCH = 64


LATEST_S = 1e6
"""Stands for the end of a file, in seconds."""


def parts_of(table: pd.DataFrame) -> dict[str, tuple[float, float]]:
    """Return start and end, in seconds, of the recordings that are parts of files, by key."""
    if "start" not in table:
        return {}
    rows = zip(table["recording"], table["start"], table["end"], strict=True)
    return {key: (float(start or 0), float(end or LATEST_S)) for key, start, end in rows if start or end}


def prepare_waveforms(
    table: pd.DataFrame, directory: Path, sample_rate: int, cache: Path | None = None, speech_only: bool = False
) -> Store:
    """Return the waveforms of recordings, from the cache or decoded.

    Args:
        table: Recordings of one corpus with `audio`, as `Corpus.scan` returns them.
        directory: Directory of the corpus, to which the paths in `table` are relative.
        sample_rate: Sampling rate of the result, in Hz.
        cache: Cache directory (default: `emotion.files.cache_directory()`).
        speech_only: Keep only the parts that are speech (default: False). A recording in which none is detected is kept
            whole, since its label states that it is speech.

    Returns:
        Store with the column `waveforms`, shape (total,), int16.
    """
    paths, parts = dict(zip(table["recording"], table["audio"], strict=True)), parts_of(table)
    sources = [(name, *source_of(directory, path), *parts.get(name, ())) for name, path in paths.items()]
    described = {"format": FORMAT, "sample_rate": sample_rate, "sources": sources}
    key = fingerprint(described | {"speech_only": True} if speech_only else described)

    read = partial(_read, directory, sample_rate)
    if parts:  # the parts of a file follow each other, and it is decoded once
        read = lru_cache(maxsize=os.cpu_count())(read)

    def decode(recording: str) -> PreparedItem:
        path = paths[recording]
        try:
            samples, notes = read(path)
            samples = _part(samples, path, sample_rate, parts.get(recording))
        except MediaError as error:
            return PreparedItem(recording, {}, _relative(str(error), directory))
        if speech_only:
            speech = only_speech(samples, sample_rate)
            if not len(speech):
                notes = [*notes, f"{path}: no speech was detected in it, so all of it is used"]
            samples = speech if len(speech) else samples
        return PreparedItem(recording, {"waveforms": samples}, note="; ".join(notes))

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


def _read(directory: Path, sample_rate: int, path: str) -> tuple[np.ndarray, list[str]]:
    """Return the samples of a file, shape (T,), int16, and messages about it."""
    notes: list[str] = []
    samples = to_int16(read_audio(directory / path, sample_rate, notes.append))
    return samples, [_relative(note, directory) for note in notes]


def _relative(text: str, directory: Path) -> str:
    """Return a message without the directory of the corpus."""
    return text.replace(f"{directory}{os.sep}", "")


def _part(samples: np.ndarray, path: str, sample_rate: int, part: tuple[float, float] | None) -> np.ndarray:
    """Return the samples from start to end, in seconds; all if there is no part.

    Raises:
        MediaError: the file ends before the part.
    """
    if part is None:
        return samples
    start, end = (round(seconds * sample_rate) for seconds in part)
    if not len(samples[start:end]):
        raise MediaError(f"{path}: ends before {part[0]:g} s")
    return samples[start:end]
