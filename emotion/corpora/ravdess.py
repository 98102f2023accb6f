"""RAVDESS: 24 actors, eight emotions, speech and song, as sound and as video.

Source: Livingstone & Russo (2018), https://doi.org/10.1371/journal.pone.0196391; https://zenodo.org/records/1188976.
"""

import re
from collections.abc import Iterable
from itertools import product
from pathlib import Path

import pandas as pd

from emotion.corpora.base import Corpus, count_in_words, media_files, shortest
from emotion.labels import EMOTIONS
from emotion.media.suffixes import LOSSLESS_SUFFIXES

CHANNELS = {"01": "speech", "02": "song"}
INTENSITIES = {"01": "normal", "02": "strong"}
ACTORS = range(1, 25)

VIDEO_SUFFIXES = (".mp4",)

_HEARD = {"all": 0.62, "intensity normal": 0.58, "intensity strong": 0.67}
_SEEN, _HEARD_AND_SEEN = {"all": 0.75}, {"all": 0.80}
"""Of 247 people who were played speech; Livingstone & Russo (2018)."""

# modality, then what all files of one take share: channel, emotion, intensity, statement, repetition, actor
_NAME = re.compile(r"(?P<modality>0[1-3])-(?P<take>0[12]-0[1-8]-0[12]-0[12]-0[12]-(?:0[1-9]|1\d|2[0-4]))\.\w+")


def documented_takes() -> list[str]:
    """The 1,440 speech and 1,012 song takes that the corpus documents, as `01-05-02-02-01-07`, sorted.

    Neutral has no strong intensity; disgust and surprised were not sung; actor 18 did not sing.
    """
    takes = []
    for channel, emotion, intensity, statement, repetition, actor in product(
        (1, 2), range(1, 9), (1, 2), (1, 2), (1, 2), ACTORS
    ):
        never_recorded = (emotion == 1 and intensity == 2) or (channel == 2 and (emotion >= 7 or actor == 18))
        if not never_recorded:
            takes.append(f"{channel:02}-{emotion:02}-{intensity:02}-{statement:02}-{repetition:02}-{actor:02}")
    return sorted(takes)


def describe_take(corpus: str, take: str) -> dict[str, str]:
    """The row of a take as far as its name tells it (no paths yet)."""
    channel, emotion, intensity, statement, repetition, actor = take.split("-")
    return {
        "recording": f"{corpus}/{take}",
        "speaker": f"{corpus}/{actor}",
        "emotion": EMOTIONS[int(emotion) - 1],
        "audio": "",
        "video": "",
        "channel": CHANNELS[channel],
        "intensity": INTENSITIES[intensity],
        "statement": statement,
        "repetition": repetition,
        "gender": "male" if int(actor) % 2 else "female",
    }


class Ravdess(Corpus):
    """The RAVDESS files (`.wav`, `.flac`, `.mp4`) in any nesting; copies of a take count once."""

    name = "ravdess"
    how_to_get = "get it with emotion download ravdess --to DIR, or data.download=true"

    def read(self, directory: Path) -> list[dict[str, str]]:
        """See `Corpus.read`. Of several copies of a file the one with the shortest path is taken."""
        paths: dict[tuple[str, str], list[str]] = {}
        for path in media_files(directory, LOSSLESS_SUFFIXES + VIDEO_SUFFIXES):
            match = _NAME.fullmatch(path.rsplit("/", 1)[-1])
            if match:
                paths.setdefault((match["modality"], match["take"]), []).append(path)

        rows: dict[str, dict[str, str]] = {}
        # Modality 03 (audio only) comes after 01 (audio and video), so that a take's sound is read from its audio file
        # where there is one; 02 (video only) never replaces the picture of 01, which is the same.
        for (modality, take), copies in sorted(paths.items()):
            path = shortest(copies)
            row = rows.setdefault(take, describe_take(self.name, take))
            is_video = path.lower().endswith(VIDEO_SUFFIXES)
            if modality != "02":
                row["audio"] = path
            if modality != "03" and is_video:
                row["video"] = row["video"] or path
        return list(rows.values())

    def key_of(self, name: str) -> str:
        """See `Corpus.key_of`; the modality that a name begins with is left out."""
        match = _NAME.fullmatch(f"{Path(name).stem}.mp4")
        return f"{self.name}/{match['take']}" if match else ""

    def takes(self) -> list[str]:
        """The takes that a whole copy of this corpus holds."""
        return documented_takes()

    def documented(self) -> list[dict[str, str]]:
        """See `Corpus.documented`."""
        return [describe_take(self.name, take) for take in self.takes()]

    def human_accuracy(self, modalities: Iterable[str], channel: str) -> dict[str, float]:
        """See `Corpus.human_accuracy`. Who reads action units sees."""
        if channel != "speech":
            return {}
        has_audio, has_face = "audio" in modalities, bool({*modalities} - {"audio"})
        return _HEARD_AND_SEEN if has_audio and has_face else _HEARD if has_audio else _SEEN

    def describe(self, table: pd.DataFrame, channel: str) -> str:
        """See `Corpus.describe`."""
        documented = {f"{self.name}/{take}" for take in self.takes()}
        found = set(table["recording"])
        parts = []
        for name in ("speech", "song") if channel == "both" else (channel,):
            expected = {key for key in documented if _channel(key) == name}
            here = {key for key in found if _channel(key) == name}
            if expected or here:
                parts.append(count_in_words(len(here & expected), len(expected), name))
            if here - expected:
                parts.append(f"{len(here - expected)} {name} recordings that are not documented")
        missing = sorted(key for key in documented - found if channel in (_channel(key), "both"))
        if missing:
            parts.append(f"missing: {', '.join(missing[:3])}{', …' if len(missing) > 3 else ''}")
        return f"{self.name}: {'; '.join(parts)}"


def _channel(recording: str) -> str:
    return CHANNELS[recording.split("/")[1][:2]]
