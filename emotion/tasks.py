"""What `train.py` and `evaluate.py` do, from a composed configuration to files in a run directory."""

import logging
import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytorch_lightning as pl
import torch
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from emotion import __version__, memory, parents, runs
from emotion.config import key_of, to_plain
from emotion.corpora.base import UNKNOWN_SPEAKER
from emotion.data.build import build_datamodule
from emotion.data.datamodule import EmotionDataModule
from emotion.data.dataset import Batch
from emotion.errors import EmotionError, suggest
from emotion.features.front_end import AudioFrontEnd
from emotion.files import write_json, write_text
from emotion.labels import FROM_DATA, OF_CORPUS, classes, label_names
from emotion.metrics import breakdown
from emotion.metrics.predictions import mask_modality, predict, split_metrics, table_uar, write_predictions
from emotion.models.autoencoder import ErrorHead
from emotion.models.base import Classifier, Encoder
from emotion.models.build import build_classifier
from emotion.models.estimator import EstimatorHead
from emotion.plots.figure import save_figure
from emotion.plots.metrics import plot_confusion_matrix
from emotion.plots.reconstructions import write_reconstructions
from emotion.protocols import SPLITS
from emotion.statistics.intervals import MIN_SPEAKERS, speaker_jackknife_ci
from emotion.training.estimator import fit_estimator
from emotion.training.fit import Fitted, device_of, fit, require_device
from emotion.training.reconstruction import fit_autoencoder
from emotion.values import check_config

log = logging.getLogger(__name__)

_DECIDE_SPLITS = ("data.name", "data.channel", "data.train_channel", "protocol.name", "protocol.fold", "labels")
"""The keys that decide which recordings a run is trained, chosen and tested on, besides the recordings themselves."""
_OF_EVALUATION = ("run", "split", "without")
_FEW = 10  # recordings of a class
_OF_TRAINING = ("parameters", "epochs", "fit_seconds")


def train(config: DictConfig, run_dir: Path, overrides: list[str], hints: bool = True) -> float:
    """Train a model, choose its epoch on dev, then judge dev and, once, test, unless `test=false`.

    Args:
        config: The whole configuration; with `resume` set, that of the run is used, changed by `overrides`.
        run_dir: Where everything goes.
        overrides: What was typed.
        hints: Whether to tell which commands come next.

    Returns:
        The dev figure that chose the epoch.
    """
    check_config(config)
    if rank_zero_only.rank:  # of a distributed fit, whose first process holds the directory
        logging.getLogger("emotion").setLevel(logging.ERROR)  # the first process tells it all
        return _train(config, run_dir, overrides, hints)
    if config.resume:
        runs.require(run_dir)
    with runs.claimed(run_dir):
        return _train(config, run_dir, overrides, hints)


def _train(config: DictConfig, run_dir: Path, overrides: list[str], hints: bool) -> float:
    resume_from, splits, starts = None, None, {}
    if config.resume:
        config, resume_from = _resumed(config, run_dir, overrides)
        overrides = runs.load_overrides(run_dir) + overrides
        splits = runs.load_sides(run_dir)
    elif rank_zero_only.rank == 0 and runs.is_begun(run_dir):
        raise runs.DirectoryTakenError(
            f"{run_dir} holds a run already; choose another run_dir, or go on with resume={run_dir}"
        )
    else:
        config, starts = parents.adopt(config, overrides)
    require_device(config.trainer)
    pl.seed_everything(config.seed, verbose=False)
    datamodule = build_datamodule(config, splits)
    datamodule.setup()
    if config.labels == FROM_DATA:
        config.labels = list(datamodule.classes)  # so that everything that reopens the run finds them
    if splits is not None:
        may_lack = config.data.on_problem != "stop"
        runs.require_recordings(run_dir, splits["recording"], datamodule.table["recording"], may_lack)
    memory.give_back()
    sizes = {split: len(datamodule.dataset(split)) for split in SPLITS}  # an empty split fails here, not after training
    _require_batches(config, sizes["train"])
    classifier = build_classifier(config, len(datamodule.classes))
    inherited, starts = _start(config, run_dir, classifier, datamodule, starts, resume_from)
    describe = partial(
        runs.describe, run_dir, config, overrides, _sides(config, datamodule.table, inherited), dict(starts)
    )
    if rank_zero_only.rank == 0 and not resume_from:
        describe()  # what goes on is described anew only once an epoch of it is finished: it may fail before

    independent = "speaker-independent" if config.protocol.speaker_independent else "SPEAKER-DEPENDENT"
    log.info("protocol %s, fold %s (%s): %s", config.protocol.name, config.protocol.fold, independent, _in_words(sizes))
    _report_small_splits(datamodule)
    fitted = _fit(config, classifier, datamodule, run_dir, resume_from, describe)
    if not fitted.is_main:
        return 0.0
    if resume_from:
        describe()  # even if no epoch was left
    judged = _judge(config, classifier, datamodule, fitted)
    predictions = judged[judged["split"] != "train"].reset_index(drop=True)
    results = split_metrics(judged, datamodule.classes) | _intervals(predictions, datamodule.classes)
    results |= _chance(datamodule, *predictions["split"].unique())
    results |= _provenance(config, classifier, datamodule, config.protocol.speaker_independent)
    results |= {"parameters": _size(classifier), "epochs": fitted.epochs, "fit_seconds": round(fitted.seconds, 1)}
    if isinstance(classifier.head, ErrorHead):
        results |= write_reconstructions(run_dir, classifier, datamodule, config.model.only)
    _write(run_dir, predictions, results, datamodule.classes, judged["split"].iloc[-1])

    from emotion.plots.tensorboard import write_summary

    write_summary(run_dir, config, classifier, datamodule, predictions, results)
    _say(run_dir, results)
    if hints:
        _say_what_next(run_dir, config)
    return results[runs.objective(config)]


