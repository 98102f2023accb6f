"""Predictions in the form of EmoBox (Ma et al., 2024, https://arxiv.org/abs/2406.07162)."""

from pathlib import Path
from typing import Any

import pandas as pd

from emotion import metrics
from emotion.errors import EmotionError


def emobox_results(directory: Path) -> dict[str, Any]:
    """Return the test predictions of a run, or of an evaluation, and EmoBox's metrics over all folds given.

    Args:
        directory: Directory with `predictions.csv`.

    Returns:
        `WA` (accuracy), `UA` (UAR), `micro_f1` and `macro_f1` in [0, 1], the number of recordings `num`, and
        `predictions`, each with `key`, `label` and `prediction`. A key is that of a recording without its corpus.

    Raises:
        EmotionError: there are no test predictions.
    """
    path = directory / "predictions.csv"
    if not path.is_file():
        raise EmotionError(f"{path} does not exist; name a finished run, or one of its evaluations")
    table = pd.read_csv(path, dtype={"recording": str, "speaker": str})
    test = table[table["split"] == "test"]
    if test.empty:
        raise EmotionError(f"{path} holds no test predictions")
    classes = sorted({*test["emotion"], *test["predicted"]})
    truth, predicted = (pd.Index(classes).get_indexer(pd.Index(test[name])) for name in ("emotion", "predicted"))
    accuracy = metrics.weighted_average_recall(truth, predicted, len(classes))
    rows = zip(test["recording"].str.partition("/")[2], test["emotion"], test["predicted"], strict=True)
    return {
        "num": len(test),
        "WA": accuracy,
        "UA": metrics.unweighted_average_recall(truth, predicted, len(classes)),
        "micro_f1": accuracy,  # equal if each recording has one label
        "macro_f1": metrics.macro_f1(truth, predicted, len(classes)),
        "predictions": [{"key": key, "label": label, "prediction": guess} for key, label, guess in rows],
    }
