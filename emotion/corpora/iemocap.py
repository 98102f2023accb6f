"""IEMOCAP: ten actors in five sessions, scripted and improvised (Busso et al., 2008)."""

import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from emotion.corpora.base import COLUMNS, DIMENSIONS, Corpus, describe_count, media_files, shortest_path
from emotion.corpora.cells import ratings_table
from emotion.errors import EmotionError, error_message

_EMOTIONS = {
    "neu": "neutral",
    "hap": "happy",
    "exc": "happy",  # excited, which most studies count as happy
    "sad": "sad",
    "ang": "angry",
    "fea": "fearful",
    "dis": "disgust",
    "sur": "surprised",
}
"""The labels of the majority; frustrated, other and undecided turns are left out."""
_SIZE = 5_680  # turns with one of these labels
_TURN = re.compile(
    r"\[[\d.]+ - [\d.]+\]\t(Ses0([1-5])[FM]_(\w+)_([FM])\d{3})\t(\w{3})\t(?:\[([\d.]+), ([\d.]+), ([\d.]+)\])?"
)
_FILE = re.compile(r"Ses0[1-5][FM]_\w+_[FM]\d{3}")


class Iemocap(Corpus):
    """Turns of dialogues, `Session1/sentences/wav/*/Ses01F_impro01_F000.wav`, labelled in `EmoEvaluation/*.txt`.

    Valence, arousal (activation) and dominance are rated from 1 to 5.

    Args:
        needs_emotions: False to keep turns with other labels, for ratings.
    """

    name = "iemocap"
    how_to_get = "request it at https://sail.usc.edu/iemocap and unpack it there"

    def __init__(self, needs_emotions: bool = True) -> None:
        self.needs_emotions = needs_emotions

    def read(self, directory: Path) -> list[dict[str, str]]:
        """See `Corpus.read`.

        Raises:
            EmotionError: a file of labels cannot be read, or there are turns without any.
        """
        copies: dict[str, list[str]] = {}
        for path in media_files(directory, (".wav",)):
            if _FILE.fullmatch(turn := Path(path).stem):
                copies.setdefault(turn, []).append(path)
        labels = {row["recording"]: row for file in _label_files(directory) for row in self._labels(file)}
        if copies and not labels:
            raise EmotionError(
                f"{directory} holds turns of IEMOCAP but not their labels, Session1/dialog/EmoEvaluation/*.txt"
            )
        audio = {f"{self.name}/{turn}": shortest_path(paths) for turn, paths in copies.items()}
        return [row | {"audio": audio[key]} for key, row in labels.items() if key in audio]

    def annotations(self, directory: Path, targets: Sequence[str] | None) -> pd.DataFrame:
        """See `Corpus.annotations`: the means of two or three annotators."""
        cells = [
            (f"{self.name}/{turn}", dict(zip(DIMENSIONS, values, strict=True)))
            for file in _label_files(directory)
            for turn, _, _, _, _, *values in _turns(file)
        ]
        return ratings_table(cells, targets, f"{directory}/*/dialog/EmoEvaluation")

    def _labels(self, path: Path) -> list[dict[str, str]]:
        return [
            dict.fromkeys(COLUMNS, "")
            | {
                "recording": f"iemocap/{turn}",
                "speaker": f"iemocap/{session}{gender}",
                "emotion": _EMOTIONS.get(emotion, ""),
                "channel": "speech",
                "statement": dialogue,
                "gender": {"F": "female", "M": "male"}[gender],
            }
            for turn, session, dialogue, gender, emotion, *_ in _turns(path)
            if emotion in _EMOTIONS or not self.needs_emotions
        ]

    def describe(self, table: pd.DataFrame, channel: str) -> str:
        """See `Corpus.describe`."""
        return f"iemocap: {describe_count(len(table), _SIZE, 'labelled speech')}"


def _label_files(directory: Path) -> list[Path]:
    # `EmoEvaluation` has folders of the single annotators too.
    return sorted(path for path in directory.rglob("EmoEvaluation/Ses*.txt") if not path.name.startswith("."))


def _turns(path: Path) -> list[tuple[str, ...]]:
    """Return name, session, dialogue, gender, label, and valence, arousal and dominance of each turn."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise EmotionError(f"cannot read {path}: {error_message(error)}") from error
    return _TURN.findall(text)
