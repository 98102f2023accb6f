"""Fit the branches of a fusion that are estimators."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from emotion.config.branch import EstimatorBranchConfig
from emotion.config.model import FusionModelConfig
from emotion.data.datamodule import EmotionDataModule
from emotion.errors import EmotionError
from emotion.files import write_text
from emotion.models.base import Classifier
from emotion.models.estimator import EstimatorHead
from emotion.models.estimator_encoder import EstimatorEncoder, estimator_encoders
from emotion.training.estimator import Vectors, search_grid, vectors_of, weights_of_classes, write_grid
from emotion.training.fit import FitSettings, device_of
from emotion.training.process import process_rank

log = logging.getLogger(__name__)

N_FOLDS = 5
"""Maximum number of folds of cross-fitting."""


def fit_branches(
    model: FusionModelConfig, settings: FitSettings, classifier: Classifier, datamodule: EmotionDataModule
) -> None:
    """Fit the branches that are estimators on the train split, and cross-fit the train split.

    As in `sklearn.ensemble.StackingClassifier`, dev, test and new recordings have the log-probabilities of an estimator
    that is fitted on the whole train split, and recordings of the train split those of estimators that are fitted
    without their speaker. An estimator that comes from a finished run is only cross-fitted. A resumed run loads both.

    Args:
        model: Configuration of the fusion.
        settings: Settings; the run directory receives `checkpoints/NAME.skops`, the log-probabilities of the train
            split (`checkpoints/NAME_cross_fitted.csv`) and the dev metric of each point of the grid (`grid_NAME.csv`).
        classifier: Changed in place.
        datamodule: Set up already.
    """
    encoders, checkpoints = estimator_encoders(classifier), settings.run_dir / "checkpoints"
    for name, branch in model.branches.items():
        if not isinstance(branch, EstimatorBranchConfig):
            continue
        encoder = encoders[name]
        if settings.resume_from:
            encoder.estimator.load(checkpoints / f"{name}.skops")
            _load_cross_fitted(encoder, checkpoints / f"{name}_cross_fitted.csv")
            continue
        table = _fit_branch(name, branch, settings, encoder, datamodule)
        _set_cross_fitted(encoder, table)
        if process_rank() == 0:
            _save(encoder, table, name, checkpoints)


def refit_branches(
    settings: FitSettings, classifier: Classifier, datamodule: EmotionDataModule, refit: Callable[[], None]
) -> None:
    """Fit the branches that are estimators on train and dev, with the selected parameters; then the network.

    Args:
        settings: Settings, see `fit_branches`.
        classifier: Changed in place.
        datamodule: Set up already.
        refit: Function that trains the network on train and dev.
    """
    encoders, joined = estimator_encoders(classifier), datamodule.with_dev_in_train()
    tables = {}
    for name, encoder in encoders.items():
        device = device_of(settings.trainer)
        both = vectors_of(encoder.vector.to(device).eval(), joined, "train", device)
        of_classes = weights_of_classes(settings, joined)
        encoder.estimator.fit(both.values, both.labels, both.weights(of_classes))
        tables[name] = _cross_fitted(name, settings, encoder, joined, both, of_classes)
        _set_cross_fitted(encoder, tables[name])
    refit()
    # Last, since a run that is interrupted before needs the estimators that have not seen dev.
    for name, encoder in encoders.items():
        _save(encoder, tables[name], name, settings.run_dir / "checkpoints")


def _save(encoder: EstimatorEncoder, table: pd.DataFrame, name: str, checkpoints: Path) -> None:
    checkpoints.mkdir(parents=True, exist_ok=True)
    encoder.estimator.save(checkpoints / f"{name}.skops")
    text = table.to_csv(index=False, lineterminator="\n", float_format="%.9g")
    write_text(checkpoints / f"{name}_cross_fitted.csv", text)


def _fit_branch(
    name: str,
    branch: EstimatorBranchConfig,
    settings: FitSettings,
    encoder: EstimatorEncoder,
    datamodule: EmotionDataModule,
) -> pd.DataFrame:
    """Fit one branch; return the cross-fitted log-probabilities, one row for each recording of the train split."""
    device, of_classes = device_of(settings.trainer), weights_of_classes(settings, datamodule)
    vector = encoder.vector.to(device).eval()
    train = vectors_of(vector, datamodule, "train", device)
    if not encoder.estimator.is_fitted:
        dev, monitor = vectors_of(vector, datamodule, "dev", device), settings.training.monitor
        rows = search_grid(
            encoder.estimator, branch.grid, train, dev, of_classes, datamodule.classes, monitor, f"{name}: "
        )
        if process_rank() == 0:
            write_grid(settings.run_dir / f"grid_{name}.csv", rows)
    return _cross_fitted(name, settings, encoder, datamodule, train, of_classes)


def _cross_fitted(
    name: str,
    settings: FitSettings,
    encoder: EstimatorEncoder,
    datamodule: EmotionDataModule,
    train: Vectors,
    of_classes: np.ndarray | None,
) -> pd.DataFrame:
    """Return the cross-fitted log-probabilities of the train split, one row for each recording."""
    known = datamodule.table[datamodule.table["split"] == "train"].iloc[train.rows]
    fold, log_probabilities = cross_fit(
        encoder.estimator, train, known["speaker"].to_numpy(), of_classes, settings.seed
    )
    log.info("%s: cross-fitted in %d folds", name, fold.max() + 1)
    table = known[["recording", "speaker"]].assign(fold=fold).reset_index(drop=True)
    return table.join(pd.DataFrame(log_probabilities, columns=list(datamodule.classes)))


def cross_fit(
    estimator: EstimatorHead, train: Vectors, speakers: np.ndarray, of_classes: np.ndarray | None, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Compute the log-probabilities of each recording by an estimator that was fitted without its fold.

    No speaker is in two folds. If there is a single speaker, folds are stratified by class.

    Args:
        estimator: Estimator whose parameters are used; it is left as it is.
        train: Vectors of N recordings.
        speakers: Speaker of each recording, shape (N,).
        of_classes: Weight of each class, or None.
        seed: Seed of stratified folds.

    Returns:
        Fold of each recording, shape (N,), and log-probabilities, shape (N, num_classes), float32.

    Raises:
        EmotionError: there are too few recordings.
    """
    fold, fitted = np.zeros(len(train.values), int), estimator.pipeline
    log_probabilities = np.zeros((len(fold), estimator.num_classes), np.float32)
    weights = train.weights(of_classes)
    for number, (others, own) in enumerate(_folds(train.labels, speakers, seed)):
        estimator.fit(train.values[others], train.labels[others], None if weights is None else weights[others])
        logs = estimator(torch.from_numpy(train.values[own])).log_softmax(dim=1)
        fold[own], log_probabilities[own] = number, logs.numpy()
    estimator.pipeline = fitted
    return fold, log_probabilities


