"""Metrics by emotion, and by group of recordings such as gender or intensity."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from emotion import metrics
from emotion.metrics.predictions import table_ratings, table_uar
from emotion.metrics.regression import METRICS, regression_metrics
from emotion.statistics.intervals import speaker_jackknife_ci

GROUPS = ("gender", "intensity", "statement", "channel", "speaker")
"""The columns of a corpus by which recordings are grouped."""


def metrics_by_emotion(predictions: pd.DataFrame, classes: tuple[str, ...]) -> pd.DataFrame:
    """Compute recall, precision and the most frequent confusion of each emotion.

    Args:
        predictions: Predictions of one split.
        classes: Class names.

    Returns:
        One row per emotion, with the columns `emotion`, `recordings`, `recall` and `precision` (NaN if undefined), and
        `confused_with` (empty if no recording is misclassified).
    """
    truth, predicted = (pd.Index(classes).get_indexer(pd.Index(predictions[name])) for name in ("emotion", "predicted"))
    errors = metrics.confusion_matrix(truth, predicted, len(classes))
    support = errors.sum(axis=1)
    np.fill_diagonal(errors, 0)
    return pd.DataFrame(
        {
            "emotion": classes,
            "recordings": support,
            "recall": metrics.recall_per_class(truth, predicted, len(classes)),
            "precision": metrics.precision_per_class(truth, predicted, len(classes)),
            "confused_with": [classes[row.argmax()] if row.any() else "" for row in errors],
        }
    )


def metrics_by_rating(predictions: pd.DataFrame, ratings: Sequence[str]) -> pd.DataFrame:
    """Compute the metrics of each rating.

    Args:
        predictions: Predictions of one split.
        ratings: Names of the ratings.

    Returns:
        One row per rating, with the columns `rating`, `recordings`, and one for each of
        `emotion.metrics.regression.METRICS`.
    """
    truth, predicted = table_ratings(predictions, ratings)
    return pd.DataFrame(
        {
            "rating": name,
            "recordings": int((~np.isnan(truth[:, i])).sum()),
            **{key: metric(truth[:, i], predicted[:, i]) for key, metric in METRICS.items()},
        }
        for i, name in enumerate(ratings)
    )


def ratings_by_group(predictions: pd.DataFrame, recordings: pd.DataFrame, ratings: Sequence[str]) -> pd.DataFrame:
    """Compute CCC of all recordings and of each group.

    Args:
        predictions: Predictions of one split.
        recordings: Table of the corpus, as returned by `Corpus.scan`.
        ratings: Names of the ratings.

    Returns:
        One row per group, with the columns `group`, `recordings`, `speakers`, and one for the CCC of each rating.
    """
    rows, columns = [], list(map(str, predictions))
    for name, (own,) in group_recordings([predictions], recordings, columns).items():
        found = regression_metrics(*table_ratings(own, ratings), ratings)
        values = {f"ccc_{rating}": found.get(f"ccc/{rating}", np.nan) for rating in ratings}
        rows.append({"group": name, "recordings": len(own), "speakers": own["speaker"].nunique(), **values})
    return pd.DataFrame(rows)


def group_recordings(
    seeds: Sequence[pd.DataFrame], recordings: pd.DataFrame, columns: Sequence[str]
) -> dict[str, list[pd.DataFrame]]:
    """Return the rows of each group of recordings by its name, such as `gender female`, for each of several tables."""
    known = recordings[["recording", *(name for name in GROUPS[:-1] if name not in columns)]]
    tables = [rows[list(columns)].merge(known, on="recording", how="left") for rows in seeds]
    groups = {"all": tables}
    for column in GROUPS:
        values = sorted(value for value in tables[0][column].dropna().unique() if isinstance(value, str) and value)
        if len(values) > 1:
            groups |= {f"{column} {value}": [rows[rows[column] == value] for rows in tables] for value in values}
    return groups


def metrics_by_group(
    seeds: Sequence[pd.DataFrame],
    recordings: pd.DataFrame,
    classes: tuple[str, ...],
    human_accuracy: Mapping[str, float],
) -> pd.DataFrame:
    """Compute UAR and accuracy of all recordings and of each group.

    Args:
        seeds: Predictions of one split, one table per seed. Metrics are averaged over seeds.
        recordings: Table of the corpus, as returned by `Corpus.scan`.
        classes: Class names.
        human_accuracy: Human accuracy by group, see `Corpus.human_accuracy`.

    Returns:
        One row per group, with the columns `group`, `recordings`, `speakers`, `uar`, `uar_low` and `uar_high` (95 % CI
        over speakers, NaN for a single speaker), `accuracy`, and `human_accuracy` (NaN if unknown).
    """
    groups = group_recordings(seeds, recordings, ["recording", "speaker", "emotion", "predicted"])
    return pd.DataFrame(
        {"group": name, **_group_metrics(tables, classes), "human_accuracy": human_accuracy.get(name, np.nan)}
        for name, tables in groups.items()
    )


def _group_metrics(tables: Sequence[pd.DataFrame], classes: tuple[str, ...]) -> dict[str, float]:
    interval = speaker_jackknife_ci(tables, lambda rows: table_uar(rows, classes))
    return {
        "recordings": len(tables[0]),
        "speakers": interval.n_speakers,
        "uar": interval.value,
        "uar_low": interval.low,
        "uar_high": interval.high,
        "accuracy": float(np.mean([(rows["emotion"] == rows["predicted"]).mean() for rows in tables])),
    }


def drop_speaker_groups(groups: pd.DataFrame) -> pd.DataFrame:
    """Return the table of `metrics_by_group` without its rows of single speakers."""
    return groups[~groups["group"].str.startswith("speaker ")]


def format_metrics(table: pd.DataFrame) -> str:
    """Format a table for the console, with two decimals and blanks for missing values."""
    return table.to_string(index=False, na_rep="", float_format=lambda value: f"{value:.2f}")
