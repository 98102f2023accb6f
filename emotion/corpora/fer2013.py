"""FER2013: 35,887 faces from the web, 48×48 grey, in seven emotions; and the FER+ votes on them.

Sources: Goodfellow et al. (2013), https://arxiv.org/abs/1307.0414; FER+: Barsoum et al. (2016),
https://arxiv.org/abs/1608.01041.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from functools import cache
from pathlib import Path, PurePosixPath

import pandas as pd

from emotion.corpora.base import COLUMNS, UNKNOWN_SPEAKER, Corpus, media_files
from emotion.errors import EmotionError

SIZE = 35_887
EMOTIONS = {
    "angry": "angry",
    "disgust": "disgust",
    "fear": "fearful",
    "happy": "happy",
    "neutral": "neutral",
    "sad": "sad",
    "surprise": "surprised",
}
VOTED = {
    "neutral": "neutral",
    "happiness": "happy",
    "surprise": "surprised",
    "sadness": "sad",
    "anger": "angry",
    "disgust": "disgust",
    "fear": "fearful",
    "contempt": "contempt",
}
_NOT_VOTED = ("unknown", "NF")
COPIES = Path(__file__).with_suffix(".copies.txt")
"""File with a line for each duplicated image: the keys of its copies, without the corpus."""


class Fer2013(Corpus):
    """FER2013: images in `train/<emotion>/` and `test/<emotion>/`; the file names hold the split (`PrivateTest_1.jpg`).

    Speakers are unknown. In the column `repetition`, a duplicated image has the key of its first copy.

    Args:
        votes: Table of FER+, a CSV with `file` and the votes of ten annotators, relative to the directory of the
            corpus. The label is then the emotion with more than half of the votes, and batches hold the distribution of
            votes as soft targets. As in the paper, single votes are ignored, and images without a majority or without a
            face are excluded. None uses the labels of FER2013.
    """

    name = "fer2013"
    how_to_get = "get it from https://www.kaggle.com/datasets/msambare/fer2013 and unpack it there"

    def __init__(self, votes: str | None = None) -> None:
        self.votes_file = votes

    def read(self, directory: Path) -> list[dict[str, str]]:
        """See `Corpus.read`."""
        first = _first_copies()
        voted = _majority(directory / self.votes_file) if self.votes_file else None
        rows = []
        for path in media_files(directory, (".jpg", ".png")):
            place = path.rpartition(".")[0].split("/")[-3:]
            if len(place) < 3 or place[0] not in ("train", "test") or place[1] not in EMOTIONS:
                continue
            key = f"{self.name}/{'/'.join(place)}"
            emotion = EMOTIONS[place[1]] if voted is None else voted.get(key, "")
            if emotion:
                made = {
                    "recording": key,
                    "speaker": UNKNOWN_SPEAKER,
                    "emotion": emotion,
                    "video": path,
                    "channel": "speech",
                }
                rows.append(dict.fromkeys(COLUMNS, "") | made | {"repetition": first.get(key, "")})
        return rows

    def describe(self, table: pd.DataFrame, channel: str) -> str:
        """See `Corpus.describe`."""
        if self.votes_file:
            return f"fer2013: {len(table):,} images with a majority of the annotators of FER+"
        return f"fer2013: {len(table):,} images, complete" if len(table) == SIZE else f"fer2013: {len(table):,} images"

    def votes(self, directory: Path) -> pd.DataFrame | None:
        """See `Corpus.votes`; votes for an unknown emotion or for no face are left out."""
        return _all_votes(directory / self.votes_file)[list(VOTED.values())] if self.votes_file else None

    def label_distributions(self, directory: Path) -> pd.DataFrame | None:
        """See `Corpus.label_distributions`."""
        return _label_distributions(directory / self.votes_file) if self.votes_file else None

    def human_accuracy(self, modalities: Iterable[str], channel: str) -> dict[str, float]:
        """See `Corpus.human_accuracy`; the accuracy of one of the authors, ± 0.05."""
        return {} if self.votes_file else {"all": 0.65}


def _majority(path: Path) -> dict[str, str]:
    """Return the emotion with more than half of the counted votes, by recording."""
    table = _label_distributions(path)
    emotions = table.idxmax(axis=1)[table.max(axis=1) > 0.5]
    return {str(recording): str(emotion) for recording, emotion in emotions.items()}


@cache
def _label_distributions(path: Path) -> pd.DataFrame:
    """Return the fraction of each emotion in the counted votes, one row for each recording."""
    votes = _all_votes(path)
    votes = votes.where(votes > 1, 0.0)
    emotions = list(VOTED.values())
    votes = votes[votes[emotions].max(axis=1) > votes[list(_NOT_VOTED)].max(axis=1)]
    return votes.div(votes.sum(axis=1), axis=0)[emotions]


@cache
def _all_votes(path: Path) -> pd.DataFrame:
    """Return the number of votes for each emotion, and for those of `_NOT_VOTED`, one row for each recording."""
    try:
        table = pd.read_csv(path, index_col="file")
        votes = table[[*VOTED, *_NOT_VOTED]].astype(float).rename(columns=VOTED)
    except (OSError, ValueError, KeyError) as error:
        raise EmotionError(f"data.corpus.votes: {path} is not the table of FER+: {error}") from error
    return votes.set_axis([f"fer2013/{PurePosixPath(file).with_suffix('')}" for file in votes.index])


@cache
def _first_copies() -> dict[str, str]:
    """Return the first copy of each duplicated image, by key."""
    groups = [[f"fer2013/{name}" for name in line.split()] for line in COPIES.read_text(encoding="ascii").splitlines()]
    return {name: group[0] for group in groups for name in group}


def find_copies(directory: Path) -> list[list[str]]:
    """Return groups of identical images, without suffix: the content of `COPIES`."""
    groups = defaultdict(list)
    for path in media_files(directory, (".jpg",)):
        name = str(PurePosixPath(path).with_suffix(""))
        groups[hashlib.sha256((directory / path).read_bytes()).digest()].append(name)
    return sorted(sorted(group) for group in groups.values() if len(group) > 1)
