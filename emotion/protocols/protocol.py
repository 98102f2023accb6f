"""Read a protocol's three CSVs and hold them to what they promise."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from emotion.errors import EmotionError, suggest
from emotion.labels import KNOWN

SPLITS = ("train", "dev", "test")
COLUMNS = ("recording", "speaker", "emotion")
DIRECTORY = Path(__file__).parent
"""The committed protocols lie here, as `<corpus>/<protocol>/<fold>/{train,dev,test}.csv`."""


@dataclass(frozen=True)
class Protocol:
    """One fold of one protocol.

    Attributes:
        name: The protocol's name, such as `luna5`.
        fold: Which of its folds.
        folds: How many it has.
        speaker_independent: Whether it promises that no speaker of test is in train or dev, nor one of dev in train.
        table: Columns `recording`, `speaker`, `emotion` and `split`, one row a recording.
        dev_shares_speakers: An exception from the promise, where a corpus has too few speakers: dev may hold other
            recordings of those who train.
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
            sides = self.table["split"].replace("dev", "train") if self.dev_shares_speakers else self.table["split"]
            _refuse_overlap(self, "speaker", self.table.assign(split=sides))


def _refuse_overlap(protocol: Protocol, column: str, table: pd.DataFrame) -> None:
    sides = table.groupby(column)["split"].nunique()
    shared = sides.index[sides > 1]
    if len(shared):
        raise EmotionError(
            f"protocol {protocol.name} fold {protocol.fold} has {len(shared)} {column}(s) on two sides, such as "
            f"{shared[0]}; it promises none, so its CSVs have to be mended"
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
    """Read `<directory>/<corpus>/<name>/<fold>/{train,dev,test}.csv`.

    Where several corpora have no CSVs of their own, the members' are put together, side by side.

    Raises:
        EmotionError: the protocol is not there for this corpus, has no such fold, a CSV is malformed, or it breaks its
            promise: see `Protocol`.
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
    """The protocols that are committed for a corpus, or for all of its members."""
    own = set(_folders(directory / corpus))
    return own | (set.intersection(*(set(_folders(directory / member)) for member in members)) if members else set())


def unknown_fold_error(name: str, fold: int, folds: int) -> EmotionError:
    """The error of a fold that is not there."""
    return EmotionError(f"protocol {name} has no fold {fold}: protocol.fold goes from 0 to {folds - 1}")


def count_folds(corpus: str, name: str, directory: Path = DIRECTORY) -> int:
    """How many folds a protocol has; 0 if it is not there for this corpus."""
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
