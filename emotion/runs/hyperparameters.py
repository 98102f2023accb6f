"""The hyperparameters of a run, for loggers."""

import hashlib
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from emotion.config.compose import key_of
from emotion.runs.loading import load_overrides


def hyperparameters(run_dir: Path, config: DictConfig) -> dict[str, Any]:
    """Return the main hyperparameters, all values that were overridden, and a fingerprint of the recordings.

    Args:
        run_dir: Directory of the run, which holds its overrides and its splits.
        config: Configuration of the run.
    """
    values = {
        "name": config.name,
        "model": config.model.name,
        "features": "+".join(config.features.sets),
        "augment": "+".join(config.augment) or "none",
        "data": config.data.name,
        "protocol": config.protocol.name,
        "fold": config.protocol.fold,
        "seed": config.seed,
        "batch_size": config.data.batch_size,
        "max_epochs": config.trainer.max_epochs,
        "learning_rate": config.optimizer.lr,
        "recordings": hashlib.sha256((run_dir / "splits.csv").read_bytes()).hexdigest()[:12],
    }
    for key in map(key_of, load_overrides(run_dir)):
        value = OmegaConf.select(config, key)
        if isinstance(value, str | int | float):
            values[key] = value
    return values
