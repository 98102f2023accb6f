"""Generate the committed split CSVs, bit for bit, and the splits of corpora whose recordings are not known ahead.

Whatever is random is ordered by a SHA-256 of (protocol, fold, what is ordered), which gives the same order on every
machine and with every version of every library, as no library's random generator promises.
"""

import hashlib
import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator
from itertools import chain
from pathlib import Path

import pandas as pd

from emotion.corpora.base import UNKNOWN_SPEAKER
from emotion.corpora.demo import Demo
from emotion.corpora.ravdess import ACTORS, Ravdess
from emotion.corpora.several import RavdessTess
from emotion.corpora.tess import Tess
from emotion.errors import EmotionError, suggest
from emotion.files import write_text
from emotion.protocols.protocol import COLUMNS, DIRECTORY, SPLITS, Protocol, count_folds, unknown_fold_error

log = logging.getLogger(__name__)

Row = dict[str, str]  # as in a table of recordings
Fold = dict[str, list[Row]]  # split -> its rows
Unit = tuple[Row, ...]  # rows that stay on one side
Generator = Callable[[list[Row]], Iterator[Fold]]

LUNA5 = (
    ((2, 5, 14, 15, 16), (3, 6)),
    ((3, 6, 7, 13, 18), (10, 11)),
    ((10, 11, 12, 19, 20), (8, 17)),
    ((8, 17, 21, 23, 24), (1, 14)),
    ((1, 4, 9, 22), (2, 5)),
)
"""Test and dev actors of each fold: the test folds of Luna-Jimenez et al. (2021), https://doi.org/10.3390/s21227665,
with two of the training actors set aside as dev."""
EMOBOX6 = ((1, 11, 20, 21), (4, 10, 12, 14), (8, 9, 19, 23), (3, 5, 7, 24), (2, 15, 16, 18), (6, 13, 17, 22))
"""Test actors of each fold: Ma et al. (2024), EmoBox, https://arxiv.org/abs/2406.07162."""
IDENTICAL_PAIR = ("01-03-01-02-01-07", "01-03-01-02-02-07")
"""Two RAVDESS takes that are the same samples."""
HAPPY_SAD_REPEATS = 20
CROSS_DEV = {f"ravdess/{actor}" for actor in (16, 17, 19, 20)}
"""Who chooses the epoch when RAVDESS is trained on and TESS tested: the dev actors of `fixed`."""


def _actors(folds: Iterable[tuple[Collection[int], Collection[int]]]) -> Generator:
    """Folds given as (test actors, dev actors); all others train."""

    def generate(rows: list[Row]) -> Iterator[Fold]:
        for test, dev in folds:
            sides = dict.fromkeys(test, "test") | dict.fromkeys(dev, "dev")
            fold: Fold = {split: [] for split in SPLITS}
            for row in rows:
                fold[sides.get(int(row["speaker"].split("/")[1]), "train")].append(row)
            yield fold

    return generate


def _rotate_dev(tests: list[tuple[int, ...]]) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Pair each fold's test actors with those of the next fold, as dev."""
    return list(zip(tests, tests[1:] + tests[:1], strict=True))


def _random(rows: list[Row]) -> Iterator[Fold]:
    yield _divide(rows, "random", by=lambda row: (row["channel"], row["emotion"]), test=0.2, dev=0.2)


def _per_actor(rows: list[Row]) -> Iterator[Fold]:
    speech = [row for row in rows if row["channel"] == "speech"]
    yield _divide(speech, "per_actor", by=lambda row: row["speaker"], test=20 / 60, dev=8 / 60)


def _happy_sad(rows: list[Row]) -> Iterator[Fold]:
    for repeat in range(HAPPY_SAD_REPEATS):
        yield _divide(_only_happy_sad(rows), f"happy_sad/{repeat}", by=lambda row: row["emotion"], test=0.2, dev=0.16)


def _happy_sad_kfold(rows: list[Row]) -> Iterator[Fold]:
    yield from _kfold(_units(_only_happy_sad(rows)), "happy_sad_kfold", by=lambda unit: unit[0]["emotion"])


def _happy_sad_actor(rows: list[Row]) -> Iterator[Fold]:
    for repeat in range(HAPPY_SAD_REPEATS):
        units = _ranked(_by_speaker(_only_happy_sad(rows)), f"happy_sad_actor/{repeat}")
        yield _cut(units, test=round(0.2 * len(units)), dev=round(0.16 * len(units)))


