"""Several corpora as one."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import pandas as pd

from emotion.config.target import Target, instantiate
from emotion.corpora.base import CHANNELS, UNKNOWN_SPEAKER, Corpus
from emotion.errors import EmotionError, suggest

OPTIONS = ("root", "channel")
"""Options of a member, besides the arguments of its class."""


class Several(Corpus):
    """Several corpora as one; the recordings and speakers of each begin with its name.

    Args:
        members: Members by name: `_target_` and the arguments of its class, `root` (null for `data.root`) and
            `channel` (null for `data.channel`).
        on_error: Passed on to the members that handle errors themselves.
        needs_emotions: Passed on likewise.

    Raises:
        EmotionError: there is no member, or an option is wrong.
    """

    how_to_get = "unpack all corpora there"

    def __init__(
        self, members: Mapping[str, Mapping[str, Any]], on_error: str = "raise", needs_emotions: bool = True
    ) -> None:
        if not members:
            raise EmotionError("data.corpora names no corpus; set such as data.corpora=[ravdess,tess]")
        self.name = "_".join(members)
        self.roots = {name: options.get("root") for name, options in members.items()}
        self.channels = {name: options.get("channel") or "both" for name, options in members.items()}
        for name, channel in self.channels.items():
            if channel not in CHANNELS:
                raise EmotionError(f"data.options.{name}.channel={channel}: {suggest(channel, CHANNELS)}")
        self.of_name = {name: _build(name, options, on_error, needs_emotions) for name, options in members.items()}
        self.members = tuple(self.of_name.values())
        self.may_hold_copies = any(member.may_hold_copies for member in self.members)

    def locate(self, root: str | None) -> Path:
        """Return `root`, or the directory of the first member if there is none; see `Corpus.locate`.

        Raises:
            EmotionError: the directory of a member is missing.
        """
        places = self._directories(root)
        return Path(root).expanduser() if root else next(iter(places.values()))

    def read(self, directory: Path) -> list[dict[str, str]]:
        """See `Corpus.read`."""
        rows = []
        for name, place in self._directories(str(directory)).items():
            table = self.of_name[name].scan(place, self.channels[name])
            start = os.path.relpath(place, directory)
            for row in cast(list[dict[str, str]], table.to_dict("records")):
                paths = {kind: row[kind] and Path(start, row[kind]).as_posix() for kind in ("audio", "video")}
                rows.append(row | paths | self._keys(name, row))
        return rows

    def _keys(self, name: str, row: Mapping[str, str]) -> dict[str, str]:
        """Return the keys of a recording and of its speaker with the name of the member as first part."""
        recording = f"{name}/{row['recording'].partition('/')[2]}"
        if row["speaker"] in ("", UNKNOWN_SPEAKER):
            return {"recording": recording}
        return {"recording": recording, "speaker": f"{name}/{row['speaker'].partition('/')[2] or row['speaker']}"}

    def votes(self, directory: Path) -> pd.DataFrame | None:
        """See `Corpus.votes`; the members without votes have no rows."""
        return self._of_members(directory, lambda member, place: member.votes(place))

    def label_distributions(self, directory: Path) -> pd.DataFrame | None:
        """See `Corpus.label_distributions`; the members without votes have no rows."""
        return self._of_members(directory, lambda member, place: member.label_distributions(place))

    def _of_members(
        self, directory: Path, table_of: Callable[[Corpus, Path], pd.DataFrame | None]
    ) -> pd.DataFrame | None:
        found = [
            self._renamed(name, table)
            for name, place in self._directories(str(directory)).items()
            if (table := table_of(self.of_name[name], place)) is not None
        ]
        return pd.concat(found).fillna(0.0) if found else None

    def annotations(self, directory: Path, targets: Sequence[str] | None) -> pd.DataFrame:
        """See `Corpus.annotations`; every member has ratings."""
        return pd.concat(
            self._renamed(name, self.of_name[name].annotations(place, targets))
            for name, place in self._directories(str(directory)).items()
        )

    def _renamed(self, name: str, table: pd.DataFrame) -> pd.DataFrame:
        """Return a table of a member with the name of the member as first part of the keys."""
        return table.set_axis([f"{name}/{key.partition('/')[2]}" for key in table.index])

    def documented(self) -> list[dict[str, str]]:
        """See `Corpus.documented`."""
        return [row for member in self.members for row in member.documented()]

    def key_of(self, name: str) -> str:
        """See `Corpus.key_of`."""
        return next((key for member in self.members if (key := member.key_of(name))), "")

    def describe(self, table: pd.DataFrame, channel: str) -> str:
        """See `Corpus.describe`."""
        corpus = table["recording"].str.split("/").str[0]
        return "\n".join(member.describe(table[corpus == name], channel) for name, member in self.of_name.items())

    def ensure_video(self, directory: Path, recordings: Iterable[str]) -> None:
        """See `Corpus.ensure_video`."""
        recordings = list(recordings)
        for name, place in self._directories(str(directory)).items():
            member = self.of_name[name]
            own = [f"{member.name}/{key.partition('/')[2]}" for key in recordings if key.split("/")[0] == name]
            member.ensure_video(place, own)

    def _directories(self, root: str | None) -> dict[str, Path]:
        """Return the directory of each member by its name.

        The members without a root of their own are `<root>/<name>`: in `root` itself, each would search all others.
        """
        places = {}
        for name, member in self.of_name.items():
            key, own, is_below_root = f"data.options.{name}.root", self.roots[name], _is_below_root(member)
            if not own and is_below_root and not (root and (Path(root).expanduser() / member.name).is_dir()):
                raise EmotionError(
                    f"{member.name} is not in data.root={root}, which holds the directories of all corpora; set its "
                    f"directory with {key}=DIR, or {member.how_to_get}"
                )
            try:
                places[name] = member.locate(own or (root if is_below_root else None))
            except EmotionError as error:
                raise EmotionError(f"{key}={own or 'null'}: {error}") from error
        return places


def _build(name: str, options: Mapping[str, Any], on_error: str, needs_emotions: bool) -> Corpus:
    arguments = {key: value for key, value in options.items() if key not in OPTIONS}
    return instantiate(
        Target.parse(f"data.options.{name}", arguments), Corpus, on_error=on_error, needs_emotions=needs_emotions
    )


def _is_below_root(member: Corpus) -> bool:
    """Return False for corpora that are not looked for below `data.root`, such as the demo corpus."""
    return type(member).locate is Corpus.locate
