"""MELD: dialogues of the series Friends, with sound and video (Poria et al., 2019, https://arxiv.org/abs/1810.02508)."""

from pathlib import Path

import pandas as pd

from emotion.corpora.base import COLUMNS, Corpus, describe_count
from emotion.corpora.tables import read_table
from emotion.errors import EmotionError

_EMOTIONS = {
    "neutral": "neutral",
    "joy": "happy",
    "sadness": "sad",
    "anger": "angry",
    "surprise": "surprised",
    "fear": "fearful",
    "disgust": "disgust",
}
_SIZE = 13_708
_FOLDERS = {
    "train": ("train_splits", "train"),
    "dev": ("dev_splits_complete", "dev"),
    "test": ("output_repeated_splits_test", "test"),
}
"""Names of the folder of the videos of each split, the official one first."""


class Meld(Corpus):
    """Utterances `dia{D}_utt{U}.mp4` in a folder for each split, labelled in `{train,dev,test}_sent_emo.csv`.

    Args:
        on_error: `raise` refuses missing videos; other values skip them.
    """

    name = "meld"
    own_protocol = "official"
    how_to_get = "get it from https://github.com/declare-lab/MELD and unpack it there, the three archives in it too"

    def __init__(self, on_error: str = "raise") -> None:
        self.on_error = on_error

    def read(self, directory: Path) -> list[dict[str, str]]:
        """See `Corpus.read`.

        Raises:
            EmotionError: a table is missing or damaged, or it lists videos that are missing and `on_error` is `raise`.
        """
        rows, missing = [], []
        for split, names in _FOLDERS.items():
            table = next(iter(sorted(directory.rglob(f"{split}_sent_emo.csv"), key=lambda path: len(path.parts))), None)
            if table is None:
                continue
            folder = next((path for name in names for path in sorted(directory.rglob(name)) if path.is_dir()), None)
            for row in _labels(table, split):
                video = folder / f"{row['recording'].rpartition('/')[2]}.mp4" if folder else None
                if video is None or not video.is_file():
                    missing.append(row["recording"])
                    continue
                path = video.relative_to(directory).as_posix()
                rows.append(row | {"audio": path, "video": path})
        if missing and rows and self.on_error == "raise":
            raise EmotionError(
                f"{len(missing):,} videos that the tables of MELD list are missing, such as that of {missing[0]}; add "
                "them, or leave them out with data.on_error=skip"
            )
        return rows

    def own_splits(self, directory: Path, fold: int) -> tuple[pd.DataFrame, int]:
        """See `Corpus.own_splits`: the official splits, whose speakers overlap."""
        if fold != 0:
            raise EmotionError(f"protocol.fold={fold}: the official splits of MELD are fold 0")
        table = self.scan(directory)
        return table[["recording"]].assign(split=table["recording"].str.split("/").str[1]), 1

    def describe(self, table: pd.DataFrame, channel: str) -> str:
        """See `Corpus.describe`."""
        return f"meld: {describe_count(len(table), _SIZE, 'speech')}"


def _labels(path: Path, split: str) -> list[dict[str, str]]:
    table = read_table(path, ("speaker", "emotion", "dialogue_id", "utterance_id"))
    if unknown := [(line, word) for line, word in table["emotion"].items() if word.lower() not in _EMOTIONS]:
        line, word = unknown[0]
        raise EmotionError(f"{path} line {line}: {word!r} is no emotion of MELD; get the file again")
    return [
        dict.fromkeys(COLUMNS, "")
        | {
            "recording": f"meld/{split}/dia{row['dialogue_id']}_utt{row['utterance_id']}",
            "speaker": f"meld/{row['speaker']}",
            "emotion": _EMOTIONS[row["emotion"].lower()],
            "channel": "speech",
        }
        for row in table.to_dict("records")
    ]
