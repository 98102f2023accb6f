"""What became of the jobs of a sweep: a table, the best of them as a command, and which hyperparameters mattered."""

import os
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from omegaconf import OmegaConf

from emotion import runs
from emotion.config import key_of
from emotion.errors import EmotionError
from emotion.files import write_text
from emotion.plots import figures
from emotion.reports.tables import to_markdown

REPEATS = ("protocol.fold", "seed")
"""Trials that differ in these alone try the same setting."""
_OF_A_SEARCH = ("hparams_search", "test")
_ENOUGH = 8  # settings, from which the importance of hyperparameters can be guessed
_SHOWN = 10


def trials(folders: list[Path]) -> pd.DataFrame:
    """One row for each job of sweeps, in the order of their places.

    Args:
        folders: Of sweeps, or folders that hold them.

    Returns:
        Columns `directory`, `status` (`finished`, `failed` or `unfinished`), `objective` (the name of a dev figure),
        `value`, `minutes` of fitting, `error`, and one for every key that was typed or searched, as text.

    Raises:
        EmotionError: there is no job, or they have different objectives.
    """
    found = {path.parent for folder in folders for path in folder.rglob("overrides.yaml")}
    rows = [_row(directory) for directory in sorted(found, key=_in_order)]
    if not rows:
        raise EmotionError(f"no job of a sweep in {', '.join(map(str, folders))}")
    table = pd.DataFrame(rows)
    objectives = sorted(table["objective"].dropna().unique())
    if len(objectives) > 1:
        raise EmotionError(f"these jobs have different objectives: {', '.join(objectives)}")
    return table


def settings(table: pd.DataFrame) -> pd.DataFrame:
    """Trials of the same setting as one row, best first.

    Args:
        table: As `trials` gives it.

    Returns:
        The columns that vary, `value` (mean of those that finished), `deviation`, `runs`, `failed` and `minutes`.
    """
    keys = [key for key in varying(table) if key not in REPEATS]
    groups = table.groupby(keys, dropna=False, sort=False) if keys else table.groupby(lambda _: 0)
    result = groups.agg(
        value=("value", "mean"),
        deviation=("value", "std"),
        runs=("value", "count"),
        failed=("status", lambda status: int((status == "failed").sum())),
        minutes=("minutes", "mean"),
    ).reset_index(drop=not keys)
    lower = table["objective"].dropna().map(runs.lower_is_better).any()
    return result.sort_values("value", ascending=bool(lower), ignore_index=True, kind="stable")


def varying(table: pd.DataFrame) -> list[str]:
    """The keys that not all trials have the same value of."""
    own = ("directory", "status", "objective", "value", "minutes", "error")
    return [key for key in table if key not in own and table[key].nunique(dropna=False) > 1]


def best_command(table: pd.DataFrame) -> str | None:
    """What trains the best setting and tests it, to be typed; None if no trial finished."""
    best = settings(table).iloc[0]
    if np.isnan(best["value"]):
        return None
    keys = [key for key in varying(table) if key not in REPEATS]
    chosen = table[(table[keys].fillna("") == best[keys].fillna("")).all(axis=1) & table["value"].notna()]
    config = runs.load_config(Path(chosen["directory"].iloc[0]))
    typed = runs.load_overrides(Path(chosen["directory"].iloc[0]))
    parts = [override for override in typed if key_of(override) not in (*_OF_A_SEARCH, *REPEATS)]
    if not any(key_of(override) in ("model", "experiment") for override in typed):
        parts.insert(0, f"model={config.model.name}")
    repeats = {key: sorted(chosen[key].dropna().unique(), key=float) for key in REPEATS if key in chosen}
    parts += [f"{key}={','.join(values)}" for key, values in repeats.items() if values]
    root = config.data.root
    if root and Path(root).resolve() != Path(os.environ.get("EMOTION_DATA", "data")).resolve():
        parts.append(f"data.root={root}")
    several = ["-m"] if any(len(values) > 1 for values in repeats.values()) else []
    return shlex.join(["python", "train.py", *several, *parts])


def importance(table: pd.DataFrame) -> pd.Series | None:
    """How much each hyperparameter mattered, as shares of 1, most first; None of too few settings.

    By how much splits at it lower the variance in the trees of a random forest that predicts the objective: mean
    decrease in impurity (Louppe et al., 2013, "Understanding variable importances in forests of randomized trees").
    """
    known = settings(table).dropna(subset="value")
    keys = [key for key in varying(table) if key not in REPEATS]
    if len(known) < _ENOUGH or len(keys) < 2 or known["value"].nunique() < 2:
        return None
    from sklearn.ensemble import RandomForestRegressor

    values = np.stack([positions(known[key])[0] for key in keys], axis=1)
    forest = RandomForestRegressor(n_estimators=500, random_state=0).fit(values, known["value"])
    return pd.Series(forest.feature_importances_, keys).sort_values(ascending=False)


