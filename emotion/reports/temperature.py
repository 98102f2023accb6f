"""Temperature of the softmax for corpora that a model has not met, from runs that test a whole corpus each."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.special import softmax

from emotion.errors import EmotionError
from emotion.labels import classes
from emotion.metrics import expected_calibration_error
from emotion.reports.runs import Run
from emotion.training.calibration import fit_temperature

_TINY = 1e-4  # minimum probability, the precision of stored results


def temperature_table(runs: Sequence[Run]) -> tuple[float, pd.DataFrame]:
    """Fit the factor of the temperature for each tested corpus, and evaluate it with the factors of the others.

    Args:
        runs: Runs of one system; those of a fold test the same corpus.

    Returns:
        The geometric mean of the factors of all folds, for `training.temperature_factor`, and a table with a row for
        each fold: `fold`, `recordings`, `factor` (the best one for the fold), `factor_of_others` (the geometric mean of
        the factors of the other folds), and on average over its runs the expected calibration error without a factor
        (`ece`) and with `factor_of_others` (`ece_of_others`), and the accuracy on all recordings and on the third with
        the highest confidence (`accuracy`, `accuracy_of_third`).

    Raises:
        EmotionError: there is only one fold.
    """
    tested = {
        fold: [_outputs(run) for run in runs if run.metrics["fold"] == fold]
        for fold in sorted({run.metrics["fold"] for run in runs})
    }
    if len(tested) < 2:
        raise EmotionError("runs of at least two folds are needed, of which each tests another corpus")
    logarithm = {
        fold: float(np.mean([math.log(fit_temperature(logits, truth)) for logits, truth in own]))
        for fold, own in tested.items()
    }
    rows = []
    for fold, own in tested.items():
        of_others = math.exp(np.mean([value for other, value in logarithm.items() if other != fold]))
        evaluated = [_evaluate(logits, truth, of_others) for logits, truth in own]
        row = {"fold": fold, "recordings": len(own[0][1]), "factor": math.exp(logarithm[fold])}
        rows.append(row | {"factor_of_others": of_others} | pd.DataFrame(evaluated).mean().to_dict())
    return math.exp(np.mean(list(logarithm.values()))), pd.DataFrame(rows)


def _outputs(run: Run) -> tuple[np.ndarray, np.ndarray]:
    """Return the logits of the test recordings of a run, up to a constant for each, and their class indices."""
    labels = classes(run.metrics["labels"])
    table = run.predictions[run.predictions["split"] == "test"]
    if table.empty:
        raise EmotionError(f"{run.directory} was not evaluated on test")
    logits = np.log(table[list(labels)].to_numpy(np.float64).clip(min=_TINY))
    return logits, table["emotion"].map(labels.index).to_numpy()


def _evaluate(logits: np.ndarray, truth: np.ndarray, factor: float) -> dict[str, float]:
    before, after = (softmax(logits / divisor, axis=1) for divisor in (1.0, factor))
    correct, confidence = after.argmax(axis=1) == truth, after.max(axis=1)
    third = np.argsort(-confidence, kind="stable")[: len(truth) // 3]
    return {
        "ece": expected_calibration_error(truth, before),
        "ece_of_others": expected_calibration_error(truth, after),
        "accuracy": float(correct.mean()),
        "accuracy_of_third": float(correct[third].mean()),
    }
