"""The trials of sweeps: a table, the best configuration as a command, and the importance of hyperparameters."""

import os
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from emotion import runs
from emotion.config.compose import key_of
from emotion.errors import EmotionError
from emotion.files import write_text
from emotion.plots.figure import save_figure
from emotion.plots.trials import axis_positions, plot_importance, plot_parallel_coordinates
from emotion.reports.tables import to_markdown

REPEATS = ("protocol.fold", "seed")
"""The keys in which trials of one configuration differ."""
_SEARCH_KEYS = ("hparams_search", "test")
_COLUMNS = ("directory", "status", "objective", "value", "fit_minutes", "error")
_MIN_CONFIGURATIONS = 8  # for an estimate of importance
_MAX_PRINTED = 10


def read_trials(folders: list[Path]) -> pd.DataFrame:
    """Read the trials of sweeps, one row per job, sorted by directory.

    Args:
        folders: Directories of sweeps, or folders that contain them.

    Returns:
        Columns `directory`, `status` (`finished`, `failed` or `unfinished`), `objective` (name of the dev metric),
        `value` of the objective, `fit_minutes`, `error`, and the value of each overridden key as text.

    Raises:
        EmotionError: there is no job, or the jobs have different objectives.
    """
    directories = {path.parent for folder in folders for path in folder.rglob("overrides.yaml")}
    rows = [_read_trial(directory) for directory in sorted(directories, key=_job_order)]
    if not rows:
        raise EmotionError(f"no job of a sweep in {', '.join(map(str, folders))}; give the directory of a sweep")
    table = pd.DataFrame(rows)
    objectives = sorted(table["objective"].dropna().unique())
    if len(objectives) > 1:
        raise EmotionError(f"these jobs have different objectives: {', '.join(objectives)}; give one sweep at a time")
    return table


def configurations(trials: pd.DataFrame) -> pd.DataFrame:
    """Average the trials of each configuration over folds and seeds.

    Args:
        trials: Table as returned by `read_trials`.

    Returns:
        One row per configuration, best first, with the columns of its hyperparameters, `value` (mean of the finished
        trials), `std`, `finished` and `failed` (numbers of trials), and `fit_minutes`.
    """
    keys = hyperparameters(trials)
    groups = trials.groupby(keys, dropna=False, sort=False) if keys else trials.groupby(lambda _: 0)
    result = groups.agg(
        value=("value", "mean"),
        std=("value", "std"),
        finished=("value", "count"),
        failed=("status", lambda status: int((status == "failed").sum())),
        fit_minutes=("fit_minutes", "mean"),
    ).reset_index(drop=not keys)
    lower = trials["objective"].dropna().map(runs.lower_is_better).any()
    return result.sort_values("value", ascending=bool(lower), ignore_index=True, kind="stable")


def hyperparameters(trials: pd.DataFrame) -> list[str]:
    """Return the keys whose value differs between trials, except fold and seed."""
    return [str(key) for key in trials if key not in (*_COLUMNS, *REPEATS) and trials[key].nunique(dropna=False) > 1]


def best_command(trials: pd.DataFrame) -> str | None:
    """Return the command that trains and tests the best configuration; None if no trial finished."""
    best = configurations(trials).iloc[0]
    if np.isnan(best["value"]):
        return None
    keys = hyperparameters(trials)
    selected = trials[(trials[keys].fillna("") == best[keys].fillna("")).all(axis=1) & trials["value"].notna()]
    directory = Path(selected["directory"].iloc[0])
    config, overrides = runs.load_composed(directory), runs.load_overrides(directory)
    arguments = [override for override in overrides if key_of(override) not in (*_SEARCH_KEYS, *REPEATS)]
    if not any(key_of(override) in ("model", "experiment") for override in overrides):
        arguments.insert(0, f"model={config.model.name}")
    repeats = {key: sorted(selected[key].dropna().unique(), key=float) for key in REPEATS if key in selected}
    arguments += [f"{key}={','.join(values)}" for key, values in repeats.items() if values]
    root = config.data.root
    if root and Path(root).resolve() != Path(os.environ.get("EMOTION_DATA", "data")).resolve():
        arguments.append(f"data.root={root}")
    multirun = ["-m"] if any(len(values) > 1 for values in repeats.values()) else []
    return shlex.join(["python", "train.py", *multirun, *arguments])


