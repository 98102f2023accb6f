"""The configuration of a training, merged with that of the run that it resumes or is initialised from."""

from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from omegaconf import DictConfig, OmegaConf

from emotion import runs, warm_start
from emotion.config.branch import NetworkBranchConfig
from emotion.config.compose import key_of
from emotion.config.schema import TrainConfig
from emotion.config.target import require_arguments
from emotion.config.validate import validate
from emotion.errors import EmotionError
from emotion.features.base import AcousticFeatures
from emotion.models.base import Backbone
from emotion.pipelines.run_config import DECIDE_SPLITS, merge_run_config
from emotion.training.process import process_rank


@dataclass
class Job:
    """A training before it starts.

    Attributes:
        run_dir: Run directory.
        composed: Configuration as it is saved.
        config: The same, validated.
        overrides: Overrides of the command line, with those of the run that is resumed.
        starts: Runs from which encoders are initialised, by the keys of the encoders.
        resume_from: Checkpoint from which training continues, or None.
        splits: Recordings of the run that is resumed, or None.
    """

    run_dir: Path
    composed: DictConfig
    config: TrainConfig
    overrides: list[str]
    starts: dict[str, Path] = field(default_factory=dict)
    resume_from: Path | None = None
    splits: pd.DataFrame | None = None


def prepare_job(composed: DictConfig, run_dir: Path, overrides: list[str]) -> Job:
    """Merge the run that is resumed, or those that initialise encoders, into a composed configuration.

    Raises:
        EmotionError: the run cannot be resumed, or `run_dir` holds a run already.
    """
    if composed.resume:
        merged, checkpoint = _resumed(composed, run_dir, overrides)
        overrides = runs.load_overrides(run_dir) + overrides
        return Job(run_dir, merged, validate(merged), overrides, {}, checkpoint, runs.load_recordings(run_dir))
    if process_rank() == 0 and runs.is_begun(run_dir):
        raise runs.DirectoryTakenError(
            f"{run_dir} already holds a run; choose another run_dir, or continue it with resume={run_dir}"
        )
    if process_rank() == 0 and (name := runs.foreign_file(run_dir)):
        raise EmotionError(
            f"{run_dir} holds files that are not of a run, such as {name}, which could be overwritten; choose a new "
            "run_dir"
        )
    merged, starts = warm_start.merge_initial_runs(composed, overrides)
    return Job(run_dir, merged, _complete(merged), overrides, starts)


def _complete(composed: DictConfig) -> TrainConfig:
    """Add to a configuration what features and backbones need when the run is loaded; return it validated."""
    config, found = validate(composed), {}
    for name, branch in config.model.encoders.items():
        if isinstance(branch, NetworkBranchConfig):
            added = require_arguments(branch.backbone, Backbone).complete(branch.backbone.arguments)
            prefix = f"model.{name}.backbone".replace("..", ".")
            found |= {f"{prefix}.{argument}": value for argument, value in added.items()}
    groups = {"features": config.features} if "audio" in config.model.modalities else {}
    groups |= {f"model.{key}": own for key, own in config.model.own_features.items()}
    for key, features in groups.items():
        for name, target in features.sets.items():
            added = require_arguments(target, AcousticFeatures).complete(target.arguments)
            found |= {f"{key}.sets.{name}.{argument}": value for argument, value in added.items()}
    for key, value in found.items():
        OmegaConf.update(composed, key, value, merge=False, force_add=True)
    return validate(composed) if found else config


def _resumed(composed: DictConfig, run_dir: Path, overrides: list[str]) -> tuple[DictConfig, Path]:
    """Return the configuration of a run that is resumed, changed by `overrides`, and its last checkpoint."""
    checkpoint = run_dir / "checkpoints" / "last.ckpt"
    if not checkpoint.is_file():
        raise EmotionError(
            f"{run_dir} cannot be resumed: no epoch was finished, so there is no {checkpoint}; repeat the command "
            "that began it"
        )
    if any(runs.is_start(key_of(override)) for override in overrides):
        raise EmotionError("model.….init_from cannot be changed when a run is resumed: leave it out")
    saved = runs.load_composed(run_dir)
    changed = merge_run_config(saved, composed, overrides)
    for key in DECIDE_SPLITS:
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
