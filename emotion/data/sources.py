"""The modalities of the recordings of a corpus, prepared by `emotion.prepare`."""

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from emotion.config.schema import ActionUnitsConfig, FacesConfig
from emotion.corpora import Corpus
from emotion.data.dataset import Ragged
from emotion.errors import EmotionError, counted
from emotion.features.silence import audible_range
from emotion.media.int16 import INT16_FULL_SCALE
from emotion.prepare.action_units import read_action_units
from emotion.prepare.faces import prepare_faces
from emotion.prepare.modalities import ActionUnits, Audio, Faces
from emotion.prepare.store import Store
from emotion.prepare.waveforms import parts_of, prepare_waveforms

log = logging.getLogger(__name__)

_BATCH = 32


@dataclass(frozen=True)
class Source:
    """One modality of a corpus.

    Attributes:
        items: Arrays of the usable recordings.
        absent: Recordings without this modality.
        problems: Problems of other recordings, by recording.
        key: Identifier of the content, for caches.
    """

    items: Ragged
    absent: pd.Index
    problems: pd.Series
    key: str = ""


def prepared(
    modalities: Iterable[str], speech_only: bool, faces: FacesConfig, units: ActionUnitsConfig
) -> dict[str, Audio | Faces | ActionUnits]:
    """Return the preparation of each modality of a model.

    Args:
        modalities: Names of `emotion.prepare.modalities.MODALITIES`.
        speech_only: See `Audio`.
        faces: Preparation of faces.
        units: Action units.
    """
    ways = {
        "audio": Audio(speech_only),
        "face": Faces.from_dict(vars(faces)),
        "action_units": ActionUnits(units.table, tuple(units.columns), units.pooling),
    }
    return {modality: ways[modality] for modality in modalities}


def load_audio(table: pd.DataFrame, directory: Path, sample_rate: int, speech_only: bool = False) -> Source:
    """Return the waveforms of recordings.

    Args:
        table: Recordings, as `Corpus.scan` returns them.
        directory: Directory of the corpus.
        sample_rate: Sampling rate, in Hz.
        speech_only: See `prepare_waveforms` (default: False).
    """
    has = table["audio"] != ""
    store = prepare_waveforms(table[has], directory, sample_rate, speech_only=speech_only)
    return _source(store, "waveforms", table["recording"][~has])


def load_faces(table: pd.DataFrame, directory: Path, faces: Faces, sample_rate: int) -> Source:
    """Return the faces of recordings, from the same part of a recording as the audio.

    Args:
        table: Recordings, as `Corpus.scan` returns them.
        directory: Directory of the corpus.
        faces: Preparation of faces.
        sample_rate: Sampling rate of the audio, in Hz.
    """
    has = table["video"] != ""
    windows = parts = parts_of(table[has])
    if faces.follow_audio:
        audio = load_audio(table[has], directory, sample_rate).items
        begins = {recording: start for recording, (start, _) in parts.items()}
        windows = {
            recording: (round(begins.get(recording, 0.0) + start, 3), round(begins.get(recording, 0.0) + end, 3))
            for recording, (start, end) in audible_windows(audio, sample_rate, faces)
        }
    return _source(prepare_faces(table[has], directory, faces.options, windows), "faces", table["recording"][~has])


def audible_windows(waveforms: Ragged, sample_rate: int, faces: Faces) -> Iterator[tuple[str, tuple[float, float]]]:
    """Yield the recordings with start and end of the part from which faces are taken, in seconds."""
    for first in range(0, len(waveforms.recordings), _BATCH):
        rows = range(first, min(first + _BATCH, len(waveforms.recordings)))
        samples, length = waveforms.padded(rows)
        start, end = torch.zeros_like(length), length
        if faces.trim_db is not None:
            start, end = audible_range(samples.float() / INT16_FULL_SCALE, length, faces.trim_db)
        if faces.max_duration_s is not None:
            end = torch.minimum(end, start + round(faces.max_duration_s * sample_rate))
        for row, begins, ends in zip(rows, start.tolist(), end.tolist(), strict=True):
            yield waveforms.recordings[row], (round(begins / sample_rate, 3), round(ends / sample_rate, 3))


