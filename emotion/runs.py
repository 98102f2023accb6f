"""A run directory: describe it, and load a model back from it.

config.yaml        the whole configuration       checkpoints/   best.ckpt (chosen on dev) and last.ckpt, or best.skops
overrides.yaml     what was typed                tensorboard/   curves, pictures, hyperparameters
environment.json   versions, commit, device      splits.csv      who was on which side
                                                 metrics.json, predictions.csv, confusion_matrix.png, train.log
"""

import importlib.metadata
import itertools
import json
import logging
import platform
import subprocess
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

import filelock
import yaml
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from emotion.config.compose import key_of
from emotion.config.schema import TrainConfig
from emotion.config.validate import OUTSIDE, validate
from emotion.errors import EmotionError, error_message
from emotion.files import write_json, write_text

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

log = logging.getLogger(__name__)

PACKAGES = ("torch", "torchaudio", "pytorch-lightning", "hydra-core", "librosa", "numpy", "soundfile", "av")
PORTABLE_ROOT = "${oc.env:EMOTION_DATA,./data}"
INHERITED = "inherited"
"""The side, in `splits.csv`, of what the runs that a run starts from were trained or chosen on."""
REFITTED = "refitted"
"""The side, in `splits.csv`, of dev recordings that an estimator was fitted on too, after they had judged it."""
_SPLIT_COLUMNS = ("split", "recording", "speaker", "emotion")
WEIGHTS = ("weights", "pca_weights")
"""What keys are called, in whatever group, that name weights or a file of them."""
_LARGEST_YAML = 1 << 20  # bytes
_READS_OLD_RUNS = "version 0.2 (git tag v0.2.0)"


class DirectoryTakenError(EmotionError):
    """A run directory that holds a run already, or in which another process is training."""


def is_start(key: str) -> bool:
    """Return True if a key names a run that another run starts from.

    Example:
        >>> is_start("model.branches.audio.run"), is_start("model.run"), is_start("run")
        (True, True, False)
    """
    return key.startswith("model.") and key.endswith(".run")


def claim_new(directory: Path) -> Path:
    """Make a directory that did not exist, so that it is of one process alone.

    Args:
        directory: The wanted path; `_1`, `_2` and so on are appended while it exists.

    Returns:
        The directory that was made.
    """
    directory.parent.mkdir(parents=True, exist_ok=True)
    for number in itertools.count():
        candidate = directory.with_name(f"{directory.name}_{number}") if number else directory
        try:
            candidate.mkdir()
        except FileExistsError:
            continue
        return candidate
    raise AssertionError  # unreachable: the loop has no end


@contextmanager
def claimed(run_dir: Path) -> Iterator[None]:
    """Keep other processes from training in `run_dir`; a process that is killed keeps nobody out.

    Raises:
        DirectoryTakenError: another process is training in it.
    """
    path = run_dir / ".lock"
    lock = filelock.FileLock(path)
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise DirectoryTakenError(
            f"{run_dir} is in use: another process is training there; choose another run_dir, or wait for its end"
        ) from None
    except OSError as error:
        raise EmotionError(f"cannot write {run_dir}: {error.strerror or error}; choose another run_dir") from error
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        lock.release()


def describe(
    run_dir: Path, config: DictConfig, overrides: list[str], recordings: "pd.DataFrame", parents: Mapping[str, Path]
) -> None:
    """Write what a run is made of: `config.yaml`, `overrides.yaml`, `environment.json` and `splits.csv`.

    The first two travel with results, so they hold no path of this machine: a corpus folder that was typed is kept in
    `environment.json` alone, and so are the runs that it starts from, which it needs no more.

    Args:
        run_dir: Is made if need be.
        config: The whole configuration.
        overrides: What was typed.
        recordings: With the columns of `splits.csv`.
        parents: The runs it starts from, by their keys in the configuration.
    """
    write_config(run_dir, config)
    write_overrides(run_dir, overrides)
    write_json(run_dir / "environment.json", _environment(config, parents))
    write_text(run_dir / "splits.csv", recordings[list(_SPLIT_COLUMNS)].to_csv(index=False, lineterminator="\n"))


def write_overrides(directory: Path, overrides: list[str]) -> None:
    """Write `overrides.yaml`, without those that name paths of this machine."""
    at_home = ("data.root", "action_units.table", "run_dir", "resume")
    keys = map(key_of, overrides)
    portable = [
        override
        for override, key in zip(overrides, keys, strict=True)
        if key not in at_home and not is_start(key) and key.rpartition(".")[2] not in WEIGHTS
    ]
    write_text(directory / "overrides.yaml", OmegaConf.to_yaml(portable))


