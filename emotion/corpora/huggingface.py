"""Data sets of the library `datasets`, from the Hugging Face Hub or from a folder, and WebDataset shards."""

import json
import logging
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from emotion.corpora.base import COLUMNS, UNKNOWN_SPEAKER, Corpus
from emotion.corpora.cells import GENDERS, known_emotion, ratings_table, votes_table
from emotion.corpora.shards import read_shards, shards_by_split, shards_fingerprint
from emotion.errors import EmotionError, counted, error_message, suggest
from emotion.files import cache_directory, fingerprint, locked, write_text
from emotion.media.suffixes import MEDIA_SUFFIXES, media_kind
from emotion.progress import track

log = logging.getLogger(__name__)

SPLITS = {"train": "train", "validation": "dev", "valid": "dev", "val": "dev", "dev": "dev", "test": "test"}
"""Splits by their names in data sets."""
_MEDIA = ("Audio", "Video", "Image")
_BINARY = ("binary", "large_binary")
"""Types of plain columns, which hold files too."""
_SIGNATURES = {
    b"RIFF": ".wav",
    b"fLaC": ".flac",
    b"OggS": ".ogg",
    b"ID3": ".mp3",
    b"\xff\xfb": ".mp3",
    b"\x89PNG": ".png",
    b"\xff\xd8\xff": ".jpg",
    b"\x1aE\xdf\xa3": ".mkv",
}
"""Suffixes of files by their first bytes, for recordings without a name."""
_COPIED = ("channel", "intensity", "statement", "repetition", "start", "end")
_TABLE = "recordings.json"
_RATINGS = "ratings"
"""Key, in a row of the table, of the numbers of other columns."""


