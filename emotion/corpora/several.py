"""Several corpora as one."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from emotion.corpora.base import Corpus
from emotion.corpora.ravdess import Ravdess
from emotion.corpora.tess import Tess
from emotion.errors import EmotionError


class Several(Corpus):
    """The corpora `members`, each in the folder of its name below the root. What a subclass defines."""

    def locate(self, root: str | None) -> Path:
        """The folder that holds the members' folders."""
        if not root:
            raise EmotionError(f"the {self.name} corpora need a folder: give data.root=DIR or set EMOTION_DATA")
        for member in self.members:
            if not (Path(root) / member.name).is_dir():
                raise EmotionError(
                    f"{self.name} needs the folders {' and '.join(member.name for member in self.members)} in {root}, "
                    f"and there is no {member.name}; give their parent with data.root=DIR, or {member.how_to_get}"
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

    def provide_video(self, directory: Path, recordings: Iterable[str]) -> None:
        """See `Corpus.provide_video`."""
        for member in self.members:
            own = [recording for recording in recordings if recording.split("/")[0] == member.name]
            member.provide_video(directory / member.name, own)


class RavdessTess(Several):
    """RAVDESS and TESS."""

    name = "ravdess_tess"
    how_to_get = "unpack both corpora there"
    members = (Ravdess(), Tess())
