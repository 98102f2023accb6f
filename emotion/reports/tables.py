"""Many runs in one table: folds pooled, mean and standard deviation over seeds, intervals over speakers.

Where folds test the same recordings again, mean and deviation are over folds and seeds.
"""

import numpy as np
import pandas as pd

from emotion.errors import EmotionError, suggest
from emotion.metrics.predictions import corpus_of
from emotion.protocols import SPLITS
from emotion.reports.systems import Run, System, ensemble_of, systems_of, together
from emotion.statistics import intervals
from emotion.statistics.comparison import holm, mcnemar, uar, wilcoxon_over_speakers

_CHANNELS = {"speech": "speech", "song": "song", "both": "speech + song"}


def compare(runs: list[Run], by: str | None = None, against: str | None = None, ensemble: bool = False) -> pd.DataFrame:
    """One row for each system: the test predictions of its folds pooled, then mean and deviation over its seeds.

    Folds differ in size, so recordings are pooled rather than figures averaged. A system that was tested on several
    corpora gets a row for each of them as well.

    Args:
        runs: Finished runs.
        by: A key of the configuration, such as `model.network.dropout`, that tells systems apart and gets a column.
        against: The name of a system with which every other is compared: how much better its UAR is, seed by seed; `p`
            of Wilcoxon's test over speakers that it is not, and `p_clips` of McNemar's over recordings, both after
            Holm's correction.
        ensemble: Add a row for the mean log-probability of all of them.

    Returns:
        Columns `system`, `model`, `data`, `protocol`, `by`, `folds`, `of_folds`, `seeds`, `recordings`, `speakers`,
        `uar`, `accuracy` and `macro_f1` with `…_deviation` (NaN of one seed), `uar_low` and `uar_high` (95 % over
        speakers), `together` (UAR of the seeds' mean log-probabilities), `parameters`, `minutes` a fold; with
        `against` also `gain`, `gain_deviation`, `p`, `p_clips`.

    Raises:
        EmotionError: `against` names no system, or one that judged other recordings; see also `systems_of`.
    """
    systems = systems_of(runs, by)
    reference = next((system for system in systems if system.name == against), None)
    if against and not reference:
        raise EmotionError(f"--against {against}: {suggest(against, [system.name for system in systems])}")
    rows = []
    for system in systems:
        rows.append(_row(system, by) | (_gain(system, reference) if reference and reference is not system else {}))
        corpora = sorted(set(corpus_of(system.by_unit[0])))
        if len(corpora) > 1:
            rows += [_row(system.only(corpus), by) for corpus in corpora]
    if ensemble:
        rows.append(_row(ensemble_of(systems), None))
    table = pd.DataFrame(rows)
    for column in {"p", "p_clips"} & set(table.columns):
        table[column] = holm(table[column])
    return table


def _row(system: System, by: str | None) -> dict[str, object]:
    same, seeds = system.same, system.figures
    protocol = same["protocol"] + ("" if same["speaker_independent"] else " (speaker-dependent)")
    speech_only = same["channel"] == "speech" and "ravdess" not in same["data"]
    said = together(system.by_unit, system.classes) if len(system.by_unit) > 1 else None
    row = {
        "system": same["name"],
        "model": same["model"],
        "data": same["data"] if speech_only else f"{same['data']} {_CHANNELS[same['channel']]}",
        "protocol": protocol + (" (transductive)" if same["transductive"] else ""),
        "classes": len(system.classes),
        by or "": same[by],
        "folds": system.folds[0],
        "of_folds": system.folds[1],
        "seeds": system.seeds,
        "folds_overlap": system.folds_overlap,
        "recordings": len(system.by_unit[0]),
        "speakers": system.interval.speakers,
    }
    for name, key in (("uar", "uar"), ("accuracy", "war"), ("macro_f1", "macro_f1")):
        row |= {name: seeds[f"test/{key}"].mean(), f"{name}_deviation": seeds[f"test/{key}"].std(ddof=1)}
    row |= {"uar_low": system.interval.low, "uar_high": system.interval.high}
    row["together"] = np.nan if said is None else uar(said, system.classes)
    row |= {"parameters": same["parameters"]}
    row["minutes"] = np.mean([run.metrics["fit_seconds"] for run in system.members]) / 60
    return {key: value for key, value in row.items() if key}


