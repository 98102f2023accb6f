"""Recordings in a directory of the user: in subdirectories named after emotions, or listed in a CSV file."""

import logging
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import pandas as pd

from emotion.corpora.base import COLUMNS, DIMENSIONS, UNKNOWN_SPEAKER, Corpus, SkippedFiles, media_files
from emotion.corpora.cells import (
    GENDERS,
    SPELLINGS,
    known_emotion,
    part_of_file,
    path_below,
    ratings_table,
    to_votes,
    votes_table,
)
from emotion.corpora.tables import normalized, read_table
from emotion.errors import EmotionError, counted, suggest
from emotion.labels import KNOWN
from emotion.media.suffixes import MEDIA_SUFFIXES, SILENT_SUFFIXES, media_kind

log = logging.getLogger(__name__)

_NO_RATINGS = (
    "task=regression needs ratings: name a table that has a column for each, such as valence, with "
    "data.corpus.table=CSV, a path below data.root or an absolute one"
)
_SYNONYMS = {"file": "path", "file_name": "path", "activation": "arousal"}
"""Names of columns by other names for them."""
_OWN_COLUMNS = ("path", "emotion", "speaker", "gender", "start", "end")
_NO_SPEAKER = ("", "nan", "#n/a", "n/a", "na", "none", "null", "unknown", "?", "-", "–", "—")


class _ListedFile(NamedTuple):
    """One file, or a part of it in seconds, with its emotion and its speaker; what is not listed is empty.

    Attributes:
        numbers: Cells of further columns of the table, by their names.
    """

    path: str
    emotion: str
    speaker: str = ""
    gender: str = ""
    start: str = ""
    end: str = ""
    numbers: tuple[tuple[str, str], ...] = ()

    @property
    def suffix(self) -> str:
        """The end of the key of a part of a file, such as `@1.5-3`; empty for a whole file."""
        return f"@{self.start}-{self.end}" if self.start or self.end else ""


