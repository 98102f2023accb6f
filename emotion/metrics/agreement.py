"""Agreement of annotators: Krippendorff's alpha.

Hayes & Krippendorff (2007), https://doi.org/10.1080/19312450709336664. 1 is perfect agreement, 0 that of chance.
Recordings with a single annotation do not count.
"""

import numpy as np
import pandas as pd


def alpha_of_votes(votes: np.ndarray) -> float:
    """Compute Krippendorff's alpha of labels (nominal).

    Args:
        votes: Number of annotators for each label (columns) of each recording (rows), shape (n, num_labels).

    Returns:
        Alpha, at most 1; NaN if no recording has two votes, or all votes are for one label.

    Example:
        >>> round(alpha_of_votes(np.array([[2, 0], [0, 2], [1, 1]])), 3)
        0.444
    """
    votes = np.asarray(votes, np.float64)
    votes = votes[votes.sum(axis=1) > 1]
    per_recording, per_label = votes.sum(axis=1), votes.sum(axis=0)
    total = per_label.sum()
    expected = total**2 - np.square(per_label).sum()
    if not expected:
        return float("nan")
    observed = ((np.square(per_recording) - np.square(votes).sum(axis=1)) / (per_recording - 1)).sum()
    return float(1 - (total - 1) * observed / expected)


def alpha_of_ratings(annotations: pd.Series) -> float:
    """Compute Krippendorff's alpha of ratings (interval).

    Args:
        annotations: Rated values, one for each annotator, with the key of the recording as the index.

    Returns:
        Alpha, at most 1; NaN if no recording has two ratings, or all ratings are equal.

    Example:
        >>> round(alpha_of_ratings(pd.Series([1.0, 1.0, 3.0, 3.0, 2.0, 3.0], index=list("aabbcc"))), 3)
        0.828
    """
    known = annotations.dropna()
    known = known[known.groupby(level=0).transform("size") > 1]
    if known.nunique() < 2:
        return float("nan")
    # The mean squared difference of all pairs is twice the variance.
    sizes = known.groupby(level=0).transform("size")
    means = known.groupby(level=0).transform("mean")
    observed = ((known - means) ** 2 * sizes / (sizes - 1)).sum() / len(known)
    return float(1 - observed / known.var())
