"""Findings on a corpus and on the splits of a protocol."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from emotion.corpora.base import UNKNOWN_SPEAKER
from emotion.errors import counted
from emotion.metrics.agreement import alpha_of_ratings, alpha_of_votes
from emotion.protocols import SPLITS

LEVELS = ("error", "warning", "note")
_EXAMPLES = 3
_FEW_RECORDINGS, _FEW_SPEAKERS = 10, 4
_LOW_AGREEMENT = 0.2  # Krippendorff's alpha
_MAX_IMBALANCE = 10  # recordings of the largest class of train for one of the smallest


@dataclass(frozen=True)
class Finding:
    """Something about a corpus.

    Attributes:
        level: `error` if a training would be unsound or stop, `warning` if its figures may mislead, or `note`.
        text: One line that names it and the remedy.
        recordings: Keys of the recordings that it is about; empty if it is about all.
        groups: Groups of keys of recordings that belong together, such as copies; empty if there are none.
        details: Further lines, such as what is wrong with each file.
    """

    level: str
    text: str
    recordings: Sequence[str] = ()
    groups: Sequence[Sequence[str]] = ()
    details: Sequence[str] = ()


def split_findings(table: pd.DataFrame) -> Iterator[Finding]:
    """Yield findings on the splits.

    Args:
        table: Recordings with the columns `recording`, `speaker`, `emotion` (its label) and `split`.
    """
    for split in SPLITS:
        if not (table["split"] == split).any():
            yield Finding("error", f"{split} is empty: choose another protocol, or add recordings")
    counts = class_counts(table)
    for split in ("dev", "test"):
        for label in counts.index[(counts["train"] == 0) & (counts[split] > 0)]:
            number = counted(int(counts[split][label]), "recording")
            yield Finding("error", f"{split} has {number} of {label}, and train has none: no model can learn it")
    for split in SPLITS:
        few = counts.index[(counts[split] < _FEW_RECORDINGS) & (counts["train"] > 0)]
        if len(few) and counts[split].sum():
            found = ", ".join(f"{counts[split][label]} of {label}" for label in few)
            consequence = "a model can learn little of them" if split == "train" else "its UAR is uncertain"
            yield Finding("warning", f"{split} has few recordings of some classes ({found}): {consequence}")
    present = counts.loc[counts["train"] > 0, "train"]
    if len(present) > 1 and present.max() > _MAX_IMBALANCE * present.min():
        yield Finding(
            "warning",
            f"train has {present.max() / present.min():.0f} times as many recordings of {present.idxmax()} as of "
            f"{present.idxmin()}: keep training.class_weights=true, and read UAR, not accuracy",
        )


def rating_findings(ratings: pd.DataFrame, split: pd.Series) -> Iterator[Finding]:
    """Yield findings on ratings.

    Args:
        ratings: Ratings of recordings (rows), NaN where unknown.
        split: Split of each recording.
    """
    for name in map(str, ratings):
        known = ratings[name].notna()
        for own in SPLITS:
            count = int((known & (split == own)).sum())
            if not count:
                yield Finding("error", f"{own} has no recording with {name}: choose another protocol, or leave it out")
            elif count < _FEW_RECORDINGS:
                yield Finding("warning", f"{own} has {count} of {name}: its CCC is uncertain")
        if ratings[name][known & (split == "train")].nunique() == 1:
            yield Finding("error", f"all ratings of {name} in train are equal: there is nothing to learn")


def agreement_findings(votes: pd.DataFrame | None, annotations: pd.DataFrame | None) -> Iterator[Finding]:
    """Yield findings on the agreement of annotators, Krippendorff's alpha.

    Args:
        votes: See `Corpus.votes`.
        annotations: See `Corpus.annotations`; None if ratings are not predicted.
    """
    alphas = {} if votes is None else {"the emotion": alpha_of_votes(votes.to_numpy())}
    if annotations is not None:
        alphas |= {str(name): alpha_of_ratings(annotations[name]) for name in annotations}
    for name, alpha in alphas.items():
        if not np.isnan(alpha):
            text = f"annotators agree on {name} with Krippendorff's alpha {alpha:.2f} (1: always, 0: by chance)"
            low = alpha < _LOW_AGREEMENT
            yield Finding("warning" if low else "note", f"{text}: a model can hardly agree more" if low else text)


def speaker_findings(table: pd.DataFrame, speaker_independent: bool) -> Iterator[Finding]:
    """Yield findings on speakers; see `split_findings`."""
    unknown = table.loc[table["speaker"].isin([UNKNOWN_SPEAKER, ""]), "recording"]
    if len(unknown):
        yield Finding(
            "warning",
            f"the speaker of {counted(len(unknown), 'recording')} is unknown: one person may be in two splits, and "
            "there is no confidence interval; name the speakers",
            unknown.tolist(),
        )
        return
    if not speaker_independent:
        yield Finding("warning", "the protocol tests speakers of train: expect lower figures on other people")
    speakers = table[table["split"] == "test"]["speaker"].nunique()
    if 0 < speakers < _FEW_SPEAKERS:
        yield Finding("warning", f"test has {counted(speakers, 'speaker')}: figures say little about other people")
    share = table.groupby("speaker")["emotion"].nunique()
    lacking = share.index[share < table["emotion"].nunique()]
    if len(lacking) and len(lacking) < len(share):
        yield Finding("note", f"{counted(len(lacking), 'speaker')} lack some emotions, such as {lacking[0]}")
    elif len(lacking):
        yield Finding("warning", "no speaker has all emotions: a model may learn voices in place of emotions")


def audio_findings(measures: pd.DataFrame) -> Iterator[Finding]:
    """Yield findings on audio.

    Args:
        measures: The fields of `Measures`, one row for each recording, with its key as the index.
    """
    silent = measures["level_db"] == -np.inf
    rules: Sequence[tuple[str, Callable[[pd.DataFrame], pd.Series], str, str]] = (
        ("error", lambda _: silent, "silent", "remove it"),
        ("warning", lambda m: (m["speech"] == 0) & ~silent, "without speech", "listen to it"),
        ("warning", lambda m: m["clipped"] > 0.001, "clipped in more than 0.1 % of the samples", "record it anew"),
        ("warning", lambda m: m["offset"].abs() > 0.01, "with a constant offset", "it is removed when read"),
        ("warning", lambda m: m["level_db"] - m["noise_db"] < 10, "less than 10 dB above the noise", "listen to it"),
        ("warning", lambda m: m["rate"] < 16_000, "sampled at less than 16 kHz", "high frequencies are missing"),
        ("note", lambda m: m["duration_s"] < 0.5, "shorter than half a second", ""),
        ("note", lambda m: m["duration_s"] > 30, "longer than 30 seconds", "an emotion seldom lasts as long: cut it"),
        ("note", lambda m: m["silent"] > 0.8, "silent for more than 80 % of the time", "data.speech_only=true helps"),
    )
    for level, rule, what, remedy in rules:
        found = measures.index[rule(measures)].tolist()
        if found:
            text = f"{counted(len(found), 'recording')} {what}, such as {examples(found)}"
            yield Finding(level, f"{text}: {remedy}" if remedy else text, found)
    for column, what in (("rate", "sampling rates"), ("channels", "numbers of channels")):
        values = measures[column].value_counts()
        if len(values) > 1:
            shown = ", ".join(f"{value:,} ({count:,})" for value, count in values.items())
            yield Finding("note", f"{what} differ: {shown}")


def noise_findings(measures: pd.DataFrame, table: pd.DataFrame) -> Iterator[Finding]:
    """Yield a finding if the emotions of one corpus differ in noise, which a model may learn in place of emotions."""
    emotions = table.set_index("recording")["emotion"].reindex(measures.index)
    noise = measures["noise_db"].groupby(emotions).agg(["median", "size"])
    noise = noise.loc[noise["size"] >= _FEW_RECORDINGS, "median"]
    if len(noise) > 1 and noise.max() - noise.min() > 15:
        yield Finding(
            "warning",
            f"the noise of {noise.idxmax()} is {noise.max() - noise.min():.0f} dB above that of {noise.idxmin()}: were "
            "they recorded elsewhere? A model may learn the room",
        )


def problem_findings(problems: Mapping[str, str], on_error: str) -> Iterator[Finding]:
    """Yield a finding on files that cannot be read.

    Args:
        problems: Path and what is wrong, by key of the recording.
        on_error: Value of `data.on_error`.
    """
    if problems:
        text = f"{counted(len(problems), 'file')} cannot be read, such as {next(iter(problems.values()))}"
        if on_error == "raise":
            finding = ("error", f"{text}: repair or remove them, or set data.on_error=skip")
        else:
            finding = ("note", f"{text}: left out (data.on_error={on_error})")
        yield Finding(*finding, list(problems), details=list(problems.values()))


def copy_findings(
    groups: Sequence[Sequence[str]], table: pd.DataFrame, what: str, exact: bool = True
) -> Iterator[Finding]:
    """Yield findings on copies of recordings.

    Args:
        groups: Groups of keys of recordings.
        table: See `split_findings`; recordings without a split may be left out.
        what: What they share, in words.
        exact: True if it is equal (default), False if it is similar.
    """
    if not groups:
        return
    known = table.set_index("recording")
    problems = (
        ("split", "error" if exact else "warning", "in two splits", "test would hold what was trained on; remove one"),
        ("emotion", "error" if exact else "warning", "with different emotions", "correct one of them"),
        ("speaker", "warning", "under two speaker names", "give both the same name"),
    )
    named: set[str] = set()
    for column, level, where, remedy in problems:
        if column not in known:
            continue
        values = known[column].reindex([key for group in groups for key in group])
        found = [group for group in groups if values.loc[list(group)].dropna().nunique() > 1]
        if found:
            named |= {key for group in found for key in group}
            text = f"{counted(len(found), 'group')} of recordings with {what} {where}, such as {examples(found[0])}"
            yield Finding(level, f"{text}: {remedy}", [key for group in found for key in group], found)
    rest = [group for group in groups if not named & set(group)]
    if rest:
        where = "in one split" if known["split"].any() else ""
        text = f"{counted(len(rest), 'group')} of recordings with {what} {where}".strip()
        yield Finding("note", f"{text}, such as {examples(rest[0])}", [key for group in rest for key in group], rest)


def class_counts(table: pd.DataFrame) -> pd.DataFrame:
    """Return the number of recordings of each emotion (rows) in each split (columns)."""
    counts = pd.crosstab(table["emotion"], table["split"])
    return counts.reindex(columns=list(SPLITS), fill_value=0)


def examples(names: Sequence[str]) -> str:
    """Return up to three names in words."""
    more = ", …" if len(names) > _EXAMPLES else ""
    return ", ".join(names[:_EXAMPLES]) + more
