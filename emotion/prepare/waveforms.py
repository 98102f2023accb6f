"""Waveforms of all recordings, as one int16 memory map."""

import logging
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

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
    paths = dict(zip(table["recording"], table["audio"], strict=True))
    sources = [(recording, *source_of(directory, path)) for recording, path in paths.items()]
    described = {"format": FORMAT, "sample_rate": sample_rate, "sources": sources}
    key = fingerprint(described | {"speech_only": True} if speech_only else described)

    def decode(recording: str) -> PreparedItem:
        notes: list[str] = []
        try:
            waveform = read_audio(directory / paths[recording], sample_rate, notes.append)
        except MediaError as error:
            return PreparedItem(recording, {}, _relative(str(error)))
        samples = to_int16(waveform)
        if speech_only:
            speech = only_speech(samples, sample_rate)
            if not len(speech):
                notes.append(f"{paths[recording]}: no speech was detected in it, so all of it is used")
            samples = speech if len(speech) else samples
        return PreparedItem(recording, {"waveforms": samples}, note="; ".join(map(_relative, notes)))

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
