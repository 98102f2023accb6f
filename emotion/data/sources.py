"""What a model may take in of a recording, each made ready by its own part of `emotion.prepare`."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from emotion.config.schema import ActionUnitsConfig, FacesConfig
from emotion.corpora import Corpus
from emotion.data.dataset import Ragged
from emotion.errors import EmotionError
from emotion.features.silence import audible_range
from emotion.prepare.action_units import read_action_units
from emotion.prepare.faces import prepare_faces
from emotion.prepare.modalities import ActionUnits, Faces
from emotion.prepare.store import Store
from emotion.prepare.waveforms import INT16_FULL_SCALE, prepare_waveforms

_BATCH = 32


@dataclass(frozen=True)
class Source:
    """One modality of a corpus.

    Attributes:
        items: Of the recordings that can be used.
        absent: The recordings that have none.
        problems: What is wrong with the files of others, by recording.
        key: Names the content, for what is cached.
    """

    items: Ragged
    absent: pd.Index
    problems: pd.Series
    key: str = ""


def prepared(
    modalities: Iterable[str], faces: FacesConfig, units: ActionUnitsConfig
) -> dict[str, Faces | ActionUnits | None]:
    """Return the preparation of each modality that a model takes in.

    Args:
        modalities: Names of `emotion.prepare.modalities.MODALITIES`.
        faces: Preparation of faces.
        units: Action units.
    """
    ways = {
        "audio": None,
        "face": Faces.from_dict(vars(faces)),
        "action_units": ActionUnits(units.table, tuple(units.columns), units.pooling),
    }
    return {modality: ways[modality] for modality in modalities}


def load_audio(table: pd.DataFrame, directory: Path, sample_rate: int) -> Source:
    """The sound of the recordings in `table`, as `Corpus.scan` gives it."""
    has = table["audio"] != ""
    return _source(prepare_waveforms(table[has], directory, sample_rate), "waveforms", table["recording"][~has])


def load_faces(table: pd.DataFrame, directory: Path, faces: Faces, sample_rate: int) -> Source:
    """Their faces, on frames of the same part of the clip as the sound."""
    has = table["video"] != ""
    windows = {}
    if faces.follow_audio:
        windows = dict(audible_windows(load_audio(table[has], directory, sample_rate).items, sample_rate, faces))
    return _source(prepare_faces(table[has], directory, faces.options, windows), "faces", table["recording"][~has])


def audible_windows(waveforms: Ragged, sample_rate: int, faces: Faces) -> Iterator[tuple[str, tuple[float, float]]]:
    """From when to when faces are looked for in each recording, in seconds."""
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
    """From when to when faces are looked for in one recording, in seconds; `samples` are int16, shape (T,)."""
    alone = Ragged(samples, pd.Index([""]), np.zeros(1, np.int64), np.array([len(samples)]))
    return dict(audible_windows(alone, sample_rate, faces))[""]


def load_action_units(table: pd.DataFrame, corpus: Corpus, units: ActionUnits) -> Source:
    """Their action units."""
    if not units.table:
        raise EmotionError(
            "the action units come from a table of OpenFace: name it with action_units.table=FILE_OR_FOLDER"
        )
    if not Path(units.table).exists():
        raise EmotionError(f"action_units.table={units.table} does not exist")
    found = read_action_units(Path(units.table), units.columns, units.pooling, corpus.key_of)
    has = table["recording"].isin(found.keys())
    keys: pd.Index = pd.Index(table.loc[has, "recording"])
    if keys.empty:
        raise EmotionError(f"action_units.table={units.table} names no recording of the {corpus.name} corpus")
    length = np.array([len(found[key]) for key in keys])
    items = Ragged(np.concatenate([found[key] for key in keys]), keys, length.cumsum() - length, length)
    return Source(items, pd.Index(table["recording"][~has]), pd.Series(dtype=str))


def _source(store: Store, column: str, absent: pd.Series) -> Source:
    usable = store.index[store.index["problem"] == ""]
    offset, length = (usable[name].to_numpy(np.int64) for name in ("offset", "length"))
    items = Ragged(store.columns[column], usable.index, offset, length)
    return Source(items, pd.Index(absent), store.problems, store.key)
