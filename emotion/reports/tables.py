"""Tables of systems: folds pooled, mean and standard deviation over seeds, confidence intervals over speakers.

Where folds test the same recordings, mean and standard deviation are over folds and seeds.
"""

from collections.abc import Hashable, Mapping
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from emotion.errors import EmotionError, suggest
from emotion.metrics.predictions import corpus_of, table_uar
from emotion.protocols import SPLITS
from emotion.reports.runs import Run
from emotion.reports.systems import System, build_ensemble, ensemble_predictions, group_runs
from emotion.statistics.comparison import difference_ci, holm, mcnemar, wilcoxon_over_speakers
from emotion.statistics.intervals import MIN_SPEAKERS

_CHANNELS = {"speech": "speech", "song": "song", "both": "speech + song"}


def compare_systems(
    runs: list[Run], key: str | None = None, reference: str | None = None, ensemble: bool = False
) -> pd.DataFrame:
    """Compute the test metrics of each system, one row per system.

    Folds differ in size, so their recordings are pooled. A system that was tested on several corpora gets a further row
    for each corpus.

    Args:
        runs: Finished runs.
        key: Configuration key that distinguishes systems, such as `model.backbone.dropout` (default: none).
        reference: Name of the system with which all others are compared (default: none).
        ensemble: True to add a row for the ensemble of all runs (default: False).

    Returns:
        Columns `system`, `model`, `data`, `protocol`, `classes`, `key`, `folds`, `of_folds`, `seeds`, `folds_overlap`,
        `recordings`, `speakers`; `uar`, `accuracy` and `macro_f1` with `…_std` over seeds (NaN for a single seed);
        `uar_low` and `uar_high` (95 % CI over speakers), `ensemble_uar` (ensemble over seeds), `parameters`, and
        `fit_minutes`, the training time per fold. With `reference` also `delta_uar` and `delta_uar_std` over the shared
        seeds, `delta_uar_low` and `delta_uar_high` (95 % CI over speakers), `p_wilcoxon` and `p_mcnemar`, both after
        Holm's correction.

    Raises:
        EmotionError: no system has the name `reference`, or it predicted different recordings; see also `group_runs`.
    """
    systems = group_runs(runs, key)
    other = next((system for system in systems if system.name == reference), None)
    if reference and not other:
        raise EmotionError(f"--reference {reference}: {suggest(reference, [system.name for system in systems])}")
    rows = []
    for system in systems:
        rows.append(_metrics(system, key) | (_difference(system, other) if other and other is not system else {}))
        corpora = sorted(set(corpus_of(system.predictions[0])))
        if len(corpora) > 1:
            rows += [_metrics(system.select_corpus(corpus), key) for corpus in corpora]
    if ensemble:
        rows.append(_metrics(build_ensemble(systems), None) | ({key: ""} if key else {}))
    table = pd.DataFrame(rows)
    for column in {"p_wilcoxon", "p_mcnemar"} & set(table.columns):
        table[column] = holm(table[column])
    return table


def _metrics(system: System, key: str | None) -> dict[str, object]:
    shared, metrics = system.shared, system.metrics
    protocol = shared["protocol"] + ("" if shared["speaker_independent"] else " (speaker-dependent)")
    speech_only = shared["channel"] == "speech" and "ravdess" not in shared["data"]
    row = {
        "system": shared["name"],
        "model": shared["model"],
        "data": shared["data"] if speech_only else f"{shared['data']} {_CHANNELS[shared['channel']]}",
        "protocol": protocol + (" (transductive)" if shared["transductive"] else ""),
        "classes": len(system.classes),
        key or "": shared.get(key or ""),
        "folds": system.n_folds,
        "of_folds": system.n_protocol_folds,
        "seeds": system.n_seeds,
        "folds_overlap": system.folds_overlap,
        "recordings": len(system.predictions[0]),
        "speakers": system.uar_ci.n_speakers,
    }
    for name, metric in (("uar", "uar"), ("accuracy", "war"), ("macro_f1", "macro_f1")):
        row |= {name: metrics[f"test/{metric}"].mean(), f"{name}_std": metrics[f"test/{metric}"].std(ddof=1)}
    row |= {"uar_low": system.uar_ci.low, "uar_high": system.uar_ci.high}
    row["ensemble_uar"] = np.nan if system.ensemble is None else table_uar(system.ensemble, system.classes)
    row |= {"parameters": shared["parameters"]}
    row["fit_minutes"] = np.mean([run.metrics["fit_seconds"] for run in system.runs]) / 60
    return {column: value for column, value in row.items() if column}


