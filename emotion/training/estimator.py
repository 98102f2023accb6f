"""Fit an estimator on the training split; what its grid offers is chosen on dev."""

import logging
import time
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from omegaconf import DictConfig
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from emotion import metrics
from emotion.config import to_plain
from emotion.data.datamodule import EmotionDataModule
from emotion.files import write_text
from emotion.models.base import Classifier
from emotion.training.callbacks import AtomicCheckpoints
from emotion.training.fit import Fitted

log = logging.getLogger(__name__)


def fit_estimator(config: DictConfig, classifier: Classifier, datamodule: EmotionDataModule, run_dir: Path) -> Fitted:
    """Fit the head of `classifier` with each point of its grid, and keep the one that is best on dev.

    Args:
        config: The whole configuration.
        classifier: Its head is an `EstimatorHead`; changed in place.
        datamodule: Already set up.
        run_dir: Receives `checkpoints/`, and `grid.csv`, what each point came to on dev.
    """
    started = time.monotonic()
    (train, labels), (dev, truth) = (_examples(classifier, datamodule, split) for split in ("train", "dev"))
    weights = _weights(config, datamodule, labels)
    figure = config.training.monitor.removeprefix("dev/")
    grid = to_plain(config.model.grid)
    points = [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]
    rows, best, chosen = [], -np.inf, classifier.head.pipeline
    for point in points:
        classifier.head.fit(train, labels, weights, **point)
        found = metrics.summary(truth, _probabilities(classifier, dev), datamodule.classes)[figure]
        told = ", ".join(f"{name} {value}" for name, value in point.items())
        log.info("%s", f"{told or type(classifier.head.pipeline[-1]).__name__}: dev {figure} {found:.3f}")
        rows.append(point | {f"dev/{figure}": found})
        if (score := -found if figure == "loss" else found) > best:
            best, chosen = score, classifier.head.pipeline
    classifier.head.pipeline = chosen
    if rank_zero_only.rank == 0:
        write_text(run_dir / "grid.csv", pd.DataFrame(rows).to_csv(index=False, lineterminator="\n"))
        _save(classifier, run_dir)
    return Fitted(0, time.monotonic() - started, rank_zero_only.rank == 0)


def refit_estimator(config: DictConfig, classifier: Classifier, datamodule: EmotionDataModule, run_dir: Path) -> None:
    """Fit the head once more with what dev chose, on train and dev together, as scikit-learn's searches do.

    Dev cannot judge it after that. What the encoder has learnt, and the scale of its features, stay those of train.

    Args:
        config: The whole configuration.
        classifier: After `fit_estimator`; its head is changed in place.
        datamodule: Already set up.
        run_dir: Its `checkpoints/` receive this head instead of the one before.
    """
    both = [_examples(classifier, datamodule, split) for split in ("train", "dev")]
    vectors, labels = (np.concatenate(parts) for parts in zip(*both, strict=True))
    log.info("fitted once more, on train and dev")
    classifier.head.fit(vectors, labels, _weights(config, datamodule, labels))
    _save(classifier, run_dir)


def _save(classifier: Classifier, run_dir: Path) -> None:
    checkpoints = run_dir / "checkpoints"
    checkpoints.mkdir(parents=True, exist_ok=True)
    state = {f"classifier.{name}": value for name, value in classifier.state_dict().items()}
    AtomicCheckpoints().save_checkpoint({"state_dict": state}, checkpoints / "best.ckpt")
    classifier.head.save(checkpoints)


@torch.no_grad()
def _examples(classifier: Classifier, datamodule: EmotionDataModule, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Vectors, shape (N, D), and class indices of the recordings of a split."""
    classifier.eval()
    vectors = [classifier.encoder(batch).cpu().double().numpy() for batch in datamodule.batches(split)]
    return np.concatenate(vectors), datamodule.dataset(split).label.numpy()


def _weights(config: DictConfig, datamodule: EmotionDataModule, labels: np.ndarray) -> np.ndarray | None:
    return datamodule.class_weights().numpy()[labels] if config.training.class_weights else None


def _probabilities(classifier: Classifier, vectors: np.ndarray) -> np.ndarray:
    return classifier.head(torch.from_numpy(vectors)).double().softmax(dim=1).numpy()
