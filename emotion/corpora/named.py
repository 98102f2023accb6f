"""Corpora whose file names hold the labels, as a table of patterns."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pandas as pd

from emotion.corpora.base import COLUMNS, Corpus, describe_count, media_files, shortest_path
from emotion.corpora.cells import to_number
from emotion.corpora.tables import read_table
from emotion.errors import EmotionError, suggest
from emotion.media.suffixes import AUDIO_SUFFIXES


@dataclass(frozen=True)
class FileNames:
    """The official file names of a corpus.

    Attributes:
        pattern: Regular expression of the end of a path without its suffix. The groups `key` (the recording), `speaker`
            and `emotion` are required; `statement`, `repetition`, `intensity` and `gender` are columns.
        emotions: Emotion by the value of the group `emotion`.
        size: Number of recordings of the complete corpus.
        how_to_get: See `Corpus`.
        values: Values of other columns by the values of their groups; values that are not listed are kept.
        genders: Gender by speaker, if the names have none or a wrong one.
    """

    pattern: str
    emotions: Mapping[str, str]
    size: int
    how_to_get: str
    values: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    genders: Mapping[str, str] = field(default_factory=dict)


CORPORA = {
    # Amharic, 65 speakers: n1-01-01-01-05.wav. Retta et al. (2023), https://doi.org/10.3390/app132312587
    "ased": FileNames(
        r"(?P<key>(?P<emotion>n1|f2|h3|s4|a5)-(?P<statement>\d\d)-(?P<repetition>\d\d)-(?P<gender>0[12])"
        r"-(?P<speaker>\d\d))",
        {"n1": "neutral", "f2": "fearful", "h3": "happy", "s4": "sad", "a5": "angry"},
        2_474,
        "get it from https://github.com/Ethio2021/ASED_V1 and unpack it there",
        values={"gender": {"01": "female", "02": "male"}},
        # One file of each of these speakers has the other gender in its name.
        genders=dict.fromkeys(("09", "15", "21", "23", "25"), "female"),
    ),
    # American English, 91 actors: 1001_DFA_ANG_XX.wav. Cao et al. (2014), https://doi.org/10.1109/TAFFC.2014.2336244
    "crema_d": FileNames(
        r"(?P<key>(?P<speaker>10\d\d)_(?P<statement>[A-Z]{3})_(?P<emotion>ANG|DIS|FEA|HAP|NEU|SAD)"
        r"_(?P<intensity>LO|MD|HI|XX?))",
        {"ANG": "angry", "DIS": "disgust", "FEA": "fearful", "HAP": "happy", "NEU": "neutral", "SAD": "sad"},
        7_442,
        "get it from https://github.com/CheyneyComputerScience/CREMA-D and put its AudioWAV there",
        values={"intensity": {"LO": "low", "MD": "medium", "HI": "high", "XX": "", "X": ""}},
    ),
    # Italian, six actors: dis-f1-b1.wav. Costantini et al. (2014), LREC
    "emovo": FileNames(
        r"(?P<key>(?P<emotion>dis|gio|neu|pau|rab|sor|tri)-(?P<speaker>(?P<gender>[fm])[1-3])-(?P<statement>[a-z]+\d))",
        {
            "neu": "neutral",
            "gio": "happy",  # gioia
            "tri": "sad",  # tristezza
            "rab": "angry",  # rabbia
            "pau": "fearful",  # paura
            "dis": "disgust",
            "sor": "surprised",  # sorpresa
        },
        588,
        "get it from its authors (Costantini et al., 2014) and unpack it there",
        values={"gender": {"f": "female", "m": "male"}},
    ),
    # Ten Mandarin and ten English speakers: 0011/Angry/0011_000351.wav. Zhou et al. (2021), arXiv:2010.14794
    "esd": FileNames(
        r"(?P<emotion>Neutral|Angry|Happy|Sad|Surprise)/(?:train/|test/|evaluation/)?"
        r"(?P<key>(?P<speaker>00(?:0[1-9]|1\d|20))_\d{6})",
        {"Neutral": "neutral", "Angry": "angry", "Happy": "happy", "Sad": "sad", "Surprise": "surprised"},
        35_000,
        "request it at https://hltsingapore.github.io/ESD and unpack it there",
    ),
    # British English, four men: DC/a01.wav, or DC_a01.wav in some copies. Haq & Jackson (2009), AVSP
    "savee": FileNames(
        r"(?P<key>(?P<speaker>DC|JE|JK|KL)[/_](?P<emotion>sa|su|[adfhn])(?P<statement>\d\d))",
        {
            "n": "neutral",
            "h": "happy",
            "sa": "sad",
            "a": "angry",
            "f": "fearful",
            "d": "disgust",
            "su": "surprised",
        },
        480,
        "register at http://kahlan.eps.surrey.ac.uk/savee and unpack it there",
        genders=dict.fromkeys(("DC", "JE", "JK", "KL"), "male"),
    ),
}
"""The corpora by name."""


_VOTES = {"a": "angry", "d": "disgust", "f": "fearful", "h": "happy", "n": "neutral", "s": "sad"}
"""Emotion by column of the votes on CREMA-D."""
_STIMULI = {"audio": "1", "face": "2", "both": "3"}


class NamedCorpus(Corpus):
    """A corpus whose file names hold the labels: audio files at any depth; copies of a recording count once.

    Args:
        corpus: Name of the corpus, in `CORPORA`.
        votes: Table of the votes on CREMA-D, `processedResults/tabulatedVotes.csv` of its repository, relative to the
            directory of the corpus; None for no votes.
        voted_on: What the annotators of the votes perceived.

    Raises:
        EmotionError: there is no such corpus, or it has no votes.
    """

    def __init__(
        self,
        corpus: str,
        votes: str | None = None,
        voted_on: Literal["audio", "face", "both"] = "audio",
    ) -> None:
        if corpus not in CORPORA:
            raise EmotionError(f"data.corpus.corpus={corpus}: {suggest(corpus, CORPORA)}")
        if votes and corpus != "crema_d":
            raise EmotionError(f"data.corpus.votes={votes}: only crema_d has votes, not {corpus}")
        self.votes_file, self.voted_on = votes, voted_on
        self.name, self.names = corpus, CORPORA[corpus]
        self.how_to_get = self.names.how_to_get

    def read(self, directory: Path) -> list[dict[str, str]]:
        """See `Corpus.read`; of several copies of a file, the one with the shortest path is used."""
        pattern = re.compile(f"(?:.*/)?{self.names.pattern}")
        rows: dict[str, dict[str, str]] = {}
        copies: dict[str, list[str]] = {}
        for path in media_files(directory, AUDIO_SUFFIXES):
            # With the name of the directory, which may be that of a speaker or of an emotion.
            match = pattern.fullmatch(f"{directory.resolve().name}/{path.rpartition('.')[0]}")
            if match:
                row = self._row(match.groupdict())
                rows[row["recording"]] = row
                copies.setdefault(row["recording"], []).append(path)
        return [row | {"audio": shortest_path(copies[key])} for key, row in rows.items()]

    def votes(self, directory: Path) -> pd.DataFrame | None:
        """See `Corpus.votes`."""
        if not self.votes_file:
            return None
        path = directory / Path(self.votes_file).expanduser()
        table = read_table(path, ("filename", *_VOTES))
        # The first column numbers the clips; its first digit is the kind of stimulus.
        table = table[table.iloc[:, 0].str.startswith(_STIMULI[self.voted_on])]
        votes = table[list(_VOTES)].map(lambda cell: to_number(cell, str(path))).rename(columns=_VOTES)
        votes.index = pd.Index([f"{self.name}/{name}" for name in table["filename"]])
        return votes

    def speaker_of(self, path: str) -> str:
        """Return the speaker of a file, as in its name; empty if the name is not one of the corpus."""
        match = re.fullmatch(f"(?:.*/)?{self.names.pattern}", path.rpartition(".")[0])
        return match["speaker"] if match else ""

    def _row(self, groups: Mapping[str, str]) -> dict[str, str]:
        columns = {
            column: self.names.values.get(column, {}).get(value, value)
            for column, value in groups.items()
            if column in COLUMNS
        }
        return dict.fromkeys(COLUMNS, "") | {
            **columns,
            "recording": f"{self.name}/{groups['key'].replace('/', '_')}",
            "speaker": f"{self.name}/{groups['speaker']}",
            "emotion": self.names.emotions[groups["emotion"]],
            "channel": "speech",
            "gender": self.names.genders.get(groups["speaker"], columns.get("gender", "")),
        }

    def describe(self, table: pd.DataFrame, channel: str) -> str:
        """See `Corpus.describe`."""
        return f"{self.name}: {describe_count(len(table), self.names.size, 'speech')}"
