"""A model for a few labelled recordings of one's own, on the features of a finished run."""

import logging
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
import torch

from emotion import metrics, runs
from emotion.composition import datamodule_of, load_classifier
from emotion.config.compose import compose, quoted
from emotion.corpora.tables import read_table
from emotion.data.datamodule import EmotionDataModule
from emotion.models.base import Classifier, Encoder
from emotion.models.estimator import EstimatorHead
from emotion.pipelines.results import cache_features
from emotion.pipelines.train import train
from emotion.protocols import SPLITS
from emotion.training.estimator import Vectors, vectors_of

log = logging.getLogger(__name__)

_FRACTIONS = (0.25, 0.5, 1.0)
_DRAWS = 5
_WORTHWHILE = 0.02  # UAR that twice the labels gained, above which more are advised


def adapt(root: Path, start: Path, run_dir: Path, table: Path | None = None, speaker: str | None = None) -> None:
    """Fit a logistic regression to labelled recordings, on the vectors of a finished run; report how labels help.

    Speakers are separated between train, dev and test if they are known. The strength of regularisation is chosen on
    dev; the final model is fitted on train and dev.

    Args:
        root: Directory of the recordings, see `emotion.corpora.folder.Folder`.
        start: Run whose features are used.
        run_dir: Run directory to write, for `emotion predict --run`.
        table: See `Folder`.
        speaker: See `Folder`.

    Raises:
        EmotionError: the recordings cannot be used, or `start` has no features to fit a model on.
    """
    known = speaker or (table is not None and "speaker" in read_table(table, ["emotion"]))
    overrides = [
        *("data=folder", f"data.root={quoted(str(root.resolve()))}", "labels=from_data"),
        f"protocol={'speakers5' if known else 'random'}",
        *("model=logistic_regression", f"model.vector.init_from={quoted(str(start.resolve()))}"),
        *("model.grid.C=[0.0001,0.001,0.01,0.1]", "training.refit=true"),
        f"name={quoted(run_dir.name)}",
    ]
    if table:
        overrides.append(f"data.corpus.table={quoted(str(table.resolve()))}")
    if speaker:
        overrides.append(f"data.corpus.speaker={quoted(speaker)}")
    train(compose("train", overrides), run_dir, overrides, hints=False)
    if not known:
        log.info("speakers are unknown, so recordings of one person may be in train and test: expect less of others")
    _report_labels(run_dir)


def _report_labels(run_dir: Path) -> None:
    """Report the UAR with parts of the labels, and whether more are likely to help."""
    config = runs.load_config(run_dir)
    classifier, datamodule = load_classifier(run_dir, config), datamodule_of(config, runs.load_recordings(run_dir))
    logging.disable(logging.WARNING)  # the training has reported the same recordings
    try:
        datamodule.setup()
        cache_features(classifier, datamodule, torch.device("cpu"))
    finally:
        logging.disable(logging.NOTSET)
    found = runs.load_metrics(run_dir)
    if {"test/uar_low", "test/uar_high"} <= set(found):
        low, high = found["test/uar_low"], found["test/uar_high"]
        log.info("test UAR %.3f, 95 %% interval over speakers [%.2f, %.2f]", found["test/uar"], low, high)
    curve = label_curve(classifier, datamodule)
    shown = ", ".join(f"{row.uar:.3f} with {row.labels}" for row in curve.itertuples())
    log.info("labels: UAR %s (test; means of %d draws)", shown, _DRAWS)
    gained = curve["uar"].iloc[-1] - curve["uar"].iloc[-2]
    if gained >= _WORTHWHILE:
        log.info("twice the labels gained %.3f: more labels are likely to help", gained)
    else:
        log.info("twice the labels gained %.3f: other speakers or conditions help more than more of the same", gained)


def label_curve(classifier: Classifier, datamodule: EmotionDataModule) -> pd.DataFrame:
    """Return the test UAR of the estimator of a classifier, fitted again on parts of train and dev.

    Args:
        classifier: Classifier with an `EstimatorHead`, which is fitted again.
        datamodule: Set up already.

    Returns:
        A table with the columns `labels`, the number of recordings, and `uar`.
    """
    cpu, encoder = torch.device("cpu"), cast(Encoder, classifier.encoder)
    parts = {split: vectors_of(encoder, datamodule, split, cpu) for split in SPLITS}
    pool = Vectors(*map(np.concatenate, zip(parts["train"], parts["dev"], strict=True)))
    test, head, rows = parts["test"], cast(EstimatorHead, classifier.head), []
    for fraction in _FRACTIONS:
        for draw in range(_DRAWS if fraction < 1 else 1):
            picked = _stratified(pool.labels, fraction, np.random.default_rng(draw))
            head.fit(pool.values[picked], pool.labels[picked], None)
            probabilities = head(torch.from_numpy(test.values)).double().softmax(dim=1).numpy()
            found = metrics.classification_metrics(test.labels, probabilities, datamodule.classes)["uar"]
            rows.append({"labels": len(picked), "uar": found})
    return pd.DataFrame(rows).groupby("labels", as_index=False).mean()


def _stratified(labels: np.ndarray, fraction: float, random: np.random.Generator) -> np.ndarray:
    """Return the indices of a random part of each class, at least one."""
    parts = []
    for label in np.unique(labels):
        own = random.permutation(np.flatnonzero(labels == label))
        parts.append(own[: max(1, round(fraction * len(own)))])
    return np.concatenate(parts)
