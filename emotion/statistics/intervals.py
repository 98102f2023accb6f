"""How far a figure may be from that of all people, of whom a few were tested."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from emotion.corpora.base import UNKNOWN_SPEAKER

FEW = 10
"""With fewer speakers an interval is a guess."""


class Interval(NamedTuple):
    """A figure, and between what it lies.

    Attributes:
        value: Of the recordings at hand.
        low: Not below 0; NaN where there are fewer than two speakers, unknown ones, or not the same ones of all seeds.
        high: Not above 1; likewise.
        speakers: On whom it rests.
    """

    value: float
    low: float
    high: float
    speakers: int


def over_speakers(
    seeds: Sequence[pd.DataFrame], figure: Callable[[pd.DataFrame], float], level: float = 0.95
) -> Interval:
    """A confidence interval that takes people, not recordings, for what was drawn at random.

    Recordings of one person are right or wrong together, so an interval that counts recordings is far too narrow.
    This one is the jackknife's: the figure is computed again without each speaker in turn, the deviation follows from
    how much that changes it, and its multiple from Student's t (Efron & Tibshirani, 1993, chapter 11). Seeds are
    averaged, and do not count as people.

    Args:
        seeds: Predictions of the same people, of each seed, with the column `speaker`.
        figure: In [0, 1], of such a table.
        level: How often the interval is to hold the truth.

    Returns:
        The figure, averaged over seeds, and its interval.
    """
    from scipy.stats import t

    def mean(speaker: str | None = None) -> float:
        return float(np.mean([figure(rows if speaker is None else rows[rows["speaker"] != speaker]) for rows in seeds]))

    value, speakers = mean(), set(seeds[0]["speaker"])
    count = len(speakers)
    if count < 2 or UNKNOWN_SPEAKER in speakers or any(set(rows["speaker"]) != speakers for rows in seeds):
        return Interval(value, float("nan"), float("nan"), count)
    without = np.array([mean(speaker) for speaker in sorted(speakers)])
    deviation = np.sqrt((count - 1) / count * ((without - without.mean()) ** 2).sum())
    reach = float(t.ppf((1 + level) / 2, count - 1) * deviation)
    return Interval(value, max(0.0, value - reach), min(1.0, value + reach), count)
