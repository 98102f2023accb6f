"""A run directory: described, claimed and loaded.

config.yaml        the whole configuration       checkpoints/   best.ckpt (selected on dev) and last.ckpt, or best.skops
                                                                and NAME.skops of each branch that is an estimator
overrides.yaml     overrides as typed            tensorboard/   curves, figures, hyperparameters
environment.json   versions, commit, device      splits.csv     the recordings of each split
                                                 metrics.json, predictions.csv, confusion_matrix.png,
                                                 calibration.png, train.log
"""

from emotion.runs.description import describe, is_member_root, is_start, lower_is_better, write_config, write_overrides
from emotion.runs.directory import DirectoryTakenError, claim_new, claimed, foreign_file, is_begun, require
from emotion.runs.hyperparameters import hyperparameters
from emotion.runs.loading import (
    PRETRAINING,
    REFIT,
    explained_build,
    load_composed,
    load_config,
    load_metrics,
    load_overrides,
    load_pretraining,
    load_recordings,
    load_splits,
    load_training_recordings,
    load_weights,
    require_recordings,
    require_same_labels,
    trained_epochs,
)

__all__ = [
    "PRETRAINING",
    "REFIT",
    "DirectoryTakenError",
    "claim_new",
    "claimed",
    "describe",
    "explained_build",
    "foreign_file",
    "hyperparameters",
    "is_begun",
    "is_member_root",
    "is_start",
    "load_composed",
    "load_config",
    "load_metrics",
    "load_overrides",
    "load_pretraining",
    "load_recordings",
    "load_splits",
    "load_training_recordings",
    "load_weights",
    "lower_is_better",
    "require",
    "require_recordings",
    "require_same_labels",
    "trained_epochs",
    "write_config",
    "write_overrides",
]
