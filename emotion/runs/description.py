"""The files that describe a run: `config.yaml`, `overrides.yaml`, `environment.json` and `splits.csv`."""

import importlib.metadata
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from emotion.config.compose import key_of, to_plain
from emotion.config.target import WEIGHTS
from emotion.config.validate import OUTSIDE
from emotion.files import write_json, write_text

if TYPE_CHECKING:
    import pandas as pd

PACKAGES = ("torch", "torchaudio", "pytorch-lightning", "hydra-core", "librosa", "numpy", "soundfile", "av")
PORTABLE_ROOT = "${oc.env:EMOTION_DATA,./data}"
SPLIT_COLUMNS = ("split", "recording", "speaker", "emotion")


def is_start(key: str) -> bool:
    """Return True if a key names a run that another run starts from.

    Example:
        >>> is_start("model.branches.audio.init_from"), is_start("model.init_from"), is_start("run")
        (True, True, False)
    """
    return key.startswith("model.") and key.endswith(".init_from")


def is_member_root(key: str) -> bool:
    """Return True if a key names the directory of a corpus of `data=several`."""
    return key.startswith(("data.options.", "data.corpus.members.")) and key.endswith(".root")


def describe(
    run_dir: Path, config: DictConfig, overrides: list[str], recordings: "pd.DataFrame", starts: Mapping[str, Path]
) -> None:
    """Write `config.yaml`, `overrides.yaml`, `environment.json` and `splits.csv`.

    The first two are published with results, so they hold no path of this machine. The directory of the corpus, and
    the runs that the run starts from, are written to `environment.json` only.

    Args:
        run_dir: Run directory; made if it does not exist.
        config: Composed configuration.
        overrides: Overrides of the command line.
        recordings: Table with the columns of `splits.csv`.
        starts: Runs that encoders start from, by the keys of the encoders.
    """
    write_config(run_dir, config)
    write_overrides(run_dir, overrides)
    write_json(run_dir / "environment.json", _environment(config, starts))
    write_text(run_dir / "splits.csv", recordings[list(SPLIT_COLUMNS)].to_csv(index=False, lineterminator="\n"))


def write_overrides(directory: Path, overrides: list[str]) -> None:
    """Write `overrides.yaml`, without the overrides whose values are paths of this machine."""
    at_home = ("data.root", "data.metadata", "action_units.table", "run_dir", "resume")
    portable = []
    for override in overrides:
        key = key_of(override)
        names_path = key in at_home or is_start(key)
        may_be = key == "data.path" or key.rpartition(".")[2] in WEIGHTS
        names_path |= may_be and _is_file(override.partition("=")[2])
        if not names_path and not (key.startswith("data.options") and "root" in override):
            portable.append(override)
    write_text(directory / "overrides.yaml", OmegaConf.to_yaml(portable))


def write_config(directory: Path, config: DictConfig) -> None:
    """Write `config.yaml`, without paths of this machine."""
    saved = OmegaConf.create({key: value for key, value in to_plain(config).items() if key not in OUTSIDE})
    if saved.data.root is not None:
        saved.data.root = PORTABLE_ROOT
    table = to_plain(config)["action_units"]["table"]
    if table is not None and "${" not in table:
        saved.action_units.table = "${data.root}/" + Path(table).name
    for key in ("metadata", "path"):
        if saved.data.get(key) and _is_file(config.data[key]):
            saved.data[key] = "${data.root}/" + Path(config.data[key]).name
    if "members" in saved.data.corpus:
        # The classes of today, whatever the YAML files are when the run is loaded.
        saved.data.corpus.members = OmegaConf.create(to_plain(config.data.corpus.members, resolve=True))
    _remove_paths(saved)
    write_text(directory / "config.yaml", OmegaConf.to_yaml(saved))


def _remove_paths(node: DictConfig, prefix: str = "") -> None:
    """Remove the runs that a run starts from, and directories of corpora and of files of weights."""
    for key, value in node.items_ex(resolve=False):
        if isinstance(value, DictConfig):
            _remove_paths(value, f"{prefix}{key}.")
        elif is_start(f"{prefix}{key}") or is_member_root(f"{prefix}{key}"):
            node[key] = None
        elif key in WEIGHTS and isinstance(value, str) and "${" not in value and _is_file(value):
            node[key] = Path(value).name


def _is_file(value: str) -> bool:
    """Return True if a value is a file or folder, not the name of published weights."""
    path = Path(value.strip("'\""))
    try:
        return path.is_absolute() or path.expanduser().exists()
    except (OSError, RuntimeError):  # the name is too long, or there is no such user
        return False


def lower_is_better(objective: str) -> bool:
    """Return True if a dev metric is an error or a loss."""
    return objective.endswith("loss") or "error" in objective


def _environment(config: DictConfig, starts: Mapping[str, Path]) -> dict[str, Any]:
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
        "data_roots": _member_roots(config),
        "data_metadata": _resolved(config.data.get("metadata")),
        "data_path": _resolved(path) if (path := config.data.get("path")) and _is_file(path) else None,
        "action_units_table": _resolved(config.action_units.table),
        "starts_from": {key: str(path.resolve()) for key, path in starts.items()},
    }


def _member_roots(config: DictConfig) -> dict[str, str | None]:
    """Return the own directories of the corpora of `data=several`, by name."""
    members = config.data.corpus.get("members") or {}
    return {str(name): _resolved(options.root) for name, options in members.items() if options.get("root")}


def _resolved(path: str | None) -> str | None:
    return None if path is None else str(Path(path).resolve())


def _git_commit() -> str | None:
    """Return the commit of the checkout of this package, with `+` if files were changed since; None outside of one."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(Path(__file__).parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None
