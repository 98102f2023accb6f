"""Evaluate a finished run on one split of its own corpus or of another."""

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import DictConfig, OmegaConf

from emotion import runs
from emotion.batch import Batch
from emotion.composition import datamodule_of, load_classifier
from emotion.config.compose import key_of
from emotion.config.schema import TrainConfig
from emotion.config.validate import validate
from emotion.corpora.base import UNKNOWN_SPEAKER
from emotion.data.datamodule import EmotionDataModule
from emotion.data.groups import adapt_to_groups
from emotion.errors import EmotionError, suggest
from emotion.files import write_text
from emotion.labels import OF_CORPUS, scheme
from emotion.metrics import breakdown
from emotion.metrics.predictions import mask_modality, predict
from emotion.models.base import Classifier
from emotion.pipelines.results import (
    cache_features,
    headline,
    label_metrics,
    provenance,
    rating_metrics,
    report_small_splits,
    write_results,
)
from emotion.pipelines.run_config import DECIDE_SPLITS, merge_run_config
from emotion.statistics.intervals import MIN_SPEAKERS
from emotion.training.fit import device_of

log = logging.getLogger(__name__)

_OWN_KEYS = ("run", "split", "without", "adapt")
_OF_TRAINING = ("parameters", "epochs", "fit_seconds")


def evaluate(composed: DictConfig, overrides: list[str]) -> dict[str, Any]:
    """Evaluate one split with a finished run, rebuilt from the run's own configuration.

    Args:
        composed: `run`, `split`, `without` and `adapt`, and a composed configuration of which only the keys of
            `overrides` are used.
        overrides: Overrides of the command line.

    Returns:
        The metrics, as written to `RUN/evaluations/<data>-<protocol>-<fold>-<split>/metrics.json`.

    Raises:
        EmotionError: there is no such run or split, or the run was trained on recordings of the split.
    """
    split, lost = composed.split, composed.without
    if split not in ("dev", "test"):
        raise EmotionError(f"split={split} is neither dev nor test")
    run_dir = runs.require(Path(composed.run))
    own = runs.load_config(run_dir)
    saved = runs.load_composed(run_dir)
    merged = merge_run_config(saved, composed, _of_evaluation(overrides))
    # The labels and the input of the model, not the defaults of the corpus.
    merged.data.sample_rate, merged.labels = saved.data.sample_rate, saved.labels
    merged.data.speech_only = saved.data.get("speech_only", False)
    config = validate(merged)
    classifier = load_classifier(run_dir, own)
    datamodule = _set_up_data(run_dir, config, _same_splits(saved, merged), split)
    unseen = _refuse_training_recordings(run_dir, datamodule, split)
    device = device_of(config.trainer)
    cache_features(classifier, datamodule, device)
    if composed.adapt:
        adapt_to_groups(datamodule, classifier.front_ends, split, composed.adapt)
    predictions = predict(classifier, datamodule, split, device, _mask(lost, datamodule))
    results = _results(run_dir, config, classifier, datamodule, predictions, unseen, split)
    suffix = (f"_without_{lost}" if lost else "") + (f"_adapted_to_{composed.adapt}" if composed.adapt else "")
    results["name"] += suffix
    results["transductive"] |= bool(composed.adapt)
    if lost:
        results["without"] = lost
    folder = run_dir / "evaluations" / f"{_evaluation_name(own, config)}-{split}{suffix}"
    write_results(folder, predictions, results, datamodule.classes, split, datamodule.ratings)
    runs.write_config(folder, merged)
    log.info("%s on %s: %s", run_dir, split, headline(results, split))
    if datamodule.ratings:
        _write_breakdown_of_ratings(folder, predictions, datamodule)
    else:
        report_small_splits(datamodule, [split])
        _write_breakdown(folder, predictions, datamodule, lost)
    log.info("wrote %s", folder)
    return results


def _of_evaluation(overrides: list[str]) -> list[str]:
    """Return the overrides that change the run's configuration; refuse those of the model."""
    for override in overrides:
        key = key_of(override)
        if key.split(".")[0] not in (*_OWN_KEYS, "data", "protocol", "trainer", "metrics"):
            raise EmotionError(
                f"{key} cannot be changed for a finished run; evaluate.py takes "
                f"{', '.join(_OWN_KEYS)}, data, protocol, trainer and metrics"
            )
    return [override for override in overrides if key_of(override) not in _OWN_KEYS]


def _same_splits(saved: DictConfig, merged: DictConfig) -> bool:
    """Return True if an evaluation is on the splits of the run itself."""
    keys = (*DECIDE_SPLITS, "data.corpus")
    return all(OmegaConf.select(saved, key) == OmegaConf.select(merged, key) for key in keys)


def _set_up_data(run_dir: Path, config: TrainConfig, same_splits: bool, split: str) -> EmotionDataModule:
    splits = runs.load_recordings(run_dir) if same_splits else None
    datamodule = datamodule_of(config, splits)
    datamodule.setup()
    if splits is not None:
        expected, found = (t.loc[t["split"] == split, "recording"] for t in (splits, datamodule.table))
        runs.require_recordings(run_dir, expected, found, config.data.on_error != "raise")
    return datamodule


