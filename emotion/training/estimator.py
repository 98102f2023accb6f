"""Fit an estimator on the train split; its parameters are searched on dev."""

import logging
import time
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from emotion import metrics
from emotion.config.model import EstimatorConfig
from emotion.data.datamodule import EmotionDataModule
from emotion.data.dataset import on_device
from emotion.files import write_text
from emotion.models.base import Classifier
from emotion.training.callbacks import AtomicCheckpoints
from emotion.training.fit import FitSettings, Fitted, device_of

log = logging.getLogger(__name__)


def fit_estimator(
    model: EstimatorConfig, settings: FitSettings, classifier: Classifier, datamodule: EmotionDataModule
) -> Fitted:
    """Fit the head of a classifier with each point of a grid, and keep the best one on dev.

    With `model.refit`, that one is fitted once more on train and dev, as in scikit-learn's searches. The encoder and
    the scaling of its features stay those of train.

    Args:
        model: The estimator and its grid.
        settings: Its run directory receives `checkpoints/`, and `grid.csv`, the dev metric of each point.
        classifier: Its head is an `EstimatorHead`; changed in place.
        datamodule: Set up already.
    """
    started, device, run_dir = time.monotonic(), device_of(settings.trainer), settings.run_dir
    (train, labels), (dev, truth) = (
        (_vectors(classifier, datamodule, split, device), datamodule.dataset(split).label.numpy())
        for split in ("train", "dev")
    )
    of_classes = datamodule.class_weights().numpy() if settings.training.class_weights else None
    figure, grid = settings.training.monitor.removeprefix("dev/"), model.grid
    points = [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]
    rows, best, chosen = [], -np.inf, classifier.head.pipeline
    for point in points:
        _fit(classifier, train, labels, of_classes, **point)
        found = metrics.classification_metrics(truth, _probabilities(classifier, dev), datamodule.classes)[figure]
        shown = ", ".join(f"{name} {value}" for name, value in point.items())
        log.info("%s", f"{shown or type(classifier.head.pipeline[-1]).__name__}: dev {figure} {found:.3f}")
        rows.append(point | {f"dev/{figure}": found})
        if (score := -found if figure == "loss" else found) > best:
            best, chosen = score, classifier.head.pipeline
    classifier.head.pipeline = chosen
    if rank_zero_only.rank == 0:
        write_text(run_dir / "grid.csv", pd.DataFrame(rows).to_csv(index=False, lineterminator="\n"))
        _save(classifier, run_dir)

    def refit() -> None:
        log.info("fitted once more, on train and dev")
        _fit(classifier, np.concatenate([train, dev]), np.concatenate([labels, truth]), of_classes)
        _save(classifier, run_dir)

    return Fitted(0, time.monotonic() - started, rank_zero_only.rank == 0, refit if model.refit else None)


def _fit(
    classifier: Classifier, vectors: np.ndarray, labels: np.ndarray, of_classes: np.ndarray | None, **point: Any
) -> None:
    classifier.head.fit(vectors, labels, None if of_classes is None else of_classes[labels], **point)


def _save(classifier: Classifier, run_dir: Path) -> None:
    checkpoints = run_dir / "checkpoints"
    checkpoints.mkdir(parents=True, exist_ok=True)
    state = {f"classifier.{name}": value for name, value in classifier.state_dict().items()}
    AtomicCheckpoints().save_checkpoint({"state_dict": state}, checkpoints / "best.ckpt")
    classifier.head.save(checkpoints)


@torch.no_grad()
def _vectors(classifier: Classifier, datamodule: EmotionDataModule, split: str, device: torch.device) -> np.ndarray:
    encoder, row = classifier.to(device).eval().encoder, 0
    # In one block: small ones between what each batch takes and frees would keep the system from having it back.
    vectors = np.empty((len(datamodule.dataset(split)), encoder.embed_dim))
    for batch in datamodule.batches(split):
        found = encoder(on_device(batch, device))
        vectors[row : row + len(found)] = found.cpu().numpy()
        row += len(found)
    return vectors


def _probabilities(classifier: Classifier, vectors: np.ndarray) -> np.ndarray:
    return classifier.head(torch.from_numpy(vectors)).double().softmax(dim=1).numpy()
