"""A table of all systems for other programs: `emotion report --summary`."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from emotion.config.compose import to_plain
from emotion.metrics.predictions import split_metrics, table_uar
from emotion.reports.runs import Run
from emotion.reports.systems import System, group_runs
from emotion.statistics.intervals import speaker_jackknife_ci

_NAMES = {
    **dict.fromkeys(("features", "audio", "sound"), "audio"),
    **dict.fromkeys(("images", "hog3d", "face", "faces"), "face"),
    "action_units": "action_units",
}
"""Names of modalities by those in configurations of this version and of earlier ones."""
_FIRST_VERSION = "0.1.0"  # did not write its version to metrics.json


def summary(runs: list[Run]) -> pd.DataFrame:
    """Return a row for each system, and one for the ensemble over its seeds where there are several.

    Args:
        runs: Finished runs.

    Returns:
        Columns `experiment`, `data`, `protocol`, `labels`, `modalities` (joined by +), `folds`, `seeds`, `ensemble`,
        `transductive`, `speaker_independent`, `uar`, `ci_low`, `ci_high` (95 % over speakers), `accuracy`, `macro_f1`,
        `parameters`, `minutes_per_fold` and `version`.
    """
    rows = [row for system in group_runs(runs) for row in _rows(system)]
    return pd.DataFrame(rows).round({"uar": 4, "ci_low": 4, "ci_high": 4, "accuracy": 4, "macro_f1": 4})


def _rows(system: System) -> Iterator[dict[str, Any]]:
    shared, run = system.shared, system.runs[0]
    metrics = {key: system.metrics[f"test/{key}"].mean() for key in ("uar", "war", "macro_f1")}
    minutes = np.mean([one.metrics["fit_seconds"] for one in system.runs]) / 60
    row = {
        "experiment": shared["name"],
        "data": shared["data"] if shared["channel"] == "speech" else f"{shared['data']} {shared['channel']}",
        "protocol": shared["protocol"],
        "labels": shared["labels"],
        "modalities": "+".join(_modalities(run)),
        "folds": system.n_folds,
        "seeds": system.n_seeds,
        "ensemble": "members" in run.metrics,
        "transductive": shared["transductive"],
        "speaker_independent": shared["speaker_independent"],
        **_figures(metrics, system.uar_ci.low, system.uar_ci.high),
        "parameters": shared["parameters"],
        "minutes_per_fold": round(minutes, 2),
        "version": run.metrics.get("version", _FIRST_VERSION),
    }
    yield row
    if system.ensemble is not None:
        joint, replicates = split_metrics(system.ensemble, system.classes), len(system.replicates)
        interval = speaker_jackknife_ci([system.ensemble], lambda table: table_uar(table, system.classes))
        size = {"parameters": shared["parameters"] * replicates, "minutes_per_fold": round(minutes * replicates, 2)}
        found = {key: joint[f"test/{key}"] for key in metrics}
        yield row | {"ensemble": True} | _figures(found, interval.low, interval.high) | size


def _figures(metrics: Mapping[str, float], low: float, high: float) -> dict[str, float]:
    return {
        "uar": metrics["uar"],
        "ci_low": low,
        "ci_high": high,
        "accuracy": metrics["war"],
        "macro_f1": metrics["macro_f1"],
    }


def _modalities(run: Run) -> list[str]:
    """Return the modalities that a run was tested with."""
    found = {_NAMES[name] for name in _inputs(to_plain(run.config).get("model")) if name in _NAMES}
    used = found - {run.metrics.get("without")}
    return sorted(used) or ["audio"]  # some configurations of version 0.1 do not say


def _inputs(node: Any) -> Iterator[str]:
    """Yield the inputs in a configuration, of this version or of earlier ones."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from [value] if key in ("input", "modality") else _inputs(value)