def _refuse_training_recordings(run_dir: Path, datamodule: EmotionDataModule, split: str) -> bool:
    """Refuse to evaluate a model on what it was trained or selected on; return True if all speakers are unseen."""
    seen = runs.load_training_recordings(run_dir, split)
    evaluated = datamodule.table[datamodule.table["split"] == split]
    shared = evaluated["recording"].isin(seen["recording"])
    if shared.any():
        raise EmotionError(
            f"{int(shared.sum())} of the {len(evaluated)} recordings of this {split} split were used to train or "
            f"select the model (see {run_dir}/splits.csv); choose a protocol and fold in which they are not"
        )
    return not evaluated["speaker"].isin([*seen["speaker"], UNKNOWN_SPEAKER]).any()


def _mask(modality: str | None, datamodule: EmotionDataModule) -> Callable[[Batch], Batch] | None:
    """Return a function that masks a modality of a batch; refuse an unknown modality, or the only one."""
    if not modality:
        return None
    if modality not in datamodule.modalities:
        raise EmotionError(f"without={modality}: {suggest(modality, datamodule.modalities)}")
    if len(datamodule.modalities) == 1:
        raise EmotionError(f"without={modality} is refused: {modality} is the only input of the run")
    return partial(mask_modality, modality=modality)


def _results(
    run_dir: Path,
    config: TrainConfig,
    classifier: Classifier,
    datamodule: EmotionDataModule,
    predictions: pd.DataFrame,
    unseen: bool,
    split: str,
) -> dict[str, Any]:
    """Return the content of `metrics.json`."""
    independent = datamodule.protocol.is_speaker_independent and unseen
    if datamodule.ratings:
        results = rating_metrics(predictions, datamodule.ratings)
    else:
        results = label_metrics(config, datamodule, predictions, _trained_classes(run_dir, config))
    results |= provenance(config, classifier, datamodule, independent, [split])
    return results | {key: value for key, value in runs.load_metrics(run_dir).items() if key in _OF_TRAINING}


def _trained_classes(run_dir: Path, config: TrainConfig) -> set[str]:
    """Return the classes that occur in the train split of a run."""
    recordings, labels = runs.load_recordings(run_dir), scheme(config.labels)
    emotions = recordings.loc[recordings["split"] == "train", "emotion"]
    return {labels[emotion] for emotion in emotions.unique() if emotion in labels}


def _evaluation_name(own: TrainConfig, config: TrainConfig) -> str:
    channel = "" if config.data.channel == own.data.channel else f"_{config.data.channel}"
    return f"{config.data.name}{channel}-{config.protocol.name}-{config.protocol.fold}"


def _write_breakdown(folder: Path, predictions: pd.DataFrame, datamodule: EmotionDataModule, lost: str | None) -> None:
    """Write the metrics by emotion and by group, and report them."""
    emotions, groups = (
        breakdown.metrics_by_emotion(predictions, datamodule.classes),
        _by_group(predictions, datamodule, lost),
    )
    for name, table in (("by_emotion", emotions), ("by_group", groups)):
        write_text(folder / f"{name}.csv", table.to_csv(index=False, lineterminator="\n"))
    log.info(
        "\n%s\n\n%s\n",
        breakdown.format_metrics(emotions),
        breakdown.format_metrics(breakdown.drop_speaker_groups(groups)),
    )
    if 1 < groups["speakers"][0] < MIN_SPEAKERS:
        log.info("uar_low and uar_high are rough estimates: there are only %d speakers", groups["speakers"][0])


def _write_breakdown_of_ratings(folder: Path, predictions: pd.DataFrame, datamodule: EmotionDataModule) -> None:
    """Write the metrics by rating and by group, and report them."""
    ratings = breakdown.metrics_by_rating(predictions, datamodule.ratings)
    groups = breakdown.ratings_by_group(predictions, datamodule.table, datamodule.ratings)
    for name, table in (("by_rating", ratings), ("by_group", groups)):
        write_text(folder / f"{name}.csv", table.to_csv(index=False, lineterminator="\n"))
    shown = breakdown.drop_speaker_groups(groups)
    log.info("\n%s\n\n%s\n", breakdown.format_metrics(ratings), breakdown.format_metrics(shown))
    if 1 < groups["speakers"][0] < MIN_SPEAKERS:
        log.info("ccc_low and ccc_high are rough estimates: there are only %d speakers", groups["speakers"][0])


def _by_group(predictions: pd.DataFrame, datamodule: EmotionDataModule, lost: str | None) -> pd.DataFrame:
    modalities = [modality for modality in datamodule.modalities if modality != lost]
    human_accuracy = datamodule.corpus.human_accuracy(modalities, datamodule.channel)
    same_labels = datamodule.classes == OF_CORPUS.get(datamodule.corpus.name)
    return breakdown.metrics_by_group(
        [predictions], datamodule.table, datamodule.classes, human_accuracy if same_labels else {}
    )
