"""Whether one system is better than another, over people."""

import numpy as np
import pandas as pd

from emotion import metrics


def uar(predictions: pd.DataFrame, classes: tuple[str, ...]) -> float:
    """The UAR of all recordings in `predictions`, which has `emotion` and `predicted`."""
    index = pd.Index(classes)
    truth, predicted = (index.get_indexer(predictions[name]) for name in ("emotion", "predicted"))
    return metrics.unweighted_average_recall(truth, predicted, len(classes))


def uar_of_speakers(predictions: pd.DataFrame, classes: tuple[str, ...]) -> pd.Series:
    """The UAR of each speaker's recordings, sorted by speaker.

    Args:
        predictions: With `speaker`, `emotion` and `predicted`.
        classes: The labels.
    """
    return predictions.groupby("speaker").apply(lambda rows: uar(rows, classes), include_groups=False)


def wilcoxon_over_speakers(one: list[pd.DataFrame], other: list[pd.DataFrame], classes: tuple[str, ...]) -> float:
    """The two-sided p of Wilcoxon's signed-rank test between two systems, paired by speaker.

    Clips of one person are not independent, people are: so each person counts once, by the mean UAR over seeds.

    Args:
        one: The test predictions of a system, of each of its seeds.
        other: Those of another one, of the same recordings.
        classes: The labels.

    Returns:
        In [0, 1]; NaN if they judged different people, or if no speaker makes a difference.
    """
    from scipy.stats import wilcoxon

    means = [
        pd.concat([uar_of_speakers(rows, classes) for rows in rows_of], axis=1).mean(axis=1) for rows_of in (one, other)
    ]
    if not means[0].index.equals(means[1].index) or np.allclose(*means):
        return float("nan")
    return float(wilcoxon(*means).pvalue)


def mcnemar(one: pd.DataFrame, other: pd.DataFrame) -> float:
    """The two-sided p of McNemar's exact test: of the recordings that one alone named right, does either have more?

    A second view: it takes recordings of one person for independent, which they are not.

    Args:
        one: Predictions, with `recording`, `emotion` and `predicted`.
        other: Those of another system, of the same recordings.

    Returns:
        In [0, 1]; 1 if none is named right by one alone.
    """
    from scipy.stats import binomtest

    both = one.merge(other, on="recording", suffixes=("", "_other"))
    right, right_other = both["predicted"] == both["emotion"], both["predicted_other"] == both["emotion"]
    alone, alone_other = int((right & ~right_other).sum()), int((right_other & ~right).sum())
    return float(binomtest(alone, alone + alone_other).pvalue) if alone + alone_other else 1.0


def holm(p: pd.Series) -> pd.Series:
    """The p values of several comparisons, corrected for their number (Holm, 1979); NaN is no comparison."""
    known = p.dropna().sort_values()
    factors = np.arange(len(known), 0, -1)
    return (known * factors).cummax().clip(upper=1.0).reindex(p.index)
