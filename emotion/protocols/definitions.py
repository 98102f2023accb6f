"""The protocols: generators of folds from the rows of a corpus."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator

from emotion.corpora.base import UNKNOWN_SPEAKER
from emotion.corpora.ravdess import ACTORS
from emotion.protocols.protocol import SPLITS
from emotion.protocols.splitting import Fold, Row, cut, digest, divide, group_by_speaker, kfold, shuffled, units_of

Generator = Callable[[list[Row]], Iterator[Fold]]
"""A function from the rows of a corpus to the folds of a protocol."""

LUNA5 = (
    ((2, 5, 14, 15, 16), (3, 6)),
    ((3, 6, 7, 13, 18), (10, 11)),
    ((10, 11, 12, 19, 20), (8, 17)),
    ((8, 17, 21, 23, 24), (1, 14)),
    ((1, 4, 9, 22), (2, 5)),
)
"""Test and dev actors of each fold: the test folds of Luna-Jimenez et al. (2021), https://doi.org/10.3390/s21227665,
with two of the training actors as dev."""
EMOBOX6 = ((1, 11, 20, 21), (4, 10, 12, 14), (8, 9, 19, 23), (3, 5, 7, 24), (2, 15, 16, 18), (6, 13, 17, 22))
"""Test actors of each fold: Ma et al. (2024), EmoBox, https://arxiv.org/abs/2406.07162."""
HAPPY_SAD_REPEATS = 20
CROSS_DEV = {f"ravdess/{actor}" for actor in (16, 17, 19, 20)}
"""Dev speakers of `cross`, which trains on RAVDESS and tests on TESS: the dev actors of `fixed`."""


def _actors(folds: Iterable[tuple[Collection[int], Collection[int]]]) -> Generator:
    """Return a generator of folds given as (test actors, dev actors); all others are in train."""

    def generate(rows: list[Row]) -> Iterator[Fold]:
        for test, dev in folds:
            split_of = dict.fromkeys(test, "test") | dict.fromkeys(dev, "dev")
            fold: Fold = {split: [] for split in SPLITS}
            for row in rows:
                fold[split_of.get(int(row["speaker"].split("/")[1]), "train")].append(row)
            yield fold

    return generate


