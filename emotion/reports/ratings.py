"""Tables of systems that predict ratings: folds pooled, mean and standard deviation over seeds."""

import numpy as np
import pandas as pd

from emotion.metrics.predictions import ccc_interval, table_ratings
from emotion.metrics.regression import regression_metrics
from emotion.reports.runs import Run
from emotion.reports.systems import System, group_runs


def compare_ratings(runs: list[Run], key: str | None = None) -> pd.DataFrame:
    """Compute the test metrics of each system that predicts ratings, one row per system.

    Args:
        runs: Finished runs of `task=regression`.
        key: Configuration key that distinguishes systems (default: none).

    Returns:
        Columns `system`, `model`, `data`, `protocol`, `key`, `folds`, `of_folds`, `seeds`, `recordings`, `speakers`,
        `ccc` with `ccc_std` over seeds (NaN for a single seed), `ccc_low` and `ccc_high` (95 % CI over speakers), a
        column `ccc_<rating>` for each rating, `mae`, `parameters` and `fit_minutes`, the training time per fold.
    """
    return pd.DataFrame(_row(system, key) for system in group_runs(runs, key))


def _row(system: System, key: str | None) -> dict[str, object]:
    shared, ratings = system.shared, system.shared["labels"].split(",")
    found = pd.DataFrame(regression_metrics(*table_ratings(rows, ratings), ratings) for rows in system.predictions)
    interval = ccc_interval(system.predictions, ratings)
    protocol = shared["protocol"] + ("" if shared["speaker_independent"] else " (speaker-dependent)")
    return {
        "system": system.name,
        "model": shared["model"],
        "data": shared["data"],
        "protocol": protocol,
        **({key: shared[key]} if key else {}),
        "folds": system.n_folds,
        "of_folds": system.n_protocol_folds,
        "seeds": system.n_seeds,
        "recordings": len(system.predictions[0]),
        "speakers": interval.n_speakers,
        "ccc": found["ccc"].mean(),
        "ccc_std": found["ccc"].std(),
        "ccc_low": interval.low,
        "ccc_high": interval.high,
        **{f"ccc_{name}": found[f"ccc/{name}"].mean() for name in ratings if f"ccc/{name}" in found},
        "mae": found["mae"].mean(),
        "parameters": shared["parameters"],
        "fit_minutes": np.mean([run.metrics["fit_seconds"] for run in system.runs]) / 60,
    }


def format_ratings(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table of `compare_ratings` as text, with three decimals."""
    shown = table.drop(columns=["ccc_std", "ccc_low", "ccc_high", "of_folds"])
    shown["folds"] = [f"{row.folds} of {row.of_folds}" for row in table.itertuples()]
    std = table["ccc_std"].map(lambda value: "" if np.isnan(value) else f" ± {value:.3f}")
    shown["ccc"] = table["ccc"].map("{:.3f}".format) + std
    known = table["ccc_low"].notna()
    interval = table["ccc_low"].map("{:.3f}".format) + " to " + table["ccc_high"].map("{:.3f}".format)
    shown.insert(list(shown).index("ccc") + 1, "95 % CI (speakers)", interval.where(known, ""))
    for name in shown:
        if str(name).startswith("ccc_") or name == "mae":
            shown[name] = table[name].map("{:.3f}".format)
    shown["seeds"], shown["speakers"] = table["seeds"].astype(str), table["speakers"].astype(str)
    shown["recordings"] = table["recordings"].map("{:,}".format)
    shown["parameters"] = table["parameters"].map("{:,}".format)
    shown["fit_minutes"] = table["fit_minutes"].map("{:.1f}".format)
    return shown.rename(columns=lambda name: str(name).replace("ccc_", "CCC ").replace("ccc", "CCC").replace("_", " "))
