"""Common parts of training and evaluation: cached features, metrics with their provenance, and result files."""

import logging
import math
from collections.abc import Collection, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import torch

from emotion import __version__, malloc
from emotion.config.schema import TrainConfig
from emotion.config.target import instantiate
from emotion.corpora.base import UNKNOWN_SPEAKER
from emotion.data.datamodule import EmotionDataModule
from emotion.data.groups import fit_groups, is_transductive
from emotion.data.table import recordings_per_class
from emotion.errors import EmotionError
from emotion.features.front_end import AudioFrontEnd
from emotion.files import write_json
from emotion.labels import label_names
from emotion.metrics.distribution import distribution_metrics
from emotion.metrics.extra import Metric
from emotion.metrics.predictions import (
    by_split,
    ccc_interval,
    rating_split_metrics,
    split_metrics,
    table_uar,
    write_predictions,
)
from emotion.models.base import Classifier, Encoder, Regressor
from emotion.plots.figure import save_figure
from emotion.plots.metrics import plot_calibration, plot_confusion_matrix, plot_ratings
from emotion.protocols import SPLITS
from emotion.statistics.intervals import speaker_jackknife_ci

log = logging.getLogger(__name__)

RESERVED = (
    *(
        "uar",
        "uar_shared",
        "war",
        "macro_f1",
        "loss",
        "calibration_error",
        "brier_score",
        "aurc",
        "recall",
        "precision",
    ),
    *("uar_low", "uar_high", "chance", "error", "unexplained"),
)
"""Names of metrics that runs have without the group `metrics`."""
_FEW = 10  # recordings of a class


def cache_features(
    classifier: Classifier, datamodule: EmotionDataModule, device: torch.device, training: bool = False
) -> None:
    """Compute features that do not change in training once; fit the statistics of speakers or corpora.

    Args:
        classifier: Its front ends are changed in place.
        datamodule: Set up already; serves the features from now on.
        device: Device of networks that compute features.
        training: True to compute augmented copies too (default: False).
    """
    audio = [front_end for front_end in classifier.front_ends if isinstance(front_end, AudioFrontEnd)]
    cacheable = [front_end for front_end in audio if front_end.is_cacheable]
    datamodule.cache_features(cacheable, len(cacheable) < len(audio), device, training)
    unknown = datamodule.table["speaker"] == UNKNOWN_SPEAKER
    for front_end in classifier.front_ends:
        if front_end.group == "speaker" and unknown.any():
            raise EmotionError(
                f"normalize=speaker needs the speaker of every recording; those of {unknown.sum():,} are unknown, such "
                f"as {datamodule.table.loc[unknown, 'recording'].iloc[0]}"
            )
    fit_groups(datamodule, classifier.front_ends)


def fit_statistics(classifier: Classifier, encoders: Iterable[Encoder], datamodule: EmotionDataModule) -> None:
    """Fit on the train split what is not trained by gradient.

    Args:
        classifier: Its head gets the scale of the ratings, if it predicts ratings.
        encoders: The encoders that are not initialised from finished runs; their normalisation is fitted.
        datamodule: Set up already.

    Raises:
        EmotionError: a rating is unknown for the whole train split, or there are no votes to train on.
    """
    if datamodule.soft_labels and datamodule.targets is None:
        raise EmotionError(
            f"task=distribution: the {datamodule.corpus.name} corpus has no votes of annotators; use "
            "task=classification"
        )
    for encoder in encoders:
        malloc.trim()
        encoder.fit(lambda: datamodule.batches("train"))
    if isinstance(classifier, Regressor):
        ratings = datamodule.true_ratings("train")
        for name, values in zip(datamodule.ratings, ratings.T, strict=True):
            if len(np.unique(values[~np.isnan(values)])) < 2:
                raise EmotionError(
                    f"the train split has no two different ratings of {name}; leave it out with task.targets, or "
                    "choose another protocol"
                )
        classifier.head.fit(torch.from_numpy(ratings))


