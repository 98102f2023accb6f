"""Train a model: from a composed configuration to a run directory."""

import logging
import shlex
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytorch_lightning as pl
from omegaconf import DictConfig
from pytorch_lightning.loggers import Logger, TensorBoardLogger
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from emotion import malloc, runs, warm_start
from emotion.composition import datamodule_of, kind_of
from emotion.config.compose import key_of
from emotion.config.schema import TrainConfig
from emotion.config.target import require_arguments
from emotion.config.validate import validate
from emotion.data.datamodule import EmotionDataModule
from emotion.errors import EmotionError, shown_command
from emotion.kinds import ModelKind
from emotion.labels import FROM_DATA
from emotion.metrics.predictions import predict
from emotion.models.base import Classifier, Encoder
from emotion.pipelines.job import Job, prepare_job
from emotion.pipelines.results import (
    cache_features,
    common_confidence,
    extra_metrics,
    fit_statistics,
    headline,
    label_metrics,
    provenance,
    rating_metrics,
    report_missing_ratings,
    report_small_splits,
    write_results,
)
from emotion.plots.reconstructions import write_reconstructions
from emotion.protocols import SPLITS
from emotion.training.fit import FitSettings, Fitted, device_of, require_device
from emotion.training.loggers import log_end, log_start, open_loggers
from emotion.training.process import process_rank

log = logging.getLogger(__name__)


def train(composed: DictConfig, run_dir: Path, overrides: list[str], hints: bool = True) -> float:
    """Train a model, select its epoch on dev, then evaluate dev and, unless `test=false`, test once.

    Args:
        composed: Composed configuration; with `resume`, that of the run is used, changed by `overrides`.
        run_dir: Run directory.
        overrides: Overrides of the command line.
        hints: True to print the next commands.

    Returns:
        The dev metric by which the epoch was selected.

    Raises:
        EmotionError: the input is wrong; nothing is written before the configuration is valid.
    """
    validate(composed)
    if process_rank():  # of a distributed fit, whose first process holds the directory
        logging.getLogger("emotion").setLevel(logging.ERROR)  # the first process reports
        return _train(prepare_job(composed, run_dir, overrides), hints)
    if composed.resume:
        runs.require(run_dir)
    with runs.claimed(run_dir):
        return _train(prepare_job(composed, run_dir, overrides), hints)


def _train(job: Job, hints: bool) -> float:
    # What can be refused without the data is refused before they are read.
    require_device(job.config.trainer)
    require_arguments(job.config.optimizer.target, Optimizer)
    require_arguments(job.config.scheduler.target, LRScheduler)
    for target in job.config.logger.values():
        require_arguments(target, Logger)
    for target in job.config.callbacks.values():
        require_arguments(target, pl.Callback)
    extra_metrics(job.config)
    datamodule = _set_up_data(job)
    config = job.config
    kind = kind_of(config, len(datamodule.outputs))
    # After the data are set up: MTCNN uses random numbers too, unless faces are cached.
    pl.seed_everything(config.seed, verbose=False)
    classifier = kind.build()
    pretraining = _initialise(job, kind, classifier, datamodule)
    describe = partial(
        runs.describe,
        job.run_dir,
        job.composed,
        job.overrides,
        _splits_table(job, datamodule, pretraining),
        job.starts,
    )
    if process_rank() == 0 and not job.resume_from:
        describe()  # the description of a resumed run changes only once an epoch of it is finished
    _report_start(config, kind, classifier, datamodule)
    with open_loggers(config.logger, job.run_dir, config.name) as loggers:
        if process_rank() == 0:
            log_start(loggers, runs.hyperparameters(job.run_dir, job.composed), "CCC" if datamodule.ratings else "UAR")
        fitted = kind.fit(_fit_settings(job, describe, loggers), classifier, datamodule)
        if not fitted.is_main:
            return 0.0
        if job.resume_from:
            describe()  # also if no epoch was left
        predictions = _predict(config, classifier, datamodule, fitted)
        results = _evaluate(config, kind, classifier, datamodule, predictions, fitted)
        results |= _write(job, classifier, datamodule, predictions, results, loggers)
    _report_end(job.run_dir, config, results, hints)
    return results[results["objective"]]


