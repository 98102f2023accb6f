"""Confidence intervals of a metric for unseen speakers."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from emotion.corpora.base import UNKNOWN_SPEAKER

MIN_SPEAKERS = 10
"""The number of speakers below which a confidence interval is a rough estimate."""


class ConfidenceInterval(NamedTuple):
    """A metric and its confidence interval.

    Attributes:
        value: The metric over all recordings.
        low: Lower bound, at least the least value of the metric. NaN if there are fewer than two speakers, if one is
            unknown, or if the speakers differ between seeds.
        high: Upper bound, at most the greatest value of the metric. NaN like `low`.
        n_speakers: The number of speakers.
    """

    value: float
    low: float
    high: float
    n_speakers: int


def speaker_jackknife_ci(
    seeds: Sequence[pd.DataFrame],
    metric: Callable[[pd.DataFrame], float],
    confidence_level: float = 0.95,
    bounds: tuple[float, float] = (0.0, 1.0),
) -> ConfidenceInterval:
    """Compute a confidence interval with the jackknife over speakers.

    The recordings of one speaker are not independent, so an interval over recordings is too narrow. Here the metric is
    recomputed with each speaker left out in turn; the standard error of these values is multiplied by a quantile of
    Student's t distribution (Efron & Tibshirani, 1993, chapter 11). The metric is averaged over seeds; seeds do not
    count as speakers.

    Args:
        seeds: One table of predictions per seed, with the column `speaker` and the same speakers in each.
        metric: Function from such a table to a number.
        confidence_level: Coverage of the interval (default: 0.95).
        bounds: Least and greatest value of the metric (default: 0 and 1; -1 and 1 for a difference).

    Returns:
        The metric averaged over seeds, and its interval.
    """
    from scipy.stats import t

    def mean_without(speaker: str | None = None) -> float:
        return float(np.mean([metric(rows if speaker is None else rows[rows["speaker"] != speaker]) for rows in seeds]))

    value, speakers = mean_without(), set(seeds[0]["speaker"])
    n = len(speakers)
    if n < 2 or UNKNOWN_SPEAKER in speakers or any(set(rows["speaker"]) != speakers for rows in seeds):
        return ConfidenceInterval(value, float("nan"), float("nan"), n)
    left_out = np.array([mean_without(speaker) for speaker in sorted(speakers)])
    standard_error = np.sqrt((n - 1) / n * ((left_out - left_out.mean()) ** 2).sum())
    margin = float(t.ppf((1 + confidence_level) / 2, n - 1) * standard_error)
    return ConfidenceInterval(value, max(bounds[0], value - margin), min(bounds[1], value + margin), n)
