"""Loading of committed protocols, with checks against leakage."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from emotion.corpora.base import UNKNOWN_SPEAKER
from emotion.errors import EmotionError, suggest
from emotion.labels import KNOWN

SPLITS = ("train", "dev", "test")
COLUMNS = ("recording", "speaker", "emotion")
DIRECTORY = Path(__file__).parent
"""Directory of the committed protocols, `<corpus>/<protocol>/<fold>/{train,dev,test}.csv`."""


@dataclass(frozen=True)
class Protocol:
    """One fold of one protocol.

    Attributes:
        name: Name of the protocol, such as `luna5`.
        fold: Number of the fold, from 0.
        folds: Number of folds.
        speaker_independent: True to refuse speakers in two splits.
        table: One row for each recording, with the columns `recording`, `speaker`, `emotion` and `split`.
        dev_shares_speakers: True if dev may hold other recordings of the speakers of train, as an exception for corpora
            with few speakers.

    Raises:
        EmotionError: a recording, or a speaker of a speaker-independent protocol, is in two splits.
    """

    name: str
    fold: int
    folds: int
    speaker_independent: bool
    table: pd.DataFrame
    dev_shares_speakers: bool = False

    def __post_init__(self) -> None:
        _refuse_overlap(self, "recording", self.table)
        if self.speaker_independent:
            splits = self.table["split"].replace("dev", "train") if self.dev_shares_speakers else self.table["split"]
            _refuse_overlap(self, "speaker", self.table.assign(split=splits))

    @property
    def is_speaker_independent(self) -> bool:
        """True if no speaker is in two splits, required or not; False if speakers are unknown."""
        speakers = set(self.table["speaker"])
        if self.speaker_independent or speakers & {"", UNKNOWN_SPEAKER}:
            return self.speaker_independent
        return len(self.table[["speaker", "split"]].drop_duplicates()) == len(speakers)


def _refuse_overlap(protocol: Protocol, column: str, table: pd.DataFrame) -> None:
    n_splits = table.groupby(column)["split"].nunique()
    shared = n_splits.index[n_splits > 1]
    if len(shared):
        raise EmotionError(
            f"protocol {protocol.name} fold {protocol.fold} has {len(shared)} {column}(s) in two splits, such as "
            f"{shared[0]}; correct its CSV files"
        )


def load(
    corpus: str,
    name: str,
    fold: int,
    speaker_independent: bool,
    dev_shares_speakers: bool = False,
    members: tuple[str, ...] = (),
    directory: Path = DIRECTORY,
) -> Protocol:
    """Load a committed protocol.

    Args:
        corpus: Name of the corpus.
        name: Name of the protocol.
        fold: Number of the fold, from 0.
        speaker_independent: See `Protocol`.
        dev_shares_speakers: See `Protocol`.
        members: Names of the members of a combined corpus, whose splits are concatenated if it has none itself.
        directory: Directory of the protocols.

    Raises:
        EmotionError: the protocol or fold does not exist for the corpus, a CSV file is malformed, or splits overlap.
    """
    choices = available(corpus, members, directory)
    if name not in choices:
        raise EmotionError(f"protocol {name} has no splits of the {corpus} corpus: {suggest(name, choices)}")
    folders = [directory / part / name for part in (corpus, *members) if (directory / part / name).is_dir()]
    folders = folders[:1] if folders[0] == directory / corpus / name else folders
    folds = sorted(set.intersection(*(set(_folders(folder)) for folder in folders)), key=int)
    if str(fold) not in folds:
        raise unknown_fold_error(name, fold, len(folds))
    table = pd.concat(
        [_read_csv(folder / str(fold) / f"{split}.csv").assign(split=split) for folder in folders for split in SPLITS],
        ignore_index=True,
    )
    return Protocol(name, int(fold), len(folds), speaker_independent, table, dev_shares_speakers)


def available(corpus: str, members: tuple[str, ...] = (), directory: Path = DIRECTORY) -> set[str]:
    """Return the names of the protocols that are committed for a corpus, or for all of its members."""
    own = set(_folders(directory / corpus))
    return own | (set.intersection(*(set(_folders(directory / member)) for member in members)) if members else set())


def unknown_fold_error(name: str, fold: int, folds: int) -> EmotionError:
    """Return the error for a fold that does not exist."""
    return EmotionError(f"protocol {name} has no fold {fold}: protocol.fold goes from 0 to {folds - 1}")


def count_folds(corpus: str, name: str, directory: Path = DIRECTORY) -> int:
    """Return the number of folds of a committed protocol; 0 if it is not committed for the corpus."""
    return len(_folders(directory / corpus / name))


def _folders(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir() if path.is_dir()] if directory.is_dir() else []


def _read_csv(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise EmotionError(f"cannot read the split {path}: {error}") from error
    if tuple(table.columns) != COLUMNS:
        raise EmotionError(f"{path} has the columns {', '.join(table.columns)}; it needs {', '.join(COLUMNS)}")
    unknown = sorted(set(table["emotion"]) - set(KNOWN))
    if unknown:
        raise EmotionError(f"{path} names the emotion {unknown[0]!r}: {suggest(unknown[0], KNOWN)}")
    return table