def _difference(system: System, reference: System) -> dict[str, float]:
    """Compute the difference in UAR to the reference, and its p-values, over the replicates that both have."""
    shared = [replicate for replicate in system.replicates if replicate in reference.replicates]
    if not shared:
        return {}
    first, second = (
        [one.predictions[list(one.replicates).index(replicate)] for replicate in shared] for one in (system, reference)
    )
    if set(first[0]["recording"]) != set(second[0]["recording"]):
        raise EmotionError(
            f"{system.name} and {reference.name} predicted different recordings; compare systems of one protocol, with "
            "all folds"
        )
    uar = partial(table_uar, classes=system.classes)
    differences = [uar(one) - uar(other) for one, other in zip(first, second, strict=True)]
    interval = difference_ci(first, second, uar)
    ensemble, other = (ensemble_predictions(tables, system.classes) for tables in (first, second))
    return {
        "delta_uar": float(np.mean(differences)),
        "delta_uar_std": float(np.std(differences, ddof=1)) if len(differences) > 1 else np.nan,
        "delta_uar_low": interval.low,
        "delta_uar_high": interval.high,
        "p_wilcoxon": wilcoxon_over_speakers(first, second, uar),
        "p_mcnemar": np.nan if ensemble is None or other is None else mcnemar(ensemble, other),
    }


def format_systems(table: pd.DataFrame, key: str | None = None) -> pd.DataFrame:
    """Format the table of `compare_systems` as text, without empty columns."""
    formatted = pd.DataFrame(_format_row(row, key) for row in table.to_dict("records"))
    return formatted.loc[:, (formatted != "").any()]


def _format_row(row: Mapping[Hashable, Any], key: str | None) -> dict[str, str]:
    folds = f"{row['folds']} of {row['of_folds']}"
    cells = {
        "system": row["system"],
        "model": row["model"],
        "data": row["data"],
        "protocol": row["protocol"],
        "classes": f"{row['classes']}",
        key or "": f"{row.get(key, '')}",
        "folds": folds if row["folds"] == row["of_folds"] else f"**only {folds}**",
        "seeds": f"{row['seeds']}",
        "recordings": f"{row['recordings']:,}",
        "UAR": _mean_and_std(row, "uar"),
        "95 % CI (speakers)": _interval(row, "uar"),
        "ΔUAR": _mean_and_std(row, "delta_uar", sign="+z"),
        "95 % CI of ΔUAR": _interval(row, "delta_uar", sign="+z"),
        "p (Wilcoxon)": _p_value(row.get("p_wilcoxon", np.nan)),
        "p (McNemar)": _p_value(row.get("p_mcnemar", np.nan)),
        "accuracy": _mean_and_std(row, "accuracy"),
        "macro F1": _mean_and_std(row, "macro_f1"),
        "UAR, ensemble over seeds": "" if np.isnan(row["ensemble_uar"]) else f"{row['ensemble_uar']:.3f}",
        "parameters": f"{row['parameters']:,}",
        "training time per fold (min)": f"{row['fit_minutes']:.1f}",
    }
    return {column: cell for column, cell in cells.items() if column}


def _interval(row: Mapping[Hashable, Any], metric: str, sign: str = "") -> str:
    low, high = (row.get(f"{metric}_{end}", np.nan) for end in ("low", "high"))
    if np.isnan(low):
        return ""
    few = f" ({row['speakers']} speakers)" if row["speakers"] < MIN_SPEAKERS else ""
    return f"{low:{sign}.3f} to {high:{sign}.3f}{few}"


def _mean_and_std(row: Mapping[Hashable, Any], metric: str, sign: str = "") -> str:
    mean, std = row.get(metric, np.nan), row.get(f"{metric}_std", np.nan)
    if np.isnan(mean):
        return ""
    return f"{mean:{sign}.3f}" + ("" if np.isnan(std) else f" ± {std:.3f}")


def _p_value(value: float) -> str:
    return "" if np.isnan(value) else "< 0.001" if value < 0.001 else f"{value:.3f}"


def table_warnings(table: pd.DataFrame) -> list[str]:
    """Return warnings about the table of `compare_systems`, such as missing folds."""
    protocols = sorted(set(table["protocol"]))
    warnings = []
    if len(protocols) > 1:
        warnings.append(f"metrics of different protocols ({', '.join(protocols)}) are not comparable")
    for row in table.to_dict("records"):
        if row["folds"] < row["of_folds"]:
            warnings.append(
                f"{row['system']}: only {row['folds']} of {row['of_folds']} folds, so some speakers were not tested"
            )
        if row["folds_overlap"]:
            warnings.append(
                f"{row['system']}: its folds test the same recordings, so metrics are means over {row['folds']} folds"
            )
        if 1 < row["speakers"] < MIN_SPEAKERS:
            warnings.append(f"{row['system']}: the interval is a rough estimate from {row['speakers']} speakers")
    return warnings


def to_markdown(table: pd.DataFrame) -> str:
    """Format a table of text as Markdown."""
    lines = [list(table.columns), ["---"] * len(table.columns), *table.to_numpy().tolist()]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines) + "\n"


def validation_curve(runs: list[Run], key: str) -> pd.DataFrame:
    """Average train, dev and test UAR over the runs of each value of a hyperparameter.

    Args:
        runs: Finished runs.
        key: Configuration key of the hyperparameter.

    Returns:
        Columns `key`, `train`, `dev`, `test`, and their standard deviations `train_std`, …, sorted by value.
    """
    values = pd.DataFrame(
        {key: float(run.setting(key)), **{split: run.metrics[f"{split}/uar"] for split in SPLITS}} for run in runs
    )
    grouped = values.groupby(key)
    return grouped.mean().join(grouped.std().fillna(0.0).add_suffix("_std")).reset_index()
