"""Division of recordings into splits and folds, in an order that is the same on every machine.

Random orders are those of the SHA-256 digests of (protocol, fold, recording), since no library guarantees that its
random generators never change.
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator
from itertools import chain

from emotion.protocols.protocol import SPLITS

Row = dict[str, str]
"""A row of a table of recordings."""
Fold = dict[str, list[Row]]
"""The rows of each split."""
Unit = tuple[Row, ...]
"""Rows that stay in one split."""
IDENTICAL_PAIR = ("01-03-01-02-01-07", "01-03-01-02-02-07")
"""Two takes of RAVDESS with identical samples."""


def units_of(rows: list[Row]) -> list[Unit]:
    """Return one unit for each row, and one for the identical pair of RAVDESS."""
    pair = tuple(row for row in rows if _take(row) in IDENTICAL_PAIR)
    return _group_by([row for row in rows if row not in pair], "recording") + ([pair] if pair else [])


def group_by_speaker(rows: list[Row]) -> list[Unit]:
    """Return one unit for each speaker; speakers who share a file are one unit."""
    return _group_by(rows, "speaker")


def _group_by(rows: list[Row], column: str) -> list[Unit]:
    """Return units of rows with the same value in `column`, or with a common file (column `copies`)."""
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


def shuffled(units: Iterable[Unit], salt: str) -> list[Unit]:
    """Return units in a pseudorandom order that depends on `salt`.

    The identical pair is last, so that it is in train and the sizes of test and dev are exact.
    """

    def key(unit: Unit) -> tuple[bool, str]:
        return _take(unit[0]) in IDENTICAL_PAIR and len(unit) == 2, digest(f"{salt}:{unit[0]['recording']}")

    return sorted(units, key=key)


def digest(name: str) -> str:
    """Return the SHA-256 digest of a text, by which orders are drawn."""
    return hashlib.sha256(name.encode()).hexdigest()


def _strata(units: Iterable[Unit], by: Callable[[Unit], Hashable]) -> list[list[Unit]]:
    groups: dict[Hashable, list[Unit]] = defaultdict(list)
    for unit in units:
        groups[by(unit)].append(unit)
    return list(groups.values())


def cut(units: list[Unit], test: int, dev: int) -> Fold:
    """Return the first `test` units as test, the next `dev` as dev, and the rest as train."""
    parts = {"train": units[test + dev :], "dev": units[test : test + dev], "test": units[:test]}
    return {split: list(chain.from_iterable(part)) for split, part in parts.items()}


def divide(rows: list[Row], salt: str, by: Callable[[Row], Hashable], test: float, dev: float) -> Fold:
    """Return one stratified fold; `test` and `dev` are fractions of the rows of each stratum."""
    fold: Fold = {split: [] for split in SPLITS}
    for stratum in _strata(units_of(rows), by=lambda unit: by(unit[0])):
        size = sum(len(unit) for unit in stratum)
        part = cut(shuffled(stratum, salt), test=round(test * size), dev=round(dev * size))
        for split in SPLITS:
            fold[split] += part[split]
    return fold


def kfold(units: list[Unit], salt: str, by: Callable[[Unit], Hashable], folds: int = 5) -> Iterator[Fold]:
    """Yield stratified folds: each unit is in test once, and dev is a fifth of the rest."""
    strata = [shuffled(stratum, salt) for stratum in _strata(units, by)]
    for number in range(folds):
        fold: Fold = {split: [] for split in SPLITS}
        for stratum in strata:
            test = stratum[number::folds]
            rest = [unit for unit in stratum if unit not in test]
            dev = shuffled(rest, f"{salt}/dev/{number}")[: round(len(rest) / folds)]
            for unit in stratum:
                fold["test" if unit in test else "dev" if unit in dev else "train"] += unit
        yield fold
