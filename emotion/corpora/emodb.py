"""EmoDB, the Berlin database of emotional speech: ten actors, ten German sentences, seven emotions including boredom.

Source: Burkhardt et al. (2005), https://doi.org/10.21437/Interspeech.2005-446.
"""

import re
from pathlib import Path

import pandas as pd

from emotion.corpora.base import Corpus, describe_count, media_files, shortest_path
from emotion.media.suffixes import LOSSLESS_SUFFIXES

EMOTIONS = {
    "N": "neutral",
    "F": "happy",  # Freude
    "T": "sad",  # Trauer
    "W": "angry",  # Wut
    "A": "fearful",  # Angst
    "E": "disgust",  # Ekel
    "L": "bored",  # Langeweile
}
MEN, WOMEN = ("03", "10", "11", "12", "15"), ("08", "09", "13", "14", "16")
DOCUMENTED = 535

_NAME = re.compile(rf"({'|'.join(MEN + WOMEN)})([ab]\d\d)([{''.join(EMOTIONS)}])([a-z])")


class EmoDb(Corpus):
    """EmoDB: files such as `03a01Fa.wav` (or `.flac`) at any depth; copies of a file count once."""

    name = "emodb"
    how_to_get = "get it with emotion download emodb --to DIR, or data.download=true"

    def read(self, directory: Path) -> list[dict[str, str]]:
        """See `Corpus.read`."""
        paths: dict[str, list[str]] = {}
        for path in media_files(directory, LOSSLESS_SUFFIXES):
            if _NAME.fullmatch(Path(path).stem):
                paths.setdefault(Path(path).stem, []).append(path)
        return [_row(name, shortest_path(copies)) for name, copies in paths.items()]

    def describe(self, table: pd.DataFrame, channel: str) -> str:
        """See `Corpus.describe`."""
        return f"emodb: {describe_count(len(table), DOCUMENTED, 'speech')}"


def _row(name: str, audio: str) -> dict[str, str]:
    [(speaker, sentence, emotion, version)] = _NAME.findall(name)
    return {
        "recording": f"emodb/{name}",
        "speaker": f"emodb/{speaker}",
        "emotion": EMOTIONS[emotion],
        "audio": audio,
        "video": "",
        "channel": "speech",
        "intensity": "",
        "statement": sentence,
        "repetition": version,
        "gender": "male" if speaker in MEN else "female",
    }