def label_metrics(
    config: TrainConfig, datamodule: EmotionDataModule, predictions: pd.DataFrame, trained: Collection[str]
) -> dict[str, Any]:
    """Return the part of `metrics.json` with the metrics of labels.

    Args:
        config: Configuration of the run.
        datamodule: Data module after `setup`.
        predictions: Predictions of one or several splits.
        trained: Labels that occur in the train split of the run.
    """
    held_out, classes = predictions[predictions["split"] != "train"], datamodule.classes
    results: dict[str, Any] = split_metrics(predictions, classes, extra_metrics(config))
    if datamodule.targets is not None:
        results |= by_split(predictions, partial(_distances, datamodule))
    results |= uar_intervals(held_out, classes) | chance(datamodule, *held_out["split"].unique())
    return results | shared_uar(held_out, classes, trained)


def _distances(datamodule: EmotionDataModule, rows: pd.DataFrame) -> dict[str, float]:
    """Return the distances of the probabilities from the votes of annotators."""
    votes = pd.DataFrame(cast(torch.Tensor, datamodule.targets).numpy(), index=datamodule.table["recording"])
    return distribution_metrics(votes.loc[rows["recording"]].to_numpy(), rows[list(datamodule.classes)].to_numpy())


def rating_metrics(predictions: pd.DataFrame, ratings: tuple[str, ...]) -> dict[str, Any]:
    """Return the part of `metrics.json` with the metrics of ratings, and 95 % intervals of CCC over speakers.

    Args:
        predictions: Predictions of one or several splits.
        ratings: Names of the ratings.
    """
    results: dict[str, Any] = rating_split_metrics(predictions, ratings)
    for split, rows in predictions[predictions["split"] != "train"].groupby("split"):
        interval = ccc_interval([rows], ratings)
        if not math.isnan(interval.low):
            results |= {f"{split}/ccc_low": interval.low, f"{split}/ccc_high": interval.high}
    return results


def extra_metrics(config: TrainConfig) -> dict[str, Metric]:
    """Build the metrics of the group `metrics`, by name.

    Raises:
        EmotionError: a name is that of a metric that every run has.
    """
    built = {name: instantiate(target, Metric) for name, target in config.metrics.items()}
    for name in built:
        if name.split("/")[0] in RESERVED:
            raise EmotionError(f"metrics.{name}: every run has a metric of this name; choose another name")
    return built


def uar_intervals(predictions: pd.DataFrame, labels: tuple[str, ...]) -> dict[str, float]:
    """Return `<split>/uar_low` and `uar_high`, the 95 % confidence interval over speakers, where it can be computed."""
    result = {}
    for split, rows in predictions.groupby("split"):
        interval = speaker_jackknife_ci([rows], lambda table: table_uar(table, labels))
        if not math.isnan(interval.low):
            result |= {f"{split}/uar_low": interval.low, f"{split}/uar_high": interval.high}
    return result


def chance(datamodule: EmotionDataModule, *splits: str) -> dict[str, float]:
    """Return `<split>/chance`, the UAR of guessing over the classes that a split holds."""
    counts = {split: recordings_per_class(datamodule.table, split, datamodule.classes) for split in splits}
    return {f"{split}/chance": 1 / sum(map(bool, own.values())) for split, own in counts.items() if any(own.values())}


def shared_uar(predictions: pd.DataFrame, classes: tuple[str, ...], trained: Collection[str]) -> dict[str, float]:
    """Return `<split>/uar_shared`, the UAR over the classes that both the training and the split have.

    The most probable of these classes is predicted, for the recordings that have one of them. It is left out where a
    split has all classes, since it equals the UAR there.

    Args:
        predictions: Predictions of one or several splits.
        classes: Classes of the model.
        trained: Those that occur in the train split.
    """
    result = {}
    for split, rows in predictions.groupby("split"):
        occurring = set(rows["emotion"])
        shared = tuple(name for name in classes if name in occurring and name in trained)
        if len(shared) < 2 or shared == classes:
            continue
        rows = rows[rows["emotion"].isin(shared)]
        chosen = np.array(shared)[rows[list(shared)].to_numpy().argmax(axis=1)]
        result[f"{split}/uar_shared"] = table_uar(rows.assign(predicted=chosen), shared)
    return result


