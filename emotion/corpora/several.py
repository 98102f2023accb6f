"""Combined corpora."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from emotion.corpora.base import Corpus
from emotion.corpora.ravdess import Ravdess
from emotion.corpora.tess import Tess
from emotion.errors import EmotionError


class CombinedCorpus(Corpus):
    """Base class of several corpora as one; a subclass defines `members`, each in a directory of its name."""

    def locate(self, root: str | None) -> Path:
        """Return the directory that holds those of the members.

        Args:
            root: Value of `data.root`.

        Raises:
            EmotionError: a directory is missing.
        """
        if not root:
            raise EmotionError(f"the {self.name} corpora need a directory; set data.root=DIR or EMOTION_DATA")
        for member in self.members:
            if not (Path(root) / member.name).is_dir():
                raise EmotionError(
                    f"{self.name} needs the directories {' and '.join(member.name for member in self.members)} in "
                    f"{root}, and {member.name} is missing; set their parent with data.root=DIR, or {member.how_to_get}"
                )
        return Path(root)

    def read(self, directory: Path) -> list[dict[str, str]]:
        """See `Corpus.read`."""
        rows = []
        for member in self.members:
            for row in member.read(directory / member.name):
                paths = {kind: row[kind] and f"{member.name}/{row[kind]}" for kind in ("audio", "video")}
                rows.append(row | paths)
        return rows

    def documented(self) -> list[dict[str, str]]:
        """See `Corpus.documented`."""
        return [row for member in self.members for row in member.documented()]

    def key_of(self, name: str) -> str:
        """See `Corpus.key_of`."""
        return next((key for member in self.members if (key := member.key_of(name))), "")

    def describe(self, table: pd.DataFrame, channel: str) -> str:
        """See `Corpus.describe`."""
        corpus = table["recording"].str.split("/").str[0]
        return "\n".join(member.describe(table[corpus == member.name], channel) for member in self.members)

    def ensure_video(self, directory: Path, recordings: Iterable[str]) -> None:
        """See `Corpus.ensure_video`."""
        for member in self.members:
            own = [recording for recording in recordings if recording.split("/")[0] == member.name]
            member.ensure_video(directory / member.name, own)


class RavdessTess(CombinedCorpus):
    """RAVDESS and TESS."""

    name = "ravdess_tess"
    how_to_get = "unpack both corpora there"
    members = (Ravdess(), Tess())
