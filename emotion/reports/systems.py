"""Finished runs, and the systems that they are: what differs in fold and seed alone."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from omegaconf import OmegaConf

from emotion.errors import EmotionError
from emotion.labels import classes
from emotion.metrics.predictions import corpus_of, figures
from emotion.statistics import intervals
from emotion.statistics.comparison import uar

FILES = ("metrics.json", "predictions.csv", "config.yaml")
"""What is kept of a run behind a results table."""
IF_THERE = ("robustness.csv",)
"""What is kept besides."""
SAME = ("name", "model", "data", "channel", "labels", "protocol", "speaker_independent", "transductive", "parameters")
"""What the runs of a system have in common; the size of an estimator, which is not trained in epochs, may differ."""
_CHOSEN_ON_TEST = re.compile(r"^\s*monitor:\s*[\"']?test", re.MULTILINE)


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        directory: Where it lies.
        metrics: Its `metrics.json`.
    """

    directory: Path
    metrics: dict[str, Any]

    def setting(self, key: str) -> Any:
        """A value of its configuration: a number, or text.

        Raises:
            EmotionError: the configuration has no such key.
        """
        value = OmegaConf.select(OmegaConf.load(self.directory / "config.yaml"), key)
        if value is None:
            raise EmotionError(f"{self.directory / 'config.yaml'} has no {key}")
        return value if isinstance(value, int | float) else str(value)

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """Its `predictions.csv`."""
        return pd.read_csv(self.directory / "predictions.csv", dtype={"recording": str, "speaker": str})


def find(paths: list[Path]) -> list[Run]:
    """Every finished run in or below `paths`, in the order of their names; an evaluation if it is itself in `paths`.

    Raises:
        EmotionError: there is none, one is damaged, or one chose its epoch by a figure of test.
    """
    found = {
        path.parent
        for root in paths
        for path in root.rglob("metrics.json")
        if "evaluations" not in path.relative_to(root).parts
    }
    if not found:
        raise EmotionError(f"no finished run in {', '.join(map(str, paths))}: no metrics.json was found")
    runs = []
    for directory in sorted(found):
        try:
            metrics = json.loads((directory / "metrics.json").read_text(encoding="utf-8"))
            missing = {*SAME, "fold", "folds", "seed", "test/uar"} - set(metrics)
        except (OSError, ValueError, TypeError) as error:
            raise EmotionError(f"{directory} is damaged: {error}") from error
        if missing == {"test/uar"}:
            raise EmotionError(
                f"{directory} was not judged on test (test=false, as in a search); emotion trials tabulates such runs"
            )
        if missing:
            raise EmotionError(f"{directory / 'metrics.json'} is not of a run: it lacks {', '.join(sorted(missing))}")
        if _CHOSEN_ON_TEST.search((directory / "config.yaml").read_text(encoding="utf-8")):
            raise EmotionError(f"{directory} chose its epoch on test: its figures are no results")
        runs.append(Run(directory, metrics))
    return runs


def keep(runs: list[Run], directory: Path) -> None:
    """Copy the small files of each run to `<directory>/<name>/fold<fold>-seed<seed>/`."""
    for run in runs:
        target = directory / run.metrics["name"] / f"fold{run.metrics['fold']}-seed{run.metrics['seed']}"
        target.mkdir(parents=True, exist_ok=True)
        for file in (*FILES, *(file for file in IF_THERE if (run.directory / file).exists())):
            shutil.copyfile(run.directory / file, target / file)


class System:
    """Runs that differ in fold and seed alone.

    Attributes:
        same: What they have in common.
        members: The runs.
        units: The runs whose predictions belong together: those of all folds, by their seed; where folds test the same
            recordings again, each run, by its seed and its fold.
        by_unit: The test predictions of each unit, in the order of their recordings.
    """

    def __init__(self, same: dict[str, Any], units: dict[Any, list[Run]], by_unit: list[pd.DataFrame]) -> None:
        self.same, self.units, self.by_unit = same, units, by_unit
        self.members = [run for runs in units.values() for run in runs]
        self.classes = classes(same["labels"])

    @property
    def seeds(self) -> int:
        """How many seeds there are."""
        return len({run.metrics["seed"] for run in self.members})

    @property
    def folds_overlap(self) -> bool:
        """Whether a recording is tested in several folds."""
        return any(isinstance(unit, tuple) for unit in self.units)

    @property
    def name(self) -> str:
        """Its name."""
        return self.same["name"]

    @property
    def folds(self) -> tuple[int, int]:
        """How many folds were trained, and how many the protocol has."""
        return len({run.metrics["fold"] for run in self.members}), self.members[0].metrics["folds"]

    @cached_property
    def figures(self) -> pd.DataFrame:
        """A row for each unit, the figures of `predictions.figures`."""
        return pd.DataFrame(figures(rows, self.classes) for rows in self.by_unit)

    @cached_property
    def interval(self) -> intervals.Interval:
        """The UAR, averaged over units, and its interval over speakers."""
        narrow = [rows[["speaker", "emotion", "predicted"]] for rows in self.by_unit]
        return intervals.over_speakers(narrow, lambda rows: uar(rows, self.classes))

    def only(self, corpus: str) -> "System":
        """The same, judged on one corpus alone."""
        part = [rows[corpus_of(rows) == corpus] for rows in self.by_unit]
        return System(self.same | {"name": f"{self.name}, on {corpus}"}, self.units, part)