def provenance(
    config: TrainConfig,
    classifier: Classifier,
    datamodule: EmotionDataModule,
    speaker_independent: bool,
    splits: Collection[str],
) -> dict[str, Any]:
    """Return the part of `metrics.json` that describes the evaluation of splits: model, data, protocol, seed."""
    return {
        "version": __version__,
        "name": config.name,
        "model": config.model.name,
        "data": config.data.name,
        "channel": config.data.channel,
        "labels": ",".join(datamodule.ratings) or label_names(config.labels),
        "task": config.task.name,
        "protocol": config.protocol.name,
        "fold": config.protocol.fold,
        "folds": datamodule.protocol.folds,
        "speaker_independent": bool(speaker_independent),
        "transductive": any(is_transductive(datamodule, end.group, *splits) for end in classifier.front_ends),
        "seed": config.seed,
    }


def common_confidence(predictions: pd.DataFrame, classes: tuple[str, ...]) -> float:
    """Return the confidence that two thirds of the dev recordings reach."""
    dev = predictions[predictions["split"] == "dev"]
    return round(float(dev[list(classes)].max(axis=1).quantile(1 / 3)), 4)


def write_results(
    folder: Path,
    predictions: pd.DataFrame,
    results: dict[str, Any],
    labels: tuple[str, ...],
    split: str,
    ratings: tuple[str, ...] = (),
) -> None:
    """Write `predictions.csv`, `metrics.json` and figures of a split: confusion matrix and calibration, or ratings."""
    write_predictions(folder / "predictions.csv", predictions)
    title = f"{results['model']}, {results['data']}, {results['protocol']} fold {results['fold']}, {split}"
    rows = predictions[predictions["split"] == split]
    if ratings:
        save_figure(plot_ratings(rows, ratings, title), folder / "ratings.png")
    else:
        save_figure(plot_confusion_matrix(rows, labels, title), folder / "confusion_matrix.png")
        save_figure(plot_calibration(rows, labels, title), folder / "calibration.png")
    write_json(folder / "metrics.json", results)


def headline(results: dict[str, Any], split: str) -> str:
    """Return the main metrics of a split as text, and chance on test."""
    if f"{split}/ccc" in results:
        prefix = f"{split}/ccc/"
        single = {key.removeprefix(prefix): value for key, value in results.items() if key.startswith(prefix)}
        each = ", ".join(f"{name} {value:.3f}" for name, value in single.items())
        return f"CCC {results[f'{split}/ccc']:.3f} ({each})"
    votes = ""
    if f"{split}/kl_divergence" in results:
        votes = f", Kullback-Leibler divergence from the votes {results[f'{split}/kl_divergence']:.3f}"
    chance = f" (chance {results['test/chance']:.3f})" if split == "test" else ""
    return f"UAR {results[f'{split}/uar']:.3f}, accuracy {results[f'{split}/war']:.3f}{votes}{chance}"


def report_small_splits(datamodule: EmotionDataModule, splits: Sequence[str] = SPLITS) -> None:
    """Warn where a split lacks classes, and where classes have few recordings."""
    counts = {split: recordings_per_class(datamodule.table, split, datamodule.classes) for split in splits}
    for split, own in counts.items():
        missing = [name for name, count in own.items() if not count]
        if missing and split == "train":
            log.warning("train has no recordings of %s; the model cannot recognise them", ", ".join(missing))
        elif missing and len(missing) < len(own):
            log.warning(
                "%s holds %d of %d classes, over which UAR and chance are computed; missing: %s",
                split,
                len(own) - len(missing),
                len(own),
                ", ".join(missing),
            )
    few = {split: {n: c for n, c in own.items() if 0 < c < _FEW} for split, own in counts.items() if split != "train"}
    if few := {split: own for split, own in few.items() if own}:
        counted = "; ".join(
            f"{split} {min(own.values())} of {min(own, key=own.get)}{_and_others(len(own) - 1)}"
            for split, own in few.items()
        )
        log.warning("fewer than %d recordings of a class (%s): UAR is uncertain", _FEW, counted)


def report_missing_ratings(datamodule: EmotionDataModule) -> None:
    """Warn where dev or test lacks a rating, which then does not count in its metrics."""
    for split in ("dev", "test"):
        known = ~np.isnan(datamodule.true_ratings(split))
        missing = [name for name, own in zip(datamodule.ratings, known.T, strict=True) if not own.any()]
        if missing:
            log.warning("%s has no rating of %s, which does not count in its CCC", split, ", ".join(missing))


def _and_others(count: int) -> str:
    return f" and few of {count} other classes" if count > 1 else " and few of another class" if count else ""
