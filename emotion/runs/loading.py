"""Load what a run directory holds. Nothing in it is executed."""

import json
import logging
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

import yaml
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from emotion.config.schema import TrainConfig
from emotion.config.validate import validate
from emotion.errors import EmotionError, error_message, shown_command
from emotion.runs.description import SPLIT_COLUMNS
from emotion.runs.directory import require

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

log = logging.getLogger(__name__)

PRETRAINING = "pretraining"
"""Split, in `splits.csv`, of the recordings on which the runs that a run starts from were trained or selected."""
REFIT = "refit"
"""Split, in `splits.csv`, of dev recordings on which an estimator was fitted after it had been evaluated on them."""
_LARGEST_YAML = 1 << 20  # bytes
_READS_OLD_RUNS = "version 0.2.0"


def load_config(run_dir: Path) -> TrainConfig:
    """Load and validate the configuration of a run, see `load_composed`.

    Raises:
        EmotionError: `run_dir` is not a run directory, or its configuration is damaged, invalid or of an old version.
    """
    composed = load_composed(run_dir)
    try:
        return validate(composed)
    except EmotionError as error:
        raise EmotionError(f"{run_dir}/config.yaml: {error}") from error


def load_composed(run_dir: Path) -> DictConfig:
    """Load the configuration of a run as it was composed, to be changed by overrides.

    `data.root` is the corpus directory of its training where that still exists.

    Raises:
        EmotionError: `run_dir` is not a run directory, or its configuration is damaged or of an old version.
    """
    path = require(run_dir) / "config.yaml"
    config = _load_yaml(path)
    if not (isinstance(config, DictConfig) and OmegaConf.is_dict(config.get("data")) and "root" in config.data):
        raise EmotionError(f"{path} is damaged: it has no data.root")
    if OmegaConf.is_dict(config.get("model")) and "kind" not in config.model:
        raise EmotionError(
            f"{run_dir} was written by an older version; read it with {_READS_OLD_RUNS}, or train it again"
        )
    if "download" in config.data:
        config.data.download = False  # only the command line may start a download
    if config.data.root is not None and (recorded := _recorded_path(run_dir, "data_root")):
        config.data.root = recorded
    for key in ("metadata", "path"):
        if recorded := _recorded_path(run_dir, f"data_{key}"):
            config.data[key] = recorded
    if recorded := _recorded_path(run_dir, "action_units_table"):
        config.action_units.table = recorded
    for name, member in OmegaConf.select(config, "data.corpus.members", default={}).items():
        member.root = _recorded_path(run_dir, "data_roots", str(name))
    return config


def _load_yaml(path: Path) -> DictConfig | ListConfig:
    """Load YAML of an untrusted source.

    Tags are refused, and so are aliases, by which a small file can expand to very much data.
    """
    try:
        if path.stat().st_size > _LARGEST_YAML:
            raise EmotionError(f"{path} is refused: it has more than {_LARGEST_YAML:,} bytes")
        text = path.read_text(encoding="utf-8")
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text)):
            raise EmotionError(f"{path} is refused: it holds a YAML alias, which no run has")
        if not isinstance(yaml.compose(text), yaml.CollectionNode):
            raise EmotionError(f"{path} is damaged: it is neither a list nor keys and values")
        return OmegaConf.create(text)
    except (OSError, ValueError, RecursionError, AttributeError, yaml.YAMLError, OmegaConfBaseException) as error:
        raise EmotionError(f"{path} is damaged: {error_message(error)}") from error


@contextmanager
def explained_build(config_file: Path) -> Iterator[None]:
    """Turn any error of a block that builds a model from a saved configuration into an `EmotionError`.

    A configuration that was edited by hand fails in many ways.

    Raises:
        EmotionError: the block failed.
    """
    try:
        yield
    except EmotionError:
        raise
    except Exception as error:
        raise EmotionError(f"{config_file} describes no model that can be built: {error_message(error)}") from error


def load_overrides(run_dir: Path) -> list[str]:
    """Load the overrides of a run, those of its resumptions included; empty if they are unknown."""
    path = run_dir / "overrides.yaml"
    overrides = _load_yaml(path) if path.is_file() else []
    return [str(override) for override in overrides]


def load_metrics(run_dir: Path) -> dict[str, Any]:
    """Load `metrics.json`; an empty dictionary if the run is not finished.

    Raises:
        EmotionError: the file is damaged.
    """
    path = run_dir / "metrics.json"
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except (OSError, ValueError) as error:
        raise EmotionError(f"{path} is damaged: {error}") from error


def load_splits(run_dir: Path) -> "pd.DataFrame":
    """Load `splits.csv`.

    Returns:
        A table with the columns `split`, `recording`, `speaker` and `emotion`. Besides `train`, `dev` and `test`, the
        splits `PRETRAINING` and `REFIT` occur.

    Raises:
        EmotionError: the file is missing or damaged.
    """
    import pandas as pd

    path = require(run_dir) / "splits.csv"
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise EmotionError(f"cannot read {path}, the training recordings of the run: {error}") from error
    if tuple(table.columns) != SPLIT_COLUMNS:
        raise EmotionError(f"{path} is damaged: it needs the columns {', '.join(SPLIT_COLUMNS)}")
    return table


