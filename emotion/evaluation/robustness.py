"""How a finished run does on recordings that are spoilt, more and more."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from emotion import runs
from emotion.data.datamodule import EmotionDataModule
from emotion.data.dataset import Batch
from emotion.errors import EmotionError
from emotion.evaluation import intervals, systems
from emotion.evaluation.disturbances import OF_FACES, Disturbance, of_action_units, of_sound
from emotion.evaluation.predictions import predict, without
from emotion.evaluation.reopened import reopen
from emotion.files import write_text
from emotion.media.audio import read_audio
from emotion.prepare.waveforms import INT16_FULL_SCALE
from emotion.progress import track

log = logging.getLogger(__name__)

FILE = "robustness.csv"
"""In the folder of a run: of each disturbance, level and speaker how many recordings of each emotion were named right.
The rows of the disturbance `recordings` say how many there are, those of `none` are of what is not spoilt."""
_KEYS = ["disturbance", "unit", "level", "speaker"]
_COUNTS, _CLEAN = "recordings", "none"


def measure(run_dir: Path, noise: Path | None = None) -> pd.DataFrame:
    """Judge the test split of a run with every disturbance at every level, and write `FILE` into its folder.

    Nothing is done where that was done before, with the same noise.

    Args:
        run_dir: A finished run; what it was trained on must be at hand.
        noise: A recording of noise that is to be added too.

    Returns:
        What the file holds.
    """
    path = runs.require(run_dir) / FILE
    if path.exists():
        known = pd.read_csv(path, dtype={"speaker": str}, keep_default_na=False)
        if noise is None or _noise_name(noise) in set(known["disturbance"]):
            return known
    config, classifier, datamodule = reopen(run_dir)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    samples = None if noise is None else (_noise_name(noise), read_audio(noise, config.data.sample_rate))
    conditions = list(_conditions(datamodule, samples))
    parts = {}
    for name, unit, level, spoil in track(conditions, "judging spoilt recordings", len(conditions)):
        judged = predict(classifier, datamodule, "test", device, spoil)
        if not parts:
            parts[_COUNTS, "", 0.0] = _count(judged.assign(predicted=judged["emotion"]), datamodule.classes)
        parts[name, unit, level] = _count(judged, datamodule.classes)
    table = pd.concat(parts, names=_KEYS[:-1]).reset_index()
    write_text(path, table.to_csv(index=False, lineterminator="\n"))
    return table


def _noise_name(noise: Path) -> str:
    return f"noise of {noise.name}"


def _count(judged: pd.DataFrame, labels: tuple[str, ...]) -> pd.DataFrame:
    """How many recordings of each speaker (rows) and label (columns) were named right."""
    right = judged.assign(right=judged["predicted"] == judged["emotion"])
    return right.pivot_table("right", "speaker", "emotion", "sum", 0).reindex(columns=list(labels), fill_value=0)


def _conditions(
    datamodule: EmotionDataModule, noise: tuple[str, np.ndarray] | None
) -> Iterator[tuple[str, str, float, Callable[[Batch], Batch]]]:
    """Name, unit and level of each disturbance of what the model takes in, and what it does to a batch."""
    yield _CLEAN, "", 0.0, lambda batch: batch
    known: list[Disturbance] = []
    if "sound" in datamodule.modalities:
        known += of_sound(datamodule.sample_rate, _voices(datamodule), noise)
    if "faces" in datamodule.modalities:
        known += OF_FACES
    if "action_units" in datamodule.modalities:
        known += of_action_units(datamodule.sources["action_units"].values.std(axis=0))
    for disturbance in known:
        for level in disturbance.levels:
            yield disturbance.name, disturbance.unit, level, lambda batch, d=disturbance, at=level: d(batch, at)
    if len(datamodule.modalities) > 1:
        for modality in datamodule.modalities:
            yield f"no {modality.replace('_', ' ')}", "", 0.0, lambda batch, lost=modality: without(batch, lost)


def _voices(datamodule: EmotionDataModule) -> Callable[[np.random.Generator], np.ndarray]:
    """Draws what somebody of the training split says, so that nobody babbles against himself."""
    items = datamodule.sources["waveform"].select(
        datamodule.table.loc[datamodule.table["split"] == "train", "recording"].to_numpy()
    )

    def draw(random: np.random.Generator) -> np.ndarray:
        row = int(random.integers(len(items.recordings)))
        samples = items.values[items.offset[row] : items.offset[row] + items.length[row]]
        return samples.astype(np.float64) / INT16_FULL_SCALE if len(samples) else draw(random)

    return draw


def table(found: list[systems.Run]) -> pd.DataFrame:
    """Folds pooled, seeds averaged: one row for each system, disturbance and level.

    Args:
        found: Finished runs; those without `FILE` are left out.

    Returns:
        Columns `system`, `disturbance`, `unit`, `level`, `uar`, `uar_deviation` over seeds, `uar_low` and `uar_high`,
        95 % over speakers. The disturbance `none` comes first.

    Raises:
        EmotionError: no run was measured.
    """
    measured = [run for run in found if (run.directory / FILE).exists()]
    if not measured:
        raise EmotionError(f"no {FILE} was found: measure the runs first, with emotion robustness RUN…")
    rows = []
    for system in systems.systems_of(measured):
        by_seed = [_pooled([run for run in system.members if run.metrics["seed"] == seed]) for seed in system.seeds]
        for condition in by_seed[0]:
            seeds = [_right_and_all(counts, condition) for counts in by_seed]
            uars = [_uar(rows) for rows in seeds]
            interval = intervals.over_speakers(seeds, _uar)
            row = {"system": system.name, **dict(zip(_KEYS, condition, strict=False)), "uar": interval.value}
            row["uar_deviation"] = np.std(uars, ddof=1) if len(uars) > 1 else np.nan
            rows.append(row | {"uar_low": interval.low, "uar_high": interval.high})
    shown = pd.DataFrame(rows)
    return shown[shown["disturbance"] != _COUNTS].reset_index(drop=True)


_Counts = dict[tuple[str, str, float], pd.DataFrame]


def _pooled(members: list[systems.Run]) -> _Counts:
    """The counts of all folds, by disturbance, unit and level: speakers by labels."""
    parts = pd.concat(pd.read_csv(run.directory / FILE, dtype={"speaker": str}) for run in members)
    sums = parts.fillna({"unit": ""}).groupby(_KEYS, sort=False).sum()
    return {condition: rows.droplevel(_KEYS[:-1]) for condition, rows in sums.groupby(level=_KEYS[:-1], sort=False)}


def _right_and_all(counts: _Counts, condition: tuple[str, str, float]) -> pd.DataFrame:
    """Of each speaker how many recordings of each label were named right, and how many (`of …`) there are."""
    return counts[condition].join(counts[_COUNTS, "", 0.0].add_prefix("of ")).reset_index()


def _uar(counts: pd.DataFrame) -> float:
    sums = counts.drop(columns="speaker").sum()
    support = sums[sums.index.str.startswith("of ")]
    recalls = [sums[name.removeprefix("of ")] / count for name, count in support.items() if count]
    return float(np.mean(recalls))


def in_words(rows: pd.DataFrame) -> pd.DataFrame:
    """A line for each disturbance and level, a column for each system."""
    what = [
        f"{row.disturbance} {row.level:g} {row.unit}".strip() if row.unit else row.disturbance
        for row in rows.itertuples()
    ]
    shown = rows.assign(disturbance=what).pivot_table("uar", "disturbance", "system", sort=False)
    return shown.map(lambda value: "" if np.isnan(value) else f"{value:.3f}").reset_index()
