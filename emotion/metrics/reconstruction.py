"""Reconstruction errors of an autoencoder, and how well they detect emotions it was not trained on."""

import numpy as np
import pandas as pd
import torch

from emotion.data.datamodule import EmotionDataModule
from emotion.models.autoencoder import autoencoder_of
from emotion.models.base import Classifier

ERRORS = {"error": "mean squared error", "unexplained": "fraction of variance unexplained"}
"""The columns of errors, and their names on plots."""


@torch.no_grad()
def reconstruction_errors(classifier: Classifier, datamodule: EmotionDataModule, split: str) -> pd.DataFrame:
    """Compute the reconstruction errors of a split.

    Args:
        classifier: Classifier whose backbone is an `Autoencoder`, on the CPU and in evaluation mode.
        datamodule: Data module after `setup`.
        split: `train`, `dev` or `test`.

    Returns:
        One row per recording, with the columns `split`, `recording`, `speaker`, `emotion`, `error` and `unexplained`;
        see `Autoencoder.errors`.
    """
    front_end, backbone = autoencoder_of(classifier)
    batches = [backbone.errors(*front_end(batch)) for batch in datamodule.batches(split)]
    rows = datamodule.table[datamodule.table["split"] == split]
    table = rows[["split", "recording", "speaker"]].assign(emotion=np.array(datamodule.classes)[rows["label"]])
    columns = zip(ERRORS, zip(*batches, strict=True), strict=True)
    return table.assign(**{name: torch.cat(values).numpy() for name, values in columns})


def reconstruction_metrics(errors: pd.DataFrame, trained_label: str) -> dict[str, float]:
    """Compute the metrics of reconstruction errors.

    Args:
        errors: Errors of one split, as returned by `reconstruction_errors`.
        trained_label: The label the autoencoder was trained on.

    Returns:
        For `error` and `unexplained`: `<split>/<error>/<label>`, the mean over recordings; `<split>/<error>/others`,
        the mean of other labels relative to that of `trained_label`; and `<split>/<error>/auc`, the area under the ROC
        curve of detecting other labels.
    """
    from sklearn.metrics import roc_auc_score

    split = errors["split"].iloc[0]
    other, result = errors["emotion"] != trained_label, {}
    for name in ERRORS:
        result |= {f"{split}/{name}/{label}": float(rows[name].mean()) for label, rows in errors.groupby("emotion")}
        if 0 < other.sum() < len(errors):
            result[f"{split}/{name}/others"] = float(errors[name][other].mean() / errors[name][~other].mean())
            result[f"{split}/{name}/auc"] = float(roc_auc_score(other, errors[name]))
    return result