def _set_up_data(job: Job) -> EmotionDataModule:
    """Set up the data module, and refuse splits that cannot be trained on."""
    config = job.config
    datamodule = datamodule_of(config, job.splits)
    datamodule.setup()
    # Everything that loads the run later needs the names of the outputs.
    if datamodule.ratings:
        if any(key_of(override) == "labels" for override in job.overrides):
            raise EmotionError("labels are of models of emotions; leave the key out with task=regression")
        job.composed.task.targets = list(datamodule.ratings)
        job.config = validate(job.composed)
    elif config.labels == FROM_DATA:
        job.composed.labels = list(datamodule.classes)
        job.config = validate(job.composed)
    if job.splits is not None:
        may_lack = config.data.on_error != "raise"
        runs.require_recordings(job.run_dir, job.splits["recording"], datamodule.table["recording"], may_lack)
        runs.require_same_labels(job.run_dir, job.splits, datamodule.table)
    malloc.trim()
    for split in SPLITS:
        datamodule.dataset(split)  # an empty split fails here, not after training
    _require_batches(config, len(datamodule.dataset("train")))
    return datamodule


def _require_batches(config: TrainConfig, recordings: int) -> None:
    """Refuse limits below one batch of the training split."""
    size = config.data.batch_size
    batches = recordings // size if recordings > size else 1
    limits = {
        "limit_train_batches": config.trainer.limit_train_batches,
        "overfit_batches": config.trainer.overfit_batches,
    }
    for key, limit in limits.items():
        if isinstance(limit, float) and 0 < limit < 1 and int(batches * limit) == 0:
            raise EmotionError(
                f"trainer.{key}={limit:g}: at least {1 / batches:.3g}, or a whole number, is allowed, since the train "
                f"split has {batches} batches"
            )


def _initialise(job: Job, kind: ModelKind, classifier: Classifier, datamodule: EmotionDataModule) -> pd.DataFrame:
    """Load or fit everything that precedes the first step; return the recordings of the pretraining."""
    fresh: list[Encoder] = []
    if job.resume_from:
        pretraining, job.starts = runs.load_pretraining(job.run_dir)
        classifier.load_state_dict(runs.load_weights(job.run_dir, job.resume_from.name))
    else:
        pretraining = warm_start.pretraining_recordings(job.config.protocol, job.starts, datamodule.table)
        fresh = warm_start.load_initial_weights(classifier, job.config, job.starts)
    cache_features(classifier, datamodule, device_of(job.config.trainer), training=True)
    if not job.resume_from:
        fit_statistics(classifier, fresh, datamodule)
    malloc.trim()
    return pretraining


