"""Contact sheets of a corpus: speakers in every emotion, or face crops as a model receives them."""

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from emotion.corpora.base import UNKNOWN_SPEAKER
from emotion.data.dataset import Ragged
from emotion.labels import EMOTIONS, KNOWN
from emotion.media.video import read_middle_frame
from emotion.plots.figure import new_panels
from emotion.plots.recording import mel_spectrogram

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def select_recordings(table: pd.DataFrame, n_speakers: int = 3) -> pd.DataFrame:
    """Return the first recording of each emotion of the first few speakers."""
    speakers = sorted(set(table["speaker"]))[:n_speakers]
    return table[table["speaker"].isin(speakers)].drop_duplicates(["speaker", "emotion"])


def plot_recordings(table: pd.DataFrame, directory: Path) -> "Figure":
    """Plot the middle frame and the mel spectrogram of recordings, one row per speaker and one column per emotion.

    Args:
        table: Recordings, as returned by `select_recordings`.
        directory: Directory of the corpus.
    """
    emotions = [emotion for emotion in EMOTIONS if emotion in set(table["emotion"])]
    speakers = sorted(set(table["speaker"]))
    heights = [1.5, 1.0] if (table["video"] != "").any() else [1.0]
    n_parts = len(heights)
    size = (1.55 * len(emotions), len(speakers) * sum(heights) + 0.6)
    ratios = heights * len(speakers)
    figure, panels = new_panels(*size, len(speakers) * n_parts, len(emotions), height_ratios=ratios)
    for axes in panels.ravel():
        axes.axis("off")
    for row in table.to_dict("records"):
        column, top = emotions.index(row["emotion"]), speakers.index(row["speaker"]) * n_parts
        if row["video"]:
            panels[top, column].imshow(read_middle_frame(directory / row["video"]))
        spectrogram = panels[top + n_parts - 1, column]
        spectrogram.imshow(mel_spectrogram(directory / row["audio"]), origin="lower", aspect="auto", cmap="magma")
        if column == 0:
            spectrogram.set_title(row["speaker"], fontsize=7, loc="left")
        if top == 0:
            panels[0, column].set_title(row["emotion"], fontsize=10)
    return figure


def plot_face_crops(table: pd.DataFrame, faces: Ragged, n_rows: int = 12) -> "Figure":
    """Plot the middle face crop of recordings, one column per emotion, of as many speakers as possible.

    Args:
        table: Recordings of `faces`, with the columns `recording`, `speaker` and `emotion`.
        faces: Face crops, shape (total, H, W, 1 or 3), uint8.
        n_rows: Maximum number of recordings per emotion (default: 12).
    """
    emotions = [emotion for emotion in KNOWN if emotion in set(table["emotion"])]
    table = table.assign(take=table.groupby(["speaker", "emotion"]).cumcount()).sort_values(["take", "speaker"])
    columns = [table[table["emotion"] == emotion].head(n_rows) for emotion in emotions]
    height = max(map(len, columns))
    figure, panels = new_panels(1.1 * len(emotions), 1.2 * height + 0.3, height, len(emotions))
    for axes in panels.ravel():
        axes.axis("off")
    for number, (emotion, rows) in enumerate(zip(emotions, columns, strict=True)):
        crops = faces.select(list(rows["recording"]))
        for axes, speaker, offset, length in zip(panels[:, number], rows["speaker"], crops.offset, crops.length):  # noqa: B905 (some columns are shorter)
            axes.imshow(faces.values[offset + length // 2].squeeze(), cmap="gray")
            axes.set_title("" if speaker == UNKNOWN_SPEAKER else speaker.split("/")[-1], fontsize=6, pad=2)
        panels[0, number].set_title(f"{emotion}\n{panels[0, number].get_title()}", fontsize=8, pad=2)
    return figure