def _rotate_dev(tests: list[tuple[int, ...]]) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Return the test actors of each fold with those of the next fold, which are dev."""
    return list(zip(tests, tests[1:] + tests[:1], strict=True))


def _random(rows: list[Row]) -> Iterator[Fold]:
    yield divide(rows, "random", by=lambda row: (row["channel"], row["emotion"]), test=0.2, dev=0.2)


def _per_actor(rows: list[Row]) -> Iterator[Fold]:
    speech = [row for row in rows if row["channel"] == "speech"]
    yield divide(speech, "per_actor", by=lambda row: row["speaker"], test=20 / 60, dev=8 / 60)


def _happy_sad(rows: list[Row]) -> Iterator[Fold]:
    for repeat in range(HAPPY_SAD_REPEATS):
        yield divide(_only_happy_sad(rows), f"happy_sad/{repeat}", by=lambda row: row["emotion"], test=0.2, dev=0.16)


def _happy_sad_kfold(rows: list[Row]) -> Iterator[Fold]:
    yield from kfold(units_of(_only_happy_sad(rows)), "happy_sad_kfold", by=lambda unit: unit[0]["emotion"])


def _happy_sad_actor(rows: list[Row]) -> Iterator[Fold]:
    for repeat in range(HAPPY_SAD_REPEATS):
        units = shuffled(group_by_speaker(_only_happy_sad(rows)), f"happy_sad_actor/{repeat}")
        yield cut(units, test=round(0.2 * len(units)), dev=round(0.16 * len(units)))


def _happy_sad_actor_kfold(rows: list[Row]) -> Iterator[Fold]:
    yield from kfold(group_by_speaker(_only_happy_sad(rows)), "happy_sad_actor_kfold", by=lambda unit: None)


def _cross_speaker(one: str) -> Generator:
    """Return a generator that trains on a speaker of TESS, with a fifth of the words as dev, and tests the other."""

    def generate(rows: list[Row]) -> Iterator[Fold]:
        own = [row for row in rows if row["speaker"] == f"tess/{one}"]
        words = sorted({row["statement"] for row in own}, key=lambda word: digest(f"{one}:{word}"))
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
    yield from kfold(group_by_speaker(rows), "speakers5", by=lambda unit: None)


def _loso(rows: list[Row]) -> Iterator[Fold]:
    units = sorted(group_by_speaker(rows), key=lambda unit: unit[0]["speaker"])
    for number, unit in enumerate(units):
        dev = units[(number + 1) % len(units)]
        rest = [row for other in units if other not in (unit, dev) for row in other]
        yield {"train": rest, "dev": list(dev), "test": list(unit)}


def _sessions(rows: list[Row]) -> Iterator[Fold]:
    """Yield a fold for each session of IEMOCAP, whose speakers are `iemocap/<session><F or M>`."""
    sessions = sorted({row["speaker"][:-1] for row in rows})
    for number, test in enumerate(sessions):
        dev, fold = sessions[(number + 1) % len(sessions)], dict[str, list[Row]]({split: [] for split in SPLITS})
        for row in rows:
            fold[{test: "test", dev: "dev"}.get(row["speaker"][:-1], "train")].append(row)
        yield fold


def _all_test(rows: list[Row]) -> Iterator[Fold]:
    yield {"train": [], "dev": [], "test": rows}


def cross_corpus(test_corpora: Collection[str]) -> Generator:
    """Return a generator that tests the whole of some corpora; dev is a fifth of each of the others.

    Args:
        test_corpora: Names of the corpora that are tested.
    """

    def generate(rows: list[Row]) -> Iterator[Fold]:
        yield _test_whole(rows, test_corpora)

    return generate


def _leave_one_corpus_out(rows: list[Row]) -> Iterator[Fold]:
    for corpus in dict.fromkeys(map(_corpus, rows)):
        yield _test_whole(rows, [corpus])


def _pooled(rows: list[Row]) -> Iterator[Fold]:
    """Yield five folds; a corpus with two to four speakers has each of them in test in turn, one with fewer in none."""
    for number in range(5):
        fold: Fold = {split: [] for split in SPLITS}
        for corpus, own in _by_corpus(rows).items():
            units = shuffled(group_by_speaker(own), f"pooled/{corpus}")
            tested = units[number::5] if len(units) >= 5 else [units[number % len(units)]]
            if _speakers(own) < 2:
                tested = []
            fold["test"] += [row for unit in tested for row in unit]
            train, dev = _without_dev([row for unit in units if unit not in tested for row in unit], corpus)
            fold["train"] += train
            fold["dev"] += dev
        yield _without_copies(fold)


def _test_whole(rows: list[Row], tested: Collection[str]) -> Fold:
    fold: Fold = {split: [] for split in SPLITS}
    for corpus, own in _by_corpus(rows).items():
        if corpus in tested:
            fold["test"] += own
        else:
            train, dev = _without_dev(own, corpus)
            fold["train"] += train
            fold["dev"] += dev
    return _without_copies(fold)


def _without_copies(fold: Fold) -> Fold:
    """Leave out of train what is in dev or test of another corpus as a copy, and out of dev what is in test."""
    test, dev = ({row["copies"] for row in fold[split] if row.get("copies")} for split in ("test", "dev"))
    return fold | {
        "train": [row for row in fold["train"] if row.get("copies") not in test | dev],
        "dev": [row for row in fold["dev"] if row.get("copies") not in test],
    }


def _without_dev(rows: list[Row], salt: str) -> tuple[list[Row], list[Row]]:
    """Return rows of one corpus in two parts: train, and a fifth that is dev.

    Dev has the recordings of other speakers where there are three, else those of other statements where there are five;
    else it is stratified by emotion.
    """
    if _speakers(rows) >= 3:
        units = group_by_speaker(rows)
    else:
        statements = {row["statement"] for row in rows}
        if "" in statements or len(statements) < 5:
            fold = divide(rows, f"{salt}/dev", by=lambda row: row["emotion"], test=0.0, dev=0.2)
            return fold["train"], fold["dev"]
        units = [tuple(row for row in rows if row["statement"] == statement) for statement in sorted(statements)]
    fold = cut(shuffled(units, f"{salt}/dev"), test=0, dev=max(1, round(len(units) / 5)))
    return fold["train"], fold["dev"]


def _speakers(rows: list[Row]) -> int:
    """Return the number of speakers; 0 if that of a recording is unknown."""
    speakers = {row["speaker"] for row in rows}
    return 0 if speakers & {"", UNKNOWN_SPEAKER} else len(speakers)


def _by_corpus(rows: list[Row]) -> dict[str, list[Row]]:
    corpora: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        corpora[_corpus(row)].append(row)
    return corpora


def _corpus(row: Row) -> str:
    return row["recording"].split("/")[0]


def _official(rows: list[Row]) -> Iterator[Fold]:
    """Yield the official splits of FER2013, without duplicates across splits.

    A duplicated image with several labels is not in train.
    """
    fold, copies = _official_splits(rows), _labels_of_copies(rows)
    tested = {_image(row) for row in fold["test"]}
    dev = [row for row in fold["dev"] if _image(row) not in tested]
    evaluated = tested | {_image(row) for row in dev}
    once = {_image(row): row for row in reversed(fold["train"])}.values()
    train = [row for row in once if _image(row) not in evaluated and len(copies[_image(row)]) == 1]
    yield {"train": train, "dev": dev, "test": fold["test"]}


def _unique_test(rows: list[Row]) -> Iterator[Fold]:
    """Yield the official test split of FER2013 without duplicates."""
    yield {
        "train": [],
        "dev": [],
        "test": list({_image(row): row for row in reversed(_official_splits(rows)["test"])}.values()),
    }


def _official_splits(rows: list[Row]) -> Fold:
    split_of = {"Training": "train", "PublicTest": "dev", "PrivateTest": "test"}
    fold: Fold = {split: [] for split in SPLITS}
    for row in rows:
        fold[split_of[row["recording"].split("/")[-1].split("_")[0]]].append(row)
    return fold


def _labels_of_copies(rows: list[Row]) -> dict[str, set[str]]:
    labels = defaultdict(set)
    for row in rows:
        labels[_image(row)].add(row["emotion"])
    return labels


def _image(row: Row) -> str:
    """Return an identifier that all copies of an image share."""
    return row["repetition"] or row["recording"]


def _only_happy_sad(rows: list[Row]) -> list[Row]:
    return [row for row in rows if row["channel"] == "speech" and row["emotion"] in ("happy", "sad")]


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
    "ravdess_tess": {"cross": _cross},  # its random splits are those of its members
}
"""The committed protocols by corpus and name: generators from the documented rows to the folds."""

OF_ANY_CORPUS: dict[str, Generator] = {
    "random": _random,
    "speakers5": _speakers5,
    "loso": _loso,
    "all_test": _all_test,
}
"""Protocols that are computed from the existing recordings of any corpus."""

OF_SEVERAL: dict[str, Generator] = {
    "leave_one_corpus_out": _leave_one_corpus_out,
    "pooled": _pooled,
    "cross_corpus": cross_corpus(()),  # see `cross_corpus`
}
"""Protocols of `data=several` that are computed from the existing recordings."""

OF_ONE_CORPUS: dict[str, dict[str, Generator]] = {
    "fer2013": {"official": _official, "unique_test": _unique_test},
    "iemocap": {"sessions": _sessions},
}
"""Protocols that are computed from the existing recordings of one corpus."""
