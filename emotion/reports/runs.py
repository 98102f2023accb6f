"""Finished runs behind a report, read from run directories or from a folder of stored results.

A folder of stored results holds everything that tables and plots need, in three files:

runs.json              `configs`, the distinct configurations without seed and fold, and `runs`: for each run the index
                       of its configuration, and its metrics without recall and precision per class
predictions.csv.xz     predictions of all runs, with the index `run` and probabilities of four decimals
robustness.csv.xz      `robustness.csv` of all runs, with the index `run`; only if a run has one
"""

import json
import lzma
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, cast

import pandas as pd
from omegaconf import DictConfig, OmegaConf

from emotion.config.compose import to_plain
from emotion.errors import EmotionError
from emotion.files import atomic_path, write_text
from emotion.robustness.evaluate import FILE as ROBUSTNESS
from emotion.robustness.evaluate import read_counts

STORED_RUNS = "runs.json"
FIRST_VERSION = "0.1.0"
SHARED = ("name", "model", "data", "channel", "labels", "protocol", "speaker_independent", "transductive", "parameters")
"""The metrics that all runs of a system share, except that the size of an estimator may differ."""
_STORED_PREDICTIONS, _STORED_ROBUSTNESS = "predictions.csv.xz", "robustness.csv.xz"
_TEXT_COLUMNS = {"recording": str, "speaker": str}
_SELECTED_ON_TEST = re.compile(r"^\s*monitor:\s*[\"']?test", re.MULTILINE)
_PER_CLASS = re.compile(r"/(recall|precision)/")


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        directory: Run directory, or folder of stored results.
        metrics: Content of `metrics.json`.
    """

    directory: Path
    metrics: dict[str, Any]

    @property
    def name(self) -> str:
        """The name of the run."""
        return self.metrics["name"]

    @property
    def is_regression(self) -> bool:
        """True if it predicts ratings."""
        return self.metrics.get("task") == "regression"

    @property
    def version(self) -> str:
        """The version of the package that trained it; the first one did not write it to `metrics.json`."""
        return self.metrics.get("version", FIRST_VERSION)

    @cached_property
    def config(self) -> DictConfig:
        """The configuration."""
        return cast(DictConfig, OmegaConf.load(self.directory / "config.yaml"))

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """The predictions of dev and test."""
        return pd.read_csv(self.directory / "predictions.csv", dtype=_TEXT_COLUMNS)

    @cached_property
    def robustness(self) -> pd.DataFrame | None:
        """The counts of `robustness.csv`; None if the run was not evaluated on corrupted recordings."""
        path = self.directory / ROBUSTNESS
        return read_counts(path) if path.exists() else None

    def setting(self, key: str) -> Any:
        """Return a number or text of the configuration.

        Raises:
            EmotionError: the configuration has no such key.
        """
        value = OmegaConf.select(self.config, key)
        if value is None:
            raise EmotionError(f"the configuration of {self.directory} has no {key}")
        if isinstance(value, DictConfig):
            raise EmotionError(f"{key} is a group of keys; name one of them, such as {key}.name")
        return value if isinstance(value, int | float) else str(value)


@dataclass(frozen=True)
class StoredRun(Run):
    """A finished run in a folder of stored results.

    Attributes:
        index: Index of the run in the folder.
        stored_config: Configuration without seed and fold.
    """

    index: int
    stored_config: dict[str, Any]

    @cached_property
    def config(self) -> DictConfig:
        """The configuration."""
        config = OmegaConf.create(self.stored_config)
        OmegaConf.update(config, "seed", self.metrics["seed"])
        OmegaConf.update(config, "protocol.fold", self.metrics["fold"])
        return config

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """The predictions of dev and test."""
        return self._rows(_STORED_PREDICTIONS).dropna(axis="columns", how="all")

    @cached_property
    def robustness(self) -> pd.DataFrame | None:
        """The counts of `robustness.csv`; None if the run was not evaluated on corrupted recordings."""
        rows = self._rows(_STORED_ROBUSTNESS) if (self.directory / _STORED_ROBUSTNESS).exists() else None
        return None if rows is None or rows.empty else rows

    def _rows(self, file: str) -> pd.DataFrame:
        table = _read_table(self.directory / file)
        return table[table["run"] == self.index].drop(columns="run").reset_index(drop=True)


@lru_cache(maxsize=4)
def _read_table(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(path, dtype=_TEXT_COLUMNS)
    except (OSError, ValueError, EOFError) as error:
        raise EmotionError(f"{path} is damaged: {error}") from error


def find_runs(paths: list[Path], of_ratings: bool = False) -> list[Run]:
    """Find all finished runs in or below `paths`; an evaluation of a run only if `paths` names it.

    Args:
        paths: Run directories, and folders of them.
        of_ratings: True to return runs of `task=regression` too.

    Raises:
        EmotionError: there is no run, one is damaged, one selected its epoch on test, or one predicts ratings.
    """
    directories = {
        path.parent
        for root in paths
        for path in root.rglob("metrics.json")
        if "evaluations" not in path.relative_to(root).parts
    }
    folders = {path.parent for root in paths for path in root.rglob(STORED_RUNS)}
    if not directories and not folders:
        raise EmotionError(f"no finished run in {', '.join(map(str, paths))}: no metrics.json was found")
    runs = [_read_run(directory) for directory in sorted(directories)]
    runs += [run for folder in sorted(folders) for run in _read_stored_runs(folder)]
    for run in runs:
        if run.is_regression and not of_ratings:
            raise EmotionError(f"{run.directory} predicts {run.metrics['labels']}; give runs of models of emotions")
    return runs


def _read_run(directory: Path) -> Run:
    path = directory / "metrics.json"
    try:
        metrics = json.loads(path.read_text(encoding="utf-8"))
        run = Run(directory, _require_metrics(metrics, path))
    except (OSError, ValueError, TypeError) as error:
        raise EmotionError(f"{directory} is damaged: {error}") from error
    if _SELECTED_ON_TEST.search((directory / "config.yaml").read_text(encoding="utf-8")):
        raise EmotionError(f"{directory} selected its epoch on test; set training.monitor=dev/uar and train again")
    return run


def _read_stored_runs(folder: Path) -> list[Run]:
    path = folder / STORED_RUNS
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        return [
            StoredRun(folder, _require_metrics(run["metrics"], path), index, stored["configs"][run["config"]])
            for index, run in enumerate(stored["runs"])
        ]
    except (OSError, ValueError, TypeError, LookupError) as error:
        raise EmotionError(f"{path} is damaged: {error}") from error


def _require_metrics(metrics: dict[str, Any], path: Path) -> dict[str, Any]:
    main = "test/ccc" if metrics.get("task") == "regression" else "test/uar"
    missing = {*SHARED, "fold", "folds", "seed", main} - set(metrics)
    if missing == {main}:
        raise EmotionError(
            f"{path.parent} was not evaluated on test (test=false, as in a search); tabulate it with emotion trials"
        )
    if missing:
        raise EmotionError(f"{path} is not of a finished run: it lacks {', '.join(sorted(missing))}")
    return metrics


def store_runs(runs: list[Run], folder: Path) -> None:
    """Write the results of runs to a folder, in the form that this module documents.

    Args:
        runs: Finished runs.
        folder: Folder to write; the results in it are replaced.
    """
    configs: list[dict[str, Any]] = []
    lines = []
    for run in runs:
        config = to_plain(run.config)
        config.pop("seed", None)
        config.get("protocol", {}).pop("fold", None)
        if config not in configs:
            configs.append(config)
        metrics = {
            key: round(value, 6) if isinstance(value, float) else value
            for key, value in run.metrics.items()
            if not _PER_CLASS.search(key)
        }
        lines.append(json.dumps({"config": configs.index(config), "metrics": metrics}, ensure_ascii=False))
    text = json.dumps(configs, ensure_ascii=False)
    tables: dict[str, list[pd.DataFrame | None]] = {_STORED_PREDICTIONS: [run.predictions for run in runs]}
    tables[_STORED_ROBUSTNESS] = [run.robustness for run in runs]
    for name, own in tables.items():
        _write_table(folder / name, own)
    write_text(folder / STORED_RUNS, f'{{"configs": {text}, "runs": [\n' + ",\n".join(lines) + "\n]}\n")
    _read_table.cache_clear()


def _write_table(path: Path, tables: Iterable[pd.DataFrame | None]) -> None:
    numbered = {index: table for index, table in enumerate(tables) if table is not None}
    if not numbered:
        path.unlink(missing_ok=True)
        return
    table = pd.concat(numbered, names=["run", None]).reset_index(level="run").round(4)
    if "recording" in table:  # equal recordings side by side compress better
        table = table.sort_values(["split", "recording", "run"], kind="stable")
    with atomic_path(path) as temporary:
        compression = {"method": "xz", "preset": 9 | lzma.PRESET_EXTREME}
        table.to_csv(temporary, index=False, lineterminator="\n", compression=compression)