def hyperparameter_importance(trials: pd.DataFrame) -> pd.Series | None:
    """Estimate the importance of each hyperparameter: the mean decrease in impurity of a random forest.

    See Louppe et al., 2013, "Understanding variable importances in forests of randomized trees".

    Args:
        trials: Table as returned by `read_trials`.

    Returns:
        Importance by key, descending, with a sum of 1; None for fewer than eight configurations or two keys.
    """
    finished = configurations(trials).dropna(subset="value")
    keys = hyperparameters(trials)
    if len(finished) < _MIN_CONFIGURATIONS or len(keys) < 2 or finished["value"].nunique() < 2:
        return None
    from sklearn.ensemble import RandomForestRegressor

    values = np.stack([axis_positions(finished[key])[0] for key in keys], axis=1)
    forest = RandomForestRegressor(n_estimators=500, random_state=0).fit(values, finished["value"])
    return pd.Series(forest.feature_importances_, keys).sort_values(ascending=False)


def summarise(folders: list[Path]) -> str:
    """Write `trials.csv` and, of enough trials, `importance.png` and `parallel_coordinates.png` to the first folder.

    Returns:
        The best configurations as a Markdown table, the errors of failed jobs, and the command of the best.

    Raises:
        EmotionError: see `read_trials`.
    """
    trials, folder = read_trials(folders), folders[0]
    write_text(folder / "trials.csv", trials.to_csv(index=False, lineterminator="\n"))
    files, importance = ["trials.csv"], hyperparameter_importance(trials)
    if importance is not None:
        objective = trials["objective"].dropna().iloc[0]
        save_figure(plot_importance(importance, objective), folder / "importance.png")
        finished = configurations(trials).dropna(subset="value")
        figure = plot_parallel_coordinates(finished, list(importance.index), objective)
        save_figure(figure, folder / "parallel_coordinates.png")
        files += ["importance.png", "parallel_coordinates.png"]
    return f"{_format_summary(trials)}\nwrote to {folder}: {', '.join(files)}"


def _format_summary(trials: pd.DataFrame) -> str:
    best = configurations(trials)
    best = best[best["finished"] > 0].head(_MAX_PRINTED)
    lines = [] if best.empty else [to_markdown(_format_configurations(best, trials["objective"].dropna().iloc[0]))]
    counts = trials["status"].value_counts()
    lines.append(f"{len(trials)} jobs: " + ", ".join(f"{count} {status}" for status, count in counts.items()))
    failures = trials[trials["status"] == "failed"]
    lines += [f"  {row.directory}: {row.error}" for row in failures.head(_MAX_PRINTED).itertuples()]
    command = best_command(trials)
    lines.append(f"best: {command}" if command else "no job finished")
    return "\n".join(lines)


def _format_configurations(best: pd.DataFrame, objective: str) -> pd.DataFrame:
    table = best.drop(columns=["value", "std", "finished", "failed", "fit_minutes"]).map(_round)
    std = best["std"].map(" ± {:.3f}".format).where(best["std"].notna(), "")
    table[objective] = best["value"].map("{:.3f}".format) + std
    table["runs"] = best["finished"].astype(str)
    table["training time (min)"] = best["fit_minutes"].map("{:.1f}".format)
    return table


def _round(text: str | float) -> str:
    number = pd.to_numeric(text, errors="coerce")
    return f"{number:.4g}" if pd.notna(number) else str(text)


def _job_order(directory: Path) -> tuple[str, int, str]:
    """Sort jobs by number."""
    return str(directory.parent), int(directory.name) if directory.name.isdecimal() else -1, directory.name


def _read_trial(directory: Path) -> dict[str, Any]:
    metrics = runs.load_metrics(directory)
    error = directory / "error.txt"
    row: dict[str, Any] = {"directory": str(directory), "status": "unfinished", "objective": None, "error": ""}
    row |= {"value": np.nan, "fit_minutes": np.nan}
    if error.is_file() and not metrics:
        row |= {"status": "failed", "error": error.read_text(encoding="utf-8").strip().splitlines()[-1]}
    if metrics:
        objective = metrics["objective"]
        row |= {"status": "finished", "objective": objective, "value": metrics.get(objective, np.nan)}
        row["fit_minutes"] = metrics.get("fit_seconds", np.nan) / 60
    overrides = [override for override in runs.load_overrides(directory) if "=" in override]
    return row | {key_of(override): override.split("=", 1)[1] for override in overrides}