def _splits_table(job: Job, datamodule: EmotionDataModule, pretraining: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of `splits.csv`; recordings that were removed before a resume were trained on nevertheless."""
    table = datamodule.table
    refitted = table[(table["split"] == "dev") & job.config.training.refit]
    parts = [table, pretraining, refitted.assign(split=runs.REFIT)]
    if job.splits is not None:
        parts.append(job.splits[~job.splits["recording"].isin(table["recording"])])
    return pd.concat(parts)


def _report_start(config: TrainConfig, kind: ModelKind, classifier: Classifier, datamodule: EmotionDataModule) -> None:
    protocol, sizes = config.protocol, {split: len(datamodule.dataset(split)) for split in SPLITS}
    independent = "speaker-independent" if datamodule.protocol.is_speaker_independent else "SPEAKER-DEPENDENT"
    counts = ", ".join(f"{size:,} {split}" for split, size in sizes.items())
    log.info("protocol %s, fold %s (%s): %s recordings", protocol.name, protocol.fold, independent, counts)
    if datamodule.ratings:
        log.info("ratings: %s", ", ".join(datamodule.ratings))
        report_missing_ratings(datamodule)
    else:
        report_small_splits(datamodule)
    if kind.is_neural:
        parameters = f"{kind.num_parameters(classifier):,}"
        log.info("%s, %s parameters, on %s", config.model.name, parameters, config.trainer.accelerator)


def _fit_settings(job: Job, describe: Callable[[], None], loggers: Sequence[Logger]) -> FitSettings:
    config = job.config
    return FitSettings(
        config.training,
        config.trainer,
        config.optimizer,
        config.scheduler,
        config.augment,
        config.seed,
        job.run_dir,
        job.resume_from,
        describe if job.resume_from else None,
        loggers,
        config.callbacks,
    )


def _predict(
    config: TrainConfig, classifier: Classifier, datamodule: EmotionDataModule, fitted: Fitted
) -> pd.DataFrame:
    """Predict every split; with `training.refit`, the classifier is fitted again before test."""
    device = device_of(config.trainer)
    predictions = [predict(classifier, datamodule, split, device) for split in ("train", "dev")]
    if fitted.refit:
        fitted.refit()
    if config.test:
        predictions.append(predict(classifier, datamodule, "test", device))
    return pd.concat(predictions, ignore_index=True)


def _evaluate(
    config: TrainConfig,
    kind: ModelKind,
    classifier: Classifier,
    datamodule: EmotionDataModule,
    predictions: pd.DataFrame,
    fitted: Fitted,
) -> dict[str, Any]:
    """Return the content of `metrics.json`."""
    held_out = predictions[predictions["split"] != "train"]
    if datamodule.ratings:
        results = rating_metrics(predictions, datamodule.ratings)
    else:
        trained = set(predictions.loc[predictions["split"] == "train", "emotion"])
        results = label_metrics(config, datamodule, predictions, trained)
        results["min_confidence"] = common_confidence(predictions, datamodule.classes)
    results |= provenance(
        config, classifier, datamodule, datamodule.protocol.is_speaker_independent, held_out["split"].unique()
    )
    results["objective"] = kind.objective(config.training.monitor)
    parameters = kind.num_parameters(classifier)
    results |= {"parameters": parameters, "epochs": fitted.epochs, "fit_seconds": round(fitted.seconds, 1)}
    return results if fitted.temperature is None else results | {"temperature": fitted.temperature}


def _write(
    job: Job,
    classifier: Classifier,
    datamodule: EmotionDataModule,
    predictions: pd.DataFrame,
    results: dict[str, Any],
    loggers: Sequence[Logger],
) -> dict[str, float]:
    """Write predictions, metrics and figures; return additional metrics of autoencoders."""
    from emotion.plots import tensorboard

    label = job.config.model.train_label
    extra = write_reconstructions(job.run_dir, classifier, datamodule, label) if label else {}
    results = results | extra
    held_out = predictions[predictions["split"] != "train"].reset_index(drop=True)
    last = predictions["split"].iloc[-1]
    write_results(job.run_dir, held_out, results, datamodule.classes, last, datamodule.ratings)
    if any(isinstance(logger, TensorBoardLogger) for logger in loggers):
        tensorboard.write_summary(job.run_dir, job.composed, classifier, datamodule, held_out, results)
    figures = tensorboard.result_figures(held_out, datamodule)
    log_end(loggers, tensorboard.final_metrics(results), figures, results["epochs"])
    return extra


def _report_end(run_dir: Path, config: TrainConfig, results: dict[str, Any], hints: bool) -> None:
    log.info("dev  %s", headline(results, "dev"))
    if config.test:
        log.info("test %s", headline(results, "test"))
    here = Path.cwd()
    shown = run_dir.relative_to(here) if run_dir.is_relative_to(here) else run_dir
    log.info("run  %s", shown)
    if not hints:
        return
    log.info("")
    commands = [shown_command("evaluate", f"run={shown}")]
    if any(issubclass(target.resolve(), TensorBoardLogger) for target in config.logger.values()):
        commands.insert(
            0, f"tensorboard --logdir {'outputs' if shown.parts[0] == 'outputs' else shlex.quote(str(shown))}"
        )
    if config.data.name == "demo":
        real = shown_command("train", "data=ravdess", "data.root=DIR")
        commands.append(f"{real}   (the demo corpus only shows that everything works)")
    for number, command in enumerate(commands):
        log.info("%s %s", "     " if number else "next:", command)
