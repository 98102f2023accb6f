"""Base class of corpora: from a directory to one table of recordings."""

import os
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import pandas as pd

from emotion.errors import EmotionError, counted

COLUMNS = (
    "recording",
    "speaker",
    "emotion",
    "audio",
    "video",
    "channel",
    "intensity",
    "statement",
    "repetition",
    "gender",
    "start",
    "end",
)
"""Columns of a table of recordings. `recording` is the key (`ravdess/01-05-02-02-01-07`); `audio` and `video` are paths
relative to the directory of the corpus, empty if there is none; `start` and `end` are those of a part of the files, in
seconds, empty for the whole; unknown values are empty."""

DIMENSIONS: tuple[str, ...] = ("valence", "arousal", "dominance")
"""The usual ratings of emotion."""
CHANNELS = ("speech", "song", "both")
UNKNOWN_SPEAKER = "unknown"
"""The value of `speaker` if the speaker is not known; it does not stand for one person."""


class Corpus(ABC):
    """Base class of corpora of recordings labelled with emotions.

    Attributes:
        name: First part of each recording key, and name of the directory below `data.root`.
        how_to_get: How to obtain the corpus, as an imperative clause for error messages.
        members: The corpora of which this one consists, if there are several.
        may_hold_copies: True if files may be byte-identical; identical files are then kept in one split.
        own_protocol: Name of the protocol that comes with the corpus, see `own_splits`; empty if there is none.
    """

    name: str
    how_to_get: str
    members: tuple["Corpus", ...] = ()
    may_hold_copies: bool = False
    own_protocol: str = ""

    def locate(self, root: str | None) -> Path:
        """Return the directory of the corpus: `<root>/<name>` if it exists, else `root`.

        Args:
            root: Value of `data.root`.

        Raises:
            EmotionError: there is no such directory.
        """
        if not root:
            raise EmotionError(f"the {self.name} corpus needs a directory; set data.root=DIR or EMOTION_DATA")
        for candidate in (Path(root).expanduser() / self.name, Path(root).expanduser()):
            if candidate.is_dir():
                return candidate
        raise EmotionError(
            f"the {self.name} corpus was looked for in {Path(root) / self.name} and {root}, and neither exists; "
            f"set its directory with data.root=DIR, or {self.how_to_get}"
        )

    def scan(self, directory: Path, channel: str = "both") -> pd.DataFrame:
        """Return the table of recordings below a directory.

        Args:
            directory: Directory of the corpus.
            channel: `speech`, `song` or `both` (default).

        Returns:
            Table with the columns `COLUMNS`, sorted by key.

        Raises:
            EmotionError: the directory holds no recording of this corpus, or `channel` is unknown.
        """
        if channel not in CHANNELS:
            raise EmotionError(f"data.channel={channel} is none of {', '.join(CHANNELS)}")
        rows = self.read(directory)
        if not rows:
            raise EmotionError(
                f"no {self.name} recording was found below {directory}; set their directory with data.root=DIR, or "
                f"{self.how_to_get}"
            )
        empty = dict.fromkeys(COLUMNS, "")
        table = pd.DataFrame([empty | row for row in rows]).sort_values("recording", ignore_index=True)
        return table if channel == "both" else table[table["channel"] == channel].reset_index(drop=True)

    @abstractmethod
    def read(self, directory: Path) -> list[dict[str, str]]:
        """Return one dictionary with the keys `COLUMNS` for each recording below a directory, in any order."""

    def documented(self) -> list[dict[str, str]]:
        """Return the rows, without paths, of a complete copy; an empty list if they are not documented."""
        return []

    def key_of(self, name: str) -> str:
        """Return the key of the recording with a given file name, as in tables of other tools; empty if unknown."""
        return f"{self.name}/{name}"

    @abstractmethod
    def describe(self, table: pd.DataFrame, channel: str) -> str:
        """Return a summary of the table: numbers of recordings, and of those that are missing."""

    def votes(self, directory: Path) -> pd.DataFrame | None:
        """Return the number of annotators for each emotion, one row for each recording; None for a single label."""
        return None

    def label_distributions(self, directory: Path) -> pd.DataFrame | None:
        """Return the shares of emotions that are trained on with `task=distribution`, in the form of `votes`.

        Rows need not sum to 1.
        """
        return self.votes(directory)

    def ratings(self, directory: Path, targets: Sequence[str] | None) -> pd.DataFrame:
        """Return the mean rated values of recordings, such as valence; arguments as of `annotations`.

        Returns:
            Table of float64, one row for each recording, with its key as the index, and one column for each target; NaN
            where a rating is unknown.

        Raises:
            EmotionError: the corpus lacks a rating.
        """
        return self.annotations(directory, targets).groupby(level=0).mean()

    def annotations(self, directory: Path, targets: Sequence[str] | None) -> pd.DataFrame:
        """Return all ratings of recordings: one row for each annotator, or one for their mean.

        Args:
            directory: Directory of the corpus.
            targets: Names of the ratings; None for those of `DIMENSIONS` that the corpus has.

        Returns:
            Table in the form of `ratings`, in which keys may be repeated.

        Raises:
            EmotionError: the corpus lacks a rating.
        """
        raise EmotionError(
            f"task=regression: the {self.name} corpus has no ratings; use data=folder with a table that has a column "
            "for each, such as valence"
        )

    def own_splits(self, directory: Path, fold: int) -> tuple[pd.DataFrame, int]:
        """Return a fold of the protocol `own_protocol`, and the number of folds.

        Args:
            directory: Directory of the corpus.
            fold: Number of the fold, as the corpus numbers them.

        Returns:
            Table with the columns `recording` and `split` (`train`, `dev`, `test`; dev may be missing), and the number
            of folds.

        Raises:
            EmotionError: there is no such fold.
        """
        raise TypeError(f"{type(self).__name__} does not define own_splits")

    def human_accuracy(self, modalities: Iterable[str], channel: str) -> dict[str, float]:
        """Return the published accuracy of humans for the modalities of a model.

        Returns:
            Accuracies by `all`, or by a column and its value such as `intensity strong`; empty if unpublished.
        """
        return {}

    def ensure_video(self, directory: Path, recordings: Iterable[str]) -> None:  # noqa: B027 (optional hook)
        """Generate missing videos of recordings, if the corpus is generated."""


