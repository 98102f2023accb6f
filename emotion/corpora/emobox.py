"""Corpora by the metadata of EmoBox (Ma et al., 2024, https://arxiv.org/abs/2406.07162), with its folds.

The metadata of 32 corpora in 14 languages are at https://github.com/emo-box/EmoBox, in `data/<corpus>/`.
"""

import json
import logging
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from emotion.corpora.base import COLUMNS, UNKNOWN_SPEAKER, Corpus
from emotion.corpora.cells import SPELLINGS
from emotion.corpora.named import CORPORA, NamedCorpus
from emotion.corpora.tables import normalized
from emotion.errors import EmotionError, counted, error_message
from emotion.labels import KNOWN
from emotion.media.suffixes import AUDIO_SUFFIXES

log = logging.getLogger(__name__)

_SPLITS = {"train": "train", "valid": "dev", "test": "test"}
_NAMED = {"cremad": "crema_d"} | {name: name for name in CORPORA}
"""Corpora in `named` by their names in EmoBox; their file names hold the speaker."""


class EmoBox(Corpus):
    """A corpus by the metadata of EmoBox.

    They are `<name>.jsonl`, `label_map.json` and `fold_<k>/<name>_{train,valid,test}_fold_<k>.jsonl`.

    Speakers are known for the corpora of `emotion.corpora.named`, or if a line has the key `speaker`.

    Args:
        metadata: Directory of the metadata of one corpus.
        on_error: `raise` refuses missing files; other values skip them.
    """

    own_protocol = "emobox"
    how_to_get = "download the corpus as https://github.com/emo-box/EmoBox describes"

    def __init__(self, metadata: str | None = None, on_error: str = "raise") -> None:
        if not metadata:
            raise EmotionError("data=emobox needs data.metadata=DIR, such as data/emodb of a checkout of EmoBox")
        self.metadata, self.on_error = Path(metadata).expanduser(), on_error
        found = [path.stem for path in sorted(self.metadata.glob("*.jsonl"))]
        if not found:
            raise EmotionError(f"data.metadata={metadata} has no file NAME.jsonl; name the directory of one corpus")
        self.name = found[0]
        self._reported: set[str] = set()

    def read(self, directory: Path) -> list[dict[str, str]]:
        """See `Corpus.read`."""
        labels = self._label_map()
        rows, missing, unlabelled = [], [], Counter()
        for entry in _entries(self.metadata / f"{self.name}.jsonl"):
            emotion = labels.get(entry["emo"], "")
            path = self._locate_file(directory, entry["wav"])
            if not emotion:
                unlabelled[entry["emo"]] += 1
            elif not path:
                missing.append(entry["wav"])
            else:
                rows.append(self._row(entry, emotion, path))
        self._report(missing, unlabelled, len(rows), directory)
        return rows

    def own_splits(self, directory: Path, fold: int) -> tuple[pd.DataFrame, int]:
        """See `Corpus.own_splits`; a fold without a valid file has no dev split."""
        folds = sorted(int(path.name.removeprefix("fold_")) for path in self.metadata.glob("fold_[0-9]*"))
        if fold not in folds:
            known = ", ".join(map(str, folds)) or "none"
            raise EmotionError(f"protocol.fold={fold}: the metadata in {self.metadata} have the folds {known}")
        rows = []
        for name, split in _SPLITS.items():
            path = self.metadata / f"fold_{fold}" / f"{self.name}_{name}_fold_{fold}.jsonl"
            if name != "valid" or path.is_file():
                rows += [{"recording": self._key(entry), "split": split} for entry in _entries(path)]
        return pd.DataFrame(rows, columns=["recording", "split"]), len(folds)

    def describe(self, table: pd.DataFrame, channel: str) -> str:
        """See `Corpus.describe`."""
        speakers = table.loc[table["speaker"] != UNKNOWN_SPEAKER, "speaker"].nunique()
        known = f"{speakers} speakers" if speakers else "speakers unknown"
        return f"{self.name}: {counted(len(table), 'recording')} of EmoBox's metadata, {known}"

    def _key(self, entry: dict[str, Any]) -> str:
        return f"{self.name}/{entry['key']}"

    def _row(self, entry: dict[str, Any], emotion: str, path: str) -> dict[str, str]:
        speaker = str(entry.get("speaker") or "")
        if not speaker and self.name in _NAMED:
            speaker = NamedCorpus(_NAMED[self.name]).speaker_of(path)
        return dict.fromkeys(COLUMNS, "") | {
            "recording": self._key(entry),
            "speaker": f"{self.name}/{speaker}" if speaker else UNKNOWN_SPEAKER,
            "emotion": emotion,
            "audio": path,
            "channel": "speech",
        }

    def _label_map(self) -> dict[str, str]:
        """Return the emotion of each label of the corpus; labels that are no emotion are left out."""
        path = self.metadata / "label_map.json"
        try:
            names = json.loads(path.read_bytes()).items()
        except (OSError, ValueError, AttributeError) as error:
            raise EmotionError(f"cannot read {path}: {error_message(error)}") from error
        labels = {str(label): normalized(str(name)).lower() for label, name in names}
        emotions = {label: SPELLINGS.get(name, name) for label, name in labels.items()}
        return {label: emotion for label, emotion in emotions.items() if emotion in KNOWN}

    def _locate_file(self, directory: Path, wav: str) -> str:
        """Return the path of a file below a directory, with or without `downloads/<name>/`; empty if there is none.

        A file with another suffix is used too, since copies of a corpus may be compressed.
        """
        if PurePosixPath(wav).is_absolute() or ".." in PurePosixPath(wav).parts:
            return ""  # metadata of others must not lead out of the corpus
        places = [wav, wav.removeprefix("downloads/"), wav.removeprefix(f"downloads/{self.name}/")]
        for place in dict.fromkeys(places):
            for candidate in (place, *(f"{place.rpartition('.')[0]}{suffix}" for suffix in AUDIO_SUFFIXES)):
                if os.path.isfile(directory / candidate):  # noqa: PTH113 (a path that is too long is no file)
                    return candidate
        return ""

    def _report(self, missing: list[str], unlabelled: Counter, found: int, directory: Path) -> None:
        if missing and found and self.on_error == "raise":
            raise EmotionError(
                f"{len(missing):,} of {len(missing) + found:,} files of {self.name} are not below {directory}, such as "
                f"{missing[0]}; add them, or leave them out with data.on_error=skip"
            )
        messages = []
        if missing and found:
            messages.append(f"{len(missing):,} files are missing and are skipped, such as {missing[0]}")
        if unlabelled:
            counts = ", ".join(f"{count:,} {label}" for label, count in unlabelled.most_common(3))
            messages.append(f"{unlabelled.total():,} recordings with other labels are skipped ({counts})")
        for message in messages:
            if message not in self._reported:
                self._reported.add(message)
                log.warning("%s: %s", self.name, message)


def _entries(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a file with one JSON object on each line, which must have `key`, `wav` and `emo`."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise EmotionError(f"cannot read {path}: {error_message(error)}") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            if not all(isinstance(entry[key], str) for key in ("key", "wav", "emo")):
                raise TypeError("key, wav and emo must be text")
            (entry["key"] + entry["wav"]).encode()  # raises for halves of surrogate pairs
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise EmotionError(f"{path} line {number} is no entry of EmoBox: {error_message(error)}") from error
        yield entry
