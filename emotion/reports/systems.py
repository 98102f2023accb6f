"""Systems: groups of finished runs that differ only in fold and seed."""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from emotion.errors import EmotionError
from emotion.labels import classes
from emotion.metrics.predictions import corpus_of, split_metrics, table_uar
from emotion.reports.runs import SHARED, Run
from emotion.statistics.intervals import ConfidenceInterval, speaker_jackknife_ci
from emotion.statistics.log_linear import pool


class System:
    """Runs that differ only in fold and seed.

    Args:
        shared: The metrics that all runs share, see `reports.runs.SHARED`.
        replicates: The runs of each replicate. A replicate is a seed with all its folds; where folds test the same
            recordings, it is a single run, with seed and fold as its key.
        predictions: The test predictions of each replicate, sorted by recording.

    Attributes:
        runs: All runs.
    """

    def __init__(
        self, shared: dict[str, Any], replicates: dict[Any, list[Run]], predictions: list[pd.DataFrame]
    ) -> None:
        self.shared, self.replicates, self.predictions = shared, replicates, predictions
        self.runs = [run for runs in replicates.values() for run in runs]

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Class names."""
        return classes(self.shared["labels"])

    @property
    def name(self) -> str:
        """The name of the system."""
        return self.shared["name"]

    @property
    def n_seeds(self) -> int:
        """The number of seeds."""
        return len({run.metrics["seed"] for run in self.runs})

    @property
    def n_folds(self) -> int:
        """The number of folds with a run."""
        return len({run.metrics["fold"] for run in self.runs})

    @property
    def n_protocol_folds(self) -> int:
        """The number of folds of the protocol."""
        return self.runs[0].metrics["folds"]

    @property
    def folds_overlap(self) -> bool:
        """True if several folds test the same recording."""
        return any(isinstance(key, tuple) for key in self.replicates)

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """The metrics of `metrics.predictions.split_metrics`, one row per replicate."""
        return pd.DataFrame(split_metrics(rows, self.classes) for rows in self.predictions)

    @cached_property
    def uar_ci(self) -> ConfidenceInterval:
        """The UAR, averaged over replicates, and its confidence interval over speakers."""
        tables = [rows[["speaker", "emotion", "predicted"]] for rows in self.predictions]
        return speaker_jackknife_ci(tables, lambda rows: table_uar(rows, self.classes))

    @cached_property
    def ensemble(self) -> pd.DataFrame | None:
        """The predictions of the ensemble over seeds; None of a single replicate, or of unequal recordings."""
        return ensemble_predictions(self.predictions, self.classes) if len(self.predictions) > 1 else None

    def select_corpus(self, corpus: str) -> "System":
        """Return the system evaluated on one corpus only."""
        predictions = [rows[corpus_of(rows) == corpus] for rows in self.predictions]
        return System(self.shared | {"name": f"{self.name}, on {corpus}"}, self.replicates, predictions)


def group_runs(runs: list[Run], key: str | None = None) -> list[System]:
    """Group runs into systems, sorted by name and by the value of `key`.

    Args:
        runs: Finished runs. Those on the demo corpus are left out.
        key: Configuration key that distinguishes systems, such as `model.backbone.dropout` (default: none).

    Raises:
        EmotionError: all runs are on the demo corpus, or a recording has two predictions for one seed.
    """
    groups: dict[tuple[Any, ...], list[Run]] = {}
    for run in runs:
        if run.metrics["data"] != "demo":
            shared = run.metrics | {"parameters": run.metrics["parameters"] if run.metrics.get("epochs", 1) else 0}
            values = (*(shared[name] for name in SHARED), run.setting(key) if key else None)
            groups.setdefault(values, []).append(run)
    if not groups:
        raise EmotionError("all runs are on the demo corpus, whose metrics are no results; give runs on another corpus")
    systems = [
        _build_system(dict(zip((*SHARED, key or ""), values, strict=True)), own) for values, own in groups.items()
    ]
    return sorted(systems, key=lambda system: (system.name, *_sort_key(system.shared[key or ""])))


def _sort_key(value: Any) -> tuple[bool, Any]:
    """Sort numbers before text."""
    return isinstance(value, str), value


def _build_system(shared: dict[str, Any], runs: list[Run]) -> System:
    """Pool the folds of each seed, unless they overlap."""
    replicates = _group_by(runs, lambda run: run.metrics["seed"])
    if any(_have_overlapping_folds(own) for own in replicates.values()):
        replicates = _group_by(runs, lambda run: (run.metrics["seed"], run.metrics["fold"]))
    shared = shared | {"parameters": round(np.mean([run.metrics["parameters"] for run in runs]))}
    return System(shared, replicates, [_pool_folds(shared["name"], own) for own in replicates.values()])


def _group_by(runs: list[Run], key: Callable[[Run], Any]) -> dict[Any, list[Run]]:
    groups: dict[Any, list[Run]] = {}
    for run in sorted(runs, key=key):
        groups.setdefault(key(run), []).append(run)
    return groups


def _have_overlapping_folds(runs: list[Run]) -> bool:
    folds = [run.metrics["fold"] for run in runs]
    tested = pd.concat(run.predictions.query("split == 'test'")["recording"] for run in runs)
    return len(set(folds)) == len(folds) and bool(tested.duplicated().any())


def _pool_folds(name: str, runs: list[Run]) -> pd.DataFrame:
    predictions = pd.concat([run.predictions for run in runs])
    predictions = predictions[predictions["split"] == "test"].sort_values("recording", ignore_index=True)
    duplicates = predictions["recording"][predictions["recording"].duplicated()]
    if len(duplicates):
        raise EmotionError(
            f"{name}: {duplicates.iloc[0]} has two predictions for one seed; give each fold and seed once, or "
            "distinguish systems with --group-by KEY"
        )
    return predictions


def log_probabilities(tables: Sequence[pd.DataFrame], labels: tuple[str, ...]) -> np.ndarray:
    """Return the log-probabilities of M tables of predictions, shape (M, N, C)."""
    return np.stack([np.log(rows[list(labels)].to_numpy().clip(1e-6)) for rows in tables])


def ensemble_predictions(
    tables: Sequence[pd.DataFrame], labels: tuple[str, ...], weights: np.ndarray | None = None
) -> pd.DataFrame | None:
    """Compute the predictions of an ensemble from a weighted sum of log-probabilities.

    Args:
        tables: Predictions of each of M members, in the same order.
        labels: Columns of probabilities.
        weights: Weights of the members, shape (M,) (default: 1 / M each).

    Returns:
        The predictions; None if the members predicted different recordings.
    """
    first, *others = tables
    if any(list(rows["recording"]) != list(first["recording"]) for rows in others):
        return None
    weights = np.full(len(tables), 1 / len(tables)) if weights is None else weights
    probabilities = pool(log_probabilities(tables, labels), weights)
    table = first.assign(**dict(zip(labels, probabilities.T, strict=True)))
    return table.assign(predicted=np.array(labels)[probabilities.argmax(axis=1)])


def build_ensemble(systems: list[System]) -> System:
    """Build an ensemble of all runs of all systems.

    Raises:
        EmotionError: the systems have different labels, or predicted different recordings.
    """
    first, *others = systems
    for other in others:
        if other.shared["labels"] != first.shared["labels"]:
            raise EmotionError(f"{first.name} and {other.name} have different labels and cannot form an ensemble")
    tables = [rows for system in systems for rows in system.predictions]
    predictions = ensemble_predictions(tables, first.classes)
    if predictions is None:
        raise EmotionError("an ensemble needs predictions of the same recordings: give runs of one protocol, all folds")
    parameters = sum(system.shared["parameters"] * system.n_seeds for system in systems)
    shared = first.shared | {"name": "ensemble", "model": f"{len(tables)} models", "parameters": parameters}
    return System(shared, {0: [run for system in systems for run in system.runs]}, [predictions])
