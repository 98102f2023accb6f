"""Table of UAR on corrupted recordings, of many runs."""

from collections.abc import Hashable
from typing import cast

import numpy as np
import pandas as pd

from emotion.errors import EmotionError
from emotion.reports.systems import Run, group_runs
from emotion.robustness.corruptions import condition_name
from emotion.robustness.evaluate import FILE, KEYS, TOTAL
from emotion.statistics.intervals import speaker_jackknife_ci

_Counts = dict[tuple[str, str, float], pd.DataFrame]
"""Correct recordings of each speaker (rows) and label (columns), by corruption, unit and level."""


def robustness_table(runs: list[Run]) -> pd.DataFrame:
    """Compute the UAR of each system, corruption and level, with folds pooled and seeds averaged.

    Args:
        runs: Finished runs; those that were not evaluated on corrupted recordings are left out.

    Returns:
        Columns `system`, `corruption`, `unit`, `level`, `uar`, `uar_std` (over seeds), `uar_low` and `uar_high` (95 %
        CI over speakers). The corruption `none` comes first.

    Raises:
        EmotionError: no run was evaluated on corrupted recordings.
    """
    evaluated = [run for run in runs if run.robustness is not None]
    if not evaluated:
        raise EmotionError(f"no {FILE} was found; evaluate the runs first with emotion robustness RUN…")
    rows = []
    for system in group_runs(evaluated):
        counts = [_pool_folds(members) for members in system.replicates.values()]
        for condition in counts[0]:
            seeds = [_correct_and_total(own, condition) for own in counts]
            interval = speaker_jackknife_ci(seeds, _uar)
            row = {"system": system.name, **dict(zip(KEYS, condition, strict=False)), "uar": interval.value}
            row["uar_std"] = np.std([_uar(table) for table in seeds], ddof=1) if len(seeds) > 1 else np.nan
            rows.append(row | {"uar_low": interval.low, "uar_high": interval.high})
    table = pd.DataFrame(rows)
    return table[table["corruption"] != TOTAL].reset_index(drop=True)


def _pool_folds(runs: list[Run]) -> _Counts:
    tables = pd.concat(run.robustness for run in runs)
    sums = tables.fillna({"unit": ""}).groupby(KEYS, sort=False).sum()
    names: list[Hashable] = [*KEYS[:-1]]
    groups = sums.groupby(level=names, sort=False)
    return cast(_Counts, {condition: rows.droplevel(names) for condition, rows in groups})


def _correct_and_total(counts: _Counts, condition: tuple[str, str, float]) -> pd.DataFrame:
    """Return a row per speaker, with correct and (`total …`) all recordings of each label."""
    return counts[condition].join(counts[TOTAL, "", 0.0].add_prefix("total ")).reset_index()


def _uar(counts: pd.DataFrame) -> float:
    sums = counts.drop(columns="speaker").sum()
    support = sums[sums.index.str.startswith("total ")]
    recalls = [sums[str(name).removeprefix("total ")] / count for name, count in support.items() if count]
    return float(np.mean(recalls))


def format_robustness(table: pd.DataFrame) -> pd.DataFrame:
    """Format the table of `robustness_table`: one row per corruption and level, one column of UAR per system."""
    names = [condition_name(row["corruption"], row["level"], row["unit"]) for row in table.to_dict("records")]
    pivot = table.assign(corruption=names).pivot_table("uar", "corruption", "system", sort=False)
    return pivot.map(lambda value: "" if np.isnan(value) else f"{value:.3f}").reset_index()