@dataclass
class SkippedFiles:
    """Paths that were skipped in a search of a directory, relative to it.

    Attributes:
        files: Files with other suffixes.
        links: Links to directories that are searched anyway.
    """

    files: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)

    def messages(self) -> list[str]:
        """Return a message for each kind, with the number and an example."""
        lines = []
        if self.files:
            suffixes = Counter(PurePosixPath(path).suffix.lower() or "no suffix" for path in self.files)
            kinds = ", ".join(f"{count:,} {suffix}" for suffix, count in suffixes.most_common(3))
            more = ", …" if len(suffixes) > 3 else ""
            number, first = _count(self.files, "file"), self.files[0]
            lines.append(f"{number} of other kinds left out ({kinds}{more}), such as {first}")
        if self.links:
            number, first = _count(self.links, "link"), self.links[0]
            lines.append(f"{number} to folders that are searched anyway left out, such as {first}")
        return lines


def _count(items: list[str], noun: str) -> str:
    return f"{len(items):,} {noun}{'' if len(items) == 1 else 's'}"


def media_files(directory: Path, suffixes: Iterable[str], skipped_files: SkippedFiles | None = None) -> Iterator[str]:
    """Yield the paths of media files below a directory, relative to it.

    Links to directories are followed last; each directory is searched once. Hidden files, such as unfinished downloads,
    are skipped.

    Args:
        directory: Directory to search.
        suffixes: Suffixes of the files, in lower case; matched in any case.
        skipped_files: Receives the files with other suffixes, and the links that are not followed.

    Raises:
        EmotionError: a directory cannot be listed, or a name is not valid UTF-8.
    """
    suffixes, skipped_files = tuple(suffixes), skipped_files or SkippedFiles()
    searched, links, root = set(), [str(directory)], Path(os.path.realpath(directory))
    while links:
        start = links.pop(0)
        real = os.path.realpath(start)
        if real in searched or Path(real) in root.parents:  # a link to a parent would search everything around
            skipped_files.links.append(Path(start).relative_to(directory).as_posix())
            continue
        yield from _below(directory, start, suffixes, searched, links, skipped_files)


def _below(
    directory: Path,
    start: str,
    suffixes: tuple[str, ...],
    searched: set[str],
    links: list[str],
    skipped_files: SkippedFiles,
) -> Iterator[str]:
    """Search `start`, and add its directories to `searched` and its links to directories to `links`."""
    for folder, subfolders, files in os.walk(start, onerror=_raise_unlistable):
        real = os.path.realpath(folder)
        if real in searched:
            subfolders.clear()
            continue
        searched.add(real)
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        below = [Path(folder, name) for name in subfolders]
        links += [str(path) for path in below if path.is_symlink()]
        relative = Path(folder).relative_to(directory).as_posix()
        start = "" if relative == "." else f"{relative}/"
        for file in sorted(files):
            if file.startswith("."):
                continue
            if not file.lower().endswith(suffixes):
                skipped_files.files.append(start + file)
            elif _is_text(start + file):
                yield start + file
            else:
                raise EmotionError(
                    f"{directory}/{start}{file}: its name is not valid UTF-8; rename it, or set PYTHONUTF8=1 if the "
                    "locale is the cause"
                )


def _is_text(name: str) -> bool:
    """Return True if a name can be encoded as UTF-8."""
    try:
        return bool(name.encode())
    except UnicodeEncodeError:
        return False


def _raise_unlistable(error: OSError) -> None:
    # Skipping the directory silently would change the training data.
    raise EmotionError(f"cannot list {error.filename}: {error.strerror}; allow it, or move it elsewhere") from error


def shortest_path(copies: Iterable[str]) -> str:
    """Return the shortest of several paths, the first in alphabetical order if there are several."""
    return min(copies, key=lambda path: (len(path), path))


def describe_count(found: int, documented: int, what: str) -> str:
    """Return a count in words.

    Example:
        >>> describe_count(1440, 1440, "speech")
        '1,440 speech recordings, complete'
        >>> describe_count(1009, 1012, "song")
        '1,009 of 1,012 song recordings (3 missing)'
    """
    if found == documented:
        return f"{counted(found, f'{what} recording')}, complete"
    return f"{found:,} of {counted(documented, f'{what} recording')} ({documented - found:,} missing)"
