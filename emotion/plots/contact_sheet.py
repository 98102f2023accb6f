"""One picture of a corpus: a few speakers in every emotion, face above spectrogram; or the faces as models see them."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from emotion.data.dataset import Ragged
from emotion.features.base import Signal
from emotion.features.spectral import LogMel
from emotion.labels import EMOTIONS, KNOWN
from emotion.media.audio import read_audio
from emotion.media.video import read_middle_picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SAMPLE_RATE = 16_000


def choose(table: pd.DataFrame, speakers: int = 3) -> pd.DataFrame:
    """The first recording of each emotion of the first few speakers."""
    first = sorted(set(table["speaker"]))[:speakers]
    return table[table["speaker"].isin(first)].drop_duplicates(["speaker", "emotion"])


def draw(table: pd.DataFrame, directory: Path) -> "Figure":
    """A column for each emotion and a row for each speaker in `table`, as `choose` gives it.

    Args:
        table: Recordings; those with video get a face, all a mel spectrogram over time.
        directory: The corpus folder.
    """
    from matplotlib.figure import Figure

    emotions = [emotion for emotion in EMOTIONS if emotion in set(table["emotion"])]
    speakers = sorted(set(table["speaker"]))
    has_video = (table["video"] != "").any()
    parts = 2 if has_video else 1
    heights = [1.5, 1.0] if has_video else [1.0]
    size = (1.55 * len(emotions), len(speakers) * 1.0 * sum(heights) + 0.6)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(len(speakers) * parts, len(emotions), squeeze=False, height_ratios=heights * len(speakers))
    for axes in panels.ravel():
        axes.axis("off")
    for row in table.itertuples():
        column, top = emotions.index(row.emotion), speakers.index(row.speaker) * parts
        if row.video:
            panels[top, column].imshow(read_middle_picture(directory / row.video))
        spectrogram = panels[top + parts - 1, column]
        spectrogram.imshow(mel_spectrogram(directory / row.audio), origin="lower", aspect="auto", cmap="magma")
        if column == 0:
            spectrogram.set_title(row.speaker, fontsize=7, loc="left")
        if top == 0:
            panels[0, column].set_title(row.emotion, fontsize=10)
    return figure


def draw_faces(table: pd.DataFrame, faces: Ragged, rows: int = 12) -> "Figure":
    """A column for each emotion, and in it the middle face of some recordings, of as many speakers as can be.

    Args:
        table: Recordings of `faces`, with `recording`, `speaker` and `emotion`.
        faces: Pictures, shape (total, H, W, 1 or 3), uint8.
        rows: The most of an emotion.
    """
    from matplotlib.figure import Figure

    emotions = [emotion for emotion in KNOWN if emotion in set(table["emotion"])]
    table = table.assign(take=table.groupby(["speaker", "emotion"]).cumcount()).sort_values(["take", "speaker"])
    columns = [table[table["emotion"] == emotion].head(rows) for emotion in emotions]
    figure = Figure(figsize=(1.1 * len(emotions), 1.2 * max(map(len, columns)) + 0.3), layout="constrained")
    panels = figure.subplots(max(map(len, columns)), len(emotions), squeeze=False)
    for axes in panels.ravel():
        axes.axis("off")
    for number, (emotion, chosen) in enumerate(zip(emotions, columns, strict=True)):
        own = faces.select(list(chosen["recording"]))
        for axes, speaker, offset, length in zip(panels[:, number], chosen["speaker"], own.offset, own.length):  # noqa: B905 (some columns are shorter)
            axes.imshow(faces.values[offset + length // 2].squeeze(), cmap="gray")
            axes.set_title("" if speaker == "unknown" else speaker.split("/")[-1], fontsize=6, pad=2)
        panels[0, number].set_title(f"{emotion}\n{panels[0, number].get_title()}", fontsize=8, pad=2)
    return figure


def mel_spectrogram(path: Path) -> np.ndarray:
    """Of a file with sound, in decibels, shape (bands, frames)."""
    waveform = torch.from_numpy(read_audio(path, SAMPLE_RATE))
    signal = Signal(waveform[None], torch.tensor([len(waveform)]), n_fft=512, hop_length=160)
    return LogMel(SAMPLE_RATE, n_fft=512)(signal)[0].numpy()
