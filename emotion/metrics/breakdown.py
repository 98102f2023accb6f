"""Whom and what a model recognises: by emotion, and by whatever a corpus knows of its recordings."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from emotion import metrics
from emotion.statistics import intervals
from emotion.statistics.comparison import uar

GROUPS = ("gender", "intensity", "statement", "channel", "speaker")


def by_emotion(predictions: pd.DataFrame, classes: tuple[str, ...]) -> pd.DataFrame:
    """Of each emotion how many recordings were recognised, and for what the others were taken most often.

    Args:
        predictions: Of one split.
        classes: The labels.

    Returns:
        Columns `emotion`, `recordings`, `recall`, `precision` (NaN where there is none) and `taken for`.
    """
    index = {label: number for number, label in enumerate(classes)}
    truth, predicted = (predictions[name].map(index).to_numpy() for name in ("emotion", "predicted"))
    wrong = metrics.confusion_matrix(truth, predicted, len(classes))
    support = wrong.sum(axis=1)
    np.fill_diagonal(wrong, 0)
    return pd.DataFrame(
        {
            "emotion": classes,
            "recordings": support,
            "recall": metrics.recalls(truth, predicted, len(classes)),
            "precision": metrics.precisions(truth, predicted, len(classes)),
            "taken for": [classes[row.argmax()] if row.any() else "" for row in wrong],
        }
    )


def by_group(
    seeds: Sequence[pd.DataFrame], recordings: pd.DataFrame, classes: tuple[str, ...], people: Mapping[str, float]
) -> pd.DataFrame:
    """UAR and accuracy of all recordings, and of those of each gender, intensity and so on.

    Args:
        seeds: Predictions of one split, of each seed; they are averaged.
        recordings: What the corpus knows of them, as `Corpus.scan` gives it.
        classes: The labels.
        people: See `Corpus.human_accuracy`.

    Returns:
        Columns `group`, `recordings`, `speakers`, `uar`, `low` and `high` (95 % over speakers; NaN where there is only
        one), `accuracy`, and `people`, the accuracy of people where it is known.
    """
    needed = ["recording", "speaker", "emotion", "predicted"]
    known = [rows[needed].merge(recordings[["recording", *GROUPS[:-1]]], on="recording", how="left") for rows in seeds]
    parts = {"all": known}
    for column in GROUPS:
        values = [value for value in known[0][column].dropna().unique() if value]
        if len(values) > 1:
            parts |= {f"{column} {value}": [rows[rows[column] == value] for rows in known] for value in sorted(values)}
    rows = []
    for name, part in parts.items():
        interval = intervals.over_speakers(part, lambda rows: uar(rows, classes))
        accuracy = float(np.mean([(rows["emotion"] == rows["predicted"]).mean() for rows in part]))
        row = {"group": name, "recordings": len(part[0]), "speakers": interval.speakers, "uar": interval.value}
        rows.append(
            row | {"low": interval.low, "high": interval.high, "accuracy": accuracy, "people": people.get(name, np.nan)}
        )
    return pd.DataFrame(rows)


def but_speakers(groups: pd.DataFrame) -> pd.DataFrame:
    """What `by_group` gives without the rows of single speakers, of whom there may be many."""
    return groups[~groups["group"].str.startswith("speaker ")]


def in_words(table: pd.DataFrame) -> str:
    """A table for the console: two decimals, nothing where there is no figure."""
    return table.to_string(index=False, na_rep="", float_format=lambda value: f"{value:.2f}")
