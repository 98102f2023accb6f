"""Paired hypothesis tests between two systems on the same recordings."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from emotion.statistics.intervals import ConfidenceInterval, speaker_jackknife_ci


def difference_ci(
    first: Sequence[pd.DataFrame], second: Sequence[pd.DataFrame], metric: Callable[[pd.DataFrame], float]
) -> ConfidenceInterval:
    """Compute a confidence interval for the difference between two systems, with the jackknife over speakers.

    Args:
        first: Test predictions of one system, one table per seed, with the column `speaker`.
        second: Test predictions of the other system on the same recordings.
        metric: Function from a table of predictions to a value in [0, 1].

    Returns:
        The metric of the first minus that of the second, in [-1, 1].
    """
    seeds = [
        pd.concat([one.assign(is_first=True), other.assign(is_first=False)])
        for one, other in zip(first, second, strict=True)
    ]

    def difference(rows: pd.DataFrame) -> float:
        return metric(rows[rows["is_first"]]) - metric(rows[~rows["is_first"]])

    return speaker_jackknife_ci(seeds, difference, bounds=(-1.0, 1.0))


def wilcoxon_over_speakers(
    first: Sequence[pd.DataFrame], second: Sequence[pd.DataFrame], metric: Callable[[pd.DataFrame], float]
) -> float:
    """Compute the two-sided p-value of Wilcoxon's signed-rank test, paired by speaker.

    Speakers are independent, their recordings are not. Each speaker therefore contributes one pair: the metric of the
    speaker's recordings, averaged over seeds.

    Args:
        first: Test predictions of one system, one table per seed, with the column `speaker`.
        second: Test predictions of the other system on the same recordings.
        metric: Function from a table of predictions to a number.

    Returns:
        The p-value, in [0, 1]. NaN if the speakers differ, or if both systems are equal for every speaker.
    """
    from scipy.stats import wilcoxon

    one, other = (
        pd.concat([_metric_by_speaker(rows, metric) for rows in seeds], axis=1).mean(axis=1)
        for seeds in (first, second)
    )
    if not one.index.equals(other.index) or np.allclose(one, other):
        return float("nan")
    result: Any = wilcoxon(one, other)
    return float(result.pvalue)


def _metric_by_speaker(rows: pd.DataFrame, metric: Callable[[pd.DataFrame], float]) -> pd.Series:
    return pd.Series({speaker: metric(own) for speaker, own in rows.groupby("speaker")})


def mcnemar(first: pd.DataFrame, second: pd.DataFrame) -> float:
    """Compute the two-sided p-value of McNemar's exact test over recordings.

    The test assumes independent recordings, which those of one speaker are not. Use it beside
    `wilcoxon_over_speakers`.

    Args:
        first: Predictions of one system, with the columns `recording`, `emotion` and `predicted`.
        second: Predictions of the other system on the same recordings.

    Returns:
        The p-value, in [0, 1]. 1 if no recording is classified correctly by one system alone.
    """
    from scipy.stats import binomtest

    both = first.merge(second, on="recording", suffixes=("", "_second"))
    correct = both["predicted"] == both["emotion"]
    correct_second = both["predicted_second"] == both["emotion"]
    only_first, only_second = int((correct & ~correct_second).sum()), int((correct_second & ~correct).sum())
    return float(binomtest(only_first, only_first + only_second).pvalue) if only_first + only_second else 1.0


def holm(p_values: pd.Series) -> pd.Series:
    """Correct p-values for the number of comparisons (Holm, 1979). NaN values are no comparisons and stay NaN.

    Example:
        >>> holm(pd.Series([0.01, 0.04, 0.03])).tolist()
        [0.03, 0.06, 0.06]
    """
    ranked = p_values.dropna().sort_values()
    factors = np.arange(len(ranked), 0, -1)
    return (ranked * factors).cummax().clip(upper=1.0).reindex(p_values.index)