def _folds(labels: np.ndarray, speakers: np.ndarray, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    from sklearn.model_selection import GroupKFold, StratifiedKFold

    n_speakers = len(np.unique(speakers))
    if n_speakers > 1:
        return GroupKFold(min(N_FOLDS, n_speakers)).split(labels, labels, speakers)
    most = int(np.bincount(labels).min(where=np.bincount(labels) > 0, initial=N_FOLDS)) if len(labels) else 0
    if most < 2:
        raise EmotionError(
            "an estimator cannot be cross-fitted: of a single speaker, the train split needs two recordings of each "
            "class; use a model of kind estimator"
        )
    return StratifiedKFold(most, shuffle=True, random_state=seed).split(labels, labels)


def _load_cross_fitted(encoder: EstimatorEncoder, path: Path) -> None:
    try:
        _set_cross_fitted(encoder, pd.read_csv(path, dtype={"recording": str, "speaker": str}))
    except (OSError, ValueError, KeyError) as error:
        raise EmotionError(f"cannot read {path}, without which the run cannot be resumed: {error}") from error


def _set_cross_fitted(encoder: EstimatorEncoder, table: pd.DataFrame) -> None:
    values = table.iloc[:, 3:].to_numpy(np.float32, copy=True)
    if values.shape[1] != encoder.embed_dim:
        raise ValueError(f"{encoder.embed_dim} columns of log-probabilities are needed")
    encoder.set_cross_fitted(table["recording"].tolist(), torch.from_numpy(values))
