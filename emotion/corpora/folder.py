"""People's own recordings: files in folders that are named after emotions, or a CSV that lists them."""

import logging
import re
from pathlib import Path, PurePosixPath

import pandas as pd

from emotion.corpora.base import AUDIO_SUFFIXES, COLUMNS, Corpus, media_files
from emotion.errors import EmotionError, suggest
from emotion.labels import KNOWN
from emotion.media.image import IMAGE_SUFFIXES, is_image

log = logging.getLogger(__name__)

SUFFIXES = (*AUDIO_SUFFIXES, ".mp3", ".ogg", ".opus", ".m4a", ".aac", ".wma", ".aif", ".aiff")
VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".avi", ".webm", ".m4v")
SPELLINGS = {
    "anger": "angry",
    "boredom": "bored",
    "calmness": "calm",
    "disgusted": "disgust",
    "fear": "fearful",
    "happiness": "happy",
    "joy": "happy",
    "neutrality": "neutral",
    "pleasant_surprise": "surprised",
    "sadness": "sad",
    "surprise": "surprised",
}
"""Other words for our emotions."""


class Folder(Corpus):
    """A directory laid out as `<emotion>/<files>`, in any nesting, or one with a CSV of its files.

    A video is both sound and picture, an image a picture alone; files that differ in their suffix alone are one
    recording.

    Args:
        table: A CSV with the columns `path` (relative to the folder), `emotion` and, if known, `speaker`; None reads
            the emotion off the innermost folder that is named after one.
        speaker: A regular expression: what it finds in a file's path is the speaker, such as `person..` in
            `happy/person07_3.wav`; if it has a group, what that finds. Without it, and without a `speaker` in the CSV,
            nobody knows who speaks, and no protocol can keep people apart.
    """

    name = "folder"
    how_to_get = "sort its files into folders named after emotions"

    def __init__(self, table: str | None = None, speaker: str | None = None) -> None:
        self.table = table
        try:
            self.speaker = re.compile(speaker) if speaker else None
        except re.error as error:
            raise EmotionError(f"data.corpus.speaker={speaker} is no regular expression: {error}") from error

    def locate(self, root: str | None) -> Path:
        """The folder `root` itself."""
        if root and Path(root).is_dir():
            return Path(root)
        raise EmotionError(f"data=folder needs data.root=DIR, a folder of recordings; {root or 'nothing'} is none")

    def read(self, directory: Path) -> list[dict[str, str]]:
        """See `Corpus.read`."""
        listed = self._from_csv(directory / self.table) if self.table else self._from_folders(directory)
        rows: dict[str, dict[str, str]] = {}
        for path, emotion, speaker in listed:
            key = f"{self.name}/{PurePosixPath(path).with_suffix('')}"
            row = rows.setdefault(key, dict.fromkeys(COLUMNS, "") | {"recording": key, "channel": "speech"})
            row["emotion"] = emotion
            row["speaker"] = speaker or self._speaker_of(path)
            shows = path.lower().endswith(VIDEO_SUFFIXES) or is_image(path)
            row["video"] = path if shows else row["video"]
            row["audio"] = row["audio"] if is_image(path) or (shows and row["audio"]) else path
        return list(rows.values())

    def describe(self, table: pd.DataFrame, channel: str) -> str:
        """See `Corpus.describe`."""
        counts = table["emotion"].value_counts()
        speakers = table["speaker"].nunique()
        who = f"{speakers} speakers" if speakers > 1 else "speakers unknown"
        return f"folder: {len(table):,} recordings, {who}: " + ", ".join(
            f"{n} {emotion}" for emotion, n in counts.items()
        )

    def _from_folders(self, directory: Path) -> list[tuple[str, str, str]]:
        listed, homeless = [], []
        for path in media_files(directory, SUFFIXES + VIDEO_SUFFIXES + IMAGE_SUFFIXES):
            emotions = [emotion for part in PurePosixPath(path).parts[:-1] if (emotion := _emotion(part))]
            if emotions:
                listed.append((path, emotions[-1], ""))
            else:
                homeless.append(path)
        if homeless:
            log.warning(
                "%d files are in no folder named after an emotion and take no part, such as %s; known: %s",
                len(homeless),
                homeless[0],
                ", ".join(KNOWN),
            )
        return listed

    def _from_csv(self, path: Path) -> list[tuple[str, str, str]]:
        try:
            table = pd.read_csv(path, dtype=str, keep_default_na=False)
        except (OSError, ValueError) as error:
            raise EmotionError(f"cannot read data.corpus.table {path}: {error}") from error
        missing = {"path", "emotion"} - set(table.columns)
        if missing:
            raise EmotionError(
                f"{path} lacks the column {sorted(missing)[0]}; it needs path, emotion and, if known, speaker"
            )
        for number, emotion in enumerate(table["emotion"], start=2):
            if not _emotion(emotion):
                known = suggest(emotion, [*KNOWN, *SPELLINGS])
                raise EmotionError(f"{path} line {number}: {emotion!r} is no emotion that is known here: {known}")
        for number, listed in enumerate(table["path"], start=2):
            if PurePosixPath(listed).is_absolute() or ".." in PurePosixPath(listed).parts or not listed:
                raise EmotionError(f"{path} line {number}: {listed!r} is no path below the folder of the corpus")
        speakers = table["speaker"] if "speaker" in table else [""] * len(table)
        return [(p, _emotion(e), s) for p, e, s in zip(table["path"], table["emotion"], speakers, strict=True)]

    def _speaker_of(self, path: str) -> str:
        if self.speaker is None:
            return "unknown"
        match = self.speaker.search(path)
        if not match:
            raise EmotionError(f"data.corpus.speaker={self.speaker.pattern} finds nobody in {path}")
        return match[1 if self.speaker.groups else 0]


def _emotion(word: str) -> str | None:
    word = word.strip().lower().replace(" ", "_").replace("-", "_")
    word = SPELLINGS.get(word, word)
    return word if word in KNOWN else None
