"""A table of all systems for other programs: `emotion report --summary`."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from emotion.config.compose import to_plain
from emotion.reports.runs import Run
from emotion.reports.systems import System, group_runs

_NAMES = {
    **dict.fromkeys(("features", "audio", "sound"), "audio"),
    **dict.fromkeys(("images", "hog3d", "face", "faces"), "face"),
    "action_units": "action_units",
}
"""Names of modalities by those in configurations of this version and of earlier ones."""
_FIGURES = ("uar", "ci_low", "ci_high", "accuracy", "macro_f1")


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
    return pd.DataFrame(rows).round(dict.fromkeys(_FIGURES, 4) | {"minutes_per_fold": 2})


def _rows(system: System) -> Iterator[dict[str, Any]]:
    row = _row(system)
    yield row
    if system.ensemble is not None:
        count = len(system.replicates)
        joint = _row(System(system.shared, {0: system.runs}, [system.ensemble]))
        size = {key: count * joint[key] for key in ("parameters", "minutes_per_fold")}
        yield joint | {"ensemble": True} | size


def _row(system: System) -> dict[str, Any]:
    shared, metrics, run = system.shared, system.metrics, system.runs[0]
    return {
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
        "uar": metrics["test/uar"].mean(),
        "ci_low": system.uar_ci.low,
        "ci_high": system.uar_ci.high,
        "accuracy": metrics["test/war"].mean(),
        "macro_f1": metrics["test/macro_f1"].mean(),
        "parameters": shared["parameters"],
        "minutes_per_fold": np.mean([one.metrics["fit_seconds"] for one in system.runs]) / 60,
        "version": run.version,
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
