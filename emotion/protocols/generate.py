"""Generation of the committed split CSVs, and of the splits of corpora without any."""

import logging
from pathlib import Path

import pandas as pd

from emotion.config.schema import ProtocolConfig
from emotion.corpora.base import UNKNOWN_SPEAKER
from emotion.corpora.demo import Demo
from emotion.corpora.ravdess import Ravdess
from emotion.corpora.several import Several
from emotion.corpora.tess import Tess
from emotion.errors import EmotionError, suggest
from emotion.files import write_text
from emotion.protocols.definitions import GENERATORS, OF_ANY_CORPUS, OF_ONE_CORPUS, OF_SEVERAL, cross_corpus
from emotion.protocols.protocol import COLUMNS, DIRECTORY, SPLITS, Protocol, count_folds, unknown_fold_error
from emotion.protocols.splitting import Fold, Row, divide, group_by_speaker, shuffled

log = logging.getLogger(__name__)


def make(settings: ProtocolConfig, corpus: str, rows: list[Row], on_error: str = "raise") -> Protocol:
    """Compute a protocol that is not committed; the same recordings give the same splits on every machine.

    Args:
        settings: The protocol.
        corpus: Name of the corpus.
        rows: Recordings; those with the same value of `copies`, if there is one, stay in one split.
        on_error: `raise` refuses recordings of unknown speakers if the protocol separates speakers; other values skip
            them.

    Raises:
        EmotionError: the protocol, the fold or a corpus does not exist, or there are too few speakers.
    """
    name, fold = settings.name, settings.fold
    corpora = list(dict.fromkeys(row["recording"].split("/")[0] for row in rows))
    generators = OF_ANY_CORPUS | OF_ONE_CORPUS.get(corpus, {}) | (OF_SEVERAL if len(corpora) > 1 else {})
    if name not in generators:
        raise EmotionError(f"protocol {name} has no splits of the {corpus} corpus: {suggest(name, generators)}")
    if name == "cross_corpus":
        generators[name] = cross_corpus(_tested(settings.test_corpora, corpora))
    min_speakers = {"speakers5": 5, "loso": 3, "sessions": 3}.get(name, 0)
    rows = _drop_unknown_speakers(rows, name, on_error) if min_speakers else rows
    if len(group_by_speaker(rows)) < min_speakers <= len({row["speaker"] for row in rows}):
        rows = _drop_duplicates(rows, name)
    speakers = len(group_by_speaker(rows))
    if speakers < min_speakers:
        raise EmotionError(
            f"protocol {name} needs {min_speakers} speakers and {speakers} are known; name them with "
            "data.corpus.speaker (of data=folder a pattern, else a column), or use protocol=random, which is "
            "speaker-dependent"
        )
    folds = list(generators[name](sorted(rows, key=lambda row: row["recording"])))
    if not 0 <= int(fold) < len(folds):
        raise unknown_fold_error(name, fold, len(folds))
    split_of = [{**row, "split": split} for split in SPLITS for row in folds[int(fold)][split]]
    table = pd.DataFrame(split_of, columns=[*COLUMNS, "split"])
    return Protocol(name, int(fold), len(folds), settings.speaker_independent, table, settings.dev_shares_speakers)


def _tested(names: list[str], corpora: list[str]) -> list[str]:
    """Return the corpora that are tested; refuse those that do not exist, and all or none of them."""
    if unknown := [name for name in names if name not in corpora]:
        raise EmotionError(f"protocol.test_corpora: unknown corpus {unknown[0]}: {suggest(unknown[0], corpora)}")
    if not names or set(names) == set(corpora):
        raise EmotionError(
            f"protocol.test_corpora=[{','.join(names)}]: one or more of {', '.join(corpora)} are allowed, but not all"
        )
    return names


def from_saved_splits(
    name: str, corpus: str, splits: pd.DataFrame, fold: int, speaker_independent: bool, dev_shares_speakers: bool
) -> Protocol:
    """Return the protocol of a run with the splits in its `splits.csv`.

    Args:
        name: Name of the protocol.
        corpus: Name of the corpus.
        splits: Recordings of train, dev and test, with the columns `split`, `recording`, `speaker` and `emotion`.
        fold: Number of the fold.
        speaker_independent: See `Protocol`.
        dev_shares_speakers: See `Protocol`.
    """
    made = {"speakers5": 5, "loso": splits["speaker"].nunique()}
    folds = count_folds(corpus, name) or made.get(name, 1)
    return Protocol(name, int(fold), folds, speaker_independent, splits[[*COLUMNS, "split"]], dev_shares_speakers)