def _gain(system: System, reference: System) -> dict[str, float]:
    """By how much it is better, and the p of that, over the seeds that both have."""
    units = [unit for unit in system.units if unit in reference.units]
    own, other = ([of.by_unit[list(of.units).index(unit)] for unit in units] for of in (system, reference))
    if not units:
        return {}
    if set(own[0]["recording"]) != set(other[0]["recording"]):
        raise EmotionError(
            f"{system.name} and {reference.name} judged other recordings, so neither is better: compare within one "
            "protocol, and with all of its folds"
        )
    gains = [uar(a, system.classes) - uar(b, system.classes) for a, b in zip(own, other, strict=True)]
    return {
        "gain": np.mean(gains),
        "gain_deviation": np.std(gains, ddof=1) if len(gains) > 1 else np.nan,
        "p": wilcoxon_over_speakers(own, other, system.classes),
        "p_clips": mcnemar(*(together(rows, system.classes) for rows in (own, other))),
    }


def table(runs: list[Run], by: str | None = None, against: str | None = None, ensemble: bool = False) -> pd.DataFrame:
    """What `compare` gives, as text for people."""
    return in_words(compare(runs, by, against, ensemble), by)


def in_words(table: pd.DataFrame, by: str | None = None) -> pd.DataFrame:
    """The numbers that `compare` gives as text; columns that say nothing are left out."""
    shown = pd.DataFrame(_row_in_words(row, by) for row in table.to_dict("records"))
    return shown.loc[:, (shown != "").any()]


def _row_in_words(row: dict[str, object], by: str | None) -> dict[str, str]:
    folds = f"{row['folds']} of {row['of_folds']}"
    words = {
        "system": row["system"],
        "model": row["model"],
        "data": row["data"],
        "protocol": row["protocol"],
        "classes": f"{row['classes']}",
        by or "": f"{row.get(by, '')}",
        "folds": folds if row["folds"] == row["of_folds"] else f"**only {folds}**",
        "seeds": f"{row['seeds']}",
        "recordings": f"{row['recordings']:,}",
        "UAR": _mean_and_deviation(row, "uar"),
        "95 % over speakers": _interval(row),
        "gain": _mean_and_deviation(row, "gain", sign="+"),
        "p": _p(row.get("p", np.nan)),
        "p over clips": _p(row.get("p_clips", np.nan)),
        "accuracy": _mean_and_deviation(row, "accuracy"),
        "macro F1": _mean_and_deviation(row, "macro_f1"),
        "seeds together": "" if np.isnan(row["together"]) else f"{row['together']:.3f}",
        "parameters": f"{row['parameters']:,}",
        "minutes a fold": f"{row['minutes']:.1f}",
    }
    return {key: value for key, value in words.items() if key}


def _interval(row: dict[str, object]) -> str:
    if np.isnan(row["uar_low"]):
        return ""
    few = f" ({row['speakers']} speakers)" if row["speakers"] < intervals.FEW else ""
    return f"{row['uar_low']:.3f} to {row['uar_high']:.3f}{few}"


def _mean_and_deviation(row: dict[str, object], figure: str, sign: str = "") -> str:
    mean, deviation = row.get(figure, np.nan), row.get(f"{figure}_deviation", np.nan)
    if np.isnan(mean):
        return ""
    return f"{mean:{sign}.3f}" + ("" if np.isnan(deviation) else f" ± {deviation:.3f}")


def _p(value: float) -> str:
    return "" if np.isnan(value) else "< 0.001" if value < 0.001 else f"{value:.3f}"


def warnings(table: pd.DataFrame) -> list[str]:
    """What a reader of the table that `compare` gives has to be told, each in a sentence."""
    protocols = sorted(set(table["protocol"]))
    said = []
    if len(protocols) > 1:
        said.append(f"figures of different protocols ({', '.join(protocols)}) do not compare")
    for row in table.to_dict("records"):
        if row["folds"] < row["of_folds"]:
            said.append(
                f"{row['system']}: only {row['folds']} of {row['of_folds']} folds, so only some people were tested"
            )
        if row["folds_overlap"]:
            said.append(
                f"{row['system']}: its folds test recordings again, so figures are means over {row['folds']} folds"
            )
        if 1 < row["speakers"] < intervals.FEW:
            said.append(f"{row['system']}: the interval is a guess, for it rests on {row['speakers']} speakers")
    return said


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
