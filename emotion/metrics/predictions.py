"""Predictions of a classifier on a split, as a table, and the metrics of such tables."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import torch

from emotion import metrics
from emotion.batch import Batch, on_device
from emotion.data.datamodule import EmotionDataModule
from emotion.data.table import corpus_of
from emotion.files import atomic_path
from emotion.metrics.extra import Metric
from emotion.metrics.regression import regression_metrics
from emotion.models.base import Classifier
from emotion.statistics.intervals import ConfidenceInterval, speaker_jackknife_ci

_LENGTHS = {"audio": ("waveform_length",), "face": ("face_mask",), "action_units": ("action_unit_frames",)}


def predict(
    classifier: Classifier,
    datamodule: EmotionDataModule,
    split: str,
    device: torch.device,
    transform: Callable[[Batch], Batch] | None = None,
) -> pd.DataFrame:
    """Predict every recording of a split once.

    Args:
        classifier: Classifier; it is moved to `device`.
        datamodule: Data module after `setup`.
        split: `train`, `dev` or `test`.
        device: Device of the computation.
        transform: Function applied to each batch before prediction (default: none).

    Returns:
        One row per recording, with the columns `split`, `recording` and `speaker`. For labels also `emotion` (the true
        label), `predicted`, and one column of probabilities per label, named after it. For ratings also one column of
        true values per rating, named after it, and one of predictions, `<rating>_predicted`.
    """
    classifier = classifier.to(device)
    batches = map(transform, datamodule.batches(split)) if transform else datamodule.batches(split)
    outputs = [classifier.predict(on_device(batch, device)).cpu() for batch in batches]
    rows = datamodule.table[datamodule.table["split"] == split]
    table, scores = rows[["split", "recording", "speaker"]], torch.cat(outputs).numpy()
    if datamodule.ratings:
        truth = datamodule.true_ratings(split)
        values = {name: truth[:, i] for i, name in enumerate(datamodule.ratings)}
        values |= {predicted_name(name): scores[:, i] for i, name in enumerate(datamodule.ratings)}
        return table.assign(**values).reset_index(drop=True)
    classes = np.array(datamodule.classes)
    table = table.assign(emotion=classes[rows["label"]], predicted=classes[scores.argmax(axis=1)])
    return table.join(pd.DataFrame(scores, columns=classes, index=table.index)).reset_index(drop=True)


def predicted_name(rating: str) -> str:
    """Return the column of the predictions of a rating.

    Example:
        >>> predicted_name("valence")
        'valence_predicted'
    """
    return f"{rating}_predicted"


def table_ratings(predictions: pd.DataFrame, ratings: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return true and predicted ratings of a table of `predict`, each of shape (n, len(ratings))."""
    return predictions[list(ratings)].to_numpy(), predictions[list(map(predicted_name, ratings))].to_numpy()


def mask_modality(batch: Batch, modality: str) -> Batch:
    """Return the batch with `modality` missing from every recording."""
    masked: dict[str, Any] = {name: torch.zeros_like(batch[name]) for name in _LENGTHS[modality] if name in batch}
    if modality == "audio" and "features" in batch:
        masked["features"] = {
            key: (features, torch.zeros_like(frames)) for key, (features, frames) in batch["features"].items()
        }
    return cast(Batch, batch | masked)


def split_metrics(
    predictions: pd.DataFrame, classes: tuple[str, ...], extra: Mapping[str, Metric] | None = None
) -> dict[str, float]:
    """Compute the classification metrics of each split.

    Args:
        predictions: Table as returned by `predict`, of one or several splits.
        classes: Class names.
        extra: Further metrics by name (default: none).

    Returns:
        The metrics of `metrics.classification_metrics` and the further ones, see `by_split`.
    """
    return by_split(predictions, lambda rows: _table_metrics(rows, classes, extra or {}))


def rating_split_metrics(predictions: pd.DataFrame, ratings: Sequence[str]) -> dict[str, float]:
    """Compute the metrics of ratings of each split, see `split_metrics` and `regression_metrics`."""
    return by_split(predictions, lambda rows: regression_metrics(*table_ratings(rows, ratings), ratings))


def ccc_interval(seeds: Sequence[pd.DataFrame], ratings: Sequence[str]) -> ConfidenceInterval:
    """Return CCC, the mean over ratings, and its confidence interval over speakers, see `speaker_jackknife_ci`.

    Args:
        seeds: Predictions of one split, one table per seed.
        ratings: Names of the ratings.
    """

    def mean_ccc(rows: pd.DataFrame) -> float:
        return regression_metrics(*table_ratings(rows, ratings), ratings)["ccc"]

    return speaker_jackknife_ci(seeds, mean_ccc, bounds=(-1.0, 1.0))


def by_split(predictions: pd.DataFrame, compute: Callable[[pd.DataFrame], dict[str, float]]) -> dict[str, float]:
    """Compute metrics of each split.

    Args:
        predictions: Table as returned by `predict`, of one or several splits.
        compute: Function from some of its rows to metrics by key.

    Returns:
        The metrics, keyed `<split>/<metric>`; for recordings of several corpora also `<split>/<corpus>/<metric>`.
    """
    corpus = corpus_of(predictions)
    result = {}
    for split, rows in predictions.groupby("split", sort=True):
        subsets = {"": rows}
        if corpus[rows.index].nunique() > 1:
            subsets |= {f"{name}/": subset for name, subset in rows.groupby(corpus[rows.index])}
        for prefix, subset in subsets.items():
            result |= {f"{split}/{prefix}{key}": value for key, value in compute(subset).items()}
    return result


def _table_metrics(rows: pd.DataFrame, classes: tuple[str, ...], extra: Mapping[str, Metric]) -> dict[str, float]:
    truth, predicted = _class_indices(rows, classes)  # probabilities may be rounded
    probabilities = rows[list(classes)].to_numpy()
    further = {name: float(metric(truth, probabilities.astype(np.float64))) for name, metric in extra.items()}
    return further | metrics.classification_metrics(truth, probabilities, classes, predicted)


def table_uar(predictions: pd.DataFrame, classes: tuple[str, ...]) -> float:
    """Compute the UAR of a table with the columns `emotion` and `predicted`."""
    return metrics.unweighted_average_recall(*_class_indices(predictions, classes), len(classes))


def _class_indices(predictions: pd.DataFrame, classes: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    index = pd.Index(classes)
    return index.get_indexer(pd.Index(predictions["emotion"])), index.get_indexer(pd.Index(predictions["predicted"]))


def write_predictions(path: Path, predictions: pd.DataFrame) -> None:
    """Write `predictions.csv`, with probabilities of six decimals."""
    with atomic_path(path) as temporary:
        predictions.to_csv(temporary, index=False, float_format="%.6f", lineterminator="\n")
