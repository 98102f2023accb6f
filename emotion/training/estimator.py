"""Fit a scikit-learn estimator on the train split, with a grid search on dev."""

import logging
import time
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import pandas as pd
import torch

from emotion import metrics
from emotion.batch import on_device, select_items
from emotion.config.branch import EstimatorConfig
from emotion.data.datamodule import EmotionDataModule
from emotion.data.table import class_weights
from emotion.files import write_text
from emotion.models.base import Classifier, Encoder
from emotion.models.build import checkpoint_state
from emotion.models.estimator import FILE, EstimatorHead
from emotion.models.late_fusion import Fusion
from emotion.training.callbacks import AtomicCheckpoints
from emotion.training.fit import FitSettings, Fitted, device_of
from emotion.training.process import process_rank

log = logging.getLogger(__name__)


class Vectors(NamedTuple):
    """The vectors of a split.

    Attributes:
        values: Shape (N, D), float64.
        labels: Class indices, shape (N,).
        rows: Row in the split of each recording, shape (N,); those that lack the modality are left out.
    """

    values: np.ndarray
    labels: np.ndarray
    rows: np.ndarray

    def weights(self, of_classes: np.ndarray | None) -> np.ndarray | None:
        """Return the weight of each recording, shape (N,), or None."""
        return None if of_classes is None else of_classes[self.labels]


def fit_estimator(
    model: EstimatorConfig, settings: FitSettings, classifier: Classifier, datamodule: EmotionDataModule
) -> Fitted:
    """Fit the head of a classifier with each point of a grid; keep the best one on dev.

    With `training.refit`, the best one is fitted again on train and dev, as in scikit-learn's searches. The encoder and
    the scaling of its features are still those of train.

    Args:
        model: The estimator and its grid.
        settings: Settings; the run directory receives `checkpoints/` and `grid.csv`, the dev metric of each point.
        classifier: Classifier with an `EstimatorHead`, changed in place.
        datamodule: Set up already.
    """
    started, device, run_dir = time.monotonic(), device_of(settings.trainer), settings.run_dir
    classifier.to(device).eval()
    encoder = cast(Encoder | Fusion, classifier.encoder)
    train, dev = (vectors_of(encoder, datamodule, split, device) for split in ("train", "dev"))
    of_classes = weights_of_classes(settings, datamodule)
    head = cast(EstimatorHead, classifier.head)
    rows = search_grid(head, model.grid, train, dev, of_classes, datamodule.classes, settings.training.monitor)
    if process_rank() == 0:
        write_grid(run_dir / "grid.csv", rows)
        _save(classifier, run_dir)

    def refit() -> None:
        log.info("fitted again, on train and dev")
        both = Vectors(*map(np.concatenate, zip(train, dev, strict=True)))
        head.fit(both.values, both.labels, both.weights(of_classes))
        _save(classifier, run_dir)

    return Fitted(0, time.monotonic() - started, process_rank() == 0, refit=refit if settings.training.refit else None)


def weights_of_classes(settings: FitSettings, datamodule: EmotionDataModule) -> np.ndarray | None:
    """Return the weight of each class, shape (num_classes,), or None for equal weights."""
    if not settings.training.class_weights:
        return None
    return class_weights(datamodule.table, len(datamodule.classes)).numpy()


def search_grid(
    head: EstimatorHead,
    grid: Mapping[str, Sequence[Any]],
    train: Vectors,
    dev: Vectors,
    of_classes: np.ndarray | None,
    classes: tuple[str, ...],
    monitor: str,
    prefix: str = "",
) -> list[dict[str, Any]]:
    """Fit an estimator on train with each point of a grid; keep the best one on dev.

    Args:
        head: Changed in place.
        grid: Values of each parameter.
        train: Vectors of the train split.
        dev: Vectors of the dev split.
        of_classes: Weight of each class, or None.
        classes: Names of the classes.
        monitor: Metric that selects the point, such as `dev/uar`.
        prefix: Text before each line of the log.

    Returns:
        The parameters and the dev metric of each point.
    """
    name = monitor.removeprefix("dev/")
    rows, best, chosen = [], -np.inf, head.pipeline
    for values in product(*grid.values()):
        point = dict(zip(grid, values, strict=True))
        head.fit(train.values, train.labels, train.weights(of_classes), **point)
        probabilities = head(torch.from_numpy(dev.values)).double().softmax(dim=1).numpy()
        found = metrics.classification_metrics(dev.labels, probabilities, classes)[name]
        shown = ", ".join(f"{parameter} {value}" for parameter, value in point.items())
        log.info("%s", f"{prefix}{shown or type(head.pipeline[-1]).__name__}: dev {name} {found:.3f}")
        rows.append(point | {f"dev/{name}": found})
        if (score := -found if name == "loss" else found) > best:
            best, chosen = score, head.pipeline
    head.pipeline = chosen
    return rows


def write_grid(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write the result of `search_grid` as CSV."""
    write_text(path, pd.DataFrame(rows).to_csv(index=False, lineterminator="\n"))


@torch.no_grad()
def vectors_of(encoder: Encoder | Fusion, datamodule: EmotionDataModule, split: str, device: torch.device) -> Vectors:
    """Return the embeddings of a split in evaluation mode.

    Args:
        encoder: Fusion or single encoder, on `device`; a fusion has a vector for every recording.
        datamodule: Set up already.
        split: `train` or `dev`.
        device: Device of the computation.
    """
    labels, count = datamodule.dataset(split).label.numpy(), 0
    # One array for all vectors: many small ones would fragment memory.
    values, known = np.empty((len(labels), encoder.embed_dim)), np.ones(len(labels), bool)
    seen = 0
    for batch in datamodule.batches(split):
        batch, size = on_device(batch, device), len(batch["label"])
        if isinstance(encoder, Encoder):
            has = encoder.present(batch)
            known[seen : seen + size] = has.cpu().numpy()
            batch = batch if has.all() else select_items(batch, has)
        seen += size
        if len(batch["label"]):
            found = encoder(batch)
            values[count : count + len(found)] = found.cpu().numpy()
            count += len(found)
    return Vectors(values[:count], labels[known], known.nonzero()[0])


def _save(classifier: Classifier, run_dir: Path) -> None:
    checkpoints = run_dir / "checkpoints"
    checkpoints.mkdir(parents=True, exist_ok=True)
    AtomicCheckpoints().save_checkpoint({"state_dict": checkpoint_state(classifier)}, checkpoints / "best.ckpt")
    cast(EstimatorHead, classifier.head).save(checkpoints / FILE)
