"""Combine finished runs into an ensemble, which is a run itself: `emotion ensemble`."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
from omegaconf import DictConfig, OmegaConf

from emotion import __version__, runs, warm_start
from emotion.composition import kind_of
from emotion.config.compose import to_plain
from emotion.config.validate import validate
from emotion.errors import EmotionError
from emotion.labels import classes
from emotion.metrics.predictions import split_metrics
from emotion.models.build import checkpoint_state
from emotion.models.estimator_encoder import estimator_encoders
from emotion.pipelines.results import common_confidence, headline, shared_uar, uar_intervals, write_results
from emotion.reports.runs import Run
from emotion.reports.systems import ensemble_predictions, log_probabilities
from emotion.statistics.log_linear import fit_weights
from emotion.training.callbacks import AtomicCheckpoints

log = logging.getLogger(__name__)

_SHARED = ("data", "channel", "labels", "protocol", "fold", "folds", "speaker_independent")
"""The metrics that all members share."""
_OF_MODEL = ("name", "kind", "head", "init_from", "freeze")
"""Keys of a model that its branch in the ensemble does not have, or sets itself."""


def group_members(systems: Sequence[Sequence[Run]], over_seeds: bool) -> dict[str, list[Run]]:
    """Group runs into the members of ensembles.

    Args:
        systems: Runs of each system: of one fold and seed, or of several folds and seeds.
        over_seeds: True to join all seeds of a fold.

    Returns:
        The members by a name for the ensemble, such as `fold0-seed1`.

    Raises:
        EmotionError: a system lacks a fold or seed of the others, or has it twice.
    """
    if all(len(runs_of_system) == 1 for runs_of_system in systems):
        return {"": _require_several([run for (run,) in systems])}
    groups: dict[str, list[Run]] = {}
    for runs_of_system in systems:
        own = [_group_of(run, over_seeds) for run in runs_of_system]
        if not over_seeds and len(set(own)) < len(own):
            twice = next(name for name in own if own.count(name) > 1)
            raise EmotionError(
                f"{runs_of_system[0].directory.parent} has several runs of {twice}; name one system at a time, or join "
                "seeds with --over-seeds"
            )
        for name, run in zip(own, runs_of_system, strict=True):
            groups.setdefault(name, []).append(run)
    for name, members in groups.items():
        for runs_of_system in systems:
            if not any(_group_of(run, over_seeds) == name for run in runs_of_system):
                raise EmotionError(f"{runs_of_system[0].name} has no run of {name}, which other members have")
        _require_several(members)
    return groups


def _require_several(members: list[Run]) -> list[Run]:
    if len(members) < 2:
        raise EmotionError(
            f"{members[0].directory} is one run; an ensemble needs two or more: name further models, or "
            "join the seeds of one with --over-seeds"
        )
    return members


def _group_of(run: Run, over_seeds: bool) -> str:
    fold = f"fold{run.metrics['fold']}"
    return fold if over_seeds else f"{fold}-seed{run.metrics['seed']}"


def combine(members: Sequence[Run], run_dir: Path, name: str, weighted: bool) -> None:
    """Write the run directory of an ensemble.

    Its predictions are the weighted sums of the log-probabilities of its members. Dev and test are not predicted again:
    the dev predictions of a run with `training.refit` are of the model that had not seen dev.

    Args:
        members: Finished runs of one fold, with the same recordings in dev and test.
        run_dir: Run directory to write.
        name: Name of the ensemble in results.
        weighted: True to fit the weights on dev, False for equal ones.

    Raises:
        EmotionError: the members do not fit together, or one is not a network or estimator of one input.
    """
    first = members[0]
    _require_same_data(members)
    labels, tables = classes(first.metrics["labels"]), [run.predictions for run in members]
    weights = np.full(len(members), 1 / len(members))
    if weighted:
        dev = (tables[0]["split"] == "dev").to_numpy()
        truth = pd.Index(labels).get_indexer(pd.Index(tables[0].loc[dev, "emotion"]))
        weights = fit_weights(log_probabilities(tables, labels)[:, dev], truth).round(4)  # as in config.yaml
    composed = _configuration(members, name, weights)
    with runs.claimed(run_dir):
        if runs.is_begun(run_dir) or runs.foreign_file(run_dir):
            raise EmotionError(f"{run_dir} holds files already; choose a new --output")
        parameters = _write_model(composed, members, run_dir)
        predictions = cast(pd.DataFrame, ensemble_predictions(tables, labels, weights))
        results = _metrics(members, predictions, labels, composed) | {"parameters": parameters}
        write_results(run_dir, predictions, results, labels, "test")
    shown = ", ".join(f"{branch} {weight:.2f}" for branch, weight in composed.model.fusion.weights.items())
    log.info("%s  weights: %s", run_dir, shown)
    for split in ("dev", "test"):
        alone = max(float(run.metrics[f"{split}/uar"]) for run in members)
        log.info("%-4s %s, best member %.3f", split, headline(results, split), alone)


def _require_same_data(members: Sequence[Run]) -> None:
    first = members[0]
    for run in members[1:]:
        for key in _SHARED:
            if run.metrics[key] != first.metrics[key]:
                raise EmotionError(
                    f"{run.directory} has {key} {run.metrics[key]}, {first.directory} has {first.metrics[key]}; the "
                    "members of an ensemble share their data, protocol and fold"
                )
        columns = ["split", "recording", "emotion"]
        if not run.predictions[columns].equals(first.predictions[columns]):
            raise EmotionError(f"{run.directory} has other dev or test recordings than {first.directory}")


def _names(members: Sequence[Run]) -> list[str]:
    """Return a name for the branch of each member: that of its model, with a number where several have it."""
    models = [str(run.metrics["model"]) for run in members]
    return [
        f"{model}_{models[:number].count(model) + 1}" if models.count(model) > 1 else model
        for number, model in enumerate(models)
    ]


def _configuration(members: Sequence[Run], name: str, weights: np.ndarray) -> DictConfig:
    """Return the configuration of the ensemble: a fusion whose branches start from the members."""
    names = _names(members)
    configs = [runs.load_composed(run.directory) for run in members]
    branches = {}
    for run, branch, config in zip(members, names, configs, strict=True):
        model = to_plain(config.model, resolve=True)
        if model["kind"] not in ("neural", "estimator"):
            raise EmotionError(
                f"{run.directory} is a model of kind {model['kind']}; members of an ensemble have one input: give the "
                "runs of its branches"
            )
        own = {key: value for key, value in model.items() if key not in _OF_MODEL} | {"init_from": str(run.directory)}
        branches[branch] = own | ({"freeze": True} if model["kind"] == "neural" else {"input": "vector"})
    composed = configs[0]
    for config in configs:  # the tables of action units and the preparation of faces, where the first has none
        inputs = validate(config).model.modalities
        for modality, key in (("action_units", "action_units"), ("face", "faces")):
            if modality in inputs:
                OmegaConf.update(composed, key, to_plain(config[key], resolve=True), merge=False)
    composed.name, composed.augment, composed.training.refit = name, {}, False
    composed.features.n_augmented_copies = 0
    composed.model = {
        "name": "ensemble",
        "kind": "fusion",
        "head": {"hidden": [], "dropout": 0.0},
        "fusion": {
            "_target_": "emotion.models.late_fusion.MeanLogProbability",
            "modality_dropout": 0.0,
            "weights": dict(zip(names, weights.tolist(), strict=True)),
        },
        "branches": branches,
    }
    return composed


def _write_model(composed: DictConfig, members: Sequence[Run], run_dir: Path) -> int:
    """Write the description and the checkpoint of the ensemble; return the number of its parameters."""
    merged, starts = warm_start.merge_initial_runs(composed, [])
    config = validate(merged)
    kind = kind_of(config, len(classes(config.labels)))
    classifier = kind.build()
    warm_start.load_initial_weights(classifier, config, starts)
    checkpoints = run_dir / "checkpoints"
    AtomicCheckpoints().save_checkpoint({"state_dict": checkpoint_state(classifier)}, checkpoints / "best.ckpt")
    for branch, encoder in estimator_encoders(classifier).items():
        encoder.estimator.save(checkpoints / f"{branch}.skops")
    splits = pd.concat([runs.load_splits(run.directory) for run in members]).drop_duplicates()
    runs.describe(run_dir, merged, [], splits, starts)
    return kind.num_parameters(classifier)


def _metrics(
    members: Sequence[Run], predictions: pd.DataFrame, labels: tuple[str, ...], composed: DictConfig
) -> dict[str, Any]:
    first, every = members[0].metrics, [run.metrics for run in members]
    chance = {key: value for key, value in first.items() if key.endswith("/chance")}
    trained = set(runs.load_splits(members[0].directory).query("split == 'train'")["emotion"])
    return {
        **split_metrics(predictions, labels),
        **uar_intervals(predictions, labels),
        **chance,
        **shared_uar(predictions, labels, trained),
        "version": __version__,
        "name": composed.name,
        "model": composed.model.name,
        **{key: first[key] for key in _SHARED},
        "transductive": any(metrics["transductive"] for metrics in every),
        "seed": min(metrics["seed"] for metrics in every),
        "objective": "dev/uar",
        "min_confidence": common_confidence(predictions, labels),
        "epochs": sum(metrics.get("epochs", 0) for metrics in every),
        "fit_seconds": round(sum(metrics.get("fit_seconds", 0.0) for metrics in every), 1),
        "members": [run.name for run in members],
    }
