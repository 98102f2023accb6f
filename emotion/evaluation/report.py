"""Many runs in one table: folds pooled, mean and standard deviation over seeds."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from emotion.errors import EmotionError
from emotion.evaluation.predictions import figures
from emotion.labels import classes
from emotion.protocols.protocol import number_of_folds

FILES = ("metrics.json", "predictions.csv", "config.yaml")
"""What is kept of a run behind a results table."""
_SAME = ("name", "model", "data", "channel", "labels", "protocol", "speaker_independent", "transductive", "parameters")


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        directory: Where it lies.
        metrics: Its `metrics.json`.
    """

    directory: Path
    metrics: dict[str, Any]

    def predictions(self) -> pd.DataFrame:
        """Its `predictions.csv`."""
        return pd.read_csv(self.directory / "predictions.csv", dtype={"recording": str, "speaker": str})


def find(paths: list[Path]) -> list[Run]:
    """Every finished run in or below `paths`, in the order of their names.

    Raises:
        EmotionError: there is none, or one is damaged.
    """
    found = {path.parent for root in paths for path in root.rglob("metrics.json") if "evaluations" not in path.parts}
    if not found:
        raise EmotionError(f"no finished run in {', '.join(map(str, paths))}: no metrics.json was found")
    runs = []
    for directory in sorted(found):
        try:
            metrics = json.loads((directory / "metrics.json").read_text(encoding="utf-8"))
            missing = {*_SAME, "fold", "seed", "test/uar"} - set(metrics)
        except (OSError, ValueError, TypeError) as error:
            raise EmotionError(f"{directory / 'metrics.json'} is damaged: {error}") from error
        if missing:
            raise EmotionError(f"{directory / 'metrics.json'} is not of a run: it lacks {', '.join(sorted(missing))}")
        runs.append(Run(directory, metrics))
    return runs


def keep(runs: list[Run], directory: Path) -> None:
    """Copy the small files of each run to `<directory>/<name>/fold<fold>-seed<seed>/`."""
    for run in runs:
        target = directory / run.metrics["name"] / f"fold{run.metrics['fold']}-seed{run.metrics['seed']}"
        target.mkdir(parents=True, exist_ok=True)
        for file in FILES:
            shutil.copyfile(run.directory / file, target / file)


def table(runs: list[Run]) -> pd.DataFrame:
    """One row for each system: the test predictions of its folds pooled, then mean ± deviation over its seeds.

    Folds differ in size, so recordings are pooled rather than figures averaged. The demo corpus has no place in a table
    of results.

    Raises:
        EmotionError: a recording was judged twice for one seed, as when the same fold was run twice.
    """
    rows = []
    groups: dict[tuple[Any, ...], list[Run]] = {}
    for run in runs:
        if run.metrics["data"] != "demo":
            groups.setdefault(tuple(run.metrics[key] for key in _SAME), []).append(run)
    if not groups:
        raise EmotionError("only runs on the demo corpus were found, whose figures are no results")
    for key, members in groups.items():
        rows.append(_row(dict(zip(_SAME, key, strict=True)), members))
    return pd.DataFrame(rows)


def _row(same: dict[str, Any], members: list[Run]) -> dict[str, str]:
    seeds = sorted({run.metrics["seed"] for run in members})
    pooled = [_pooled([run for run in members if run.metrics["seed"] == seed], same["labels"]) for seed in seeds]
    folds = sorted({run.metrics["fold"] for run in members})
    whole = number_of_folds(same["data"], same["protocol"])
    fold_text = f"{len(folds)} of {whole}" if len(folds) == whole else f"**only {len(folds)} of {whole}**"
    protocol = same["protocol"] + ("" if same["speaker_independent"] else " (speaker-dependent)")
    protocol += " (transductive)" if same["transductive"] else ""
    corpus = same["data"] if same["channel"] == "both" else f"{same['data']} {same['channel']}"
    seconds = np.mean([run.metrics["fit_seconds"] for run in members])
    return {
        "system": same["name"],
        "model": same["model"],
        "data": corpus,
        "protocol": protocol,
        "folds": fold_text,
        "seeds": str(len(seeds)),
        "recordings": f"{pooled[0]['recordings']:,}",
        "UAR": _mean_and_deviation([figure["test/uar"] for figure in pooled]),
        "accuracy": _mean_and_deviation([figure["test/war"] for figure in pooled]),
        "macro F1": _mean_and_deviation([figure["test/macro_f1"] for figure in pooled]),
        "parameters": f"{same['parameters']:,}",
        "minutes a fold": f"{seconds / 60:.1f}",
    }


def _pooled(members: list[Run], labels: str) -> dict[str, float]:
    predictions = pd.concat([run.predictions() for run in members])
    predictions = predictions[predictions["split"] == "test"]
    twice = predictions["recording"][predictions["recording"].duplicated()]
    if len(twice):
        name = members[0].metrics["name"]
        raise EmotionError(f"{name}: {twice.iloc[0]} was judged twice for one seed; name each fold and seed once")
    return figures(predictions, classes(labels)) | {"recordings": len(predictions)}


def _mean_and_deviation(values: list[float]) -> str:
    if len(values) == 1:
        return f"{values[0]:.3f}"
    return f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}"


def to_markdown(rows: pd.DataFrame) -> str:
    """A Markdown table."""
    lines = [list(rows.columns), ["---"] * len(rows.columns), *rows.to_numpy().tolist()]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines) + "\n"


RESULTS_PAGE = """# Results

Generated by `emotion report results --output docs/results.md` from the files under `results/`; not to be edited.

Every figure is of the **test** split, judged once with the epoch that dev chose. UAR is the unweighted average recall.
Folds are pooled over recordings; ± is the standard deviation over seeds. A *speaker-dependent* protocol tests people
whom the model was trained on, which flatters it: such a figure compares with others of its protocol alone.

Chance is 0.125; the 247 listeners of the corpus's authors named 0.62 of the speech clips right from sound alone.

{table}"""


def page(runs: list[Run]) -> str:
    """The page of results, as Markdown."""
    return RESULTS_PAGE.format(table=to_markdown(table(runs)))