def positions(column: pd.Series) -> tuple[np.ndarray, list[tuple[float, str]]]:
    """Where values, given as text, lie on an axis, and some of its ticks with their labels.

    Numbers lie on a logarithmic axis if the largest is ten times the smallest or more and most are small; few of them
    lie one by one.
    """
    numbers = pd.to_numeric(column, errors="coerce")
    if numbers.isna().any() or numbers.nunique() < 5:  # few of them are choices
        order = sorted(column.fillna("").unique(), key=_rank)
        places = {text: float(place) for place, text in enumerate(order)}
        return column.fillna("").map(places).to_numpy(), [(place, text) for text, place in places.items()]
    low, high = numbers.min(), numbers.max()
    middles = (low + high) / 2, np.sqrt(max(low, 0) * max(high, 0))  # where half of them lie if drawn evenly, or so
    logarithmic = low > 0 and high / low >= 10 and numbers.median() < np.mean(middles)
    scale = np.log10 if logarithmic else np.asarray
    ends = np.geomspace(low, high, 3) if logarithmic else np.linspace(low, high, 3)
    return scale(numbers.to_numpy()), [(float(scale(end)), f"{end:.2g}") for end in ends]


def _rank(text: str) -> tuple[float, str]:
    """Numbers first, by their size."""
    number = pd.to_numeric(text, errors="coerce")
    return (np.inf if pd.isna(number) else float(number), text)


def summarise(folders: list[Path]) -> str:
    """Write `trials.csv` and, of enough trials, `importance.png` and `parallel_coordinates.png` into the first folder.

    Returns:
        The best settings as a Markdown table, what failed, and the best as a command.

    Raises:
        EmotionError: see `trials`.
    """
    table, folder = trials(folders), folders[0]
    write_text(folder / "trials.csv", table.to_csv(index=False, lineterminator="\n"))
    written, mattered = ["trials.csv"], importance(table)
    if mattered is not None:
        from emotion.plots.trials import importance_figure, parallel_coordinates_figure

        objective, known = table["objective"].dropna().iloc[0], settings(table).dropna(subset="value")
        figures.save(importance_figure(mattered, objective), folder / "importance.png")
        parallel = parallel_coordinates_figure(known, list(mattered.index), objective)
        figures.save(parallel, folder / "parallel_coordinates.png")
        written += ["importance.png", "parallel_coordinates.png"]
    return f"{_in_words(table)}\nwritten to {folder}: {', '.join(written)}"


def _in_words(table: pd.DataFrame) -> str:
    best = settings(table)
    best = best[best["runs"] > 0].head(_SHOWN)
    lines = [] if best.empty else [to_markdown(_shown(best, table["objective"].dropna().iloc[0]))]
    counts = table["status"].value_counts()
    lines.append(f"{len(table)} jobs: " + ", ".join(f"{count} {status}" for status, count in counts.items()))
    failures = table[table["status"] == "failed"]
    lines += [f"  {row.directory}: {row.error}" for row in failures.head(_SHOWN).itertuples()]
    command = best_command(table)
    lines.append(f"best: {command}" if command else "none of them finished")
    return "\n".join(lines)


def _shown(best: pd.DataFrame, objective: str) -> pd.DataFrame:
    """Settings as they are printed; with the deviation where there are several runs of one."""
    shown = best.drop(columns=["value", "deviation", "runs", "failed", "minutes"]).map(_rounded)
    plain, deviation = best["value"].map("{:.3f}".format), best["deviation"].map(" ± {:.3f}".format)
    shown[objective] = plain + deviation.where(best["deviation"].notna(), "")
    shown["runs"], shown["minutes"] = best["runs"].astype(str), best["minutes"].map("{:.1f}".format)
    return shown


def _rounded(text: object) -> str:
    number = pd.to_numeric(text, errors="coerce")
    return f"{number:.4g}" if pd.notna(number) else str(text)


def _in_order(directory: Path) -> tuple[str, int, str]:
    """Jobs by their numbers."""
    return str(directory.parent), int(directory.name) if directory.name.isdecimal() else -1, directory.name


def _row(directory: Path) -> dict[str, Any]:
    metrics = runs.load_metrics(directory)
    error = directory / "error.txt"
    row: dict[str, Any] = {"directory": str(directory), "status": "unfinished", "objective": None, "error": ""}
    row |= {"value": np.nan, "minutes": np.nan}
    if error.is_file() and not metrics:
        row |= {"status": "failed", "error": error.read_text(encoding="utf-8").strip().splitlines()[-1]}
    if metrics:
        objective = runs.objective(OmegaConf.load(directory / "config.yaml"))
        row |= {"status": "finished", "objective": objective, "value": metrics.get(objective, np.nan)}
        row["minutes"] = metrics.get("fit_seconds", np.nan) / 60
    typed = [override for override in runs.load_overrides(directory) if "=" in override]
    return row | {key_of(override): override.split("=", 1)[1] for override in typed}