class Folder(Corpus):
    """A directory with subdirectories named after emotions, at any depth, or with a CSV file that lists its files.

    A video has audio and frames, an image frames only. An audio file and a video that differ only in their suffix are
    one recording.

    Args:
        table: CSV file with the columns `path`, `file` or `file_name` (relative to the directory, or absolute) and
            `emotion`, and optionally `speaker`, `gender`, and `start` and `end` of a part of the file (in seconds, or
            such as `0 days 00:00:01.5`). Columns named after emotions hold the votes of annotators, other columns of
            numbers are ratings. None takes the emotion from the directories; if several directories of a path are named
            after one, the level counts at which the largest part of directories, and then most emotions, are; then the
            innermost.
        columns: Columns of the table by the names above, such as `{path: FileName, valence: EmoVal}`.
        speaker: Regular expression that matches the speaker in a path, such as `person..` in `happy/person07_3.wav`;
            the first group, if it has one. Without it, and without a column `speaker`, speakers are unknown and no
            protocol can separate them.
        on_error: `raise` refuses unknown labels, contradictory labels of one recording, and paths without a speaker;
            other values skip such rows, or set the speaker to unknown.
        needs_emotions: False to keep recordings without a known emotion.

    Raises:
        EmotionError: the regular expression is invalid.
    """

    name = "folder"
    may_hold_copies = True
    how_to_get = "sort its files into folders named after emotions"

    def __init__(
        self,
        table: str | None = None,
        speaker: str | None = None,
        columns: Mapping[str, str] | None = None,
        on_error: str = "raise",
        needs_emotions: bool = True,
    ) -> None:
        self.table, self.on_error, self.needs_emotions = table, on_error, needs_emotions
        self.columns = {theirs.lower(): own for own, theirs in (columns or {}).items()}
        self._reported: set[str] = set()
        try:
            self.speaker = re.compile(speaker) if speaker else None
        except re.error as error:
            raise EmotionError(f"data.corpus.speaker={speaker} is not a regular expression: {error}") from error

    def locate(self, root: str | None) -> Path:
        """Return `root`.

        Raises:
            EmotionError: `root` is not a directory.
        """
        if root and Path(root).expanduser().is_dir():
            return Path(root).expanduser()
        given = f"{root} is not a directory" if root else "data.root is not set"
        raise EmotionError(f"{given}; data=folder needs data.root=DIR, a directory of recordings")

    def read(self, directory: Path) -> list[dict[str, str]]:
        """See `Corpus.read`."""
        listed = self._listed(directory)
        speakers = self._one_spelling({speaker for _, file in listed if (speaker := self._speaker_of(file))})
        rows: dict[str, dict[str, str]] = {}
        for key, file in listed:
            row = rows.setdefault(key, dict.fromkeys(COLUMNS, "") | {"recording": key, "channel": "speech"})
            row |= {"emotion": file.emotion, "gender": file.gender, "start": file.start, "end": file.end}
            row["speaker"] = speakers.get(self._speaker_of(file), row["speaker"] or UNKNOWN_SPEAKER)
            kind = media_kind(file.path)
            if kind != "audio":
                row["video"] = file.path
            has_audio = kind == "video" and not file.path.lower().endswith(SILENT_SUFFIXES)
            if kind == "audio" or (has_audio and not row["audio"]):
                row["audio"] = file.path
        return list(rows.values())

    def votes(self, directory: Path) -> pd.DataFrame | None:
        """See `Corpus.votes`: the columns that are named after emotions."""
        return votes_table(self._cells(directory), str(self.table))

    def annotations(self, directory: Path, targets: Sequence[str] | None) -> pd.DataFrame:
        """See `Corpus.annotations`: columns of the table, which may list a recording once for each annotator."""
        if not self.table:
            raise EmotionError(_NO_RATINGS)
        return ratings_table(self._cells(directory), targets, str(directory / Path(self.table).expanduser()))

    def _cells(self, directory: Path) -> list[tuple[str, dict[str, str]]]:
        """Return the key of the recording and the cells of further columns for each row of the table."""
        return [(key, dict(file.numbers)) for key, file in self._listed(directory)]

    def describe(self, table: pd.DataFrame, channel: str) -> str:
        """See `Corpus.describe`."""
        counts, known = table["emotion"].value_counts(), table["speaker"] != UNKNOWN_SPEAKER
        speakers = table.loc[known, "speaker"].nunique()
        who = counted(speakers, "speaker") if speakers else "speakers unknown"
        if speakers and not known.all():
            who += f" and {counted((~known).sum(), 'recording')} of unknown speakers"
        emotions = ", ".join(f"{n} {emotion}" for emotion, n in counts.items() if emotion)
        return f"folder: {counted(len(table), 'recording')}, {who}" + (f": {emotions}" if emotions else "")

    def _listed(self, directory: Path) -> list[tuple[str, _ListedFile]]:
        """Return the files with the keys of their recordings."""
        if not self.table and not self.needs_emotions:
            raise EmotionError(_NO_RATINGS)
        listed = self._from_csv(directory, self.table) if self.table else self._from_folders(directory)
        keys = _keys(list(dict.fromkeys(file.path for file in listed)))
        return [(f"{self.name}/{keys[file.path]}{file.suffix}", file) for file in self._consistent(listed, keys)]

    def _report(self, text: str) -> None:
        """Log a warning once, however often the folder is read."""
        if text not in self._reported:
            self._reported.add(text)
            log.warning("%s", text)

    def _from_folders(self, directory: Path) -> list[_ListedFile]:
        skipped_files = SkippedFiles()
        paths = list(media_files(directory, MEDIA_SUFFIXES, skipped_files))
        emotions, ambiguous = _emotions_of(paths)
        unlabelled = [path for path in paths if path not in emotions]
        if unlabelled:
            self._report(
                f"{len(unlabelled):,} files are in no directory named after an emotion and are skipped, such as "
                f"{unlabelled[0]}; known: {', '.join(KNOWN)}"
            )
        if ambiguous:
            self._report(
                f"{len(ambiguous):,} files are in directories named after two emotions, such as {ambiguous[0]}, which "
                f"is labelled {emotions[ambiguous[0]]}; rename one of the directories if that is wrong"
            )
        for message in skipped_files.messages():
            self._report(message)
        return [_ListedFile(path, emotions[path]) for path in paths if path in emotions]

    def _from_csv(self, directory: Path, name: str) -> list[_ListedFile]:
        path = directory / Path(name).expanduser()
        if self.columns:
            given = read_table(path, tuple(self.columns))
            for theirs, own in self.columns.items():
                if own != theirs and own in given:
                    raise EmotionError(f"data.corpus.columns.{own}={theirs}: {path} has a column {own} too; remove one")
        table = read_table(path, ("path",), _SYNONYMS | self.columns)
        if table.empty:
            raise EmotionError(f"{path} lists no recordings: it has no line after its header")
        numbers = [str(column) for column in table if column not in _OWN_COLUMNS]
        if "emotion" not in table:
            table["emotion"] = self._most_votes(path, table)
        unknown = [(line, cell) for line, cell in table["emotion"].items() if not known_emotion(cell)]
        if unknown and self.needs_emotions:
            line, cell = unknown[0]
            text = f"{path} line {line}: {cell!r} is not a known emotion: {suggest(cell, [*KNOWN, *SPELLINGS])}"
            if self.on_error == "raise":
                raise EmotionError(f"{text}; {len(unknown):,} rows are left out with data.on_error=skip")
            self._report(f"{len(unknown):,} rows are left out, such as {text}")
            table = table.drop([line for line, _ in unknown])
        files = [
            _ListedFile(
                path_below(directory, row["path"], path, line),
                known_emotion(row["emotion"]) or "",
                normalized(row.get("speaker", "")),
                GENDERS.get(row.get("gender", "").lower(), ""),
                *part_of_file(row.get("start", ""), row.get("end", ""), path, line),
                tuple((column, str(row[column])) for column in numbers),
            )
            for line, row in zip(table.index, table.to_dict("records"), strict=True)
        ]
        repeated = [file.path for file, count in Counter(files).items() if count > 1]
        if repeated:
            self._report(f"{path} lists {len(repeated):,} files more than once, such as {repeated[0]}")
        return list(dict.fromkeys(files))

    def _most_votes(self, path: Path, table: pd.DataFrame) -> list[str]:
        """Return the emotion with most votes in each row of a table that has no column of emotions."""
        names = list(map(str, table))
        columns = [name for name in names if known_emotion(name)]
        if columns:
            votes = pd.DataFrame(
                {
                    name: [to_votes(cell, f"{path} line {line}, {name}") for line, cell in table[name].items()]
                    for name in columns
                },
                index=table.index,
            )
            most = votes.max(axis=1)
            voted = most > 0
            if not voted.all() and self.on_error == "raise" and self.needs_emotions:
                raise EmotionError(
                    f"{path} line {most.index[~voted][0]} has no votes; {(~voted).sum():,} rows are left out with "
                    "data.on_error=skip"
                )
            if ties := int((votes[voted].eq(most[voted], axis=0).sum(axis=1) > 1).sum()):
                self._report(f"{path}: {ties:,} rows have a tie of votes, of which the first emotion counts")
            chosen = votes.fillna(-1.0).to_numpy().argmax(axis=1)
            return [columns[index] if count > 0 else "" for index, count in zip(chosen, most, strict=True)]
        if not self.needs_emotions:
            return [""] * len(table)
        rated = [name for name in DIMENSIONS if name in names]
        hint = f"; train on {' and '.join(rated)} with task=regression" if rated else ""
        raise EmotionError(f"{path} lacks the column emotion; its columns are {', '.join(names)}{hint}")

    def _consistent(self, listed: Sequence[_ListedFile], keys: Mapping[str, str]) -> list[_ListedFile]:
        """Refuse, or skip, recordings with two emotions or two speakers."""
        labels: dict[str, set[tuple[str, str]]] = defaultdict(set)
        for file in listed:
            labels[keys[file.path] + file.suffix].add((file.emotion, file.speaker))
        wrong = {key: found for key, found in labels.items() if len(found) > 1 and _contradict(found)}
        if not wrong:
            return list(listed)
        first, found = next(
            (file.path, wrong[key]) for file in listed if (key := keys[file.path] + file.suffix) in wrong
        )
        words = (
            {emotion for emotion, _ in found} if len({e for e, _ in found}) > 1 else {speaker for _, speaker in found}
        )
        text = (
            f"{len(wrong):,} recordings are listed under two emotions or speakers, such as {first} "
            f"({' and '.join(sorted(words))})"
        )
        if self.on_error == "raise":
            raise EmotionError(f"{text}; correct {self.table}, or leave them out with data.on_error=skip")
        self._report(f"{text}, and left out")
        return [file for file in listed if keys[file.path] + file.suffix not in wrong]

    def _speaker_of(self, file: _ListedFile) -> str:
        """Return the speaker of a file as written, or an empty string."""
        if file.speaker.lower() not in _NO_SPEAKER:
            return file.speaker
        if self.speaker is None:
            return ""
        match = self.speaker.search(file.path)
        name = normalized((match[1 if self.speaker.groups else 0] or "") if match else "")
        if not name and self.on_error == "raise":
            raise EmotionError(f"data.corpus.speaker={self.speaker.pattern} matches no speaker in {file.path}")
        return name

    def _one_spelling(self, names: Iterable[str]) -> dict[str, str]:
        """Map names that differ only in case, or in leading zeros, to the first of them."""
        spellings: dict[str, list[str]] = defaultdict(list)
        for name in sorted(names):
            number = re.sub(r"\.0+$", "", name)  # spreadsheets write 1 as 1.0
            spellings[number.lstrip("0") or "0" if number.isdecimal() else name.casefold()].append(name)
        if several := [own for own in spellings.values() if len(own) > 1]:
            self._report(
                f"{len(several):,} speakers are written in several ways and count as one each, such as "
                f"{' and '.join(several[0])}"
            )
        return {name: own[0] for own in spellings.values() for name in own}


