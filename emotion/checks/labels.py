"""Labels that may be wrong, by predictions of models that were not trained on their recordings."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from emotion.checks.findings import Finding, examples
from emotion.errors import EmotionError, counted


def label_findings(
    predictions: Sequence[pd.DataFrame], labels: Sequence[str], recordings: pd.Series
) -> Iterator[Finding]:
    """Yield a finding on recordings whose label is probably wrong (confident learning, with cleanlab).

    Northcutt et al. (2021), https://arxiv.org/abs/1911.00068. The predictions are those of test, so that folds of a
    protocol cover the corpus with models that have not seen a recording.

    Args:
        predictions: Test predictions of runs, such as of folds and seeds; probabilities of several are averaged.
        labels: Their columns of probabilities.
        recordings: Keys of the checked recordings.

    Raises:
        EmotionError: cleanlab is not installed, or the runs predicted no checked recording.
    """
    try:
        from cleanlab.filter import find_label_issues
    except ImportError as error:
        raise EmotionError("cleanlab is not installed: pip install 'emotion[cleanlab]'") from error
    predicted = pd.concat(predictions)
    predicted = predicted[predicted["recording"].isin(recordings)]
    if predicted.empty:
        raise EmotionError("--runs: the runs predicted none of these recordings in test; give runs on them")
    truth = predicted.groupby("recording")["emotion"].first()
    probabilities = predicted.groupby("recording")[list(labels)].mean().to_numpy()
    present = [label for label in labels if label in set(truth)]  # the library needs every class
    shares = probabilities[:, [labels.index(label) for label in present]]
    shares = shares / shares.sum(axis=1, keepdims=True)
    found = find_label_issues(
        pd.Index(present).get_indexer(pd.Index(truth)),
        shares,
        return_indices_ranked_by="self_confidence",
        n_jobs=1,
    )
    suspicious = [str(truth.index[index]) for index in found]
    if suspicious:
        details = [
            f"{key}: labelled {truth[key]}, predicted {present[int(np.argmax(shares[index]))]} "
            f"({shares[index].max():.2f})"
            for key, index in zip(suspicious, found, strict=True)
        ]
        text = f"{counted(len(suspicious), 'recording')} of {len(truth):,} with a label that models doubt"
        yield Finding("note", f"{text}, such as {examples(suspicious)}: listen to them", suspicious, details=details)