def _system(same: dict[str, Any], members: list[Run]) -> System:
    """A system, its folds pooled for each seed, unless they overlap."""
    units = _grouped(members, lambda run: run.metrics["seed"])
    if any(_overlap(runs) for runs in units.values()):
        units = _grouped(members, lambda run: (run.metrics["seed"], run.metrics["fold"]))
    same = same | {"parameters": round(np.mean([run.metrics["parameters"] for run in members]))}
    return System(same, units, [_pooled(same["name"], runs) for runs in units.values()])


def _grouped(members: list[Run], key: Callable[[Run], Any]) -> dict[Any, list[Run]]:
    groups: dict[Any, list[Run]] = {}
    for run in sorted(members, key=key):
        groups.setdefault(key(run), []).append(run)
    return groups


def _overlap(runs: list[Run]) -> bool:
    """Whether different folds test the same recordings."""
    folds = [run.metrics["fold"] for run in runs]
    tested = pd.concat(run.predictions.query("split == 'test'")["recording"] for run in runs)
    return len(set(folds)) == len(folds) and bool(tested.duplicated().any())


def _pooled(name: str, members: list[Run]) -> pd.DataFrame:
    predictions = pd.concat([run.predictions for run in members])
    predictions = predictions[predictions["split"] == "test"].sort_values("recording", ignore_index=True)
    twice = predictions["recording"][predictions["recording"].duplicated()]
    if len(twice):
        raise EmotionError(
            f"{name}: {twice.iloc[0]} was judged twice for one seed; name each fold and seed once, or tell systems "
            "apart with --by KEY"
        )
    return predictions


def together(tables: list[pd.DataFrame], labels: tuple[str, ...]) -> pd.DataFrame | None:
    """What the mean of the log-probabilities of several tables says; None unless they are of the same recordings.

    Args:
        tables: Predictions, in the order of their recordings.
        labels: The columns that hold probabilities.
    """
    first, *others = tables
    if any(list(rows["recording"]) != list(first["recording"]) for rows in others):
        return None
    logs = np.mean([np.log(rows[list(labels)].to_numpy().clip(1e-6)) for rows in tables], axis=0)
    said = first.assign(**dict(zip(labels, np.exp(logs).T, strict=True)))
    return said.assign(predicted=np.array(labels)[logs.argmax(axis=1)])


def systems_of(runs: list[Run], by: str | None = None) -> list[System]:
    """Group runs into systems, sorted by name, then by what `by` is.

    Args:
        runs: Finished runs; those on the demo corpus have no place in a table of results.
        by: A key of the configuration, such as `model.network.dropout`, that tells systems apart.

    Raises:
        EmotionError: all runs are on the demo corpus, or a recording was judged twice for one seed, as when the same
            fold was run twice.
    """
    groups: dict[tuple[Any, ...], list[Run]] = {}
    for run in runs:
        if run.metrics["data"] != "demo":
            same = run.metrics | {"parameters": run.metrics["parameters"] if run.metrics.get("epochs", 1) else 0}
            key = (*(same[key] for key in SAME), run.setting(by) if by else None)
            groups.setdefault(key, []).append(run)
    if not groups:
        raise EmotionError("only runs on the demo corpus were found, whose figures are no results")
    systems = [_system(dict(zip((*SAME, by), key, strict=True)), members) for key, members in groups.items()]
    return sorted(systems, key=lambda system: (system.name, isinstance(system.same[by], str), system.same[by]))


def ensemble_of(systems: list[System]) -> System:
    """All runs of all systems as one system, which says what the mean of their log-probabilities says.

    Raises:
        EmotionError: they did not judge the same recordings, or not with the same labels.
    """
    first, *others = systems
    for other in others:
        if other.same["labels"] != first.same["labels"]:
            raise EmotionError(f"{first.name} and {other.name} have other labels: they make no ensemble")
    by_unit = [rows for system in systems for rows in system.by_unit]
    said = together(by_unit, first.classes)
    if said is None:
        raise EmotionError("an ensemble needs runs that judged the same recordings: one protocol, and all its folds")
    total = sum(system.same["parameters"] * system.seeds for system in systems)
    same = first.same | {"name": "ensemble", "model": f"{len(by_unit)} models", "parameters": total}
    return System(same, {0: [run for system in systems for run in system.members]}, [said])