def _require_batches(config: DictConfig, recordings: int) -> None:
    """Refuse limits below one batch of the training split."""
    size = config.data.batch_size
    batches = recordings // size if recordings > size else 1
    for key in ("limit_train_batches", "overfit_batches"):
        limit = config.trainer.get(key)
        if isinstance(limit, float) and 0 < limit < 1 and int(batches * limit) == 0:
            raise EmotionError(
                f"trainer.{key}={limit:g}: at least {1 / batches:.3g}, or a whole number, is allowed, since the train "
                f"split has {batches} batches"
            )


def _sides(config: DictConfig, table: pd.DataFrame, inherited: pd.DataFrame) -> pd.DataFrame:
    """The rows of `splits.csv`."""
    refitted = table[(table["split"] == "dev") & bool(config.model.get("refit"))]
    return pd.concat([table, inherited, refitted.assign(split=runs.REFITTED)])


def _start(
    config: DictConfig,
    run_dir: Path,
    classifier: Classifier,
    datamodule: EmotionDataModule,
    starts: dict[str, Path],
    resume_from: Path | None,
) -> tuple[pd.DataFrame, dict[str, Path]]:
    """Give `classifier` all it has before its first step; returns what it inherits, and the runs it starts from."""
    fresh: list[Encoder] = []
    if resume_from:
        inherited, starts = runs.load_inherited(run_dir)
        classifier.load_state_dict(runs.load_weights(run_dir, resume_from.name))
    else:
        inherited = parents.seen_before(config, starts, datamodule.table)
        fresh = parents.load(classifier, config, starts)
    _cache_features(config, classifier, datamodule, device_of(config))
    for encoder in fresh:
        memory.give_back()
        encoder.fit(lambda: datamodule.batches("train"))
    memory.give_back()
    return inherited, starts


def _fit(
    config: DictConfig,
    classifier: Classifier,
    datamodule: EmotionDataModule,
    run_dir: Path,
    resume_from: Path | None,
    describe: Callable[[], None],
) -> Fitted:
    """Fit `classifier` in the way of its head; a run that goes on calls `describe` with its first checkpoint."""
    if isinstance(classifier.head, EstimatorHead):
        return fit_estimator(config, classifier, datamodule, run_dir)
    log.info("%s, %s parameters, on %s", config.model.name, f"{_size(classifier):,}", config.trainer.accelerator)
    fit_it = fit_autoencoder if isinstance(classifier.head, ErrorHead) else fit
    resumed = {"resume_from": resume_from, "on_first_epoch": describe} if resume_from else {}
    return fit_it(config, classifier, datamodule, run_dir, **resumed)


def _judge(config: DictConfig, classifier: Classifier, datamodule: EmotionDataModule, fitted: Fitted) -> pd.DataFrame:
    """What `classifier` says of every split; before test it is refitted, where that is asked for."""
    device = device_of(config)
    judged = [predict(classifier, datamodule, split, device) for split in ("train", "dev")]
    if fitted.refit:
        fitted.refit()
    if config.test:
        judged.append(predict(classifier, datamodule, "test", device))
    return pd.concat(judged, ignore_index=True)


