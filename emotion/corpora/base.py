"""The contract of a corpus: find its folder, and read that folder into one table of recordings."""

import os
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import pandas as pd

from emotion.errors import EmotionError

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
)
"""What a table of recordings holds, one row a take. `recording` is the key (`ravdess/01-05-02-02-01-07`), `audio` and
`video` are paths relative to the corpus folder, empty where the take has none; what a corpus does not know is empty."""

CHANNELS = ("speech", "song", "both")
UNKNOWN_SPEAKER = "unknown"
"""The speaker of recordings of which nobody knows who speaks: no person, and never taken for one."""


class Corpus(ABC):
    """A corpus of recordings of people whose emotion is known.

    Attributes:
        name: The first part of every recording key, and the folder looked for below `data.root`.
        how_to_get: What a person does who has not got it, as an imperative clause.
        members: The corpora of which it is made, if there are several.
        may_hold_copies: True if files may be byte-identical, as nobody has checked; copies then stay in one split.
    """

    name: str
    how_to_get: str
    members: tuple["Corpus", ...] = ()
    may_hold_copies: bool = False

    def locate(self, root: str | None) -> Path:
        """The corpus folder: `<root>/<name>` if that exists, else `root` itself. Siblings are never scanned.

        Raises:
            EmotionError: there is no such folder.
        """
        if not root:
            raise EmotionError(f"the {self.name} corpus needs a folder: give data.root=DIR or set EMOTION_DATA")
        for candidate in (Path(root).expanduser() / self.name, Path(root).expanduser()):
            if candidate.is_dir():
                return candidate
        raise EmotionError(
            f"the {self.name} corpus was looked for in {Path(root) / self.name} and {root}, and neither exists; "
            f"give its folder with data.root=DIR, or {self.how_to_get}"
        )

    def scan(self, directory: Path, channel: str = "both") -> pd.DataFrame:
        """Every recording of `channel` (speech, song or both) below `directory`, sorted by key, with `COLUMNS`.

        Raises:
            EmotionError: nothing there is a recording of this corpus, or `channel` is none.
        """
        if channel not in CHANNELS:
            raise EmotionError(f"data.channel={channel} is none of {', '.join(CHANNELS)}")
        rows = self.read(directory)
        if not rows:
            raise EmotionError(
                f"no {self.name} recording was found below {directory}; give the folder that holds them with "
                f"data.root=DIR, or {self.how_to_get}"
            )
        table = pd.DataFrame(rows, columns=list(COLUMNS)).sort_values("recording", ignore_index=True)
        return table if channel == "both" else table[table["channel"] == channel].reset_index(drop=True)

    @abstractmethod
    def read(self, directory: Path) -> list[dict[str, str]]:
        """One dictionary with the keys `COLUMNS` for each recording below `directory`, in any order."""

    def documented(self) -> list[dict[str, str]]:
        """The rows, without paths, that a whole copy gives; empty where that is not known ahead."""
        return []

    def key_of(self, name: str) -> str:
        """The key of the recording whose files are called `name`, as tables made elsewhere do; empty if of none."""
        return f"{self.name}/{name}"

    @abstractmethod
    def describe(self, table: pd.DataFrame, channel: str) -> str:
        """In words and numbers: how many recordings there are, and what the documented corpus has besides."""

    def shares(self, directory: Path) -> pd.DataFrame | None:
        """How annotators divide over the emotions, where several were asked: columns emotions, index recordings."""
        return None

    def human_accuracy(self, modalities: Iterable[str], channel: str) -> dict[str, float]:
        """Return the published accuracy of human listeners for the modalities of a model, if there is one.

        Returns:
            By `all`, or by a column and its value such as `intensity strong`; empty where nobody asked people.
        """
        return {}

    def provide_video(self, directory: Path, recordings: Iterable[str]) -> None:  # noqa: B027 (most cannot)
        """Make sure that the videos of `recordings` are there, if the corpus can make them."""


@dataclass
class LeftOut:
    """Paths that a search of a folder left out, relative to it.

    Attributes:
        files: Files of other suffixes.
        links: Links to folders that were searched already.
    """

    files: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)

    def messages(self) -> list[str]:
        """Return a line for each kind, with the number and an example."""
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


def media_files(directory: Path, suffixes: Iterable[str], left_out: LeftOut | None = None) -> Iterator[str]:
    """Yield paths below `directory`, relative to it, that end in one of `suffixes` in any case.

    Links to folders are followed after all folders that are none; each folder is searched once. What is hidden, such as
    a download that has not ended, is left out.

    Args:
        directory: The folder.
        suffixes: In lower case.
        left_out: Receives what is not yielded, besides what is hidden.

    Raises:
        EmotionError: a folder must not be listed, or a name is no text.
    """
    suffixes, left_out = tuple(suffixes), left_out or LeftOut()
    searched, links, root = set(), [str(directory)], Path(os.path.realpath(directory))
    while links:
        start = links.pop(0)
        real = os.path.realpath(start)
        if real in searched or Path(real) in root.parents:  # which would search everything around the folder
            left_out.links.append(Path(start).relative_to(directory).as_posix())
            continue
        yield from _below(directory, start, suffixes, searched, links, left_out)


def _below(
    directory: Path, start: str, suffixes: tuple[str, ...], searched: set[str], links: list[str], left_out: LeftOut
) -> Iterator[str]:
    """Search `start`, and add the folders in it to `searched` and the links to folders to `links`."""
    for folder, subfolders, files in os.walk(start, onerror=_not_listed):
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
                left_out.files.append(start + file)
            elif _is_text(start + file):
                yield start + file
            else:
                raise EmotionError(
                    f"{directory}/{start}{file}: its name is no UTF-8; rename it, or set PYTHONUTF8=1 if the locale is "
                    "the cause"
                )


def _is_text(name: str) -> bool:
    """Whether a name can be written to a table."""
    try:
        return bool(name.encode())
    except UnicodeEncodeError:
        return False


def _not_listed(error: OSError) -> None:
    """A folder that is left out would change what is learnt, and nobody would know."""
    raise EmotionError(f"cannot list {error.filename}: {error.strerror}; allow it, or move it elsewhere") from error


def shortest(copies: Iterable[str]) -> str:
    """Of several copies of a file, the one with the shortest path."""
    return min(copies, key=lambda path: (len(path), path))


def count_in_words(found: int, documented: int, what: str) -> str:
    """`1,440 speech recordings, complete` or `1,009 of 1,012 song recordings (3 missing)`."""
    if found == documented:
        return f"{found:,} {what} recordings, complete"
    return f"{found:,} of {documented:,} {what} recordings ({documented - found:,} missing)"