def load_recordings(run_dir: Path) -> "pd.DataFrame":
    """Load the rows of `splits.csv` of the splits train, dev and test."""
    splits = load_splits(run_dir)
    return splits[splits["split"].isin(["train", "dev", "test"])].reset_index(drop=True)


def require_recordings(run_dir: Path, expected: Iterable[str], found: Iterable[str], may_lack: bool) -> None:
    """Compare the recordings of a run with the existing ones.

    Args:
        run_dir: The directory of the run.
        expected: Keys of the recordings in its `splits.csv`.
        found: Keys of the usable recordings.
        may_lack: True if missing recordings are reported only, as with `data.on_error=skip`.

    Raises:
        EmotionError: some are missing, and `may_lack` is False.
    """
    missing = sorted(set(expected) - set(found))
    if not missing:
        return
    text = f"{len(missing):,} recordings of {run_dir}/splits.csv are missing or cannot be used, such as {missing[0]}"
    if not may_lack:
        raise EmotionError(
            f"{text}; set their directory with data.root=DIR, or continue without them with data.on_error=skip; "
            "other recordings are evaluated with data=… data.root=DIR protocol=all_test"
        )
    log.warning("%s, and are skipped", text)


def require_same_labels(run_dir: Path, expected: "pd.DataFrame", found: "pd.DataFrame") -> None:
    """Refuse recordings whose speaker or emotion changed since a run began.

    Args:
        run_dir: The directory of the run.
        expected: Rows of its `splits.csv`.
        found: The usable recordings, with the columns `recording`, `speaker` and `emotion`.

    Raises:
        EmotionError: one differs.
    """
    both = expected.merge(found, on="recording", suffixes=("", "_now"))
    for column in ("speaker", "emotion"):
        changed = both[both[column] != both[f"{column}_now"]]
        if len(changed):
            row = changed.iloc[0]
            raise EmotionError(
                f"the {column} of {len(changed):,} recordings is not that of {run_dir}/splits.csv, such as "
                f"{row['recording']} ({row[column]} before, {row[f'{column}_now']} now); restore it, or begin a new run"
            )


def load_training_recordings(run_dir: Path, split: str) -> "pd.DataFrame":
    """Load the rows of `splits.csv` that may not be in a split on which the run is evaluated.

    Args:
        run_dir: Run directory.
        split: `dev` or `test`. For `test`, the recordings on which the run was selected are among the rows.
    """
    splits = load_splits(run_dir)
    return splits[splits["split"].isin(["train", PRETRAINING, REFIT] + ["dev"] * (split == "test"))]


def load_pretraining(run_dir: Path) -> "tuple[pd.DataFrame, dict[str, Path]]":
    """Load the rows of `splits.csv` of pretraining, and the paths of the runs that encoders started from by key."""
    splits = load_splits(run_dir)
    try:
        starts = json.loads((run_dir / "environment.json").read_text(encoding="utf-8"))["starts_from"]
    except (OSError, ValueError, KeyError, TypeError):
        starts = {}
    return splits[splits["split"] == PRETRAINING], {key: Path(path) for key, path in starts.items()}


def load_weights(run_dir: Path, checkpoint: str = "best.ckpt") -> "dict[str, Tensor]":
    """Load the weights of the classifier from a checkpoint.

    Args:
        run_dir: Run directory.
        checkpoint: Name of a file in `checkpoints/`.

    Raises:
        EmotionError: the checkpoint is missing or damaged.
    """
    from emotion.models.build import checkpoint_weights

    content = _load_checkpoint(run_dir, checkpoint)
    try:
        return checkpoint_weights(content)
    except Exception as error:
        path = run_dir / "checkpoints" / checkpoint
        raise EmotionError(f"{path} is not a checkpoint that can be read: {error_message(error)}") from error


def trained_epochs(run_dir: Path) -> int:
    """Return the number of epochs that are finished in `last.ckpt`."""
    try:
        return int(_load_checkpoint(run_dir, "last.ckpt")["epoch"]) + 1
    except (KeyError, TypeError, ValueError) as error:
        raise EmotionError(f"{run_dir}/checkpoints/last.ckpt is not a checkpoint that can be resumed") from error


def _load_checkpoint(run_dir: Path, checkpoint: str) -> dict[str, Any]:
    import torch

    path = require(run_dir) / "checkpoints" / checkpoint
    if not path.is_file():
        command = shown_command("train", f"resume={run_dir}")
        raise EmotionError(f"{path} does not exist: was the run finished? Resume with {command}")
    try:
        with warnings.catch_warnings(action="ignore"):
            return torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise EmotionError(f"{path} is refused: it is damaged, or holds more than weights") from error
    except Exception as error:  # a damaged file fails in many ways, all of which mean the same
        raise EmotionError(f"{path} is not a checkpoint that can be read: {error_message(error)}") from error


def _recorded_path(run_dir: Path, *keys: str) -> str | None:
    """Return a path in `environment.json`, if it exists on this machine."""
    try:
        path = json.loads((run_dir / "environment.json").read_text(encoding="utf-8"))
        for key in keys:
            path = path[key]
        return path if path and Path(path).exists() else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