def _emotions_of(paths: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Return emotions by path, and the paths whose directories name two different ones.

    A directory may be named after a person called Joy. So that level of directories counts at which the largest part is
    named after emotions, then that with most emotions, then the innermost.
    """
    names: dict[int, set[str]] = defaultdict(set)
    for path in paths:
        for level, name in enumerate(PurePosixPath(path).parts[:-1]):
            names[level].add(name)
    rank = {}
    for level, own in names.items():
        found = [emotion for name in own if (emotion := known_emotion(name))]
        rank[level] = (len(found) / len(own), len(set(found)), level)
    emotions, ambiguous = {}, []
    for path in paths:
        parts = enumerate(PurePosixPath(path).parts[:-1])
        found = {level: emotion for level, name in parts if (emotion := known_emotion(name))}
        if found:
            emotions[path] = found[max(found, key=rank.__getitem__)]
            if len(set(found.values())) > 1:
                ambiguous.append(path)
    return emotions, ambiguous


def _keys(paths: Sequence[str]) -> dict[str, str]:
    """Return the keys of recordings by path: paths without suffixes, with suffixes where keys would be equal."""
    stems: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        stems[str(PurePosixPath(path).with_suffix(""))].append(path)
    keys = {}
    for stem, own in stems.items():
        one = len(own) == 1 or sorted(map(media_kind, own)) == ["audio", "video"]
        keys |= {path: stem if one else path for path in own}
    whole = {path for path in paths if keys[path] == path}  # a.jpg beside a.png, and the stem of a.jpg.wav
    return {path: path if key in whole else key for path, key in keys.items()}


def _contradict(found: Iterable[tuple[str, str]]) -> bool:
    """Return True if pairs of emotion and speaker hold two emotions, or two known speakers."""
    emotions, speakers = zip(*found, strict=True)
    known = {speaker.casefold() for speaker in speakers if speaker.lower() not in _NO_SPEAKER}
    return len(set(emotions)) > 1 or len(known) > 1