def _size(classifier: Classifier) -> int:
    """How many numbers it learns."""
    fitted = classifier.head.size if isinstance(classifier.head, EstimatorHead) else 0
    return fitted + sum(parameter.numel() for parameter in classifier.parameters())


def _resumed(config: DictConfig, run_dir: Path, overrides: list[str]) -> tuple[DictConfig, Path]:
    """The configuration of a run that goes on, changed by `overrides`, and the checkpoint from which it does."""
    checkpoint = run_dir / "checkpoints" / "last.ckpt"
    if not checkpoint.is_file():
        raise EmotionError(
            f"{run_dir} cannot be resumed: no epoch was finished, so there is no {checkpoint}; give the command again "
            "that began it"
        )
    if any(key_of(override) in runs.STARTS for override in overrides):
        raise EmotionError("what a run starts from cannot be changed when it is resumed: leave model.….run out")
    saved = runs.load_config(run_dir)
    changed = transplant(saved, config, overrides)
    for key in _DECIDE_SPLITS:
        wanted, own = OmegaConf.select(changed, key), OmegaConf.select(saved, key)
        if wanted != own:
            raise EmotionError(f"{key}={wanted} cannot be changed when a run is resumed, which has {key}={own}")
    epochs = runs.trained_epochs(run_dir)
    if changed.trainer.max_epochs < epochs:
        raise EmotionError(
            f"trainer.max_epochs={changed.trainer.max_epochs}: {epochs} epochs of {run_dir} are trained already; at "
            f"least {epochs} are allowed"
        )
    if changed.trainer.max_epochs > saved.trainer.max_epochs and saved.scheduler.name != "constant":
        raise EmotionError(
            f"the learning rate of {run_dir} was planned for {saved.trainer.max_epochs} epochs (scheduler "
            f"{saved.scheduler.name}); only runs with scheduler=constant can be made longer"
        )
    return changed, checkpoint


def evaluate(config: DictConfig, overrides: list[str]) -> dict[str, Any]:
    """Judge one split with a finished run, rebuilt from the run's own configuration.

    Args:
        config: `run` and `split`, and a whole configuration of which only what `overrides` name counts.
        overrides: What was typed.

    Returns:
        The figures, as written to `RUN/evaluations/<data>-<protocol>-<fold>-<split>/metrics.json`.
    """
    split = config.split
    if split not in ("dev", "test"):
        raise EmotionError(f"split={split} is neither dev nor test")
    run_dir = runs.require(Path(config.run))
    own = runs.load_config(run_dir)
    changed = transplant(own, config, _about_what_is_judged(overrides))
    # The model's, whatever the corpus usually has.
    changed.data.sample_rate, changed.labels = own.data.sample_rate, own.labels
    device = device_of(changed)
    classifier = runs.load_classifier(run_dir, own, len(classes(own.labels)))

    splits = runs.load_sides(run_dir) if _same_recordings(own, changed) else None
    datamodule = build_datamodule(changed, splits)
    datamodule.setup()
    if splits is not None:
        expected, found = (t.loc[t["split"] == split, "recording"] for t in (splits, datamodule.table))
        runs.require_recordings(run_dir, expected, found, changed.data.on_problem != "stop")
    strangers = _refuse_training_recordings(run_dir, datamodule, split)
    _cache_features(own, classifier, datamodule, device)
    predictions = predict(classifier, datamodule, split, device, _withholding(config.without, datamodule))
    independent = changed.protocol.speaker_independent and strangers
    results = split_metrics(predictions, datamodule.classes) | _intervals(predictions, datamodule.classes)
    results |= _chance(datamodule, split)
    results |= _provenance(changed, classifier, datamodule, independent)
    results |= {key: value for key, value in runs.load_metrics(run_dir).items() if key in _OF_TRAINING}
    lacking = f"_without_{config.without}" if config.without else ""
    results["name"] += lacking
    protocol, channel = changed.protocol, changed.data.channel
    data = changed.data.name if channel == own.data.channel else f"{changed.data.name}_{channel}"
    folder = run_dir / "evaluations" / f"{data}-{protocol.name}-{protocol.fold}-{split}{lacking}"
    emotions = breakdown.metrics_by_emotion(predictions, datamodule.classes)
    groups = _by_group(predictions, datamodule, config.without)
    _write(folder, predictions, results, datamodule.classes, split)
    for name, table in (("by_emotion", emotions), ("by_group", groups)):
        write_text(folder / f"{name}.csv", table.to_csv(index=False, lineterminator="\n"))
    runs.write_config(folder, changed)
    log.info("%s on %s: %s (chance %.3f)", run_dir, split, _headline(results, split), results[f"{split}/chance"])
    _report_small_splits(datamodule, [split])
    log.info(
        "\n%s\n\n%s\n",
        breakdown.format_metrics(emotions),
        breakdown.format_metrics(breakdown.drop_speaker_groups(groups)),
    )
    if 1 < groups["speakers"][0] < MIN_SPEAKERS:
        log.info("uar_low and uar_high are rough estimates: there are only %d speakers", groups["speakers"][0])
    log.info("written to %s", folder)
    return results


