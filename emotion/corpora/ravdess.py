"""RAVDESS: 24 actors, eight emotions, speech and song, audio and video.

Source: Livingstone & Russo (2018), https://doi.org/10.1371/journal.pone.0196391; https://zenodo.org/records/1188976.
"""

import re
from collections.abc import Iterable
from itertools import product
from pathlib import Path

import pandas as pd

from emotion.corpora.base import Corpus, describe_count, media_files, shortest_path
from emotion.labels import EMOTIONS
from emotion.media.suffixes import LOSSLESS_SUFFIXES

CHANNELS = {"01": "speech", "02": "song"}
INTENSITIES = {"01": "normal", "02": "strong"}
ACTORS = range(1, 25)

VIDEO_SUFFIXES = (".mp4",)

_HUMAN_ACCURACY = {"all": 0.62, "intensity normal": 0.58, "intensity strong": 0.67}
_HUMAN_ACCURACY_FACE, _HUMAN_ACCURACY_BOTH = {"all": 0.75}, {"all": 0.80}
"""Accuracies of 247 raters on speech, from audio, face, and both; Livingstone & Russo (2018)."""

# Modality, then the fields that all files of one take share: channel, emotion, intensity, statement, repetition, actor.
_NAME = re.compile(r"(?P<modality>0[1-3])-(?P<take>0[12]-0[1-8]-0[12]-0[12]-0[12]-(?:0[1-9]|1\d|2[0-4]))\.\w+")


def documented_takes() -> list[str]:
    """Return the names of the 1,440 speech and 1,012 song takes of the corpus, such as `01-05-02-02-01-07`, sorted.

    Neutral has no strong intensity; song has no disgust and surprised, and no actor 18.
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
    """Return the row of a take, without paths.

    Args:
        corpus: Name of the corpus.
        take: Name of the take.
    """
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
    """RAVDESS: files (`.wav`, `.flac`, `.mp4`) at any depth; copies of a take count once."""

    name = "ravdess"
    how_to_get = "get it with emotion download ravdess --to DIR, or data.download=true"

    def read(self, directory: Path) -> list[dict[str, str]]:
        """See `Corpus.read`; of several copies of a file, the one with the shortest path is used."""
        paths: dict[tuple[str, str], list[str]] = {}
        for path in media_files(directory, LOSSLESS_SUFFIXES + VIDEO_SUFFIXES):
            match = _NAME.fullmatch(path.rsplit("/", 1)[-1])
            if match:
                paths.setdefault((match["modality"], match["take"]), []).append(path)

        rows: dict[str, dict[str, str]] = {}
        # Modality 03 (audio only) is sorted after 01 (audio and video), so that audio is read from the audio file if
        # there is one. Modality 02 (video only) does not replace the video of 01, which is identical.
        for (modality, take), copies in sorted(paths.items()):
            path = shortest_path(copies)
            row = rows.setdefault(take, describe_take(self.name, take))
            is_video = path.lower().endswith(VIDEO_SUFFIXES)
            if modality != "02":
                row["audio"] = path
            if modality != "03" and is_video:
                row["video"] = row["video"] or path
        return list(rows.values())

    def key_of(self, name: str) -> str:
        """See `Corpus.key_of`; the modality at the start of a name is removed."""
        match = _NAME.fullmatch(f"{Path(name).stem}.mp4")
        return f"{self.name}/{match['take']}" if match else ""

    def takes(self) -> list[str]:
        """Return the names of the takes of a complete copy."""
        return documented_takes()

    def documented(self) -> list[dict[str, str]]:
        """See `Corpus.documented`."""
        return [describe_take(self.name, take) for take in self.takes()]

    def human_accuracy(self, modalities: Iterable[str], channel: str) -> dict[str, float]:
        """See `Corpus.human_accuracy`; action units count as faces."""
        if channel != "speech":
            return {}
        if "audio" not in modalities:
            return _HUMAN_ACCURACY_FACE
        return _HUMAN_ACCURACY_BOTH if {*modalities} - {"audio"} else _HUMAN_ACCURACY

    def describe(self, table: pd.DataFrame, channel: str) -> str:
        """See `Corpus.describe`."""
        documented = {f"{self.name}/{take}" for take in self.takes()}
        found = set(table["recording"])
        parts = []
        for name in ("speech", "song") if channel == "both" else (channel,):
            expected = {key for key in documented if _channel(key) == name}
            here = {key for key in found if _channel(key) == name}
            if expected or here:
                parts.append(describe_count(len(here & expected), len(expected), name))
            if here - expected:
                parts.append(f"{len(here - expected)} {name} recordings that are not documented")
        missing = sorted(key for key in documented - found if channel in (_channel(key), "both"))
        if missing:
            parts.append(f"missing: {', '.join(missing[:3])}{', …' if len(missing) > 3 else ''}")
        return f"{self.name}: {'; '.join(parts)}"


def _channel(recording: str) -> str:
    return CHANNELS[recording.split("/")[1][:2]]