def audible_window(samples: np.ndarray, sample_rate: int, faces: Faces) -> tuple[float, float]:
    """Return start and end of the part of one recording from which faces are taken, in seconds.

    Args:
        samples: Audio, shape (T,), int16.
        sample_rate: Sampling rate, in Hz.
        faces: Preparation of faces.
    """
    alone = Ragged(samples, pd.Index([""]), np.zeros(1, np.int64), np.array([len(samples)]))
    return dict(audible_windows(alone, sample_rate, faces))[""]


def load_action_units(table: pd.DataFrame, corpus: Corpus, units: ActionUnits) -> Source:
    """Return the action units of recordings.

    Args:
        table: Recordings, as `Corpus.scan` returns them.
        corpus: Their corpus.
        units: Preparation of action units.

    Raises:
        EmotionError: the table of OpenFace is missing, or holds no recording of the corpus.
    """
    if not units.table:
        raise EmotionError("action units are read from a table of OpenFace; set action_units.table=FILE_OR_FOLDER")
    if not Path(units.table).exists():
        raise EmotionError(f"action_units.table={units.table} does not exist")
    found = read_action_units(Path(units.table), units.columns, units.pooling, corpus.key_of)
    has = table["recording"].isin(found.keys())
    keys: pd.Index = pd.Index(table.loc[has, "recording"])
    if keys.empty:
        raise EmotionError(f"action_units.table={units.table} holds no recording of the {corpus.name} corpus")
    length = np.array([len(found[key]) for key in keys])
    items = Ragged(np.concatenate([found[key] for key in keys]), keys, length.cumsum() - length, length)
    return Source(items, pd.Index(table["recording"][~has]), pd.Series(dtype=str))


def _source(store: Store, column: str, absent: pd.Series) -> Source:
    usable = store.index[store.index["problem"] == ""]
    offset, length = (usable[name].to_numpy(np.int64) for name in ("offset", "length"))
    items = Ragged(store.columns[column], usable.index, offset, length)
    return Source(items, pd.Index(absent), store.problems, store.key)


def usable(sources: Mapping[str, Source], recordings: pd.Series, on_error: str) -> pd.Series:
    """Return which recordings have all modalities, or any if `on_error` is `allow_missing_modality`.

    Args:
        sources: The modalities of a model by name.
        recordings: Keys of recordings.
        on_error: See `EmotionDataModule`.
    """
    partial = on_error == "allow_missing_modality"
    for modality, source in sources.items():
        if len(source.absent):
            use = "their other modalities are used" if partial and len(sources) > 1 else "skipped"
            what = modality.replace("_", " ")
            log.warning("%s without %s: %s", counted(len(source.absent), "recording"), what, use)
    has = pd.DataFrame({name: recordings.isin(source.items.recordings) for name, source in sources.items()})
    return has.any(axis=1) if partial else has.all(axis=1)


def report_problems(sources: Mapping[str, Source], corpus: str, on_error: str) -> None:
    """Refuse files that cannot be used, or report them.

    Args:
        sources: The modalities of a model by name.
        corpus: Name of the corpus.
        on_error: See `EmotionDataModule`.

    Raises:
        EmotionError: there are some, and `on_error` is `raise`.
    """
    problems = pd.concat([source.problems for source in sources.values()])
    if problems.empty:
        return
    first = problems.iloc[0]
    if on_error == "raise":
        raise EmotionError(
            f"{len(problems)} of the {corpus} files cannot be used, such as {first}; repair or remove them, or leave "
            "them out with data.on_error=skip"
        )
    log.warning("%d files cannot be used and are left out:", len(problems))
    for problem in problems:
        log.warning("  %s", problem)