def _happy_sad_actor_kfold(rows: list[Row]) -> Iterator[Fold]:
    yield from _kfold(_by_speaker(_only_happy_sad(rows)), "happy_sad_actor_kfold", by=lambda unit: None)


def _cross_speaker(one: str) -> Generator:
    """Train on the TESS speaker `one`, a fifth of whose words are dev; test the other speaker."""

    def generate(rows: list[Row]) -> Iterator[Fold]:
        own = [row for row in rows if row["speaker"] == f"tess/{one}"]
        words = sorted({row["statement"] for row in own}, key=lambda word: _digest(f"{one}:{word}"))
        dev = set(words[: len(words) // 5])
        yield {
            "train": [row for row in own if row["statement"] not in dev],
            "dev": [row for row in own if row["statement"] in dev],
            "test": [row for row in rows if row["speaker"] != f"tess/{one}"],
        }

    return generate


def _cross(rows: list[Row]) -> Iterator[Fold]:
    ravdess = [row for row in rows if row["recording"].startswith("ravdess/")]
    yield {
        "train": [row for row in ravdess if row["speaker"] not in CROSS_DEV],
        "dev": [row for row in ravdess if row["speaker"] in CROSS_DEV],
        "test": [row for row in rows if row["recording"].startswith("tess/")],
    }


def _speakers5(rows: list[Row]) -> Iterator[Fold]:
    yield from _kfold(_by_speaker(rows), "speakers5", by=lambda unit: None)


def _loso(rows: list[Row]) -> Iterator[Fold]:
    units = sorted(_by_speaker(rows), key=lambda unit: unit[0]["speaker"])
    for number, unit in enumerate(units):
        dev = units[(number + 1) % len(units)]
        rest = [row for other in units if other not in (unit, dev) for row in other]
        yield {"train": rest, "dev": list(dev), "test": list(unit)}


def _all_test(rows: list[Row]) -> Iterator[Fold]:
    yield {"train": [], "dev": [], "test": rows}


def _official(rows: list[Row]) -> Iterator[Fold]:
    """The sides that FER2013's file names tell; an image is on one side only, and trains only if its labels agree."""
    fold, copies = _official_splits(rows), _labels_of_copies(rows)
    tested = {_image(row) for row in fold["test"]}
    dev = [row for row in fold["dev"] if _image(row) not in tested]
    evaluated = tested | {_image(row) for row in dev}
    once = {_image(row): row for row in reversed(fold["train"])}.values()
    train = [row for row in once if _image(row) not in evaluated and len(copies[_image(row)]) == 1]
    yield {"train": train, "dev": dev, "test": fold["test"]}


def _unique_test(rows: list[Row]) -> Iterator[Fold]:
    """FER2013's test images, each once."""
    yield {
        "train": [],
        "dev": [],
        "test": list({_image(row): row for row in reversed(_official_splits(rows)["test"])}.values()),
    }


def _official_splits(rows: list[Row]) -> Fold:
    sides = {"Training": "train", "PublicTest": "dev", "PrivateTest": "test"}
    fold: Fold = {split: [] for split in SPLITS}
    for row in rows:
        fold[sides[row["recording"].split("/")[-1].split("_")[0]]].append(row)
    return fold


def _labels_of_copies(rows: list[Row]) -> dict[str, set[str]]:
    labels = defaultdict(set)
    for row in rows:
        labels[_image(row)].add(row["emotion"])
    return labels


def _image(row: Row) -> str:
    """What all copies of an image of FER2013 have in common."""
    return row["repetition"] or row["recording"]


def _only_happy_sad(rows: list[Row]) -> list[Row]:
    return [row for row in rows if row["channel"] == "speech" and row["emotion"] in ("happy", "sad")]


def _units(rows: list[Row]) -> list[Unit]:
    """Each row by itself, but the identical pair as one."""
    pair = tuple(row for row in rows if _take(row) in IDENTICAL_PAIR)
    return _joined([row for row in rows if row not in pair], "recording") + ([pair] if pair else [])


def _by_speaker(rows: list[Row]) -> list[Unit]:
    return _joined(rows, "speaker")


def _joined(rows: list[Row], column: str) -> list[Unit]:
    """Rows that have the same value in `column`, or share a file (see `make`), as one unit each."""
    of_value: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        places = [(column, row[column])] + ([("copies", row["copies"])] if row.get("copies") else [])
        units = {id(unit): unit for place in places if (unit := of_value.get(place))}
        first, *others = units.values() or [[]]
        for other in others:
            first += other
            of_value |= {place: first for place, unit in of_value.items() if unit is other}
        first.append(row)
        of_value |= dict.fromkeys(places, first)
    return [tuple(unit) for unit in {id(unit): unit for unit in of_value.values()}.values()]


def _take(row: Row) -> str:
    return row["recording"].split("/")[1]


def _ranked(units: Iterable[Unit], salt: str) -> list[Unit]:
    """The units in an order that looks random and never changes. The identical pair comes last, so that where test and
    dev are cut off first it trains, and their sizes stay exact.
    """

    def key(unit: Unit) -> tuple[bool, str]:
        return _take(unit[0]) in IDENTICAL_PAIR and len(unit) == 2, _digest(f"{salt}:{unit[0]['recording']}")

    return sorted(units, key=key)


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def _strata(units: Iterable[Unit], by: Callable[[Unit], Hashable]) -> list[list[Unit]]:
    groups: dict[Hashable, list[Unit]] = defaultdict(list)
    for unit in units:
        groups[by(unit)].append(unit)
    return list(groups.values())


def _cut(units: list[Unit], test: int, dev: int) -> Fold:
    sides = {"train": units[test + dev :], "dev": units[test : test + dev], "test": units[:test]}
    return {split: list(chain.from_iterable(side)) for split, side in sides.items()}


def _divide(rows: list[Row], salt: str, by: Callable[[Row], Hashable], test: float, dev: float) -> Fold:
    """One stratified split; `test` and `dev` are fractions of the rows of each stratum."""
    fold: Fold = {split: [] for split in SPLITS}
    for stratum in _strata(_units(rows), by=lambda unit: by(unit[0])):
        size = sum(len(unit) for unit in stratum)
        part = _cut(_ranked(stratum, salt), test=round(test * size), dev=round(dev * size))
        for split in SPLITS:
            fold[split] += part[split]
    return fold


def _kfold(units: list[Unit], salt: str, by: Callable[[Unit], Hashable], folds: int = 5) -> Iterator[Fold]:
    """Each unit is in test once; dev is a fifth of what is left, so 64 / 16 / 20."""
    strata = [_ranked(stratum, salt) for stratum in _strata(units, by)]
    for number in range(folds):
        fold: Fold = {split: [] for split in SPLITS}
        for stratum in strata:
            test = stratum[number::folds]
            rest = [unit for unit in stratum if unit not in test]
            dev = _ranked(rest, f"{salt}/dev/{number}")[: round(len(rest) / folds)]
            for unit in stratum:
                fold["test" if unit in test else "dev" if unit in dev else "train"] += unit
        yield fold


_SPEAKER_INDEPENDENT: dict[str, Generator] = {
    "actor6": _actors(_rotate_dev([tuple(range(first, first + 4)) for first in range(1, 25, 4)])),
    "luna5": _actors(LUNA5),
    "emobox6": _actors(_rotate_dev(list(EMOBOX6))),
    "fixed": _actors([((21, 22, 23, 24), (16, 17, 19, 20))]),
    "loso24": _actors([((a,), (a % 24 + 1, (a + 1) % 24 + 1)) for a in ACTORS]),
}
GENERATORS: dict[str, dict[str, Generator]] = {
    "ravdess": _SPEAKER_INDEPENDENT
    | {
        "random": _random,
        "per_actor": _per_actor,
        "happy_sad": _happy_sad,
        "happy_sad_kfold": _happy_sad_kfold,
        "happy_sad_actor": _happy_sad_actor,
        "happy_sad_actor_kfold": _happy_sad_actor_kfold,
    },
    "demo": _SPEAKER_INDEPENDENT | {"random": _random},
    "tess": {"oaf_yaf": _cross_speaker("OAF"), "yaf_oaf": _cross_speaker("YAF"), "random": _random},
    "ravdess_tess": {"cross": _cross},  # its random split is that of both corpora together
}
"""Every committed protocol of every corpus: corpus -> protocol -> from its documented rows to its folds."""

OF_ANY_CORPUS: dict[str, Generator] = {
    "random": _random,
    "speakers5": _speakers5,
    "loso": _loso,
    "all_test": _all_test,
}
"""Protocols that are made from the recordings at hand."""

OF_ONE_CORPUS: dict[str, dict[str, Generator]] = {"fer2013": {"official": _official, "unique_test": _unique_test}}
"""The same, for one corpus each."""


def make(
    name: str, corpus: str, rows: list[Row], fold: int, speaker_independent: bool, on_error: str = "raise"
) -> Protocol:
    """Make a protocol that is not committed; the same recordings give the same splits anywhere.

    Args:
        name: Name of the protocol.
        corpus: Name of the corpus.
        rows: The recordings; those with the same value of `copies`, if there is one, stay in one split.
        fold: Number of the fold.
        speaker_independent: See `Protocol`.
        on_error: With `raise`, recordings of unknown speakers are an error where speakers are kept apart; else they
            are left out.

    Raises:
        EmotionError: there is no such protocol or fold, or there are too few speakers for it.
    """
    generators = OF_ANY_CORPUS | OF_ONE_CORPUS.get(corpus, {})
    if name not in generators:
        raise EmotionError(f"protocol {name} has no splits of the {corpus} corpus: {suggest(name, generators)}")
    wanted = {"speakers5": 5, "loso": 3}.get(name, 0)
    rows = _drop_unknown_speakers(rows, name, on_error) if wanted else rows
    if len(_by_speaker(rows)) < wanted <= len({row["speaker"] for row in rows}):
        rows = _drop_duplicates(rows, name)
    speakers = len(_by_speaker(rows))
    if speakers < wanted:
        raise EmotionError(
            f"protocol {name} needs {wanted} speakers and {speakers} are known; tell speakers apart with "
            "data.corpus.speaker=PATTERN or a speaker column, or use protocol=random, which does not keep people apart"
        )
    folds = list(generators[name](sorted(rows, key=lambda row: row["recording"])))
    if not 0 <= int(fold) < len(folds):
        raise unknown_fold_error(name, fold, len(folds))
    split_of = [{**row, "split": split} for split in SPLITS for row in folds[int(fold)][split]]
    table = pd.DataFrame(split_of, columns=[*COLUMNS, "split"])
    return Protocol(name, int(fold), len(folds), speaker_independent, table)


def saved(
    name: str, corpus: str, splits: pd.DataFrame, fold: int, speaker_independent: bool, dev_shares_speakers: bool
) -> Protocol:
    """Return the protocol of a run as its `splits.csv` has it, whatever recordings are at hand now.

    Args:
        name: Name of the protocol.
        corpus: Name of the corpus.
        splits: Columns `split`, `recording`, `speaker` and `emotion`; the splits are train, dev and test.
        fold: Number of the fold.
        speaker_independent: See `Protocol`.
        dev_shares_speakers: See `Protocol`.
    """
    made = {"speakers5": 5, "loso": splits["speaker"].nunique()}
    folds = count_folds(corpus, name) or made.get(name, 1)
    return Protocol(name, int(fold), folds, speaker_independent, splits[[*COLUMNS, "split"]], dev_shares_speakers)


def _drop_unknown_speakers(rows: list[Row], name: str, on_error: str) -> list[Row]:
    """Leave out recordings of unknown speakers, or refuse them; if all are, `make` reports too few."""
    unknown = [row["recording"] for row in rows if row["speaker"] in ("", UNKNOWN_SPEAKER)]
    if unknown and len(unknown) < len(rows):
        text = (
            f"the speakers of {len(unknown):,} of {len(rows):,} recordings are unknown, such as {unknown[0]}, and "
            f"protocol {name} keeps speakers apart"
        )
        if on_error == "raise":
            raise EmotionError(f"{text}; name them, or leave those recordings out with data.on_error=skip")
        log.warning("%s: they are left out", text)
    return [row for row in rows if row["speaker"] not in ("", UNKNOWN_SPEAKER)]


def _drop_duplicates(rows: list[Row], name: str) -> list[Row]:
    """Keep the first of byte-identical recordings, where all of them would tie too many speakers together."""
    seen: set[str] = set()
    kept = [row for row in rows if not row.get("copies") or not (row["copies"] in seen or seen.add(row["copies"]))]
    log.warning(
        "%s byte-identical copies are left out, since with them too few speakers can be kept apart for protocol %s",
        f"{len(rows) - len(kept):,}",
        name,
    )
    return kept


def generate(directory: Path = DIRECTORY) -> int:
    """Write every CSV of every protocol below `directory`; returns how many folds were written."""
    written = 0
    for corpus in (Ravdess(), Demo(), Tess(), RavdessTess()):
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