def _same_recordings(own: DictConfig, changed: DictConfig) -> bool:
    """Return True if an evaluation is about the splits of the run itself."""
    keys = (*_DECIDE_SPLITS, "data.corpus")
    return all(OmegaConf.select(own, key) == OmegaConf.select(changed, key) for key in keys)


def _withholding(modality: str | None, datamodule: EmotionDataModule) -> Callable[[Batch], Batch] | None:
    """What takes a modality from a batch; refuses one that the run does not take in, or its only one."""
    if not modality:
        return None
    if modality not in datamodule.modalities:
        raise EmotionError(f"without={modality}: {suggest(modality, datamodule.modalities)}")
    if len(datamodule.modalities) == 1:
        raise EmotionError(f"without={modality} leaves nothing: the run takes in nothing else")
    return partial(mask_modality, modality=modality)


def _intervals(predictions: pd.DataFrame, labels: tuple[str, ...]) -> dict[str, float]:
    """`<split>/uar_low` and `uar_high`: where the UAR of other people may lie; left out where nobody can tell."""
    result = {}
    for split, rows in predictions.groupby("split"):
        interval = speaker_jackknife_ci([rows], lambda table: table_uar(table, labels))
        if not math.isnan(interval.low):
            result |= {f"{split}/uar_low": interval.low, f"{split}/uar_high": interval.high}
    return result


def _by_group(predictions: pd.DataFrame, datamodule: EmotionDataModule, lost: str | None) -> pd.DataFrame:
    modalities = [modality for modality in datamodule.modalities if modality != lost]
    people = datamodule.corpus.human_accuracy(modalities, datamodule.channel)
    asked_the_same = datamodule.classes == OF_CORPUS.get(datamodule.corpus.name)
    return breakdown.metrics_by_group(
        [predictions], datamodule.table, datamodule.classes, people if asked_the_same else {}
    )


def _about_what_is_judged(overrides: list[str]) -> list[str]:
    """The overrides that say what is judged and where; how the model hears is the run's own, and refused here."""
    for override in overrides:
        key = key_of(override)
        if key.split(".")[0] not in (*_OF_EVALUATION, "data", "protocol", "trainer"):
            raise EmotionError(
                f"{key} belongs to the run; evaluate.py takes {', '.join(_OF_EVALUATION)}, data, protocol and trainer"
            )
    return [override for override in overrides if key_of(override) not in _OF_EVALUATION]


def transplant(saved: DictConfig, composed: DictConfig, overrides: list[str]) -> DictConfig:
    """The saved configuration of a run with what `overrides` name taken from the `composed` one.

    Another corpus brings its own protocol, unless one is named too, and tells whether faces have to be found in it.
    """
    config = OmegaConf.create(OmegaConf.to_container(saved))
    keys = [key_of(override) for override in overrides]
    recipes = [key for key in keys if key in ("experiment", "debug")]
    if recipes:
        raise EmotionError(f"{recipes[0]}= makes a new configuration; this run keeps its own, and takes single keys")
    if "data" in keys and "protocol" not in keys:
        keys.insert(0, "protocol")
    if "data" in keys:
        config.faces = parents.faces_elsewhere(saved.faces, composed.faces)
    # Whole groups first, so that a value inside one counts.
    for key in sorted(keys, key=lambda key: "." in key):
        if key not in ("resume", "run_dir"):
            OmegaConf.update(config, key, OmegaConf.select(composed, key), merge=False)
    return config


def _cache_features(
    config: DictConfig, classifier: Classifier, datamodule: EmotionDataModule, device: torch.device
) -> None:
    """Compute once what does not change in training; take each speaker's statistics where normalisation wants them."""
    for front_end in classifier.front_ends:
        if config.features.cache and isinstance(front_end, AudioFrontEnd) and not front_end.learns:
            own = {key: value for key, value in to_plain(config.features).items() if key not in ("normalize", "cache")}
            # The weights themselves are part of the key, wherever they come from.
            sets = {n: {k: v for k, v in given.items() if k not in runs.WEIGHTS} for n, given in own["sets"].items()}
            described = own | {"sets": sets, "sample_rate": config.data.sample_rate}
            datamodule.cache_features(front_end, described, device)
        unknown = datamodule.table["speaker"] == UNKNOWN_SPEAKER
        if front_end.transductive and unknown.any():
            raise EmotionError(
                f"normalize=speaker needs the speaker of every recording; those of {unknown.sum():,} are unknown, such "
                f"as {datamodule.table.loc[unknown, 'recording'].iloc[0]}"
            )
        front_end.fit_speakers(datamodule.all_batches(), datamodule.num_speakers)