def lower_is_better(objective: str) -> bool:
    """Return True if a dev metric is an error or a loss."""
    return objective.endswith("loss") or "error" in objective


def write_config(directory: Path, config: DictConfig) -> None:
    """Write `config.yaml`, without paths of this machine."""
    saved = OmegaConf.create(
        {key: value for key, value in OmegaConf.to_container(config).items() if key not in OUTSIDE}
    )
    if saved.data.root is not None:
        saved.data.root = PORTABLE_ROOT
    table = OmegaConf.to_container(config)["action_units"]["table"]
    if table is not None and "${" not in table:
        saved.action_units.table = "${data.root}/" + Path(table).name
    _remove_paths(saved)
    write_text(directory / "config.yaml", OmegaConf.to_yaml(saved))


def _remove_paths(node: DictConfig, prefix: str = "") -> None:
    """Remove the runs that a run starts from, and the directories of files of weights."""
    for key, value in node.items_ex(resolve=False):
        if isinstance(value, DictConfig):
            _remove_paths(value, f"{prefix}{key}.")
        elif is_start(f"{prefix}{key}"):
            node[key] = None
        elif key in WEIGHTS and isinstance(value, str) and "${" not in value:
            node[key] = Path(value).name


def is_begun(run_dir: Path) -> bool:
    """Whether a run directory holds a run that was finished or can go on; others can be begun again in place."""
    return any((run_dir / name).exists() for name in ("metrics.json", "checkpoints/last.ckpt"))


def require(run_dir: Path) -> Path:
    """`run_dir` itself, if it is a run directory.

    Raises:
        EmotionError: it is not.
    """
    if not (run_dir / "config.yaml").is_file():
        what = "holds no config.yaml" if run_dir.is_dir() else "does not exist"
        raise EmotionError(f"{run_dir} is not a run directory: it {what}; train.py prints the one that it makes")
    return run_dir


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
    if not (OmegaConf.is_dict(config) and OmegaConf.is_dict(config.get("data")) and "root" in config.data):
        raise EmotionError(f"{path} is damaged: it has no data.root")
    if OmegaConf.is_dict(config.get("model")) and "kind" not in config.model:
        raise EmotionError(f"{run_dir} was made by an older version, which {_READS_OLD_RUNS} reads; train it anew")
    root = config.data.root
    if "download" in config.data:
        config.data.download = False  # is for the person at the keyboard to say, not for a run
    recorded = _recorded_path(run_dir, "data_root")
    if root is not None and recorded:
        config.data.root = recorded
    recorded = _recorded_path(run_dir, "action_units_table")
    if recorded:
        config.action_units.table = recorded
    return config


def _load_yaml(path: Path) -> DictConfig | ListConfig:
    """Plain data that may come from a stranger: no tags, nor aliases, by which a little text becomes very much data."""
    try:
        if path.stat().st_size > _LARGEST_YAML:
            raise EmotionError(f"{path} is refused: it has more than {_LARGEST_YAML:,} bytes")
        text = path.read_text(encoding="utf-8")
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text)):
            raise EmotionError(f"{path} is refused: it holds an alias, which no run has")
        if not isinstance(yaml.compose(text), yaml.CollectionNode):
            raise EmotionError(f"{path} is damaged: it is neither a list nor keys and values")
        return OmegaConf.create(text)
    except (OSError, ValueError, RecursionError, AttributeError, yaml.YAMLError, OmegaConfBaseException) as error:
        raise EmotionError(f"{path} is damaged: {error_message(error)}") from error


@contextmanager
def understood(run_dir: Path) -> Iterator[None]:
    """Around what follows the configuration of a run: one that was changed by hand fails in many ways.

    Raises:
        EmotionError: it could not be followed.
    """
    try:
        yield
    except EmotionError:
        raise
    except Exception as error:
        raise EmotionError(
            f"{run_dir}/config.yaml describes no model that can be built: {error_message(error)}"
        ) from error


def load_overrides(run_dir: Path) -> list[str]:
    """What was typed for a run so far; empty where that is not known."""
    path = run_dir / "overrides.yaml"
    overrides = _load_yaml(path) if path.is_file() else []
    return [str(override) for override in overrides]


def load_metrics(run_dir: Path) -> dict[str, Any]:
    """The `metrics.json` of a run; empty if it was not finished.

    Raises:
        EmotionError: it is damaged.
    """
    path = run_dir / "metrics.json"
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except (OSError, ValueError) as error:
        raise EmotionError(f"{path} is damaged: {error}") from error


