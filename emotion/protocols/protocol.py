"""Read a protocol's three CSVs and hold them to what they promise."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from emotion.errors import EmotionError, suggest
from emotion.labels import EMOTIONS

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
        speaker_independent: Whether it promises that no speaker is on two sides.
        table: Columns `recording`, `speaker`, `emotion` and `split`, one row a recording.
    """

    name: str
    fold: int
    speaker_independent: bool
    table: pd.DataFrame

    def __post_init__(self) -> None:
        _refuse_overlap(self, "recording")
        if self.speaker_independent:
            _refuse_overlap(self, "speaker")


def _refuse_overlap(protocol: Protocol, column: str) -> None:
    sides = protocol.table.groupby(column)["split"].nunique()
    shared = sides.index[sides > 1]
    if len(shared):
        raise EmotionError(
            f"protocol {protocol.name} fold {protocol.fold} has {len(shared)} {column}(s) on two sides, such as "
            f"{shared[0]}; it promises none, so its CSVs have to be mended"
        )


def load(corpus: str, name: str, fold: int, speaker_independent: bool, directory: Path = DIRECTORY) -> Protocol:
    """Read `<directory>/<corpus>/<name>/<fold>/{train,dev,test}.csv`.

    Raises:
        EmotionError: the protocol is not there for this corpus, has no such fold, a CSV is malformed, or it breaks its
            promise: no recording on two sides, and no speaker either if it is speaker-independent.
    """
    available = _folders(directory / corpus)
    if name not in available:
        raise EmotionError(f"protocol {name} has no splits of the {corpus} corpus: {suggest(name, available)}")
    folds = sorted(_folders(directory / corpus / name), key=int)
    if str(fold) not in folds:
        raise EmotionError(f"protocol {name} has no fold {fold}: protocol.fold goes from {folds[0]} to {folds[-1]}")
    folder = directory / corpus / name / str(fold)
    table = pd.concat([_read_csv(folder / f"{split}.csv").assign(split=split) for split in SPLITS], ignore_index=True)
    return Protocol(name, int(fold), speaker_independent, table)


def number_of_folds(corpus: str, name: str, directory: Path = DIRECTORY) -> int:
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
    unknown = sorted(set(table["emotion"]) - set(EMOTIONS))
    if unknown:
        raise EmotionError(f"{path} names the emotion {unknown[0]!r}: {suggest(unknown[0], EMOTIONS)}")
    return table