def from_own_splits(
    name: str, rows: list[Row], splits: pd.DataFrame, fold: int, folds: int, speaker_independent: bool
) -> Protocol:
    """Return the protocol of splits that come with a corpus; without a dev split, a fifth of train is dev.

    Dev has other speakers than train if all speakers of train are known and there are at least three, else it is
    stratified by emotion.

    Args:
        name: Name of the protocol.
        rows: Recordings of the corpus; recordings without a split are left out.
        splits: Columns `recording` and `split`.
        fold: Number of the fold.
        folds: Number of folds.
        speaker_independent: See `Protocol`.

    Raises:
        EmotionError: a split has no recording of the corpus, or splits overlap.
    """
    split_of = dict(zip(splits["recording"], splits["split"], strict=True))
    parts = {split: [row for row in rows if split_of.get(row["recording"]) == split] for split in SPLITS}
    if not parts["dev"]:
        parts = _cut_dev(parts, f"{name}/{fold}")
    empty = [split for split in SPLITS if not parts[split]]
    if empty:
        raise EmotionError(f"protocol {name} fold {fold}: no recording of its {empty[0]} split is in the corpus")
    table = pd.DataFrame(
        [{**row, "split": split} for split in SPLITS for row in parts[split]], columns=[*COLUMNS, "split"]
    )
    return Protocol(name, int(fold), folds, speaker_independent, table)


def _cut_dev(parts: Fold, salt: str) -> Fold:
    """Cut dev from train, and report how."""
    train = parts["train"]
    speakers = {row["speaker"] for row in train}
    if len(speakers) >= 3 and not speakers & {"", UNKNOWN_SPEAKER}:
        dev, how = [], "of other speakers"
        for unit in shuffled(group_by_speaker(train), salt):
            if len(dev) + len(unit) / 2 <= len(train) / 5 or not dev:
                dev += unit
    else:
        dev = divide(train, salt, by=lambda row: row["emotion"], test=0.0, dev=0.2)["dev"]
        how = "stratified by emotion"
    chosen = {row["recording"] for row in dev}
    rest = [row for row in train if row["recording"] not in chosen]
    counts = f"{len(dev):,} of {len(train):,}"
    log.warning("the protocol has no dev split: %s recordings of train are dev, %s", counts, how)
    return parts | {"train": rest, "dev": dev}


def _drop_unknown_speakers(rows: list[Row], name: str, on_error: str) -> list[Row]:
    """Skip or refuse recordings of unknown speakers; if all speakers are unknown, `make` reports too few."""
    unknown = [row["recording"] for row in rows if row["speaker"] in ("", UNKNOWN_SPEAKER)]
    if unknown and len(unknown) < len(rows):
        text = (
            f"the speakers of {len(unknown):,} of {len(rows):,} recordings are unknown, such as {unknown[0]}, and "
            f"protocol {name} separates speakers"
        )
        if on_error == "raise":
            raise EmotionError(f"{text}; name them, or leave those recordings out with data.on_error=skip")
        log.warning("%s: they are left out", text)
    return [row for row in rows if row["speaker"] not in ("", UNKNOWN_SPEAKER)]


def _drop_duplicates(rows: list[Row], name: str) -> list[Row]:
    """Keep the first of byte-identical recordings, if all of them would join too many speakers to one unit."""
    seen: set[str] = set()
    kept = [row for row in rows if not row.get("copies") or not (row["copies"] in seen or seen.add(row["copies"]))]
    log.warning(
        "%s byte-identical copies are left out, since with them protocol %s could separate too few speakers",
        f"{len(rows) - len(kept):,}",
        name,
    )
    return kept


def generate(directory: Path = DIRECTORY) -> int:
    """Write the CSV files of all committed protocols below a directory; return the number of folds."""
    written = 0
    ravdess_tess = Several({one: {"_target_": f"emotion.corpora.{one}.{one.title()}"} for one in ("ravdess", "tess")})
    for corpus in (Ravdess(), Demo(), Tess(), ravdess_tess):
        rows = corpus.documented()
        for protocol, folds in GENERATORS[corpus.name].items():
            for number, fold in enumerate(folds(rows)):
                for split in SPLITS:
                    _write_csv(directory / corpus.name / protocol / str(number) / f"{split}.csv", fold[split])
                written += 1
    return written


def _write_csv(path: Path, rows: list[Row]) -> None:
    lines = [",".join(row[column] for column in COLUMNS) for row in sorted(rows, key=lambda row: row["recording"])]
    write_text(path, "\n".join([",".join(COLUMNS), *lines]) + "\n")
