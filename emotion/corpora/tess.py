"""TESS: an older (OAF) and a younger (YAF) woman, 200 words in "Say the word …", seven emotions.

Source: Pichora-Fuller & Dupuis (2020), https://doi.org/10.5683/SP2/E8H2MF. The words are Northwestern University
Auditory Test No. 6 (Tillman & Carhart, 1966).
"""

import re
from itertools import product
from pathlib import Path

import pandas as pd

from emotion.corpora.base import Corpus, describe_count, media_files, shortest_path
from emotion.media.suffixes import LOSSLESS_SUFFIXES

EMOTIONS = {
    "neutral": "neutral",
    "happy": "happy",
    "sad": "sad",
    "angry": "angry",
    "fear": "fearful",
    "disgust": "disgust",
    "ps": "surprised",  # "pleasant surprise"
}
SPEAKERS = ("OAF", "YAF")
_NU6 = (
    "back bar base bath bean beg bite boat bone book bought burn cab calm came cause chain chair chalk chat check "
    "cheek chief choice cool dab date dead death deep dime dip ditch dodge dog doll door fail fall far fat fit five "
    "food gap gas gaze germ get gin goal good goose gun half hall hash hate have haze hire hit hole home hurl hush "
    "jail jar join judge jug juice keen keep keg kick kill king kite knock late laud lean learn lease lid life limb "
    "live loaf long lore lose lot love luck make match merge mess met mill mob mode mood moon mop mouse nag name "
    "near neat nice note numb pad page pain pass pearl peg perch phone pick pike pole pool puff rag raid rain raise "
    "rat reach read red ring ripe road room rose rot rough rush said sail search seize sell shack shall shawl sheep "
    "shirt should shout size soap soup sour south sub such sure take talk tape team tell thin third thought thumb "
    "time tip tire ton tool tough turn vine voice void vote wag walk wash week wheat when which whip white wife "
    "wire witch yearn yes young youth"
)
WORDS = tuple(_NU6.split())

# One file of the original corpus is named OA_bite_neutral.wav.
_NAME = re.compile(rf"(OAF?|YAF)_([a-z]+)_({'|'.join(EMOTIONS)})", re.IGNORECASE)


class Tess(Corpus):
    """TESS: files (`.wav`, `.flac`) at any depth; copies of a recording count once."""

    name = "tess"
    how_to_get = "get it with emotion download tess --to DIR, or data.download=true"

    def read(self, directory: Path) -> list[dict[str, str]]:
        """See `Corpus.read`; of several copies of a file, the one with the shortest path is used."""
        paths: dict[tuple[str, str, str], list[str]] = {}
        for path in media_files(directory, LOSSLESS_SUFFIXES):
            match = _NAME.fullmatch(Path(path).stem)
            if match:
                speaker, word, emotion = match[1].upper(), match[2].lower(), match[3].lower()
                paths.setdefault(("YAF" if speaker == "YAF" else "OAF", word, emotion), []).append(path)
        return [_row(*key, audio=shortest_path(copies)) for key, copies in paths.items()]

    def documented(self) -> list[dict[str, str]]:
        """See `Corpus.documented`: 2,800 recordings."""
        return [_row(*key, audio="") for key in product(SPEAKERS, WORDS, EMOTIONS)]

    def describe(self, table: pd.DataFrame, channel: str) -> str:
        """See `Corpus.describe`."""
        return f"tess: {describe_count(len(table), len(self.documented()), 'speech')}"


def _row(speaker: str, word: str, emotion: str, audio: str) -> dict[str, str]:
    return {
        "recording": f"tess/{speaker}_{word}_{emotion}",
        "speaker": f"tess/{speaker}",
        "emotion": EMOTIONS[emotion],
        "audio": audio,
        "video": "",
        "channel": "speech",
        "intensity": "",
        "statement": word,
        "repetition": "",
        "gender": "female",
    }
