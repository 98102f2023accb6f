"""Many runs in one table: folds pooled, mean and standard deviation over seeds."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from omegaconf import OmegaConf

from emotion.errors import EmotionError, suggest
from emotion.evaluation.comparison import wilcoxon_over_speakers
from emotion.evaluation.predictions import corpus_of, figures
from emotion.labels import classes
from emotion.protocols import SPLITS

FILES = ("metrics.json", "predictions.csv", "config.yaml")
"""What is kept of a run behind a results table."""
_SAME = ("name", "model", "data", "channel", "labels", "protocol", "speaker_independent", "transductive", "parameters")
_CHANNELS = {"speech": "speech", "song": "song", "both": "speech + song"}


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

    def predictions(self) -> pd.DataFrame:
        """Its `predictions.csv`."""
        return pd.read_csv(self.directory / "predictions.csv", dtype={"recording": str, "speaker": str})


def find(paths: list[Path]) -> list[Run]:
    """Every finished run in or below `paths`, in the order of their names; an evaluation if it is itself in `paths`.

    Raises:
        EmotionError: there is none, or one is damaged.
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
            missing = {*_SAME, "fold", "folds", "seed", "test/uar"} - set(metrics)
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


def table(runs: list[Run], by: str | None = None, against: str | None = None) -> pd.DataFrame:
    """One row for each system: the test predictions of its folds pooled, then mean ± deviation over its seeds.

    Folds differ in size, so recordings are pooled rather than figures averaged. Where there are several seeds, `seeds
    together` is the UAR of their mean log-probabilities. A system that was tested on several corpora gets a row for
    each of them as well. The demo corpus has no place in a table of results.

    Args:
        runs: Finished runs.
        by: A key of the configuration, such as `model.network.dropout`, that tells systems apart and gets a column.
        against: The name of a system; every other gets a column `gain`: how much better its UAR is, seed by seed; and
            `p`, of Wilcoxon's test over speakers that it is not.

    Raises:
        EmotionError: a recording was judged twice for one seed, as when the same fold was run twice; `against` names no
            system.
    """
    groups: dict[tuple[Any, ...], list[Run]] = {}
    for run in runs:
        if run.metrics["data"] != "demo":
            key = (*(run.metrics[key] for key in _SAME), run.setting(by) if by else None)
            groups.setdefault(key, []).append(run)
    if not groups:
        raise EmotionError("only runs on the demo corpus were found, whose figures are no results")
    systems = [_System(dict(zip((*_SAME, by), key, strict=True)), members) for key, members in groups.items()]
    systems.sort(key=lambda system: (system.same["name"], isinstance(system.same[by], str), system.same[by]))
    reference = next((system for system in systems if system.same["name"] == against), None)
    if against and not reference:
        raise EmotionError(f"--against {against}: {suggest(against, [system.same['name'] for system in systems])}")
    rows = []
    for system in systems:
        rows.append(system.row(by, reference))
        corpora = sorted(set(corpus_of(system.by_seed[0])))
        if len(corpora) > 1:
            rows += [system.only(corpus).row(by, None) for corpus in corpora]
    shown = pd.DataFrame(rows).fillna("")
    return shown.loc[:, (shown != "").any()]