def load_splits(run_dir: Path) -> "pd.DataFrame":
    """Which recordings were on which side of a run: columns `split`, `recording`, `speaker` and `emotion`.

    Raises:
        EmotionError: they are missing or damaged.
    """
    import pandas as pd

    path = require(run_dir) / "splits.csv"
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise EmotionError(f"cannot read {path}, which tells what the run was trained on: {error}") from error
    if tuple(table.columns) != _SPLIT_COLUMNS:
        raise EmotionError(f"{path} is damaged: it needs the columns {', '.join(_SPLIT_COLUMNS)}")
    return table


def load_sides(run_dir: Path) -> "pd.DataFrame":
    """Load the recordings of the train, dev and test splits of a run, with the columns of `splits.csv`."""
    splits = load_splits(run_dir)
    return splits[splits["split"].isin(["train", "dev", "test"])].reset_index(drop=True)


def require_recordings(run_dir: Path, expected: Iterable[str], found: Iterable[str], may_lack: bool) -> None:
    """Compare the recordings of a run with those at hand.

    Args:
        run_dir: The directory of the run.
        expected: Keys of the recordings in its `splits.csv`.
        found: Keys of the recordings that can be used now.
        may_lack: True if missing recordings are reported only, as with `data.on_problem=skip`.

    Raises:
        EmotionError: some are missing, and `may_lack` is False.
    """
    missing = sorted(set(expected) - set(found))
    if not missing:
        return
    text = f"{len(missing):,} recordings of {run_dir}/splits.csv are missing or cannot be used, such as {missing[0]}"
    if not may_lack:
        raise EmotionError(
            f"{text}; give their folder with data.root=DIR, or go on without them with data.on_problem=skip; "
            "other recordings are evaluated with data=… data.root=DIR protocol=all_test"
        )
    log.warning("%s, and take no part", text)


def load_seen(run_dir: Path, split: str) -> "pd.DataFrame":
    """The rows of `splits.csv` that must not be in the `split` that a run is judged on: it was trained on them.

    Those that it was chosen on are among them too where `split` is `test`.
    """
    splits = load_splits(run_dir)
    return splits[splits["split"].isin(["train", INHERITED, REFITTED] + ["dev"] * (split == "test"))]


def load_inherited(run_dir: Path) -> "tuple[pd.DataFrame, dict[str, Path]]":
    """What a run knows of the runs that it started from: the rows of `splits.csv` that are theirs, and their places."""
    splits = load_splits(run_dir)
    try:
        starts = json.loads((run_dir / "environment.json").read_text(encoding="utf-8"))["starts_from"]
    except (OSError, ValueError, KeyError, TypeError):
        starts = {}
    return splits[splits["split"] == INHERITED], {key: Path(path) for key, path in starts.items()}


def load_weights(run_dir: Path, checkpoint: str = "best.ckpt") -> "dict[str, Tensor]":
    """The classifier's weights in one of the files in `checkpoints/` of a finished run.

    Raises:
        EmotionError: it is missing or damaged.
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
        raise EmotionError(f"{run_dir}/checkpoints/last.ckpt is no checkpoint of a fit that can go on") from error


def _load_checkpoint(run_dir: Path, checkpoint: str) -> dict[str, Any]:
    import torch

    path = require(run_dir) / "checkpoints" / checkpoint
    if not path.is_file():
        raise EmotionError(f"{path} does not exist: was the run finished? go on with python train.py resume={run_dir}")
    try:
        with warnings.catch_warnings(action="ignore"):
            return torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise EmotionError(f"{path} is refused: it is damaged, or holds more than weights") from error
    except Exception as error:  # a damaged file fails in many ways, all of which mean the same
        raise EmotionError(f"{path} is not a checkpoint that can be read: {error_message(error)}") from error


def _recorded_path(run_dir: Path, name: str) -> str | None:
    """A path of the machine on which the run was made, if it exists on this one."""
    try:
        path = json.loads((run_dir / "environment.json").read_text(encoding="utf-8"))[name]
        return path if path and Path(path).exists() else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _environment(config: DictConfig, parents: Mapping[str, Path]) -> dict[str, Any]:
    import torch

    on_gpu = config.trainer.accelerator in ("gpu", "cuda") and torch.cuda.is_available()
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": torch.cuda.get_device_name() if on_gpu else "cpu",
        "threads": torch.get_num_threads(),
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
        "git_commit": _git_commit(),
        "data_root": _resolved(config.data.root),
        "action_units_table": _resolved(config.action_units.table),
        "starts_from": {key: str(path.resolve()) for key, path in parents.items()},
    }


def _resolved(path: str | None) -> str | None:
    return None if path is None else str(Path(path).resolve())


def _git_commit() -> str | None:
    """The commit of the package's own source tree, with `+` if it was changed since; None outside of a checkout."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(Path(__file__).parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None