class HuggingFace(Corpus):
    """A data set with recordings in a column of audio, video or images, and a column of emotions.

    The recordings are written once as files into the cache, from which they are read as those of any corpus.

    Args:
        path: Folder, or name on the Hub. A folder holds Parquet files, WebDataset shards, recordings with a
            `metadata.csv`, or what `save_to_disk` wrote.
        config: Name of a configuration of the data set (default: the only one).
        revision: Commit, branch or tag on the Hub (default: the main branch).
        emotion: Column of the emotions.
        speaker: Column of the speakers, if there is one.
        on_error: `raise` refuses rows without a recording; other values skip them.
        needs_emotions: False to keep rows without a known emotion, for ratings.
    """

    name = "huggingface"
    own_protocol = "official"
    how_to_get = "name it with data.path=DIR, or a name on the Hub"

    def __init__(
        self,
        path: str | None = None,
        config: str | None = None,
        revision: str | None = None,
        emotion: str = "emotion",
        speaker: str = "speaker",
        on_error: str = "raise",
        needs_emotions: bool = True,
    ) -> None:
        if not path:
            raise EmotionError("data=huggingface needs data.path=DIR, or a name on the Hugging Face Hub")
        self.path, self.config, self.revision = path, config, revision
        self.emotion, self.speaker, self.on_error = emotion, speaker, on_error
        self.needs_emotions = needs_emotions
        self._directory: Path | None = None

    def locate(self, root: str | None) -> Path:
        """Return the directory of the recordings in the cache, after they were written there.

        Args:
            root: Not used, since `path` names the data set.

        Raises:
            EmotionError: the data set cannot be loaded, or lacks a column.
        """
        if self._directory is None:
            self._directory = self._unpack()
        return self._directory

    def read(self, directory: Path) -> list[dict[str, str]]:
        """See `Corpus.read`."""
        return [{key: row[key] for key in COLUMNS} for row in _load_table(directory)]

    def annotations(self, directory: Path, targets: Sequence[str] | None) -> pd.DataFrame:
        """See `Corpus.annotations`: columns of numbers."""
        cells = [(row["recording"], row[_RATINGS]) for row in _load_table(directory)]
        return ratings_table(cells, targets, self.path)

    def votes(self, directory: Path) -> pd.DataFrame | None:
        """See `Corpus.votes`: the columns that are named after emotions."""
        rows = _load_table(directory)
        return votes_table([(row["recording"], row[_RATINGS]) for row in rows], self.path)

    def own_splits(self, directory: Path, fold: int) -> tuple[pd.DataFrame, int]:
        """See `Corpus.own_splits`: the splits of the data set."""
        rows = _load_table(directory)
        if missing := {"train", "test"} - {row["split"] for row in rows}:
            raise EmotionError(
                f"protocol=official: {self.path} has no {min(missing)} split; use protocol=speakers5 or random"
            )
        return pd.DataFrame([{"recording": row["recording"], "split": row["split"]} for row in rows]), 1

    def describe(self, table: pd.DataFrame, channel: str) -> str:
        """See `Corpus.describe`."""
        speakers = table.loc[table["speaker"] != UNKNOWN_SPEAKER, "speaker"].nunique()
        who = counted(speakers, "speaker") if speakers else "unknown speakers"
        return f"{self.path}: {counted(len(table), 'recording')}, {who}"

    def _unpack(self) -> Path:
        """Write the recordings of the data set and their table into the cache, unless they are there."""
        parts = self._load()
        options = [self.emotion, self.speaker, self.on_error, self.needs_emotions]
        options += [*(part.fingerprint for part in parts.values())]
        directory = cache_directory() / "huggingface" / fingerprint(options)
        directory.parent.mkdir(parents=True, exist_ok=True)
        waiting = "another process writes the same recordings"
        with locked(directory.with_suffix(".lock"), waiting_for=waiting):
            if (directory / _TABLE).is_file():
                return directory
            shutil.rmtree(directory, ignore_errors=True)  # of an interrupted process
            rows: list[dict[str, Any]] = []
            unknown: Counter[str] = Counter()
            for split, part in parts.items():
                rows += self._write(directory, split, part, unknown)
            if not rows:
                words = ", ".join(word or "none" for word, _ in unknown.most_common(5))
                raise EmotionError(
                    f"data.path={self.path}: no label in the column {self.emotion} is a known emotion; they are {words}"
                )
            # The existence of this file marks a complete directory, so it is written last.
            write_text(directory / _TABLE, json.dumps(rows))
        if unknown:
            counts = ", ".join(f"{count:,} {word or 'without a label'}" for word, count in unknown.most_common(3))
            log.warning("%s: recordings with other labels are skipped (%s)", self.path, counts)
        return directory

    def _load(self) -> dict[str, "_Part"]:
        """Return the splits of the data set by name, with undecoded recordings."""
        folder = Path(self.path).expanduser()
        if shards := shards_by_split(folder):
            return {split: _Part(read_shards(paths), shards_fingerprint(paths)) for split, paths in shards.items()}
        datasets = _library()
        try:
            if any((folder / name).is_file() for name in ("dataset_dict.json", "state.json")):
                found = datasets.load_from_disk(str(folder))
            else:
                place = str(folder) if folder.is_dir() else self.path
                found = datasets.load_dataset(place, self.config, revision=self.revision)
        except Exception as error:  # damaged files and failed downloads raise many types
            raise EmotionError(
                f"data.path={self.path} cannot be loaded: {error_message(error.__cause__ or error)}"
            ) from error
        parts = dict(found) if isinstance(found, dict) else {"train": found}
        return {str(split): _part(split_rows, self.path) for split, split_rows in parts.items()}

    def _write(self, directory: Path, split: str, part: "_Part", unknown: Counter[str]) -> Iterator[dict[str, Any]]:
        """Write the recordings of a split, and yield their rows."""
        for index, values in enumerate(track(part.rows, f"writing the recordings of {split}", part.size)):
            word = self._word(values, part.labels) if self.needs_emotions or self.emotion in values else ""
            emotion = known_emotion(word) or ""
            if not emotion and self.needs_emotions:
                unknown[word] += 1
                continue
            key = str(values.get("recording") or f"{split}/{index:06d}")
            row: dict[str, Any] = dict.fromkeys(COLUMNS, "") | {"recording": f"{self.name}/{key}", "emotion": emotion}
            speaker = _text(values.get(self.speaker))
            row |= {"speaker": f"{self.name}/{speaker}" if speaker else UNKNOWN_SPEAKER, "channel": "speech"}
            row |= {name: text for name in _COPIED if (text := _text(values.get(name)))}
            row |= {"gender": GENDERS.get(_text(values.get("gender")).lower(), "")}
            for number, content in enumerate(filter(_is_recording, values.values())):
                content = {"bytes": content} if isinstance(content, bytes) else content
                if path := _write_file(directory, f"{split}/{index:06d}-{number}", content):
                    row |= _places(path)
            if not row["audio"] and not row["video"]:
                text = f"{self.path}: row {index} of {split} has no audio, video or image"
                if self.on_error == "raise":
                    raise EmotionError(f"{text}; leave such rows out with data.on_error=skip")
                log.warning("%s, and is skipped", text)
                continue
            numbers = {name.lower(): str(value) for name, value in values.items() if _is_number(value)}
            yield row | {_RATINGS: numbers, "split": SPLITS.get(split.lower(), "")}

    def _word(self, values: Mapping[str, Any], labels: Mapping[str, list[str]]) -> str:
        """Return the emotion of a row as a word."""
        if self.emotion not in values and (key := values.get("__key__")):
            raise EmotionError(
                f"{self.path}: the recording {key} has no {self.emotion}; add {key}.json with it, or {key}.cls"
            )
        if self.emotion not in values:
            known = [name for name, value in values.items() if not _is_recording(value)]
            raise EmotionError(
                f"{self.path} has no column {self.emotion}: {suggest(self.emotion, known)}; set "
                "data.corpus.emotion=COLUMN"
            )
        value, names = values[self.emotion], labels.get(self.emotion)
        return names[value] if names and isinstance(value, int) and 0 <= value < len(names) else _text(value)