class _System:
    """Runs that differ in fold and seed alone.

    Attributes:
        same: What they have in common.
        members: The runs.
        by_seed: The test predictions of all folds of each seed, in the order of their recordings.
    """

    def __init__(self, same: dict[str, Any], members: list[Run]) -> None:
        self.same, self.members = same, members
        self.seeds = sorted({run.metrics["seed"] for run in members})
        self.classes = classes(same["labels"])
        self.by_seed = [self._pooled([run for run in members if run.metrics["seed"] == seed]) for seed in self.seeds]

    def only(self, corpus: str) -> "_System":
        """The same, judged on one corpus alone."""
        part = _System(self.same | {"name": f"{self.same['name']}, on {corpus}"}, self.members)
        part.by_seed = [rows[corpus_of(rows) == corpus] for rows in self.by_seed]
        return part

    def row(self, by: str | None, reference: "_System | None") -> dict[str, str]:
        """The system's row in the table."""
        same, metrics = self.same, [run.metrics for run in self.members]
        pooled = [figures(rows, self.classes) for rows in self.by_seed]
        folds, whole = len({metric["fold"] for metric in metrics}), metrics[0]["folds"]
        protocol = same["protocol"] + ("" if same["speaker_independent"] else " (speaker-dependent)")
        protocol += " (transductive)" if same["transductive"] else ""
        speech_only = same["channel"] == "speech" and "ravdess" not in same["data"]
        row = {
            "system": same["name"],
            "model": same["model"],
            "data": same["data"] if speech_only else f"{same['data']} {_CHANNELS[same['channel']]}",
            "protocol": protocol,
            by or "": str(same[by]),
            "folds": f"{folds} of {whole}" if folds == whole else f"**only {folds} of {whole}**",
            "seeds": str(len(self.seeds)),
            "recordings": f"{len(self.by_seed[0]):,}",
            "UAR": _mean_and_deviation([figure["test/uar"] for figure in pooled]),
            **(self._gain(reference) if reference and reference is not self else {"gain": "", "p": ""}),
            "accuracy": _mean_and_deviation([figure["test/war"] for figure in pooled]),
            "macro F1": _mean_and_deviation([figure["test/macro_f1"] for figure in pooled]),
            "seeds together": self._together(),
            "parameters": f"{same['parameters']:,}",
            "minutes a fold": f"{np.mean([metric['fit_seconds'] for metric in metrics]) / 60:.1f}",
        }
        return {key: value for key, value in row.items() if key}

    def _pooled(self, members: list[Run]) -> pd.DataFrame:
        predictions = pd.concat([run.predictions() for run in members])
        predictions = predictions[predictions["split"] == "test"].sort_values("recording", ignore_index=True)
        twice = predictions["recording"][predictions["recording"].duplicated()]
        if len(twice):
            raise EmotionError(
                f"{self.same['name']}: {twice.iloc[0]} was judged twice for one seed; name each fold and seed once, or "
                "tell systems apart with --by KEY"
            )
        return predictions

    def _together(self) -> str:
        """UAR of the mean log-probabilities of all seeds, if there are several and all judged the same recordings."""
        first, *others = self.by_seed
        if not others or any(list(rows["recording"]) != list(first["recording"]) for rows in others):
            return ""
        labels = list(self.classes)
        logs = np.mean([np.log(rows[labels].to_numpy().clip(1e-6)) for rows in self.by_seed], axis=0)
        together = first.assign(**dict(zip(labels, np.exp(logs).T, strict=True)))
        return f"{figures(together, self.classes)['test/uar']:.3f}"

    def _gain(self, reference: "_System") -> dict[str, str]:
        """By how much it is better, and the p of that, over the seeds that both have."""
        seeds = [seed for seed in self.seeds if seed in reference.seeds]
        own, other = ([system.by_seed[system.seeds.index(seed)] for seed in seeds] for system in (self, reference))
        if not seeds:
            return {}
        uar = [[figures(rows, self.classes)["test/uar"] for rows in rows_of] for rows_of in (own, other)]
        p = wilcoxon_over_speakers(own, other, self.classes)
        shown = "" if np.isnan(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"
        return {"gain": _mean_and_deviation(np.subtract(*uar), sign="+"), "p": shown}


def _mean_and_deviation(values: Sequence[float], sign: str = "") -> str:
    mean = f"{np.mean(values):{sign}.3f}"
    return mean if len(values) == 1 else f"{mean} ± {np.std(values, ddof=1):.3f}"


def to_markdown(rows: pd.DataFrame) -> str:
    """A Markdown table."""
    lines = [list(rows.columns), ["---"] * len(rows.columns), *rows.to_numpy().tolist()]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines) + "\n"


def validation_curve(runs: list[Run], by: str) -> pd.DataFrame:
    """Mean and deviation over runs of train, dev and test UAR, for each value of the configuration's key `by`.

    Returns:
        Columns `by`, `train`, `train deviation`, `dev`, … sorted by the value.
    """
    values = pd.DataFrame(
        {by: float(run.setting(by)), **{split: run.metrics[f"{split}/uar"] for split in SPLITS}} for run in runs
    )
    grouped = values.groupby(by)
    return grouped.mean().join(grouped.std().fillna(0.0).add_suffix(" deviation")).reset_index()


RESULTS_PAGE = """# Results

Generated by `emotion report results --output docs/results.md` from the files under `results/`; not to be edited.

Every figure is of the **test** split, judged with the epoch that dev chose. UAR is the unweighted average recall.
Folds are pooled over recordings; ± is the standard deviation over seeds, and *seeds together* the UAR of the mean of
the seeds' log-probabilities. A *speaker-dependent* protocol tests people whom the model was trained on, which flatters
it: such a figure compares with others of its protocol alone.

Chance is one divided by the number of labels: 0.125 for the eight of RAVDESS. The 247 listeners of its authors named
0.62 of the speech clips right from sound alone.

{tables}"""