def _refuse_training_recordings(run_dir: Path, datamodule: EmotionDataModule, split: str) -> bool:
    """Refuse to judge a model on what it was trained or chosen on; returns whether all speakers are new to it."""
    seen = runs.load_seen(run_dir, split)
    judged = datamodule.table[datamodule.table["split"] == split]
    shared = judged["recording"].isin(seen["recording"])
    if shared.any():
        raise EmotionError(
            f"{int(shared.sum())} of the {len(judged)} recordings of this {split} split were used to train or choose "
            f"the run, as {run_dir}/splits.csv tells; its figure would be no result"
        )
    return not judged["speaker"].isin([*seen["speaker"], UNKNOWN_SPEAKER]).any()


def _provenance(
    config: DictConfig, classifier: Classifier, datamodule: EmotionDataModule, speaker_independent: bool
) -> dict[str, Any]:
    return {
        "version": __version__,
        "name": config.name,
        "model": config.model.name,
        "data": config.data.name,
        "channel": config.data.channel,
        "labels": label_names(config.labels),
        "protocol": config.protocol.name,
        "fold": config.protocol.fold,
        "folds": datamodule.protocol.folds,
        "speaker_independent": bool(speaker_independent),
        "transductive": any(front_end.transductive for front_end in classifier.front_ends),
        "seed": config.seed,
    }


def _write(
    folder: Path, predictions: pd.DataFrame, results: dict[str, Any], labels: tuple[str, ...], split: str
) -> None:
    write_predictions(folder / "predictions.csv", predictions)
    title = f"{results['model']}, {results['data']}, {results['protocol']} fold {results['fold']}, {split}"
    rows = predictions[predictions["split"] == split]
    save_figure(plot_confusion_matrix(rows, labels, title), folder / "confusion_matrix.png")
    write_json(folder / "metrics.json", results)


def _in_words(sizes: dict[str, int]) -> str:
    return ", ".join(f"{size:,} {split}" for split, size in sizes.items()) + " recordings"


def _headline(results: dict[str, Any], split: str) -> str:
    return f"UAR {results[f'{split}/uar']:.3f}, accuracy {results[f'{split}/war']:.3f}"


def _chance(datamodule: EmotionDataModule, *splits: str) -> dict[str, float]:
    """Return `<split>/chance`, the UAR of guessing: over the classes that a split holds, as its UAR is."""
    counts = {split: datamodule.recordings_per_class(split) for split in splits}
    return {f"{split}/chance": 1 / sum(map(bool, own.values())) for split, own in counts.items() if any(own.values())}


def _report_small_splits(datamodule: EmotionDataModule, splits: Sequence[str] = SPLITS) -> None:
    """Warn where a split lacks classes, and where recalls rest on a few recordings."""
    counts = {split: datamodule.recordings_per_class(split) for split in splits}
    for split, own in counts.items():
        missing = [name for name, count in own.items() if not count]
        if missing and split == "train":
            log.warning("train holds no recordings of %s, which the model cannot learn", ", ".join(missing))
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


def _and_others(count: int) -> str:
    return f" and few of {count} other classes" if count > 1 else " and few of another class" if count else ""


def _say(run_dir: Path, results: dict[str, Any]) -> None:
    log.info("dev  %s", _headline(results, "dev"))
    if "test/uar" in results:
        log.info("test %s (chance %.3f)", _headline(results, "test"), results["test/chance"])
    log.info("run  %s", _shown(run_dir))


def _shown(run_dir: Path) -> Path:
    here = Path.cwd()
    return run_dir.relative_to(here) if run_dir.is_relative_to(here) else run_dir


def _say_what_next(run_dir: Path, config: DictConfig) -> None:
    log.info("")
    log.info("next: tensorboard --logdir outputs")
    log.info("      python evaluate.py run=%s", _shown(run_dir))
    if config.data.name == "demo":
        log.info("      python train.py data=ravdess data.root=DIR   (the demo corpus proves plumbing only)")