@dataclass(frozen=True)
class _Part:
    """A split of a data set.

    Attributes:
        rows: The rows; a recording is a dictionary with `path` and `bytes`.
        fingerprint: Digest of the content.
        size: Number of rows, or None if unknown.
        labels: Names of the classes of columns with class indices.
    """

    rows: Iterable[Mapping[str, Any]]
    fingerprint: str
    size: int | None = None
    labels: Mapping[str, list[str]] = field(default_factory=dict)


def _part(rows: Any, path: str) -> _Part:
    """Return a split of the library, whose recordings are not decoded.

    Raises:
        EmotionError: no column holds recordings.
    """
    kinds = {name: type(kind).__name__ for name, kind in rows.features.items()}
    media = [name for name, kind in kinds.items() if kind in _MEDIA]
    if not media and not any(getattr(kind, "dtype", "") in _BINARY for kind in rows.features.values()):
        names = ", ".join(rows.features)
        raise EmotionError(f"{path} has no column of audio, video or images; its columns are {names}")
    for name in media:
        rows = rows.cast_column(name, type(rows.features[name])(decode=False))
    labels = {name: kind.names for name, kind in rows.features.items() if hasattr(kind, "names")}
    return _Part(rows, rows._fingerprint, len(rows), labels)


def _library() -> Any:
    try:
        import datasets
    except ImportError as error:
        raise EmotionError("datasets is not installed: pip install 'emotion[datasets]'") from error
    datasets.disable_progress_bars()
    for name in ("datasets", "huggingface_hub"):
        logging.getLogger(name).setLevel(logging.ERROR)
    return datasets


def _is_recording(value: Any) -> bool:
    return isinstance(value, bytes) or (isinstance(value, Mapping) and {"path", "bytes"} <= set(value))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _text(value: Any) -> str:
    return "" if value is None or value != value else str(value).strip()


def _write_file(directory: Path, name: str, content: Mapping[str, Any]) -> str:
    """Write a recording, and return its path below a directory; empty if there is none."""
    given = str(content.get("path") or "")
    data = content.get("bytes")
    if data is None and given and Path(given).is_file():
        data = Path(given).read_bytes()
    if not data:
        return ""
    suffix = PurePosixPath(given).suffix.lower()
    if suffix not in MEDIA_SUFFIXES:
        suffix = next((known for start, known in _SIGNATURES.items() if data.startswith(start)), ".mp4")
    path = directory / f"{name}{suffix}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path.relative_to(directory).as_posix()


def _places(path: str) -> dict[str, str]:
    """Return the columns in which a file stands."""
    kind = media_kind(path)
    return {"audio": path} if kind == "audio" else {"video": path} | ({"audio": path} if kind == "video" else {})


def _load_table(directory: Path) -> list[dict[str, Any]]:
    return json.loads((directory / _TABLE).read_text(encoding="utf-8"))