def _dropout_table(runs: list[Run]) -> str:
    by = "model.network.dropout"
    values = sorted({float(run.setting(by)) for run in runs})
    groups = {value: [run.metrics for run in runs if float(run.setting(by)) == value] for value in values}
    rows = [
        {by: f"{value:g}", "seeds": str(len(group))}
        | {f"{split} UAR": _mean_and_deviation([metrics[f"{split}/uar"] for metrics in group]) for split in SPLITS}
        for value, group in groups.items()
    ]
    return to_markdown(pd.DataFrame(rows))


@dataclass(frozen=True)
class Section:
    """A part of the page of results: the systems whose names begin with `prefix`.

    Attributes:
        prefix: What stands before the last `/` of a name; empty for names without one.
        title: Its heading.
        text: What a reader has to know.
        tabulate: Makes its table.
        beside: A system of another section that is shown here too.
    """

    prefix: str
    title: str
    text: str
    tabulate: Callable[[list[Run]], str]
    beside: str = ""


SECTIONS = (
    Section(
        "",
        "Systems",
        "Each is an experiment of the same name: `python train.py -m experiment=NAME seed=0,1,2`, with "
        "`protocol.fold=0,1,2,3,4` for `luna5`. Folds were trained on one core each, which other work shared: minutes "
        "are an upper bound.\n\nSong here is 1,009 of the 1,012 recordings, each cut to its first 2.389 s. TESS is 699 "
        "of its 2,800 recordings: 50 of the 200 words.",
        lambda runs: to_markdown(table(runs)),
    ),
    Section(
        "ingredients",
        "What each ingredient is worth",
        "One thing of `mfcc_cnn_luna5` is changed at a time; *gain* is by how much UAR is better or worse, seed by "
        "seed, and *p* that of Wilcoxon's signed-rank test over the 24 speakers. "
        "`python train.py -m 'experiment=glob(ingredients/*)' protocol.fold=0,1,2,3,4 seed=0,1,2`",
        lambda runs: to_markdown(table(runs, against="mfcc_cnn_luna5")),
        beside="mfcc_cnn_luna5",
    ),
    Section(
        "sound_and_face",
        "Sound and face",
        "The face is the mean of 35 OpenFace action units over each video. A *gain* is against `late_fusion_luna5`, "
        "*p* that of Wilcoxon's signed-rank test over the 24 speakers.\n\nFusions start from finished runs of the same "
        "fold and seed; for each `SEED`:\n\n```\n"
        "python train.py -m experiment=audio_lstm_luna5 protocol.fold=0,1,2,3,4 seed=SEED run_dir=outputs/sound-SEED\n"
        "python train.py -m experiment=sound_and_face/action_units_luna5 protocol.fold=0,1,2,3,4 seed=SEED "
        "run_dir=outputs/units-SEED\n"
        "python train.py -m experiment=sound_and_face/late_fusion_luna5 protocol.fold=0,1,2,3,4 seed=SEED "
        "'model.audio.run=outputs/sound-SEED/${protocol.fold}' "
        "'model.visual.run=outputs/units-SEED/${protocol.fold}'\n```",
        lambda runs: to_markdown(table(runs, against=_if_there(runs, "sound_and_face/late_fusion_luna5"))),
        beside="audio_lstm_luna5",
    ),
    Section(
        "dropout_curve",
        "Dropout",
        "UAR over the dropout of the convolutions, speaker-dependent. `python train.py -m experiment=dropout_curve "
        "model.network.dropout=0,0.1,0.2,0.3,0.4,0.5`\n\n![UAR of train, dev and test over dropout](dropout_curve.png)",
        _dropout_table,
    ),
)


def _if_there(runs: list[Run], name: str) -> str | None:
    return name if any(run.metrics["name"] == name for run in runs) else None


def page(runs: list[Run]) -> str:
    """The page of results, as Markdown: a section for each first part of the systems' names."""
    parts = []
    for section in SECTIONS:
        members = [run for run in runs if run.metrics["name"].rpartition("/")[0] == section.prefix]
        if members:
            members += [run for run in runs if run.metrics["name"] == section.beside]
            parts.append(f"## {section.title}\n\n{section.text}\n\n{section.tabulate(members)}")
    return RESULTS_PAGE.format(tables="\n".join(parts))
